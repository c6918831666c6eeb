"""The rules of layer-wise relevance propagation, operation by operation, as ratios of relevance to value.

What travels back is c = R / value, as a gradient does: then R = c · value at every tensor, sums and concatenations share relevance by
themselves, and nothing is divided by a sum that may be zero. An operation's rule turns the c of its output into those of what it reads:

    weighted      by the rule of the composite (`hubel.explain.lrp_rules`); batch norm after it is folded into weight and bias
    elementwise   all relevance goes through: c y / x
    logarithm     its tangent, as the logarithm of a softmax (a score that is log C p has the sign of log C p, not that of what speaks for it)
    maximum       to the winner
    product       one of two is a gate (it came from a sigmoid or softmax): all to the other (Arras et al. 2017); else half to each
    quotient      all to the numerator
    softmax       a gate where it multiplies something; elsewhere its Taylor expansion at the input (Achtibat et al. 2024, eq. 13)
    layer norm    the deviation is a constant (Ali et al. 2022)

Constants that are added (biases, shifts, positions) keep their share, which is counted in `absorbed`, as is what ε damps.

Source: L. Arras et al., WASSA 2017 (arXiv:1706.07206); A. Ali et al., ICML 2022 (arXiv:2202.07304); R. Achtibat et al., ICML 2024
(arXiv:2402.05602).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hubel.explain.intercept import Call, LinearMap, Rules, with_gradient
from hubel.explain.lrp_rules import Composite, Epsilon, Rule
from hubel.explain.nested import tensors_in
from hubel.explain.operation_names import HOMOGENEOUS, LOGARITHMS, SHIFTING


class Relevance(Rules):
    """The rules of one explanation of `num` examples. `absorbed` [num] fills while the gradient travels back."""

    name = "lrp"

    def __init__(self, composite: Composite, num: int, like: Tensor):
        self.composite = composite
        self.absorbed = like.new_zeros(num, dtype=torch.float64)
        self.direct: list[tuple[Tensor, Tensor]] = []
        self.at_input = False
        self.counting = True
        self.anchor: Tensor | None = None
        """A number that depends on the input, to which constants are tied, so that the way back comes past them."""

    def affine(self, call: Call) -> Any:
        result = call.run()
        if call.name not in SHIFTING or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        constant = self._constant(call)
        return result if constant is None else self._keeping(result, constant)

    def weighted(self, call: Call, linear: LinearMap) -> Tensor:
        mark = call.engine.mark_of(linear.source)
        if not linear.module and call.engine.modules:
            linear = replace(linear, module=call.engine.modules[-1][0])
        name = linear.module
        reads_input = mark is not None and mark.itself
        rule = self.composite.rule(dense=linear.dense, module=name, reads_input=reads_input)
        if rule.at_input and not reads_input:
            raise ValueError(
                f"{type(rule).__name__} is a rule for what reads the input itself; {call.name} in {name or 'the network'} reads what was "
                "made of it"
            )
        self.at_input = self.at_input or rule.at_input
        result = self._shared(linear, rule)
        return call.engine.marked(result, linear=linear, still=not torch.is_grad_enabled())

    def normed(self, call: Call, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        mark = call.engine.mark_of(x)
        before = None if mark is None else mark.linear
        if before is not None:
            name = "input" if "input" in call.kwargs else None
            args = call.args if name else (before.raw, *call.args[1:])
            kwargs = {**call.kwargs, name: before.raw} if name else call.kwargs
            folded = before.after_norm(scale, shift, call.function(*args, **kwargs))
            if folded is not None:
                return self.weighted(call, folded)
        shift = shift.view(1, -1, *[1] * (x.ndim - 2))
        return self._keeping(call.run(), shift)

    def elementwise(
        self, call: Call, x: Tensor, function: Callable[[Tensor], Tensor], *, kinked: bool
    ) -> Tensor:
        if call.name in HOMOGENEOUS:
            return function(x)
        if call.name in LOGARITHMS:
            return self._expanded(x, function)
        value = x.detach()
        y = function(value)
        tiny = torch.finfo(x.dtype).eps ** 0.5 / 16
        near = value.abs() < tiny
        ratio = y / torch.where(near, torch.where(value < 0, -tiny, tiny), value)
        lost = y - ratio * value if bool(near.any()) else None

        def pull(g: Tensor) -> Tensor:
            if lost is not None:
                self._keep(g * lost)
            return g * ratio

        return with_gradient(y, pull, x)

    def maximum(self, call: Call, x: Tensor, winners: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        return winners(x)[0]

    def product(
        self, call: Call, a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        gates = [mark is not None and mark.gate for mark in (call.engine.mark_of(a), call.engine.mark_of(b))]
        if gates == [True, False]:
            return function(a.detach(), b)
        if gates == [False, True]:
            return function(a, b.detach())
        y = function(a, b)
        halved = with_gradient(y, lambda g: g / 2, y)
        return call.engine.marked(halved, gate=all(gates), still=not torch.is_grad_enabled())

    def quotient(self, call: Call, a: Tensor, b: Tensor) -> Tensor:
        return a / b.detach()

    def log_softmax(self, call: Call, x: Tensor, dim: int) -> Tensor:
        return self._expanded(x, lambda t: t.log_softmax(dim))

    def softmax(self, call: Call, x: Tensor, dim: int) -> Tensor:
        return self._expanded(x, lambda t: t.softmax(dim))

    def standardized(self, call: Call, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
        centred = x - x.mean(dims, keepdim=True)
        return centred * (centred.detach().square().mean(dims, keepdim=True) + eps).rsqrt()

    def constant(self, tensor: Tensor) -> Tensor | None:
        if self.anchor is None or not tensor.is_floating_point() or not bool((tensor != 0).any()):
            return None
        value = tensor.detach().clone()

        def pull(g: Tensor) -> Tensor:
            self._keep(_times(g, value))
            return g.new_zeros(())

        return with_gradient(value.clone(), pull, self.anchor)

    def carried_to(self, leaf: Tensor) -> Tensor | None:
        """The relevance that rules for inputs dealt out directly, brought to `leaf`, of which their sources are rearrangements. What was
        dealt out to constants beside it (a border of zeros) is absorbed.
        """
        total = None
        for source, relevance in self.direct:
            self.counting = False  # constants were counted on the first way back
            (part,) = torch.autograd.grad(source, leaf, relevance, retain_graph=True)
            self.counting = True
            self._keep(relevance)
            self._keep(-part)
            total = part if total is None else total + part
        return total

    def _shared(self, linear: LinearMap, rule: Rule) -> Tensor:
        """The output, whose relevance is dealt out by `rule`."""
        raw, bias = linear.raw, linear.bias
        z = raw.detach()
        if isinstance(rule, Epsilon):
            if not rule.epsilon and bias is None:
                return raw

            def damped(g: Tensor) -> Tensor:
                sent = g * rule.damping(z)
                kept = (g - sent) * z if bias is None else (g - sent) * z + sent * bias
                self._keep(kept)
                return sent

            return with_gradient(
                z.clone(), damped, raw
            )  # z itself stays as it is, whatever the network does in place

        def dealt(g: Tensor) -> Tensor | None:
            relevance = g * z
            shares = rule.shares(linear, z, relevance)
            self._keep(relevance - shares.sent)
            if shares.direct is None:
                return shares.ratio
            self.direct.append((linear.source, shares.direct))
            return torch.zeros_like(linear.source)

        return with_gradient(z.clone(), dealt, linear.source, reads=True)

    def _expanded(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """`function(x)` by its ordinary gradient; what the tangent does not explain is kept."""
        with torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            y = function(leaf)

        def pull(g: Tensor) -> Tensor:
            (slope,) = torch.autograd.grad(y, leaf, g)
            self._keep(_times(g, y.detach()), _times(slope, leaf.detach()))
            return slope

        return with_gradient(y.detach().clone(), pull, x)

    def _keeping(self, result: Tensor, constant: Tensor) -> Tensor:
        """`result`, of which the part `constant` keeps its relevance for itself."""

        def pull(g: Tensor) -> Tensor:
            self._keep(_times(g, constant))
            return g

        return with_gradient(result, pull, result)

    def _constant(self, call: Call) -> Tensor | None:
        """What the operation answers where all that depends on the input is zero; None where that is zero too."""

        def emptied(value: Any) -> Any:
            if isinstance(value, Tensor):
                return torch.zeros_like(value) if call.depends(value) else value.detach()
            if isinstance(value, (tuple, list)):
                return type(value)(emptied(part) for part in value)
            return value

        if call.name in ("add", "sub", "rsub", "cat", "stack"):
            parts = [t for t in tensors_in((call.args, call.kwargs)) if not call.depends(t)]
            numbers = [v for v in call.args[:2] if isinstance(v, (int, float)) and v != 0]
            if not parts and not numbers:
                return None
        with torch.no_grad():
            constant = call.function(
                *map(emptied, call.args), **{k: emptied(v) for k, v in call.kwargs.items()}
            )
        return constant if bool((constant != 0).any()) else None

    def _keep(self, amounts: Tensor, less: Tensor | None = None) -> None:
        """Count `amounts` of every element (and take `less` off) for the examples that they belong to: the first axis counts them, alone or
        with others inside.
        """
        for part, sign in ((amounts, 1), (less, -1)):
            if part is None or not self.counting:
                continue
            num = len(self.absorbed)
            total = part.detach().double()
            if num == 1 or (part.ndim and part.shape[0] % num == 0 and part.shape[0]):
                self.absorbed += sign * total.reshape(num, -1).sum(1)
            else:
                self.absorbed += sign * total.sum() / num


def _times(g: Tensor, value: Tensor) -> Tensor:
    """The product g · value, and zero where g is, be the value infinite or not."""
    return torch.where(g == 0, 0, g * value)
