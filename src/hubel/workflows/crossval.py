"""`cross_validate`: a network for every fold, each scored on examples that it never saw; together every example is scored once."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hubel.core import files
from hubel.core.types import Interval, Prediction
from hubel.data import Dataset, SplitRows, assign_parts
from hubel.data.boxes import objects_of, packed
from hubel.data.folds import folds as rows_of_folds
from hubel.data.source import dataset_of
from hubel.fitting import Recipe, Run
from hubel.fitting.ensemble import FOLDS, read_several
from hubel.metrics import over_folds
from hubel.objectives import Detection, Objective
from hubel.show.wording import is_share
from hubel.workflows import conclude, several
from hubel.workflows.deciding import NetMaker, with_groups
from hubel.workflows.display import Display
from hubel.workflows.fit import fit, reading_of, resume
from hubel.workflows.given_back import ids_of
from hubel.workflows.of_boxes import boxes_shown
from hubel.workflows.training import CHECKPOINT_SECONDS

NOT_NEGATIVE = ("log_loss", "brier", "calibration_error", "rmse", "mae")


@dataclass(frozen=True)
class CrossValidation:
    """The runs of a cross-validation that are finished, and their scores: name to the values of all folds.

    `sizes` are the training and test examples of each fold, and `folder` is where it all lies.
    """

    folder: Path
    runs: tuple[Run, ...]
    scores: Mapping[str, tuple[float, ...]]
    sizes: tuple[tuple[int, int], ...]

    def mean(self, name: str) -> float:
        """Mean over the folds."""
        return float(np.mean(self.scores[name]))

    def sd(self, name: str) -> float:
        """Standard deviation over the folds (n - 1). The folds share training examples, so it is no error of the mean."""
        values = self.scores[name]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan

    def interval(self, name: str) -> Interval:
        """The mean with an interval that knows that the folds share training examples: see `hubel.metrics.over_folds`."""
        train, test = np.mean(self.sizes, axis=0)
        share = is_share(name) or name in ("roc_auc", "average_precision")
        limits = (0.0 if share or name in NOT_NEGATIVE else -math.inf, 1.0 if share else math.inf)
        found = over_folds(self.scores[name], num_train=train, num_test=test, limits=limits)
        return replace(found, count=sum(test for _, test in self.sizes))

    @property
    def about(self) -> dict[str, Any]:
        """What `folds.json` says."""
        return read_several(self.folder / FOLDS)

    @property
    def status(self) -> str:
        """One of finished, interrupted."""
        return "finished" if self.about["status"] == "finished" else "interrupted"

    @property
    def stopped(self) -> str:
        """Why the work stopped, as a sentence."""
        return str(self.about.get("stopped", ""))

    @property
    def test(self) -> dict[str, Any]:
        """Means over the folds: name to value, low, high, level, count, method."""
        return {name: self.interval(name).as_json() for name in self.scores}

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """What was said of every example by the network that never saw it: ids, targets, values, probabilities, and the fold [N].

        Raises `FileNotFoundError` before all folds are finished, and for examples that are their own target.
        """
        with np.load(self.folder / "predictions.npz", allow_pickle=False) as content:
            return {name: content[name] for name in content.files}

    def __str__(self) -> str:
        lines = [
            f"{name:<18} {self.mean(name):.4g} ± {self.sd(name):.2g}  mean in {_ends(self.interval(name))}"
            for name in self.scores
        ]
        head = f"{len(self.runs)} folds, mean ± standard deviation over folds, and the corrected 95 % interval of the mean"
        return head + "\n" + "\n".join(lines)


def cross_validate(
    source: Any,
    y: Any = None,
    *,
    folds: int = 5,
    seed: int = 0,
    net: nn.Module | NetMaker | None = None,
    objective: Objective | None = None,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    validation: float | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    **more: Any,
) -> CrossValidation:
    """Fit `folds` networks, each tested on another part of the data, into the run folders `out`/fold-1, fold-2, ….

    The folds have the same share of each class and split no group; which examples they hold follows from `seed`. The validation
    part is taken from the training part of each fold. A test part that came with the data is left alone; the folds are of the rest.
    The first fold resolves the recipe, and the others have the same, with the same kind of network. Targets are standardized,
    inputs scaled and networks begun anew in every fold, from its own training part. `more` are further arguments of `fit`, for the
    first fold (`like`, …; `budget` is the time of each). After an interruption the same call with the same `out` goes on.

    Raises `ValueError` for a `test` or `split` (each fold is a test part), for an `out` that was begun with other words, and what `fit`
    and `hubel.data.folds.folds` raise.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    >>> y, recipe = (x[:, 0] > 0).astype(int), hubel.Recipe(epochs=2, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = hubel.cross_validate(x, y, folds=3, recipe=recipe, out=folder + "/folds", quiet=True)
    ...     print(len(found.scores["accuracy"]), found.predictions["probabilities"].shape)
    3 (60, 2)
    """
    for word in ("test", "split"):
        if more.get(word) is not None:
            raise ValueError(
                f"{word}={more[word]} was given, but each of the {folds} folds is a test part: leave it out"
            )
    more.pop("test", None)
    options, _ = reading_of(source, options, more.get("like"), {})
    with Display(quiet=quiet) as display:
        whole = dataset_of(source, y, options=options, progress=display.counting("reading"))
        if groups is not None:
            whole = source = with_groups(whole, groups)
            y, options = None, None
        recipe = recipe or Recipe()
        asked = several.Asked(
            number=folds,
            data=whole.fingerprint,
            seed=seed,
            net=net,
            objective=objective,
            recipe=recipe,
            more={"validation": validation, **more},
        )
        splits = splits_of(whole, folds, seed=seed, validation=validation)  # refused before a folder is made
        folder = several.begin(
            out, FOLDS, name=whole.name, asked=asked.plain(), source=source, options=options
        )
        begun = copy.deepcopy(net) if isinstance(net, nn.Module) else net  # every fold begins where it began

        def first(place: Path, split: SplitRows) -> Run:
            return fit(
                source,
                y,
                net=copy.deepcopy(begun),
                objective=objective,
                recipe=recipe,
                out=place,
                options=options,
                split=split,
                device=device,
                quiet=quiet,
                checkpoint_seconds=checkpoint_seconds,
                **more,
            )

        return _fitted(
            folder,
            whole,
            splits,
            first,
            source=source,
            y=y,
            options=options,
            net=begun,
            objective=objective,
            device=device,
            quiet=quiet,
            checkpoint_seconds=checkpoint_seconds,
            display=display,
        )


def resume_folds(
    folder: Path | str,
    *,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> CrossValidation:
    """Go on with the cross-validation in `folder`, whose data are read again from their source.

    Raises `ValueError` where they can not be, or have changed, or where nothing but the call itself knows how the first fold is
    fitted.
    """
    folder = Path(folder)
    about = read_several(folder / FOLDS)
    source, options, asked = about["loading"].get("source"), about["loading"].get("options"), about["asked"]
    if source is None:
        raise ValueError(
            f"{folder} was fitted to arrays, which a folder does not hold: repeat the call, hubel.cross_validate(x, y, …, out={str(folder)!r})"
        )

    def first(place: Path, split: SplitRows) -> Run:
        raise ValueError(f"{place} was never begun: repeat what began {folder}: {about.get('command')}")

    with Display(quiet=quiet) as display:
        whole = dataset_of(source, options=options, progress=display.counting("reading"))
        return _fitted(
            folder,
            whole,
            splits_of(whole, asked["number"], seed=asked["seed"], validation=asked["more"].get("validation")),
            first,
            source=source,
            y=None,
            options=options,
            net=None,
            objective=None,
            device=device,
            quiet=quiet,
            checkpoint_seconds=checkpoint_seconds,
            display=display,
        )


def splits_of(whole: Dataset, num: int, *, seed: int = 0, validation: float | None = None) -> list[SplitRows]:
    """The rows of every fold: its test part, and what trains and decides of the rest. A given test part is in none of them.

    >>> data = Dataset(inputs=np.zeros((20, 3)), targets=np.arange(20) % 2, classes=("a", "b"))
    >>> [(len(s.train), len(s.validation), len(s.test)) for s in splits_of(data, 4, validation=0.2)]
    [(12, 3, 5), (12, 3, 5), (12, 3, 5), (12, 3, 5)]
    """
    left = np.arange(len(whole)) if whole.part is None else np.flatnonzero(np.asarray(whole.part) != "test")
    rest = replace(whole.view(left), part=None)
    found = []
    for number, test in enumerate(rows_of_folds(rest, num, seed=seed), start=1):
        part = np.full(len(rest), "train", dtype="<U10")
        part[test] = "test"
        split = assign_parts(replace(rest, part=part), seed=seed, validation=validation)
        how = f"fold {number} of {num} is the test part; {split.how.removeprefix('test as given; ')}"
        found.append(
            SplitRows(
                train=left[split.train], validation=left[split.validation], test=left[split.test], how=how
            )
        )
    return found


def _fitted(
    folder: Path,
    whole: Dataset,
    splits: Sequence[SplitRows],
    first: Callable[[Path, SplitRows], Run],
    *,
    source: Any,
    y: Any,
    options: Mapping[str, Any] | None,
    net: nn.Module | NetMaker | None,
    objective: Objective | None,
    device: str,
    quiet: bool,
    checkpoint_seconds: float,
    display: Display,
) -> CrossValidation:
    """All folds, fitted or gone on with, and what is said of them together."""
    if read_several(folder / FOLDS)["asked"]["data"] != whole.fingerprint:
        raise ValueError(
            f"the data of {folder} have changed since it was begun: its folds would not be of the same. Restore the data, or fit again"
        )
    again: dict[str, Any] = {"device": device, "quiet": quiet, "checkpoint_seconds": checkpoint_seconds}

    def fold(split: SplitRows) -> Callable[[Path, Sequence[Run]], Run]:
        def fit_one(place: Path, before: Sequence[Run]) -> Run:
            if not before:
                return first(place, split)
            return fit(
                source,
                y,
                net=copy.deepcopy(net),
                objective=objective,
                out=place,
                like=before[0],
                options=options,
                split=split,
                **again,
            )

        return fit_one

    def go_on(place: Path) -> Run:
        given = {} if isinstance(source, (str, os.PathLike)) else {"data": source, "y": y}
        return resume(place, net=several.own_net(place, net, whole), **given, **again)

    tasks = {f"fold-{number}": fold(split) for number, split in enumerate(splits, start=1)}
    with files.locked(folder):
        runs = several.fit_each(folder, FOLDS, tasks, go_on=go_on, display=display)
        found = _read(folder, [run for run in runs if run.status == "finished"])
        if len(found.runs) == len(tasks):
            _conclude(found, whole, display)
    return found


def _read(folder: Path, runs: Sequence[Run]) -> CrossValidation:
    names = list(runs[0].test) if runs else []
    scores = {
        name: tuple(float(run.test[name]["value"]) for run in runs)
        for name in names
        if all(run.test.get(name, {}).get("value") is not None for run in runs)
    }
    sizes = tuple((len(run.split["train"]), len(run.split["test"])) for run in runs)
    return CrossValidation(folder, tuple(runs), scores, sizes)


def _conclude(found: CrossValidation, whole: Dataset, display: Display) -> None:
    """Predictions of all examples by networks that never saw them, the scores over the folds, and the page."""
    several.update(
        found.folder,
        FOLDS,
        status="finished",
        stopped=f"all {len(found.runs)} folds are fitted",
        seconds=sum(float(run.about.get("seconds") or 0.0) for run in found.runs),
        scored_part="test",
        test=found.test,
        test_looks=1,
    )
    said = [_said(run) for run in found.runs]
    if all("values" in one for one in said):  # examples that are their own target have no short answer
        _write_predictions(found, whole, said)
    display.say(str(found))
    several.write_report(found.folder, display)


def _write_predictions(
    found: CrossValidation, whole: Dataset, said: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """`predictions.npz`: what was said of every example, in the order of the data, and in which fold."""
    tested = [run.split["test"] for run in found.runs]
    rows = np.concatenate(tested)
    order = np.argsort(rows, kind="stable")
    numbers = np.repeat(np.arange(1, len(tested) + 1), [len(test) for test in tested])
    prediction = Prediction(
        values=_together([one["values"] for one in said], whole)[order],
        probabilities=np.concatenate([one["probabilities"] for one in said])[order]
        if "probabilities" in said[0]
        else None,
        classes=whole.classes,
        units=whole.units,
    )
    part = whole.view(rows[order])
    part = part if part.ids is not None else replace(part, ids=rows[order].astype(str))
    fold = {"fold": numbers[order]}
    objective = found.runs[0].objective
    if isinstance(objective, Detection):
        shown, errors = boxes_shown(part, prediction, objective.threshold)
        conclude.write_arrays(found.folder, {"ids": ids_of(part)} | shown | fold)
        several.update(found.folder, FOLDS, errors=errors)
        return
    conclude.write_predictions(found.folder, part, prediction, fold)


def _together(values: Sequence[np.ndarray], whole: Dataset) -> np.ndarray:
    """What all folds said, one after the other; the fullest picture decides how many rows there are for boxes."""
    if whole.has_boxes:
        return packed([objects_of(picture) for part in values for picture in part])
    return np.concatenate(values)


def _said(run: Run) -> dict[str, np.ndarray]:
    with np.load(run.folder / "predictions.npz", allow_pickle=False) as content:
        return {name: content[name] for name in ("values", "probabilities") if name in content.files}


def _ends(score: Interval) -> str:
    return f"[{score.low:.4g}, {score.high:.4g}]"
