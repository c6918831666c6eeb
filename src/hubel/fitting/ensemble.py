"""`Ensemble`: networks that differ by their seed alone, read as one.

    classes        probabilities = mean of the members' probabilities
    real values    value = mean of the members',   sd² = mean of the variances that they state + variance between them (n - 1)

The spread between the members is what initial weights and the order of the examples leave undecided. It grows where there are few
examples like the one that is asked about; it knows nothing of the scatter of the targets, nor of an error that all members share.

B. Lakshminarayanan, A. Pritzel and C. Blundell 2017, arXiv:1612.01474, section 2.4, whose variance between members is with 1 / n.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core import files, names
from hubel.core.errors import DamagedRun
from hubel.core.types import Interval, Prediction
from hubel.data import Dataset
from hubel.fitting import evaluation
from hubel.fitting.run import AT_ONCE, FEW, Run, examples_within, open_run
from hubel.objectives import NextSymbol, Objective

FORMAT = 1
ENSEMBLE, FOLDS = "ensemble.json", "folds.json"
"""What lies in a folder of several runs: of an ensemble, of a cross-validation."""


class Ensemble:
    """Several runs in one folder whose networks answer together. Make one with `hubel.ensemble`, open one with `hubel.open_ensemble`.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = hubel.ensemble(x, (x[:, 0] > 0).astype(int), members=2, recipe=recipe, out=folder + "/e", quiet=True)
    ...     print(len(found.members), found.status, found.predict(x[:2]).probabilities.shape)
    2 finished (2, 2)
    """

    def __init__(self, folder: Path | str, *, net: nn.Module | None = None, device: str = "auto"):
        self.folder = Path(folder)
        self.device = device
        self._given_net = net
        self.about = read_several(self.folder / ENSEMBLE)

    def __repr__(self) -> str:
        headline = next(iter(self.test.items()), None)
        score = "" if headline is None else f", {headline[0]} {headline[1]['value']:.4g}"
        return f"Ensemble({str(self.folder)!r}: {len(self.about['runs'])} members, {self.status}{score})"

    @cached_property
    def members(self) -> tuple[Run, ...]:
        """The runs, in the order in which they were fitted."""
        folders = [self.folder / row["folder"] for row in self.about["runs"]]
        return tuple(
            open_run(folder, net=copy.deepcopy(self._given_net), device=self.device) for folder in folders
        )

    @property
    def status(self) -> str:
        """One of running, finished, interrupted, failed."""
        status = str(self.about.get("status"))
        return "interrupted" if status == "running" and not files.is_locked(self.folder) else status

    @property
    def stopped(self) -> str:
        """Why the fit stopped, as a sentence."""
        return str(self.about.get("stopped", ""))

    @property
    def test(self) -> dict[str, Any]:
        """Scores of the mean on the test part: name to value, low, high, level, count, method."""
        return dict(self.about.get("test", {}))

    @property
    def objective(self) -> Objective:
        """What was asked of every member."""
        return self.members[0].objective

    @property
    def reading(self) -> Mapping[str, Any]:
        """How new inputs become rows like those of training."""
        return self.members[0].reading

    def predict(self, inputs: Any, *, batch_size: int = 128) -> Prediction:
        """The mean of what the members say of `inputs`, which are given as for `Run.predict`.

        Raises what `Run.predict` raises.
        """
        return mean_prediction(
            [run.predict(inputs, batch_size=batch_size) for run in self.finished_members()]
        )

    def prediction_of(self, part: Dataset) -> Prediction:
        """The mean of what the members say of examples that were read already; of a text its mean probabilities are not kept, but the bits
        that they gave to each symbol; of masks the classes alone, some pictures after others, since the probabilities of every pixel may be
        too many to be kept.
        """
        runs = self.finished_members()
        if isinstance(self.objective, NextSymbol):
            return replace(self.objective, temperature=1.0).answered(_mean_pieces(runs, part))
        if part.has_masks and len(part) > FEW:
            pieces = [range(k, min(k + FEW, len(part))) for k in range(0, len(part), FEW)]
            said = [self.prediction_of(part.view(list(rows))) for rows in pieces]
            return replace(said[0], values=np.concatenate([one.values for one in said]), probabilities=None)
        return mean_prediction(
            [
                run.objective.read(run.outputs(part.inputs, lengths=part.lengths, batch_size=128))
                for run in runs
            ]
        )

    def evaluate(
        self, data: Any = None, y: Any = None, *, options: Mapping[str, Any] | None = None
    ) -> dict[str, Interval]:
        """All scores of the mean with their intervals, as `Run.evaluate`: on the common test part (a look that is counted), or on `data`.

        Raises what `Run.evaluate` raises.
        """
        part = evaluation.part_of(self.finished_members()[0], data, y, options)
        if data is None:
            evaluation.count_look(self)
        return self.objective.metrics(self.prediction_of(part), np.asarray(part.targets), part.groups)

    def change(self, changes: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Replace entries of `ensemble.json` by what follows from those that it has when nobody else writes it. Raises `RunBusy`."""
        with files.locked(self.folder):
            about = read_several(self.folder / ENSEMBLE)
            self.about = about | names.describe(dict(changes(about)))
            files.write_json(self.folder / ENSEMBLE, self.about)

    def finished_members(self) -> tuple[Run, ...]:
        """The runs, all of them fitted; raises `ValueError` where some are not."""
        unfinished = [run.folder.name for run in self.members if run.status != "finished"]
        if unfinished or len(self.members) < int(self.about["asked"]["number"]):
            raise ValueError(
                f"{self.folder} is {self.status}: {len(self.members) - len(unfinished)} of {self.about['asked']['number']} members are "
                f"fitted. Go on with: hubel resume {self.folder}"
            )
        return self.members


def mean_prediction(predictions: Sequence[Prediction]) -> Prediction:
    """One reading of several of the same examples: mean probabilities, or mean values with the spread as uncertainty.

    >>> one, other = (Prediction(values=np.array([[v]])) for v in (1.0, 3.0))
    >>> mean = mean_prediction([one, other])
    >>> mean.values.tolist(), mean.uncertainties.round(3).tolist()
    ([[2.0]], [[1.414]])
    """
    first = predictions[0]
    if first.probabilities is not None:
        mean = np.stack([np.asarray(prediction.probabilities) for prediction in predictions]).mean(axis=0)
        labels = first.values.shape == mean.shape  # yes or no for each
        classes = 1 if mean.ndim == 4 else -1  # [N, K, H, W] of masks, else [N, K] or [N, L, K]
        values = (mean > 0.5) if labels else mean.argmax(classes)
        return replace(first, values=values.astype(first.values.dtype), probabilities=mean)
    values = np.stack([prediction.values for prediction in predictions])
    variance = values.var(axis=0, ddof=1)
    if first.uncertainties is not None:
        stated = np.stack([np.asarray(prediction.uncertainties) for prediction in predictions])
        variance = variance + np.square(stated).mean(axis=0)
    return replace(first, values=values.mean(axis=0), uncertainties=np.sqrt(variance))


def _mean_pieces(runs: Sequence[Run], part: Dataset) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Logarithms of the members' mean probabilities [n, L, K] of what follows each symbol, and what followed [n, L]; some windows after
    others.
    """
    size = examples_within(runs[0].objective, part, AT_ONCE // len(runs), most=128)
    for first in range(0, len(part), size):
        rows = slice(first, first + size)
        logs = [
            (run.outputs(part.inputs[rows]) / getattr(run.objective, "temperature", 1.0)).log_softmax(dim=2)
            for run in runs
        ]
        mean = torch.stack(logs).logsumexp(dim=0) - math.log(len(runs))
        yield mean, torch.from_numpy(np.array(part.targets[rows]))


def open_ensemble(folder: Path | str, *, net: nn.Module | None = None, device: str = "auto") -> Ensemble:
    """The ensemble in `folder`. Where its members are networks of your own, one of them has to be passed again as `net`.

    Raises `FileNotFoundError` where there is none, `DamagedRun` where it can not be read, `ValueError` for an unknown format.

    >>> open_ensemble("nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: nowhere does not exist; list the runs that there are with: hubel runs
    """
    return Ensemble(folder, net=net, device=device)


def open_fitted(folder: Path | str, *, device: str = "auto") -> Run | Ensemble:
    """The run or the ensemble in `folder`. Raises what `open_run` and `open_ensemble` raise."""
    folder = Path(folder)
    if (folder / FOLDS).exists():
        raise ValueError(
            f"{folder} is a cross-validation, which says how well the way of fitting does; no network in it has seen all examples. Fit one "
            f"for use with hubel fit, or name one of {folder}/fold-1, …"
        )
    return (
        open_ensemble(folder, device=device)
        if (folder / ENSEMBLE).exists()
        else open_run(folder, device=device)
    )


def read_several(path: Path) -> dict[str, Any]:
    """What `ensemble.json` or `folds.json` says. Raises `FileNotFoundError`, `DamagedRun`, or `ValueError` for an unknown format."""
    if not path.exists():
        what = f"holds no {path.name}" if path.parent.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path.parent} {what}; list the runs that there are with: hubel runs")
    try:
        about = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DamagedRun(f"{path} is damaged ({error}): restore it from a copy, or fit again") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise ValueError(
            f"{path} has format {found!r}; this hubel reads format {FORMAT}. Take the hubel that wrote it"
        )
    rows = about.get("runs")
    whole = isinstance(rows, list) and all(isinstance(row, dict) and _is_inside(row) for row in rows)
    if not whole or not isinstance(about.get("asked"), dict):
        raise DamagedRun(f"{path} does not say which runs there are: restore it from a copy, or fit again")
    return about


def _is_inside(row: dict[str, Any]) -> bool:
    """Whether a run is said to lie in this folder: a file from a stranger must not lead elsewhere."""
    name = row.get("folder")
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name
