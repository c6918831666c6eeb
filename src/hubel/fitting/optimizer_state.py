"""Whether the stored state of an optimizer is one that it could have made: fused steps trust what they are given blindly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hubel.fitting.optimizers import OptimizerChoice


def refuse_other_states(
    choice: OptimizerChoice, parameters: Sequence[nn.Parameter], stored: Mapping[int, Mapping[str, Any]]
) -> None:
    """Raise `LookupError` where `stored` (by number of the parameter) is not what this optimizer keeps for `parameters`.

    Every entry has to be of the kind that a step of the same optimizer makes for a small network, and every tensor a number or of
    its parameter's shape.
    """
    known = _kinds(choice, parameters[0].device) if parameters else set()
    for number, values in stored.items():
        shape = parameters[number].shape if 0 <= number < len(parameters) else None
        if shape is None:
            raise LookupError(
                f"the optimizer has a state of parameter {number}, but {len(parameters)} were trained: other parameters than now"
            )
        if not isinstance(values, Mapping) or _kind(values) not in known:
            raise LookupError(f"the optimizer's state of parameter {number} is not one of {choice}")
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape not in ((), shape):
                raise LookupError(
                    f"the optimizer's {name} of parameter {number} has the shape {tuple(value.shape)}, the parameter {tuple(shape)}: other "
                    "parameters were trained than now"
                )


def _kinds(choice: OptimizerChoice, device: torch.device) -> set[frozenset[tuple[str, str]]]:
    """The kinds of state after a step of a network with a filter bank, a norm and a matrix."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2)).to(device)
    optimizer = choice.build(net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {_kind(values) for values in optimizer.state_dict()["state"].values()}


def _kind(values: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset((name, _sort(value)) for name, value in values.items())


def _sort(value: Any) -> str:
    if isinstance(value, Tensor):
        return "tensor" if value.is_floating_point() else "tensor of whole or complex numbers"
    return type(value).__name__
