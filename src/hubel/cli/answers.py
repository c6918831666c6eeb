"""Answers on stdout: CSV, JSON lines, or a table for a person."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hubel.core import files
from hubel.core.types import Interval

if TYPE_CHECKING:
    from hubel.show.study import Study


def write(rows: Iterable[dict[str, Any]], *, as_json: bool, out: Path | None) -> None:
    """A row a line, as they come; a file is written whole or not at all."""
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(
                encoding="utf-8"
            )  # file names in any script, whatever the system's code page
        _write_to(sys.stdout, rows, as_json)
        return
    with files.replacing(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        _write_to(text, rows, as_json)
        text.detach()  # flushed; the file is closed by who opened it


def objects(pictures: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """A row an object of what a detector answers; a picture on which nothing was found has one without a class."""
    for picture in pictures:
        more = {name: value for name, value in picture.items() if name not in ("file", "objects")}
        for one in picture["objects"] or [{"class": "", "score": "", "box": [""] * 4}]:
            corners = dict(zip(("x0", "y0", "x1", "y1"), one["box"], strict=True))
            yield {"file": picture["file"], "class": one["class"], "score": one["score"], **corners, **more}


def stream(symbols: Iterable[str], *, prompt: str, as_json: bool) -> None:
    """The prompt and what is written after it, symbol by symbol; as JSON when it is all there. An interruption ends the line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    if as_json:
        print(json.dumps({"prompt": prompt, "text": "".join(symbols)}, ensure_ascii=False))
        return
    sys.stdout.write(prompt)
    try:
        for symbol in symbols:
            sys.stdout.write(symbol)
            sys.stdout.flush()
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()


def refuse_unwritable(out: Path) -> None:
    """Raise `OSError` where `out` can not be written: now, not after long work."""
    if out.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder; name a file", str(out))
    if not out.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "this folder does not exist", str(out.parent))
    files.refuse_unwritable(out.parent)


def _write_to(stream: TextIO, rows: Iterable[dict[str, Any]], as_json: bool) -> None:
    writer = None
    unreadable: list[dict[str, Any]] = []  # before the first answer, which knows the columns
    for row in rows:
        if as_json:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            continue
        flat = _flat(row)
        if writer is None and flat.get("unreadable"):
            unreadable.append(flat)
            continue
        if writer is None:
            writer = _writer(stream, flat, unreadable)
        writer.writerow(flat)
    if writer is None and unreadable:
        _writer(stream, unreadable[0], unreadable)
    stream.flush()


def _writer(stream: TextIO, first: dict[str, Any], waiting: list[dict[str, Any]]) -> csv.DictWriter[str]:
    """A table with the columns of `first`, which begins with those that waited."""
    writer = csv.DictWriter(stream, list(first), lineterminator="\n")
    writer.writeheader()
    writer.writerows(waiting)
    return writer


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """One level: the top five as class_1, probability_1, …; values as mass [Msun], their uncertainties as mass sd [Msun]."""
    flat: dict[str, Any] = {}
    units = row.get("units", {})
    for name, value in row.items():
        if name == "top":
            for place, (label, probability) in enumerate(value, start=1):
                flat[f"class_{place}"], flat[f"probability_{place}"] = label, f"{probability:.6g}"
        elif name in ("values", "uncertainties"):
            said = " sd" if name == "uncertainties" else ""
            for k, v in value.items():
                flat[f"{k}{said} [{units[k]}]" if k in units else f"{k}{said}"] = f"{v:.9g}"
        elif name == "shares":
            flat |= {f"share of {label}": f"{share:.6g}" for label, share in value.items()}
        elif name == "units":
            continue
        else:
            flat[name] = f"{value:.6g}" if isinstance(value, float) else value
    return flat


def scores(found: Mapping[str, Interval], *, as_json: bool) -> None:
    """Scores with their intervals."""
    if as_json:
        print(json.dumps({name: score.as_json() for name, score in found.items()}))
        return
    width = max(map(len, found))
    counted = "windows" if "bits_per_symbol" in found else "pictures" if "AP[coco]" in found else "examples"
    for name, score in found.items():
        count = f"  {score.count:,} {counted}" if score.count else ""
        level = "" if math.isnan(score.low) or math.isnan(score.high) else f"  {score.level:.0%} interval"
        print(f"{name:<{width}}  {score}{level}{count}  {score.method}".rstrip())


def studies(*, as_json: bool) -> None:
    """A line a study: its name, and what it shows."""
    from hubel import studies as package

    shown = {name: (getattr(package, name).__doc__ or "").splitlines()[0] for name in package.__all__}
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    width = max(map(len, shown))
    for name, line in shown.items():
        print(f"{name:<{width}}  {line}")


def study(found: Study, *, as_json: bool) -> None:
    """Where the page is; or the numbers."""
    if as_json:
        about = {"study": found.name, "folder": str(found.folder), "seconds": found.seconds}
        print(json.dumps({**about, "numbers": found.numbers}, ensure_ascii=False))
        return
    assert found.folder is not None
    print(found.folder / "study.html")


def runs(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """A line a run."""
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("no runs here: make one with hubel fit DATA, or hubel demo", file=sys.stderr)
    width = max((len(row["run"]) for row in rows), default=0)
    for row in rows:
        if row["status"] == "damaged":
            print(f"{row['run']:<{width}}  damaged: {row['why']}")
            continue
        score = row["score"]
        shown = ""
        if score and score["value"] is not None and score["low"] is not None:
            shown = f"{score['name']} {score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]"
        if score and score["value"] is not None and score["low"] is None:
            shown = f"{score['name']} {score['value']:.2g}"
        print(
            f"{row['run']:<{width}}  {row['status']:<11}  {row['net']} ({row['parameters']:,})  {shown}".rstrip()
        )
        if row["status"] == "interrupted":
            print(f"{'':<{width}}  {row['stopped']}; go on: hubel resume {shlex.quote(row['run'])}")
        elif row["status"] == "failed":
            print(f"{'':<{width}}  {row['stopped']}")
