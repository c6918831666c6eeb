"""How well the symbols of a sequence were foretold."""

from __future__ import annotations

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.inputs import finite
from hubel.metrics.intervals import bootstrap


def next_symbol(
    surprisals, ranks, groups: np.ndarray | None = None, *, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Scores of predictions of the next symbol: bits per symbol, perplexity 2^bits, accuracy, and how often it was among the five likeliest.

    `surprisals` [N, L] are -log₂ of the probability given to each symbol that came, `ranks` [N, L] how many other symbols were thought
    likelier. Symbols that stand together are not independent: intervals are from the bootstrap over the N windows, or over `groups`.

    Raises `ValueError` for arrays of another shape, and for surprisals that are negative or not finite.

    >>> scores = next_symbol([[1.0, 3.0], [2.0, 2.0]], [[0, 1], [0, 7]])
    >>> {name: score.value for name, score in scores.items()}
    {'bits_per_symbol': 2.0, 'perplexity': 4.0, 'accuracy': 0.5, 'top_5_accuracy': 0.75}
    """
    bits = finite(np.asarray(surprisals, np.float64), "surprisals")
    places = np.asarray(ranks)
    if bits.ndim != 2 or places.shape != bits.shape or not bits.size:
        raise ValueError(
            f"surprisals are {bits.shape} and ranks {places.shape}; expected one of each a symbol, shape (N, L), and one symbol at least"
        )
    if bits.min() < -1e-6:
        raise ValueError(
            f"a surprisal is {bits.min():.4g}; expected -log2 of a probability, which is not negative"
        )
    counts = np.full(len(bits), bits.shape[1], np.float64)
    columns = np.stack([bits.sum(1), (places == 0).sum(1), (places < 5).sum(1), counts], axis=1)

    def statistic(sums: np.ndarray) -> np.ndarray:
        mean, right, near = (sums[:, k] / sums[:, 3] for k in range(3))
        return np.stack([mean, np.exp2(mean), right, near], axis=1)

    names = ("bits_per_symbol", "perplexity", "accuracy", "top_5_accuracy")
    found = bootstrap(columns, statistic, groups=groups, level=level, seed=seed)
    return dict(zip(names, found, strict=True))
