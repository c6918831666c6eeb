"""What a network can fence in: half-planes, convex regions, any region (Lippmann 1987), with neurons that fire or do not.

One step neuron answers 1 on one side of a line. A layer of them and an AND answers 1 inside a convex polygon. One more layer, an OR of
ANDs, answers 1 in any union of polygons. This is what the classical table of structures and decision regions says; it holds where the
output neuron is an AND. With free output weights one hidden layer makes non-convex regions as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from hubel.core.random import numpy_generator, torch_seeded
from hubel.core.types import Batch
from hubel.fitting import AdamW
from hubel.layers.neuron import Threshold
from hubel.nets import mlp
from hubel.objectives import BinaryCrossEntropy
from hubel.show.plot import Curve, regions
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, plane, run_study

SIDES = 81
DEPTHS = ((), (32,), (32, 32))
NAMES = ("no hidden layer", "one hidden layer", "two hidden layers")


def decision_regions(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Half-planes, convex and arbitrary regions by depth: written down with step neurons, and fitted to rings."""
    return run_study(_decision_regions, quick=quick, seed=seed, out=out)


def _decision_regions(quick: bool, seed: int) -> Study:
    written = dict(zip(NAMES, (half_plane(), polygon(6, 0.7), frame()), strict=True))
    shapes = {name: _shape(net, seed) for name, net in written.items()}
    x, y = _rings(400, "training", seed)
    x_test, y_test = _rings(2000, "test", seed)
    fitted, right = {}, {}
    for name, hidden in zip(NAMES, DEPTHS, strict=True):
        fitted[name] = _fitted(hidden, x, y, 400 if quick else 3000, seed)
        with torch.no_grad():
            right[name] = float(((fitted[name](x_test)[:, 0] > 0).long() == y_test).float().mean())
    halfway = _shape(fitted[NAMES[1]], seed, threshold=0.0)["halfway_inside"]
    return Study(
        name="decision_regions",
        title="Decision regions by depth",
        question="What shapes can a network tell apart, with none, one and two hidden layers?",
        seen=f"""With neurons that fire or do not, a single one fences in a half-plane; a layer with an AND behind it a convex region (of 6 sides
        here); a second layer an OR of such regions, and with it any shape. Convexity is checked: of 20,000 pairs of points inside, the point
        half-way lies inside for every pair in the first two regions, and for {shapes[NAMES[2]]["halfway_inside"]:.0%} of them in the third.

        The table is often read as if one hidden layer made convex regions only. That holds while the output neuron is an AND. Fitted
        to three rings, the region of the network with one hidden layer is {"not convex" if halfway < 1 else "convex"} (the point half-way lies inside
        for {halfway:.0%} of the pairs); its test accuracy is {right[NAMES[1]]:.1%}, with two layers it is {right[NAMES[2]]:.1%}, and without any
        {right[NAMES[0]]:.1%}.""",
        figures=(
            *(
                _figure(net, name, f"Written down, {name}: 1 in the blue region.", 0.5)
                for name, net in written.items()
            ),
            *(
                _figure(
                    net,
                    name,
                    f"Fitted, {name}: {right[name]:.1%} of 2000 test points are right.",
                    0.0,
                    x[:200],
                    y[:200],
                )
                for name, net in fitted.items()
            ),
        ),
        tables=(
            StudyTable(
                caption="Regions that are written down (on the square from −1 to 1)",
                columns=("network", "area", "pairs whose middle lies inside"),
                rows=tuple((name, s["area"], s["halfway_inside"]) for name, s in shapes.items()),
            ),
            StudyTable(
                caption="Fitted to rings",
                columns=("network", "parameters", "test accuracy"),
                rows=tuple(
                    (name, sum(p.numel() for p in net.parameters()), right[name])
                    for name, net in fitted.items()
                ),
            ),
        ),
        numbers={"written": shapes, "fitted_accuracy": right, "fitted_halfway_inside": halfway},
        sources=(
            "R. P. Lippmann, An introduction to computing with neural nets, IEEE ASSP Magazine 4, 4 (1987), doi:10.1109/MASSP.1987.1165576",
            "W. S. McCulloch, W. Pitts, Bull. Math. Biophys. 5, 115 (1943), doi:10.1007/BF02478259",
            "G. J. Gibson, C. F. N. Cowan, Proc. IEEE 78, 1590 (1990), doi:10.1109/5.58342: regions of one hidden layer that are not convex",
        ),
    )


def half_plane() -> nn.Module:
    """A single neuron: 1 where x + y ≥ 0.2."""
    return nn.Sequential(_layer([[1.0, 1.0]], [-0.2]), Threshold())


def polygon(sides: int, radius: float) -> nn.Module:
    """A layer of neurons, one a side, and an AND: 1 in a regular polygon, whose sides touch the circle of this radius."""
    angles = 2 * np.pi * np.arange(sides) / sides
    lines = -np.stack([np.cos(angles), np.sin(angles)], axis=1)
    both = _layer([[1.0] * sides], [-(sides - 0.5)])
    return nn.Sequential(_layer(lines.tolist(), [radius] * sides), Threshold(), both, Threshold())


def frame() -> nn.Module:
    """Two layers and an OR: 1 in a square frame between 0.4 and 0.8, which is four rectangles."""
    bounds = [(-0.8, 0.8, 0.4, 0.8), (-0.8, 0.8, -0.8, -0.4), (-0.8, -0.4, -0.8, 0.8), (0.4, 0.8, -0.8, 0.8)]
    lines, offsets, ands = [], [], []
    for number, (left, right, below, above) in enumerate(bounds):
        lines += [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
        offsets += [-left, right, -below, above]
        ands.append([float(i // 4 == number) for i in range(16)])
    return nn.Sequential(
        _layer(lines, offsets), Threshold(), _layer(ands, [-3.5] * 4), Threshold(), _layer([[1.0] * 4], [-0.5]), Threshold()
    )  # fmt: skip


@torch.no_grad()
def _layer(weights: list[list[float]], biases: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weights[0]), len(weights))
    layer.weight.copy_(torch.tensor(weights))
    layer.bias.copy_(torch.tensor(biases))
    return layer


@torch.no_grad()
def _shape(net: nn.Module, seed: int, threshold: float = 0.5) -> dict[str, float]:
    """The area of the region in which a network answers more than `threshold`, and the share of pairs in it whose middle lies in it too."""
    points = torch.tensor(numpy_generator(seed, "regions").uniform(-1, 1, (200_000, 2)), dtype=torch.float32)
    inside = points[net(points)[:, 0] > threshold]
    pairs = inside[: 2 * min(20_000, len(inside) // 2)].view(-1, 2, 2)
    return {
        "area": 4 * len(inside) / len(points),
        "halfway_inside": float((net(pairs.mean(dim=1))[:, 0] > threshold).float().mean()),
    }


def _rings(count: int, part: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in three rings about the origin, of which the middle one is 1."""
    generator = numpy_generator(seed, f"rings, {part}")
    ring = generator.integers(0, 3, count)
    radius, angle = (ring + 0.15 + 0.7 * generator.random(count)) / 3, 2 * np.pi * generator.random(count)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor((ring == 1).astype(np.int64))


def _fitted(
    hidden: tuple[int, ...], x: torch.Tensor, y: torch.Tensor, num_steps: int, seed: int
) -> nn.Module:
    with torch_seeded(seed, "regions", len(hidden)):
        net = mlp(hidden, inputs=2, outputs=1)
    batch = Batch(inputs=x, targets=y)
    descend(net, BinaryCrossEntropy(1), [batch], optimizer=AdamW(learning_rate=0.02), num_steps=num_steps)
    return net.eval()


@torch.no_grad()
def _figure(
    net: nn.Module, name: str, caption: str, threshold: float, x: torch.Tensor | None = None, y: torch.Tensor | None = None
) -> StudyFigure:  # fmt: skip
    answers = net(plane(-1, 1, SIDES))[:, 0] > threshold
    points = []
    if x is not None and y is not None:
        points = [
            Curve(name="", x=x[y == k, 0].tolist(), y=x[y == k, 1].tolist(), kind=kind, marks="points")
            for k, kind in ((1, "one"), (0, "two"))
        ]
    return StudyFigure(
        picture=regions(
            np.where(answers.reshape(SIDES, SIDES).numpy(), 0.7, 0.0 if x is None else -0.45),
            low=-1,
            high=1,
            x_name="x",
            y_name="y",
            alt=f"The region in which a network with {name} answers 1",
            points=points,
        ),
        caption=caption,
    )
