"""Large photographs with boxes: aerial pictures of 10 cm a pixel, with the crowns of trees drawn as boxes by people (National Ecological
Observatory Network). Where they come from, and what is needed: crown_patches.py.

Written are folders of Pascal VOC, as a user has them: "meadow", a place of Yellowstone with single trees cut into 12 pictures, and
one picture each of three other places: "forest", a closed forest of Yellowstone with a road; "florida"; "california".
A crown that a cut parts belongs to both pictures; where less than 40 % of it is seen it is called difficult, which means that it does not count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from crown_patches import PICTURES, crown_boxes, folder_of_pictures
from PIL import Image

from hubel.data import write_boxes
from hubel.data.boxes import LEAST_SEEN

BLOCKS = (4, 3)  # of the meadow, down and across
PLACES = {**PICTURES, "florida": "OSBS_029", "california": "SOAP_061"}
Window = tuple[int, int, int, int]


def write_crowns(root: Path) -> dict[str, Path]:
    """The folders of the four places in `root`, by their names.

    Raises `FileNotFoundError` where the package is not installed.
    """
    folders = {place: root / place for place in PLACES}
    for place, folder in folders.items():
        pixels, boxes = _opened(place)
        down, across = BLOCKS if place == "meadow" else (1, 1)
        rows, columns = (
            np.linspace(0, side, parts + 1).round().astype(int).tolist()
            for side, parts in zip(pixels.shape[:2], (down, across), strict=True)
        )
        for k in range(down):
            for j in range(across):
                name = f"{place}_{k}{j}" if down * across > 1 else place
                window = (columns[j], rows[k], columns[j + 1], rows[k + 1])
                _write(folder, name, pixels, boxes, window)
    return folders


def _opened(place: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels [H, W, 3] and the boxes [M, 4], as edges in pixels, of a place."""
    file = folder_of_pictures() / f"{PLACES[place]}.png"
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    boxes = crown_boxes(file.with_suffix(".xml").read_text("utf-8")).astype(np.float64)
    boxes[:, :2] -= 1  # VOC counts pixels from 1
    return pixels, boxes


def _write(folder: Path, name: str, pixels: np.ndarray, boxes: np.ndarray, window: Window) -> None:
    """What lies in the `window` (x0, y0, x1, y1) of a picture, with its boxes."""
    low, high = np.array(window[:2] * 2), np.array(window[2:] * 2)
    seen = np.clip(boxes, low, high) - low
    shares = (seen[:, 2:] - seen[:, :2]).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = shares > 0
    found = {
        "boxes": seen[kept],
        "labels": np.zeros(int(kept.sum()), np.int64),
        "ignore": shares[kept] < LEAST_SEEN,
    }
    cut = pixels[window[1] : window[3], window[0] : window[2]]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(cut).save(folder / f"{name}.png")
    write_boxes(folder, [found], names=[f"{name}.png"], sizes=[cut.shape[:2]], classes=["Tree"], format="voc")
