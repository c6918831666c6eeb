"""The explained number of many versions of an example: what all methods of perturbation ask for.

`Versions` are those that differ from the example inside a box each (a patch): they are computed incrementally, exactly, where the network's
operations can be followed. `scores_of` is for versions that differ anywhere. Both work in batches that fit a budget of memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hubel.core.errors import is_out_of_memory
from hubel.data.storage import free_memory
from hubel.explain.incremental import Incremental, Plan
from hubel.explain.nested import mapped, tensors_in
from hubel.explain.question import Question
from hubel.explain.tape import record

Progress = Callable[[int, int], None] | None
"""Called with the number of versions that are done and the number of all."""

BUDGET = 128 * 2**20
"""Bytes that the values of a batch may take unless told; more is not faster, since they leave the processor's cache."""
FEW = 6
"""Versions for which recording a pass is not worth while."""
TOLERANCE = 1e-4
"""How much, relative to the greatest of a network's answers, incremental and plain answers may differ in float32."""


class Versions:
    """Scores of versions of example `row` of a question, each of which has other values inside one box.

    `axes` are those of the example (without N) along which boxes have places; along the others they reach over everything. The first call
    records one pass, of the example and of one version, and every incremental answer for that version is compared with the network's own:
    where they differ, or where the pass can not be replayed, all versions are computed in full. `notes` say what was done.

    >>> net = torch.nn.Sequential(torch.nn.Conv1d(1, 1, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(40, 2)).eval()
    >>> question = Question(net, torch.randn(1, 1, 40), 0)
    >>> versions = Versions(question, 0, axes=(1,))
    >>> starts, grey = np.arange(0, 40, 4)[:, None], torch.zeros(1, 1, 4)
    >>> plain = torch.stack([question(versions.full(starts[k:k + 1], grey))[0] for k in range(10)])
    >>> bool(torch.allclose(versions.scores(starts, grey), plain, atol=1e-5)), versions.incremental
    (True, True)
    """

    def __init__(self, question: Question, row: int, *, axes: Sequence[int], budget: int = BUDGET):
        self.question, self.row, self.axes, self.budget = question, row, tuple(axes), budget
        self.example = question.x[row]
        others = [axis for axis in range(self.example.ndim) if axis not in self.axes]
        self._order = (0, *(1 + axis for axis in (*others, *self.axes)))
        """Of a batch the axes as the engine wants them: those along which boxes have places come last."""
        self.notes: tuple[str, ...] = ()
        self._engine: Incremental | None = None
        self._tried, self._at_once = False, 0

    @property
    def incremental(self) -> bool:
        """Whether the versions so far were computed incrementally."""
        return self._engine is not None

    def scores(self, starts: np.ndarray, crops: Tensor, progress: Progress = None) -> Tensor:
        """The explained number [M] of versions with `crops` [M or 1, ...] at `starts` [M, axes]."""
        starts = np.asarray(starts, np.int64).reshape(-1, len(self.axes))
        self._check(starts, crops)
        with torch.no_grad():
            if not self._tried and len(starts) >= FEW:
                self._tried = True
                found = self._begin(starts, crops, progress)
                if found is not None:
                    return found
            if self._engine is not None:
                found = self._incremental(self._engine, starts, crops, progress, None)
                if found is not None:
                    return found
            return self._in_full(starts, crops, progress)

    def full(self, starts: np.ndarray, crops: Tensor) -> Tensor:
        """The versions themselves [M, ...]."""
        versions = self.example.expand(len(starts), *self.example.shape).clone()
        size = [crops.shape[1 + axis] for axis in self.axes]
        for k, places in enumerate(np.asarray(starts).tolist()):
            index: list[Any] = [slice(None)] * self.example.ndim
            for axis, place, length in zip(self.axes, places, size, strict=True):
                index[axis] = slice(place, place + length)
            versions[k][tuple(index)] = crops[min(k, len(crops) - 1)]
        return versions

    def _check(self, starts: np.ndarray, crops: Tensor) -> None:
        size = np.array([crops.shape[1 + axis] for axis in self.axes])
        sides = np.array([self.example.shape[axis] for axis in self.axes])
        assert len(crops) in (1, len(starts)), "one crop a version, or one for all"
        assert len(starts) and (starts >= 0).all() and (starts + size <= sides).all(), (
            "boxes inside the example"
        )

    def estimate(self, starts: np.ndarray, crops: Tensor) -> tuple[float, int]:
        """Seconds and bytes that `scores` will take, from one recorded pass and counted operations."""
        begun = time.perf_counter()
        with torch.no_grad():
            expected = self._record(starts, crops)
        seconds = (time.perf_counter() - begun) / 2 * len(starts)
        if self._engine is None or expected is None:
            return seconds, self.budget
        plans = self._engine.plans(np.unique(starts, axis=0), self._size(crops))
        share = _share(plans)
        kept = sum(value.numel() * value.element_size() for value in self._engine.tape.values.values())
        return share * seconds, kept + min(self.budget, len(starts) * max(plan.row_bytes for plan in plans))

    def _begin(self, starts: np.ndarray, crops: Tensor, progress: Progress) -> Tensor | None:
        """Record a pass of the example and of one version, and compute all; None where that can not be done incrementally."""
        expected = self._record(starts, crops)
        if self._engine is None or expected is None:
            return None
        return self._incremental(self._engine, starts, crops, progress, (len(starts) // 2, expected))

    def _record(self, starts: np.ndarray, crops: Tensor) -> list[Tensor] | None:
        """Have a tape made of the example and of the version in the middle; what the network answers for that one, or None where it can not be replayed."""
        if self.example.ndim < 2 or not self.example.is_floating_point():
            return None
        probe = len(starts) // 2
        pair = torch.stack([self.example, self.full(starts[probe : probe + 1], _one(crops, probe))[0]])
        rows = torch.full((2,), self.row, device=pair.device)
        limit = min(free_memory() // 4, 2**34)
        back = tuple(int(axis) for axis in np.argsort(self._order))
        moved = pair.permute(self._order).contiguous()
        tape, answered = record(lambda x: self.question._outputs(x.permute(back), rows), moved, limit=limit)
        if isinstance(tape, str):
            self.notes = (f"every version computed in full: {tape}",)
            return None
        self._engine = Incremental(tape, len(self.axes))
        if not self._engine.num_rules:
            self._decline("no operation at its beginning works on neighbouring positions")
            return None
        return [t[1] for t in tensors_in(answered) if t.ndim and len(t) == 2]

    def _size(self, crops: Tensor) -> tuple[int, ...]:
        return tuple(crops.shape[1 + axis] for axis in self.axes)

    def _decline(self, reason: str) -> None:
        self._engine = None
        self.notes = (f"every version computed in full: {reason}",)

    def _incremental(
        self,
        engine: Incremental,
        starts: np.ndarray,
        crops: Tensor,
        progress: Progress,
        probe: tuple[int, list[Tensor]] | None,
    ) -> Tensor | None:
        size = self._size(crops)
        different, of_version = np.unique(starts, axis=0, return_inverse=True)
        of_version = of_version.reshape(-1)
        plans = engine.plans(different, size)
        scores = torch.empty(len(starts), dtype=self.question.score.dtype, device=self.example.device)
        batches = list(self._batches(plans, of_version))
        if probe is not None:  # first the batch with the version whose answer is known
            batches.sort(key=lambda batch: probe[0] not in batch[1])
        done = 0
        for plan, versions in batches:
            known = probe if probe is not None and probe[0] in versions else None
            try:
                scores[versions] = self._batch(engine, plan, versions, of_version, crops, known)
            except _Refusal as refusal:
                self._decline(str(refusal))
                return None
            except (RuntimeError, IndexError, TypeError, ValueError) as error:
                if is_out_of_memory(error):
                    raise
                self._decline(f"its pass could not be replayed ({str(error).splitlines()[0][:120]})")
                return None
            done += len(versions)
            if progress is not None:
                progress(done, len(starts))
        num_boxed = sum(rule is not None for rule in engine.rules[: max(plan.switch for plan in plans)])
        share = _share(plans)
        self.notes = (
            f"incremental: up to {num_boxed} of {len(engine.rules)} operations in boxes, {share:.0%} of the arithmetic of whole passes",
        )
        return scores

    def _batches(self, plans: list[Plan], of_version: np.ndarray) -> Any:
        """(plan, numbers of versions) for batches that fit the budget."""
        for plan in plans:
            members = np.flatnonzero(np.isin(of_version, plan.rows))
            most = int(max(1, min(256, self.budget // plan.row_bytes)))
            count = -(-len(members) // most)
            for part in np.array_split(members, count):
                yield plan, part

    def _batch(
        self,
        engine: Incremental,
        plan: Plan,
        versions: np.ndarray,
        of_version: np.ndarray,
        crops: Tensor,
        probe: tuple[int, list[Tensor]] | None,
    ) -> Tensor:
        chosen = versions
        if (
            len(versions) == 2 and probe is not None
        ):  # a pass of two rows would not show a size that was taken for 2
            chosen = np.append(versions, versions[0])
        rows = np.searchsorted(plan.rows, of_version[chosen])
        values = crops.expand(len(chosen), *crops.shape[1:]) if len(crops) == 1 else crops[chosen]
        answered = engine.answers(plan, rows, values.permute(self._order))
        for tensor in tensors_in(answered):
            if tensor.ndim and len(tensor) != len(chosen):
                raise _Refusal("its answers do not have one row an example")
        if probe is not None:
            place = int(np.flatnonzero(chosen == probe[0])[0])
            got = [tensor[place] for tensor in tensors_in(answered) if tensor.ndim]
            if len(got) != len(probe[1]) or not all(map(_alike, got, probe[1])):
                raise _Refusal("replayed, its operations answer something else")
        self.question.calls += len(versions)
        answered = mapped(answered, Tensor, lambda t: t[: len(versions)])
        return self.question._read(answered, torch.full((len(versions),), self.row, device=values.device))

    def _in_full(self, starts: np.ndarray, crops: Tensor, progress: Progress) -> Tensor:
        def make(numbers: np.ndarray) -> Tensor:
            return self.full(starts[numbers], crops if len(crops) == 1 else crops[numbers])

        if not self._at_once:
            self._at_once = rows_at_once(self.question, self.budget) if len(starts) >= FEW else FEW
        return scores_of(self.question, self.row, make, len(starts), at_once=self._at_once, progress=progress)


class _Refusal(Exception):
    """Why incremental answers are not to be used."""


def _share(plans: list[Plan]) -> float:
    """What the versions cost, of what they would on whole maps."""
    whole = sum(plan.full_cost * len(plan.rows) for plan in plans)
    return sum(plan.cost * len(plan.rows) for plan in plans) / max(whole, 1.0)


def _one(crops: Tensor, number: int) -> Tensor:
    return crops if len(crops) == 1 else crops[number : number + 1]


def _alike(got: Tensor, expected: Tensor) -> bool:
    if got.shape != expected.shape:
        return False
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny) if expected.numel() else 1.0
    return bool(((got - expected).abs() <= TOLERANCE * scale).all())


def scores_of(
    question: Question,
    row: int,
    make: Callable[[np.ndarray], Tensor],
    num: int,
    *,
    at_once: int,
    progress: Progress = None,
) -> Tensor:
    """The explained number [num] of versions of example `row`, `at_once` of them in a batch; `make(numbers)` answers those of some numbers [n, ...].

    >>> question = Question(torch.nn.Linear(2, 1), torch.zeros(1, 2), 0)
    >>> scores_of(question, 0, lambda numbers: torch.zeros(len(numbers), 2), 5, at_once=2).shape
    torch.Size([5])
    """
    found = []
    with torch.no_grad():
        for start in range(0, num, at_once):
            numbers = np.arange(start, min(num, start + at_once))
            rows = torch.full((len(numbers),), row, device=question.x.device)
            found.append(question(make(numbers), rows))
            if progress is not None:
                progress(int(numbers[-1]) + 1, num)
    return torch.cat(found)


def rows_at_once(question: Question, budget: int = BUDGET) -> int:
    """How many versions of an example fit `budget` bytes, by what the network's operations answer for one.

    >>> rows_at_once(Question(torch.nn.Linear(2, 1), torch.zeros(1, 2), 0), budget=120)
    5
    """
    sizes = Sizes()
    with torch.no_grad(), sizes:
        question(question.x[:1])
    return int(max(1, min(1024, budget // sizes.most)))


class Sizes(TorchDispatchMode):
    """Sees how many bytes the answer of an operation takes at most, times three: what it reads is there too, and what else is still needed."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 1

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        answered = func(*args, **(kwargs or {}))
        read = {t.untyped_storage()._cdata for t in tensors_in((args, kwargs or {}))}
        fresh = [t for t in tensors_in(answered) if t.untyped_storage()._cdata not in read]
        self.most = max(self.most, 3 * sum(t.numel() * t.element_size() for t in fresh))
        return answered
