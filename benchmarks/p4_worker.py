"""A worker of `p4_occlusion.py`: the same networks in plain torch on both sides; occlusion maps by hubel or by Captum."""

from __future__ import annotations

import copy
from typing import Any

import torch
from protocol import clock, serve
from torch import Tensor, nn

STATE: dict[str, Any] = {}


class Block(nn.Module):
    """The basic block of ResNet-18, as torchvision writes it."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def resnet18() -> nn.Module:
    stages = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    before = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages += [Block(before, width, stride), Block(width, width, 1)]
        before = width
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def vgg_like() -> nn.Module:
    """The eight convolutions of VGG-11 with half their channels and batch norm, an average over all positions and a linear layer."""
    layers: list[nn.Module] = []
    before = 3
    for width, count in ((32, 1), (64, 1), (128, 2), (256, 2), (256, 2)):
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 1000))


NETS = {"ResNet-18": resnet18, "VGG-like": vgg_like}


def build(side: str, net: str, size: int) -> dict[str, Any]:
    torch.manual_seed(0)
    made = NETS[net]().eval()
    STATE.update(side=side, net=made, x=torch.randn(1, 3, size, size))
    versions = {"torch": torch.__version__}
    if side == "hubel":
        from hubel.core.version import VERSION

        versions["hubel"] = VERSION
    else:
        import captum
        from captum.attr import Occlusion

        versions["captum"] = captum.__version__
        STATE["captum"] = Occlusion(made)
    with torch.no_grad():
        made(STATE["x"])
    return {"versions": versions}


def occlude(patch: int, stride: int, batch: int = 1) -> dict[str, Any]:
    start = clock()
    if STATE["side"] == "hubel":
        from hubel.explain import occlusion

        found = occlusion(STATE["net"], STATE["x"], target=0, patch=patch, stride=stride, fill=0.0)
        return {"seconds": clock() - start, "notes": list(found.notes), "passes": found.passes}
    with torch.no_grad():
        STATE["captum"].attribute(
            STATE["x"],
            target=0,
            sliding_window_shapes=(3, patch, patch),
            strides=(3, stride, stride),
            baselines=0,
            perturbations_per_eval=batch,
        )
    return {"seconds": clock() - start}


def difference(patch: int, stride: int, every: int = 1) -> dict[str, Any]:
    """The greatest difference of our map from plain passes at every so many places, relative to the greatest effect; at every fourth of those
    also how far ours and plain passes are from float64.
    """
    from hubel.explain import occlusion
    from hubel.explain.patches import patches_of

    net, x = STATE["net"], STATE["x"]
    found = occlusion(net, x, target=0, patch=patch, stride=stride, fill=0.0).coarse.flatten().double()
    exact = copy.deepcopy(net).double()
    places = patches_of(x.shape[1:], (patch, patch), (stride, stride), axes=(1, 2)).starts
    off = {"difference": 0.0, "ours": 0.0, "plain": 0.0}
    with torch.no_grad():
        scores = [net(x)[0, 0].double(), exact(x.double())[0, 0]]
        for number, k in enumerate(range(0, len(places), every)):
            covered, (top, left) = x.clone(), places[k]
            covered[:, :, top : top + patch, left : left + patch] = 0
            plain = scores[0] - net(covered)[0, 0]
            off["difference"] = max(off["difference"], float((plain - found[k]).abs()))
            if number % 4 == 0:
                true = scores[1] - exact(covered.double())[0, 0]
                off["ours"] = max(off["ours"], float((true - found[k]).abs()))
                off["plain"] = max(off["plain"], float((true - plain).abs()))
    greatest = float(found.abs().max())
    return {name: value / greatest for name, value in off.items()} | {"places": len(places)}


if __name__ == "__main__":
    serve({"build": build, "occlude": occlude, "difference": difference})
