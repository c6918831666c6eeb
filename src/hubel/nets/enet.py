"""ENet: a class for every pixel, with few parameters and few operations.

    initial block → 64 maps at 1/4 of the sides (five bottlenecks) → 128 maps at 1/8 (seventeen) → 64 at 1/4 (three) → 16 at 1/2 (two) → scores

A bottleneck adds to its input what a 1×1, a 3×3 (also dilated, or 5×1 and 1×5) and again a 1×1 convolution make of it, at a quarter of
the width (figure 2, table 1). Where it reduces, its input is max-pooled; where it enlarges, the pooling is undone with the places of the
maxima, so that borders come back where they were.

Details are those of the authors' code: convolutions of the middle have biases, the others none; PReLU in the encoder, ReLU in the decoder;
whole maps are dropped, 1 % up to the first reduction to 1/8, then 10 %. Where we differ: sides that are no multiples of 8 are filled
up at the far edges with the outermost pixels, and the scores are cut to size. Initial weights He normal by fan-in.

Source: A. Paszke, A. Chaurasia, S. Kim, E. Culurciello, "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation"
(2016, arXiv:1606.02147). Parameters at 20 outputs: 364,376; with the running means and variances of the norms 372,728 numbers are
stored (the paper says 0.37 million).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.nets.made import Net, check_images, image_shape, made, num_outputs

INITIAL = 13  # filters beside the pooled input
SECTION = (
    (1, 0),
    (2, 0),
    (1, 5),
    (4, 0),
    (1, 0),
    (8, 0),
    (1, 5),
    (16, 0),
)  # dilation, side of asymmetric filters


def enet(inputs: Sequence[int] = (3, 512, 512), outputs: int = 20) -> ENet:
    """ENet. Input [N, C, H, W], output raw scores [N, outputs, H, W]; other sizes from 8×8 on are accepted.

    >>> net = enet(inputs=(3, 32, 48), outputs=5).eval()
    >>> net(torch.zeros(1, 3, 32, 48)).shape, sum(p.numel() for p in enet().parameters())
    (torch.Size([1, 5, 32, 48]), 364376)

    Raises `ValueError` for pictures smaller than 8×8 pixels.
    """
    shape = image_shape(inputs, smallest=8, net="enet")
    net = ENet(shape, num_outputs(outputs, "enet"))
    return made(net, "enet", inputs=shape, outputs=int(outputs))


class ENet(Net):
    """See `enet`; stages are numbered as in table 1."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        first = INITIAL + inputs[0]
        self.initial = Initial(inputs[0])
        self.reduce1 = Bottleneck(first, 64, reduces=True, dropout=0.01)
        self.stage1 = nn.Sequential(*(Bottleneck(64, 64, dropout=0.01) for _ in range(4)))
        self.reduce2 = Bottleneck(64, 128, reduces=True, dropout=0.1)
        self.stage2 = nn.Sequential(*_section(), *_section())
        self.enlarge4 = Enlarging(128, 64)
        self.stage4 = nn.Sequential(*(Bottleneck(64, 64, decodes=True, dropout=0.1) for _ in range(2)))
        self.enlarge5 = Enlarging(64, 16)
        self.stage5 = Bottleneck(16, 16, decodes=True, dropout=0.1)
        self.head = nn.ConvTranspose2d(16, outputs, 2, 2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.1)

    def maps(self, x: Tensor) -> Tensor:
        """What the last layer reads: [N, 16, H/2, W/2], of sides filled up to multiples of 8."""
        check_images(x, self.inputs, "enet", smallest=8)
        x = self.initial(filled_up(x, 8))
        x, first = self.reduce1.reduced(x)
        x, second = self.reduce2.reduced(self.stage1(x))
        x = self.enlarge4(self.stage2(x), second)
        x = self.enlarge5(self.stage4(x), first)
        return self.stage5(x)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer reads, averaged over positions: [N, 16]."""
        return self.maps(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K, H, W]."""
        height, width = x.shape[2:] if x.ndim == 4 else self.inputs[1:]
        return self.head(self.maps(x))[:, :, :height, :width]


class Initial(nn.Module):
    """Filters of stride 2 beside the pooled input: [N, C, H, W] → [N, 13 + C, H/2, W/2] (figure 2a)."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, INITIAL, 3, 2, 1)
        self.norm = nn.BatchNorm2d(INITIAL + in_channels)
        self.act = nn.PReLU(INITIAL + in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """The concatenation, normed and rectified."""
        return self.act(self.norm(torch.cat([self.conv(x), F.max_pool2d(x, 2)], dim=1)))


class Bottleneck(nn.Module):
    """x + F(x) with F of three convolutions (figure 2b); `reduces` halves the sides, `decodes` rectifies with ReLU in place of PReLU."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        dropout: float,
        reduces: bool = False,
        decodes: bool = False,
        dilation: int = 1,
        asymmetric: int = 0,
    ):
        super().__init__()
        inner, side = channels // 4, 2 if reduces else 1

        def act(width: int) -> nn.Module:
            return nn.ReLU() if decodes else nn.PReLU(width)

        if asymmetric:
            along, pad = asymmetric, asymmetric // 2
            middle: list[nn.Module] = [
                nn.Conv2d(inner, inner, (along, 1), padding=(pad, 0), bias=False),
                nn.Conv2d(inner, inner, (1, along), padding=(0, pad)),
            ]
        else:
            middle = [nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation)]
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, inner, side, side, bias=False),
            nn.BatchNorm2d(inner),
            act(inner),
            *middle,
            nn.BatchNorm2d(inner),
            act(inner),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.Dropout2d(dropout),
        )
        self.act = act(channels)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return self.act(x + self.branch(x))

    def reduced(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Half the sides, more channels (the new ones of the shortcut are zero); and where the maxima stood [N, C, H/2, W/2]."""
        pooled, places = F.max_pool2d(x, 2, return_indices=True)
        out = self.branch(x)
        padding = (0, 0, 0, 0, 0, out.shape[1] - pooled.shape[1])
        return self.act(F.pad(pooled, padding) + out), places


class Enlarging(nn.Module):
    """A bottleneck that doubles the sides: its input is unpooled, its 3×3 convolution transposed."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        inner = channels // 4
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.ConvTranspose2d(inner, inner, 3, 2, 1, 1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.Dropout2d(0.1),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """[N, C, H, W] and the places [N, channels or fewer, H, W] of the maxima → [N, channels, 2H, 2W]."""
        shortcut = self.shortcut(x)
        num = min(places.shape[1], shortcut.shape[1])
        unpooled = F.max_unpool2d(shortcut[:, :num].contiguous(), places[:, :num].contiguous(), (2, 2))
        unpooled = F.pad(unpooled, (0, 0, 0, 0, 0, shortcut.shape[1] - num))
        return F.relu(self.branch(x) + unpooled)


def filled_up(x: Tensor, multiple: int) -> Tensor:
    """`x` [N, C, H, W] with sides that are multiples of `multiple`: the last rows and columns are repeated.

    >>> filled_up(torch.zeros(1, 2, 7, 9), 4).shape
    torch.Size([1, 2, 8, 12])
    """
    missing = [-side % multiple for side in x.shape[2:]]
    return F.pad(x, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else x


def _section() -> list[nn.Module]:
    """The eight bottlenecks of stages 2 and 3."""
    return [
        Bottleneck(128, 128, dropout=0.1, dilation=dilation, asymmetric=asymmetric)
        for dilation, asymmetric in SECTION
    ]
