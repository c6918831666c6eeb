"""Simulated light echoes: differences of two exposures of the sky, in units of the noise, with the boxes of echoes and of residuals of stars.

When a star explodes, its light is seen again where dust scatters it: as a faint arc that moves outwards from year to year. In the difference of
an exposure and an older one it is a bright arc with a dark one inside of it, as broad as the light curve is long, and as patchy as the dust.
What is found first in such differences are stars that did not quite vanish: pairs of a bright and a dark spot, here a class of their own.

A field of 192 × 192 pixels is the sum of noise of deviation 1, seen through the atmosphere (FWHM `SEEING`), a faint gradient, one to four
echoes (or none) and three to ten stars, clipped at ± 10. An echo is

    dust(x, y) · [L(u / w) − L((u + d) / w)] · exp(−(v / l)⁴),  L(s) = (1 − exp(−s / 0.3)) · exp(−s) for s > 0,

u the distance from an arc of radius 100 to 500 pixels, v the way along it, w its breadth, d how far it moved, l half its length, and dust the
exponential of noise with the power f^−3. A box is the smallest that holds the pixels in which its object exceeds the noise.

The setting is that of AILE (19 fields with echoes to learn from, light echoes and stars as classes, differences clipped at ± 10), the
pictures are not: they follow from a seed, and their truth is complete. A field is a group. A part of the fields for validation and test has no
echo, so that false alarms can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from hubel.core.random import numpy_generator
from hubel.data.arrays import reading_of
from hubel.data.boxes import COLUMNS, packed
from hubel.data.dataset import Dataset

SIDE = 192
SEEING = 3.0  # full width at half maximum of a star, pixels
LIMIT = 10.0
CLASSES = ("echo", "star")
COUNTS = {"train": (19, 0), "validation": (6, 3), "test": (40, 20)}  # fields with echoes, and without
MOST_ECHOES = 4
STARS = (3, 10)
TRIES = 20
REACH, AROUND, BORDER = (
    56,
    16,
    12,
)  # pixels about an echo, a star, and beyond an edge, outside of which nothing of it is seen
LEAST_SIDE = 4  # pixels, of a box: what is smaller is not seen


def simulate_light_echoes(
    *, counts: Mapping[str, tuple[int, int]] | None = None, seed: int = 0, name: str = "light-echoes"
) -> Dataset:
    """Fields [N, 1, 192, 192] in float32 with the boxes [N, M, 6] of echoes and stars; of each part so many with and without echoes.

    >>> data = simulate_light_echoes(counts={"train": (2, 0), "test": (0, 1)})
    >>> data, bool((data.targets[2, :, 4] != 0).all())
    (Dataset('light-echoes': 3 examples of 1 × 192 × 192 float32, 2 classes of objects), True)
    """
    fields: list[np.ndarray] = []
    boxes: list[np.ndarray] = []
    parts: list[str] = []
    for part, (with_echoes, without) in (COUNTS if counts is None else counts).items():
        for number in range(with_echoes + without):
            generator = numpy_generator(seed, f"light-echoes/{part}", step=number)
            field, rows = _field(generator, number < with_echoes)
            fields.append(field)
            boxes.append(rows)
            parts.append(part)
    inputs = np.stack(fields)[:, None]
    ids = np.array([f"field {number:03d}" for number in range(len(fields))])
    about = {"classes": list(CLASSES), "tile": [SIDE, SIDE], "overlap": 0, "resized": False}
    return Dataset(
        inputs=inputs,
        targets=packed(boxes),
        classes=CLASSES,
        name=name,
        ids=ids,
        groups=ids,
        part=np.array(parts),
        channels=("difference",),
        reading={**reading_of(inputs, "NCHW"), "boxes": about},
    )


def _field(generator: np.random.Generator, has_echoes: bool) -> tuple[np.ndarray, np.ndarray]:
    noise = _blurred(generator.standard_normal((SIDE, SIDE)), SEEING / 2)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    gradient = generator.uniform(-0.5, 0.5) * x + generator.uniform(-0.5, 0.5) * y
    field = noise / noise.std() + gradient
    rows: list[np.ndarray] = []
    kinds = [0] * (int(generator.integers(1, MOST_ECHOES + 1)) if has_echoes else 0)
    kinds += [1] * int(generator.integers(STARS[0], STARS[1] + 1))
    for kind in kinds:
        for _ in range(TRIES):
            signal = (_echo if kind == 0 else _star)(generator)
            box = _box(signal)
            if box is not None and not any(_touch(box, row) for row in rows):
                field = field + signal
                rows.append(np.array([*box, kind, 0], np.float32))
                break
    return np.clip(field, -LIMIT, LIMIT).astype(np.float32), np.array(rows).reshape(-1, COLUMNS)


def _echo(generator: np.random.Generator) -> np.ndarray:
    radius, direction = np.exp(generator.uniform(np.log(100), np.log(500))), generator.uniform(0, 2 * np.pi)
    middle = generator.uniform(0.1 * SIDE, 0.9 * SIDE, 2)
    corner = np.rint(middle).astype(np.int64) - REACH
    y, x = np.mgrid[: 2 * REACH, : 2 * REACH].astype(np.float64) + (corner - middle)[:, None, None]
    from_y, from_x = y + radius * np.sin(direction), x + radius * np.cos(direction)
    across = np.hypot(from_y, from_x) - radius
    along = radius * np.angle(np.exp(1j * (np.arctan2(from_y, from_x) - direction)))
    breadth, moved, half = generator.uniform(3, 8), generator.uniform(8, 20), generator.uniform(8, 28)
    frequency = np.maximum(_frequency(2 * REACH), 1 / SIDE)
    dust = np.fft.rfft2(generator.standard_normal(y.shape)) * frequency**-1.5
    dust = np.fft.irfft2(dust, s=y.shape)
    dust = np.exp(0.6 * dust / dust.std())
    light = _light_curve(across / breadth) - _light_curve((across + moved) / breadth)
    near = _blurred(dust * light * np.exp(-((along / half) ** 4)), SEEING)
    signal = np.zeros((SIDE, SIDE))
    low, high = np.maximum(corner, 0), np.minimum(corner + 2 * REACH, SIDE)
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    signal[inside] = near[tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))]
    return signal * (generator.uniform(2.5, 8) / np.abs(near).max())


def _light_curve(s: np.ndarray) -> np.ndarray:
    late = np.maximum(s, 0)
    return (1 - np.exp(-late / 0.3)) * np.exp(-late)


def _star(generator: np.random.Generator) -> np.ndarray:
    """The difference of two images of a star that lie a little apart, and are not quite equally bright."""
    middle = generator.uniform(4, SIDE - 4, 2)
    apart = generator.uniform(0.3, 1.5) * np.exp(1j * generator.uniform(0, 2 * np.pi))
    corner = np.clip(middle.astype(np.int64) - AROUND, 0, SIDE)
    window = tuple(slice(first, min(first + 2 * AROUND, SIDE)) for first in corner.tolist())
    y, x = np.mgrid[window].astype(np.float64)
    width = SEEING / np.sqrt(8 * np.log(2))

    def spot(dx: float, dy: float) -> np.ndarray:
        return np.exp(-((x - middle[1] - dx) ** 2 + (y - middle[0] - dy) ** 2) / (2 * width**2))

    near = spot(apart.real / 2, apart.imag / 2)
    near -= generator.uniform(0.8, 1.2) * spot(-apart.real / 2, -apart.imag / 2)
    signal = np.zeros((SIDE, SIDE))
    signal[window] = near * (np.exp(generator.uniform(np.log(4), np.log(40))) / np.abs(near).max())
    return signal


@cache
def _frequency(side: int) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])


def _blurred(values: np.ndarray, width: float) -> np.ndarray:
    """`values` [n, n] seen with a Gaussian of this full width at half maximum."""
    deviation = width / np.sqrt(8 * np.log(2))
    padded = np.pad(values, BORDER, mode="reflect")
    seen = np.fft.rfft2(padded) * np.exp(-2 * (np.pi * deviation * _frequency(len(padded))) ** 2)
    return np.fft.irfft2(seen, s=padded.shape)[BORDER:-BORDER, BORDER:-BORDER]


def _box(signal: np.ndarray) -> tuple[int, int, int, int] | None:
    """The smallest box that holds what exceeds the noise; None where that is too little to be seen."""
    there = np.abs(signal) > 1
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    if min(len(rows), len(columns)) < LEAST_SIDE:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _touch(box: tuple[int, int, int, int], row: np.ndarray) -> bool:
    return bool(box[0] < row[2] and box[2] > row[0] and box[1] < row[3] and box[3] > row[1])
