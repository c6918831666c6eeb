"""Grokking: a network that knows all its training examples by heart learns the rule behind them much later, and all at once.

The task is (a + b) mod p for a share of all pairs. First the network stores the answers; later the examples that it never saw are right
as well, and residues lie on circles, cos and sin of 2 pi k a / p, on which addition is a rotation. Nanda et al. (2023) explain the delay by
weight decay, which favours the solution that is cheaper in weights; every run here has it, so that this study does not test it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.fitting import AdamW, Backprop, steps
from hubel.objectives import CrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study


def grokking(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Modular addition: validation accuracy jumps long after training accuracy is 100 %, and how near the embedding comes to circles."""
    return run_study(_grokking, quick=quick, seed=seed, out=out)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a run is: residues, share of the pairs for training, widths, and steps at most."""

    modulus: int
    share: float
    width: int
    hidden: int
    most: int
    optimizer: AdamW


FULL = Size(
    modulus=97, share=0.5, width=64, hidden=256, most=15_000, optimizer=AdamW(learning_rate=1e-3, betas=(0.9, 0.98), weight_decay=1.0)
)  # fmt: skip
QUICK = Size(
    modulus=37, share=0.8, width=24, hidden=64, most=2000, optimizer=AdamW(learning_rate=0.02, betas=(0.9, 0.98), weight_decay=1.0)
)  # fmt: skip
EVERY = 20  # steps between looks at the accuracies
ABOUT_A_CIRCLE = 0.85  # share that one frequency explains of two components


def _grokking(quick: bool, seed: int) -> Study:
    size = QUICK if quick else FULL
    p = size.modulus
    runs = [_fitted(size, seed, number) for number in range(1 if quick else 3)]
    first = runs[0]
    columns = (
        "run",
        "training 100 % at step",
        "validation then",
        "validation 99 % at step",
        "at the end",
        "5 frequencies hold",
    )
    return Study(
        name="grokking",
        title=f"Grokking addition modulo {p}",
        question=f"Does a network that has memorized {first['num_train']} sums find the rule for the {first['num_validation']} others?",
        seen=f"""{_story(runs)}

        What changes is the embedding. At the beginning one frequency explains {first["circle_before"]:.0%} of the first two principal components of
        the {p} residues, at the end {first["circle_after"]:.0%} (frequency {first["frequency"]}){_circle(first)}. On a circle, addition is a rotation. The
        five strongest of {p // 2} frequencies hold {top(first["power_before"]):.0%} of the embedding's power before and
        {top(first["power_after"]):.0%} after; in the transformer of Nanda et al. (2023) it was a handful.

        {_weights(first)} All runs here have weight decay, so that they do not show what it does: that it is what favours the circles is the
        explanation of Nanda et al. (2023) and Liu et al. (2023).""",
        figures=(
            StudyFigure(
                picture=_accuracies(runs),
                caption=f"Runs: {len(runs)}, full batches, AdamW with a weight decay of {size.optimizer.weight_decay:g}.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name="before",
                            x=range(1, p // 2 + 1),
                            y=first["power_before"],
                            kind="two",
                            marks="both",
                        ),
                        Curve(name="after", x=range(1, p // 2 + 1), y=first["power_after"], marks="both"),
                    ],
                    x_name="frequency k",
                    y_name="share of the embedding's power",
                    alt="At the end the power stands in a few frequencies",
                ),
                caption="Power spectrum of the embedding over the residues, first run.",
            ),
            _pca_figure(first["embedding_before"], first["frequency"], "The initial embedding"),
            _pca_figure(first["embedding_after"], first["frequency"], "The embedding at the end"),
            StudyFigure(
                picture=plot(
                    [Curve(name="", x=first["steps"], y=first["weight_norm"], kind="three")],
                    x_name="step",
                    y_name="norm of all weights",
                    alt="The norm of all weights by step",
                    log_x=True,
                ),
                caption="The norm of all weights, first run.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Runs, each with its own pairs and initial weights",
                columns=columns,
                rows=tuple(
                    (
                        n,
                        r["training_100"],
                        r["validation_then"],
                        r["validation_99"],
                        r["validation"][-1],
                        top(r["power_after"]),
                    )
                    for n, r in enumerate(runs, start=1)
                ),
            ),
        ),
        numbers={"modulus": p, "share": size.share, "runs": runs},
        sources=(
            "A. Power et al., Grokking: generalization beyond overfitting on small algorithmic datasets (2022), arXiv:2201.02177",
            "N. Nanda et al., Progress measures for grokking via mechanistic interpretability, ICLR 2023, arXiv:2301.05217",
            "Z. Liu, E. J. Michaud, M. Tegmark, Omnigrok, ICLR 2023, arXiv:2210.01117: the size of the weights",
            "Z. Zhong et al., The clock and the pizza, NeurIPS 2023, arXiv:2306.17844: sums of embeddings, as here",
        ),
    )


def _story(runs: list[dict[str, Any]]) -> str:
    """What the accuracies did, whether or not every run found the rule."""
    first, found = runs[0], [run for run in runs if run["validation_99"]]
    if not first["training_100"] or not found:
        return f"In the {first['steps'][-1]} steps that were given, the rule was not found: with other sizes or more steps it may be."
    ratio = min(run["validation_99"] / run["training_100"] for run in found)
    return f"""In the first run all training sums are right at step {first["training_100"]}, when {first["validation_then"]:.1%} of the others are.
        The validation accuracy rises later, to 99 % at step {first["validation_99"] or "…"}. {len(found)} of
        {len(runs)} runs did so, at {ratio:.0f} times the step at which training was over, or later."""


def _circle(run: dict[str, Any]) -> str:
    """Whether the residues lie about a circle at the end."""
    if run["circle_after"] >= ABOUT_A_CIRCLE:
        return ": they lie about a circle, on which residues follow each other in steps of that frequency"
    return ", so that they lie about no single circle"


def _weights(run: dict[str, Any]) -> str:
    """How large the weights were when the training sums were right, and at the end."""
    if not run["training_100"]:
        return f"The norm of all weights is {run['weight_norm'][-1]:.1f} at the end."
    then = run["weight_norm"][run["steps"].index(run["training_100"])]
    return f"The norm of all weights is {then:.1f} when all training sums are right, and {run['weight_norm'][-1]:.1f} at the end."


class SumOfTwo(nn.Module):
    """Scores [N, p] for the residue of the sum of two residues [N, 2]: their embeddings are added, one hidden layer follows."""

    def __init__(self, modulus: int, width: int, hidden: int):
        super().__init__()
        self.embed = nn.Embedding(modulus, width)
        self.hidden = nn.Linear(width, hidden)
        self.head = nn.Linear(hidden, modulus)

    def forward(self, pairs: Tensor) -> Tensor:
        """Raw scores of every residue."""
        return self.head(torch.relu(self.hidden(self.embed(pairs).sum(dim=1))))


def _fitted(size: Size, seed: int, number: int) -> dict[str, Any]:
    """One run: accuracies as they went, when they were reached, and the embedding before and after."""
    p = size.modulus
    pairs = torch.tensor([(a, b) for a in range(p) for b in range(a, p)])  # b + a is not another example
    pairs = pairs[torch.randperm(len(pairs), generator=torch_generator(seed, "pairs", number))]
    num_train = round(size.share * len(pairs))
    train, validation = (
        Batch(inputs=rows, targets=rows.sum(dim=1) % p) for rows in (pairs[:num_train], pairs[num_train:])
    )
    with torch_seeded(seed, "grokking", number):
        net = SumOfTwo(p, size.width, size.hidden)
    found: dict[str, Any] = {"steps": [], "training": [], "validation": [], "weight_norm": []}
    training_100 = validation_99 = validation_then = None
    embedding_before = net.embed.weight.detach().clone().numpy()
    for record in steps(
        net, CrossEntropy(p), (train for _ in count()), rule=Backprop(size.optimizer.build(net)), seed=seed
    ):
        if record.step % EVERY:
            continue
        found["steps"].append(record.step)
        found["training"].append(_accuracy(net, train))
        found["validation"].append(_accuracy(net, validation))
        found["weight_norm"].append(float(nn.utils.get_total_norm([w.detach() for w in net.parameters()])))
        if training_100 is None and found["training"][-1] == 1.0:
            training_100, validation_then = record.step, found["validation"][-1]
        if validation_99 is None and found["validation"][-1] >= 0.99:
            validation_99 = record.step
        if record.step >= size.most or (validation_99 is not None and record.step >= 1.3 * validation_99):
            break
    embedding = net.embed.weight.detach().numpy()
    frequency, after = circle(embedding)
    return found | {
        "num_train": num_train,
        "num_validation": len(pairs) - num_train,
        "training_100": training_100,
        "validation_then": validation_then,
        "validation_99": validation_99,
        "frequency": frequency,
        "circle_before": circle(embedding_before)[1],
        "circle_after": after,
        "power_before": spectrum(embedding_before),
        "power_after": spectrum(embedding),
        "embedding_before": components(embedding_before),
        "embedding_after": components(embedding),
    }


@torch.no_grad()
def _accuracy(net: nn.Module, batch: Batch) -> float:
    return float((net(batch.inputs).argmax(1) == batch.targets).float().mean())


def spectrum(embedding: np.ndarray) -> list[float]:
    """The share of power of an embedding [p, F] in the frequencies 1 … (p - 1) / 2 over its residues.

    >>> a = 2 * np.pi * 3 * np.arange(11) / 11
    >>> np.round(spectrum(np.stack([np.cos(a), np.sin(a)], axis=1)), 3).tolist()
    [0.0, 0.0, 1.0, 0.0, 0.0]
    """
    power = (np.abs(np.fft.rfft(embedding, axis=0)) ** 2).sum(axis=1)[1:]
    return (power / power.sum()).tolist()


def top(power: list[float]) -> float:
    """What the five strongest frequencies hold together."""
    return float(sum(sorted(power)[-5:]))


def components(embedding: np.ndarray) -> np.ndarray:
    """The first two principal components [p, 2]."""
    centred = embedding - embedding.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :2] * values[:2]


def circle(embedding: np.ndarray) -> tuple[int, float]:
    """The frequency that explains most of the first two principal components, and the share that it explains."""
    explained = spectrum(components(embedding))
    best = int(np.argmax(explained))
    return best + 1, explained[best]


def _accuracies(runs: list[dict[str, Any]]) -> str:
    curves = []
    for part, kind in (("training", "one"), ("validation", "two")):
        for number, run in enumerate(runs):
            curves.append(
                Curve(
                    name=part if number == 0 else "",
                    x=run["steps"],
                    y=[100 * v for v in run[part]],
                    kind=kind,
                )
            )
    return plot(
        curves,
        x_name="step",
        y_name="accuracy (%)",
        alt="Training accuracy is 100 % early, validation accuracy follows much later",
        log_x=True,
    )


def _pca_figure(points: np.ndarray, frequency: int, caption: str) -> StudyFigure:
    """Residues in their first two components, linked in the order in which they should stand on a circle of `frequency`."""
    p = len(points)
    order = [(pow(frequency, -1, p) * i) % p for i in range(p + 1)]
    return StudyFigure(
        picture=plot(
            [
                Curve(name="", x=points[order, 0], y=points[order, 1], kind="five"),
                Curve(name="", x=points[:, 0], y=points[:, 1], marks="points"),
            ],
            x_name="first principal component",
            y_name="second principal component",
            alt=caption,
            square=True,
        ),
        caption=f"{caption}. Every dot is a residue; lines link a and a + 1/{frequency} mod {p}.",
    )
