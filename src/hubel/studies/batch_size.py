"""Batch size: how noisy the gradient of a batch is, what an epoch costs, and where a fit gets to.

The gradient of a batch of B examples drawn without replacement from N scatters about that of all N with the mean square

    E |g_B - g|² = (tr S / B) (N - B) / (N - 1),     S the covariance of the gradients of single examples:

as 1 / sqrt(B), until the batch is a good part of the data.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.data import Dataset, load_builtin
from hubel.data.batches import Batches
from hubel.data.preprocessing import scaling_of
from hubel.fitting import SGD, Backprop, steps
from hubel.nets import mlp
from hubel.objectives import CrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study, slope

SIZES = (1, 4, 16, 64, 256, 1024)
RATE = 0.02


def batch_size(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Noise of the gradient, time of an epoch, and accuracy after equal epochs and equal times, by batch size."""
    return run_study(_batch_size, quick=quick, seed=seed, out=out)


def _batch_size(quick: bool, seed: int) -> Study:
    draws, epochs, budget = (60, 2, 0.1) if quick else (1000, 10, 3.0)
    sizes = SIZES[1:] if quick else SIZES
    data = load_builtin("digits")
    order = torch.randperm(len(data), generator=torch_generator(seed, "digits")).numpy()
    train, test = data.select(order[:1400]), data.select(order[1400:])
    measured, expected, whole = noise(train, sizes, draws, seed)
    results = {size: _fitted(train, test, size, seed, epochs=epochs) for size in sizes}
    timed = {size: _fitted(train, test, size, seed, seconds=budget) for size in sizes}
    pace = {size: results[size]["seconds"] / epochs for size in sizes}
    small = [size for size in sizes if size <= len(train) // 20]
    power = slope(small, [measured[s] for s in small])
    columns = (
        "batch size",
        "noise",
        "expected",
        "seconds an epoch",
        f"accuracy, {epochs} epochs",
        f"accuracy, {budget:g} s",
        "its epochs",
    )
    return Study(
        name="batch_size",
        title="Batch size",
        question="What does a larger batch buy, and what does it cost?",
        seen=f"""The gradient of a batch scatters about that of all examples with the power {power:.2f} of its size (expected: −0.5): four times the
        examples halve the noise. At {len(train)} examples in all, drawn without replacement, it vanishes faster at the end. The noise was measured over
        {draws} batches each and compared with the covariance of the gradients of single examples.

        At equal epochs and one learning rate small batches take more steps; the test accuracy is {_listed(results)}. At equal times it is
        {_listed(timed)}: a step takes {1e3 * pace[sizes[0]] * sizes[0] / len(train):.2f} ms with {sizes[0]} and
        {1e3 * pace[sizes[-1]] / -(-len(train) // sizes[-1]):.2f} ms with {sizes[-1]} examples, so that an epoch of small batches is slow. One of the
        lectures says that small batches lead to overtraining; Keskar et al. (2017) report the opposite, that large batches generalize worse. The
        runs here, with one learning rate for all sizes, decide neither.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name="expected",
                            x=sizes,
                            y=[expected[s] for s in sizes],
                            kind="two",
                            marks="dashed",
                        ),
                        Curve(name="measured", x=sizes, y=[measured[s] for s in sizes], marks="points"),
                    ],
                    x_name="batch size B (examples)",
                    y_name="√mean |g_B − g|², the gradient of the loss by the weights",
                    alt="The noise falls as one over the root of the batch size",
                    log_x=True,
                    log_y=True,
                    level=(whole, "the gradient itself"),
                ),
                caption="At the initial weights; the level is the norm of the gradient of all examples. McCandlish et al. (2018) take the batch size at which both are of one size for a measure of how large batches should be.",
            ),
            StudyFigure(
                picture=plot(
                    [Curve(name="", x=sizes, y=[pace[s] for s in sizes], marks="both")],
                    x_name="batch size B (examples)",
                    y_name="time of an epoch (s)",
                    alt="Epochs of small batches are slow",
                    log_x=True,
                    log_y=True,
                ),
                caption="On the machine named below.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name=f"{epochs} epochs",
                            x=sizes,
                            y=[100 * results[s]["accuracy"] for s in sizes],
                            marks="both",
                        ),
                        Curve(
                            name=f"{budget:g} s",
                            x=sizes,
                            y=[100 * timed[s]["accuracy"] for s in sizes],
                            kind="two",
                            marks="both",
                        ),
                    ],
                    x_name="batch size B (examples)",
                    y_name="test accuracy (%)",
                    alt="Accuracy by batch size at equal epochs and at equal times",
                    log_x=True,
                ),
                caption=f"Plain gradient descent, learning rate {RATE} for all; {len(test)} test digits.",
            ),
        ),
        tables=(
            StudyTable(
                caption="By batch size",
                columns=columns,
                rows=tuple(
                    (
                        s,
                        measured[s],
                        expected[s],
                        pace[s],
                        results[s]["accuracy"],
                        timed[s]["accuracy"],
                        timed[s]["epochs"],
                    )
                    for s in sizes
                ),
            ),
        ),
        numbers={
            "sizes": sizes,
            "draws": draws,
            "noise": measured,
            "expected_noise": expected,
            "gradient": whole,
            "power": power,
            "equal_epochs": results,
            "equal_time": timed,
        },
        sources=(
            "L. Bottou, F. E. Curtis, J. Nocedal, SIAM Rev. 60, 223 (2018), doi:10.1137/16M1080173",
            "S. McCandlish et al., An empirical model of large-batch training (2018), arXiv:1812.06162",
            "N. S. Keskar et al., On large-batch training, ICLR 2017, arXiv:1609.04836",
        ),
    )


def _listed(results: dict[int, dict[str, float]]) -> str:
    return ", ".join(f"{found['accuracy']:.1%} with {size}" for size, found in results.items())


def noise(
    data: Dataset, sizes: tuple[int, ...], draws: int, seed: int
) -> tuple[dict[int, float], dict[int, float], float]:
    """Root mean square of |g_B - g| by batch size, measured and expected, and the norm of the whole gradient g."""
    net = _made(seed)
    whole = next(Batches(data=data, scaling=scaling_of(data), batch_size=len(data)).in_order())
    single = torch.stack(
        [
            _gradient(net, Batch(inputs=x[None], targets=y[None]))
            for x, y in zip(whole.inputs, whole.targets, strict=True)
        ]
    )
    mean = _gradient(net, whole)
    num, trace = len(single), float((single - mean).square().sum(dim=1).mean())
    measured, expected = {}, {}
    for size in sizes:
        squares = []
        for draw in range(draws):
            rows = torch.randperm(num, generator=torch_generator(seed, "batch noise", size, draw))[:size]
            batch = Batch(inputs=whole.inputs[rows], targets=whole.targets[rows])
            squares.append(float((_gradient(net, batch) - mean).square().sum()))
        measured[size] = float(np.sqrt(np.mean(squares)))
        expected[size] = float(
            np.sqrt(trace * (num - size) / (num - 1) / size)
        )  # trace over N: its N - 1 is here
    return measured, expected, float(mean.norm())


def _gradient(net: nn.Module, batch: Batch) -> Tensor:
    """The gradient of the mean loss by all parameters: [P]."""
    gradients = torch.autograd.grad(CrossEntropy(10)(net, batch).total, list(net.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def _made(seed: int) -> nn.Module:
    with torch_seeded(seed, "batch size"):
        return mlp((32,), inputs=(1, 8, 8), outputs=10)


def _fitted(
    train: Dataset, test: Dataset, size: int, seed: int, *, epochs: int = 10**9, seconds: float = float("inf")
) -> dict[str, float]:
    """Accuracy on `test` after so many epochs, or so many seconds of training, and what it took."""
    net, scaling = _made(seed), scaling_of(train)
    batches = Batches(data=train, scaling=scaling, batch_size=size, seed=seed)
    rule = Backprop(SGD(learning_rate=RATE, momentum=0, weight_decay=0).build(net))
    began, epoch, made = time.perf_counter(), 0, 0
    while epoch < epochs and time.perf_counter() - began < seconds:
        epoch += 1
        for record in steps(
            net, CrossEntropy(10), batches.epoch(epoch), rule=rule, seed=seed, epoch=epoch, first_step=made
        ):
            made = record.step
            if time.perf_counter() - began >= seconds:
                break
    spent = time.perf_counter() - began
    batch = next(Batches(data=test, scaling=scaling, batch_size=len(test)).in_order())
    with torch.no_grad():
        right = net.eval()(batch.inputs).argmax(1) == batch.targets
    done = made / batches.steps_per_epoch
    return {"accuracy": float(right.float().mean()), "seconds": spent, "epochs": done}
