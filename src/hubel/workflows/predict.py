"""`predict`: what a fitted network says of new files. `evaluate`: how well it does on labelled data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel import data as hubel_data
from hubel.core.types import Interval, Prediction
from hubel.data import Dataset
from hubel.fitting import Run, open_run
from hubel.workflows import folders
from hubel.workflows.prepare import dataset_of

CHUNK = 256  # files read and answered at a time
TOP = 5


def predict_files(run: Run | Path | str, paths: Sequence[Path | str], *, device: str = "auto") -> Iterator[dict[str, Any]]:
    """An answer a file, in the order given: `{"file", "class", "probability", "top": [[class, probability], …]}`, or `"values"`.

    Files are read as the training data were (same size, channels, type), and refused where that is not possible. Folders stand
    for the pictures in them.
    """
    known = run if isinstance(run, Run) else open_run(run, device=device)
    reading = known.about["data"].get("reading") or {}
    files = _files(paths)
    for first in range(0, len(files), CHUNK):
        part = files[first : first + CHUNK]
        stored = hubel_data.read_like(part, reading)
        ids = [str(path) for path in part]
        if len(stored) != len(part):  # one array file holds many examples
            ids = [f"{part[0]}[{row}]" for row in range(len(stored))]
        yield from _answers(known, known.predict(stored), ids)


def _files(paths: Sequence[Path | str]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            if not inside:
                raise FileNotFoundError(f"{path} has no files in it")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path} does not exist")
    return found


def _answers(run: Run, prediction: Prediction, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    probabilities = prediction.probabilities
    if probabilities is None:
        names = getattr(run.objective, "target_names", None) or tuple(f"value_{k}" for k in range(prediction.values.shape[1]))
        for name, row in zip(ids, prediction.values, strict=True):
            yield {"file": name, "values": {n: float(v) for n, v in zip(names, row, strict=True)}}
        return
    classes = prediction.classes or tuple(map(str, range(probabilities.shape[1])))
    for name, value, row in zip(ids, prediction.values, probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[:TOP]
        top = [[classes[k], float(row[k])] for k in order]
        if np.ndim(value):  # several yes/no labels
            yes = [classes[k] for k in np.flatnonzero(value)]
            yield {"file": name, "class": "|".join(yes), "probability": float(row.max()), "top": top}
        else:
            yield {"file": name, "class": classes[int(value)], "probability": float(row[int(value)]), "top": top}


def evaluate(
    run: Run | Path | str,
    data: Any = None,
    y: Any = None,
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> dict[str, Interval]:
    """All scores with intervals: on the run's own test part, or on other labelled data (`data`, or arrays `data, y`).

    Every look at the test part is counted in `run.json`: a part that was looked at often is no longer a test.
    """
    known = run if isinstance(run, Run) else open_run(run, device=device)
    if data is None:
        part = _own_test(known)
        folders.update(known.folder, test_looks=int(known.about.get("test_looks", 0)) + 1)
    else:
        loading = {**known.about["loading"].get("options", {}), **dict(options or {})}
        whole = dataset_of(data, y, options=loading if isinstance(data, (str, Path)) else options)
        part = _with_classes_of(known, whole)
    prediction = known.objective.read(known.outputs(part.inputs))
    return known.objective.metrics(prediction, np.asarray(part.targets))


def _own_test(run: Run) -> Dataset:
    loading = run.about["loading"]
    if loading.get("source") is None:
        raise ValueError(f"{run.folder} was fitted to arrays, which a folder does not hold: pass labelled data, run.evaluate(x, y)")
    whole = dataset_of(loading["source"], options=loading.get("options"))
    if whole.fingerprint != run.about["data"]["fingerprint"]:
        raise ValueError(f"the data at {loading['source']} have changed since {run.folder} was fitted: its test part can not be found again")
    rows = run.split["test"]
    if len(rows) == 0:
        raise ValueError(f"{run.folder} has no test part: pass labelled data")
    return whole.select(rows)


def _with_classes_of(run: Run, data: Dataset) -> Dataset:
    """`data` with class numbers as the run counts them."""
    from dataclasses import replace

    wanted = run.about["data"]["classes"]
    if tuple(data.shape) != tuple(run.scaling.shape) or str(data.inputs.dtype) != run.scaling.dtype:
        raise ValueError(
            f"{data.name} holds {'×'.join(map(str, data.shape))} {data.inputs.dtype}; this network was fitted on "
            f"{'×'.join(map(str, run.scaling.shape))} {run.scaling.dtype}: read it with the same options (size, channels)"
        )
    if wanted is None or data.classes is None or list(data.classes) == wanted:
        return data
    unknown = sorted(set(data.classes) - set(wanted))
    if unknown:
        raise ValueError(f"{data.name} has classes that this network does not know: {unknown[:5]}; it knows {wanted[:10]}")
    if data.is_multilabel:
        order = [data.classes.index(name) if name in data.classes else -1 for name in wanted]
        targets = np.stack([data.targets[:, k] if k >= 0 else np.zeros(len(data), data.targets.dtype) for k in order], axis=1)
        return replace(data, targets=targets, classes=tuple(wanted))
    number = np.array([wanted.index(name) for name in data.classes])
    return replace(data, targets=number[data.targets], classes=tuple(wanted))
