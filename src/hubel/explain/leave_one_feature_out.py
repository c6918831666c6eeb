"""Explanation by leaving one feature out: what the network would answer if it did not know a feature.

    p(y | x without A) = Σ_s p(A = a_s) p(y | x with A ← a_s)

The sum is over the values that the feature has in `data`, as often as it has them. The answer with the feature is compared with that without
it (`measure`): the weight of evidence, the difference of information, or of probabilities; positive where the feature speaks for the target.

Source: M. Robnik-Šikonja, I. Kononenko, "Explaining classifications for individual instances", IEEE Trans. Knowl. Data Eng. 20, 589 (2008),
doi:10.1109/TKDE.2007.190734, equations 4 to 9. Each feature is left out alone: where one of several would do, none of them gets credit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import numpy_generator
from hubel.core.types import Attribution
from hubel.explain.evidence import Measure, asked, differences, num_classes
from hubel.explain.question import Question, Target, as_input, untouched
from hubel.explain.versions import BUDGET, Progress, rows_at_once, scores_of


def leave_one_feature_out(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    data: Tensor | np.ndarray,
    target: Target = None,
    measure: Measure = "evidence",
    groups: Sequence[Sequence[int]] | None = None,
    most: int = 1000,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """The evidence for the target in each feature of each example.

    `x` is [N, F], features or numbers of symbols; `data` [M, F] are examples from which other values are taken. `groups` are columns that make
    one feature together (a category in one-hot columns) and are replaced together; columns in no group stand alone. A group's effect is shared
    equally by its columns; `coarse` [N, G] has the effects themselves, groups first as given, the other columns behind them. Of more than
    `most` different values of a feature, `most` rows of the data drawn at random stand for them. For `measure` see `hubel.explain.evidence`.

    Raises `ValueError` for inputs that are no rows of features, data that do not fit, and groups that share columns.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> found = leave_one_feature_out(net, torch.ones(1, 2), data=torch.tensor([[0.0, 1], [0, 3]]), target=0, measure="score")
    >>> bool(torch.allclose(found.values[0], net.weight[0] * torch.tensor([1.0, -1.0])))
    True
    """
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=asked(measure))
        data = as_input(net, data)
        if question.x.ndim != 2 or data.ndim != 2 or data.shape[1] != question.x.shape[1]:
            raise ValueError(
                f"x and data must be rows of the same features, [N, F] and [M, F]; received {list(question.x.shape)} and {list(data.shape)}. "
                "Of maps use prediction_difference"
            )
        parts = _parts(groups, question.x.shape[1])
        classes, at_once = num_classes(question), rows_at_once(question, budget)
        values = torch.zeros(question.x.shape, dtype=question.score.dtype, device=question.x.device)
        effects = torch.zeros(len(question.x), len(parts), dtype=values.dtype, device=values.device)
        for number, columns in enumerate(parts):
            others, shares = _values(data[:, columns], most, seed, number)
            for row in range(len(question.x)):
                scores = scores_of(
                    question, row, _replaced(question.x[row], columns, others), len(others), at_once=at_once
                )
                without = (scores * shares.to(scores)).sum()
                effects[row, number] = differences(
                    question.score[row], without, measure, num=len(data), classes=classes
                )
                values[row, columns] = effects[row, number] / len(columns)
            if progress is not None:
                progress(number + 1, len(parts))
    return Attribution(
        values=values,
        method=f"leave one feature out ({measure})",
        target=question.names,
        score=question.score,
        coarse=effects,
        passes=question.calls,
        seconds=time.perf_counter() - start,
    )


def _parts(groups: Sequence[Sequence[int]] | None, count: int) -> list[list[int]]:
    """Columns that are replaced together, every column once."""
    parts = [list(group) for group in groups or ()]
    named = [column for part in parts for column in part]
    if len(set(named)) != len(named) or any(not 0 <= column < count for column in named) or [] in parts:
        raise ValueError(
            f"groups must name columns 0 to {count - 1}, each at most once; received {[list(g) for g in groups or ()]}"
        )
    return parts + [[column] for column in range(count) if column not in set(named)]


def _values(column: Tensor, most: int, seed: int, number: int) -> tuple[Tensor, Tensor]:
    """The different values [V, columns] of a feature, and how large a share of the data has each."""
    others, counts = column.unique(dim=0, return_counts=True)
    if len(others) > most:
        generator = numpy_generator(seed, "leave one feature out", number)
        others = column[
            torch.from_numpy(generator.choice(len(column), most, replace=False)).to(column.device)
        ]
        counts = torch.ones(most, device=column.device)
    return others, counts.double() / counts.sum()


def _replaced(example: Tensor, columns: list[int], others: Tensor) -> Callable[[np.ndarray], Tensor]:
    def make(numbers: np.ndarray) -> Tensor:
        versions = example.repeat(len(numbers), 1)
        versions[:, columns] = others[torch.from_numpy(numbers).to(others.device)]
        return versions

    return make
