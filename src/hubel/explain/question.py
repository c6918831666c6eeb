"""What is asked of a network: one number an example, which explanations take apart.

A question is a class or output (its raw score, probability or log-probability), a unit inside the network, or any scalar function of
the output. Every method of `hubel.explain` asks through it, so that they all answer the same question about the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import branched, is_scripted
from hubel.core.errors import is_out_of_memory, nearest
from hubel.explain.filling import Fill, filled

Scale = Literal["score", "probability", "log_probability"]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit inside the network: a channel (or feature) of what `layer` answers; at one `position`, or the mean over all of them.

    `layer` is a name of `net.named_modules()`. Of maps [N, C, H, W] the position is (row, column), of [N, C, L] (step,); of steps
    [N, L, C] as recurrent layers answer them, `steps_first=True`.

    >>> str(Unit(layer="conv2", channel=5))
    'unit 5 of conv2'
    """

    layer: str
    channel: int
    position: tuple[int, ...] | None = None
    steps_first: bool = False

    def __str__(self) -> str:
        at = "" if self.position is None else f" at {', '.join(map(str, self.position))}"
        return f"unit {self.channel} of {self.layer}{at}"

    def read(self, answered: Any) -> Tensor:
        """The unit's value [N] from what its layer answered."""
        value = answered[0] if isinstance(answered, tuple) else answered
        if not isinstance(value, Tensor) or value.ndim < 2:
            raise ValueError(
                f"layer {self.layer} does not answer with a tensor [N, C, ...]: choose another one"
            )
        channels = value.shape[-1] if self.steps_first else value.shape[1]
        if not 0 <= self.channel < channels:
            raise ValueError(
                f"layer {self.layer} has {channels} channels, 0 to {channels - 1}; received channel {self.channel}"
            )
        maps = value[..., self.channel] if self.steps_first else value[:, self.channel]
        if self.position is None:
            return maps.flatten(1).mean(1) if maps.ndim > 1 else maps
        sizes = tuple(maps.shape[1:])
        if len(self.position) != len(sizes) or any(
            not 0 <= p < s for p, s in zip(self.position, sizes, strict=True)
        ):
            raise ValueError(
                f"layer {self.layer} has positions of shape {list(sizes)}; received {self.position}"
            )
        return maps[(slice(None), *self.position)]


Target = int | Sequence[int] | np.ndarray | Tensor | Unit | Callable[[Tensor], Tensor] | None
"""An output's number (one for all examples, or one an example), a `Unit`, a function outputs → [N], or None: each example's greatest output."""


class Question:
    """`question(x)` [M] is the number that is explained, for inputs [M, ...]; differentiable where gradients are on.

    `rows` says to which example each row of a larger batch belongs (several perturbed copies of an example), so that each is asked about
    its own target. `also` are further arguments of the network, such as lengths [N]. `calls` counts the rows that went through the network.
    With `graph` the first pass keeps its graph, which ends at a copy of `x`, and `answer` [N] is the number that was read from it.
    With `steps_first` what is given is steps [N, L, F], as recurrent networks read them, and `x` are maps [N, F, L] of it: features are
    channels, and the network is asked with the steps first. `as_given` brings what is found back.

    >>> question = Question(nn.Linear(2, 3), torch.ones(4, 2), 1)
    >>> question(question.x).shape, question.names[0], question.calls
    (torch.Size([4]), 'output 1', 8)

    Raises `ValueError` for a target that the network does not have, a network in training mode whose answer depends on it, an output
    that is not one row an example, or values that are not finite; `TypeError` for inputs that are no numbers.
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor | np.ndarray,
        target: Target = None,
        *,
        of: Scale = "score",
        also: tuple[Tensor, ...] = (),
        graph: bool = False,
        steps_first: bool = False,
    ):
        _refuse_scripted(net)
        refuse_training(net)
        self.net, self.of, self.also, self.calls, self.steps_first = net, of, also, 0, steps_first
        if of not in ("score", "probability", "log_probability"):
            raise ValueError(f"of must be score, probability or log_probability; received {of!r}")
        given = as_input(net, x)
        if steps_first and given.ndim != 3:
            raise ValueError(f"steps_first is for inputs [N, L, F]; received {list(given.shape)}")
        self.x = given.transpose(1, 2).contiguous() if steps_first else given
        if isinstance(target, Unit):
            layer_named(net, target.layer)
        self.target: Any = target
        rows = torch.arange(len(self.x), device=self.x.device)
        with torch.set_grad_enabled(graph):
            outputs = self._first(self.x.detach().requires_grad_(graph and self.x.is_floating_point()), rows)
            self._settle(outputs)
            answer = self._read(outputs, rows)
        self.answer = answer if graph else None
        self.score = answer.detach()
        if not bool(torch.isfinite(self.score).all()):
            raise ValueError(
                f"the network answers NaN or infinite values for example {int((~torch.isfinite(self.score)).nonzero()[0])}: "
                "there is nothing to explain. Are the inputs scaled as in training?"
            )

    def __call__(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The number [M] of each row of `x` [M, ...]."""
        if rows is None:
            rows = torch.arange(len(x), device=x.device)
        return self._read(self._outputs(x, rows), rows)

    def as_given(self, values: Tensor) -> Tensor:
        """Values laid out as `x` [M, ...], as the inputs were given: a tensor of its own."""
        laid = values.transpose(1, 2) if self.steps_first else values
        return laid.clone(
            memory_format=torch.contiguous_format if self.steps_first else torch.preserve_format
        )

    def emptied(self, fill: Fill, *, sigma: float = 8.0) -> Tensor:
        """What stands in for what is taken away of each example, laid out as `x` [N, ...]; see `hubel.explain.filling.filled`."""
        blanks = [
            filled(one, fill, sigma=sigma, steps_first=self.steps_first) for one in self.as_given(self.x)
        ]
        blank = torch.stack(blanks)
        return blank.transpose(1, 2).contiguous() if self.steps_first else blank

    @property
    def names(self) -> tuple[str, ...]:
        """What is explained, one an example."""
        num = len(self.x)
        if isinstance(self.target, Unit):
            return (str(self.target),) * num
        if not isinstance(self.target, Tensor):
            return (getattr(self.target, "__name__", "a function of the output"),) * num
        what = "output" if self.of == "score" else f"{self.of.replace('_', '-')} of output"
        return tuple(f"{what} {int(number)}" for number in self.target)

    def _first(self, x: Tensor, rows: Tensor) -> Any:
        """The network's first answer."""
        try:
            return self._outputs(x, rows)
        except (RuntimeError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            if x.is_floating_point():
                raise ValueError(
                    f"the network can not answer inputs of shape {list(self.as_given(x).shape)}: are they of the size and number of channels that it was made "
                    f"for, [N, C, ...]? (torch said: {error})"
                ) from error
            raise ValueError(
                f"the network does not take whole numbers ({x.dtype}): pass real ones, scaled as in training (torch said: {error})"
            ) from error

    def _outputs(self, x: Tensor, rows: Tensor) -> Any:
        self.calls += len(x)
        also = tuple(
            value[rows] if isinstance(value, Tensor) and value.ndim else value for value in self.also
        )
        if not isinstance(self.target, Unit):
            return self.net(self.as_given(x), *also)  # what a network does to its input in place stays there
        layer = self.target.layer
        with branched(self.net, layer) as answered:
            self.net(self.as_given(x), *also)
        if not answered:
            raise ValueError(f"layer {layer} is not called when the network answers: choose another one")
        return answered[-1]

    def _settle(self, outputs: Any) -> None:
        """Make the target concrete: output numbers [N], or a `Unit`, or a function."""
        if isinstance(self.target, Unit) or callable(self.target):
            return
        num = len(self.x)
        if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != num:
            shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ValueError(
                f"the network answers {shape} for {num} examples, not [N, K]: say which number is to be explained, "
                "target=lambda outputs: ... with one value [N] an example"
            )
        count = outputs.shape[1]
        if self.target is None:
            self.target = outputs.argmax(1)
            return
        if isinstance(self.target, str):
            raise TypeError(f"target must be an output's number, 0 to {count - 1}; received {self.target!r}")
        given = torch.as_tensor(self.target, device=outputs.device)
        if given.is_floating_point() or given.dtype == torch.bool or given.ndim > 1:
            raise TypeError(
                f"target must be one output's number, or one an example; received {given.dtype} of shape {list(given.shape)}"
            )
        if given.ndim and len(given) != num:
            raise ValueError(
                f"target has {len(given)} numbers for {num} examples: pass one, or one an example"
            )
        if bool(((given < 0) | (given >= count)).any()):
            raise ValueError(
                f"target {given.flatten().tolist()[:5]} is out of range: the network has {count} outputs, 0 to {count - 1}"
            )
        self.target = given.to(torch.int64).expand(num)

    def _read(self, outputs: Any, rows: Tensor) -> Tensor:
        if isinstance(self.target, Unit):
            return self.target.read(outputs)
        if not isinstance(self.target, Tensor):
            value = self.target(outputs)
            if not isinstance(value, Tensor) or value.shape != (len(rows),):
                got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"the function given as target must answer one number an example, [{len(rows)}]; it answered {got}"
                )
            return value
        if self.of != "score":
            outputs = nn.functional.logsigmoid(outputs) if outputs.shape[1] == 1 else outputs.log_softmax(1)
            if self.of == "probability":
                outputs = outputs.exp()
        return outputs.gather(1, self.target[rows][:, None])[:, 0]


def as_input(net: nn.Module, x: Tensor | np.ndarray) -> Tensor:
    """`x` as a tensor [N, ...] on the network's device; floating numbers in the network's precision, symbol numbers as they are."""
    if not isinstance(x, (Tensor, np.ndarray)):
        raise TypeError(f"x must be an array or a tensor [N, ...]; received {type(x).__name__}")
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        raise TypeError(f"x must hold numbers; received an array of {x.dtype}")
    tensor = torch.as_tensor(x).detach()
    if tensor.is_complex():
        raise TypeError(
            f"x must hold real numbers; received {tensor.dtype}. Pass torch.view_as_real(x), and a network that takes it"
        )
    if tensor.is_inference():  # made under torch.inference_mode, it could have no gradient
        tensor = tensor.clone()
    if tensor.ndim < 2:
        raise ValueError(
            f"x must have one row an example, [N, ...]; received shape {list(tensor.shape)}. Of one example pass x[None]"
        )
    if not len(tensor):
        raise ValueError(f"x has no examples: its shape is {list(tensor.shape)}")
    like = next((p for p in net.parameters() if p.is_floating_point()), None)
    if like is not None:
        tensor = tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise ValueError("x holds NaN or infinite values: replace them before an explanation")
    return tensor


def layer_named(net: nn.Module, name: str, *, answers: bool = True) -> nn.Module:
    """The module called `name` in the network; where there is none, an error with the nearest name and all of them.

    Where its `answers` are to be seen, a scripted one is refused.
    """
    modules = dict(net.named_modules())
    if not name or name not in modules:
        raise ValueError(f"the network has no layer {name!r}.{nearest(name, [n for n in modules if n])}")
    if answers and is_scripted(modules[name]):
        raise ValueError(
            f"layer {name} is scripted or traced, and what it answers can not be seen: choose another one, or put the module that it was made "
            "from in its place"
        )
    return modules[name]


def refuse_training(net: nn.Module) -> None:
    """Refuse a network in training mode that holds a layer for which it matters (dropout, batch norm, noise)."""
    for name, module in net.named_modules():
        if module.training and _mode_matters(module):
            raise ValueError(
                f"the network is in training mode, in which {name or 'it'} ({type(module).__name__}) answers differently: "
                "call net.eval() first"
            )


def _mode_matters(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase):
        return module.dropout > 0
    if isinstance(module, (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase, nn.RReLU)):
        return True
    return "Dropout" in type(module).__name__ or "Noise" in type(module).__name__


def _refuse_scripted(net: nn.Module) -> None:
    if is_scripted(net):
        raise TypeError(
            "the network is scripted or traced: its operations can not be seen one by one. Pass the module that it was made from"
        )
    for name, module in net.named_modules():
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            what = f"layer {name} of the network" if name else "the network"
            raise TypeError(
                f"{what} is compiled: its operations can not be seen one by one. Pass the module that was given to torch.compile"
            )


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """The network leaves the block as it entered: modes, `requires_grad`, gradients, hooks, buffers; and so do torch's random generators.

    Inside, the parameters need no gradients, so that a backward pass ends at the input, and attention goes one way with gradients and without:
    torch's fast path answers zero where a sequence is padded.
    """
    _refuse_scripted(net)
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        if tensor.is_inference():
            raise ValueError(
                f"{name} of the network was made under torch.inference_mode, and can have no gradient: make or load the network outside of it"
            )
    flags = [(parameter, parameter.requires_grad, parameter.grad) for parameter in net.parameters()]
    modes = [(module, module.training) for module in net.modules()]
    devices = sorted({p.device.index or 0 for p in net.parameters() if p.device.type == "cuda"})
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in net.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.inference_mode(False), torch.random.fork_rng(devices):
        try:
            torch.backends.mha.set_fastpath_enabled(False)
            for parameter, _, _ in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            for parameter, needed, gradient in flags:
                parameter.requires_grad_(needed)
                parameter.grad = gradient
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for module, name, buffer, before in buffers:
                    if not _same(buffer, before):
                        buffer.copy_(before)
                    if module._buffers.get(name) is not buffer:
                        module._buffers[name] = buffer


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
