"""DeepLIFT: what each value of the input did for the difference to a baseline, exactly, in one pass back.

    C_i = m_i (x_i - x⁰_i),   Σ_i C_i = f(x) - f(x⁰)

The multipliers m are chained as derivatives are, where each operation has finite differences in the place of its derivative
(`hubel.explain.deeplift_rules`). So saturated units, whose gradient is zero, are explained as well, and the sum is exact: the
residual is that of rounding, for every network whose operations have rules. On a linear network it is gradient times (input - baseline),
which is also what integrated gradients give.

Source: A. Shrikumar, P. Greenside, A. Kundaje, "Learning Important Features Through Propagating Activation Differences", ICML 2017
(arXiv:1704.02685). Where we differ: maxima, products, softmax and layer norm have rules of their own, all of them exact.
"""

from __future__ import annotations

import time
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.completeness import completeness_residual
from hubel.explain.deeplift_rules import Multipliers
from hubel.explain.entry import Baseline, Entry
from hubel.explain.gradient import again_if_in_place, slope_at
from hubel.explain.intercept import intercepted
from hubel.explain.propagation import check_unchanged
from hubel.explain.question import Question, Scale, Target, untouched


def deeplift(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    baseline: Baseline = None,
    rule: Literal["rescale", "reveal_cancel"] = "rescale",
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Contributions [N, ...] of the input `x` [N, ...] to score(x) - score(baseline), complete to rounding.

    `baseline` is zero unless given: a number, one example, or one for each; of symbols [N, L] numbers of symbols, or an embedding of
    zeros. `rule` is how elementwise functions after a convolution or linear layer are taken: "rescale" (as a whole), or
    "reveal_cancel" (what raises and what lowers them apart, so that two causes which cancel are both seen).

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> found = deeplift(net, torch.tensor([[1.0, 2.0]]), baseline=0.5)
    >>> found.values.shape, bool(found.residual.max() < 1e-5)
    (torch.Size([1, 2]), True)

    Raises `ValueError` for an operation without a rule, naming it and its place, as `Question` does, for a wrong `baseline` or `rule`, and
    for an output that does not depend on the input.
    """
    if rule not in ("rescale", "reveal_cancel"):
        raise ValueError(f'rule must be "rescale" or "reveal_cancel"; received {rule!r}')
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        point0, shown = entry.baseline(baseline)

        def attempt(careful: bool) -> tuple[Tensor, Tensor, Tensor]:
            rules = Multipliers(rule, careful=careful)
            leaf = entry.point.detach().clone().requires_grad_()
            with torch.enable_grad():
                with intercepted(net, rules, careful=careful) as engine:
                    y0 = entry(engine.marked(point0.clone(), itself=True)).detach()
                rules.turn()
                with intercepted(net, rules, careful=careful) as engine:
                    y = entry(engine.marked(leaf, itself=True))
                return y.detach(), y0, slope_at(y, leaf)

        y, y0, multipliers = again_if_in_place(attempt)
        entry.backwards += len(entry)
        check_unchanged(y, question.score, "deeplift")
        found = multipliers * (entry.point - point0)
    return Attribution(
        values=entry.values(found),
        method="DeepLIFT" if rule == "rescale" else "deeplift (reveal-cancel)",
        target=question.names,
        score=question.score,
        baseline=shown,
        residual=completeness_residual(found, y.double() - y0.double()),
        absorbed=torch.zeros_like(question.score),
        passes=entry.passes,
        seconds=time.perf_counter() - start,
    )
