"""A forward pass as a tape: every operation that depends on the input, with its arguments and what it answered.

The operations are seen below Python (`TorchDispatchMode`), where `x + y`, `x += y`, `F.relu`, `nn.ReLU(inplace=True)`, "same" padding and a
layer that is used twice all look alike: a few hundred operations with fixed arguments. An operation that writes into its argument is
recorded as the one that answers with a new value. What can not be replayed faithfully is refused, with the reason: values that were read
into Python (`.item()`), random numbers, writing through a view, results whose shape depends on values.

The pass is made with two rows, so that a tape tells where the number of examples stands; `Tape.replay` computes an operation for any number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hubel.explain.nested import mapped, tensors_in

ROWS = 2
"""Examples with which a pass is recorded."""


@dataclass(frozen=True)
class Slot:
    """The place of a value of the tape among the arguments of an operation."""

    number: int


@dataclass(frozen=True, eq=False)
class Repeated:
    """A constant that was expanded to one row an example (a class token, say): `row` [1, ...]."""

    row: Tensor


@dataclass(eq=False, kw_only=True)
class Operation:
    """`function(*args, **kwargs)`, with a `Slot` wherever a value of the tape goes; `outputs` are the numbers of its answers (-1: no tensor).

    `in_place` is the same operation writing into its first argument, where nobody else needs that value; `faster` the same by another way
    of computing it.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    single: bool
    in_place: Any = None
    faster: Any = None

    @property
    def call(self) -> Any:
        """What is to be called with the arguments."""
        return self.faster or self.in_place or self.function

    @property
    def name(self) -> str:
        """Without namespace and overload: "convolution"."""
        return str(self.function._schema.name).partition("::")[2]

    def bound(self) -> dict[str, Any]:
        """The arguments by name, defaults included."""
        found: dict[str, Any] = {}
        for k, argument in enumerate(self.function._schema.arguments):
            if k < len(self.args):
                found[argument.name] = self.args[k]
            elif argument.name in self.kwargs:
                found[argument.name] = self.kwargs[argument.name]
            else:
                found[argument.name] = argument.default_value if argument.has_default_value() else None
        return found


@dataclass(eq=False, kw_only=True)
class Tape:
    """The operations of one pass in order, what they answered (`values`, of two rows), and which answers are the network's (`answer`)."""

    operations: list[Operation]
    values: dict[int, Tensor]
    answer: Any
    shapes: dict[int, tuple[int, ...]] = field(init=False)
    dtypes: dict[int, torch.dtype] = field(init=False)

    def __post_init__(self) -> None:
        self.shapes = {number: tuple(value.shape) for number, value in self.values.items()}
        self.dtypes = {number: value.dtype for number, value in self.values.items()}

    def users(self) -> dict[int, list[int]]:
        """The positions of the operations that read each value; the network's answer counts as one after the last."""
        found: dict[int, list[int]] = {number: [] for number in self.values}
        for k, operation in enumerate(self.operations):
            for number in operation.inputs:
                found[number].append(k)
        for slot in slots_in(self.answer):
            found[slot.number].append(len(self.operations))
        return found

    def replay(self, operation: Operation, values: dict[int, Tensor], num: int) -> list[Tensor | None]:
        """What the operation answers for `num` rows, reading `values`; sizes among its arguments are adapted."""
        if operation.name in RESHAPES:
            lead = self.shapes[operation.outputs[0]][0] * num // ROWS
            shape = (lead, *self.shapes[operation.outputs[0]][1:])
            value = values[operation.inputs[0]]
            return [value.expand(shape) if operation.name == "expand" else value.reshape(shape)]
        args, kwargs = list(operation.args), operation.kwargs
        if operation.name in FACTORIES:
            args[1] = [args[1][0] * num // ROWS, *args[1][1:]]
        if operation.name == "native_group_norm":  # which is told the number of examples
            args[3] = args[3] * num // ROWS
        args, kwargs = mapped((args, kwargs), Slot, lambda slot: values[slot.number])
        args, kwargs = mapped(
            (args, kwargs), Repeated, lambda part: part.row.expand(num, *part.row.shape[1:])
        )
        return answers(operation, operation.call(*args, **kwargs))


RESHAPES = ("view", "_unsafe_view", "reshape", "expand")
FACTORIES = ("new_zeros", "new_ones", "new_full", "new_empty")
BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")


def answers(operation: Operation, answered: Any) -> list[Tensor | None]:
    """The tensors that an operation answered, in the order of its `outputs`."""
    if operation.single:
        return [answered]
    return [value if isinstance(value, Tensor) else None for value in answered]


def slots_in(tree: Any) -> list[Slot]:
    """Every `Slot` in a tree of tuples, lists and dicts."""
    found: list[Slot] = []
    mapped(tree, Slot, found.append)
    return found


def record(run: Callable[[Tensor], Any], x: Tensor, *, limit: int) -> tuple[Tape | str, Any]:
    """The tape of `run(x)` for `x` [2, ...], or the reason why there is none; and what `run` answered.

    `limit` is the number of bytes that the recorded values may take; beyond it nothing is kept.

    >>> tape, _ = record(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(inplace=True)), torch.zeros(2, 3), limit=1000)
    >>> [operation.name for operation in tape.operations][-1]
    'relu'
    """
    recorder = _Recorder(x, limit)
    with torch.no_grad(), recorder:
        answered = run(x)
    reason = recorder.refused
    template = mapped(answered, Tensor, recorder.slot)
    if reason is None and not slots_in(template):
        reason = "its answer does not come from operations that can be followed"
    if reason is None and any(recorder.stale(t) for t in tensors_in(answered)):
        reason = "its answer was written to through a view"
    if reason is not None:
        return reason, answered
    return Tape(operations=recorder.operations, values=recorder.values, answer=template), answered


class _Recorder(TorchDispatchMode):
    """Sees every operation of a pass; `refused` says why the tape can not be replayed, where that is so."""

    def __init__(self, x: Tensor, limit: int):
        super().__init__()
        self.operations: list[Operation] = []
        self.values: dict[int, Tensor] = {}
        self.refused: str | None = None
        self._limit, self._bytes, self._count = limit, 0, 0
        self._alive: list[Any] = []  # an id names a tensor as long as the tensor lives
        self._numbers: dict[int, int] = {}
        self._seen: dict[int, int] = {}
        self._writes: dict[int, int] = {}
        self._stored: dict[int, list[int]] = {}
        self._constants: set[int] = set()
        self._add(x)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import the compiler, which takes longer than the pass

    def slot(self, tensor: Tensor) -> Any:
        """The tensor's place on the tape, or the tensor itself where it does not depend on the input."""
        number = self._numbers.get(id(tensor))
        return tensor if number is None else Slot(number)

    def stale(self, tensor: Tensor) -> bool:
        """Whether the memory of a recorded tensor was written to under another name."""
        return id(tensor) in self._numbers and self._seen[id(tensor)] != self._writes[_storage(tensor)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.refused is None:
            self.refused = self._objection(func, args, kwargs)
        if self.refused is not None:
            self.values.clear()
            return func(*args, **kwargs)
        tensors = list(tensors_in((args, kwargs)))
        inputs = [t for t in tensors if id(t) in self._numbers]
        if not inputs:
            return func(*args, **kwargs)
        for tensor in tensors:
            if id(tensor) not in self._numbers:
                self._constants.add(_storage(tensor))
                self._alive.append(tensor)
        pointwise = torch.Tag.pointwise in func.tags
        template = mapped((args, kwargs), Tensor, lambda tensor: self._part(tensor, pointwise=pointwise))
        numbers = tuple(dict.fromkeys(self._numbers[id(t)] for t in inputs))
        written = func._schema.is_mutable
        if written:
            self._set_aside(_storage(args[0]))
        answered = func(*args, **kwargs)
        if written:
            self._writes[_storage(args[0])] += 1
            func = functional_form(func)
        if func is torch.ops.aten.as_strided.default:  # only the steps of axes of one position are others
            func, template = torch.ops.aten.alias.default, ((template[0][0],), {})
        single = isinstance(answered, Tensor)
        listed = [answered] if single else list(answered) if isinstance(answered, (tuple, list)) else []
        if not any(isinstance(value, Tensor) for value in listed):
            return answered
        outputs = tuple(self._add(value) if isinstance(value, Tensor) else -1 for value in listed)
        operation = Operation(
            function=func,
            args=template[0],
            kwargs=template[1],
            inputs=numbers,
            outputs=outputs,
            single=single,
        )
        self.operations.append(operation)
        if self._bytes > self._limit:
            self.refused = f"what its operations answer takes more than {self._limit / 1e6:,.0f} MB"
        return answered

    def _objection(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Why this operation ends the recording, if it does."""
        name = func._schema.name
        if torch.Tag.nondeterministic_seeded in func.tags and _chance(func, args, kwargs):
            return f"it draws random numbers ({name})"
        followed = [t for t in tensors_in((args, kwargs)) if id(t) in self._numbers]
        if followed and (
            torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags
        ):
            return f"what it does depends on values of the input ({name})"
        if any(self.stale(t) for t in followed):
            return "a view of a value was written to"
        if followed and name.startswith("aten::as_strided") and not _as_it_lies(*args, **kwargs):
            return "it addresses memory itself (as_strided)"
        if func._schema.is_mutable:
            written = _written(func, args, kwargs)
            if any(_storage(t) in self._constants for t in written):
                return f"it changes a tensor of its own after reading it ({name})"
            if followed and (
                len(written) != 1
                or written[0] is not args[0]
                or id(written[0]) not in self._numbers
                or functional_form(func) is None
            ):
                return f"it writes into a tensor in a way that is not followed ({name})"
        return None

    def _part(self, tensor: Tensor, *, pointwise: bool) -> Any:
        """What stands for a tensor among the arguments."""
        found = self.slot(tensor)
        if found is tensor and tensor.ndim and len(tensor) == ROWS and tensor.stride(0) == 0:
            return tensor[:1] if pointwise else Repeated(tensor[:1])
        return found

    def _add(self, tensor: Tensor) -> int:
        number, storage = self._count, _storage(tensor)
        self._count += 1
        self._alive.append(tensor)
        self._writes.setdefault(storage, 0)
        self._numbers[id(tensor)] = number
        self._seen[id(tensor)] = self._writes[storage]
        self._stored.setdefault(storage, []).append(number)
        self.values[number] = tensor
        self._bytes += tensor.numel() * tensor.element_size()
        return number

    def _set_aside(self, storage: int) -> None:
        """Copies of the values in a memory that is about to be written to."""
        for number in self._stored.pop(storage, []):
            self.values[number] = self.values[number].clone()


def functional_form(func: Any) -> Any:
    """The operation that answers with a new tensor where `func` writes into its argument (`relu_` → `relu`); None where there is none."""
    namespace, _, name = func._schema.name.partition("::")
    return _overload(namespace, name[:-1], func._overloadname) if name.endswith("_") else None


def in_place_form(func: Any) -> Any:
    """The operation that writes into its first argument (`relu` → `relu_`); None where there is none."""
    namespace, _, name = func._schema.name.partition("::")
    return _overload(namespace, f"{name}_", func._overloadname)


def _overload(namespace: str, name: str, overload: str) -> Any:
    packet = getattr(getattr(torch.ops, namespace), name, None) if name else None
    if packet is None or (overload or "default") not in packet.overloads():
        return None
    return getattr(packet, overload or "default")


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    found = []
    for k, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[k] if k < len(args) else kwargs.get(argument.name)
            found += list(tensors_in(value))
    return found


def _chance(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether chance is at work: attention without dropout draws nothing, although it could."""
    for k, argument in enumerate(func._schema.arguments):
        if argument.name == "dropout_p":
            return bool(args[k] if k < len(args) else kwargs.get(argument.name, argument.default_value))
    return True


def _as_it_lies(tensor: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> bool:
    """Whether a view says again how a tensor lies in memory, up to the steps of axes of one position."""
    same = tuple(size) == tuple(tensor.shape) and storage_offset in (None, tensor.storage_offset())
    return same and all(n == 1 or a == b for n, a, b in zip(size, stride, tensor.stride(), strict=True))


def _storage(tensor: Tensor) -> int:
    """A number that tensors share whose memory is the same."""
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):  # sparse and opaque tensors have none
        return -id(tensor)
