"""The operations that a network does to its input, in order, whatever the code looks like: functional, reused, in place, residual.

Operations are intercepted by `torch.overrides.TorchFunctionMode`, so that no module has to be recognized. Every tensor that depends on the
input has a number; 0 is the input itself. An operation in place gives its tensor a new number.

Beside it stand `hubel.explain.tape`, which sees below Python what can be computed again, and can neither name what the user wrote ("conv2d" in
"layer1.0") nor carry gradients; and `hubel.explain.intercept`, which answers in the place of the operations and keeps nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hubel.core.capture import captured
from hubel.explain.nested import tensors_in

OTHER_NAMES = {
    "iadd": "add", "radd": "add", "isub": "sub", "subtract": "sub", "imul": "mul", "rmul": "mul", "multiply": "mul",
    "truediv": "div", "itruediv": "div", "idiv": "div", "divide": "div", "rdiv": "reciprocal_times", "rtruediv": "reciprocal_times",
    "ipow": "pow", "concat": "cat", "concatenate": "cat", "swapaxes": "transpose", "swapdims": "transpose", "clip": "clamp",
    "moveaxis": "movedim", "rmatmul": "matmul", "max_pool1d_with_indices": "max_pool1d", "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Call:
    """One operation. `numbers` are those of the tensors that it reads by their identity, `answers` the shapes of all that it answers
    with, `place` which of them this is about.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numbers: dict[int, int]
    answers: tuple[tuple[int, ...], ...]
    place: int

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the answer."""
        return self.answers[self.place]

    def read(self) -> list[tuple[int, Tensor]]:
        """The tensors that depend on the input, each with its number, in the order of the arguments."""
        return [
            (self.numbers[id(t)], t) for t in tensors_in((self.args, self.kwargs)) if id(t) in self.numbers
        ]

    def bound(self, names: str) -> dict[str, Any]:
        """Arguments by name; `names` are those of the operation in their order."""
        return dict(zip(names.split(), self.args, strict=False)) | self.kwargs


class Recording(TorchFunctionMode):
    """`with Recording(x): net(x)` writes down what happens to `x`. `tensors[number]` is each tensor, `shapes` and
    `calls` tell what it was and where it came from (of the input there is no call).
    """

    def __init__(self, x: Tensor):
        super().__init__()
        self.calls: list[Call | None] = [None]
        self.shapes: list[tuple[int, ...]] = [tuple(x.shape)]
        self._kept: list[Any] = []  # so that no identity is used twice
        self._latest = {id(x): 0}
        self.modules: list[tuple[str, nn.Module, tuple[Any, ...], Any]] = []
        self._heard = 0
        self.tensors: list[Tensor] = [x]
        self.answered: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.hear()
        read = {id(t): self._latest[id(t)] for t in tensors_in((args, kwargs)) if id(t) in self._latest}
        answer = func(*args, **kwargs)
        if not read:
            return answer
        name = name_of(func)
        tensors = [args[0]] if name == "setitem" else list(tensors_in(answer))
        shapes = tuple(tuple(t.shape) for t in tensors)
        self._kept.append((args, kwargs, answer))
        for place, tensor in enumerate(tensors):
            self._latest[id(tensor)] = len(self.calls)
            self.calls.append(Call(name, tuple(args), dict(kwargs), read, shapes, place))
            self.shapes.append(shapes[place])
            self.tensors.append(tensor)
        return answer

    def hear(self) -> None:
        """Note which numbers the modules have answered with that finished since the last operation."""
        for name, _, _, output in self.modules[self._heard :]:
            value = next(iter(tensors_in(output)), None)
            if value is not None and id(value) in self._latest:
                self.answered[name] = self._latest[id(value)]
                self._kept.append(value)
        self._heard = len(self.modules)


def record(net: nn.Module, x: Tensor) -> Recording:
    """What `net` does to `x` [N, ...]. `answered` has the number of what each module answered last. Differentiable where `x` asks for it.

    >>> found = record(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.zeros(1, 1, 5, 5))
    >>> [call.name for call in found.calls[1:]], found.answered["0"], found.shapes[-1]
    (['conv2d', 'relu'], 1, (1, 2, 3, 3))
    """
    with torch.set_grad_enabled(x.requires_grad), captured(net) as modules:
        recording = Recording(x)
        recording.modules = modules
        with recording:
            net(x)
        recording.hear()
    return recording


def name_of(func: Any) -> str:
    """The plain name of an operation: that of `x.relu_()` is relu, that of `a += b` is add.

    >>> name_of(torch.relu_), name_of(Tensor.__iadd__), name_of(Tensor.T.__get__)
    ('relu', 'add', 'T')
    """
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        return str(getattr(func.__self__, "__name__", name))
    name = name.strip("_")
    return OTHER_NAMES.get(name, name)
