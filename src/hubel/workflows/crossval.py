"""`cross_validate`: a network for every fold, each scored on examples that it never saw; together every example is scored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.data.folds import folds as rows_of_folds
from hubel.data.source import dataset_of
from hubel.fitting import Run
from hubel.workflows.fit import fit


@dataclass(frozen=True)
class CrossValidation:
    """The runs of a cross-validation, and their scores: name to the values of all folds."""

    runs: tuple[Run, ...]
    scores: Mapping[str, tuple[float, ...]]

    def mean(self, name: str) -> float:
        """Mean over the folds."""
        return float(np.mean(self.scores[name]))

    def sd(self, name: str) -> float:
        """Standard deviation over the folds (n - 1). The folds share training examples, so it is no error of the mean."""
        return float(np.std(self.scores[name], ddof=1))

    def __str__(self) -> str:
        lines = [f"{name:<18} {self.mean(name):.4g} ± {self.sd(name):.2g}" for name in self.scores]
        return f"{len(self.runs)} folds, mean ± standard deviation over folds\n" + "\n".join(lines)


def cross_validate(
    source: Any,
    y: Any = None,
    *,
    folds: int = 5,
    seed: int = 0,
    groups: Sequence[Any] | np.ndarray | None = None,
    options: Mapping[str, Any] | None = None,
    out: Path | str,
    **more: Any,
) -> CrossValidation:
    """Fit `folds` networks, each tested on another part of the data, into the run folders `out`/fold-1, fold-2, ….

    The folds have the same share of each class and split no group. What else `more` holds goes to `fit` (net, objective, recipe, budget,
    device, quiet); the validation part is taken from the training part of each fold.

    Raises `ValueError` where the data came with a test part (it would be mixed with the rest), and what `fit` and `folds` raise.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    >>> y, recipe = (x[:, 0] > 0).astype(int), hubel.Recipe(epochs=2, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = cross_validate(x, y, folds=3, recipe=recipe, out=folder, quiet=True)
    >>> len(found.scores["accuracy"])
    3
    """
    whole = dataset_of(source, y, options=options)
    if whole.part is not None:
        given = sorted(set(np.asarray(whole.part).tolist()))
        raise ValueError(
            f"{whole.name} came with the parts {', '.join(given)}: cross-validation would mix them. Pass the training part alone"
        )
    whole = whole if groups is None else replace(whole, groups=np.asarray(groups))
    runs = []
    for number, test in enumerate(rows_of_folds(whole, folds, seed=seed), start=1):
        part = np.full(len(whole), "train", dtype="<U10")
        part[test] = "test"
        runs.append(fit(replace(whole, part=part), out=Path(out) / f"fold-{number}", **more))
    names = list(runs[0].test)
    scores = {
        name: tuple(float(run.test[name]["value"]) for run in runs)
        for name in names
        if _all_there(runs, name)
    }
    return CrossValidation(tuple(runs), scores)


def _all_there(runs: Sequence[Run], name: str) -> bool:
    return all(run.test.get(name, {}).get("value") is not None for run in runs)
