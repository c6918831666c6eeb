"""`predict`: what a fitted network says of new files. `evaluate`: how well it does on labelled data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hubel import data as hubel_data
from hubel.core.types import Interval, Prediction
from hubel.data.feature_table import rows_like
from hubel.data.images import is_image
from hubel.data.prediction_input import ARRAYS, in_groups
from hubel.data.reading import converting
from hubel.data.series_files import is_series_file
from hubel.data.table_pieces import TABLES, is_table
from hubel.fitting import Ensemble, Run, open_fitted
from hubel.fitting.ensemble import mean_prediction
from hubel.objectives import OwnTarget
from hubel.workflows.predict_boxes import finds_objects, predict_boxes
from hubel.workflows.predict_masks import answers_masks, predict_masks
from hubel.workflows.predict_text import predict_texts
from hubel.workflows.unanswered import Unanswered

CHUNK = 256  # files read and answered at a time
TOP = 5


def predict_files(
    run: Run | Ensemble | Path | str,
    paths: Sequence[Path | str],
    *,
    device: str = "auto",
    skip_unreadable: bool = False,
    masks: Path | str | None = None,
    channels: Literal["rgb", "grey"] | None = None,
    boxes: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """An answer a file, in the order given: `{"file", "class", "probability", "top": [[class, probability], …]}`, or `"values"` with
    their `"units"` and `"uncertainties"` (one standard deviation), where the network or the spread of an ensemble says some; where
    the target was the example itself, how unusual it is: the error of its reconstruction, or −ln p. Of a table or an array, an answer a row.

    Of a network that was fitted to masks `{"file", "mask", "shares": {class: share of the pixels}}`, and the masks go into the folder `masks` as
    PNG where one is named, in the size of each picture and with the values of the masks from which was learned.

    Of a detector `{"file", "objects": [{"class", "score", "box"}, …]}`; `boxes` are more words for `hubel.workflows.predict_boxes.predict_boxes`, such as
    `{"threshold": 0.3, "out": "found.json"}`.

    A text is answered by `{"file", "symbols", "unknown", "bits_per_symbol", "perplexity", "accuracy"}`, over all of it.

    Files are read as the training data were (same size, channels, type), and refused where that is not possible; `channels` ("rgb" or
    "grey", those of the training data) converts pictures that have others. Folders stand for the pictures in them. A file that can not be read stops no other one: it is
    named when all others are answered, or with `skip_unreadable` answered in its turn by `{"file", "unreadable": why}`, where every other answer has an
    empty `unreadable` as well.

    Raises `FileNotFoundError` for a file or run that does not exist, `DamagedRun` where the run can not be read, and `ValueError` for `boxes` or `masks` of a run
    that was fitted to none, at the first answer that is asked for; `UnreadableData` naming the files that can not be read, or are of another shape or type, after the last one.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     np.save(folder + "/new.npy", x[:2])
    ...     print([Path(answer["file"]).name for answer in predict_files(run, [folder + "/new.npy"])])
    ['new.npy[0]', 'new.npy[1]']
    """
    known = open_fitted(run, device=device) if isinstance(run, (str, Path)) else run
    found = _of_files(known, paths, masks=masks, channels=channels, boxes=boxes)
    if skip_unreadable:
        yield from ({**answer, "unreadable": answer.get("unreadable", "")} for answer in found)
        return
    unanswered = Unanswered()
    yield from unanswered.apart(found)
    unanswered.refuse()


def _of_files(
    known: Run | Ensemble,
    paths: Sequence[Path | str],
    *,
    masks: Path | str | None,
    channels: Literal["rgb", "grey"] | None,
    boxes: Mapping[str, Any] | None,
) -> Iterator[dict[str, Any]]:
    """The answers; of a file that can not be read `{"file", "unreadable": why}`."""
    reading = converting(known.reading, channels)
    if finds_objects(known):
        yield from predict_boxes(known, files_of(paths, reading), reading=reading, **(boxes or {}))
        return
    if boxes:
        raise ValueError(
            f"{known.folder} was not fitted to boxes, so it answers none: leave {', '.join(boxes)} out"
        )
    if answers_masks(known):
        out = None if masks is None else Path(masks)
        yield from predict_masks(known, paths, out=out, reading=reading)
        return
    if masks is not None:
        raise ValueError(f"{known.folder} was not fitted to masks, so it answers none: leave masks out")
    if known.reading["kind"] == "table":
        yield from _of_tables(known, [Path(path) for path in paths])
        return
    if known.reading["kind"] == "text":
        if isinstance(known, Ensemble):
            raise ValueError(
                f"{known.folder} is an ensemble; texts are answered by one run: name the folder of a member"
            )
        yield from predict_texts(known, paths)
        return
    for part, stored in _read(in_groups(files_of(paths, reading), CHUNK), reading):
        if isinstance(stored, str):
            yield {"file": str(part[0]), "unreadable": stored}
            continue
        ids = [str(path) for path in part]
        of_series = known.reading["kind"] in ("series", "image series", "forecast")
        if part[0].suffix.lower() in ARRAYS and not (
            of_series and len(stored) == 1
        ):  # one file holds many examples
            ids = [f"{part[0]}[{row}]" for row in range(len(stored))]
        prediction = known.predict(stored)
        own = isinstance(known.objective, OwnTarget)
        shown = stored.values if isinstance(stored, hubel_data.Series) else stored
        yield from _surprises(known, prediction, shown, ids) if own else _answers(known, prediction, ids)


def _of_tables(run: Run | Ensemble, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """An answer a row, in pieces, so that a table may be larger than the memory."""
    if absent := [str(path) for path in paths if not path.exists()]:
        raise FileNotFoundError(f"{', '.join(absent)} {'does' if len(absent) == 1 else 'do'} not exist")
    for path in paths:
        if not is_table(path):
            why = (
                f"{run.folder} was fitted to a table, but {path} is none; expected one of {', '.join(TABLES)}"
            )
            yield {"file": str(path), "unreadable": why}
            continue
        row = 0
        for rows, remarks in _pieces_of(path, run.reading):
            if isinstance(rows, str):
                before = f" (its first {row:,} rows are answered)" if row else ""
                yield {"file": str(path), "unreadable": rows + before}
            elif len(rows):
                ids = [f"{path}[{row + k}]" for k in range(len(rows))]
                prediction = _prediction_of(run, rows)
                own = isinstance(run.objective, OwnTarget)
                yield from _surprises(run, prediction, rows, ids) if own else _answers(run, prediction, ids)
                row += len(rows)
            if remarks:
                warnings.warn(" ".join(remarks), UserWarning, stacklevel=2)


def _pieces_of(path: Path, reading: Mapping[str, Any]) -> Iterator[tuple[np.ndarray | str, list[str]]]:
    """Pieces of a table with remarks; where it can be read no further, the reason comes last."""
    try:
        yield from rows_like(path, reading)
    except ValueError as error:
        yield str(error), []


def _prediction_of(run: Run | Ensemble, rows: np.ndarray) -> Prediction:
    """What a run, or all members of an ensemble, say of rows that were read already."""
    if isinstance(run, Run):
        return run.objective.read(run.outputs(rows))
    return mean_prediction([_prediction_of(member, rows) for member in run.members])


def _read(
    groups: Iterator[list[Path]], reading: Mapping[str, Any]
) -> Iterator[tuple[list[Path], np.ndarray | hubel_data.Series | str]]:
    """The rows of every group of files; a file that can not be read comes alone, with the reason."""
    for group in groups:
        try:
            rows = hubel_data.read_like(group, reading)
        except ValueError as error:
            if len(group) == 1:
                yield group, str(error)
            else:
                yield from _read(iter([[path] for path in group]), reading)
            continue
        yield group, rows


def files_of(paths: Sequence[Path | str], reading: Mapping[str, Any]) -> list[Path]:
    """The files that are meant: those named, and the pictures (or series) in the folders that are named."""
    of_series = reading["kind"] in ("series", "image series", "forecast")
    wanted = is_series_file if of_series else is_image
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(
                p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".") and wanted(p)
            )
            if not inside:
                raise FileNotFoundError(f"{path} has no {'series' if of_series else 'pictures'} in it")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path} does not exist")
    return found


def _surprises(
    run: Run | Ensemble, prediction: Prediction, stored: np.ndarray, ids: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """How unusual each example is to a network whose target was the example itself."""
    assert isinstance(run.objective, OwnTarget)
    for name, value in zip(ids, run.objective.surprise(prediction, stored), strict=True):
        yield {"file": name, "values": {"surprise": float(value)}}


def _answers(run: Run | Ensemble, prediction: Prediction, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    probabilities = prediction.probabilities
    if probabilities is None:
        names = getattr(run.objective, "target_names", None) or tuple(
            f"value_{k}" for k in range(prediction.values.shape[1])
        )
        units = {n: unit for n, unit in zip(names, prediction.units or (), strict=False) if unit}
        for k, (name, row) in enumerate(zip(ids, prediction.values, strict=True)):
            answer: dict[str, Any] = {
                "file": name,
                "values": {n: float(v) for n, v in zip(names, row, strict=True)},
            }
            if prediction.uncertainties is not None:
                answer["uncertainties"] = {
                    n: float(v) for n, v in zip(names, prediction.uncertainties[k], strict=True)
                }
            yield answer | ({"units": units} if units else {})
        return
    classes = prediction.classes or tuple(map(str, range(probabilities.shape[1])))
    for name, value, row in zip(ids, prediction.values, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[:TOP]
        top = [[classes[k], float(row[k])] for k in order]
        if np.ndim(value):  # several yes/no labels
            yes = [classes[k] for k in np.flatnonzero(value)]
            yield {"file": name, "class": "|".join(yes), "probability": float(row.max()), "top": top}
        else:
            yield {
                "file": name,
                "class": classes[int(value)],
                "probability": float(row[int(value)]),
                "top": top,
            }


def evaluate(
    run: Run | Ensemble | Path | str,
    data: Any = None,
    y: Any = None,
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> dict[str, Interval]:
    """All scores with intervals, of a run or of the mean of an ensemble: on its own test part, or on other labelled data (`data`, or arrays `data, y`).

    Every look at the test part is counted in `run.json`: a part that was looked at often is no longer a test.

    Raises `FileNotFoundError` or `DamagedRun` where the run can not be read, `ValueError` where its own data can not be read again
    or have changed, or where `data` are of another shape, type or class, `TypeError` for arrays without targets.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> y, recipe = (x[:, 0] > 0).astype(int), hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, y, recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(hubel.evaluate(run, x, y)["accuracy"].count)
    40
    """
    known = open_fitted(run, device=device) if isinstance(run, (str, Path)) else run
    return known.evaluate(data, y, options=options)
