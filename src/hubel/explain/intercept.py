"""Operations seen one by one while a network runs: the engine of DeepLIFT and of layer-wise relevance propagation.

A `TorchFunctionMode` sees every operation of torch before it runs, wherever it is written: in a module, as a function, as a method, as an
operator, in place. Those that read what depends on the input go through the table of `hubel.explain.operations`, which says what kind of
operation each is (affine, weighted, elementwise, a maximum, a product, ...); what a method makes of a kind is written in its `Rules`. A rule
answers with the same value as the operation, and a gradient of its own, so that addition, concatenation, reuse and every detour of the
data are autograd's business and need no rule at all.

An operation without a rule raises, and names itself and the module in which it stands. In-place operations are done in new memory, and the
result is then written where it belongs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hubel.core.capture import entered
from hubel.core.errors import NoRule
from hubel.explain.checkpoints import kept
from hubel.explain.nested import tensors_in
from hubel.explain.operation_names import BOOKKEEPING, CHOOSING, REARRANGED, SAME, STILL

_KEY = "_hubel_mark"
UNSEEN = "that reads what came from an operation which can not be seen (a torch.autograd.Function, a scripted or compiled function, torch.func, torch.utils.checkpoint with use_reentrant=True)"


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMap:
    """A linear operation with a constant weight: output = apply(source, weight) + bias.

    `raw` is the output with its ordinary gradient. `scaled(weight, s)` multiplies the weights of each output channel by `s` [C], where that is
    possible (`None` otherwise); `dense` says whether channels are the last axis (a linear layer) or the second (a convolution); `module` is
    where it stands.
    """

    source: Tensor
    weight: Tensor
    bias: Tensor | None
    apply: Callable[[Tensor, Tensor], Tensor]
    raw: Tensor
    dense: bool
    scaled: Callable[[Tensor, Tensor], Tensor] | None = None
    module: str = ""

    def after_norm(self, scale: Tensor, shift: Tensor, raw: Tensor) -> LinearMap | None:
        """The map, and then `scale` [C] times it plus `shift` [C], as one map; None where channels are not those of the norm."""
        if self.scaled is None or (self.dense and raw.ndim != 2):
            return None
        ones = [1] * (0 if self.dense else raw.ndim - 2)
        scale, shift = scale.detach(), shift.detach()
        shift = shift.view(-1, *ones)
        bias = shift if self.bias is None else self.bias * scale.view(-1, *ones) + shift
        return replace(self, weight=self.scaled(self.weight, scale), bias=bias, raw=raw)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mark:
    """What is known of a tensor that depends on the input.

    `still`: it depends on the input without a slope (what a comparison or a detached value says); `sloped`: torch has one for it all the
    same (that of `sign`, zero). `free`: it does not depend on the input, although an operation on it answered with it. `itself`: it is the
    input, perhaps rearranged. `gate`: it came out of a sigmoid or softmax, and lets something else through. `linear`: the linear map that
    made it. `chosen_from`: the values whose greatest ones stand at these places, and of each place in which map.
    """

    owner: Any = None
    still: bool = False
    sloped: bool = False
    free: bool = False
    itself: bool = False
    gate: bool = False
    linear: LinearMap | None = None
    chosen_from: tuple[Tensor, Tensor] | None = None


class Rules(ABC):
    """What a method makes of each kind of operation. Every rule answers with the operation's own value."""

    name: str
    takes_still = True
    """Whether masks and choices that depend on the input may be taken as constants."""

    def constant(self, tensor: Tensor) -> Tensor | None:
        """The constant `tensor` with a gradient, for methods that count what constants get; None for others."""
        return None

    @abstractmethod
    def affine(self, call: Call) -> Any:
        """An operation that is linear, or linear and a constant, in all that depends on the input together."""

    @abstractmethod
    def weighted(self, call: Call, linear: LinearMap) -> Tensor:
        """A linear operation with a weight."""

    @abstractmethod
    def normed(self, call: Call, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Batch norm with stored statistics: `scale` [C] times x [N, C, ...] plus `shift` [C]."""

    @abstractmethod
    def elementwise(
        self, call: Call, x: Tensor, function: Callable[[Tensor], Tensor], *, kinked: bool
    ) -> Tensor:
        """A function of every element for itself; `kinked` where it consists of straight pieces."""

    @abstractmethod
    def maximum(self, call: Call, x: Tensor, winners: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        """The greatest of some elements: `winners(x)` are the values and their places in x.flatten()."""

    def unpooled(self, call: Call, x: Tensor, places: Tensor, source: Tensor, maps: Tensor) -> Tensor:
        """`x` at the places where the greatest values in these `maps` of `source` stood, and zero elsewhere."""
        return self.affine(call)

    @abstractmethod
    def product(
        self, call: Call, a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """A function that is linear in each of two tensors, which both depend on the input."""

    @abstractmethod
    def quotient(self, call: Call, a: Tensor, b: Tensor) -> Tensor:
        """The quotient a / b, both of which depend on the input."""

    @abstractmethod
    def log_softmax(self, call: Call, x: Tensor, dim: int) -> Tensor:
        """The values less ln Σ exp(x)."""

    @abstractmethod
    def softmax(self, call: Call, x: Tensor, dim: int) -> Tensor:
        """exp(x) / Σ exp(x)."""

    @abstractmethod
    def standardized(self, call: Call, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
        """(x - mean) / √(variance + eps) over `dims`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One operation on its way: its `name`, its `function` (never in place), what it was called with, and who sees it."""

    engine: Interception
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """Those of the method."""
        return self.engine.rules

    def depends(self, value: Any) -> bool:
        """Whether `value` is a tensor that depends on the input, with a slope."""
        mark = self.engine.mark_of(value)
        return mark is not None and not mark.still

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """The argument at `position`, or called `name`."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[position] if position < len(self.args) else default

    def run(self) -> Any:
        """The operation as it is, with torch's own gradient."""
        return self.function(*self.args, **self.kwargs)

    def no_rule(self, why: str = "") -> NoRule:
        """The error that names the operation and the place."""
        return self.engine.no_rule(self.name, why)


class Interception(TorchFunctionMode):
    """Inside the block every operation that reads what depends on the input goes through the table with `rules`.

    `modules` are those under way (`hubel.core.capture.entered`), so that errors can say where they happened. `careful`: operations read
    copies, so that nothing which the network changes in place afterwards is needed on the way back.
    """

    def __init__(
        self,
        rules: Rules,
        modules: Sequence[tuple[str, nn.Module, tuple[Any, ...]]],
        *,
        careful: bool = False,
    ):
        from hubel.explain.operations import TABLE

        super().__init__()
        self.rules, self.modules, self.careful = rules, modules, careful
        self.table = TABLE
        self._leaf: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        tensors = list(tensors_in((args, kwargs)))
        marks = [mark for mark in map(self.mark_of, tensors) if mark is not None]
        if name not in BOOKKEEPING and any(map(self.unseen, tensors)):
            raise self.no_rule(name, UNSEEN)
        if not marks or name in BOOKKEEPING:
            if name in ("__float__", "__int__", "__index__"):  # torch warns of numbers that had a slope
                args = (args[0].detach(), *args[1:])
            return func(*args, **kwargs)
        if "out" in kwargs and kwargs["out"] is not None:
            raise self.no_rule(name, "with out=")
        in_place = name.endswith("_") and not name.endswith("__")
        plain = name[:-1] if in_place else "setitem" if name == "__setitem__" else name
        if plain in STILL or all(mark.still for mark in marks):
            result = func(*args, **kwargs)
            self._note(
                result, Mark(owner=self, still=True, chosen_from=self._moved(func, plain, args, kwargs))
            )
            if in_place or plain == "setitem":
                self._note(args[0], Mark(owner=self, still=True))
            return result
        if any(mark.still for mark in marks) and not self.rules.takes_still and plain not in CHOOSING:
            raise self.no_rule(
                plain,
                "that reads a choice or a value without a slope (a comparison, a detached tensor, a torch.autograd.Function)",
            )
        if plain not in self.table:
            raise self.no_rule(plain)
        with kept():
            return self._answer(func, plain, args, kwargs, in_place=in_place)

    def _answer(
        self, func: Any, plain: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, in_place: bool
    ) -> Any:
        """What the method's rule answers in the place of the operation `plain`."""
        if in_place or plain == "setitem" or kwargs.get("inplace"):
            return self._replace(func, plain, args, kwargs)
        kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
        if self.careful and plain not in REARRANGED:
            args = tuple(self._copy(value) for value in args)
        result = self.table[plain](Call(engine=self, name=plain, function=func, args=args, kwargs=kwargs))
        self._note(result, Mark(owner=self, still=not torch.is_grad_enabled()))
        return result

    def mark_of(self, value: Any) -> Mark | None:
        """The mark of a tensor, or of the memory that it is a view of; None for what does not depend on the input."""
        if not isinstance(value, Tensor):
            return None
        for tensor in (value, value._base):
            mark = None if tensor is None else vars(tensor).get(_KEY)
            if mark is not None and mark.owner is self:
                if mark.free:
                    return None
                return mark if tensor is value else Mark(owner=self, still=mark.still, sloped=mark.sloped)
        return None

    def unseen(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the input, as torch's own record says, by an operation that did not come past here."""
        if self._leaf is None or not tensor.requires_grad or tensor.grad_fn is None:
            return False
        mark = self.mark_of(tensor)
        if mark is None:
            return _leads_to(tensor.grad_fn, self._leaf)
        return mark.still and not mark.sloped and torch.is_grad_enabled()

    def marked(self, tensor: Tensor, **flags: Any) -> Tensor:
        """`tensor`, of which is known from now on that it depends on the input."""
        vars(tensor)[_KEY] = Mark(owner=self, **flags)
        if flags.get("itself") and tensor.is_leaf and tensor.requires_grad:
            self._leaf = tensor
        return tensor

    def no_rule(self, operation: str, why: str = "") -> NoRule:
        """The error for an operation without a rule. (Python takes a `TypeError` inside of an operator for a number that does not fit.)"""
        place = "the target's own function"
        if self.modules:
            name, module, _ = self.modules[-1]
            place = f"{name or 'the network'} ({type(module).__name__})"
        return NoRule(
            f"{self.rules.name} has no rule for the operation {operation}{' ' + why if why else ''}, which is called in {place}: "
            "write it with other operations, or use integrated_gradients or occlusion, which need no rules"
        )

    def _replace(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Done in new memory, then written over the first argument."""
        target, rest = args[0], args[1:]
        if self.careful:
            rest = tuple(self._copy(value) for value in rest)
        if self.mark_of(target) is None:
            self._constant(target if target._base is None else target._base)
        fresh, mark = target.clone(), self.mark_of(target)
        if mark is not None:
            vars(fresh)[_KEY] = mark
        kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
        function = func if func.__name__ == name else getattr(Tensor, name, None) or getattr(F, name, setitem)
        call = Call(engine=self, name=name, function=function, args=(fresh, *rest), kwargs=kwargs)
        result = self.table[name](call)
        if result.shape != target.shape:
            raise self.no_rule(name, "in place")
        target.copy_(result)
        mark = self.mark_of(result)
        if mark is None and name in ("fill", "zero"):
            vars(target).pop(_KEY, None)
            self._constant(target)
            return target
        mark = mark or Mark(owner=self, still=not torch.is_grad_enabled())
        vars(target)[_KEY] = mark
        if target._base is not None:
            vars(target._base)[_KEY] = Mark(owner=self, still=mark.still)
        return target

    def _moved(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Tensor, Tensor] | None:
        """Where places that are moved (sliced, copied) were chosen from."""
        mark = self.mark_of(args[0]) if args and name in REARRANGED else None
        if mark is None or mark.chosen_from is None:
            return None
        source, maps = mark.chosen_from
        moved = func(maps, *args[1:], **kwargs)
        return (source, moved) if isinstance(moved, Tensor) else None

    def _constant(self, tensor: Tensor) -> None:
        """What is constant in `tensor`, into which something that depends on the input may be written, becomes known to the rules."""
        known = self.rules.constant(tensor)
        if known is not None:
            tensor.copy_(known)
            vars(tensor)[_KEY] = Mark(owner=self)

    def _copy(self, value: Any) -> Any:
        mark = self.mark_of(value)
        if mark is None:
            return value
        copy = value.clone()
        vars(copy)[_KEY] = mark
        return copy

    def _note(self, result: Any, mark: Mark) -> None:
        """Mark the tensors of a result that no rule has marked; those that are no real numbers have no slope."""
        for tensor in tensors_in(result):
            kept = vars(tensor).get(_KEY)
            if kept is None or kept.owner is not self or mark.still:
                still = mark.still or not (tensor.is_floating_point() or tensor.is_complex())
                vars(tensor)[_KEY] = replace(mark, still=still, sloped=tensor.requires_grad)


def setitem(target: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of `target` with `target[index] = value`."""
    changed = target.clone()
    changed[index] = value
    return changed


@contextmanager
def intercepted(net: nn.Module, rules: Rules, *, careful: bool = False) -> Iterator[Interception]:
    """Inside the block the operations of `net` go through `rules`."""
    with entered(net) as modules, Interception(rules, modules, careful=careful) as engine:
        yield engine


def _leads_to(node: Any, leaf: Tensor) -> bool:
    """Whether a node of autograd's graph has `leaf` among its ends."""
    seen, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if getattr(node, "variable", None) is leaf:
            return True
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
    return False


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, box: tuple[Tensor, Callable[[Tensor], Any], bool], *sources: Tensor) -> Tensor:
        value, ctx.pull, reads = box
        ctx.save_for_backward(*sources if reads else ())
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        _ = ctx.saved_tensors  # raises where one of them was changed in place
        return None, *_as_tuple(ctx.pull(grads[0]))


def with_gradient(
    value: Tensor, pull: Callable[[Tensor], Any], *sources: Tensor, reads: bool = False
) -> Tensor:
    """`value`, whose gradient is `pull(gradient)`: one for each of `sources` (None for nothing), which it `reads` or not."""
    answer: Any = _WithGradient.apply((value.detach(), pull, reads), *sources)
    return answer


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _name(func: Any) -> str:
    """The operation's name, alike for functions and methods; of an attribute, its own."""
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__"):
        attribute = getattr(func.__self__, "__name__", "attribute")
        return (
            attribute if name == "__get__" else f"{attribute}=" if attribute != "requires_grad" else attribute
        )
    return SAME.get(name, name)
