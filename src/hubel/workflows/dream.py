"""`dream_file`: a photograph that shows more and more of what a layer looks for, written as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hubel import explain
from hubel.core import files
from hubel.core.errors import UnreadableData
from hubel.data.images import RGB, decode
from hubel.data.preprocessing import Scaling
from hubel.fitting import Run
from hubel.nets.made import Published
from hubel.workflows.display import Display
from hubel.workflows.layers import layer_of


def dream_file(
    known: Run | nn.Module,
    path: Path | str,
    layer: str,
    *,
    out: Path | str,
    channels: tuple[int, ...] | None = None,
    octaves: int = 4,
    steps: int = 10,
    rate: float = 0.03,
    most_pixels: int = 512,
    seed: int = 0,
    quiet: bool = True,
) -> Path:
    """Dream on a picture with `layer` of a run or of a network with published weights; the picture at `out` (.png), at most `most_pixels` a side.

    Raises `FileNotFoundError`, `UnreadableData` for a file that is no 8-bit picture, `ValueError` for a layer that does not exist, or a
    network that is not for pictures.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist")
    files.refuse_unwritable(Path(out).parent)
    net, scaling, colours = _network(known)
    layer = layer_of(known, layer)
    picture, stored = _picture(Path(path), colours, most_pixels)
    height, width = picture.shape[:2]
    with Display(quiet=quiet) as display:
        if (height, width) != stored:
            display.say(
                f"{path} is made smaller, from {stored[0]} × {stored[1]} to {height} × {width} pixels: --size {max(stored)} keeps it as it is"
            )
        display.say(f"dreaming of {layer} on {height} × {width} pixels, {octaves} octaves of {steps} steps")
        found = explain.dream(
            net,
            picture,
            layer,
            channels=channels,
            octaves=octaves,
            steps=steps,
            rate=rate,
            scaling=scaling,
            seed=seed,
            progress=display.counting("steps"),
        )
    write_picture(found.image, Path(out))
    return Path(out)


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Bytes [H, W] or [H, W, 3] as a PNG, whole or not at all."""
    from PIL import Image

    with files.replacing(path) as file:
        Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG")


def _network(known: Run | nn.Module) -> tuple[nn.Module, Any, int]:
    """The network, how bytes enter it, and its number of channels."""
    if isinstance(known, Run):
        scaling = known.scaling
        if known.reading["kind"] not in ("images", "arrays") or len(scaling.shape) != 3:
            raise ValueError(f"{known.folder} was not fitted to pictures: there is nothing to dream on")
        if scaling.dtype != "uint8" or scaling.shape[0] not in (1, 3):
            raise ValueError(
                f"{known.folder} was fitted to pictures of {scaling.shape[0]} channels of {scaling.dtype}; dreams are made of 8-bit grey or "
                "RGB pictures: use hubel.explain.dream in Python"
            )
        return known.net, scaling, int(scaling.shape[0])
    published: Published | None = getattr(known, "published", None)
    if published is None or published.mean is None or published.std is None or published.size is None:
        raise ValueError("this network has no published weights that say how pictures enter it")
    mean, std = (tuple(255.0 * v for v in values) for values in (published.mean, published.std))
    shape = (len(mean), *published.size)
    return (
        known.eval(),
        Scaling(mean=mean, std=std, dtype="uint8", shape=shape, source="published"),
        len(mean),
    )


def _picture(path: Path, colours: int, most: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The picture as bytes [H, W, 3], or [H, W] for a network of grey pictures, made smaller where a side is longer than `most`; and the
    height and width that it had.
    """
    from PIL import Image

    pixels, channels = decode(path)
    if pixels.dtype != np.uint8 or len(channels) not in (1, 3) or (len(channels) == 3 and channels != RGB):
        raise UnreadableData(
            f"{path} has {'+'.join(channels)} of {pixels.dtype}; expected an 8-bit grey or RGB picture"
        )
    image = Image.fromarray(np.moveaxis(pixels, 0, 2).squeeze())
    image = image.convert("L" if colours == 1 else "RGB")
    longest = max(image.size)
    if longest > most:
        scale = most / longest
        image = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
            Image.Resampling.LANCZOS,
        )
    return np.array(image), (pixels.shape[1], pixels.shape[2])
