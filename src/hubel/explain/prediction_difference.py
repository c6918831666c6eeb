"""Prediction difference analysis: what the network would answer if it did not know a patch, the patch being redrawn as its surroundings suggest.

    p(c | x without w) ≈ 1/S Σ_s p(c | x with w ← w_s),   w_s ~ N(μ_w + Σ_wr Σ_rr⁻¹ (r - μ_r), Σ_ww - Σ_wr Σ_rr⁻¹ Σ_rw)
    weight of evidence of w = log₂ odds(c | x) - log₂ odds(c | x without w),   odds(p) = p / (1 - p)

w are the values under the patch and r those around it; their mean and covariance are estimated from windows of `data`, wherever they lie
(of features [F]: from the rows). Before odds are taken, p becomes (p n + 1) / (n + K), n being the number of examples in `data` and K the
number of classes, so that no evidence is infinite. The effect of a patch is shared among the values under it; a position has the mean over all patches that cover it.

Source: L. M. Zintgraf, T. S. Cohen, T. Adel, M. Welling, "Visualizing deep neural network decisions: prediction difference analysis",
ICLR 2017 (arXiv:1702.04595), equations 3 to 6 and section 3.1; marginalizing by M. Robnik-Šikonja, I. Kononenko, IEEE TKDE 20, 589 (2008).
Here the samples come in pairs, as far above the mean as below: their mean is exactly that of the Gaussian, and less of them are needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import numpy_generator, torch_generator
from hubel.core.types import Attribution
from hubel.explain.evidence import Measure, asked, differences, num_classes
from hubel.explain.patches import Patches, axes_of, patches_of, sizes_for
from hubel.explain.question import Question, Target, as_input, untouched
from hubel.explain.versions import BUDGET, Progress, Versions

LARGEST = 6000
"""Values in a window, of which the covariance is estimated, at most."""
WINDOWS, NUMBERS = 20_000, 50_000_000
"""Windows from which it is estimated, and values in all of them, at most."""
RIDGE = 1e-6
"""Of the mean variance, added to every variance, so that values that never differ do no harm."""


def prediction_difference(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    data: Tensor | np.ndarray,
    target: Target = None,
    measure: Measure = "evidence",
    patch: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    surround: int = 4,
    samples: int = 10,
    clip: bool = True,
    steps_first: bool = False,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """The evidence for the target in each patch: the answer as it is against that for likely other contents of the patch.

    `x` is [N, C, ...] or features [N, F], with `steps_first` steps [N, L, F]; `data` [M, ...] are examples of the same kind, from which the Gaussian is estimated. `patch` has as
    many positions along each axis (of features: 1; of maps an eighth of the side unless told, at most 8), `surround` more on every side say
    what is around it (of features all others do). `samples` contents are drawn for each patch, an even number. `measure` is "evidence" (the
    weight of evidence, in bits), "information" (log₂ p - log₂ p without), "probability" or "score" (differences of these). `clip` keeps drawn
    values within the range of each channel in `data`.

    Raises `ValueError` for data of another shape, too few of them, and windows of more than 6,000 values, of which no covariance can be estimated.

    >>> data = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> found = prediction_difference(nn.Linear(3, 2), data[:4], data=data, measure="score")
    >>> found.values.shape
    torch.Size([4, 3])
    """
    start = time.perf_counter()
    if samples < 2 or samples % 2:
        raise ValueError(f"samples must be an even number, at least 2; received {samples}")
    if surround < 0:
        raise ValueError(f"surround must be at least 0 positions on every side; received {surround}")
    with untouched(net):
        question = Question(net, x, target, of=asked(measure), steps_first=steps_first)
        data = as_input(net, data)
        if steps_first and data.ndim == 3:
            data = data.transpose(1, 2)
        if data.shape[1:] != question.x.shape[1:] or len(data) < 2 or not data.is_floating_point():
            raise ValueError(
                f"data must be at least two examples of the shape of x, [M, {', '.join(map(str, question.x.shape[1:]))}]; received {list(data.shape)}"
            )
        axes = axes_of(question.x[0])
        usual = [
            1 if question.x.ndim == 2 else max(1, min(8, question.x.shape[1 + axis] // 8)) for axis in axes
        ]
        size = sizes_for(patch, usual, "patch")
        patches = patches_of(
            question.x.shape[1:], size, sizes_for(stride, [max(1, p // 2) for p in size], "stride"), axes=axes
        )
        around = _Surroundings(data, patches, surround, seed)
        bounds = _bounds(data) if clip else None
        classes = num_classes(question)
        values, coarse, notes = [], [], []
        for row in range(len(question.x)):
            versions = Versions(question, row, axes=axes, budget=budget)
            without = _without(versions, patches, around, bounds, samples, seed, progress)
            effects = differences(question.score[row], without, measure, num=len(data), classes=classes)
            values.append(patches.spread(effects))
            coarse.append(effects.view(patches.grid))
            notes += versions.notes
    return Attribution(
        values=question.as_given(torch.stack(values)),
        method=f"prediction difference ({measure})",
        target=question.names,
        score=question.score,
        coarse=torch.stack(coarse),
        passes=question.calls,
        seconds=time.perf_counter() - start,
        notes=(
            f"{samples} contents a patch, from the covariance of {around.num_values:,} values in {around.num_windows:,} windows",
            *dict.fromkeys(notes),
        ),
    )


def _without(
    versions: Versions,
    patches: Patches,
    around: _Surroundings,
    bounds: tuple[Tensor, Tensor] | None,
    samples: int,
    seed: int,
    progress: Progress,
) -> Tensor:
    """The mean answer [M] for redrawn contents of each patch."""
    found, example = [], versions.example
    at_once = max(1, 2048 // samples)
    for first in range(0, len(patches), at_once):
        numbers = range(first, min(first + at_once, len(patches)))
        generator = torch_generator(seed, "prediction difference", versions.row, first)
        drawn = [around.draw(example, k, samples, generator) for k in numbers]
        if bounds is not None:
            low, high = bounds
            drawn = [
                values.clamp(patches.crop(low, k), patches.crop(high, k))
                for values, k in zip(drawn, numbers, strict=True)
            ]
        crops = torch.cat(drawn)
        starts = patches.starts[first : first + len(numbers)].repeat(samples, axis=0)
        found.append(versions.scores(starts, crops.to(example)).view(len(numbers), samples).mean(1))
        if progress is not None:
            progress(first + len(numbers), len(patches))
    return torch.cat(found)


def _bounds(data: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each channel (or feature), as examples."""
    axes = (0, *range(2, data.ndim))
    return tuple(f(axes, keepdim=True)[0].expand(data.shape[1:]).double() for f in (data.amin, data.amax))  # type: ignore[return-value]


class _Surroundings:
    """The Gaussian of windows of `data`, and what it says of the patch inside, given the rest of the window."""

    def __init__(self, data: Tensor, patches: Patches, surround: int, seed: int):
        self._patches = patches
        sides = np.array([patches.shape[axis] for axis in patches.axes])
        self._everything = len(patches.shape) == 1
        wanted = sides if self._everything else np.array(patches.size) + 2 * surround
        self._size = np.minimum(wanted, sides)
        self._leading = 1 if self._everything else patches.shape[0]
        values = int(self._leading * self._size.prod())
        if values > LARGEST:
            raise ValueError(
                f"a window of {' × '.join(map(str, self._size))} positions with {self._leading} channels holds {values:,} values, of whose "
                f"covariance ({values:,} × {values:,}) no estimate is possible: at most {LARGEST:,}. Use a smaller patch or surround"
            )
        windows = self._windows(data, seed).double()
        if len(windows) < 2:
            raise ValueError(f"data have {len(windows)} windows; at least two are needed")
        self.num_values, self.num_windows = values, len(windows)
        self._mean = windows.mean(0)
        centred = windows - self._mean
        covariance = centred.T @ centred / (len(windows) - 1)
        ridge = RIDGE * float(covariance.diagonal().mean().clamp_min(1e-12))
        self._covariance = covariance + ridge * torch.eye(values, dtype=torch.float64, device=data.device)
        self._known: dict[tuple[int, ...], tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def draw(self, example: Tensor, k: int, samples: int, generator: torch.Generator) -> Tensor:
        """Contents [samples, C, *size] of patch `k` of the example."""
        start = self._patches.starts[k]
        sides = np.array([self._patches.shape[axis] for axis in self._patches.axes])
        corner = np.clip(start - (self._size - np.array(self._patches.size)) // 2, 0, sides - self._size)
        inside, rest, weights, root = self._given(tuple((start - corner).tolist()))
        window = self._cut(example, corner).reshape(-1).double()
        mean = self._mean[inside] + weights @ (window[rest] - self._mean[rest])
        noise = torch.randn(
            samples // 2, len(inside), dtype=torch.float64, generator=generator, device=generator.device
        ).to(mean.device)
        moved = noise @ root.T
        drawn = mean + torch.cat([moved, -moved])
        shape = self._patches.crop(example, k).shape
        return drawn.view(samples, *shape)

    def _given(self, offset: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of a patch at `offset` in its window: the numbers of its values and of the others, the weights of those, and a root of what remains uncertain."""
        if offset not in self._known:
            under = torch.zeros(self._leading, *self._size.tolist(), dtype=torch.bool)
            under[(..., *(slice(o, o + p) for o, p in zip(offset, self._patches.size, strict=True)))] = True
            inside, rest = under.flatten().nonzero()[:, 0], (~under.flatten()).nonzero()[:, 0]
            inside, rest = inside.to(self._mean.device), rest.to(self._mean.device)
            own = self._covariance[inside][:, inside]
            if len(rest):
                between = self._covariance[inside][:, rest]
                weights = torch.linalg.solve(self._covariance[rest][:, rest], between.T).T
                own = own - weights @ between.T
            else:
                weights = self._mean.new_zeros(len(inside), 0)
            power, directions = torch.linalg.eigh((own + own.T) / 2)
            self._known[offset] = (inside, rest, weights, directions * power.clamp_min(0).sqrt())
        return self._known[offset]

    def _windows(self, data: Tensor, seed: int) -> Tensor:
        """Windows [n, values] of the data: all rows of features, and of maps some at random places of each example."""
        if self._everything:
            return data
        generator = numpy_generator(seed, "windows of prediction difference")
        sides = np.array([self._patches.shape[axis] for axis in self._patches.axes])
        most = min(WINDOWS, NUMBERS // int(self._leading * self._size.prod()))
        count = max(1, min(64, int(np.prod(sides - self._size + 1)), most // len(data)))
        chosen = data if len(data) <= most else data[generator.choice(len(data), most, replace=False)]
        found = []
        for example in chosen:
            corners = generator.integers(0, sides - self._size + 1, size=(count, len(sides)))
            found += [self._cut(example, corner).reshape(-1) for corner in corners]
        return torch.stack(found)

    def _cut(self, example: Tensor, corner: np.ndarray) -> Tensor:
        return example[
            (..., *(slice(c, c + k) for c, k in zip(corner.tolist(), self._size.tolist(), strict=True)))
        ]
