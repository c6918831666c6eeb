"""A tape without what is not needed to replay it, and so that replaying is quick."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hubel.explain.nested import mapped
from hubel.explain.tape import BATCH_NORMS, Operation, Slot, Tape, in_place_form, slots_in
from hubel.explain.winograd import Winograd, suits

COPIES = ("clone", "alias", "detach", "lift_fresh")
WINOGRAD_BYTES = 2**28
"""What filters may take that are kept in another form as well."""


def simplified(tape: Tape, *, channels_last: bool) -> Tape:
    """The tape without what the answer does not need, without copies and axes that are permuted there and back, batch norm folded into the convolution before it, and writing in place where it may.

    Some convolutions of 3 × 3 are computed in a quicker way (`hubel.explain.winograd`).

    Folding: w' = w γ/√(σ² + ε), b' = (b - μ) γ/√(σ² + ε) + β. With `channels_last`, filters of four axes are stored that way.
    """
    tape = _without_detours(tape)
    operations = _needed(tape)
    tape = Tape(operations=operations, values=tape.values, answer=tape.answer)
    users, makers = tape.users(), {n: o for o in operations for n in o.outputs}
    folded: set[int] = set()
    for operation in operations:
        if operation.name not in BATCH_NORMS or len(operation.inputs) != 1 or _training(operation):
            continue
        before = makers.get(operation.inputs[0])
        if before is None or before.name != "convolution" or len(users[operation.inputs[0]]) != 1:
            continue
        if len(before.inputs) == 1 and isinstance(before.args[0], Slot):
            _fold(before, operation)
            folded.add(id(operation))
    operations = [operation for operation in operations if id(operation) not in folded]
    if channels_last:
        room = WINOGRAD_BYTES
        for operation in operations:
            if suits(operation) and (bytes_ := 4 * operation.args[1].nbytes) <= room:
                operation.faster, room = Winograd(operation.args[1]), room - bytes_
            if operation.name == "convolution" and isinstance(operation.args[1], Tensor):
                operation.args = (operation.args[0], _channels_last(operation.args[1]), *operation.args[2:])
    tape = Tape(operations=operations, values=tape.values, answer=tape.answer)
    _write_in_place(tape)
    return tape


def _without_detours(tape: Tape) -> Tape:
    same: dict[int, int] = {}
    permuted: dict[int, tuple[int, tuple[int, ...]]] = {}
    kept = []

    def known(slot: Slot) -> Slot:
        return Slot(same.get(slot.number, slot.number))

    for operation in tape.operations:
        args, kwargs = mapped((operation.args, operation.kwargs), Slot, known)
        inputs = tuple(dict.fromkeys(same.get(number, number) for number in operation.inputs))
        if operation.name in COPIES:
            same[operation.outputs[0]] = inputs[0]
            continue
        if operation.name in ("permute", "transpose"):
            order = _order(operation, len(tape.shapes[inputs[0]]))
            source, before = permuted.get(inputs[0], (inputs[0], tuple(range(len(order)))))
            order = tuple(before[axis] for axis in order)
            if order == tuple(range(len(order))):
                same[operation.outputs[0]] = source
                continue
            permuted[operation.outputs[0]] = source, order
        kept.append(replace(operation, args=args, kwargs=kwargs, inputs=inputs))
    return Tape(operations=kept, values=tape.values, answer=mapped(tape.answer, Slot, known))


def _order(operation: Operation, ndim: int) -> tuple[int, ...]:
    """Of each axis of the answer, which one of the argument it is."""
    found = operation.bound()
    if operation.name == "permute":
        return tuple(axis % ndim for axis in found["dims"])
    order = list(range(ndim))
    a, b = found["dim0"] % ndim, found["dim1"] % ndim
    order[a], order[b] = b, a
    return tuple(order)


def _needed(tape: Tape) -> list[Operation]:
    needed = {slot.number for slot in slots_in(tape.answer)}
    kept = []
    for operation in reversed(tape.operations):
        if needed.intersection(operation.outputs):
            needed.update(operation.inputs)
            kept.append(replace(operation))
    return kept[::-1]


def _training(operation: Operation) -> bool:
    return bool(operation.bound().get("training", operation.bound().get("train", False)))


def _fold(convolution: Operation, norm: Operation) -> None:
    found = norm.bound()
    weight, bias = (None if found[name] is None else found[name].double() for name in ("weight", "bias"))
    mean, variance = found["running_mean"].double(), found["running_var"].double()
    epsilon = found["eps"] if "eps" in found else found["epsilon"]
    filters, shift = convolution.args[1], convolution.args[2]
    scale = (1.0 if weight is None else weight) / (variance + epsilon).sqrt()
    transposed, groups = convolution.args[6], convolution.args[8]
    moved = (0.0 if shift is None else shift.double()) - mean
    new_bias = moved * scale + (0.0 if bias is None else bias)
    scale = scale.to(filters.dtype)  # millions of filters are not worth the time of a product in float64
    if transposed:  # filters are [C_in, C_out / groups, ...]
        by_group = scale.view(groups, 1, -1)
        shape = filters.shape
        rows = filters.reshape(groups, shape[0] // groups, shape[1], -1) * by_group[..., None]
        new = rows.reshape(shape)
    else:
        new = filters * scale.view(-1, *(1,) * (filters.ndim - 1))
    args = (convolution.args[0], new, new_bias.to(filters.dtype), *convolution.args[3:])
    convolution.args = args
    convolution.outputs = (norm.outputs[0],)


def _channels_last(filters: Tensor) -> Tensor:
    return filters.contiguous(memory_format=torch.channels_last) if filters.ndim == 4 else filters


def _write_in_place(tape: Tape) -> None:
    """Pointwise operations write into the value before them, where that is fresh memory and nobody else reads it."""
    users, fresh = tape.users(), set()
    for operation in tape.operations:
        pointwise = torch.Tag.pointwise in operation.function.tags
        first = operation.args[0] if operation.args else None
        if pointwise and isinstance(first, Slot) and first.number in fresh and operation.single:
            output = operation.outputs[0]
            same = (
                tape.shapes[first.number] == tape.shapes[output]
                and tape.dtypes[first.number] == tape.dtypes[output]
            )
            if same and len(users[first.number]) == 1 and _reads_once(operation, first):
                operation.in_place = in_place_form(operation.function)
        if pointwise or operation.name in ("convolution", "addmm", "mm", *BATCH_NORMS):
            fresh.update(operation.outputs[:1])


def _reads_once(operation: Operation, slot: Slot) -> bool:
    return slots_in((operation.args, operation.kwargs)).count(slot) == 1
