"""Residual networks: for small images (20, 32, 44, 56, 110 layers) and for ImageNet (18, 34, 50, 101, 152).

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016
(arXiv:1512.03385): section 4.2 and table 6 for small images (parameter-free shortcuts, option A), table 1
for ImageNet (projections where the shape changes, option B). State-dict names are torchvision's.

Initial weights: convolutions He normal by fan-out (arXiv:1502.01852), batch-norm weights 1 and biases 0, as
in the paper and in torchvision (no zero-initialised last batch norm; that is Goyal et al. 2017).

Parameters at 1000 outputs: resnet18 11,689,512 · 34 21,797,672 · 50 25,557,032 · 101 44,549,160 ·
152 60,192,808; at 10 outputs: resnet20 269,722 (the paper rounds to 0.27 M; with 1×1 projections it would be 272,474).

Measured (AMD EPYC (Zen 4), one thread, CPU time, torch 2.13.0, 2026-11-21), ResNet-20, training steps of 128
with fused Adam: bfloat16 channels_last 222 ms (577 images/s a core, 141 GFLOP/s; convolutions 161 ms of it),
contiguous 240; float32 channels_last 356, contiguous 437. Two threads in a quiet moment: 1,039 images/s in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.layers.residual import BasicBlock, Bottleneck, NoShortcut, PaddedShortcut
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

SMALL = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
LARGE: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}

SMALL_SOURCE = Source(title="a residual network for small images")
IMAGENET = Source(
    title="a residual network on ImageNet-1k, with torchvision's names and preprocessing",
    size=(224, 224),
    crop=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes="imagenet-1k",
)


def resnet(
    depth: int,
    *,
    inputs: Sequence[int] | None = None,
    outputs: int | None = None,
    skips: bool = True,
    weights: str | Path | None = None,
    download: bool = False,
) -> SmallResNet | ResNet:
    """A residual network of `depth` layers. Input [N, C, H, W], output [N, outputs].

    Depths 20, 32, 44, 56, 110 are the paper's networks for CIFAR: `inputs` (3, 32, 32) and `outputs` 10 unless
    given. Depths 18, 34, 50, 101, 152 are those for ImageNet: (3, 224, 224) and 1000. Both end in an average
    over all positions, so that other sizes of image are accepted too.

    `skips=False` leaves the shortcuts out: the plain networks with which the paper compares, of depths 18, 20, 32, 34, 44, 56, 110 (no
    bottlenecks). The deeper ones can hardly be trained, which is what the shortcuts are for.

    `weights` is a file with torchvision's names (.safetensors, .pth), or "hf:OWNER/REPO", see
    `hubel.nets.weights.load_published`; the images it expects are described in `net.published`.

    >>> import torch
    >>> resnet(20)(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 10])

    Raises `ValueError` for other depths, for images under 5×5 (small) or 17×17 (ImageNet) pixels, of which a layer gets too few
    positions, and for weights that do not fit.
    """
    if depth not in SMALL and depth not in LARGE:
        raise ValueError(f"resnet: depth must be one of {(*SMALL, *LARGE)}; received {depth!r}")
    name = f"resnet({depth})"
    small = depth in SMALL
    if not skips and not small and LARGE[depth][0] is Bottleneck:
        raise ValueError(
            f"{name}: bottlenecks without skips were never published; choose depth 18 or 34, or a small one"
        )
    shape = _reductions(depth).shape(inputs or ((3, 32, 32) if small else (3, 224, 224)))
    outputs = num_outputs(outputs if outputs is not None else 10 if small else 1000, name)
    kind = SmallResNet if small else ResNet
    net = kind(depth, shape, outputs, skips=bool(skips))
    more = {} if skips else {"skips": False}
    made(net, "resnet", depth=depth, inputs=shape, outputs=outputs, **more)
    if weights is not None:
        source = SMALL_SOURCE if small else IMAGENET
        load_published(net, weights, source, first="conv1", head="fc", download=download)
    return net


def _reductions(depth: int) -> Reductions:
    """The small ones keep the sides up to layer2, and are given at least 2×2 positions to average."""
    name = f"resnet({depth})"
    layers = [Reduction(f"layer{number}.0", 3, 2, 1) for number in (2, 3)]
    if depth in SMALL:
        return Reductions(name, *layers, Reduction("the average", 1, 1))
    stem = (Reduction("conv1", 7, 2, 3), Reduction("maxpool", 3, 2, 1))
    return Reductions(name, *stem, *layers, Reduction("layer4.0", 3, 2, 1))


class SmallResNet(Net):
    """See `resnet`: 3×3 convolution of 16, three stages of basic blocks (16, 32, 64), average, linear."""

    def __init__(self, depth: int, inputs: tuple[int, int, int], outputs: int, *, skips: bool = True):
        super().__init__()
        self.depth, self.inputs = depth, inputs
        self.reductions = _reductions(depth)
        self.conv1 = nn.Conv2d(inputs[0], 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, SMALL[depth], stride=1)
        self.layer2 = self._stage(16, 32, SMALL[depth], stride=2)
        self.layer3 = self._stage(32, 64, SMALL[depth], stride=2)
        self.fc = nn.Linear(64, outputs)
        if not skips:
            _without_skips(self)
        initialize(self)

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, *, stride: int) -> nn.Sequential:
        shortcut = PaddedShortcut(channels) if stride == 2 else None
        first = BasicBlock(in_channels, channels, stride=stride, downsample=shortcut)
        return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))

    def features(self, x: Tensor) -> Tensor:
        """The 64 channels of the last stage, averaged over positions: [N, 64]."""
        self.reductions.check(x, self.inputs)
        x = relu(self.bn1(self.conv1(x)), training=self.training)
        x = self.layer3(self.layer2(self.layer1(x)))
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))


class ResNet(Net):
    """See `resnet`: 7×7 convolution of 64, max-pool, four stages, average, linear (table 1)."""

    def __init__(self, depth: int, inputs: tuple[int, int, int], outputs: int, *, skips: bool = True):
        super().__init__()
        self.depth, self.inputs = depth, inputs
        self.reductions = _reductions(depth)
        block, blocks = LARGE[depth]
        self.conv1 = nn.Conv2d(inputs[0], 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = [64] + [block.expansion * channels for channels in (64, 128, 256, 512)]
        self.layer1 = self._stage(block, widths[0], 64, blocks[0], stride=1)
        self.layer2 = self._stage(block, widths[1], 128, blocks[1], stride=2)
        self.layer3 = self._stage(block, widths[2], 256, blocks[2], stride=2)
        self.layer4 = self._stage(block, widths[3], 512, blocks[3], stride=2)
        self.fc = nn.Linear(widths[4], outputs)
        if not skips:
            _without_skips(self)
        initialize(self)

    @staticmethod
    def _stage(
        block: type[BasicBlock] | type[Bottleneck],
        in_channels: int,
        channels: int,
        blocks: int,
        *,
        stride: int,
    ) -> nn.Sequential:
        wide = block.expansion * channels
        projection = None
        if stride != 1 or in_channels != wide:
            projection = nn.Sequential(
                nn.Conv2d(in_channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)
            )
        first = block(in_channels, channels, stride=stride, downsample=projection)
        return nn.Sequential(first, *(block(wide, channels) for _ in range(blocks - 1)))

    def features(self, x: Tensor) -> Tensor:
        """The channels of the last stage, averaged over positions: [N, 512] or [N, 2048]."""
        self.reductions.check(x, self.inputs)
        x = F.max_pool2d(relu(self.bn1(self.conv1(x)), training=self.training), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))


def _without_skips(net: nn.Module) -> None:
    for block in net.modules():
        if isinstance(block, BasicBlock):
            block.downsample = NoShortcut()


def initialize(net: nn.Module) -> None:
    """He normal by fan-out for convolutions, 1 and 0 for batch norm; linear layers keep torch's default."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
