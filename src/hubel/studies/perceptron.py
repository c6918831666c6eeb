"""Rosenblatt's perceptron: how many mistakes it makes before it stops, and what it can never learn.

Where a plane through the origin separates the examples with margin g, and none is longer than R, the rule makes at most (R / g)²
mistakes in whatever order they come (Novikoff 1962). The bias is the weight of an input that is always 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core.random import numpy_generator, torch_seeded
from hubel.core.types import Batch
from hubel.fitting import Adam, PerceptronRule, linearly_separable, steps
from hubel.nets import mlp
from hubel.objectives import BinaryCrossEntropy, Hinge
from hubel.show.plot import Curve, plot, regions
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, plane, run_study

MARGINS = (0.2, 0.1, 0.05, 0.02, 0.01)
CORNERS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
RULES = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "XOR": (0, 1, 1, 0)}


def perceptron(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """The perceptron's mistakes against Novikoff's bound, and XOR, which it can not learn and two layers can."""
    return run_study(_perceptron, quick=quick, seed=seed, out=out)


def _perceptron(quick: bool, seed: int) -> Study:
    counted = [_counted(margin, draw, seed) for margin in MARGINS for draw in range(2 if quick else 10)]
    margins, mistakes, bounds = (np.array(column) for column in zip(*counted, strict=True))
    logic = {name: _logic(torch.tensor(y), seed) for name, y in RULES.items()}
    net, solved = _two_layers(5, seed)
    most = [mistakes[margins == m].max() for m in MARGINS]
    bound = [bounds[margins == m].max() for m in MARGINS]
    rows = tuple(zip(MARGINS, most, bound, strict=True))
    return Study(
        name="perceptron",
        title="The perceptron: when it stops, and when it can not",
        question="How many mistakes does Rosenblatt's rule make before it separates two classes, and what if no line separates them?",
        seen=f"""On examples that a line separates, the rule stops by itself, within Novikoff's bound (R / g)² in
        {int((mistakes <= bounds).sum())} of {len(counted)} sequences of examples. The bound is that of the worst order of the worst examples; at
        margins of {MARGINS[0]:g} and {MARGINS[-1]:g} the most mistakes were {most[0]} and {most[-1]}, of {bound[0]:,.0f} and {bound[-1]:,.0f}
        that it allows.

        XOR is separated by no line (a linear programme proves it), so after {logic["XOR"]["epochs"]} passes the rule still makes mistakes in
        every pass. No line gets more than three of the four corners right; the lines that the rule left behind after a pass got
        {4 * logic["XOR"]["best"]:.0f} at most. A network
        with one hidden layer of eight units learned XOR from {solved} of 5 initial weights: what the hidden layer makes of the corners is
        separable again.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(name="bound", x=MARGINS, y=bound, kind="two", marks="both"),
                        Curve(name="made", x=margins, y=mistakes, marks="points"),
                    ],
                    x_name="margin g of the examples (their lengths: 1 at most)",
                    y_name="mistakes until there are none",
                    alt="The number of mistakes stays below Novikoff's bound at every margin",
                    log_x=True,
                    log_y=True,
                ),
                caption="Every dot is one sequence of examples; the bound is (R / g)² with R² = 2, the bias included.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name=name, x=range(1, len(found["mistakes"]) + 1), y=found["mistakes"], kind=kind
                        )
                        for kind, (name, found) in zip(("three", "one", "two"), logic.items(), strict=True)
                    ],
                    x_name="pass over the four corners",
                    y_name="mistakes in this pass",
                    alt="The mistakes of AND and OR end, those of XOR never do",
                ),
                caption=f"AND is learned in {logic['AND']['epochs']} passes, OR in {logic['OR']['epochs']}, XOR not in {logic['XOR']['epochs']}.",
            ),
            StudyFigure(
                picture=_xor_picture(net),
                caption="What a network of one hidden layer answers: blue is 1, red is 0.",
            ),
        ),
        tables=(
            StudyTable(caption="Mistakes by margin", columns=("margin", "most mistakes", "bound"), rows=rows),
            StudyTable(
                caption="Logic of two inputs",
                columns=(
                    "function",
                    "separable by a line",
                    "passes",
                    "mistakes in the last",
                    "best share right",
                ),
                rows=tuple(
                    (k, v["separable"], v["epochs"], v["mistakes"][-1], v["best"]) for k, v in logic.items()
                ),
            ),
        ),
        numbers={
            "margin": margins,
            "mistakes": mistakes,
            "bound": bounds,
            "logic": logic,
            "xor_solved_by_two_layers": solved,
        },
        sources=(
            "F. Rosenblatt, The perceptron, Psychol. Rev. 65, 386 (1958), doi:10.1037/h0042519",
            "A. B. J. Novikoff, On convergence proofs on perceptrons, Symp. Math. Theory of Automata 12, 615 (1962)",
            "M. Minsky, S. Papert, Perceptrons, MIT Press (1969): XOR and its relatives",
            "D. E. Rumelhart, G. E. Hinton, R. J. Williams, Nature 323, 533 (1986), doi:10.1038/323533a0: hidden layers that learn",
        ),
    )


def _counted(margin: float, draw: int, seed: int) -> tuple[float, int, float]:
    """A margin, the mistakes on examples that have it, and the bound for exactly these examples."""
    generator = numpy_generator(seed, f"perceptron {margin}", draw)
    angle = generator.uniform(0, 2 * np.pi)
    normal, offset = np.array([np.cos(angle), np.sin(angle)]), generator.uniform(-0.2, 0.2)
    x = generator.uniform(-1, 1, (4000, 2))
    distance = x @ normal + offset
    kept = (np.linalg.norm(x, axis=1) <= 1) & (np.abs(distance) >= margin)
    x, y = x[kept][:200], (distance[kept][:200] > 0).astype(int)
    net = _silent(nn.Linear(2, 1))
    batch = Batch(inputs=torch.tensor(x, dtype=torch.float32), targets=torch.tensor(y))
    made = _until_none(net, batch, 100_000)
    length = np.sqrt((x**2).sum(axis=1).max() + 1)
    reached = np.abs(x @ normal + offset).min() / np.sqrt(1 + offset**2)
    return margin, sum(made), float((length / reached) ** 2)


def _logic(y: torch.Tensor, seed: int) -> dict[str, Any]:
    """How the rule does on the four corners with labels `y`; the best line it passed on its way."""
    net, best = _silent(nn.Linear(2, 1)), 0.0
    batch = Batch(inputs=CORNERS, targets=y)
    mistakes = []
    for record in steps(net, Hinge(1), [batch] * 100, rule=PerceptronRule()):
        mistakes.append(int(record.scalars["mistakes"]))
        best = max(best, float(((net(CORNERS)[:, 0] >= 0).long() == y).float().mean()))
        if mistakes[-1] == 0:
            break
    separable = linearly_separable(CORNERS, y)
    return {"separable": separable, "epochs": len(mistakes), "mistakes": mistakes, "best": best}


def _until_none(net: nn.Module, batch: Batch, most: int) -> list[int]:
    made = []
    for record in steps(net, Hinge(1), (batch for _ in range(most)), rule=PerceptronRule()):
        made.append(int(record.scalars["mistakes"]))
        if made[-1] == 0:
            break
    return made


def _silent(layer: nn.Linear) -> nn.Linear:
    """The layer with weights and bias of zero, where Novikoff's argument begins."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _two_layers(tries: int, seed: int) -> tuple[nn.Module, int]:
    """A network that has learned XOR, and from how many of the initial weights it did."""
    batch = Batch(inputs=CORNERS, targets=torch.tensor(RULES["XOR"]))
    solved, kept = 0, None
    for number in range(tries):
        with torch_seeded(seed, "xor", number):
            net = mlp((8,), inputs=2, outputs=1, activation="tanh")
        descend(net, BinaryCrossEntropy(1), [batch], optimizer=Adam(learning_rate=0.05), num_steps=300)
        right = bool(((net(CORNERS)[:, 0] > 0).long() == batch.targets).all())
        solved += right
        kept = net if right or kept is None else kept
    assert kept is not None
    return kept, solved


@torch.no_grad()
def _xor_picture(net: nn.Module) -> str:
    values = 2 * net(plane(-0.5, 1.5, 81)).sigmoid().reshape(81, 81).numpy() - 1
    ones = [c for c, y in zip(CORNERS.tolist(), RULES["XOR"], strict=True) if y]
    zeros = [c for c, y in zip(CORNERS.tolist(), RULES["XOR"], strict=True) if not y]
    return regions(
        values,
        low=-0.5,
        high=1.5,
        x_name="first input",
        y_name="second input",
        alt="Two opposite corners lie in one region, the other two in the other",
        points=[
            Curve(name="", x=[c[0] for c in some], y=[c[1] for c in some], kind=kind, marks="points")
            for some, kind in ((ones, "one"), (zeros, "two"))
        ],
    )
