"""Inception v3: inception modules whose large filters are factored into small ones, and into rows and columns.

    five 3×3 and 1×1 convolutions, two poolings → 35×35: three modules with 5×5 and double 3×3
      → 17×17: four modules with 7×7 as 1×7 and 7×1 → 8×8: two modules with 3×3 as 1×3 beside 3×1 → average → linear

(positions at 299×299). One auxiliary head, on the 17×17 maps, is for training only.

Initial weights: convolutions He normal by fan-out, batch norm 1 and 0, linear layers torch's default. Dropout 0.5 before the last
layer, as in torchvision. Where we differ from the paper's figure 5, so that published weights fit: the authors' released network, which
torchvision's names and weights follow, has 5×5 filters beside the double 3×3 in the 35×35 modules.

Source: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception Architecture for Computer Vision",
CVPR 2016 (arXiv:1512.00567), sections 3 to 6. State-dict names are torchvision's. Parameters at 1000 outputs: 23,834,568, with the
auxiliary head 27,161,264.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.auxiliary import AuxiliaryHead
from hubel.layers.dropout import Dropout
from hubel.layers.inception import ConvNormReLU
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.resnet import initialize
from hubel.nets.weights import Source, load_published

TO_17 = (
    Reduction("Conv2d_1a_3x3", 3, 2),
    Reduction("Conv2d_2a_3x3", 3, 1),
    Reduction("maxpool1", 3, 2),
    Reduction("Conv2d_4a_3x3", 3, 1),
    Reduction("maxpool2", 3, 2),
    Reduction("Mixed_6a", 3, 2),
)
REDUCTIONS = Reductions("inception_v3", *TO_17, Reduction("Mixed_7a", 3, 2))
TO_HEAD = Reductions(
    "inception_v3 with its auxiliary head",
    *TO_17,
    Reduction("AuxLogits (average)", 5, 3),
    Reduction("AuxLogits.conv1", 5, 1),
)

IMAGENET = Source(
    title="Inception v3 on ImageNet-1k, with torchvision's names",
    size=(299, 299),
    crop=299 / 342,
    mean=(
        0.5,
        0.5,
        0.5,
    ),  # torchvision normalizes as for its other networks and undoes that inside (`transform_input`)
    std=(0.5, 0.5, 0.5),
    classes="imagenet-1k",
)


def inception_v3(
    inputs: Sequence[int] = (3, 299, 299),
    outputs: int = 1000,
    *,
    auxiliary: bool = False,
    weights: str | Path | None = None,
    download: bool = False,
) -> InceptionV3:
    """Inception v3. Input [N, C, H, W], output [N, outputs]; other sizes from 75×75 on are accepted, with `auxiliary` from 299×299 on.

    `auxiliary` adds the auxiliary head. The network answers with its own scores all the same; the head's scores are asked for with
    `hubel.layers.auxiliary.auxiliary_scores`, and enter the loss through `hubel.objectives.WithAuxiliary` (the authors' code has
    weight 0.4). Under any other objective the head is idle, costs nothing, and keeps the weights that it has.

    `weights` is a file with torchvision's names (.safetensors, .pth), see `hubel.nets.weights.load_published`; an auxiliary head that
    only the file has is left out, one that only the network has stays fresh. The images it expects are described in `net.published`.

    >>> sum(p.numel() for p in inception_v3(auxiliary=True).parameters())
    27161264

    Raises `ValueError` for images that are too small, and for weights that do not fit.
    """
    shape = (TO_HEAD if auxiliary else REDUCTIONS).shape(inputs)
    net = InceptionV3(shape, num_outputs(outputs, "inception_v3"), bool(auxiliary))
    made(net, "inception_v3", inputs=shape, outputs=int(outputs), auxiliary=bool(auxiliary))
    if weights is not None:
        load_published(
            net,
            weights,
            IMAGENET,
            first="Conv2d_1a_3x3.conv",
            head="fc",
            auxiliary=("AuxLogits.fc",),
            download=download,
        )
    return net


class InceptionV3(Net):
    """See `inception_v3`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int, auxiliary: bool = False):
        super().__init__()
        self.inputs = inputs
        self.Conv2d_1a_3x3 = ConvNormReLU(inputs[0], 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNormReLU(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNormReLU(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNormReLU(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNormReLU(80, 192, 3)
        self.Mixed_5b = Doubled3x3(192, 32)
        self.Mixed_5c = Doubled3x3(256, 64)
        self.Mixed_5d = Doubled3x3(288, 64)
        self.Mixed_6a = ReduceTo17(288)
        self.Mixed_6b = Factored7x7(768, 128)
        self.Mixed_6c = Factored7x7(768, 160)
        self.Mixed_6d = Factored7x7(768, 160)
        self.Mixed_6e = Factored7x7(768, 192)
        self.AuxLogits = InceptionV3Head(768, outputs) if auxiliary else None
        self.Mixed_7a = ReduceTo8(768)
        self.Mixed_7b = Expanded3x3(1280)
        self.Mixed_7c = Expanded3x3(2048)
        self.dropout = Dropout(0.5)
        self.fc = nn.Linear(2048, outputs)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """The 2048 channels of the last module, averaged over positions: [N, 2048]."""
        (REDUCTIONS if self.AuxLogits is None else TO_HEAD).check(x, self.inputs)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        if self.AuxLogits is not None:
            self.AuxLogits.offer(x)
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.dropout(self.features(x)))


class Doubled3x3(nn.Module):
    """Figure 5: 1×1, 5×5, two 3×3, and average-pool → 1×1 to `pooled` channels; [N, C, H, W] → [N, 224 + pooled, H, W]."""

    def __init__(self, in_channels: int, pooled: int):
        super().__init__()
        self.branch1x1 = ConvNormReLU(in_channels, 64, 1)
        self.branch5x5_1 = ConvNormReLU(in_channels, 48, 1)
        self.branch5x5_2 = ConvNormReLU(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNormReLU(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, padding=1)
        self.branch_pool = ConvNormReLU(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The four answers, stacked as channels."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_smoothed(x))], dim=1)


class ReduceTo17(nn.Module):
    """Figure 10: 3×3, two 3×3, and max-pool, all with stride 2; [N, C, H, W] → [N, 480 + C, ⌊(H-1)/2⌋, ⌊(W-1)/2⌋]."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch3x3 = ConvNormReLU(in_channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNormReLU(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvNormReLU(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNormReLU(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """The two answers and the pooled input, stacked as channels."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], dim=1)


class Factored7x7(nn.Module):
    """Figure 6 with n = 7: 1×1, 7×7 as row and column, twice that, and average-pool → 1×1; [N, C, H, W] → [N, 768, H, W]."""

    def __init__(self, in_channels: int, width: int):
        super().__init__()
        self.branch1x1 = ConvNormReLU(in_channels, 192, 1)
        self.branch7x7_1 = ConvNormReLU(in_channels, width, 1)
        self.branch7x7_2 = _row(width, width)
        self.branch7x7_3 = _column(width, 192)
        self.branch7x7dbl_1 = ConvNormReLU(in_channels, width, 1)
        self.branch7x7dbl_2 = _column(width, width)
        self.branch7x7dbl_3 = _row(width, width)
        self.branch7x7dbl_4 = _column(width, width)
        self.branch7x7dbl_5 = _row(width, 192)
        self.branch_pool = ConvNormReLU(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The four answers, stacked as channels."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_smoothed(x))], dim=1)


class ReduceTo8(nn.Module):
    """1×1 → 3×3, 7×7 as row and column → 3×3, and max-pool, the last of each with stride 2.

    [N, C, H, W] → [N, 512 + C, ⌊(H-1)/2⌋, ⌊(W-1)/2⌋].
    """

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch3x3_1 = ConvNormReLU(in_channels, 192, 1)
        self.branch3x3_2 = ConvNormReLU(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNormReLU(in_channels, 192, 1)
        self.branch7x7x3_2 = _row(192, 192)
        self.branch7x7x3_3 = _column(192, 192)
        self.branch7x7x3_4 = ConvNormReLU(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """The two answers and the pooled input, stacked as channels."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], dim=1)


class Expanded3x3(nn.Module):
    """Figure 7: 1×1, 3×3 as row beside column, 3×3 and then row beside column, and average-pool → 1×1; [N, C, H, W] → [N, 2048, H, W]."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch1x1 = ConvNormReLU(in_channels, 320, 1)
        self.branch3x3_1 = ConvNormReLU(in_channels, 384, 1)
        self.branch3x3_2a = ConvNormReLU(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNormReLU(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNormReLU(in_channels, 448, 1)
        self.branch3x3dbl_2 = ConvNormReLU(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNormReLU(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNormReLU(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNormReLU(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The six answers, stacked as channels."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        answers = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        answers += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*answers, self.branch_pool(_smoothed(x))], dim=1)


class InceptionV3Head(AuxiliaryHead):
    """Average-pool 5×5 of stride 3, 1×1 convolution to 128 and 5×5 convolution to 768 channels, average, scores [N, K] (figure 8)."""

    def __init__(self, in_channels: int, outputs: int):
        super().__init__()
        self.conv0 = ConvNormReLU(in_channels, 128, 1)
        self.conv1 = ConvNormReLU(128, 768, 5)
        self.fc = nn.Linear(768, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K] of maps [N, C, H, W]."""
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))
        return self.fc(x.mean(dim=(2, 3)))


def _row(in_channels: int, channels: int) -> ConvNormReLU:
    """Filters of 1×7."""
    return ConvNormReLU(in_channels, channels, (1, 7), padding=(0, 3))


def _column(in_channels: int, channels: int) -> ConvNormReLU:
    """Filters of 7×1."""
    return ConvNormReLU(in_channels, channels, (7, 1), padding=(3, 0))


def _smoothed(x: Tensor) -> Tensor:
    """The mean over 3×3 positions, of which those outside of the maps count as zeros."""
    return F.avg_pool2d(x, 3, 1, 1)
