"""Where an explanation takes hold: the input itself, or, of symbol numbers, what the network's embedding makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hubel.explain.question import Question

Baseline = Tensor | np.ndarray | float | int | None


class Entry:
    """`entry(point, rows)` [M] is the number that is explained, of points [M, ...] that can be moved continuously.

    Of real inputs the points are inputs, of symbol numbers [N, L] they are their embeddings [N, L, E]: the network is called with the
    symbols, and its embedding answers with the points. `values` brings what was found back to the input's shape.

    >>> net = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    >>> entry = Entry(Question(net, torch.tensor([[1, 2, 3]]), 0))
    >>> entry.point.shape, entry.values(entry.point).shape
    (torch.Size([1, 3, 4]), torch.Size([1, 3]))
    """

    def __init__(self, question: Question):
        self.question = question
        self.of_symbols = not question.x.is_floating_point()
        self.backwards = 0
        self.point = self._embedded(question.x) if self.of_symbols else question.x

    def __call__(self, point: Tensor, rows: Tensor | None = None) -> Tensor:
        if not self.of_symbols:
            return self.question(point, rows)
        symbols = self.question.x if rows is None else self.question.x[rows]
        with _Embedding(symbols, point):
            return self.question(symbols, rows)

    def __len__(self) -> int:
        return len(self.point)

    @property
    def passes(self) -> int:
        """Forward and backward passes so far, of one example each."""
        return self.question.calls + self.backwards

    def values(self, found: Tensor) -> Tensor:
        """What was found at the points [N, ...], in the input's shape."""
        return found.detach().sum(-1) if self.of_symbols else found.detach()

    def baseline(self, baseline: Baseline) -> tuple[Tensor, Tensor | None]:
        """The points [N, ...] of the input that counts as nothing, and that input (None where there is none): zero unless given.

        Of real inputs a number, or an array of the shape of the input or of one example; of symbols numbers of symbols, such as that of
        padding, and unless given an embedding of zeros.

        Raises `ValueError` for another shape and for values that are not finite, `TypeError` for what is no number.
        """
        x = self.question.x
        if self.of_symbols and baseline is None:
            return torch.zeros_like(self.point), None
        if not isinstance(baseline, (Tensor, np.ndarray, float, int, type(None))) or isinstance(
            baseline, bool
        ):
            raise TypeError(f"baseline must be a number or an array; received {type(baseline).__name__}")
        given = torch.as_tensor(0 if baseline is None else baseline, device=x.device)
        if self.of_symbols and given.is_floating_point():
            raise TypeError("baseline must hold numbers of symbols, as the input does; received real numbers")
        given = given.to(x.dtype)
        if given.ndim and tuple(given.shape) not in (tuple(x.shape), tuple(x.shape[1:]), (1, *x.shape[1:])):
            raise ValueError(
                f"baseline has shape {list(given.shape)}; expected a number, {list(x.shape[1:])} (for all examples) or {list(x.shape)}"
            )
        if given.is_floating_point() and not bool(torch.isfinite(given).all()):
            raise ValueError("baseline holds NaN or infinite values")
        whole = given.expand_as(x).clone()
        return (self._embedded(whole) if self.of_symbols else whole), whole

    def _embedded(self, symbols: Tensor) -> Tensor:
        if symbols.dtype == torch.bool:
            raise TypeError("x must hold real numbers, or whole numbers of symbols; received yes/no values")
        with torch.no_grad(), _Embedding(symbols, None) as seen:
            self.question(symbols)
        if seen.found is None:
            raise ValueError(
                f"x holds whole numbers ({symbols.dtype}), and the network does not look them up in an embedding, so that nothing can be "
                "moved continuously: pass real numbers if they are measurements, or use occlusion"
            )
        return seen.found.detach()


class _Embedding(TorchFunctionMode):
    """Where `symbols` are looked up, the answer is `point`, or (None) it is kept in `found`."""

    def __init__(self, symbols: Tensor, point: Tensor | None):
        super().__init__()
        self.symbols, self.point, self.found = symbols, point, None
        self.times = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "embedding" or not self._are_looked_up(args, kwargs):
            return func(*args, **kwargs)
        self.times += 1
        if self.times > 1:
            raise ValueError(
                "the network embeds the symbols in more than one way: what each way did can not be told apart"
            )
        if self.point is not None:
            return self.point.clone()
        self.found = func(*args, **kwargs)
        return self.found

    def _are_looked_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor) and not value.is_floating_point():
                return value.shape == self.symbols.shape and bool((value == self.symbols).all())
        return False


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` of `count` rows.

    >>> [(part.start, part.stop) for part in batches(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def rows_at_once(point: Tensor, batch_size: int | None) -> int:
    """`batch_size`, or where it is None as many rows as hold 2¹⁸ values of points [N, ...] together, 8 to 128.

    Larger batches are slower: memory for their activations is asked of the system anew each time. Measured (AMD EPYC (Zen 4), one thread,
    processor time, float32), forward and backward: a network of 8 convolutions at 64², 400 rows in 4.4 s by 16, 4.7 s by 32, 5.2 to 6.2 s
    by 64; ResNet-18 at 224², a row in 93 ms by 8 or 16, 106 ms by 32.

    >>> rows_at_once(torch.zeros(4, 3, 224, 224), None), rows_at_once(torch.zeros(4, 8), None), rows_at_once(torch.zeros(4, 8), 5)
    (8, 128, 5)
    """
    if batch_size is not None:
        return positive(batch_size, "batch_size")
    return max(8, min(128, 2**18 // max(1, point[0].numel())))


def positive(value: int, name: str) -> int:
    """A positive whole number, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive whole number; received {value!r}")
    return int(value)
