"""GoogLeNet (Inception v1): nine inception modules, an average over all positions, one linear layer.

    conv 7×7/2 → pool → conv 1×1 → conv 3×3 → pool → 3a 3b → pool → 4a 4b 4c 4d 4e → pool → 5a 5b → average → linear

22 layers with parameters. Two auxiliary heads, after 4a and 4d, are for training only.

Where we differ from the paper, so that torchvision's published weights fit: batch norm after every convolution (no local response
normalization), 3×3 for 5×5 filters in the modules, and 2×2 for 3×3 in the last max-pooling. Initial weights: convolutions He normal by
fan-out, batch norm 1 and 0, linear layers torch's default. Dropout is the paper's: 40 % before the last layer, 70 % in the heads.

Source: C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015 (arXiv:1409.4842), table 1 and section 5. State-dict names are
torchvision's. Parameters at 1000 outputs: 6,624,904, with auxiliary heads 13,004,888.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.auxiliary import AuxiliaryHead
from hubel.layers.dropout import Dropout
from hubel.layers.inception import ConvNormReLU, Inception
from hubel.layers.relu import relu
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.resnet import initialize
from hubel.nets.weights import Source, load_published

# The poolings of 3×3 round up: of n positions ⌊n/2⌋ are left, as by a window of two. The last, 2×2, takes a single one as well.
REDUCTIONS = Reductions(
    "googlenet",
    Reduction("conv1", 7, 2, 3),
    *(Reduction(f"maxpool{number}", 2, 2) for number in (1, 2, 3)),
)

IMAGENET = Source(
    title="GoogLeNet on ImageNet-1k, with torchvision's names",
    size=(224, 224),
    crop=0.875,
    mean=(
        0.5,
        0.5,
        0.5,
    ),  # torchvision normalizes as for its other networks and undoes that inside (`transform_input`)
    std=(0.5, 0.5, 0.5),
    classes="imagenet-1k",
)


def googlenet(
    inputs: Sequence[int] = (3, 224, 224),
    outputs: int = 1000,
    *,
    auxiliary: bool = False,
    weights: str | Path | None = None,
    download: bool = False,
) -> GoogLeNet:
    """GoogLeNet. Input [N, C, H, W], output [N, outputs]; other sizes from 15×15 on are accepted.

    `auxiliary` adds the two auxiliary heads. The network answers with its own scores all the same; the heads' scores are asked
    for with `hubel.layers.auxiliary.auxiliary_scores`, and enter the loss through `hubel.objectives.WithAuxiliary`:

        hubel.fit(data, net=googlenet(auxiliary=True, ...), objective=WithAuxiliary(CrossEntropy(10), weight=0.3))

    Under any other objective the heads are idle, cost nothing, and keep the weights that they have.

    `weights` is a file with torchvision's names (.safetensors, .pth), see `hubel.nets.weights.load_published`; auxiliary heads that
    only the file has are left out, those that only the network has stay fresh. (The heads in torchvision's own file
    `googlenet-1378be20.pth` were never trained.) The images it expects are described in `net.published`.

    >>> sum(p.numel() for p in googlenet().parameters())
    6624904

    Raises `ValueError` for images under 15×15 pixels and for weights that do not fit.
    """
    shape = REDUCTIONS.shape(inputs)
    net = GoogLeNet(shape, num_outputs(outputs, "googlenet"), bool(auxiliary))
    made(net, "googlenet", inputs=shape, outputs=int(outputs), auxiliary=bool(auxiliary))
    if weights is not None:
        load_published(
            net,
            weights,
            IMAGENET,
            first="conv1.conv",
            head="fc",
            auxiliary=("aux1.fc2", "aux2.fc2"),
            download=download,
        )
    return net


class GoogLeNet(Net):
    """See `googlenet`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int, auxiliary: bool = False):
        super().__init__()
        self.inputs = inputs
        self.conv1 = ConvNormReLU(inputs[0], 64, 7, stride=2, padding=3)
        self.conv2 = ConvNormReLU(64, 64, 1)
        self.conv3 = ConvNormReLU(64, 192, 3, padding=1)
        self.inception3a = Inception(192, (64, 96, 128, 16, 32, 32))
        self.inception3b = Inception(256, (128, 128, 192, 32, 96, 64))
        self.inception4a = Inception(480, (192, 96, 208, 16, 48, 64))
        self.inception4b = Inception(512, (160, 112, 224, 24, 64, 64))
        self.inception4c = Inception(512, (128, 128, 256, 24, 64, 64))
        self.inception4d = Inception(512, (112, 144, 288, 32, 64, 64))
        self.inception4e = Inception(528, (256, 160, 320, 32, 128, 128))
        self.inception5a = Inception(832, (256, 160, 320, 32, 128, 128))
        self.inception5b = Inception(832, (384, 192, 384, 48, 128, 128))
        self.aux1 = GoogLeNetHead(512, outputs) if auxiliary else None
        self.aux2 = GoogLeNetHead(528, outputs) if auxiliary else None
        self.dropout = Dropout(0.4)
        self.fc = nn.Linear(1024, outputs)
        initialize(self)

    def features(self, x: Tensor) -> Tensor:
        """The 1024 channels of the last module, averaged over positions: [N, 1024]."""
        REDUCTIONS.check(x, self.inputs)
        x = F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.conv3(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.inception3b(self.inception3a(x)), 3, 2, ceil_mode=True)
        x = self.inception4a(x)
        if self.aux1 is not None:
            self.aux1.offer(x)
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        if self.aux2 is not None:
            self.aux2.offer(x)
        x = F.max_pool2d(self.inception4e(x), 2, 2, ceil_mode=True)
        return self.inception5b(self.inception5a(x)).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.dropout(self.features(x)))


class GoogLeNetHead(AuxiliaryHead):
    """Average to 4×4 positions, 1×1 convolution to 128 channels, 1024 hidden units, dropout 0.7, scores [N, K]."""

    def __init__(self, in_channels: int, outputs: int):
        super().__init__()
        self.conv = ConvNormReLU(in_channels, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.dropout = Dropout(0.7)
        self.fc2 = nn.Linear(1024, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K] of maps [N, C, H, W]."""
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        return self.fc2(self.dropout(relu(self.fc1(x), training=self.training)))
