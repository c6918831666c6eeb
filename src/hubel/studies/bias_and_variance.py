"""Bias and variance: the error of a fit against its complexity, over many training sets drawn again.

For values y = f(x) + noise of variance s², and fits g that depend on the training set,

    mean squared error at a new value = (mean of g - f)²  +  variance of g  +  s²  =  bias² + variance + noise

With least squares in P functions on N training values, the variance at the training inputs is s² P / N on average, and where the bias
is zero the training error is s² (1 - P / N): it falls with every parameter, whatever the truth is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hubel.core.random import numpy_generator, torch_seeded
from hubel.core.types import Batch
from hubel.nets import mlp
from hubel.objectives import SquaredError
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study, settle

NOISE = 0.3  # standard deviation
NUM = 30  # training values
DEGREES = tuple(range(13))


def bias_and_variance(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Training and test error against complexity over many training sets: bias² + variance + noise = error."""
    return run_study(_bias_and_variance, quick=quick, seed=seed, out=out)


def _bias_and_variance(quick: bool, seed: int) -> Study:
    draws = 300 if quick else 3000
    polynomials = {d: _decomposed(_polynomial(d), draws, seed) for d in DEGREES}
    widths, net_draws = ((1, 8), 4) if quick else ((1, 2, 3, 4, 6, 8, 16, 32), 20)
    nets = {w: _decomposed(lambda x, y, w=w: _net(w, x, y, seed), net_draws, seed) for w in widths}
    column = {key: [polynomials[d][key] for d in DEGREES] for key in polynomials[0]}
    best = int(np.argmin(column["test"]))
    least = min(widths, key=lambda width: nets[width]["test"])
    apart = max(
        abs(v / (NOISE**2 * (d + 1) / NUM) - 1)
        for d, v in zip(DEGREES, column["variance_at_training"], strict=True)
    )
    return Study(
        name="bias_and_variance",
        title="Bias and variance",
        question="Why does a model that fits its training data better predict new data worse?",
        seen=f"""Each degree was fitted to {draws} training sets of {NUM} values with fresh noise. The training error falls all the way; the error on new
        values falls, is least at degree {best}, and rises. The sum of bias² (how far the mean fit is from the truth), variance (how much fits
        to different training sets differ) and noise equals the measured error within its sampling error at every degree (the largest
        deviation is {max(abs(d) for d in column["deviation"]):.1f} standard errors): it is an identity, not a law of nature. At the training inputs the
        variance is s² P / N, so that every parameter costs the same; measured, it is within {apart:.0%} of that at every degree.

        More capacity means less bias and more variance. (One of the lectures has the two words swapped: it says that a larger capacity reduces
        the variance and raises the bias.) Of the networks the test error is least at {_units(least)}; from {_units(widths[0])} to
        {_units(widths[-1])} the bias² goes from {nets[widths[0]]["bias2"]:.2g} to {nets[widths[-1]]["bias2"]:.2g} and the variance from
        {nets[widths[0]]["variance"]:.2g} to {nets[widths[-1]]["variance"]:.2g}.{_outliers(nets)} Belkin et al. (2019) find test errors that fall again
        for models with far more parameters than data.""",
        figures=(
            _figure(
                polynomials,
                "degree of the polynomial",
                log_x=False,
                caption=f"Polynomials, {draws} training sets; units of y².",
            ),
            _figure(
                nets,
                "hidden units",
                log_x=True,
                caption=f"Networks with one hidden layer (tanh, L-BFGS), {net_draws} training sets.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name="s² P / N",
                            x=DEGREES,
                            y=[NOISE**2 * (d + 1) / NUM for d in DEGREES],
                            kind="two",
                            marks="dashed",
                        ),
                        Curve(name="measured", x=DEGREES, y=column["variance_at_training"], marks="points"),
                    ],
                    x_name="degree of the polynomial",
                    y_name="variance at the training inputs (y²)",
                    alt="The variance is proportional to the number of parameters",
                ),
                caption="P = degree + 1 parameters, N = 30 values.",
            ),
        ),
        tables=(
            _table("Polynomials (all in units of y²)", "degree", polynomials),
            _table("Networks", "hidden units", nets),
        ),
        numbers={
            "noise2": NOISE**2,
            "num": NUM,
            "draws": draws,
            "polynomials": polynomials,
            "nets": nets,
            "best_degree": best,
            "variance_apart": apart,
        },
        sources=(
            "S. Geman, E. Bienenstock, R. Doursat, Neural Comput. 4, 1 (1992), doi:10.1162/neco.1992.4.1.1",
            "T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning (2009), section 7.3, doi:10.1007/978-0-387-84858-7",
            "M. Belkin et al., Proc. Natl. Acad. Sci. 116, 15849 (2019), doi:10.1073/pnas.1903070116: beyond the classical curve",
        ),
    )


def _table(caption: str, capacity: str, found: dict[int, dict[str, float]]) -> StudyTable:
    """The parts of the error by capacity."""
    keys = ("training", "test", "bias2", "variance", "sum")
    return StudyTable(
        caption=caption,
        columns=(capacity, "training error", "test error", "bias²", "variance", "bias² + variance + noise"),
        rows=tuple((size, *(values[key] for key in keys)) for size, values in found.items()),
    )


def _units(width: int) -> str:
    return f"{width} hidden unit{'' if width == 1 else 's'}"


def _truth(x: np.ndarray) -> np.ndarray:
    return np.sin(2.5 * x) + 0.5 * x


def _outliers(nets: dict[int, dict[str, float]]) -> str:
    """What a mean far above its median says: some fits swing out between the training inputs."""
    far = [width for width, found in nets.items() if found["test"] > 3 * found["test_median"]]
    told = [
        f"at {_units(width)} the mean is {nets[width]['test']:.2g}, the median {nets[width]['test_median']:.2g} and the worst {nets[width]['test_worst']:.2g}"
        for width in far
    ]
    return (
        f" Some fits swing out between the training inputs and carry the mean: {'; '.join(told)}."
        if far
        else ""
    )


def _decomposed(fit, draws: int, seed: int) -> dict[str, float]:
    """Training error, test error and its parts, of `fit(x, y)`, which answers a function, over training sets with fresh noise.

    `deviation` is test error minus the sum of its parts, in standard errors.
    """
    generator = numpy_generator(seed, "bias and variance")
    x, between = np.linspace(-1, 1, NUM), np.linspace(-0.97, 0.97, 101)
    training, values, at_training, errors = [], [], [], []
    for _ in range(draws):
        y = _truth(x) + NOISE * generator.normal(size=NUM)
        fresh = _truth(between) + NOISE * generator.normal(size=len(between))
        predict = fit(x, y)
        at_training.append(predict(x))
        values.append(predict(between))
        training.append(np.mean((at_training[-1] - y) ** 2))
        errors.append(np.mean((values[-1] - fresh) ** 2))
    bias2 = float(np.mean((np.mean(values, axis=0) - _truth(between)) ** 2))
    variance = float(np.var(values, axis=0).mean())
    total = bias2 + variance + NOISE**2
    return {
        "training": float(np.mean(training)),
        "test": float(np.mean(errors)),
        "test_median": float(np.median(errors)),
        "test_worst": float(np.max(errors)),
        "bias2": bias2,
        "variance": variance,
        "sum": total,
        "deviation": float((np.mean(errors) - total) / (np.std(errors) / np.sqrt(draws))),
        "variance_at_training": float(np.var(at_training, axis=0, ddof=1).mean()),
    }


def _polynomial(degree: int):
    """Least squares in the Legendre polynomials up to `degree`."""

    def fit(x: np.ndarray, y: np.ndarray):
        return np.polynomial.Legendre.fit(x, y, degree, domain=[-1, 1])

    return fit


def _net(width: int, x: np.ndarray, y: np.ndarray, seed: int):
    """A network with one hidden layer, 200 iterations of L-BFGS from the same initial weights."""
    with torch_seeded(seed, "bias and variance", width):
        net = mlp((width,), inputs=1, outputs=1, activation="tanh").double()
        with torch.no_grad():
            net.body[0].weight.mul_(3.0)  # type: ignore[operator, union-attr]
    batch = Batch(inputs=torch.from_numpy(x)[:, None], targets=torch.from_numpy(y)[:, None])
    settle(net, SquaredError(1), batch, num_steps=4, iterations=50)

    def predict(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(points)[:, None])[:, 0].numpy()

    return predict


def _figure(found: dict[int, dict[str, float]], x_name: str, *, log_x: bool, caption: str) -> StudyFigure:
    drawn = {
        "test": ("test", "two"),
        "training": ("training", "one"),
        "bias2": ("bias²", "four"),
        "variance": ("variance", "three"),
    }
    curves = [
        Curve(name=name, x=list(found), y=[v[key] for v in found.values()], kind=kind, marks="both")
        for key, (name, kind) in drawn.items()
    ]
    curves.append(
        Curve(name="sum", x=list(found), y=[v["sum"] for v in found.values()], kind="two", marks="dashed")
    )
    return StudyFigure(
        picture=plot(
            curves,
            x_name=x_name,
            y_name="mean squared error and its parts (y²)",
            alt="Training error falls, test error falls and rises; bias falls, variance rises",
            log_x=log_x,
            log_y=True,
            y_limits=(1e-4, 2.0),
        ),
        caption=caption,
    )
