"""Generated examples as augmentation: does a classifier of few digits gain from samples of a network fitted to the same few?

    python benchmarks/generated_examples.py [--examples 200] [--seeds 0 1 2 3 4 5 6 7]

The 8 × 8 digits of scikit-learn; `--examples` of them to learn from, the same number of each class, 1,000 others as the test. For every class a
generator is fitted to its training examples alone (so that the label of a sample is known), and as many samples as there are examples, times
`COPIES`, are added. Beside it: no addition, copies with noise, and copies moved by a pixel (the declared symmetry of digits). The
classifier (one hidden layer of 100) makes the same number of steps with every kind. Differences are paired: resampled over seeds and
test examples together. Nothing here was tuned on the test part.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from protocol import Machine, Spread, arguments, row, say, target, write
from torch import nn

from hubel import data, nets, objectives
from hubel.core.types import Batch
from hubel.data.preprocessing import Scaling, scaling_of
from hubel.fitting import AdamW, Backprop, Linear, steps
from hubel.fitting.schedules import Progress

COPIES = 5
NUM_TEST = 1_000
OURS = "variational autoencoder"
ALONE = "no addition"


def main() -> None:
    given = arguments(
        __doc__,
        extra=lambda parser: (
            parser.add_argument("--examples", type=int, default=200),
            parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8))),
        ),
    )
    if given.quick:
        given.seeds, given.examples = [0], 50
    torch.set_num_threads(given.threads)
    machine = Machine()
    digits = data.load("digits")
    x, y = digits.inputs.astype(np.float32), digits.targets
    right: dict[str, list[np.ndarray]] = {}
    seconds: list[float] = []
    for seed in given.seeds:
        train, test = drawn(y, given.examples, seed)
        for name, more in KINDS.items():
            start = time.perf_counter()
            added = more(x[train], y[train], seed, 0.1 if given.quick else 1.0)
            seconds.append(time.perf_counter() - start)
            predicted = classified((x[train], y[train]), added, x[test], seed, 100 if given.quick else 1_500)
            right.setdefault(name, []).append((predicted == y[test]).astype(np.float64))
            say(f"seed {seed}, {name}: {right[name][-1].mean():.3%}")
    rows = []
    for name, values in sorted(right.items(), key=lambda item: -np.mean(item[1])):
        note = f"mean {100 * np.mean(values):.2f}"
        if name != ALONE:
            middle, low, high = difference(right[name], right[ALONE])
            note += f"; {middle:+.2f} points [{low:+.2f}, {high:+.2f}] against {ALONE}"
        rows.append(row(name, Spread.of([100 * float(v.mean()) for v in values]), "% right", note=note))
    middle, low, high = difference(right[OURS], right[ALONE])
    result = {
        "id": "generated examples",
        "title": "Generated examples as augmentation",
        "work": f"{given.examples} digits of 8 × 8 and {COPIES} × as many additions, {len(given.seeds)} seeds, accuracy on {NUM_TEST:,} others",
        "machine": machine.as_json(given.threads),
        "versions": {"torch": torch.__version__},
        "rows": rows,
        "targets": [
            target(
                "a variational autoencoder's samples help, outside the interval",
                f"{middle:+.2f} points [{low:+.2f}, {high:+.2f}]",
                low > 0,
            )
        ],
        "notes": [__doc__.partition("\n\n")[2].partition("\n\n")[2].replace("\n", " ").strip()],
    }
    write("generated_examples", result, given)


def drawn(y: np.ndarray, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, as many of each class, and rows of the test."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    train = np.concatenate([order[y[order] == k][: num // 10] for k in range(10)])
    return train, np.setdiff1d(order, train, assume_unique=True)[:NUM_TEST]


def nothing(x: np.ndarray, y: np.ndarray, seed: int, effort: float) -> tuple[np.ndarray, np.ndarray]:
    return x[:0], y[:0]


def noisy(x: np.ndarray, y: np.ndarray, seed: int, effort: float) -> tuple[np.ndarray, np.ndarray]:
    """Copies with Gaussian noise of a tenth of the greatest value."""
    rng = np.random.default_rng(seed)
    many = np.repeat(x, COPIES, axis=0)
    return (many + rng.normal(0, 1.6, many.shape)).astype(np.float32), np.repeat(y, COPIES)


def moved(x: np.ndarray, y: np.ndarray, seed: int, effort: float) -> tuple[np.ndarray, np.ndarray]:
    """Copies moved by up to one pixel in both directions."""
    rng = np.random.default_rng(seed)
    many = np.repeat(x, COPIES, axis=0)
    padded = np.pad(many, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifts = rng.integers(0, 3, (len(many), 2))
    return np.stack(
        [p[:, a : a + 8, b : b + 8] for p, (a, b) in zip(padded, shifts, strict=True)]
    ), np.repeat(y, COPIES)


def generated(
    make: Callable[[], nn.Module], objective: objectives.OwnTarget
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Samples of a generator of every class, fitted to its examples."""

    def more(x: np.ndarray, y: np.ndarray, seed: int, effort: float) -> tuple[np.ndarray, np.ndarray]:
        whole = scaling_of(data.Dataset(inputs=x.reshape(len(x), -1), targets=y))
        shared = Scaling(
            mean=(float(x.mean()),) * 64, std=(float(x.std()),) * 64, dtype=whole.dtype, shape=whole.shape
        )
        made = []
        for k in range(10):
            torch.manual_seed(seed)
            inputs = shared(torch.from_numpy(x[y == k].reshape(-1, 64)))
            net = make()
            fit(net, objective, inputs, inputs, seed, round(600 * effort))
            made.append(shared.invert(net.sample(COPIES * len(inputs), seed)).clamp(0, 16))  # type: ignore[operator]
        return torch.cat(made).view(-1, 1, 8, 8).numpy(), np.repeat(
            np.arange(10), [COPIES * int((y == k).sum()) for k in range(10)]
        )

    return more


KINDS = {
    ALONE: nothing,
    "copies with noise": noisy,
    "copies moved by a pixel": moved,
    OURS: generated(
        lambda: nets.variational_autoencoder(8, hidden=(64,), inputs=64), objectives.Variational(spread=0.3)
    ),
    "invertible network": generated(lambda: nets.realnvp(6, (32,), inputs=64), objectives.LogLikelihood()),
}


def fit(
    net: nn.Module, objective: objectives.Objective, x: torch.Tensor, y: torch.Tensor, seed: int, num: int
) -> None:
    """`num` steps of 32 examples."""
    generator = torch.Generator().manual_seed(seed)
    order = [torch.randint(len(x), (32,), generator=generator) for _ in range(num)]
    rule = Backprop(AdamW(learning_rate=2e-3).build(net))
    schedule = Linear(warmup=0.1)
    for _ in steps(
        net,
        objective,
        (Batch(inputs=x[rows], targets=y[rows]) for rows in order),
        rule=rule,
        schedule=lambda step: schedule.factor(Progress(step=step, total=num)),
        seed=seed,
    ):
        pass


def classified(
    known: tuple[np.ndarray, np.ndarray],
    added: tuple[np.ndarray, np.ndarray],
    asked: np.ndarray,
    seed: int,
    num: int,
) -> np.ndarray:
    """Classes of `asked`, by a network fitted to what is known and what was added."""
    x, y = (np.concatenate(pair) for pair in zip(known, added, strict=True))
    mean, std = float(known[0].mean()), float(known[0].std())
    torch.manual_seed(seed)
    net = nets.mlp((100,), inputs=64, outputs=10)
    inputs = torch.from_numpy((x.reshape(len(x), -1) - mean) / std)
    fit(net, objectives.CrossEntropy(10), inputs, torch.from_numpy(y), seed, num)
    with torch.no_grad():
        return net.eval()(torch.from_numpy((asked.reshape(len(asked), -1) - mean) / std)).argmax(1).numpy()


def difference(one: list[np.ndarray], other: list[np.ndarray]) -> tuple[float, float, float]:
    """`one` less `other` in points, with a 95 % interval: 2,000 resamplings of seeds and test examples together."""
    delta = 100 * (np.stack(one) - np.stack(other))
    rng = np.random.default_rng(0)
    seeds, examples = delta.shape
    means = [
        delta[rng.integers(seeds, size=seeds)].mean(axis=0)
        @ np.bincount(rng.integers(examples, size=examples), minlength=examples)
        / examples
        for _ in range(2000)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(delta.mean()), float(low), float(high)


if __name__ == "__main__":
    main()
