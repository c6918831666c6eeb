"""Depthwise-separable convolution: filter every channel alone, then mix the channels at every position.

    y[o] = Σᵢ p[o, i] · (d[i] ⋆ x[i])

It is the full convolution whose kernels are products p[o, i]·d[i], with k²·C + C·O weights in place of k²·C·O:
for k = 3 and many channels about a ninth. (A filter "3×1 then 1×3", with which it is sometimes confused, is
separable in space and mixes channels twice.)

Sources: L. Sifre, "Rigid-Motion Scattering for Image Classification", thesis, École Polytechnique 2014; F. Chollet,
"Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017 (arXiv:1610.02357), section 1.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from hubel.layers.inverted_residual import SameConv2d


class SeparableConv2d(nn.Sequential):
    """A k×k filter a channel, then 1×1 over channels; no biases, nothing between them, padded to ⌈size/stride⌉.

    `names` are those of the two parts in the state dict, so that published weights fit.

    >>> import torch
    >>> layer = SeparableConv2d(8, 16, 3, stride=2)
    >>> layer(torch.zeros(1, 8, 9, 9)).shape, sum(p.numel() for p in layer.parameters()) == 9 * 8 + 8 * 16
    (torch.Size([1, 16, 5, 5]), True)
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        names: tuple[str, str] = ("depthwise", "pointwise"),
    ):
        depthwise = SameConv2d(in_channels, in_channels, kernel, stride, groups=in_channels, bias=False)
        pointwise = nn.Conv2d(in_channels, channels, 1, bias=False)
        super().__init__(OrderedDict(zip(names, (depthwise, pointwise), strict=True)))


def initialize(net: nn.Module) -> None:
    """He normal by fan-in (arXiv:1502.01852) for all convolutions of `net`; without the factor √2 of a relu for the
    second half of separable ones, which no relu precedes, so that sizes are kept.

    >>> import torch
    >>> _, layer = torch.manual_seed(0), SeparableConv2d(64, 64, 3)
    >>> initialize(layer)
    >>> x = torch.randn(8, 64, 12, 12).relu()
    >>> bool(0.5 < layer(x)[:, :, 1:-1, 1:-1].var() / x.square().mean() / 2 < 2)
    True
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    for layer in net.modules():
        if isinstance(layer, SeparableConv2d):
            pointwise = layer[1]
            assert isinstance(pointwise, nn.Conv2d)
            nn.init.kaiming_normal_(pointwise.weight, nonlinearity="linear")
