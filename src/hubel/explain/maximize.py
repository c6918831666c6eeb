"""Activation maximization: the input that excites a unit, channel or class most, found by climbing its gradient.

    g   = ∂ score(T x) / ∂ x,        T: small random shifts, turns and scalings, drawn anew in every step
    ĝ   = S g / size(S g),           S: in the Fourier plane, g(f) → g(f) / f^spectrum;   size(g)² = Σ g⁴ / Σ g²
    x  ←  x + η_t (ĝ - decay x - total_variation ∂TV(x) / ∂x),      η_t = η (1 - t / steps)

The size of a gradient is its root mean square weighted by itself, so that one that is confined to a few pixels counts by what it is there.
TV(x) is the sum over pixels of the length of the difference to the neighbours below and to the right. As the gradient is scaled to 1, the
regularizers mean the same for every network: left to itself x comes to rest at ĝ / decay, so that a decay of 1 asks for pictures whose
values are as large as those of scaled inputs. On a linear unit w·x, x becomes a multiple of w. Without regularizers deep units are excited
most by patterns that no eye can read.

From an empty image (zero, which is the mean of scaled inputs), from noise, or from a picture of the user's own.

Source: D. Erhan, Y. Bengio, A. Courville, P. Vincent, "Visualizing higher-layer features of a deep network", report 1341, Université de
Montréal (2009); K. Simonyan, A. Vedaldi, A. Zisserman (2013), arXiv:1312.6034 (classes, L2); A. Mahendran, A. Vedaldi, CVPR 2015
(arXiv:1412.0035; total variation); J. Yosinski et al. (2015), arXiv:1506.06579 (decay and blur as operators); C. Olah, A. Mordvintsev,
L. Schubert, "Feature visualization", Distill (2017), doi:10.23915/distill.00007 (transformations; the Fourier plane, in whose coordinates
scaled by 1/f steepest ascent is `spectrum=2`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.explain.checkpoints import checkpoints_refused
from hubel.explain.layer import LayerOf, check_channels, ready
from hubel.explain.question import Unit, untouched
from hubel.explain.receptive_field import check_inputs

LARGE = 64  # pixels a side of a photograph

Target = int | Unit | Callable[[Tensor], Tensor]
"""An output's number, a unit, or a function of the outputs [N, ...] → [N]."""


@dataclass(frozen=True, kw_only=True)
class Regularizers:
    """What keeps pictures readable; every number may be 0. The defaults are for photographs of 64 pixels and more; `Regularizers.of(inputs)` are
    those that are taken where none are given: weaker ones for smaller pictures, whose finest patterns count.

    `decay` of values, `total_variation`, the exponent `spectrum` by which fine patterns are held back, `blur` (standard deviation in
    pixels, every `blur_every` steps), `jitter` (shifts up to so many pixels), `scale` (up to this share larger or smaller) and `rotation`
    (up to so many degrees). What needs neighbours is passed over for rows of features, turns and scalings for all but pictures.
    """

    decay: float = 1.0
    total_variation: float = 0.1
    spectrum: float = 1.0
    blur: float = 0.0
    blur_every: int = 8
    jitter: int = 4
    scale: float = 0.05
    rotation: float = 5.0

    @classmethod
    def of(cls, inputs: Sequence[int]) -> Regularizers:
        """Those for inputs [C, H, W] of this shape.

        >>> Regularizers.of((3, 224, 224)) == Regularizers(), Regularizers.of((1, 28, 28)).jitter
        (True, 1)
        """
        side = min(inputs[1:], default=0) if len(inputs) >= 3 else 0
        if side >= LARGE:
            return cls()
        return cls(total_variation=0.05, spectrum=0.25, jitter=side // 24, scale=0.03, rotation=2.0)

    def __post_init__(self) -> None:
        wrong = [f"{name}={value}" for name, value in vars(self).items() if not 0 <= value < math.inf]
        if wrong or self.blur_every < 1 or self.scale >= 1:
            raise ValueError(
                f"regularizers are numbers of at least 0, scale below 1 and blur_every at least 1; received "
                f"{', '.join(wrong) or f'scale={self.scale}, blur_every={self.blur_every}'}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Maximized:
    """`pictures` [M, C, H, W] (as they enter the network), each made for the target named in `names`; `scores` [steps + 1, M]: the first
    and the last are those of the pictures, those between of copies that were shifted and turned. `channels` are the numbers of the units where these are channels of one `layer`.
    """

    pictures: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray
    start: str
    steps: int
    layer: str | None = None
    channels: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def __str__(self) -> str:
        shown = ", ".join(
            f"{name} {first:.3g} → {last:.3g}"
            for name, first, last in zip(self.names[:4], self.scores[0], self.scores[-1], strict=False)
        )
        more = f" and {len(self) - 4} more" if len(self) > 4 else ""
        return ". ".join((f"{self.steps} steps from {self.start}: {shown}{more}", *self.notes))


def maximize(
    net: nn.Module,
    target: Target | Sequence[Target],
    *,
    inputs: Sequence[int],
    start: str | np.ndarray | Tensor = "noise",
    steps: int = 256,
    rate: float = 0.05,
    regularizers: Regularizers | None = None,
    seed: int = 0,
) -> Maximized:
    """Inputs of shape `inputs` (C, H, W) that excite `target`, an output's number, a `Unit` or a function of the outputs; several at once
    where it is a list. A `Unit` without position is the mean of a channel over all positions.

    `start` is "empty", "noise" or an input of the user's own; `rate` is the length of the first step, in units of scaled inputs.

    Raises `ValueError` for a target that the network does not have, for a shape that it does not read, and where no target depends on the
    input.

    >>> layer = nn.Linear(8, 3)
    >>> found = maximize(layer, 2, inputs=(8,), start="empty", steps=64)
    >>> picture, weight = torch.from_numpy(found.pictures[0]), layer.weight[2].detach()
    >>> round(float(torch.cosine_similarity(picture, weight.double(), dim=0)), 4)
    1.0
    """
    targets: list[Any] = list(target) if isinstance(target, (list, tuple)) else [target]
    if not targets:
        raise ValueError("there is no target: pass an output's number, a Unit, or a list of them")
    ready(net)
    x = _begun(net, inputs, start, len(targets), seed)
    with untouched(net):
        read = _reader(net, targets, x)
        return _climbed(x, read, tuple(map(_name, targets)), start, steps, rate, regularizers, seed)


def gallery(
    net: nn.Module,
    layer: str,
    channels: Sequence[int] | None = None,
    *,
    inputs: Sequence[int],
    most: int = 16,
    start: str = "noise",
    steps: int = 128,
    rate: float = 0.05,
    regularizers: Regularizers | None = None,
    seed: int = 0,
) -> Maximized:
    """What excites each of the `channels` of a layer most (by default the first `most` of them): one picture a channel, all in one batch.

    What comes after the layer is not computed. Of maps [N, C, H, W] the unit in the middle is excited, so that a picture shows the
    pattern once, and what lies beyond its receptive field stays empty.

    Raises `ValueError` for a layer or a channel that the network does not have.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> gallery(net, "0", [1, 3], inputs=(1, 12, 12), steps=4).names
    ('unit 1 of 0', 'unit 3 of 0')
    """
    if most < 1:
        raise ValueError(f"most is {most}; expected at least 1 channel")
    probe = _begun(net, inputs, "empty", 1, seed)
    with untouched(net):
        answer = LayerOf(net, layer, probe)
        count = answer.shape[0]
        chosen = check_channels(layer, count, list(range(min(most, count)) if channels is None else channels))
        if not chosen:
            raise ValueError(f"there are no channels of {layer} to excite: pass some of 0 to {count - 1}")
        middle = tuple(size // 2 for size in answer.shape[1:])
        rows, numbers = torch.arange(len(chosen)), torch.tensor(chosen)
        x = _begun(net, inputs, start, len(chosen), seed)
        names = tuple(f"unit {channel} of {layer}" for channel in chosen)

        def read(z: Tensor) -> Tensor:
            return answer(z)[(rows, numbers, *middle)]

        found = _climbed(x, read, names, start, steps, rate, regularizers, seed)
    return Maximized(**{**vars(found), "layer": layer, "channels": tuple(chosen)})


def _name(target: Target) -> str:
    if isinstance(target, Unit):
        return str(target)
    return (
        f"output {target}"
        if isinstance(target, int)
        else getattr(target, "__name__", "a function of the output")
    )


def _begun(net: nn.Module, inputs: Sequence[int], start: Any, num: int, seed: int) -> Tensor:
    """Where the climb begins: [num, *inputs]."""
    shape = check_inputs(inputs)
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))
    if isinstance(start, str):
        if start not in ("empty", "noise"):
            raise ValueError(f'start is {start!r}; expected "empty", "noise" or an input of shape {shape}')
        if start == "empty":
            return torch.zeros(num, *shape, dtype=like.dtype, device=like.device)
        noise = torch.randn(num, *shape, generator=torch_generator(seed, "maximize: start"))
        return (0.1 * noise).to(like)
    given = torch.as_tensor(np.asarray(start) if not isinstance(start, Tensor) else start).detach().to(like)
    if tuple(given.shape) != shape:
        raise ValueError(f"start has shape {list(given.shape)}; expected {list(shape)}, as inputs says")
    if not bool(torch.isfinite(given).all()):
        raise ValueError("start holds NaN or infinite values: replace them first")
    return given.expand(num, *shape).clone()


def _reader(net: nn.Module, targets: list[Any], x: Tensor) -> Callable[[Tensor], Tensor]:
    """The score [M] of each row for its own target."""
    if all(isinstance(t, (int, np.integer)) and not isinstance(t, bool) for t in targets):
        return _of_outputs(net, targets, x)
    layers = {t.layer: LayerOf(net, t.layer, x[:1]) for t in targets if isinstance(t, Unit)}
    if len(layers) == 1 and all(isinstance(t, Unit) for t in targets):
        (answer,) = layers.values()
        return lambda z: torch.stack(
            [t.read(row)[0] for t, row in zip(targets, answer(z).split(1), strict=True)]
        )

    def score(target: Any, row: Tensor) -> Tensor:
        if isinstance(target, Unit):
            return target.read(layers[target.layer](row))[0]
        if not callable(target):
            return _of_outputs(net, [target], row)(row)[0]
        value = target(net(row))
        if not isinstance(value, Tensor) or value.shape != (1,):
            raise ValueError("the function given as target must answer one number an example, [N]")
        return value[0]

    return lambda z: torch.stack([score(t, row) for t, row in zip(targets, z.split(1), strict=True)])


def _of_outputs(net: nn.Module, targets: list[Any], x: Tensor) -> Callable[[Tensor], Tensor]:
    with torch.no_grad():
        outputs = net(x[:1])
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise ValueError(
            "the network does not answer [N, K]: say which number is to be excited, target=lambda outputs: ... with one value an example"
        )
    for target in targets:
        if isinstance(target, bool) or not isinstance(target, (int, np.integer)):
            raise TypeError(f"target must be an output's number, a Unit or a function; received {target!r}")
        if not 0 <= target < outputs.shape[1]:
            raise ValueError(
                f"target {target} is out of range: the network has {outputs.shape[1]} outputs, 0 to {outputs.shape[1] - 1}"
            )
    numbers = torch.tensor([int(t) for t in targets], device=x.device)[:, None]
    return lambda z: net(z).gather(1, numbers)[:, 0]


def _climbed(
    x: Tensor,
    read: Callable[[Tensor], Tensor],
    names: tuple[str, ...],
    start: Any,
    steps: int,
    rate: float,
    regularizers: Regularizers | None,
    seed: int,
) -> Maximized:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1 or not 0 < rate < math.inf:
        raise ValueError(
            f"steps is {steps!r} and rate {rate!r}; expected a whole number and a number, both positive"
        )
    keep = regularizers or Regularizers.of(x.shape[1:])
    generator = torch_generator(seed, "maximize: changes")
    with torch.no_grad():
        scores, notes = [read(x).double().cpu().numpy()], []
    for step in range(steps):
        score, gradient = _gradient(x, read, keep, generator)
        if step == 0:
            x, gradient, notes = _woken(x, gradient, read, keep, generator, names, seed)
        else:
            scores.append(score)
        with torch.no_grad():
            direction = _unit_size(_softened(gradient, keep.spectrum)) - keep.decay * x
            if keep.total_variation and x.ndim >= 4:
                direction = direction - keep.total_variation * _variation(x)
            x = x + rate * (1 - step / steps) * direction
            if keep.blur and x.ndim >= 4 and (step + 1) % keep.blur_every == 0:
                x = blurred(x, keep.blur)
    with torch.no_grad():
        scores.append(read(x).double().cpu().numpy())
    return Maximized(
        pictures=x.detach().double().cpu().numpy(),
        names=names,
        scores=np.stack(scores),
        start=f"an {start} image"
        if start == "empty"
        else start
        if isinstance(start, str)
        else "a given image",
        steps=steps,
        notes=tuple(notes),
    )


def _gradient(
    x: Tensor, read: Callable[[Tensor], Tensor], keep: Regularizers, generator: torch.Generator
) -> tuple[np.ndarray, Tensor]:
    """The score [M] of a changed copy of `x`, and the gradient there with respect to `x`."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        score = read(_changed(x, keep, generator))
        if not score.requires_grad:
            raise ValueError("the target does not depend on the input: choose another unit or output")
        with checkpoints_refused():
            (gradient,) = torch.autograd.grad(score.sum(), x)
    if not bool(torch.isfinite(gradient).all()):
        raise ValueError(
            "the gradient is NaN or infinite: lower the rate, or look at the weights of the network"
        )
    return score.detach().double().cpu().numpy(), gradient


def _woken(
    x: Tensor,
    gradient: Tensor,
    read: Callable[[Tensor], Tensor],
    keep: Regularizers,
    generator: torch.Generator,
    names: tuple[str, ...],
    seed: int,
) -> tuple[Tensor, Tensor, list[str]]:
    """Pictures at which the unit is silent, so that there is nothing to climb, begin with noise of growing size."""
    asleep = gradient.flatten(1).abs().amax(1) == 0
    began = asleep.clone()
    for size in (0.1, 0.3, 1.0, 3.0):
        if not bool(asleep.any()):
            break
        noise = torch.randn(x.shape, generator=torch_generator(seed, f"maximize: waking {size}")).to(x)
        x = torch.where(asleep.view(-1, *[1] * (x.ndim - 1)), size * noise, x)
        gradient = _gradient(x, read, keep, generator)[1]
        asleep = gradient.flatten(1).abs().amax(1) == 0
    notes = []
    if bool((began & ~asleep).any()):
        woken = [
            name for name, b, a in zip(names, began.tolist(), asleep.tolist(), strict=True) if b and not a
        ]
        notes.append(
            f"silent at the start, begun with noise: {', '.join(woken[:5])}{', …' if len(woken) > 5 else ''}"
        )
    if bool(asleep.any()):
        silent = [name for name, a in zip(names, asleep.tolist(), strict=True) if a]
        notes.append(
            f"never excited, by noise neither: {', '.join(silent[:5])}{', …' if len(silent) > 5 else ''}"
        )
    return x, gradient, notes


def _unit_size(gradient: Tensor) -> Tensor:
    """Each row divided by its size (zeros stay)."""
    shape = (-1, *[1] * (gradient.ndim - 1))
    highest = gradient.flatten(1).abs().amax(1).view(shape)
    scaled = torch.where(
        highest > 0, gradient / highest.clamp_min(torch.finfo(gradient.dtype).tiny), gradient
    )
    square = scaled.flatten(1).square()
    size = (square.square().sum(1) / square.sum(1).clamp_min(1e-30)).sqrt().view(shape)
    return torch.where(size > 0, scaled / size.clamp_min(1e-30), scaled)


def _softened(gradient: Tensor, spectrum: float) -> Tensor:
    """The Fourier components of frequency f (in periods a picture) divided by f^spectrum, the mean as f = 1."""
    if not spectrum or gradient.ndim < 4:
        return gradient
    sizes = gradient.shape[2:]
    axes = [torch.fft.fftfreq(n, 1 / n, device=gradient.device) for n in sizes[:-1]]
    axes.append(torch.fft.rfftfreq(sizes[-1], 1 / sizes[-1], device=gradient.device))
    square = torch.zeros((), device=gradient.device)
    for place, axis in enumerate(axes):
        square = square + axis.square().view(-1, *[1] * (len(axes) - 1 - place))
    weight = square.sqrt().clamp_min(1.0).pow(-spectrum)
    dims = tuple(range(2, gradient.ndim))
    return torch.fft.irfftn(torch.fft.rfftn(gradient, dim=dims) * weight, s=sizes, dim=dims).to(
        gradient.dtype
    )


def _variation(x: Tensor) -> Tensor:
    """The gradient of the total variation of `x` [M, C, ...]."""
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        square = torch.zeros_like(z)
        for axis in range(2, z.ndim):
            difference = z.narrow(axis, 1, z.shape[axis] - 1) - z.narrow(axis, 0, z.shape[axis] - 1)
            pad = [0, 0] * (z.ndim - 1 - axis) + [0, 1]
            square = square + F.pad(difference.square(), pad)
        return torch.autograd.grad((square + 1e-6).sqrt().sum(), z)[0]


def _changed(x: Tensor, keep: Regularizers, generator: torch.Generator) -> Tensor:
    """`x` shifted, turned and scaled by amounts that are drawn, the same for all rows."""
    if x.ndim < 4:
        return x
    changed = x
    if x.ndim == 4 and (keep.scale or keep.rotation):
        size, turn = (2 * torch.rand(2, generator=generator) - 1).tolist()
        angle, factor = math.radians(keep.rotation * turn), 1 / (1 + keep.scale * size)
        cos, sin, ratio = factor * math.cos(angle), factor * math.sin(angle), x.shape[2] / x.shape[3]
        matrix = torch.tensor(
            [[cos, -sin * ratio, 0.0], [sin / ratio, cos, 0.0]], dtype=x.dtype, device=x.device
        )
        grid = F.affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
        changed = F.grid_sample(changed, grid, padding_mode="reflection", align_corners=False)
    if keep.jitter:
        dims = tuple(range(2, x.ndim))
        shifts = torch.randint(-keep.jitter, keep.jitter + 1, (len(dims),), generator=generator).tolist()
        changed = changed.roll(shifts, dims)
    return changed


def blurred(x: Tensor, deviation: float) -> Tensor:
    """`x` [M, C, ...] convolved with a Gaussian of so many pixels along every axis of positions; borders are repeated.

    >>> round(blurred(torch.ones(1, 1, 5, 5), 1.0).mean().item(), 6)
    1.0
    """
    reach = max(1, math.ceil(3 * deviation))
    places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    weight = torch.exp(-0.5 * (places / deviation) ** 2)
    weight = weight / weight.sum()
    for axis in range(2, x.ndim):
        moved = x.movedim(axis, -1)
        flat = F.pad(moved.reshape(-1, 1, moved.shape[-1]), (reach, reach), mode="replicate")
        x = F.conv1d(flat, weight.view(1, 1, -1)).view(moved.shape).movedim(-1, axis)
    return x
