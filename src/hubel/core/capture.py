"""The only hooks: what modules returned during a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_scripted(module: nn.Module) -> bool:
    """Whether a module was made by `torch.jit`: it takes no hooks, and what it does is not seen."""
    return hasattr(module, "inlined_graph")


@contextmanager
def captured(
    net: nn.Module, where: Callable[[str, nn.Module], bool] = lambda name, module: True
) -> Iterator[list[tuple[str, nn.Module, tuple[Any, ...], Any]]]:
    """Collect `(name, module, inputs, output)` of every chosen module call inside the block, in order; of scripted modules nothing is seen.

    The hooks are removed when the block ends, whatever happens in it; the network is not changed.
    """
    calls: list[tuple[str, nn.Module, tuple[Any, ...], Any]] = []
    handles = [
        module.register_forward_hook(
            lambda module, inputs, output, name=name: calls.append((name, module, inputs, output))
        )
        for name, module in net.named_modules()
        if where(name, module) and not is_scripted(module)
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def entered(net: nn.Module) -> Iterator[list[tuple[str, nn.Module, tuple[Any, ...]]]]:
    """The modules that are being called, outermost first, as `(name, module, inputs)`; where an error leaves the block, those
    in which it happened.
    """
    under_way: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
    handles = []
    for name, module in net.named_modules():
        if is_scripted(module):
            continue
        handles.append(
            module.register_forward_pre_hook(
                lambda module, inputs, name=name: under_way.append((name, module, inputs))
            )
        )
        handles.append(module.register_forward_hook(lambda *_: under_way.pop() and None))
    try:
        yield under_way
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def branched(
    net: nn.Module, name: str, change: Callable[[Tensor], Tensor] | None = None
) -> Iterator[list[Any]]:
    """Collect what the module `name` returns; the network goes on with a copy (or, of tensors, with what `change` makes of them), so that
    nothing which it does in place reaches what was collected. Of a tuple it is the first part.
    """
    kept: list[Any] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        kept.append(first)
        goes_on = first
        if hasattr(first, "clone"):
            goes_on = first.clone() if change is None else change(first)
        return (goes_on, *output[1:]) if isinstance(output, tuple) else goes_on

    handle = net.get_submodule(name).register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def altered(net: nn.Module, layer: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Inside the block the module called `layer` answers `change(its answer)`, at every call; the network itself is not changed.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.ReLU())
    >>> with altered(net, "0", lambda answer: answer * 10):
    ...     net(torch.ones(1))
    tensor([10.])
    """
    handle = dict(net.named_modules())[layer].register_forward_hook(
        lambda module, inputs, output: change(output)
    )
    try:
        yield
    finally:
        handle.remove()


class _Reached(BaseException):
    """The module has answered: what comes after it is not needed."""


def until(net: nn.Module, name: str, inputs: Sequence[Any], *, call: int = 1) -> Any:
    """What module `name` answers to its `call`-th call within `net(*inputs)`; what would come after is not computed.

    Raises `LookupError` where it is called fewer times.
    """
    answers: list[Any] = []

    def seen(module: nn.Module, received: tuple[Any, ...], output: Any) -> None:
        answers.append(output)
        if len(answers) == call:
            raise _Reached

    handle = net.get_submodule(name).register_forward_hook(seen)
    try:
        net(*inputs)
    except _Reached:
        return answers[-1]
    finally:
        handle.remove()
    raise LookupError(f"module {name} was called {len(answers)} times, not {call}")
