"""The loss around the weights of deep networks with and without shortcuts (Li et al. 2018).

Directions are drawn at random and every filter of them is made as long as that of the weights, so that networks can be compared. How a
plane curves is read from second differences: at every inner point of the grid the 2×2 matrix of second derivatives has two eigenvalues,
and a surface that is convex there has none below 0.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hubel.core.random import torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.data import load_builtin
from hubel.explain import loss_landscape
from hubel.explain.loss_landscape import Landscape
from hubel.fitting import SGD
from hubel.nets import densenet, resnet
from hubel.objectives import CrossEntropy
from hubel.show.plot import Curve, plot, regions
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, run_study

GUESSING = math.log(10)  # nats, of ten classes
CLASSES = 10
KINDS = ("one", "two", "four", "three")


def loss_landscapes(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """The loss about ResNets with and without shortcuts, a plain network of 110 layers and a DenseNet, along random directions."""
    return run_study(_loss_landscapes, quick=quick, seed=seed, out=out)


def _loss_landscapes(quick: bool, seed: int) -> Study:
    depths, epochs, points = ((20,), 2, 5) if quick else ((56,), 30, 21)
    names = [
        (f"{name}-{depth}", depth, skips)
        for depth in depths
        for name, skips in (("ResNet", True), ("plain", False))
    ]
    training, test, around = _digits(100 if quick else 512, seed)
    found: dict[str, Landscape] = {}
    accuracy: dict[str, tuple[float, float]] = {}
    losses: dict[str, list[float]] = {}
    if not quick:
        names += [("plain-110", 110, False), ("DenseNet-121", 121, True)]
    for name, depth, skips in names:
        net = made(depth, skips, seed)
        losses[name] = descend(
            net,
            CrossEntropy(CLASSES),
            training,
            optimizer=SGD(learning_rate=0.05, momentum=0.9, weight_decay=5e-4),
            num_steps=epochs * len(training),
            seed=seed,
        )
        accuracy[name] = _accuracy(net, training), _accuracy(net, test)
        found[name] = loss_landscape(net, CrossEntropy(CLASSES), around, points=points, reach=1.0, seed=seed)
    shares = {name: curved_down(one) for name, one in found.items()}
    below = {name: float((one.losses < GUESSING).mean()) for name, one in found.items()}
    first, second = list(found)[:2]
    return Study(
        name="loss_landscapes",
        title="Loss landscapes with and without shortcuts",
        question="What does the loss look like about the weights that were found, and what do shortcuts change?",
        seen=f"""About {first} the loss is below that of guessing on {below[first]:.0%} of the plane of one filter norm each way, about
        {second}, the same network without its shortcuts, on {below[second]:.0%}. The surface curves down in some direction at
        {shares[first]:.0%} of the points of the first plane and at {shares[second]:.0%} of the second: {_compared(shares[first], shares[second])}.

        Fitted alike ({epochs} epochs of stochastic gradient descent on {sum(map(len, training)):,} digits), they name {_told(accuracy)} of the other digits
        rightly. A plane through two random directions is not the whole space: it shows that a surface is rugged where it is, but a smooth plane does not prove
        that all others are. These are one fit and one pair of directions each.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=name, x=one.alphas, y=one.losses[len(one.losses) // 2], kind=kind)
                        for kind, (name, one) in zip(KINDS, found.items(), strict=False)
                    ],
                    x_name="step along a random direction (filter norms)",
                    y_name=f"loss of {found[first].examples} digits (nats)",
                    alt="The loss along one random direction through the weights of each network",
                    log_y=True,
                    level=(GUESSING, "guessing"),
                ),
                caption="The first of the two directions, filter by filter as long as the weights.",
            ),
            *(
                StudyFigure(
                    picture=regions(
                        np.clip(
                            -np.log10(np.nan_to_num(one.losses, nan=1e9, posinf=1e9) / GUESSING) / 2, -1, 1
                        ),
                        low=-1,
                        high=1,
                        x_name="step along one direction (filter norms)",
                        y_name="step along another",
                        alt=f"The loss on a plane about the weights of {name}",
                    ),
                    caption=f"{name}: blue where the loss is below that of guessing (full colour: a hundredth), red where above (a hundredfold).",
                )
                for name, one in found.items()
            ),
        ),
        tables=(
            StudyTable(
                caption="Accuracies, losses (nats), and shares of the plane about each network",
                columns=(
                    "network",
                    "training accuracy",
                    "test accuracy",
                    "loss in the middle",
                    "greatest loss",
                    "curved down",
                    "below guessing",
                ),
                rows=tuple(
                    (
                        name,
                        *accuracy[name],
                        one.center,
                        float(one.losses.max()),
                        shares[name],
                        below[name],
                    )
                    for name, one in found.items()
                ),
            ),
        ),
        numbers={
            "surfaces": {name: one.losses for name, one in found.items()},
            "steps": found[first].alphas,
            "center": {name: one.center for name, one in found.items()},
            "curved_down": shares,
            "below_guessing": below,
            "accuracies": accuracy,
            "losses": losses,
        },
        sources=(
            "H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, Visualizing the loss landscape of neural nets, NeurIPS 2018, arXiv:1712.09913",
            "K. He et al., Deep residual learning, CVPR 2016, arXiv:1512.03385: the networks with and without shortcuts",
            "G. Huang et al., Densely connected convolutional networks, CVPR 2017, arXiv:1608.06993",
        ),
    )


def made(depth: int, skips: bool, seed: int) -> nn.Module:
    """A ResNet of the paper's for small pictures, with or without shortcuts, or DenseNet-121, for digits of 8 × 8 pixels."""
    with torch_seeded(seed, "loss landscapes", depth, skips):
        if depth == 121:
            return nn.Sequential(
                nn.Upsample(scale_factor=4), densenet(121, inputs=(1, 32, 32), outputs=CLASSES)
            )
        return resnet(depth, inputs=(1, 8, 8), outputs=CLASSES, skips=skips)


def curved_down(found: Landscape) -> float:
    """The share of the inner points of a plane at which the matrix of second differences has an eigenvalue below 0.

    Less than a thousandth of the greatest eigenvalue of the plane counts as rounding.
    """
    z, h = found.losses, float(found.alphas[1] - found.alphas[0])
    xx = (z[1:-1, 2:] - 2 * z[1:-1, 1:-1] + z[1:-1, :-2]) / h**2
    yy = (z[2:, 1:-1] - 2 * z[1:-1, 1:-1] + z[:-2, 1:-1]) / h**2
    xy = (z[2:, 2:] - z[2:, :-2] - z[:-2, 2:] + z[:-2, :-2]) / (4 * h**2)
    least, greatest = np.moveaxis(
        np.linalg.eigvalsh(np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -1)), -1, 0
    )
    return float((least < -1e-3 * np.abs(greatest).max()).mean())


def _digits(around: int, seed: int) -> tuple[list[Batch], list[Batch], list[Batch]]:
    """Batches for training, for the test, and those of the training digits on which the landscape is made."""
    data = load_builtin("digits")
    x, y = torch.tensor(data.inputs, dtype=torch.float32) / 16, torch.tensor(data.targets)
    x = (x - x.mean()) / x.std()
    order = torch.randperm(len(x), generator=torch_generator(seed, "loss landscapes: parts"))
    parts = order[:1400], order[1400:], order[:around]
    return tuple([Batch(inputs=x[rows], targets=y[rows]) for rows in part.split(100)] for part in parts)  # type: ignore[return-value]


@torch.no_grad()
def _accuracy(net: nn.Module, batches: list[Batch]) -> float:
    net.eval()
    right = [(net(batch.inputs).argmax(1) == batch.targets).float() for batch in batches]
    return float(torch.cat(right).mean())


def _compared(with_shortcuts: float, without: float) -> str:
    if without > with_shortcuts + 0.02:
        return "without shortcuts it is the less convex one"
    if without < with_shortcuts - 0.02:
        return "here the shortcuts did not make it more convex"
    return "no difference that this grid could show"


def _told(accuracy: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{test:.1%} ({name})" for name, (_, test) in accuracy.items())
