"""Why weights begin at random, and how large: equal units stay equal, and the variance of the values by depth.

Two units with the same incoming and outgoing weights get the same gradient, so that no deterministic rule ever tells them apart. With
weights of mean 0 and variance v, and m inputs a unit, the mean square of the values before a ReLU is multiplied at every layer by

    v m / 2:    1/2 for N(0, 1/m),   1/6 for U(-1/sqrt m, 1/sqrt m),   1/2 for Glorot (as many units in every layer),   1 for He
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn

from hubel.core.capture import captured
from hubel.core.random import key, torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.data import load_builtin
from hubel.fitting import SGD
from hubel.layers.initial import Scheme, initialize
from hubel.nets import mlp
from hubel.objectives import CrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, run_study, smoothed

FACTORS: dict[Scheme, float] = {
    "normal": 1 / 2,
    "uniform": 1 / 6,
    "glorot_uniform": 1 / 2,
    "glorot_normal": 1 / 2,
    "he_normal": 1.0,
    "he_uniform": 1.0,
}
DRAWN: dict[Scheme, str] = {"uniform": "two", "normal": "five", "glorot_uniform": "three", "he_normal": "one"}
STARTS = ("random", "equal", "zeros")


def symmetry_breaking(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Equal weights that stay equal, and the size of activations by depth under the published initial weights."""
    return run_study(_symmetry_breaking, quick=quick, seed=seed, out=out)


def _symmetry_breaking(quick: bool, seed: int) -> Study:
    width, depth, num_steps = (256, 12, 60) if quick else (512, 30, 600)
    assert set(FACTORS) | {"orthogonal", "zeros"} == set(get_args(Scheme))
    squares = {scheme: mean_squares(scheme, width, depth, seed) for scheme in FACTORS}
    measured = {s: float((values[-1] / values[0]) ** (1 / (depth - 1))) for s, values in squares.items()}
    data = load_builtin("digits")
    x, y = torch.tensor(data.inputs, dtype=torch.float32).flatten(1) / 16, torch.tensor(data.targets)
    batches = [Batch(inputs=x[rows], targets=y[rows]) for rows in torch.arange(len(x)).split(256)]
    distinct, accuracy, losses = {}, {}, {}
    for start in STARTS:
        net = _started(start, seed)
        losses[start] = descend(
            net,
            CrossEntropy(10),
            batches,
            optimizer=SGD(learning_rate=0.1, weight_decay=0),
            num_steps=num_steps,
        )
        distinct[start] = distinct_units(net)
        with torch.no_grad():
            accuracy[start] = float((net(x).argmax(1) == y).float().mean())
    layers = list(range(1, depth + 1))
    return Study(
        name="symmetry_breaking",
        title="Initial weights: unequal, and of the right size",
        question="What happens when all units begin alike, and how large should random weights be?",
        seen=f"""A layer of 32 units that begin with equal weights still has {distinct["equal"]} distinct unit after {num_steps} steps: it computes
        one feature, 32 times, and gets {accuracy["equal"]:.0%} of the digits right where unequal ones get {accuracy["random"]:.0%}. With all weights
        zero nothing but the last bias receives a gradient, so that the answer is the same for every digit ({accuracy["zeros"]:.0%} right). Random
        weights break the tie.

        At each of {depth} layers of ReLU the mean square of the values is multiplied by v m / 2: measured per layer
        {measured["he_normal"]:.3f} for He (expected 1), {measured["glorot_uniform"]:.3f} for Glorot (1/2, which is right for activations that are
        linear about 0), {measured["uniform"]:.3f} for U(±1/√m) (1/6). With the last the mean square behind {depth} layers is
        {squares["uniform"][-1] / squares["uniform"][0]:.0e} times that behind the first, with He's weights
        {squares["he_normal"][-1] / squares["he_normal"][0]:.2g} times.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        curve
                        for scheme, kind in DRAWN.items()
                        for curve in (
                            Curve(name=scheme, x=layers, y=squares[scheme], kind=kind, marks="points"),
                            Curve(
                                name="",
                                x=layers,
                                y=[squares[scheme][0] * FACTORS[scheme] ** (n - 1) for n in layers],
                                kind=kind,
                                marks="dashed",
                            ),
                        )
                    ],
                    x_name="layer",
                    y_name="mean square of the values before ReLU",
                    alt="He's initial weights keep the size of the values, the others lose a constant factor a layer",
                    log_y=True,
                ),
                caption=f"Width {width}, mean of 8 networks; dashed: the first value times the expected factor to the power of the layers.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=start, x=range(1, num_steps + 1), y=smoothed(losses[start]), kind=kind)
                        for start, kind in zip(STARTS, ("one", "two", "five"), strict=True)
                    ],
                    x_name="step",
                    y_name="training loss (nats), mean of 15 steps",
                    alt="Equal units learn as one unit does",
                    level=(float(np.log(10)), "guessing"),
                ),
                caption="One hidden layer of 32 tanh units on digits, gradient descent with momentum.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Mean square of the values, one layer over the one before",
                columns=("scheme", "measured", "expected"),
                rows=tuple((s, measured[s], FACTORS[s]) for s in FACTORS),
            ),
            StudyTable(
                caption="32 hidden units after training",
                columns=("beginning", "distinct units", "training accuracy"),
                rows=tuple((s, distinct[s], accuracy[s]) for s in STARTS),
            ),
        ),
        numbers={
            "mean_squares": squares,
            "factor": measured,
            "expected_factor": FACTORS,
            "distinct_units": distinct,
            "accuracy": accuracy,
            "losses": losses,
        },
        sources=(
            "D. E. Rumelhart, G. E. Hinton, R. J. Williams, in Parallel Distributed Processing, MIT Press (1986), ch. 8: symmetry breaking",
            "Y. LeCun et al., Efficient BackProp (1998), doi:10.1007/3-540-49430-8_2: N(0, 1/m)",
            "X. Glorot, Y. Bengio, AISTATS 2010, PMLR 9, 249, equation 16",
            "K. He et al., ICCV 2015, arXiv:1502.01852, equation 10",
        ),
    )


@torch.no_grad()
def mean_squares(scheme: Scheme, width: int, depth: int, seed: int) -> list[float]:
    """The mean square of what each of `depth` linear layers gives to its ReLU, for 64 normal inputs; mean of 8 networks."""
    net, found = mlp((width,) * depth, inputs=width, outputs=1), []
    for draw in range(8):
        initialize(net, scheme, seed=key(seed, "initial weights", draw))
        x = torch.randn(64, width, generator=torch_generator(seed, "inputs", draw))
        with captured(net, lambda name, module: isinstance(module, nn.Linear) and name != "head") as calls:
            net(x)
        found.append([float(output.square().mean()) for _, _, _, output in calls])
    return np.mean(found, axis=0).tolist()


def distinct_units(net: nn.Module) -> int:
    """How many hidden units differ from all before them by more than rounding, in incoming or outgoing weights."""
    first, last = (m for m in net.modules() if isinstance(m, nn.Linear))
    units = torch.cat([first.weight, first.bias[:, None], last.weight.T], dim=1).detach()
    kept: list[torch.Tensor] = []
    for unit in units:
        if all(float((unit - other).abs().max()) > 1e-5 for other in kept):
            kept.append(unit)
    return len(kept)


def _started(start: str, seed: int) -> nn.Module:
    with torch_seeded(seed, "symmetry"):
        net = mlp((32,), inputs=64, outputs=10, activation="tanh")
    if start == "zeros":
        initialize(net, "zeros")
    elif start == "equal":  # every hidden unit with the weights, in and out, of the first
        hidden = net.body[0]
        assert isinstance(hidden, nn.Linear)
        with torch.no_grad():
            hidden.weight.copy_(hidden.weight[:1].clone().expand_as(hidden.weight))
            net.head.weight.copy_(net.head.weight[:, :1].clone().expand_as(net.head.weight))
    return net
