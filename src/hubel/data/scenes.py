"""Scenes: pictures of 128 × 128 pixels composed from pieces of Fashion-MNIST on a texture, with the exact box of every piece.

A scene has one to six pieces. Each is turned by up to 15 degrees, brought to a longest side of 20 to 48 pixels (uniform in the logarithm),
and laid over a texture and over the pieces before it, where its box overlaps none of theirs by more than `MOST_OVERLAP` (intersection over
union). Its box is the smallest that holds all its pixels above `DARKEST`, also those that later pieces cover; where these are more than half
of them, its row says that it is ignored. No piece occurs twice, and those of the test scenes are from Fashion-MNIST's test part.

There are two families of textures of the same brightness and contrast: "grain", noise whose power falls with the frequency, as of clouds or
sand, and "weave", two gratings crossed, as of cloth or tiles. What is learnt of the pieces holds on both; what is learnt of the texture does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from hubel.core.random import numpy_generator
from hubel.data.arrays import reading_of
from hubel.data.boxes import COLUMNS, packed
from hubel.data.dataset import Dataset

Texture = Literal["grain", "weave"]
SIDE = 128
COUNTS = {"train": 1_600, "validation": 200, "test": 200}
MOST_PIECES = 6
LONGEST_SIDES = (20.0, 48.0)
MOST_TURN = 15.0  # degrees
MOST_OVERLAP = 0.15
DARKEST = 16  # of 255: below, a pixel is texture
OPAQUE = 32  # from here on nothing shines through
TRIES = 40
BRIGHTNESS = (20.0, 90.0)
CONTRAST = (8.0, 24.0)  # standard deviation of a texture


def compose_scenes(
    pieces: Dataset,
    *,
    texture: Texture = "grain",
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
    name: str = "scenes",
) -> Dataset:
    """So many scenes of each part (`counts`, 2,000 in all unless said) from `pieces` with the parts train and test, as grey bytes
    [N, 1, 128, 128] and boxes [N, M, 6].

    The pieces, their sizes and places follow from `seed` alone: both families of textures show the same.

    Raises `ValueError` where there are not six pieces for every scene.

    >>> marks = np.zeros((12, 1, 28, 28), np.uint8)
    >>> marks[:, :, 4:24, 9:19] = 200
    >>> pieces = Dataset(inputs=marks, targets=np.arange(12) % 2, classes=("a", "b"), part=np.array(["train", "test"] * 6))
    >>> scenes = compose_scenes(pieces, counts={"train": 1, "test": 1})
    >>> scenes, scenes.targets.shape[2]
    (Dataset('scenes': 2 examples of 1 × 128 × 128 uint8, 2 classes of objects), 6)
    """
    counts = COUNTS if counts is None else counts
    assert pieces.part is not None and pieces.classes is not None
    inputs = np.empty((sum(counts.values()), 1, SIDE, SIDE), np.uint8)
    boxes: list[np.ndarray] = []
    rows = {of: np.flatnonzero(pieces.part == of) for of in ("train", "test")}
    order = {of: numpy_generator(seed, f"scenes/{of}").permutation(found) for of, found in rows.items()}
    used = {"train": 0, "test": 0}
    places = [(part, k) for part, count in counts.items() for k in range(count)]
    for number, (part, k) in enumerate(places):
        of = "test" if part == "test" else "train"
        chosen = order[of][used[of] : used[of] + MOST_PIECES]
        used[of] += MOST_PIECES
        if len(chosen) < MOST_PIECES:
            raise ValueError(
                f"{len(rows[of]):,} pieces are in the {of} part; expected {MOST_PIECES} for each of its scenes"
            )
        generator = numpy_generator(seed, f"scenes/{part}/{texture}", step=k)
        scene = TEXTURES[texture](generator)
        generator = numpy_generator(seed, f"scenes/{part}/pieces", step=k)
        chosen = chosen[: generator.integers(1, MOST_PIECES + 1)]
        boxes.append(_lay_out(scene, pieces.inputs[chosen, 0], pieces.targets[chosen], generator))
        inputs[number, 0] = np.clip(np.rint(scene), 0, 255)
    about = {"classes": list(pieces.classes), "tile": [SIDE, SIDE], "overlap": 0, "resized": False}
    return Dataset(
        inputs=inputs,
        targets=packed(boxes),
        classes=pieces.classes,
        name=name,
        ids=np.array([f"{part} {k}" for part, k in places]),
        groups=np.arange(len(places)),
        part=np.array([part for part, _ in places]),
        reading={**reading_of(inputs, "NCHW"), "boxes": about},
    )


def _grain(generator: np.random.Generator) -> np.ndarray:
    """Noise with the power f^-s of the frequency f, s from 1 to 3."""
    slope = generator.uniform(1.0, 3.0)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.rfft2(generator.standard_normal((SIDE, SIDE))) * frequency ** (-slope / 2)
    return _levelled(np.fft.irfft2(noise, s=(SIDE, SIDE)), generator)


def _weave(generator: np.random.Generator) -> np.ndarray:
    """Two gratings with wavelengths of 5 to 20 pixels, across one another, the sharper the larger an exponent."""
    angle = generator.uniform(0, np.pi)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    wave = np.zeros((SIDE, SIDE))
    for turned in (angle, angle + np.pi / 2):
        length, phase = generator.uniform(5, 20), generator.uniform(0, 2 * np.pi)
        wave += np.tanh(
            generator.uniform(1, 4)
            * np.sin(2 * np.pi / length * (x * np.cos(turned) + y * np.sin(turned)) + phase)
        )
    return _levelled(wave, generator)


TEXTURES = {"grain": _grain, "weave": _weave}


def _levelled(pattern: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    pattern = (pattern - pattern.mean()) / pattern.std()
    texture = generator.uniform(*BRIGHTNESS) + generator.uniform(*CONTRAST) * pattern
    return np.clip(texture, 0, 255)


def _lay_out(
    scene: np.ndarray, pieces: np.ndarray, classes: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Paint the `pieces` [n, 28, 28] into the scene; their rows [m, 6] of those that found room."""
    found: list[np.ndarray] = []
    owner = np.full(scene.shape, -1)
    pixels: list[int] = []
    for piece, number in zip(pieces, classes, strict=True):
        patch = _resized(piece.astype(np.float64), generator)
        there = patch > DARKEST
        rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
        if not len(rows):
            continue
        patch = patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        corner = _free_place(patch.shape, found, generator)
        if corner is None:
            continue
        y, x = corner
        inside = slice(y, y + patch.shape[0]), slice(x, x + patch.shape[1])
        opacity = np.clip(patch / OPAQUE, 0, 1)
        scene[inside] = (1 - opacity) * scene[inside] + opacity * patch
        owner[inside][patch > DARKEST] = len(found)
        pixels.append(int((patch > DARKEST).sum()))
        found.append(np.array([x, y, x + patch.shape[1], y + patch.shape[0], number, 0], np.float32))
    for k, row in enumerate(found):
        row[5] = (owner == k).sum() < 0.5 * pixels[k]
    return np.array(found, np.float32).reshape(-1, COLUMNS)


def _resized(piece: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`piece` turned and scaled about its middle, bilinear, on as many pixels as it may need."""
    rows, columns = (np.flatnonzero((piece > DARKEST).any(axis)) for axis in (1, 0))
    longest = max(np.ptp(rows), np.ptp(columns)) + 1 if len(rows) else len(piece)
    low, high = np.log(LONGEST_SIDES)
    scale = np.exp(generator.uniform(low, high)) / longest
    angle = np.deg2rad(generator.uniform(-MOST_TURN, MOST_TURN))
    side = int(np.ceil(len(piece) * scale * 1.3)) + 2
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / scale
    middle = (len(piece) - 1) / 2
    return _bilinear(
        np.pad(piece, 1),
        np.cos(angle) * y - np.sin(angle) * x + middle + 1,
        np.sin(angle) * y + np.cos(angle) * x + middle + 1,
    )


def _bilinear(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`values` [H, W] at places between its pixels; those of its border beyond."""
    y, x = (np.clip(place, 0, size - 1.001) for place, size in zip((y, x), values.shape, strict=True))
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, right = y - top, x - left
    upper = (1 - right) * values[top, left] + right * values[top, left + 1]
    lower = (1 - right) * values[top + 1, left] + right * values[top + 1, left + 1]
    return (1 - down) * upper + down * lower


def _free_place(
    size: tuple[int, ...], found: list[np.ndarray], generator: np.random.Generator
) -> tuple[int, int] | None:
    """The upper left corner for a box of this size (rows, columns) that overlaps the others little; None after `TRIES`."""
    height, width = size
    for _ in range(TRIES):
        y = int(generator.integers(0, SIDE - height + 1))
        x = int(generator.integers(0, SIDE - width + 1))
        if all(_overlap((x, y, x + width, y + height), row) <= MOST_OVERLAP for row in found):
            return y, x
    return None


def _overlap(one: tuple[float, ...], two: np.ndarray) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    both = max(0.0, width) * max(0.0, height)
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1])
    return both / (areas - both)
