"""How layer-wise relevance propagation deals the relevance of an output out to the inputs of a linear operation z_j = Σ_i a_i w_ij + b_j.

    Epsilon(ε)        R_i = Σ_j a_i w_ij R_j / (z_j + ε sign z_j)                       ε = 0: LRP-0
    AlphaBeta(α, β)   R_i = Σ_j (α (a_i w_ij)⁺ / z_j⁺ - β (a_i w_ij)⁻ / z_j⁻) R_j,  α - β = 1;  ZPlus is α = 1, β = 0
    Gamma(γ)          R_i = Σ_j (a_i w_ij + γ (a_i w_ij)^s) / (z_j + γ z_j^s) R_j,  where s is the sign of z_j
    Flat              R_i = Σ_j R_j / Σ_i 1          every input alike (only for what reads the input itself)
    WSquare           R_i = Σ_j w_ij² / Σ_i w_ij² R_j                                 (only there)
    Box(l, h)         R_i = Σ_j (a_i w_ij - l_i w_ij⁺ - h_i w_ij⁻) / Σ_i (…) R_j         (only there; zᴮ of inputs between l and h)

z⁺ and z⁻ are the sums of positive and of negative terms, the bias among them. What a bias stands for in a denominator it keeps: that is
counted as absorbed. So is what has nowhere to go (no positive term at all).

Source: S. Bach et al., PLoS ONE 10 (2015) e0130140, doi:10.1371/journal.pone.0130140 (ε, αβ, flat); G. Montavon et al., Pattern
Recognition 65 (2017) 211, doi:10.1016/j.patcog.2016.11.008 (z⁺, w², zᴮ: deep Taylor decomposition); G. Montavon et al. in LNCS 11700
(2019) 193, doi:10.1007/978-3-030-28954-6_10 (γ, composites; γ for negative outputs as in L. Andéol et al., arXiv:2106.04923).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hubel.explain.intercept import LinearMap


def _check(fine: bool, expected: str, received: object) -> None:
    if not fine:
        raise ValueError(f"{expected}; received {received!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Shares:
    """What a rule deals out: `ratio`, relevance over value for every element of the source; or `direct`, the relevance itself;
    and `sent`, how much of each output's relevance went there.
    """

    sent: Tensor
    ratio: Tensor | None = None
    direct: Tensor | None = None


class Rule(ABC):
    """How relevance is dealt out."""

    at_input = False
    """Whether it is for operations that read the input itself, and no others."""

    @abstractmethod
    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """`relevance` of the outputs `z`, dealt out to `linear.source`."""


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-ε: ε keeps small sums from becoming large ratios, and takes what it damps; with ε = 0 it is LRP-0.

    >>> Epsilon().epsilon
    1e-06

    Raises `ValueError` for a negative ε.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        _check(self.epsilon >= 0, "epsilon must not be negative", self.epsilon)

    def damping(self, z: Tensor) -> Tensor:
        """Z / (z + ε sign z), elementwise."""
        return z.abs() / (z.abs() + self.epsilon) if self.epsilon else torch.ones_like(z)

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """As a plain gradient of the damped outputs."""
        outer = _over(relevance, z + torch.where(z < 0, -self.epsilon, self.epsilon))
        with torch.enable_grad():
            source = linear.source.detach().requires_grad_()
            terms = linear.apply(source, linear.weight)
        (ratio,) = torch.autograd.grad(terms, source, outer)
        return Shares(ratio=ratio, sent=outer * terms.detach())


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP-αβ: positive and negative terms apart, α - β = 1.

    Raises `ValueError` unless α ≥ 1, β ≥ 0 and α - β = 1.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        fine = self.alpha >= 1 and self.beta >= 0 and abs(self.alpha - self.beta - 1) < 1e-9
        _check(fine, "alpha - beta must be 1, neither negative", (self.alpha, self.beta))

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """Two denominators."""
        parts = _Signed(linear)
        outer_plus = self.alpha * _over(relevance, parts.plus.detach() + parts.bias_plus)
        outer_minus = -self.beta * _over(relevance, parts.minus.detach() + parts.bias_minus)
        return parts.dealt(outer_plus, outer_minus)


@dataclass(frozen=True)
class ZPlus(Rule):
    """LRP-z⁺, which is α = 1, β = 0: only positive terms count."""

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """One denominator."""
        return AlphaBeta(1.0, 0.0).shares(linear, z, relevance)


@dataclass(frozen=True)
class Gamma(Rule):
    """LRP-γ: terms of the sign of the sum count 1 + γ times, so that few cancel.

    Raises `ValueError` for a negative γ.
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        _check(self.gamma >= 0, "gamma must not be negative", self.gamma)

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """One denominator of the sign of z."""
        parts = _Signed(linear)
        up, down = 1 + self.gamma * (z >= 0).to(z.dtype), 1 + self.gamma * (z < 0).to(z.dtype)
        total = up * (parts.plus.detach() + parts.bias_plus) + down * (
            parts.minus.detach() + parts.bias_minus
        )
        outer = _over(relevance, total)
        return parts.dealt(outer * up, outer * down)


@dataclass(frozen=True)
class Flat(Rule):
    """Every input alike, also where it is zero: a smooth map for the operation that reads the input itself."""

    at_input = True

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """Weights and inputs are one."""
        return _by_weights(linear, torch.ones_like(linear.weight), relevance)


@dataclass(frozen=True)
class WSquare(Rule):
    """LRP-w²: by the squared weights, for inputs that may be any real numbers."""

    at_input = True

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """Inputs are one."""
        return _by_weights(linear, linear.weight.square(), relevance)


@dataclass(frozen=True, eq=False)
class Box(Rule):
    """LRP-zᴮ for inputs between `low` and `high`: numbers, or tensors that fit the input.

    Raises `ValueError` where `low` is not below `high`.
    """

    low: float | Tensor = 0.0
    high: float | Tensor = 1.0
    at_input = True

    def __post_init__(self) -> None:
        fine = bool((torch.as_tensor(self.low) < torch.as_tensor(self.high)).all())
        _check(fine, "low must be below high", (self.low, self.high))

    def shares(self, linear: LinearMap, z: Tensor, relevance: Tensor) -> Shares:
        """Three passes: input, lower and upper bounds."""
        a = linear.source.detach()
        low, high = (
            torch.as_tensor(bound, dtype=a.dtype, device=a.device) for bound in (self.low, self.high)
        )
        weight = linear.weight
        pieces = [(a, weight, 1.0), (low, weight.clamp(min=0), -1.0), (high, weight.clamp(max=0), -1.0)]
        leaves, total = [], torch.zeros_like(z)
        with torch.enable_grad():
            for value, part, sign in pieces:
                leaf = (sign * value.expand_as(a)).clone().requires_grad_()
                total = total + linear.apply(leaf, part)
                leaves.append(leaf)
        outer = _over(relevance, total.detach())
        slopes = torch.autograd.grad(total, leaves, outer)
        direct = sum(
            (leaf.detach() * slope for leaf, slope in zip(leaves, slopes, strict=True)), torch.zeros_like(a)
        )
        return Shares(direct=direct, sent=outer * total.detach())


@dataclass(frozen=True, kw_only=True)
class Composite:
    """Which rule where: `convolution`, `dense` (linear layers, products with a matrix), `input` for the operation that reads the input
    itself, by the flow of the data (None: as the others), and `named` for what happens in modules of these names.

    >>> Composite(convolution=Gamma(0.25), input=Flat()).dense
    Epsilon(epsilon=1e-06)

    Raises `ValueError` where a rule for inputs stands elsewhere.
    """

    convolution: Rule = ZPlus()
    dense: Rule = Epsilon()
    input: Rule | None = None
    named: Mapping[str, Rule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, rule in (("convolution", self.convolution), ("dense", self.dense)):
            _check(not rule.at_input, f"{type(rule).__name__} is for input=, and stands for {name}", rule)

    def rule(self, *, dense: bool, module: str, reads_input: bool) -> Rule:
        """The rule for an operation in `module`."""
        if module in self.named:
            return self.named[module]
        if reads_input and self.input is not None:
            return self.input
        return self.dense if dense else self.convolution


EPSILON_PLUS = Composite()
"""z⁺ for convolutions, ε for dense layers."""
EPSILON_PLUS_FLAT = Composite(input=Flat())
"""The same, and flat for the input."""
EPSILON_ALPHA2_BETA1 = Composite(convolution=AlphaBeta(2.0, 1.0))
"""αβ with α = 2, β = 1 for convolutions, ε for dense layers."""
EPSILON_ALPHA2_BETA1_FLAT = Composite(convolution=AlphaBeta(2.0, 1.0), input=Flat())
"""The same, and flat for the input."""
EPSILON_GAMMA = Composite(convolution=Gamma(0.25))
"""γ = 1/4 for convolutions, ε for dense layers."""


class _Signed:
    """Sums of positive and of negative terms, and the way back from them."""

    def __init__(self, linear: LinearMap):
        source = linear.source.detach()
        positive, negative = linear.weight.clamp(min=0), linear.weight.clamp(max=0)
        self.below = source < 0
        self.leaves = [source.clamp(min=0).requires_grad_()]
        with torch.enable_grad():
            up = self.leaves[0]
            self.plus, self.minus = linear.apply(up, positive), linear.apply(up, negative)
            if bool(self.below.any()):
                down = source.clamp(max=0).requires_grad_()
                self.leaves.append(down)
                self.plus = self.plus + linear.apply(down, negative)
                self.minus = self.minus + linear.apply(down, positive)
        bias = torch.zeros_like(linear.raw[:1]) if linear.bias is None else linear.bias
        self.bias_plus, self.bias_minus = bias.clamp(min=0), bias.clamp(max=0)

    def dealt(self, outer_plus: Tensor, outer_minus: Tensor) -> Shares:
        slopes = torch.autograd.grad([self.plus, self.minus], self.leaves, [outer_plus, outer_minus])
        ratio = slopes[0] if len(slopes) == 1 else torch.where(self.below, slopes[1], slopes[0])
        return Shares(ratio=ratio, sent=outer_plus * self.plus.detach() + outer_minus * self.minus.detach())


def _by_weights(linear: LinearMap, weight: Tensor, relevance: Tensor) -> Shares:
    with torch.enable_grad():
        source = torch.ones_like(linear.source).requires_grad_()
        total = linear.apply(source, weight)
    outer = _over(relevance, total.detach())
    (direct,) = torch.autograd.grad(total, source, outer)
    return Shares(direct=direct, sent=outer * total.detach())


def _over(relevance: Tensor, total: Tensor) -> Tensor:
    """Relevance / total, and zero where the total is."""
    return torch.where(total == 0, 0, relevance / total.masked_fill(total == 0, 1))
