"""DeepDream: a layer finds what it looks for in a picture, and the picture is changed so that it finds more of it.

    x ← x + rate · g / mean |g|,    g = ∂ ½ mean(a²) / ∂ x,    a: what the layer answers

In octaves: the picture is made smaller by `ratio` several times; the smallest is dreamt on first, and what was added there is enlarged and
added to the next larger one, so that patterns come in all sizes. Before every step the picture is shifted by a random amount, round its
borders, so that no grid of the network's strides shows. Pixels stay within their range.

A picture that is larger than the network can read, or than `tile`, is dreamt on in tiles; the shifts hide their seams.

Source: A. Mordvintsev, C. Olah, M. Tyka, "Inceptionism: Going deeper into neural networks", Google Research blog (2015), and their notebook
dream.ipynb (google/deepdream), from which step, shift, octaves and the ratio of 1.4 are.

Measured (AMD EPYC (Zen 4), one thread, processor time, torch 2.13.0, 2026-11-21; benchmarks/dream.py): 512 × 512 pixels, four octaves of ten
steps, layer3 of a ResNet-18: 10.0 s [9.6, 10.1], 1.16 times [1.10, 1.18] the same passes in a bare loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.core.random import torch_generator
from hubel.data.preprocessing import Scaling
from hubel.explain.checkpoints import checkpoints_refused
from hubel.explain.layer import LayerOf, check_channels, ready
from hubel.explain.question import as_input, layer_named, untouched

LARGEST = 768  # pixels a side up to which a picture is read as a whole
TILE = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Dream:
    """`image` after dreaming and `before`, both of the kind that was given: bytes [H, W, 3] (or [H, W]), or floating numbers [C, H, W].

    `scores` [octaves, 2] are the means of ½ a² before and after each octave, `sizes` their sizes, `steps` the steps in each.
    """

    image: np.ndarray
    before: np.ndarray
    layer: str
    scores: np.ndarray
    sizes: tuple[tuple[int, int], ...]
    steps: int
    seconds: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = ", ".join(f"{h} × {w}" for h, w in self.sizes)
        text = (
            f"dream of {self.layer}: {len(self.sizes)} octaves ({sizes}) of {self.steps} steps, excitation "
            f"{self.scores[-1, 0]:.3g} → {self.scores[-1, 1]:.3g}, {self.seconds:.3g} s"
        )
        return ". ".join((text, *self.notes))


def dream(
    net: nn.Module,
    image: np.ndarray | Tensor,
    layer: str,
    *,
    channels: Sequence[int] | None = None,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    rate: float = 0.03,
    jitter: int = 32,
    tile: int | None = None,
    scaling: Scaling | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dream:
    """Dream on a picture of any size: bytes [H, W, 3] (or [H, W], for a network of one channel), or floating numbers [C, H, W] as they enter
    the network. The answer is of the same kind and size.

    Bytes are scaled as the published weights of the network expect (`net.published`), or by `scaling`, that of a run. `channels` of the
    layer, or all. `rate` is the mean change of a value in one step, in units of scaled inputs; of photographs 0.03 is about 1.5 of 255.
    `tile` is the greatest side that is read at once. `progress(done, total)` is called after each step.

    Raises `ValueError` for a layer or channel that the network does not have, a picture of another depth or with values that are not finite,
    bytes where no scaling is known, and a picture that is too small for the layer.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
    >>> found = dream(net, torch.zeros(3, 40, 30), "1", octaves=2, steps=2)
    >>> found.image.shape, found.sizes
    ((3, 40, 30), ((29, 21), (40, 30)))
    """
    start = time.perf_counter()
    _check(octaves, ratio, steps, rate, jitter, tile)
    ready(net)
    layer_named(net, layer)
    x, low, high, back = _entering(net, image, scaling)
    sizes = [
        tuple(max(1, round(s / ratio ** (octaves - 1 - k))) for s in x.shape[2:]) for k in range(octaves)
    ]
    with untouched(net):
        sizes, sides, notes = _readable(net, layer, x, sizes, tile)
        generator = torch_generator(seed, "dream")
        detail = torch.zeros_like(_resized(x, sizes[0]))
        scores = []
        for number, size in enumerate(sizes):
            base = _resized(x, size)
            detail = _resized(detail, size)
            ascent = _Ascent(net, layer, channels, sides, jitter, generator)
            dreamt = base + detail
            before = ascent.score(dreamt)
            for step in range(steps):
                dreamt = ascent.step(dreamt, rate)
                if low is not None:
                    dreamt = dreamt.clamp(low, high)
                if progress is not None:
                    progress(number * steps + step + 1, len(sizes) * steps)
            scores.append((before, ascent.score(dreamt)))
            detail = dreamt - base
    return Dream(
        image=back(x + detail),
        before=back(x),
        layer=layer,
        scores=np.array(scores),
        sizes=tuple(sizes),
        steps=steps,
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


class _Ascent:
    """Steps that raise what a layer answers, tile by tile."""

    def __init__(
        self,
        net: nn.Module,
        layer: str,
        channels: Sequence[int] | None,
        tile: int | tuple[int, int] | None,
        jitter: int,
        generator: torch.Generator,
    ):
        self.net, self.layer, self.channels = net, layer, channels
        self.tile, self.jitter, self.generator = tile, jitter, generator
        self._answers: dict[tuple[int, ...], LayerOf] = {}

    def step(self, x: Tensor, rate: float) -> Tensor:
        """`x` [1, C, H, W] one step further."""
        shift = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=self.generator).tolist()
        moved = x.roll(shift, (2, 3))
        gradient = torch.zeros_like(moved)
        for rows, columns in self._parts(moved):
            piece = moved[:, :, rows, columns].detach().clone().requires_grad_()
            with torch.enable_grad():
                score = self._excitation(piece)
                if not score.requires_grad:
                    raise ValueError(f"layer {self.layer} does not depend on the picture: choose another one")
                with checkpoints_refused():
                    (slope,) = torch.autograd.grad(score, piece)
            gradient[:, :, rows, columns] = slope
        size = gradient.abs().mean()
        if not bool(torch.isfinite(size)):
            raise ValueError(
                "the gradient is NaN or infinite: lower the rate, or look at the weights of the network"
            )
        if size > 0:
            moved = moved + rate * gradient / size
        return moved.roll([-s for s in shift], (2, 3))

    def score(self, x: Tensor) -> float:
        with torch.no_grad():
            parts = self._parts(x)
            return sum(float(self._excitation(x[:, :, rows, columns])) for rows, columns in parts) / len(
                parts
            )

    def _excitation(self, x: Tensor) -> Tensor:
        size = tuple(x.shape[2:])
        if size not in self._answers:
            self._answers[size] = LayerOf(self.net, self.layer, x.detach())
        answered = self._answers[size](x)
        if self.channels is not None:
            answered = answered[:, check_channels(self.layer, answered.shape[1], list(self.channels))]
        return 0.5 * answered.square().mean()

    def _parts(self, x: Tensor) -> list[tuple[slice, slice]]:
        """Tiles of equal size that cover the picture; the last ones overlap where it is no multiple of them."""
        if self.tile is None:
            return [(slice(None), slice(None))]
        sides = (self.tile, self.tile) if isinstance(self.tile, int) else self.tile
        cuts = [_cuts(size, side) for size, side in zip(x.shape[2:], sides, strict=True)]
        return [(rows, columns) for rows in cuts[0] for columns in cuts[1]]


def _cuts(size: int, side: int) -> list[slice]:
    """Stretches of `side` that cover `size`.

    >>> _cuts(10, 4), _cuts(3, 4)
    ([slice(0, 4, None), slice(4, 8, None), slice(6, 10, None)], [slice(0, 3, None)])
    """
    if size <= side:
        return [slice(0, size)]
    starts = sorted({min(first, size - side) for first in range(0, size, side)})
    return [slice(first, first + side) for first in starts]


def _check(octaves: int, ratio: float, steps: int, rate: float, jitter: int, tile: int | None) -> None:
    whole = {"octaves": octaves, "steps": steps, **({} if tile is None else {"tile": tile})}
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1")
    if not ratio > 1 or not 0 < rate < math.inf or not jitter >= 0:
        raise ValueError(
            f"ratio is {ratio}, rate {rate}, jitter {jitter}; expected a ratio above 1, a positive rate and a jitter of at least 0"
        )


def _readable(
    net: nn.Module, layer: str, x: Tensor, sizes: list[Any], tile: int | None
) -> tuple[list[tuple[int, int]], int | tuple[int, int] | None, list[str]]:
    """The octaves that the network can read up to `layer`, the tile to read them by, and what was left out, in words."""
    if tile is None and max(x.shape[2:]) > LARGEST:
        tile = TILE
    sides = tuple(min(s, tile) if tile else s for s in x.shape[2:])
    try:
        LayerOf(net, layer, x[:, :, : sides[0], : sides[1]])
    except (RuntimeError, ValueError):
        fixed = _made_for(net)
        if fixed is None or fixed[0] > x.shape[2] or fixed[1] > x.shape[3] or fixed == sides:
            raise
        LayerOf(net, layer, x[:, :, : fixed[0], : fixed[1]])
        kept = [size for size in sizes if size[0] >= fixed[0] and size[1] >= fixed[1]]
        notes = [f"read in tiles of {fixed[0]} × {fixed[1]}, the only size that the network takes"]
        if len(kept) < len(sizes):
            notes.append(f"{len(sizes) - len(kept)} octaves were left out, which are smaller than that")
        return kept, fixed, notes
    kept = list(sizes)
    while len(kept) > 1 and not _can_read(net, layer, x, kept[0], tile):
        kept.pop(0)
    lost = len(sizes) - len(kept)
    notes = [f"{lost} octaves were left out, which are too small for the network"] if lost else []
    return kept, tile, notes


def _can_read(net: nn.Module, layer: str, x: Tensor, size: tuple[int, int], tile: int | None) -> bool:
    try:
        LayerOf(net, layer, _resized(x, tuple(min(s, tile) if tile else s for s in size)))
    except (RuntimeError, ValueError):
        return False
    return True


def _made_for(net: nn.Module) -> tuple[int, int] | None:
    """The size of pictures (H, W) that a network of ours was made for."""
    made = getattr(net, "made_by", None)
    inputs = () if made is None else made.arguments.get("inputs", ())
    return (
        (int(inputs[1]), int(inputs[2])) if isinstance(inputs, (list, tuple)) and len(inputs) == 3 else None
    )


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[2:]) == tuple(size):
        return x
    smaller = size[0] < x.shape[2]
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False, antialias=smaller)


def _entering(
    net: nn.Module, image: np.ndarray | Tensor, scaling: Scaling | None
) -> tuple[Tensor, Tensor | None, Tensor | None, Callable[[Tensor], np.ndarray]]:
    """The picture [1, C, H, W] as it enters the network, the least and greatest values of its pixels where they are known, and the way back."""
    wanted = _depth(net)
    given = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    if not isinstance(given, np.ndarray):
        raise TypeError(f"image must be an array or a tensor; received {type(image).__name__}")
    if given.dtype.kind == "f":
        if given.ndim != 3:
            raise ValueError(
                f"floating numbers must be [C, H, W], as they enter the network; received {list(given.shape)}"
            )
        _check_depth(wanted, given.shape[0])
        x = as_input(net, given[None])
        return x, None, None, lambda z: z[0].detach().cpu().numpy().astype(given.dtype)
    if (
        given.dtype != np.uint8
        or given.ndim not in (2, 3)
        or (given.ndim == 3 and given.shape[2] not in (1, 3))
    ):
        raise ValueError(
            f"image is {given.dtype} of shape {list(given.shape)}; expected bytes [H, W, 3] or [H, W], or floating numbers [C, H, W]"
        )
    planes = given[None] if given.ndim == 2 else np.moveaxis(given, 2, 0)
    _check_depth(wanted, len(planes))
    mean, std = _pixel_scale(net, planes, scaling)
    like = as_input(net, np.zeros((1, 1), np.float32))
    mean, std = (torch.tensor(v, dtype=like.dtype, device=like.device).view(1, -1, 1, 1) for v in (mean, std))
    x = as_input(net, (torch.from_numpy(planes.astype(np.float32))[None].to(like) - mean) / std)

    def back(z: Tensor) -> np.ndarray:
        pixels = (z * std + mean)[0].detach().cpu().double().round().clamp(0, 255).to(torch.uint8).numpy()
        return pixels[0] if given.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 0, 2))

    return x, (0 - mean) / std, (255 - mean) / std, back


def _depth(net: nn.Module) -> int | None:
    """How many channels the first layer with weights reads, where that is a convolution."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(getattr(module, "weight", None), Tensor):
            return None
    return None


def _check_depth(wanted: int | None, received: int) -> None:
    if wanted is not None and received != wanted:
        raise ValueError(
            f"the picture has {received} channels, and the network reads {wanted}: convert the picture first"
        )


def _pixel_scale(
    net: nn.Module, planes: np.ndarray, scaling: Scaling | None
) -> tuple[Sequence[float], Sequence[float]]:
    """What is subtracted of bytes, and by what they are divided, one a channel."""
    channels = len(planes)
    if scaling is not None:
        if scaling.dtype != "uint8" or len(scaling.mean) != channels:
            raise ValueError(
                f"the picture has {channels} channels of bytes, and the network was fitted to {len(scaling.mean)} channels of "
                f"{scaling.dtype}: give a picture of that kind, as floating numbers [C, H, W] where it is not bytes"
            )
        above = planes.mean(axis=(1, 2)) if scaling.background == "subtracted" else np.zeros(channels)
        return tuple(m + float(a) for m, a in zip(scaling.mean, above, strict=True)), scaling.std
    published = getattr(net, "published", None)
    if published is None or published.mean is None or published.std is None:
        raise ValueError(
            "it is not known how bytes are to be scaled for this network: pass scaling=run.scaling, or the picture as floating numbers "
            "[C, H, W] as they enter it"
        )
    if len(published.mean) != channels:
        raise ValueError(
            f"the picture has {channels} channels; the network was published for {len(published.mean)}: convert the picture"
        )
    return tuple(255.0 * m for m in published.mean), tuple(255.0 * s for s in published.std)
