"""`top_classes`: what a network with published weights sees on photographs, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.errors import UnreadableData
from hubel.data.images import RGB, decode
from hubel.nets.made import Published


def top_classes(
    net: nn.Module, pictures: Sequence[Any], *, k: int = 5, batch_size: int = 32
) -> list[list[tuple[str, float]]]:
    """For every picture the `k` most probable classes with their probabilities, most probable first.

    `net` has published weights (`weights=` of its function). `pictures` are files, or RGB bytes [H, W, 3] of any size; each is cut,
    resized and scaled as `net.published` says.

    Raises `ValueError` where the network has no published weights or its classes have no names, and for pictures that are not RGB bytes.
    """
    published: Published | None = getattr(net, "published", None)
    if published is None or published.classes is None:
        raise ValueError(
            "the network has no published weights with names of classes: make it with weights=..., and with as many outputs as these have"
        )
    if isinstance(pictures, (str, os.PathLike)):
        pictures = [pictures]
    where = next(net.parameters()).device
    was_training, answers = net.training, []
    net.eval()
    try:
        for start in range(0, len(pictures), batch_size):
            x = torch.stack([published_input(p, published) for p in pictures[start : start + batch_size]])
            with torch.no_grad():
                probabilities = net(x.to(where)).float().softmax(dim=1).cpu()
            best = probabilities.topk(min(k, probabilities.shape[1]))
            answers += [
                [(published.classes[n], float(p)) for n, p in zip(numbers, values, strict=True)]
                for values, numbers in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            ]
    finally:
        net.train(was_training)
    return answers


def published_input(picture: Any, published: Published) -> Tensor:
    """A picture (a file, or RGB bytes [H, W, 3]) as it enters a network with published weights: [3, H, W], float32.

    The central `crop` of the shorter side, resized to `size` (bicubic), scaled to 0–1, less `mean`, over `std`.

    >>> from hubel.nets.made import Published
    >>> grey = Published(title="", file="", size=(4, 4), crop=1.0, mean=(0.5,) * 3, std=(0.5,) * 3)
    >>> published_input(np.full((8, 6, 3), 255, np.uint8), grey).unique().tolist()
    [1.0]
    """
    from PIL import Image

    if published.size is None or published.mean is None or published.std is None:
        raise ValueError(
            f"{published.title}: it is not known how pictures are to be scaled for these weights"
        )
    if isinstance(picture, (str, os.PathLike)):
        pixels, channels = decode(Path(picture))
        if channels != RGB or pixels.dtype != np.uint8:
            raise UnreadableData(
                f"{picture} has {'+'.join(channels)} of {pixels.dtype}; expected an 8-bit RGB picture"
            )
        pixels = np.moveaxis(pixels, 0, 2)
    else:
        pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(
            f"received a picture {list(pixels.shape)} of {pixels.dtype}; expected RGB bytes [H, W, 3], uint8"
        )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    height, width = published.size
    side = round((published.crop or 1.0) * min(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((width, height), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (published.mean, published.std))
    return (x - mean) / std
