"""Meaningful perturbation: the smallest smooth mask that takes the answer away.

    min over m of   λ₁ Σ (1 - m) + λ₂ Σ |∇m|^β + mean over jitters τ of f(Φ(x(· - τ), m)),   Φ(x, m) = m x + (1 - m) x₀

m in [0, 1] keeps (1) or deletes (0); it is coarse and is enlarged smoothly, so that it can not find the fine patterns that fool a network
but are no reason. x₀ is the example out of focus, unless told. The values are 1 - m: where something had to be deleted.

Source: R. C. Fong, A. Vedaldi, "Interpretable explanations of black boxes by meaningful perturbation", ICCV 2017 (arXiv:1704.03296,
doi:10.1109/ICCV.2017.371), equations 3 and 6 and section 4.3: masks of 28 × 28, Adam with learning rate 0.1, 300 steps, λ₁ = 10⁻⁴,
λ₂ = 10⁻², β = 3, jitter up to 4 positions; on the probability. The mask begins at 1/2 here, where all of it has a gradient.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.random import numpy_generator
from hubel.core.types import Attribution
from hubel.explain.checkpoints import checkpoints_refused
from hubel.explain.filling import Fill, blurred
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.explain.versions import Progress

ADAM = (0.9, 0.999, 1e-8)
"""β₁, β₂ and ε of Adam."""


def meaningful_perturbation(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "probability",
    size: int = 28,
    steps: int = 300,
    learning_rate: float = 0.1,
    area: float = 1e-4,
    smoothness: float = 1e-2,
    power: float = 3.0,
    jitter: int = 4,
    fill: Fill = "blur",
    steps_first: bool = False,
    seed: int = 0,
    progress: Progress = None,
) -> Attribution:
    """Which parts of maps [N, C, ...] have to be deleted so that the target's probability falls.

    With `steps_first` `x` are steps [N, L, F]. The mask has `size` cells along each axis (the example's positions where those are fewer); `area` is λ₁, `smoothness` λ₂, `power` β. Each
    of `steps` steps moves the example by up to `jitter` positions. `values` are 1 - mask, shared among channels; `coarse` is 1 - mask as it
    was learned; `baseline` what deleted parts show. `notes` say to what the answer falls under the mask, and when all is deleted.

    Raises `ValueError` for inputs without spatial axes, and for numbers that are no sizes.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval()
    >>> meaningful_perturbation(net, torch.rand(1, 1, 8, 8), steps=3).values.shape
    torch.Size([1, 1, 8, 8])
    """
    start = time.perf_counter()
    if size < 1 or steps < 1 or jitter < 0:
        raise ValueError(
            f"size and steps must be at least 1 and jitter at least 0; received {size}, {steps} and {jitter}"
        )
    with untouched(net):
        question = Question(net, x, target, of=of, steps_first=steps_first)
        examples = question.x
        if examples.ndim < 3 or not examples.is_floating_point():
            raise ValueError(
                f"x must be maps with channels, [N, C, ...]; received {list(examples.shape)} of {examples.dtype}"
            )
        sides = tuple(examples.shape[2:])
        blank = question.emptied(fill, sigma=max(2.0, min(sides) / 22.4))
        mask = torch.full(
            (len(examples), 1, *(min(size, side) for side in sides)),
            0.5,
            dtype=examples.dtype,
            device=examples.device,
        )
        generator = numpy_generator(seed, "meaningful perturbation")
        first, second = torch.zeros_like(mask), torch.zeros_like(mask)
        for step in range(1, steps + 1):
            shift = tuple(int(s) for s in generator.integers(-jitter, jitter + 1, size=len(sides)))
            shift = tuple(s if abs(s) < side else 0 for s, side in zip(shift, sides, strict=True))
            mask.requires_grad_(True)
            with torch.enable_grad():
                kept = enlarged(mask, sides)
                moved, hidden = (torch.roll(t, shift, tuple(range(2, t.ndim))) for t in (examples, blank))
                loss = question(kept * moved + (1 - kept) * hidden).sum()
                loss = loss + area * (1 - mask).sum() + smoothness * _roughness(mask, power)
                with checkpoints_refused():
                    (gradient,) = torch.autograd.grad(loss, mask)
            mask = mask.detach()
            first = ADAM[0] * first + (1 - ADAM[0]) * gradient
            second = ADAM[1] * second + (1 - ADAM[1]) * gradient**2
            rate = learning_rate * (1 - ADAM[1] ** step) ** 0.5 / (1 - ADAM[0] ** step)
            mask = (mask - rate * first / (second.sqrt() + ADAM[2])).clamp(0, 1)
            if progress is not None:
                progress(step, steps)
        with torch.no_grad():
            kept = enlarged(mask, sides)
            under, nothing = question(kept * examples + (1 - kept) * blank), question(blank)
    return Attribution(
        values=question.as_given(((1 - kept) / examples.shape[1]).expand_as(examples)),
        method="meaningful perturbation",
        target=question.names,
        score=question.score,
        baseline=question.as_given(blank),
        coarse=(1 - mask)[:, 0],
        passes=question.calls + steps * len(examples),
        seconds=time.perf_counter() - start,
        notes=(
            f"answer {_listed(question.score)}; under the mask {_listed(under)}; with all deleted {_listed(nothing)}",
            f"deleted {_listed((1 - kept).flatten(1).mean(1))} of the example",
        ),
    )


def enlarged(mask: Tensor, sides: tuple[int, ...]) -> Tensor:
    """A mask [N, 1, ...] at the positions of maps of `sides`, smooth: interpolated linearly, then blurred over half a cell.

    >>> enlarged(torch.ones(1, 1, 2, 2), (6, 6)).shape
    torch.Size([1, 1, 6, 6])
    """
    mode = ("linear", "bilinear", "trilinear")[len(sides) - 1]
    cell = max(side / cells for side, cells in zip(sides, mask.shape[2:], strict=True))
    large: Any = F.interpolate(mask, size=sides, mode=mode, align_corners=False)
    return blurred(large, cell / 2) if cell > 1 else large


def _roughness(mask: Tensor, power: float) -> Tensor:
    """Σ |∇m|^β over the mask's cells."""
    total = mask.new_zeros(())
    for axis in range(2, mask.ndim):
        total = total + mask.diff(dim=axis).abs().pow(power).sum()
    return total


def _listed(values: Tensor) -> str:
    shown = ", ".join(f"{float(v):.3g}" for v in values[:3])
    return shown + (", ..." if len(values) > 3 else "")
