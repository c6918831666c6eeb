"""From a row of a table to what enters a network, by numbers taken from the training part only.

    number      (x - mean) / sd; 0, which is the mean, where it is missing
    heavy tails the normal quantile of its rank among the training values, where these reach so far out that sd says little
    missing     beside every number that is missing somewhere: 1 where it is missing, 0 elsewhere, less the mean of this
    category    one-hot less its mean, by the levels that the training part has; "other" for every level that it does not have

A linear layer on a one-hot column is an embedding: the row of its weights for the level. A level that the training part does not have
is 0 in all columns, which is the mean of the category (or "other", where the training part has rare levels that share one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hubel.data.table_plan import columns_of

if TYPE_CHECKING:
    from hubel.data.dataset import Dataset

HEAVY = 8.0  # (99 % - 1 %) / (75 % - 25 %) from which on a number has heavy tails; 3.4 for normal, 4.2 for exponential ones
KNOTS = 65
SAMPLE = 100_000  # rows from which quantiles are taken

__all__ = ["Category", "Encoding", "Tail"]


@dataclass(frozen=True, kw_only=True)
class Category:
    """A category in column `place` of the table: how many training rows have each level (`counts`), no level, or another one.

    `columns` of what enters the network: one for each of the most frequent levels, one for the others, one for missing.
    """

    place: int
    counts: tuple[int, ...]
    others: int = 0
    missing: int = 0
    columns: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.columns <= len(self.counts) + 2:  # so that a file can not ask for all memory
            raise ValueError(
                f"a category of {len(self.counts):,} levels enters by {self.columns:,} columns; expected {len(self.counts) + 2:,} at most"
            )

    @property
    def kept(self) -> np.ndarray:
        """The places of the levels that have a column each: the most frequent in the training part."""
        counts = np.array(self.counts, dtype=np.int64)
        kept = np.argsort(-counts, kind="stable")[: self.columns - 2]
        return np.sort(kept[counts[kept] > 0])

    def matrix(self) -> np.ndarray:
        """[levels + 2, columns]: what enters the network for each level, for another level, and where it is missing.

        >>> Category(place=0, counts=(3, 1, 0), columns=5).matrix()[:, :2].tolist()
        [[0.25, -0.25], [-0.75, 0.75], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
        """
        counts, kept = np.array(self.counts, dtype=np.int64), self.kept
        rare = np.setdiff1d(np.flatnonzero(counts), kept)
        rows = np.zeros((len(counts) + 2, self.columns))
        rows[kept, np.arange(len(kept))] = 1
        rows[rare, self.columns - 2] = 1
        rows[-2, self.columns - 2] = 1
        rows[-1, self.columns - 1] = 1
        seen = np.array([*counts, self.others, self.missing])
        seen[-2] += counts[rare].sum()
        weights = np.array([*counts, self.others, self.missing], dtype=np.float64)
        mean = weights @ rows / max(weights.sum(), 1.0)
        rows -= mean
        unseen = seen == 0
        rows[unseen] = rows[-2] if seen[-2] else 0
        return rows


@dataclass(frozen=True, kw_only=True)
class Tail:
    """A number with heavy tails, the `which`-th of them: straight lines between the `knots`, quantiles of the training values, and
    `scores`, the normal quantiles of their ranks; what lies beyond the last knots is as they are.
    """

    which: int
    knots: tuple[float, ...]
    scores: tuple[float, ...]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Scores [N] of values [N].

        >>> Tail(which=0, knots=(0.0, 1.0, 100.0), scores=(-1.0, 0.0, 1.0))(torch.tensor([-5.0, 0.5, 1e6])).tolist()
        [-1.0, -0.5, 1.0]
        """
        knots, scores = (values.new_tensor(numbers) for numbers in (self.knots, self.scores))
        values = values.clamp(knots[0], knots[-1])
        right = torch.searchsorted(knots, values).clamp(1, len(knots) - 1)
        low, high = knots[right - 1], knots[right]
        return torch.lerp(scores[right - 1], scores[right], (values - low) / (high - low))


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """See this file. `numbers` are the places of numbers in a row, `mean` and `std` theirs; `gaps` the share of training rows where each
    is missing, -1 for those that never are; `tails` are those with heavy tails.

    Called like a `Scaling`: with stored rows [N, F] it answers what enters the network [N, E], in `precision`.

    >>> encoding = Encoding(numbers=(0,), mean=(2.0,), std=(1.0,), gaps=(0.25,), categories=(), dtype="float32", shape=(1,))
    >>> encoding(torch.tensor([[3.0], [float("nan")]])).tolist()
    [[1.0, -0.25], [0.0, 0.75]]
    """

    numbers: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gaps: tuple[float, ...]
    categories: tuple[Category, ...]
    tails: tuple[Tail, ...] = ()
    dtype: str
    shape: tuple[int, ...]
    source: str = "training part"
    precision: str = "float32"

    def __post_init__(self) -> None:
        if not len(self.numbers) == len(self.mean) == len(self.std) == len(self.gaps):
            raise ValueError(
                f"{len(self.numbers)} numbers with {len(self.mean)} means, {len(self.std)} deviations and {len(self.gaps)} shares of missing "
                "values; expected one of each"
            )

    def __call__(self, stored: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """What enters the network [N, E] of stored rows [N, F], on the same device, in a new tensor."""
        if tuple(stored.shape[1:]) != tuple(self.shape):
            raise ValueError(
                f"received rows of {tuple(stored.shape[1:])}, but this network was fitted on {tuple(self.shape)}: "
                "read them the way the training table was read (hubel.data.read_like), or fit again"
            )
        work = torch.float64 if stored.dtype == torch.float64 else torch.float32
        parts: list[torch.Tensor] = []
        if self.numbers:
            places, mean, scale, gaps, means = _constants(self, work, stored.device)
            values = stored.to(work) if places is None else stored.index_select(1, places).to(work)
            missing = values.isnan()
            scaled = (values - mean) * scale
            for tail in self.tails:
                scaled[:, tail.which] = tail(values[:, tail.which].contiguous())
            parts.append(scaled.masked_fill_(missing, 0.0))
            if gaps is not None:
                parts.append(missing.index_select(1, gaps).to(work) - means)
        for category in self.categories:
            matrix = _matrix(category, work, stored.device)
            codes = stored[:, category.place]
            rows = torch.where(codes < 0, float(len(matrix) - 2), codes).nan_to_num(float(len(matrix) - 1))
            parts.append(matrix.index_select(0, rows.long()))
        found = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return found.to(getattr(torch, self.precision))

    def names(self, columns: Sequence[Mapping[str, Any]]) -> list[str]:
        """What each number that enters the network is, for the `columns` of a reading."""
        names = [columns[k]["name"] for k in self.numbers]
        found = names + [
            f"{name} missing" for name, share in zip(names, self.gaps, strict=True) if share >= 0
        ]
        for category in self.categories:
            column = columns[category.place]
            levels = [f"{column['name']} = {column['levels'][k]}" for k in category.kept]
            unused = ["(no level)"] * (category.columns - 2 - len(levels))
            found += [*levels, *unused, f"{column['name']} other", f"{column['name']} missing"]
        return found


def encoding_of(train: Dataset, *, precision: str = "float32") -> Encoding:
    """The encoding of a table's training part. A number that does not vary in it becomes 0 everywhere.

    Raises `ValueError` for an empty training part.
    """
    if len(train) == 0:
        raise ValueError(
            "the training part is empty: there is nothing to take mean and standard deviation from"
        )
    columns = train.reading["columns"]
    numbers = [k for k, column in enumerate(columns) if column["kind"] != "category"]
    levels = {k: len(column["levels"]) for k, column in enumerate(columns) if column["kind"] == "category"}
    count, total, square = np.zeros(len(numbers)), np.zeros(len(numbers)), np.zeros(len(numbers))
    counts = {k: np.zeros(num + 2, dtype=np.int64) for k, num in levels.items()}
    shift: np.ndarray | None = None
    step = max(1, 2**20 // max(1, len(columns)))
    for first in range(0, len(train), step):
        rows = np.asarray(train.inputs[first : first + step], np.float64)
        values = rows[:, numbers]
        there = ~np.isnan(values)
        if shift is None:
            with np.errstate(invalid="ignore"):
                shift = np.where(
                    there.any(0), np.where(there, values, 0).sum(0) / np.maximum(there.sum(0), 1), 0.0
                )
        values = np.where(there, values - shift, 0.0)
        count += there.sum(0)
        total += values.sum(0)
        square += np.square(values).sum(0)
        for k, num in levels.items():
            codes = rows[:, k]
            codes = np.where(np.isnan(codes), num + 1, np.where(codes < 0, num, codes)).astype(np.int64)
            counts[k] += np.bincount(codes, minlength=num + 2)
    assert shift is not None
    known = np.maximum(count, 1)
    mean = shift + total / known
    std = np.sqrt(np.maximum(square / known - np.square(total / known), 0.0))
    varies = std > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    missing = np.array([columns[k]["missing"] > 0 for k in numbers], dtype=bool)
    return Encoding(
        numbers=tuple(numbers),
        mean=tuple(map(float, mean)),
        std=tuple(map(float, np.where(varies, std, 0.0))),
        gaps=tuple(map(float, np.where(missing, 1 - count / len(train), -1.0))),
        categories=tuple(
            Category(
                place=k,
                counts=tuple(map(int, found[:-2])),
                others=int(found[-2]),
                missing=int(found[-1]),
                columns=columns_of(columns[k]),
            )
            for k, found in counts.items()
        ),
        tails=_tails(train, numbers),
        dtype=str(train.inputs.dtype),
        shape=train.shape,
        precision=precision,
    )


def _tails(train: Dataset, numbers: list[int]) -> tuple[Tail, ...]:
    """The numbers with heavy tails, by a sample of the training rows."""
    rows = np.linspace(0, len(train) - 1, min(len(train), SAMPLE)).astype(np.int64)
    sample = np.asarray(train.inputs[rows], np.float64)[:, numbers]
    levels = (np.arange(KNOTS) + 0.5) / KNOTS
    found = []
    for which in range(len(numbers)):
        values = sample[~np.isnan(sample[:, which]), which]
        if len(values) < KNOTS:
            continue
        first, quarter, three, last = np.quantile(values, (0.01, 0.25, 0.75, 0.99))
        if not 0 < HEAVY * (three - quarter) < last - first:
            continue
        knots, place = np.unique(np.quantile(values, levels), return_inverse=True)
        ranks = np.bincount(place, levels) / np.bincount(place)
        scores = [NormalDist().inv_cdf(float(rank)) for rank in ranks]
        found.append(Tail(which=which, knots=tuple(map(float, knots)), scores=tuple(scores)))
    return tuple(found)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _constants(encoding: Encoding, dtype: torch.dtype, device: torch.device) -> tuple[Any, ...]:
    """Places (None where all columns are numbers), mean, 1/std (0 where nothing varies), places and means of the gaps."""
    whole = encoding.numbers == tuple(range(encoding.shape[0]))
    with_gaps = [k for k, share in enumerate(encoding.gaps) if share >= 0]

    def row(values: Any, kind: torch.dtype = dtype) -> torch.Tensor:
        return torch.tensor(list(values), dtype=kind, device=device)

    return (
        None if whole else row(encoding.numbers, torch.int64),
        row(encoding.mean),
        row(1 / s if s else 0.0 for s in encoding.std),
        row(with_gaps, torch.int64) if with_gaps else None,
        row(encoding.gaps[k] for k in with_gaps),
    )


@lru_cache(maxsize=1024)
@torch.inference_mode(mode=False)
def _matrix(category: Category, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(category.matrix()).to(dtype=dtype, device=device)
