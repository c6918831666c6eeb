"""One hidden layer comes as near to a continuous function as one likes: by construction, and as far as fitting finds it.

With n rectified units whose kinks stand at n equal steps h = L / n, the weights can be written down so that the network is the polygon
through the function's values; its error is then at most h² max|f''| / 8 (the error of linear interpolation). Fitting is not promised
anything by the theorem: it is measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hubel.core.random import torch_seeded
from hubel.core.types import Batch
from hubel.nets import mlp
from hubel.objectives import SquaredError
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study, settle, slope

FREQUENCIES = ((1.0, 2 * np.pi), (1 / 3, 6 * np.pi))  # f = sum of a sin(w x)
DENSE = np.linspace(0, 1, 4001)


def universal_approximation(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """The error of a network of one variable against its width and depth: written down, and fitted."""
    return run_study(_universal_approximation, quick=quick, seed=seed, out=out)


def _universal_approximation(quick: bool, seed: int) -> Study:
    widths = (2, 4, 8, 16, 32, 64, 128)
    fitted_widths = (2, 16) if quick else (2, 4, 8, 16, 32, 64)
    draws, num_steps = (1, 10) if quick else (3, 25)
    polygons = {n: _polygon(n) for n in widths}
    written = [_worst(polygons[n]) for n in widths]
    bounds = [(1 / n) ** 2 / 8 * np.abs(_curvature(DENSE)).max() for n in widths]
    kinds = {"ReLU": ("relu", 1), "tanh": ("tanh", 1), "2 layers": ("tanh", 2)}
    fitted: dict[str, list[float]] = {}
    examples = {}
    for name, (activation, depth) in kinds.items():
        fitted[name] = []
        for n in fitted_widths:
            nets = [_fitted((n,) * depth, activation, num_steps, seed, draw) for draw in range(draws)]
            examples[name, n] = nets[0]
            fitted[name].append(float(np.median([_worst(net) for net in nets])))
    last = fitted_widths[-1]
    better = [n for n, e in zip(fitted_widths, fitted["tanh"], strict=True) if e < written[widths.index(n)]]
    rows = [(n, w, b, *(fitted[k][fitted_widths.index(n)] if n in fitted_widths else "–" for k in kinds))
            for n, w, b in zip(widths, written, bounds, strict=True)]  # fmt: skip
    power = slope(widths[3:], written[3:])
    return Study(
        name="universal_approximation",
        title="One hidden layer approximates any continuous function",
        question="How wide must a network be to come within a given distance of a function of one variable?",
        seen=f"""The network that is written down, with its kinks at equal steps, stays below the bound h² max|f''| / 8 at every width, and its
        worst error falls with the power {power:.2f} of the width: twice the units, a quarter of the error. The bound and its proof are those of
        linear interpolation; Cybenko (1989) and Hornik (1991) prove the same without a rate for every continuous function and nearly every
        activation, Leshno et al. (1993) for every activation that is no polynomial.

        Fitting starts from random weights and is not bound to equal steps: with one hidden layer of tanh its worst error was less than that of the
        polygon at {_listed(better)} units, and not at {_listed([n for n in fitted_widths if n not in better])}. The theorem says that good
        weights exist, not that they are found.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(name="bound", x=widths, y=bounds, kind="two", marks="dashed"),
                        Curve(name="written", x=widths, y=written, marks="both"),
                        *(
                            Curve(name=name, x=fitted_widths, y=values, kind=kind, marks="both")
                            for kind, (name, values) in zip(
                                ("three", "four", "five"), fitted.items(), strict=True
                            )
                        ),
                    ],
                    x_name="units in a hidden layer",
                    y_name="worst error max |net − f|",
                    alt="The error falls as the square of the width",
                    log_x=True,
                    log_y=True,
                ),
                caption=f"Written down: the polygon in {widths[0]} to {widths[-1]} units. Fitted with L-BFGS: the median of {draws}.",
            ),
            _overlay(
                {f"written, {n}": polygons[n] for n in (4, 16)},
                "Networks that are written down, with 4 and 16 units.",
            ),
            _overlay(
                {f"tanh, {n}": examples["tanh", n] for n in (fitted_widths[0], last)},
                "Networks that were fitted.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Worst error by width",
                columns=("units", "written", "bound", *kinds),
                rows=tuple(rows),
            ),
        ),
        numbers={
            "widths": widths,
            "written": written,
            "bound": bounds,
            "power": power,
            "fitted_widths": fitted_widths,
            "fitted": fitted,
        },
        sources=(
            "G. Cybenko, Math. Control Signals Syst. 2, 303 (1989), doi:10.1007/BF02551274",
            "K. Hornik, Neural Networks 4, 251 (1991), doi:10.1016/0893-6080(91)90009-T",
            "M. Leshno et al., Neural Networks 6, 861 (1993), doi:10.1016/S0893-6080(05)80131-5",
        ),
    )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "no number of"


def _target(x: np.ndarray) -> np.ndarray:
    return sum(a * np.sin(w * x) for a, w in FREQUENCIES)  # type: ignore[return-value]


def _curvature(x: np.ndarray) -> np.ndarray:
    return sum(-a * w**2 * np.sin(w * x) for a, w in FREQUENCIES)  # type: ignore[return-value]


@torch.no_grad()
def _polygon(width: int) -> nn.Module:
    """A network of `width` rectified units that passes through f at equal steps: each unit adds a change of slope."""
    net = mlp((width,), inputs=1, outputs=1).double()
    hidden, head = net.body[0], net.head
    assert isinstance(hidden, nn.Linear)
    knots = np.linspace(0, 1, width + 1)
    slopes = np.diff(_target(knots)) * width
    hidden.weight.fill_(1.0)
    hidden.bias.copy_(torch.from_numpy(-knots[:-1]))
    head.weight.copy_(torch.from_numpy(np.diff(slopes, prepend=0.0))[None])
    head.bias.fill_(float(_target(knots[:1])[0]))
    return net


def _fitted(hidden: tuple[int, ...], activation: str, num_steps: int, seed: int, draw: int) -> nn.Module:
    """A network fitted to 256 values of f: L-BFGS, 25 iterations a step."""
    x = np.linspace(0, 1, 256)
    batch = Batch(inputs=torch.from_numpy(x)[:, None], targets=torch.from_numpy(_target(x))[:, None])
    with torch_seeded(seed, "universal approximation", draw):
        net = mlp(hidden, inputs=1, outputs=1, activation=activation).double()
        first = net.body[0]
        assert isinstance(first, nn.Linear)
        with torch.no_grad():  # kinks all over the interval, not only at its end
            first.weight.mul_(6.0)
            first.bias.copy_(-first.weight[:, 0] * torch.rand(hidden[0], dtype=torch.float64))
    settle(net, SquaredError(1), batch, num_steps=num_steps)
    return net


@torch.no_grad()
def _values(net: nn.Module) -> np.ndarray:
    return net(torch.from_numpy(DENSE)[:, None])[:, 0].numpy()


def _worst(net: nn.Module) -> float:
    return float(np.abs(_values(net) - _target(DENSE)).max())


def _overlay(nets: dict[str, nn.Module], caption: str) -> StudyFigure:
    shown = slice(None, None, 10)
    curves = [
        Curve(name=name, x=DENSE[shown], y=_values(net)[shown], kind=kind)
        for kind, (name, net) in zip(("one", "two"), nets.items(), strict=True)
    ]
    truth = Curve(name="f", x=DENSE[shown], y=_target(DENSE)[shown], kind="three", marks="dashed")
    return StudyFigure(
        picture=plot(
            [truth, *curves],
            x_name="x",
            y_name="f(x) and networks",
            alt="Networks of two widths and the function",
        ),
        caption=caption,
    )
