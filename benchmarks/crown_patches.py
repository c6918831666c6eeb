"""Real photographs with few examples: 64-pixel patches of aerial pictures, with a tree crown in the middle or without one.

The pictures are two of 10 cm a pixel over Yellowstone (National Ecological Observatory Network, 2019), with crowns drawn as boxes
by people: package data of `deepforest` (MIT licence; B. G. Weinstein et al. 2020, doi:10.1111/2041-210X.13472), which is looked for
where it is installed and never downloaded:

    pip install --no-deps deepforest

A "crown" patch is centred on a box. A "ground" patch has boxes over at most a tenth of its middle quarter; half of them have a crown in
view. One picture trains, the other one tests, so that no place is on both sides: a meadow with single trees (553 crowns that
lie whole inside), and a closed forest with a road (251).
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ground", "crown")
SIDE = 64
PICTURES = {
    "meadow": "2019_YELL_2_528000_4978000_image_crop2",
    "forest": "2019_YELL_2_541000_4977000_image_crop",
}
SYMMETRIES = ("flip_horizontal", "flip_vertical", "rotate_90")


@dataclass(frozen=True)
class Patches:
    """`inputs` [N, H, W, 3] uint8, `targets` [N] (1 for a crown), `places` [N, 2], the middles as (row, column) in the picture."""

    inputs: np.ndarray
    targets: np.ndarray
    places: np.ndarray

    def take(self, rows: np.ndarray) -> Patches:
        """Those of these rows."""
        return Patches(self.inputs[rows], self.targets[rows], self.places[rows])

    def rows_of_few(self, count: int, seed: int) -> np.ndarray:
        """Rows of `count` of each class, drawn by the seed."""
        rng = np.random.default_rng(seed)
        return np.concatenate([rng.permutation(np.flatnonzero(self.targets == k))[:count] for k in (0, 1)])


def patches(picture: str) -> Patches:
    """All crown patches of "meadow" or "forest", and as many of the ground.

    Raises `FileNotFoundError` where the package is not installed, or holds other data by now.
    """
    folder = folder_of_pictures()
    with Image.open(folder / f"{PICTURES[picture]}.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    boxes = crown_boxes((folder / f"{PICTURES[picture]}.xml").read_text("utf-8"))
    half = SIDE // 2
    height, width = pixels.shape[:2]
    middles = np.stack([(boxes[:, 1] + boxes[:, 3]) // 2, (boxes[:, 0] + boxes[:, 2]) // 2], axis=1)
    inside = ((middles >= half) & (middles <= np.array([height, width]) - half)).all(axis=1)
    crowns = middles[inside]
    places = np.concatenate([crowns, _ground(boxes, (height, width), len(crowns))])
    cut = [pixels[row - half : row + half, column - half : column + half] for row, column in places]
    return Patches(np.stack(cut), np.repeat([1, 0], len(crowns)), places)


def _ground(boxes: np.ndarray, size: tuple[int, int], count: int) -> np.ndarray:
    """Middles of ground patches, at least 20 pixels apart."""
    rng = np.random.default_rng(0)
    half, core = SIDE // 2, SIDE // 4
    covered = np.zeros(size, bool)
    for left, top, right, bottom in boxes:
        covered[top:bottom, left:right] = True
    found = np.empty((0, 2), np.int64)
    while len(found) < count:
        row, column = rng.integers(half, size[0] - half + 1), rng.integers(half, size[1] - half + 1)
        near = rng.random() < 0.5
        if covered[row - core : row + core, column - core : column + core].mean() > 0.1:
            continue
        if near and not covered[row - half : row + half, column - half : column + half].any():
            continue
        if len(found) and (np.square(found - [row, column]).sum(axis=1) < 400).any():
            continue
        found = np.concatenate([found, [[row, column]]])
    return found


def crown_boxes(text: str) -> np.ndarray:
    """Boxes [M, 4] of an annotation: left, top, right, bottom."""
    objects = re.findall(r"<object>.*?</object>", text, re.DOTALL)
    names = ("xmin", "ymin", "xmax", "ymax")
    return np.array([[int(re.search(rf"<{n}>(\d+)", o)[1]) for n in names] for o in objects])  # type: ignore[index]


def folder_of_pictures() -> Path:
    """Where the pictures are. The package itself, which needs much else, is not imported."""
    found = importlib.util.find_spec("deepforest")
    places = [Path(p) / "data" for p in (found.submodule_search_locations or [])] if found else []
    for folder in places:
        if all((folder / f"{name}.{end}").is_file() for name in PICTURES.values() for end in ("png", "xml")):
            return folder
    raise FileNotFoundError(
        "the aerial pictures are not here: pip install --no-deps deepforest (2.1.0 was used; its package data are read, nothing is imported)"
    )
