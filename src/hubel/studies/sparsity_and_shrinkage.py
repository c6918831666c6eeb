"""L1 makes weights exactly zero, L2 makes all of them smaller: fitted with hubel's penalties, against their closed forms.

On the quadratic loss (1/2) sum of c (w - m)², with curvatures c and its minimum at m,

    L2, strength a:        w = m c / (c + a)
    L1, strength a:        w = sign(m) max(|m| - a / c, 0)
    both, a1 and a2:       w = sign(m) max(c |m| - a1, 0) / (c + a2)

The quadratic is the squared error of a linear network on inputs whose columns are orthogonal, so that everything here is a fit.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hubel.core.random import numpy_generator
from hubel.core.types import Batch
from hubel.fitting import L1, L2, SGD, Backprop, Penalty, steps
from hubel.objectives import SquaredError
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study

NUM_WEIGHTS = 12
SUBGRADIENT_STEPS = 3000
Closed = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def shrunk(minimum: np.ndarray, curvature: np.ndarray, strength: float) -> np.ndarray:
    """The weights under L2."""
    return minimum * curvature / (curvature + strength)


def thresholded(minimum: np.ndarray, curvature: np.ndarray, strength: float) -> np.ndarray:
    """The weights under L1."""
    return np.sign(minimum) * np.maximum(np.abs(minimum) - strength / curvature, 0)


def elastic(minimum: np.ndarray, curvature: np.ndarray, strength: float) -> np.ndarray:
    """The weights under L1 and L2 of the same strength."""
    return np.sign(minimum) * np.maximum(curvature * np.abs(minimum) - strength, 0) / (curvature + strength)


def by_subgradient(minimum: np.ndarray, curvature: np.ndarray, strength: float) -> np.ndarray:
    """The weights under L1 by plain descent with the derivative of |w| in the gradient, at the rate of the fits."""
    rate, w = 1 / curvature.max(), np.zeros_like(minimum)
    for _ in range(SUBGRADIENT_STEPS):
        w = w - rate * (curvature * (w - minimum) + strength * np.sign(w))
    return w


KINDS: dict[str, tuple[Closed, Callable[[float], tuple[Penalty, ...]]]] = {
    "L2": (shrunk, lambda a: (L2(strength=a),)),
    "L1": (thresholded, lambda a: (L1(strength=a),)),
    "both": (elastic, lambda a: (L1(strength=a), L2(strength=a))),
}


def sparsity_and_shrinkage(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """L1 and L2 on a quadratic loss, weight by weight against the soft threshold and the shrinkage factor."""
    return run_study(_sparsity_and_shrinkage, quick=quick, seed=seed, out=out)


def _sparsity_and_shrinkage(quick: bool, seed: int) -> Study:
    strengths = [0.03, 0.6] if quick else np.geomspace(0.003, 10, 15).tolist()
    minimum, curvature, batch = _quadratic(seed)
    fitted = {
        kind: np.array([_fitted(batch, curvature, make(a)) for a in strengths])
        for kind, (_, make) in KINDS.items()
    }
    expected = {
        k: np.array([closed(minimum, curvature, a) for a in strengths]) for k, (closed, _) in KINDS.items()
    }
    worst = {kind: float(np.abs(fitted[kind] - expected[kind]).max()) for kind in KINDS}
    zeros = {kind: (fitted[kind] == 0).sum(axis=1) for kind in KINDS}
    foreseen = {kind: (expected[kind] == 0).sum(axis=1) for kind in KINDS}
    left = by_subgradient(minimum, curvature, strengths[-1])[fitted["L1"][-1] == 0]
    jitter, furthest = int((left == 0).sum()), float(np.abs(left).max(initial=0.0))
    return Study(
        name="sparsity_and_shrinkage",
        title="L1 makes weights zero, L2 makes them small",
        question="What do the two penalties do to the weights of a fit?",
        seen=f"""Of {NUM_WEIGHTS} weights, L1 sets {zeros["L1"][0]} to exactly zero at the least strength ({strengths[0]:.2g}) and
        {zeros["L1"][-1]} at the greatest ({strengths[-1]:.2g}); L2 sets none, however strong: it multiplies each by c / (c + a), which is
        never zero. Directions of little curvature c, about which the data say little, lose most under both. The fits agree with the closed
        forms to {max(worst.values()):.0e}.

        The zeros are exact because the penalty acts as a soft threshold after the step (a proximal step). With the derivative of |w| added to the
        gradient instead, the same descent of {SUBGRADIENT_STEPS} steps leaves {jitter} of these {zeros["L1"][-1]} weights at exactly zero
        (strength {strengths[-1]:.2g}); the others end up to {furthest:.2g} away from it.""",
        figures=(
            *(_path_figure(kind, strengths, fitted[kind], expected[kind], curvature) for kind in KINDS),
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=kind, x=strengths, y=zeros[kind], kind=colour, marks="both")
                        for colour, kind in zip(("two", "one", "three"), KINDS, strict=True)
                    ],
                    x_name="strength a of the penalty",
                    y_name=f"weights that are exactly zero, of {NUM_WEIGHTS}",
                    alt="L1 makes more weights zero as it grows, L2 none",
                    log_x=True,
                ),
                caption="Counted as w == 0, without a tolerance.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Fits against the closed forms",
                columns=("penalty", "largest difference", "zeros at the greatest strength", "expected"),
                rows=tuple((k, worst[k], int(zeros[k][-1]), int(foreseen[k][-1])) for k in KINDS),
            ),
        ),
        numbers={
            "strengths": strengths,
            "minimum": minimum,
            "curvature": curvature,
            "fitted": fitted,
            "expected": expected,
            "worst": worst,
            "zeros": zeros,
            "expected_zeros": foreseen,
            "zeros_by_subgradient": jitter,
            "furthest_by_subgradient": furthest,
        },
        sources=(
            "I. Goodfellow, Y. Bengio, A. Courville, Deep Learning, MIT Press (2016), section 7.1: both closed forms",
            "R. Tibshirani, J. R. Stat. Soc. B 58, 267 (1996), doi:10.1111/j.2517-6161.1996.tb02080.x: the lasso",
            "I. Daubechies, M. Defrise, C. De Mol, Commun. Pure Appl. Math. 57, 1413 (2004), doi:10.1002/cpa.20042: the proximal step",
            "H. Zou, T. Hastie, J. R. Stat. Soc. B 67, 301 (2005), doi:10.1111/j.1467-9868.2005.00503.x: both together",
        ),
    )


def _quadratic(seed: int) -> tuple[np.ndarray, np.ndarray, Batch]:
    """Minimum m [P], curvatures c [P], and the examples on which the mean squared error is (1/2) sum of c (w - m)²."""
    generator = numpy_generator(seed, "quadratic")
    curvature = np.geomspace(1.0, 0.2, NUM_WEIGHTS)
    minimum = generator.uniform(0.2, 2.0, NUM_WEIGHTS) * generator.choice((-1, 1), NUM_WEIGHTS)
    num = 4 * NUM_WEIGHTS
    orthonormal = np.linalg.qr(generator.normal(size=(num, NUM_WEIGHTS)))[0]
    x = orthonormal * np.sqrt(
        num * curvature / 2
    )  # the second derivative of the mean of (x w - y)² is 2 x'x / N
    return minimum, curvature, Batch(inputs=torch.tensor(x), targets=torch.tensor(x @ minimum))


def _fitted(batch: Batch, curvature: np.ndarray, penalties: tuple[Penalty, ...]) -> np.ndarray:
    """The weights [P] after plain gradient descent, at a rate that no direction overshoots, until nothing changes."""
    net = nn.Linear(NUM_WEIGHTS, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(net.weight)
    steepest = float(curvature.max()) + sum(p.strength for p in penalties if isinstance(p, L2))
    optimizer = SGD(learning_rate=1 / steepest, momentum=0, weight_decay=0).build(net)
    before = torch.zeros_like(net.weight)
    for _ in steps(net, SquaredError(1), [batch] * 3000, rule=Backprop(optimizer, penalties=penalties)):
        if float((net.weight.detach() - before).abs().max()) < 1e-13:
            break
        before = net.weight.detach().clone()
    return net.weight.detach()[0].numpy()


def _path_figure(
    kind: str, strengths: list[float], fitted: np.ndarray, expected: np.ndarray, curvature: np.ndarray
) -> StudyFigure:
    curves = []
    for number, colour in zip(
        (0, NUM_WEIGHTS // 3, 2 * NUM_WEIGHTS // 3, NUM_WEIGHTS - 1),
        ("one", "three", "five", "two"),
        strict=True,
    ):
        curves.append(
            Curve(name=f"c = {curvature[number]:.2f}", x=strengths, y=expected[:, number], kind=colour)
        )
        curves.append(Curve(name="", x=strengths, y=fitted[:, number], kind=colour, marks="points"))
    what = "L1 and L2 of the same strength" if kind == "both" else kind
    return StudyFigure(
        picture=plot(
            curves,
            x_name="strength a of the penalty",
            y_name=f"weight under {what}",
            alt=f"Weights against the strength of {what}: fits lie on the closed form",
            log_x=True,
        ),
        caption=f"{what}: lines are the closed form, dots are fits; c is the curvature in the weight's direction.",
    )
