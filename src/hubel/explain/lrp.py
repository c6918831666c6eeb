"""Layer-wise relevance propagation: the score is handed back through the network, operation by operation, and nothing gets lost.

    Σ_i R_i + absorbed = f(x)

What each operation does with the relevance R that reaches it is in `hubel.explain.lrp_rules` (operations with weights) and
`hubel.explain.relevance` (all others). `absorbed` is what constants keep for themselves (biases, shifts of norms, positions), and what ε
damps. On a network of ReLUs without biases LRP-0 is gradient times input.

Batch norm that follows a convolution or linear layer, by the flow of the data and not by the order of the modules, is one linear
operation with it; any other is a linear operation of its own.

Source: S. Bach, A. Binder, G. Montavon, F. Klauschen, K.-R. Müller, W. Samek, "On Pixel-Wise Explanations for Non-Linear Classifier
Decisions by Layer-Wise Relevance Propagation", PLoS ONE 10 (2015) e0130140, doi:10.1371/journal.pone.0130140.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.completeness import completeness_residual
from hubel.explain.entry import Entry
from hubel.explain.gradient import again_if_in_place, slope_at
from hubel.explain.intercept import intercepted
from hubel.explain.lrp_rules import Composite, Epsilon, Rule
from hubel.explain.propagation import check_unchanged
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.explain.relevance import Relevance


def lrp(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    rule: Rule | Composite = Epsilon(),  # noqa: B008 - frozen
    of: Scale = "score",
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """Relevance [N, ...] of the input `x` [N, ...] for the score, which it sums to with `absorbed` [N].

    `rule` is one rule for all operations with weights (`Epsilon`, `AlphaBeta`, `ZPlus`, `Gamma`), or a `Composite` of several, such as
    `EPSILON_PLUS_FLAT` (see `hubel.explain.lrp_rules`).

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> found = lrp(net, torch.tensor([[1.0, 2.0]]))
    >>> found.values.shape, bool(found.residual.max() < 1e-4)
    (torch.Size([1, 2]), True)

    Raises `ValueError` for an operation without a rule, naming it and its place, as `Question` does, for a rule for inputs that stands
    elsewhere, and for an output that does not depend on the input; `TypeError` for a `rule` that is none.
    """
    if isinstance(rule, Rule):
        if rule.at_input:
            raise ValueError(
                f"{type(rule).__name__} is for the operation that reads the input: write rule=Composite(input={type(rule).__name__}())"
            )
        composite = Composite(convolution=rule, dense=rule)
    elif isinstance(rule, Composite):
        composite = rule
    else:
        raise TypeError(f"rule must be a rule such as Epsilon(1e-6), or a Composite; received {rule!r}")
    start = time.perf_counter()
    with untouched(net):
        question = Question(net, x, target, of=of, also=also)
        entry = Entry(question)
        rows = torch.arange(len(entry), device=question.x.device)
        found, absorbed, notes = _propagated(entry, composite, rows)
        residual = completeness_residual(found, question.score, absorbed)
        loose = 1e-3 if question.score.dtype != torch.float64 else 1e-6
        if len(rows) > 1 and bool((residual > loose).any()):
            # the examples do not stand in the first axis everywhere: one after the other there is no doubt whose share it is
            parts = [_propagated(entry, composite, rows[i : i + 1]) for i in range(len(rows))]
            found = torch.cat([part[0] for part in parts])
            absorbed = torch.cat([part[1] for part in parts])
            residual = completeness_residual(found, question.score, absorbed)
    return Attribution(
        values=entry.values(found),
        method="LRP",
        target=question.names,
        score=question.score,
        residual=residual,
        absorbed=absorbed.to(question.score.dtype),
        passes=entry.passes,
        seconds=time.perf_counter() - start,
        notes=notes,
    )


def _propagated(entry: Entry, composite: Composite, rows: Tensor) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Relevances of the points of some rows, what was absorbed [len(rows)], and remarks."""
    point = entry.point[rows]

    def attempt(careful: bool) -> tuple[Tensor, Relevance]:
        rules = Relevance(composite, len(rows), point)
        leaf = point.detach().clone().requires_grad_()
        with torch.enable_grad():
            rules.anchor = leaf.flatten()[0]
            with intercepted(entry.question.net, rules, careful=careful) as engine:
                y = entry(engine.marked(leaf, itself=True), rows)
            check_unchanged(y, entry.question.score[rows], "lrp")
            found = point * slope_at(y, leaf, keep=rules.at_input)
            direct = rules.carried_to(leaf)
        return (found if direct is None else found + direct), rules

    found, rules = again_if_in_place(attempt)
    entry.backwards += len(rows)
    notes: tuple[str, ...] = ()
    if composite.input is not None and not rules.at_input:
        notes = ("no operation with a weight reads the input itself: the rule for the input was not used",)
    return found, rules.absorbed, notes
