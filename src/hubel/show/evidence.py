"""What a run folder says, read into one plain value.

Reading is tolerant, because a report is wanted most when something went wrong: a file that is missing,
torn or of another shape becomes an empty part of the value and a sentence in `problems`, never an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from hubel.core.files import read_lines
from hubel.core.types import Interval
from hubel.data.archives import opened_npz

FORMAT = 1
SEVERAL = ("ensemble.json", "folds.json")  # what lies in a folder of several runs
OF_ONE = ("naive", "written")  # what of the first of several runs says nothing about all of them
LARGEST_ARRAY = 2 << 30  # bytes; a larger one is left out: the page could not show it

Kind = Literal["classes", "labels", "values", "itself", "symbols", "masks", "boxes"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A run as the report sees it: `about` (run.json), `epochs` (curves.jsonl, the last line of an epoch
    wins), `findings`, and `arrays` (predictions.npz). `problems` says what could not be read.
    """

    folder: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[Mapping[str, Any], ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path | str) -> Evidence:
        """Read `folder`. Raises `FileNotFoundError` where there is none, `ValueError` for an unknown format."""
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is not a folder; expected the folder of a run, with run.json in it"
            )
        problems: list[str] = []
        about = _read_several(folder, problems) or _read_about(folder / "run.json", problems)
        return cls(
            folder=folder,
            about=about,
            epochs=_read_epochs(folder / "curves.jsonl", problems),
            findings=tuple(row for row in _lines(folder / "findings.jsonl", problems) if row.get("what")),
            arrays=_read_arrays(folder / "predictions.npz", problems),
            problems=tuple(problems),
        )

    def part(self, *path: str) -> Mapping[str, Any]:
        """A nested object of run.json; empty where it is missing or is something else."""
        value: Any = self.about
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else {}

    @property
    def name(self) -> str:
        """The run's own name, or its folder's."""
        return str(self.about.get("name") or self.folder.resolve().name)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; empty for real targets."""
        names = self.part("data").get("classes")
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    @property
    def alphabet(self) -> tuple[str, ...]:
        """The symbols of a text; empty for everything else."""
        symbols = self.part("objective").get("alphabet")
        return tuple(str(symbol) for symbol in symbols) if isinstance(symbols, list) else ()

    @property
    def kind(self) -> Kind:
        """What was predicted: one of several classes, several yes/no labels, real values, the example itself, the symbols that follow, the
        class of every pixel, or the objects of a picture.
        """
        if self.alphabet:
            return "symbols"
        if self.part("data").get("own_target") is True:
            return "itself"
        if not self.classes:
            return "values"
        if self.part("data").get("boxes") is True:
            return "boxes"
        if self.part("data").get("masks") is True:
            return "masks"
        targets = self.arrays.get("targets")
        return "labels" if targets is not None and targets.ndim == 2 and targets.shape[1] > 1 else "classes"

    @cached_property
    def predicted(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Targets and values of the scored part, where both are recorded and usable; None elsewhere.

        Each is [N] of class numbers (int64, or int32 where they are stored so), [N, K] of yes/no labels (booleans), or [N, K] of real values (float64).
        """
        targets, values = self.arrays.get("targets"), self.arrays.get("values")
        if self.kind in ("itself", "masks", "boxes"):
            return None
        if targets is None or values is None or len(targets) != len(values) or len(targets) == 0:
            return None
        if targets.dtype.kind not in "biuf" or values.dtype.kind not in "biuf" or self.kind == "symbols":
            return None
        if self.kind == "classes":
            targets, values = targets.ravel(), values.ravel()
            if len(targets) != len(values) or not _are_numbers_of(self.classes, targets, values):
                return None
            return _whole(targets), _whole(values)
        if self.kind == "labels":
            if targets.shape != values.shape or targets.shape[1] != len(self.classes):
                return None
            return targets > 0.5, values > 0.5
        targets, values = targets.reshape(len(targets), -1), values.reshape(len(values), -1)
        whole = targets.shape == values.shape and np.isfinite(targets).all() and np.isfinite(values).all()
        return (targets.astype(np.float64), values.astype(np.float64)) if whole else None

    @cached_property
    def foretold(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Of a text: the numbers of the symbols that came, those thought likeliest, and the bits that each took, all [N, L]; else None."""
        found = [self.arrays.get(name) for name in ("targets", "values", "surprisals")]
        targets, values, bits = found
        if self.kind != "symbols" or targets is None or values is None or bits is None:
            return None
        if (
            targets.ndim != 2
            or not targets.size
            or values.shape != targets.shape
            or bits.shape != targets.shape
        ):
            return None
        if targets.dtype.kind not in "iu" or values.dtype.kind not in "iu" or bits.dtype.kind != "f":
            return None
        if not np.isfinite(bits).all() or not _are_numbers_of(self.alphabet, targets, values):
            return None
        return targets.astype(np.int64), values.astype(np.int64), bits.astype(np.float64)

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """Probabilities [N, K] that belong to `predicted`, or None."""
        probabilities, predicted = self.arrays.get("probabilities"), self.predicted
        if probabilities is None or predicted is None or probabilities.dtype.kind != "f":
            return None
        if probabilities.ndim == 1:
            probabilities = probabilities[:, None]
        if probabilities.shape[1] == 1 and len(self.classes) == 2:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
        fits = probabilities.shape == (len(predicted[0]), len(self.classes))
        return probabilities if fits and np.isfinite(probabilities).all() else None

    @cached_property
    def uncertainties(self) -> np.ndarray | None:
        """Standard deviations [N, K] that belong to `predicted` real values, or None."""
        found, predicted = self.arrays.get("uncertainties"), self.predicted
        if found is None or predicted is None or self.kind != "values" or found.dtype.kind != "f":
            return None
        found = found.reshape(len(found), -1).astype(np.float64)
        fits = found.shape == predicted[1].shape
        return found if fits and np.isfinite(found).all() and (found > 0).all() else None

    def name_of(self, row: int) -> str:
        """What a scored example is called; nothing where no names are recorded."""
        ids = self.arrays.get("ids")
        if ids is None or ids.ndim != 1 or not 0 <= row < len(ids):
            return ""
        of_table = ids.dtype.kind in "iu" and self.part("data", "reading").get("kind") == "table"
        return f"row {ids[row]}" if of_table else str(ids[row])

    @property
    def ids(self) -> Sequence[str]:
        """The name of each scored example; its row number where no names are recorded."""
        ids, predicted = self.arrays.get("ids"), self.predicted or self.foretold
        count = len(predicted[0]) if predicted else 0
        named = ids is not None and ids.ndim == 1 and len(ids) == count
        return Names(count, self.name_of if named else str)

    @property
    def scored(self) -> str:
        """The part that was scored: `test`, or `validation` where there is no test part."""
        return str(self.about.get("scored_part") or "test")

    @property
    def initial_loss(self) -> float | None:
        """The loss that a network which knows nothing yet should have."""
        return as_number(
            self.about.get("expected_initial_loss", self.part("objective").get("expected_initial_loss"))
        )

    @property
    def scores(self) -> dict[str, Interval]:
        """The scores of the scored part in run.json."""
        found = {}
        for name, row in self.part("test").items():
            if (score := as_interval(row)) is not None:
                found[str(name)] = score
        return found


class Names(Sequence[str]):
    """`count` names, each made by `name` of its place when it is asked for: of millions a page shows few.

    >>> Names(3, str)[-1], list(Names(5, str)[1:3])
    ('2', ['1', '2'])
    """

    def __init__(self, count: int, name: Callable[[int], str]):
        self._places, self._name = range(count), name

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        found = self._places[place]
        return tuple(map(self._name, found)) if isinstance(found, range) else self._name(found)


def as_interval(row: Any) -> Interval | None:
    """An `Interval` from its JSON form, or from a bare number; None where there is no number."""
    if isinstance(row, (int, float)) and not isinstance(row, bool):
        row = {"value": row}
    if not isinstance(row, Mapping):
        return None
    value, low, high, level = (as_number(row.get(key)) for key in ("value", "low", "high", "level"))
    count = as_number(row.get("count"))
    if value is None:
        return None
    return Interval(
        value=value,
        low=math.nan if low is None else low,
        high=math.nan if high is None else high,
        level=0.95 if level is None else level,
        count=None if count is None else int(count),
        method=str(row.get("method") or ""),
    )


def as_number(value: Any) -> float | None:
    """A finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _read_about(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text("utf-8", errors="replace"))
    except FileNotFoundError:
        problems.append("run.json is missing.")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"run.json could not be read: {error}.")
        return {}
    if not isinstance(about, dict):
        problems.append("run.json holds no object.")
        return {}
    if about.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} has format {about['format']!r}; this version of hubel reads format {FORMAT}. "
            "Update hubel, or use the version that wrote the run"
        )
    return about


def _read_several(folder: Path, problems: list[str]) -> dict[str, Any]:
    """What is said of several runs in one folder, with the data, network and recipe of the first of them; empty for a single run."""
    for name in SEVERAL:
        if not (folder / name).exists():
            continue
        about = _read_about(folder / name, problems)
        rows = about.get("runs")
        names = (
            [row.get("folder") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
        )
        first = names[0] if names else None
        if not isinstance(first, str) or Path(first).name != first:
            return about | {"kind": about.get("kind", "several")}
        shared = _read_about(folder / first / "run.json", problems)
        shared = {key: value for key, value in shared.items() if key not in OF_ONE}
        if about.get("kind") == "cross-validation":  # parts differ from fold to fold
            data = shared.get("data")
            kept = dict(data) if isinstance(data, Mapping) else {}
            shared = shared | {
                "data": {key: value for key, value in kept.items() if key not in ("sizes", "counts")},
                "split": {"how": f"{len(names)} folds, each the test part of one run"},
            }
        return shared | about
    return {}


def _lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    try:
        return read_lines(path)
    except (OSError, RecursionError, ValueError) as error:
        problems.append(f"{path.name} could not be read: {error}.")
        return []


def _read_epochs(path: Path, problems: list[str]) -> tuple[dict[str, Any], ...]:
    by_epoch: dict[float, dict[str, Any]] = {}
    for row in _lines(path, problems):
        if (epoch := as_number(row.get("epoch"))) is not None:
            by_epoch[epoch] = row
    return tuple(by_epoch[epoch] for epoch in sorted(by_epoch))


def _read_arrays(path: Path, problems: list[str]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    if not path.exists():
        return arrays
    try:
        with opened_npz(path) as stored:
            for name, entry in stored.members.items():
                if entry.file_size > LARGEST_ARRAY:
                    problems.append(
                        f"predictions.npz: {name} takes {entry.file_size >> 30} GiB and was left out."
                    )
                    continue
                try:
                    with opened_npz(path) as again:
                        array = again[name]
                except (OSError, ValueError) as error:
                    problems.append(f"predictions.npz: {name} could not be read: {error}.")
                    continue
                arrays[name] = array if array.ndim else array.reshape(1)
    except (OSError, ValueError) as error:
        problems.append(f"predictions.npz could not be read: {error}.")
    return arrays


def _whole(numbers: np.ndarray) -> np.ndarray:
    return numbers if numbers.dtype == np.int32 else numbers.astype(np.int64, copy=False)


def _are_numbers_of(classes: tuple[str, ...], *arrays: np.ndarray) -> bool:
    return all(np.isfinite(a).all() and a.min() >= 0 and a.max() < len(classes) for a in arrays)
