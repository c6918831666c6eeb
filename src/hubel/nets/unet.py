"""U-Net: a class for every pixel, from what was seen at every scale.

    down    twice (3×3, norm, relu), then a 2×2 max-pooling: `levels` times, each with twice the channels
    up      a transposed 2×2 convolution doubles the sides; beside it stands what the way down had at this size; twice (3×3, norm, relu)
    scores  1×1

Where we differ from the paper: convolutions are padded, so that the scores have the size of the picture (there 388 of 572 pixels);
sides that are no multiples of 2^levels are filled up with the outermost pixels, and the scores are cut to size; batch norm (later than
the paper) unless `batch_norm` is False. Initial weights He normal by fan-in, as there, in the last
layer too. (Measured on drawn discs and squares, five seeds of 150 steps: with a last layer that began near zero, a class of middle grey was lost in
two fits, since its pixels left no feature above zero; so in none.)

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015
(arXiv:1505.04597), figure 1. That network, width 64 without norm, has 31,030,658 parameters at one channel and two outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.nets.enet import filled_up
from hubel.nets.made import Net, check_images, image_shape, made, num_outputs


def unet(
    width: int = 16,
    *,
    levels: int = 4,
    batch_norm: bool = True,
    inputs: Sequence[int] = (1, 64, 64),
    outputs: int = 2,
) -> UNet:
    """A U-Net that begins with `width` channels. Input [N, C, H, W], output raw scores [N, outputs, H, W]; other sizes are accepted.

    >>> net = unet(8, levels=2, inputs=(1, 20, 30), outputs=3).eval()
    >>> net(torch.zeros(1, 1, 20, 30)).shape
    torch.Size([1, 3, 20, 30])

    Raises `ValueError` for sizes that are not positive, and for pictures smaller than 2^levels pixels.
    """
    if min(int(width), int(levels)) < 1:
        raise ValueError(f"unet: width and levels must be positive; received width={width}, levels={levels}")
    shape = image_shape(inputs, smallest=2 ** int(levels), net="unet")
    net = UNet(int(width), int(levels), shape, num_outputs(outputs, "unet"), batch_norm=bool(batch_norm))
    given = {"width": int(width), "levels": int(levels), "batch_norm": bool(batch_norm)}
    return made(net, "unet", inputs=shape, outputs=int(outputs), **given)


class UNet(Net):
    """See `unet`."""

    def __init__(
        self, width: int, levels: int, inputs: tuple[int, int, int], outputs: int, *, batch_norm: bool
    ):
        super().__init__()
        self.inputs, self.levels = inputs, levels
        widths = [width * 2**level for level in range(levels + 1)]
        befores = [inputs[0], *widths[:-1]]
        self.down = nn.ModuleList(
            Twice(before, after, batch_norm=batch_norm) for before, after in zip(befores, widths, strict=True)
        )
        rising = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(below, here, 2, 2) for below, here in rising)
        self.up = nn.ModuleList(Twice(below, here, batch_norm=batch_norm) for below, here in rising)
        self.head = nn.Conv2d(width, outputs, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def maps(self, x: Tensor) -> Tensor:
        """What the last layer reads: [N, width, H, W], of sides filled up to multiples of 2^levels."""
        check_images(x, self.inputs, "unet", smallest=2**self.levels)
        x = filled_up(x, 2**self.levels)
        kept = []
        for level, twice in enumerate(self.down):
            x = twice(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for enlarge, twice, beside in zip(self.enlarge, self.up, kept[-2::-1], strict=True):
            x = twice(torch.cat([beside, enlarge(x)], dim=1))
        return x

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads, averaged over positions: [N, width]."""
        return self.maps(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K, H, W]."""
        height, width = x.shape[2:] if x.ndim == 4 else self.inputs[1:]
        return self.head(self.maps(x))[:, :, :height, :width]


class Twice(nn.Module):
    """3×3 convolution, norm, relu, twice: [N, C, H, W] → [N, channels, H, W]."""

    def __init__(self, in_channels: int, channels: int, *, batch_norm: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=not batch_norm)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm)
        self.norm1, self.norm2 = (nn.BatchNorm2d(channels) if batch_norm else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Both convolutions."""
        x = relu(self.norm1(self.conv1(x)), training=self.training)
        return relu(self.norm2(self.conv2(x)), training=self.training)
