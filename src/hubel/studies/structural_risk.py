"""Vapnik's bound, and structural risk minimization: which capacity to choose without looking at test data.

With probability 1 - eta over training sets of N examples, for every classifier of a family of Vapnik-Chervonenkis dimension h at once,

    error on new data  <=  error on training data  +  sqrt( (h (ln(2 N / h) + 1) - ln(eta / 4)) / N )

The second term, the confidence term, knows nothing of the data. In one variable, classifiers by the sign of a polynomial of degree d have
h = d + 1: they separate any d + 1 points in every way, and no d + 2. Structural risk minimization takes the degree of the least bound.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from hubel.core.random import numpy_generator
from hubel.core.types import Batch
from hubel.nets import mlp
from hubel.objectives import BinaryCrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study, settle

FLIPPED = 0.1  # share of labels that are wrong: no classifier errs on less of the new data
CHANGES = (-0.75, -0.2, 0.3, 0.8)  # where the true class changes: a polynomial of degree 4
DEGREES = tuple(range(11))


def structural_risk(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Vapnik's confidence term, training and test error against capacity, and the capacity of the least bound."""
    return run_study(_structural_risk, quick=quick, seed=seed, out=out)


def confidence(capacity: float, num: float, eta: float = 0.05) -> float:
    """Vapnik's confidence term for a family of VC dimension `capacity` and `num` training examples.

    >>> round(confidence(5, 2000), 3), confidence(5, 100) > confidence(5, 1000)
    (0.146, True)
    """
    return math.sqrt((capacity * (math.log(2 * num / capacity) + 1) - math.log(eta / 4)) / num)


def _structural_risk(quick: bool, seed: int) -> Study:
    num, draws = (2000, 2) if quick else (2000, 20)
    small = 60
    found = {
        n: [_errors(n, draw, seed) for draw in range(draws)] for n in (small, num)
    }  # [draw][degree] -> training, new
    terms = {n: [confidence(d + 1, n) for d in DEGREES] for n in found}
    training, new = (np.array([[e[i] for e in row] for row in found[num]]) for i in (0, 1))
    bounds = training + np.array(terms[num])
    chosen = int(np.argmin(bounds.mean(axis=0)))
    best = int(np.argmin(new.mean(axis=0)))
    held = float(np.mean((new <= bounds).all(axis=1)))
    least_small = float((np.mean([[e[0] for e in row] for row in found[small]], axis=0) + terms[small]).min())
    return Study(
        name="structural_risk",
        title="Vapnik's bound and structural risk minimization",
        question="Can one say before any test how much worse a classifier will do on new data, and choose its capacity by that?",
        seen=f"""The least training error of a family can only fall with its capacity h, the confidence term can only rise; their sum has a minimum, and structural
        risk minimization stops there: at degree {chosen} of the polynomial for {num} examples, where the error on new data is
        {new.mean(axis=0)[chosen]:.3f}; the least, {new.mean(axis=0)[best]:.3f}, is at degree {best}. (The true class changes at {len(CHANGES)} points,
        which degree {len(CHANGES)} could follow; the fits here are logistic regressions, which minimize a loss of probabilities and not the number
        of errors.) The bound held for all degrees at once in {held:.0%} of {draws} training sets; it promises 95 %.
        It covers every distribution of the data and the unluckiest classifier of the family, and is as far from tight as that:
        {bounds.mean(axis=0)[chosen]:.2f} where the error is {new.mean(axis=0)[chosen]:.2f}. With {small} examples the least of the bounds is
        {least_small:.2f}, where guessing errs on 0.50.

        Large networks can fit labels drawn at random, and yet they generalize (Zhang et al. 2017): where h exceeds N the bound is above 1, true
        and empty. About the words: bias is what a family of low capacity can not fit, variance how much the fit depends on the training set. More
        capacity reduces the bias and raises the variance, for which the confidence term is a bound. (One of the lectures has it the other way
        round.)""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(name="bound", x=DEGREES, y=bounds.mean(axis=0), kind="two", marks="both"),
                        Curve(name="confidence", x=DEGREES, y=terms[num], kind="five", marks="dashed"),
                        Curve(name="new data", x=DEGREES, y=new.mean(axis=0), kind="three", marks="both"),
                        Curve(name="training", x=DEGREES, y=training.mean(axis=0), marks="both"),
                    ],
                    x_name="degree of the polynomial (capacity h = degree + 1)",
                    y_name=f"share of wrong answers, {num} examples",
                    alt="Training error falls, confidence term rises, their sum has a minimum",
                    level=(FLIPPED, "labels that are wrong"),
                ),
                caption=f"Logistic regression on polynomials; mean of {draws} training sets, 20,000 new examples.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=f"h = {h}", x=_sizes(), y=[confidence(h, n) for n in _sizes()], kind=kind)
                        for h, kind in ((5, "one"), (50, "three"), (500, "two"))
                    ],
                    x_name="training examples N",
                    y_name="confidence term",
                    alt="The confidence term falls slowly with the number of examples",
                    log_x=True,
                    log_y=True,
                    level=(1.0, "no statement above 1"),
                ),
                caption="The confidence term at 95 %: here a thousand examples for every unit of capacity bring it below 0.1.",
            ),
        ),
        tables=(
            StudyTable(
                caption=f"{num} training examples",
                columns=("degree", "training error", "error on new data", "confidence term", "bound"),
                rows=tuple(
                    (
                        d,
                        float(training[:, d].mean()),
                        float(new[:, d].mean()),
                        terms[num][d],
                        float(bounds[:, d].mean()),
                    )
                    for d in DEGREES
                ),
            ),
        ),
        numbers={
            "num": num,
            "degrees": DEGREES,
            "training": training,
            "new": new,
            "confidence": terms[num],
            "confidence_small": terms[small],
            "chosen": chosen,
            "best": best,
            "held": held,
            "least_bound_small": least_small,
            "truth": len(CHANGES),
        },
        sources=(
            "V. N. Vapnik, The Nature of Statistical Learning Theory (1995), doi:10.1007/978-1-4757-2440-0",
            "C. J. C. Burges, A tutorial on support vector machines, Data Min. Knowl. Discov. 2, 121 (1998), doi:10.1023/A:1009715923555: the bound",
            "C. Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017, arXiv:1611.03530",
        ),
    )


def _sizes() -> list[float]:
    return np.geomspace(1e3, 1e6, 25).round().tolist()


def _examples(num: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = generator.uniform(-1, 1, num)
    right = np.prod([x - c for c in CHANGES], axis=0) > 0
    return x, (right ^ (generator.random(num) < FLIPPED)).astype(np.int64)


def _errors(num: int, draw: int, seed: int) -> list[tuple[float, float]]:
    """Training error and error on new data of logistic regression on polynomials of every degree."""
    generator = numpy_generator(seed, "structural risk", num, draw)
    (x, y), (x_new, y_new) = _examples(num, generator), _examples(20_000, generator)
    found = []
    for degree in DEGREES:
        inputs = _powers(x, degree)
        net = mlp((), inputs=degree + 1, outputs=1).double()
        torch.nn.init.zeros_(net.head.weight)
        batch = Batch(inputs=inputs, targets=torch.from_numpy(y))
        settle(net, BinaryCrossEntropy(1), batch, num_steps=1, iterations=60)
        with torch.no_grad():
            wrong = [
                float(((net(points)[:, 0] > 0).numpy() != labels.astype(bool)).mean())
                for points, labels in ((inputs, y), (_powers(x_new, degree), y_new))
            ]
        found.append((wrong[0], wrong[1]))
    return found


def _powers(x: np.ndarray, degree: int) -> torch.Tensor:
    """Legendre polynomials of x up to `degree`: [N, degree + 1]; the bias of the network repeats the first."""
    return torch.from_numpy(np.polynomial.legendre.legvander(x, degree))
