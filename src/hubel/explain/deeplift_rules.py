"""The rules of DeepLIFT, operation by operation: multipliers m with Σ m Δx = Δy exactly, Δ = value - value for the baseline.

    elementwise   m = Δy / Δx; the derivative where Δx = 0
    product       Δ(a b) = Δa (b + b₀)/2 + Δb (a + a₀)/2, alike for matrix products and every other function linear in each of two
    maximum       of the winner i for the input and the winner j for the baseline: m_i = w, m_j = 1 - w,
                  w = (x_i - x_j) / ((x_i - x_j) + (x⁰_j - x⁰_i)), so that w Δ_i + (1 - w) Δ_j = Δ max
    unpooling     Δ(x 1[i wins]) = Δx (1[i wins] + 1[i won])/2 + Δ1[i wins] (x + x₀)/2, and that another one wins is the work of the difference
                  between the two: Δ1[i wins] = (Δs_i - Δs_j) / (Δs_i - Δs_j)
    ln Σ exp      m_i = (e_i - e⁰_i)/Δx_i · ΔlnΣ/ΔΣ, which is the elementwise rule for exp, the sum, and the logarithm
    layer norm    mean, squares, mean, 1/√, product, each by its own rule

Linear operations have their ordinary gradient. The network runs for the baseline first, and what these rules read is kept; then for the
input. Nothing is assumed of where examples stand in a tensor.

The rule for maxima is ours: it is the share of the straight path from baseline to input on which either is the greater one, where only
these two ever win. With reveal-cancel (Shrikumar et al. 2017, eq. 9 and 10) the parts Δ⁺ and Δ⁻ that a weighted operation adds up
go through a following elementwise function apart:

    Δy⁺ = ½ (g(x₀ + Δ⁺) - g(x₀) + g(x₀ + Δ⁻ + Δ⁺) - g(x₀ + Δ⁻)),   Δy⁻ alike,   m± = Δy± / Δ±
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from hubel.explain.intercept import Call, LinearMap, Rules, with_gradient


class Multipliers(Rules):
    """The rules of one explanation: `recording` while the baseline runs, then not."""

    name = "deeplift"
    takes_still = False

    def __init__(self, rule: Literal["rescale", "reveal_cancel"], *, careful: bool = False):
        self.reveals, self.careful = rule == "reveal_cancel", careful
        self.recording = True
        self._kept: list[tuple[str, tuple[Tensor, ...], list[int]]] = []
        self._next = 0

    def turn(self) -> None:
        """The baseline has run: the input comes."""
        self.recording = False

    def affine(self, call: Call) -> Any:
        return call.run()

    def weighted(self, call: Call, linear: LinearMap) -> Tensor:
        if not self.reveals:
            return linear.raw
        return call.engine.marked(linear.raw, linear=linear, still=not torch.is_grad_enabled())

    def normed(self, call: Call, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        y = call.run()
        mark = call.engine.mark_of(x)
        folded = None if mark is None or mark.linear is None else mark.linear.after_norm(scale, shift, y)
        return call.engine.marked(y, linear=folded, still=not torch.is_grad_enabled())

    def elementwise(
        self, call: Call, x: Tensor, function: Callable[[Tensor], Tensor], *, kinked: bool
    ) -> Tensor:
        mark = call.engine.mark_of(x)
        linear = mark.linear if mark is not None and self.reveals else None
        kept = self._reference(call, x, *([] if linear is None else [linear.source]))
        y = function(x.detach())
        if kept is None:
            return y
        x0, value = kept[0], x.detach()
        if linear is not None:
            return self._revealed(linear, y, value, x0, kept[1], function)
        slope = quotient_slope(value, x0, y, function(x0), function, kinked=kinked)
        return with_gradient(y, lambda g: g * slope, x)

    def maximum(self, call: Call, x: Tensor, winners: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        kept = self._reference(call, x)
        y, i = winners(x.detach())
        if kept is None:
            return y
        x0, flat, shape = kept[0], x.detach().flatten(), x.shape
        y0, j = winners(x0)
        ahead, behind = y - flat[j], y0 - x0.flatten()[i]
        both = ahead + behind
        share = torch.where(both > 0, ahead / both.masked_fill(both == 0, 1), 1)

        def pull(g: Tensor) -> Tensor:
            out = g.new_zeros(flat.shape)
            out.scatter_add_(0, i.flatten(), (g * share).flatten())
            out.scatter_add_(0, j.flatten(), (g * (1 - share)).flatten())
            return out.view(shape)

        return with_gradient(y, pull, x)

    def unpooled(self, call: Call, x: Tensor, places: Tensor, source: Tensor, maps: Tensor) -> Tensor:
        kept = self._reference(call, x, source, places)
        y = call.function(x.detach(), *call.args[1:], **call.kwargs)
        if kept is None:
            return y
        x0, source0, places0 = kept
        spatial = int(call.name[-2])
        first = maps * math.prod(source.shape[-spatial:])
        change = (source.detach() - source0).flatten()
        ahead = change[first + places] - change[first + places0]
        jump = torch.where(ahead == 0, 0, (x.detach() + x0) / 2 / ahead.masked_fill(ahead == 0, 1))

        def pull(g: Tensor) -> tuple[Tensor, Tensor]:
            here, there = (
                g.flatten(-spatial).gather(-1, at.flatten(-spatial)).view_as(at) for at in (places, places0)
            )
            moved = (jump * (here - there)).flatten()
            out = torch.zeros_like(change).index_add(0, (first + places).flatten(), moved)
            out = out.index_add(0, (first + places0).flatten(), -moved)
            return (here + there) / 2, out.view(source.shape)

        return with_gradient(y, pull, x, source)

    def product(
        self, call: Call, a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        kept = self._reference(call, a, b)
        y = function(a.detach(), b.detach())
        if kept is None:
            return y
        with torch.enable_grad():
            means = [
                ((now.detach() + before) / 2).requires_grad_()
                for now, before in zip((a, b), kept, strict=True)
            ]
            at_means = function(*means)
        return with_gradient(y, lambda g: torch.autograd.grad(at_means, means, g), a, b)

    def quotient(self, call: Call, a: Tensor, b: Tensor) -> Tensor:
        with call.engine:
            return a * b.reciprocal()

    def log_softmax(self, call: Call, x: Tensor, dim: int) -> Tensor:
        kept = self._reference(call, x)
        y = x.detach().log_softmax(dim)
        if kept is None:
            return y
        slope = _log_sum_slope(x.detach(), kept[0], dim)
        return with_gradient(y, lambda g: g - slope * g.sum(dim, keepdim=True), x)

    def softmax(self, call: Call, x: Tensor, dim: int) -> Tensor:
        kept = self._reference(call, x)
        y = x.detach().softmax(dim)
        if kept is None:
            return y
        logs, logs0 = x.detach().log_softmax(dim), kept[0].log_softmax(dim)
        outer = quotient_slope(logs, logs0, y, logs0.exp(), torch.exp, kinked=False)
        slope = _log_sum_slope(x.detach(), kept[0], dim)

        def pull(g: Tensor) -> Tensor:
            inner = g * outer
            return inner - slope * inner.sum(dim, keepdim=True)

        return with_gradient(y, pull, x)

    def standardized(self, call: Call, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
        with call.engine:
            centred = x - x.mean(dims, keepdim=True)
            return centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()

    def _reference(self, call: Call, *now: Tensor) -> tuple[Tensor, ...] | None:
        """The same tensors for the baseline; None while that runs."""
        if self.recording:
            kept = tuple(tensor.detach().clone() if self.careful else tensor.detach() for tensor in now)
            self._kept.append((call.name, kept, [tensor._version for tensor in kept]))
            return None
        known = self._kept[self._next] if self._next < len(self._kept) else ("nothing more", (), [])
        self._next += 1
        name, before, versions = known
        if name != call.name or any(a.shape != b.shape for a, b in zip(now, before, strict=False)):
            raise call.no_rule(
                f"where the baseline has {name}: the network does different things for the input and for the baseline"
            )
        if any(tensor._version != version for tensor, version in zip(before, versions, strict=True)):
            raise RuntimeError("what the baseline was needed for has been modified by an inplace operation")
        return before

    def _revealed(
        self,
        linear: LinearMap,
        y: Tensor,
        x: Tensor,
        x0: Tensor,
        source0: Tensor,
        function: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Reveal-cancel of a weighted operation and the elementwise function after it."""
        change = linear.source.detach() - source0
        up, down = change.clamp(min=0).requires_grad_(), change.clamp(max=0).requires_grad_()
        positive, negative = linear.weight.clamp(min=0), linear.weight.clamp(max=0)
        with torch.enable_grad():
            plus = linear.apply(up, positive) + linear.apply(down, negative)
            minus = linear.apply(up, negative) + linear.apply(down, positive)
        raised, lowered, total = (part.detach() for part in (plus, minus, plus + minus))
        f0, f_up, f_down, f_all = (function(x0 + part) for part in (0 * total, raised, lowered, total))
        by_plus, by_minus = (f_up - f0 + f_all - f_down) / 2, (f_down - f0 + f_all - f_up) / 2
        m_plus = torch.where(raised != 0, by_plus / raised.masked_fill(raised == 0, 1), 0)
        m_minus = torch.where(lowered != 0, by_minus / lowered.masked_fill(lowered == 0, 1), 0)

        def pull(g: Tensor) -> Tensor:
            of_up, of_down = torch.autograd.grad([plus, minus], [up, down], [g * m_plus, g * m_minus])
            return torch.where(change < 0, of_down, of_up)

        return with_gradient(y, pull, linear.source)


def quotient_slope(
    x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, function: Callable[[Tensor], Tensor], *, kinked: bool
) -> Tensor:
    """(y - y₀) / (x - x₀), and the derivative in the middle where the two are (for smooth functions nearly) the same.

    >>> x, x0 = torch.tensor([2.0, 1.0]), torch.tensor([-2.0, 1.0])
    >>> quotient_slope(x, x0, x.relu(), x0.relu(), torch.relu, kinked=True)
    tensor([0.5000, 1.0000])
    """
    change = x - x0
    least = 0.0 if kinked else 8 * torch.finfo(x.dtype).eps
    near = ~(change.abs() > least * (x.abs() + x0.abs()))  # also where both are infinite
    if not kinked:  # differences of y that are rounding say nothing
        rounding = 16 * torch.finfo(x.dtype).eps
        noise = (y - y0).abs() <= rounding * (y.abs() + y0.abs())
        near = near | (noise & (change.abs() <= torch.finfo(x.dtype).eps ** 0.5))
    slope = (y - y0) / change.masked_fill(near, 1)
    if not bool(near.any()):
        return slope
    with torch.enable_grad():
        middle = ((x + x0) / 2).requires_grad_()
        (derivative,) = torch.autograd.grad(function(middle).sum(), middle)
    return torch.where(near, torch.where(derivative.isfinite(), derivative, 0), slope)


def _log_sum_slope(x: Tensor, x0: Tensor, dim: int) -> Tensor:
    """m_i with Σ m_i Δx_i = ln Σ exp x - ln Σ exp x⁰."""
    most = x.maximum(x0).amax(dim, keepdim=True)
    e, e0 = (x - most).exp(), (x0 - most).exp()
    total, total0 = e.sum(dim, keepdim=True), e0.sum(dim, keepdim=True)
    slope = quotient_slope(
        total,
        total0,
        x.logsumexp(dim, keepdim=True),
        x0.logsumexp(dim, keepdim=True),
        torch.log,
        kinked=False,
    )
    hidden = ~(x.isfinite() & x0.isfinite())
    inner = quotient_slope(
        (x - most).masked_fill(hidden, 0), (x0 - most).masked_fill(hidden, 0), e, e0, torch.exp, kinked=False
    )
    return (inner * slope).masked_fill(hidden, 0)
