"""Finite differences against backpropagation: how exact, and at what price.

    forward   (f(x + h) - f(x)) / h              error  ~  h |f''| / 2   +  2 u |f| / h
    central   (f(x + h) - f(x - h)) / (2 h)      error  ~  h² |f'''| / 6  +   u |f| / h

u is the unit of rounding. The first term, truncation, falls with h as h or h²; the second, rounding, grows as 1 / h. The best step is near
sqrt(u) or u^(1/3), and half, or a third, of the digits are lost. For the gradient by P variables it takes P + 1, or 2 P, evaluations;
backpropagation takes one, and about the time of two more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.random import torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.nets import mlp
from hubel.objectives import SquaredError
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import run_study, slope

STEPS = {torch.float64: np.geomspace(1e-14, 0.3, 40), torch.float32: np.geomspace(1e-6, 0.3, 25)}
BRANCHES = {
    "forward": ((1e-13, 1e-10), (1e-6, 1e-2)),
    "central": ((1e-13, 1e-8), (1e-4, 1e-2)),
}  # rounding, truncation
KINDS = {"forward": "two", "central": "one"}


def finite_differences(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Error of finite differences against their step, and the cost of a gradient against the number of variables."""
    return run_study(_finite_differences, quick=quick, seed=seed, out=out)


def _finite_differences(quick: bool, seed: int) -> Study:
    widths = (1, 4, 16) if quick else (1, 4, 16, 64, 256)
    error = {
        (kind, dtype): [_error(kind, float(h), dtype, seed) for h in found]
        for dtype, found in STEPS.items()
        for kind in KINDS
    }
    exact = {kind: np.array(error[kind, torch.float64]) for kind in KINDS}
    h64 = STEPS[torch.float64]
    slopes = {}
    for kind, parts in BRANCHES.items():
        for name, (low, high) in zip(("rounding", "truncation"), parts, strict=True):
            inside = (h64 >= low) & (h64 <= high)
            slopes[f"{kind}, {name}"] = slope(h64[inside], exact[kind][inside])
    best = {kind: float(h64[exact[kind].argmin()]) for kind in KINDS}
    costs = [_cost(width, seed, repeats=3 if quick else 15) for width in widths]
    first, second = _square_at_three()
    least = {kind: float(values.min()) for kind, values in exact.items()}
    single = {kind: min(error[kind, torch.float32]) for kind in KINDS}
    return Study(
        name="finite_differences",
        title="Finite differences against backpropagation",
        question="How exact is a gradient by finite differences, and how does its cost scale with the number of variables?",
        seen=f"""The error has two branches. To the right it is truncation: it falls with the power {slopes["forward, truncation"]:.2f} of the step
        (forward) and {slopes["central, truncation"]:.2f} (central). To the left it is rounding, which grows as the step shrinks
        ({slopes["forward, rounding"]:.2f} and {slopes["central, rounding"]:.2f}). At the best steps, {best["forward"]:.0e} and {best["central"]:.0e}, relative errors of
        {least["forward"]:.0e} and {least["central"]:.0e} remain; in single precision {single["forward"]:.0e} and
        {single["central"]:.0e}. Backpropagation has no step: it is exact
        up to rounding (and d(x²)/dx at 3 is {first:g}, the second derivative {second:g}).

        Finite differences by P variables take P + 1 or 2 P evaluations, as counted; at {costs[-1]["variables"]:,} variables that took
        {costs[-1]["forward seconds"] / costs[-1]["backprop seconds"]:,.0f} times as long as backpropagation. That is why networks are trained by the latter,
        and why the former are good for testing it.""",
        figures=(
            *(
                StudyFigure(
                    picture=plot(
                        [
                            Curve(name=k, x=STEPS[dtype], y=error[k, dtype], kind=c, marks="both")
                            for k, c in KINDS.items()
                        ],
                        x_name="step h",
                        y_name="relative error of the gradient |by differences − backpropagated| / |…|",
                        alt="The error falls with the step, then grows again",
                        log_x=True,
                        log_y=True,
                    ),
                    caption=f"A network of {costs[1]['variables']} weights (tanh, squared error) in {digits}.",
                )
                for dtype, digits in (
                    (torch.float64, "double precision"),
                    (torch.float32, "single precision"),
                )
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(
                            name=name,
                            x=[c["variables"] for c in costs],
                            y=[c[f"{name} seconds"] for c in costs],
                            kind=kind,
                            marks="both",
                        )
                        for name, kind in (("forward", "two"), ("central", "one"), ("backprop", "three"))
                    ],
                    x_name="variables P",
                    y_name="time of one gradient (s)",
                    alt="The time of finite differences grows with the number of variables",
                    log_x=True,
                    log_y=True,
                ),
                caption="The least of several, on the machine named below.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Powers of the step",
                columns=("branch", "measured", "expected"),
                rows=tuple((name, value, EXPECTED[name]) for name, value in slopes.items()),
            ),
            StudyTable(
                caption="Cost of one gradient",
                columns=(
                    "variables",
                    "evaluations, forward",
                    "central",
                    "backprop",
                    "seconds, forward",
                    "central",
                    "backprop",
                ),
                rows=tuple(tuple(c.values()) for c in costs),
            ),
        ),
        numbers={
            "steps": {str(dtype): found for dtype, found in STEPS.items()},
            "error": {f"{kind} {dtype}": values for (kind, dtype), values in error.items()},
            "slopes": slopes,
            "best_step": best,
            "least_error": least,
            "least_error_float32": single,
            "costs": costs,
            "square_at_three": [first, second],
        },
        sources=(
            "W. H. Press et al., Numerical Recipes, 3rd ed. (2007), section 5.7: the best step",
            "A. Griewank, A. Walther, Evaluating Derivatives, 2nd ed. (2008), doi:10.1137/1.9780898717761: the cheap gradient",
            "A. G. Baydin et al., J. Mach. Learn. Res. 18, 153 (2018), arXiv:1502.05767",
        ),
    )


EXPECTED = {
    "forward, rounding": -1.0,
    "forward, truncation": 1.0,
    "central, rounding": -1.0,
    "central, truncation": 2.0,
}


def gradient_by_differences(f: Callable[[Tensor], float], x: Tensor, h: float, kind: str) -> Tensor:
    """The gradient [P] of `f` at `x` [P]: forward differences (P + 1 evaluations) or central ones (2 P).

    >>> x = torch.tensor([3.0], dtype=torch.float64)
    >>> round(gradient_by_differences(lambda x: float(x.square().sum()), x, 1e-5, "central").item(), 8)
    6.0
    """
    start = f(x) if kind == "forward" else 0.0
    found = torch.empty_like(x)
    for i in range(len(x)):
        moved = x.clone()
        moved[i] += h
        ahead = f(moved)
        if kind == "forward":
            found[i] = (ahead - start) / h
        else:
            moved[i] = x[i] - h
            found[i] = (ahead - f(moved)) / (2 * h)
    return found


def _problem(
    width: int, dtype: torch.dtype, seed: int
) -> tuple[nn.Module, Batch, Callable[[Tensor], float], Tensor]:
    """A network, its examples, its loss as a function of all its weights [P], and these weights."""
    with torch_seeded(seed, "finite differences", width):
        net = mlp((width,), inputs=3, outputs=1, activation="tanh").to(dtype)
    x = torch.randn(16, 3, generator=torch_generator(seed, "points"), dtype=torch.float64).to(dtype)
    batch = Batch(inputs=x, targets=(x[:, :1].sin() + x[:, 1:2] * x[:, 2:]))
    parameters = list(net.parameters())

    @torch.no_grad()
    def loss(weights: Tensor) -> float:
        nn.utils.vector_to_parameters(weights, parameters)
        return float(SquaredError(1)(net, batch).total)

    return net, batch, loss, nn.utils.parameters_to_vector(parameters).detach().clone()


def _backpropagated(net: nn.Module, batch: Batch) -> Tensor:
    gradients = torch.autograd.grad(SquaredError(1)(net, batch).total, list(net.parameters()))
    return torch.cat([g.flatten() for g in gradients])


def _error(kind: str, h: float, dtype: torch.dtype, seed: int) -> float:
    """|by differences - exact| / |exact|, where the exact gradient is backpropagated in double precision."""
    _, _, loss, weights = _problem(4, dtype, seed)
    net, batch, _, _ = _problem(4, torch.float64, seed)
    exact = _backpropagated(net, batch)
    return float((gradient_by_differences(loss, weights, h, kind).double() - exact).norm() / exact.norm())


def _cost(width: int, seed: int, *, repeats: int) -> dict[str, float]:
    """Evaluations of the network, counted, and the least time of one gradient by each way."""
    net, batch, loss, weights = _problem(width, torch.float64, seed)
    ways: dict[str, Callable[[], Tensor]] = {
        "forward": lambda: gradient_by_differences(loss, weights, 1e-7, "forward"),
        "central": lambda: gradient_by_differences(loss, weights, 1e-5, "central"),
        "backprop": lambda: _backpropagated(net, batch),
    }
    evaluations, seconds = {}, {}
    for name, way in ways.items():
        nn.utils.vector_to_parameters(weights, net.parameters())
        with captured(net, lambda path, module: path == "") as calls:
            way()
        evaluations[f"{name} evaluations"] = len(calls)
        times = []
        for _ in range(repeats if len(weights) < 200 or name == "backprop" else 1):
            began = time.perf_counter()
            way()
            times.append(time.perf_counter() - began)
        seconds[f"{name} seconds"] = min(times)
    return {"variables": len(weights), **evaluations, **seconds}


def _square_at_three() -> tuple[float, float]:
    """The first and the second derivative of x² at 3, by backpropagation."""
    x = torch.tensor(3.0, requires_grad=True)
    (first,) = torch.autograd.grad(x * x, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    return float(first.detach()), float(second)
