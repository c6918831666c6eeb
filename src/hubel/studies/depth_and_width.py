"""Functions that a deep network holds in a handful of units, and a shallow one only in exponentially many (Telgarsky 2016).

The tent t(x) = 2 relu(x) - 4 relu(x - 1/2) folds the interval [0, 1] onto itself. Folded k times it has 2^k straight pieces and takes
the values 0, 1, 0, 1, … at x = i / 2^k. A deep network needs 2 units a fold. One hidden layer of w rectified units has at most w + 1
straight pieces, and each crosses 1/2 at most once; so among the n = 2^k + 1 points it forms at most w + 2 runs of one answer, and errs on
at least (n - w - 2) / 2 of them, whatever its weights are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hubel.core.random import torch_seeded
from hubel.core.types import Batch
from hubel.fitting import Adam
from hubel.nets import mlp
from hubel.objectives import BinaryCrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, run_study


def depth_and_width(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """A sawtooth in 2 units a layer, and how many units one hidden layer needs for it."""
    return run_study(_depth_and_width, quick=quick, seed=seed, out=out)


def _depth_and_width(quick: bool, seed: int) -> Study:
    folds = 4 if quick else 6
    num_steps, tries = (600, 1) if quick else (2000, 2)
    counted = [(k, 2 * k, _pieces(folded(k), k), 2**k - 1) for k in range(1, 11)]
    x, y = corners(folds)
    widths = [2**j for j in range(1, folds + 2)]
    least = [max(0.0, (len(x) - w - 2) / 2 / len(x)) for w in widths]
    reached = [min(_shallow_error(w, x, y, num_steps, seed, t) for t in range(tries)) for w in widths]
    written = float(np.mean((_answer(shallow(folds), x) > 0.5) != y.astype(bool)))
    deep = float(np.mean((_answer(folded(folds), x) > 0.5) != y.astype(bool)))
    above = float(np.mean(np.array(reached) - least))
    return Study(
        name="depth_and_width",
        title="Depth against width: a sawtooth",
        question="Are there functions that a deep network holds easily and a shallow one hardly?",
        seen=f"""Every layer of two units folds its input once more, so that k layers make 2^k straight pieces: at 10 layers, 20 hidden units
        make {counted[-1][2]} pieces, counted on the network itself. One hidden layer adds at most one piece a unit, and so needs at least
        {counted[-1][3]}; one more suffices. This is an exponential gap for one family of functions, not a law for all: smooth functions do not fold.

        On the {len(x)} points of the sawtooth with {folds} folds, no network with one hidden layer of w units can err on fewer than (n − w − 2) / 2
        points. The fitted ones (the best of {tries}, {num_steps} steps of Adam each) lie {above:.0%} of the points above it in the mean: with
        {widths[-1]} units there is a network without error, written down and checked, and the fitted one errs on {reached[-1]:.0%}. The deep network
        here is written down too: no deep one was fitted.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name="one layer",
                            x=[c[0] for c in counted],
                            y=[c[3] for c in counted],
                            kind="two",
                            marks="both",
                        ),
                        Curve(
                            name="deep", x=[c[0] for c in counted], y=[c[1] for c in counted], marks="both"
                        ),
                    ],
                    x_name="folds k",
                    y_name="hidden units for 2^k straight pieces",
                    alt="The units of a deep network grow linearly, those of a shallow one exponentially",
                    log_y=True,
                ),
                caption="Two units a layer suffice when deep; one layer needs at least 2^k − 1.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name="least possible",
                            x=widths,
                            y=[100 * v for v in least],
                            kind="two",
                            marks="dashed",
                        ),
                        Curve(name="fitted", x=widths, y=[100 * v for v in reached], marks="both"),
                    ],
                    x_name="units in one hidden layer",
                    y_name=f"points of the sawtooth on the wrong side (%), {folds} folds",
                    alt="Fitted shallow networks err at least as often as the bound says",
                    log_x=True,
                ),
                caption="A deep network of as many layers as folds makes no error.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=f"{k} folds", x=_axis(4), y=_answer(folded(k), _axis(4)), kind=kind)
                        for k, kind in ((1, "three"), (2, "one"), (4, "two"))
                    ],
                    x_name="x",
                    y_name="output",
                    alt="Tents of 1, 2 and 8 teeth",
                ),
                caption="The same two units, once, twice and four times.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Units for the sawtooth",
                columns=("folds", "units, deep", "straight pieces", "units in one layer, at least"),
                rows=tuple(counted),
            ),
            StudyTable(
                caption=f"Share of points on the wrong side, {folds} folds",
                columns=("units in one layer", "least possible", "fitted"),
                rows=tuple(zip(widths, least, reached, strict=True)),
            ),
        ),
        numbers={
            "folds": folds,
            "counted": counted,
            "widths": widths,
            "least_error": least,
            "fitted_error": reached,
            "deep_error": deep,
            "written_shallow_error": written,
        },
        sources=(
            "M. Telgarsky, Benefits of depth in neural networks, COLT 2016, arXiv:1602.04485; the proof by runs is that of arXiv:1509.08101",
            "G. Montúfar et al., On the number of linear regions of deep neural networks, NeurIPS 2014, arXiv:1402.1869",
            "J. Håstad, Almost optimal lower bounds for small depth circuits, STOC 1986, doi:10.1145/12130.12132",
        ),
    )


@torch.no_grad()
def folded(folds: int) -> nn.Module:
    """The tent applied `folds` times: as many hidden layers of two rectified units."""
    net = mlp((2,) * folds, inputs=1, outputs=1).double()
    layers = [layer for layer in net.body if isinstance(layer, nn.Linear)]
    tent = torch.tensor([[2.0, -4.0]], dtype=torch.float64)  # of relu(t) and relu(t - 1/2)
    for number, layer in enumerate(layers):
        layer.weight.copy_(torch.ones(2, 1) if number == 0 else tent.expand(2, 2))
        layer.bias.copy_(torch.tensor([0.0, -0.5]))
    net.head.weight.copy_(tent)
    net.head.bias.zero_()
    return net


@torch.no_grad()
def shallow(folds: int) -> nn.Module:
    """The same function in one hidden layer of 2^folds rectified units, with their kinks at i / 2^folds; the first sets the slope."""
    n = 2**folds
    net = mlp((n,), inputs=1, outputs=1).double()
    hidden = net.body[0]
    assert isinstance(hidden, nn.Linear)
    hidden.weight.fill_(1.0)
    hidden.bias.copy_(-torch.arange(n, dtype=torch.float64) / n)
    changes = torch.tensor([2.0 * n * (-1) ** i for i in range(n)], dtype=torch.float64)
    changes[0] = n
    net.head.weight.copy_(changes[None])
    net.head.bias.zero_()
    return net


def corners(folds: int) -> tuple[np.ndarray, np.ndarray]:
    """The points i / 2^folds and the values 0, 1, 0, 1, … of the sawtooth there."""
    i = np.arange(2**folds + 1)
    return i / 2**folds, (i % 2).astype(np.float64)


def _axis(folds: int) -> np.ndarray:
    return np.linspace(0, 1, 8 * 2**folds + 1)


@torch.no_grad()
def _answer(net: nn.Module, x: np.ndarray) -> np.ndarray:
    return net(torch.from_numpy(x)[:, None].to(next(net.parameters())))[:, 0].double().numpy()


def _pieces(net: nn.Module, folds: int) -> int:
    """Straight pieces on [0, 1]: runs of one slope, on a grid on which all numbers are exact."""
    slopes = np.diff(_answer(net, _axis(folds)))
    return 1 + int((np.diff(slopes) != 0).sum())


def _shallow_error(width: int, x: np.ndarray, y: np.ndarray, num_steps: int, seed: int, draw: int) -> float:
    """The share of wrong points after fitting one hidden layer to them, its kinks spread over the interval at the start."""
    with torch_seeded(seed, "shallow sawtooth", draw, width):
        net = mlp((width,), inputs=1, outputs=1)
        hidden = net.body[0]
        assert isinstance(hidden, nn.Linear)
        with torch.no_grad():
            hidden.bias.copy_(-hidden.weight[:, 0] * torch.rand(width))
    batch = Batch(
        inputs=torch.tensor(x, dtype=torch.float32)[:, None],
        targets=torch.tensor(y.astype(np.int64))[:, None],
    )
    descend(net, BinaryCrossEntropy(1), [batch], optimizer=Adam(learning_rate=0.03), num_steps=num_steps)
    return float(np.mean((_answer(net, x) > 0) != y.astype(bool)))
