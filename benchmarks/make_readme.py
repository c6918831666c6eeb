"""Write `benchmarks/README.md` from `benchmarks/results/*.json`: what was measured, against what, and what was missed.

python benchmarks/make_readme.py
"""

from __future__ import annotations

import json
from typing import Any

from protocol import HERE, RESULTS

ORDER = (
    "p1",
    "p2",
    "p3",
    "p5",
    "p4_occlusion",
    "p8",
    "p9",
    "p12",
    "p13",
    "p14",
    "p14_forecast",
    "overhead",
    "small_data",
    "generated_examples",
    "explain_zoo",
    "detection",
    "detectors",
    "faster_rcnn_step",
    "p6",
    "discovery",
    "equations",
)
HEAD = """# Benchmarks

This page is made by `python benchmarks/make_readme.py` from `benchmarks/results/*.json`; do not edit it.

One script a row. Each side is a process of its own that stays alive; ours and a peer are measured in turn (A B A B …), and the
ratio is taken within each pair: its median stands with the least and the greatest. Same data, network, batch, optimizer and
threads. A peer is measured in the form of its own tutorial and in its documented faster settings. Warm-up (construction,
precision probe, compilation, ten batches) is outside the rates and inside the column of the first epoch. Peers live in an
environment of their own (`benchmarks/peers.txt`). `--quick` proves that a script works (`python benchmarks/quick.py` runs
them all); numbers are made by hand, and never asserted in tests.

    python benchmarks/p1_keras_mnist_net.py --peers-python PEERS/bin/python
"""


def main() -> None:
    results = [
        json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        for name in ORDER
        if (RESULTS / f"{name}.json").exists()
    ]
    missing = [name for name in ORDER if not (RESULTS / f"{name}.json").exists()]
    waiting = (
        [f"Not measured yet, or not on a machine quiet enough: {', '.join(missing)}.\n"] if missing else []
    )
    parts = [HEAD, summary(results), *waiting, *map(section, results)]
    (HERE / "README.md").write_text("\n".join(parts), "utf-8")


def summary(results: list[dict[str, Any]]) -> str:
    """All targets on one table."""
    lines = ["## Targets", "", "| row | target | measured | |", "|---|---|---|---|"]
    for result in results:
        for t in result["targets"]:
            lines.append(
                f"| {result['id']} | {t['target']} | {t['measured']} | {'reached' if t['reached'] else '**missed**'} |"
            )
    return "\n".join([*lines, ""])


def section(result: dict[str, Any]) -> str:
    """One script: its rows, machine, versions and notes."""
    timed = any("warm_up_seconds" in r for r in result["rows"])
    compared = any(r["ratio"] for r in result["rows"])
    head = ["", "median", "least–greatest", "unit", *(["ours ÷ theirs"] if compared else [])]
    head += ["warm-up, s", "first epoch with warm-up"] if timed else []
    lines = [
        f"## {result['id']}: {result['title']}",
        "",
        f"{result['work'][0].upper()}{result['work'][1:]}.",
        "",
    ]
    lines += [_row([*head, ""]), _row(["---"] * (len(head) + 1))]
    for r in result["rows"]:
        cells = [r["name"], *_values(r["value"]), r["unit"] if r["value"] else ""]
        if compared:
            cells.append(_ratio(r["ratio"]))
        if timed:
            cells += [_number(r.get("warm_up_seconds")), _number(r.get("first_epoch_rate"))]
        lines.append(_row([*cells, r.get("note", "")]))
    lines += [
        "",
        *[f"- {note}" for note in result["notes"]],
        f"- {_machine(result['machine'])}",
        f"- Versions: {_versions(result['versions'])}.",
        "",
    ]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _values(value: dict[str, float] | None) -> list[str]:
    if value is None:
        return ["–", ""]
    if value["count"] == 1:
        return [_number(value["median"]), ""]
    return [_number(value["median"]), f"{_number(value['low'])}–{_number(value['high'])}"]


def _ratio(ratio: dict[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f} × [{ratio['low']:.2f}–{ratio['high']:.2f}]"


def _number(value: float | None) -> str:
    """Readable to four digits.

    >>> _number(12345.0), _number(12.345), _number(0.0123), _number(None)
    ('12,345', '12.3', '0.0123', '')
    """
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _machine(machine: dict[str, Any]) -> str:
    text = f"Measured on {machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}"
    if machine.get("clock") == "processor":
        text += ". **The machine was busy**: rates are by processor time of one thread, to be measured again on a quiet one with two"
    if machine.get("others_used_cores") is not None:
        text += f"; other programs used {machine['others_used_cores']:.2f} cores meanwhile"
    return text + "."


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


if __name__ == "__main__":
    main()
