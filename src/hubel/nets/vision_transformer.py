"""A vision transformer: a picture is cut into square patches, and a transformer reads them as a sequence.

    h₀ = [class, W patch₁ + b, …, W patch_L + b] + positions;  h ← block(h), `layers` times;  scores = W (norm(h) of the class step) + b

Class step and positions are learned. The default is small, for 32×32 pictures; `patch=16, width=768, layers=12, heads=12` at 224×224 is
ViT-B/16 of the paper. Few pictures do not teach it: it has no idea of neighbourhood but what it learns, so that with little data a
convolutional network is the better choice unless `weights` are given.

`weights` are files with torchvision's names or those of the authors of DeiT and of timm (what differs is renamed while reading).
Where we differ: initial weights Glorot uniform in the blocks (`hubel.layers.transformer_block`), class, positions and last layer
normal of deviation 0.02.

Source: A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", ICLR 2021
(arXiv:2010.11929); the small ones: H. Touvron et al. 2021 (arXiv:2012.12877). Parameters with patches of 16 at 224×224 and 1000
outputs: width 192, 3 heads 5,717,416 · width 384, 6 heads 22,050,664 · width 768, 12 heads 86,567,656.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.transformer_block import TransformerBlock
from hubel.nets.made import Net, check_images, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions
from hubel.nets.weights import Source, load_published

SOURCE = Source(
    title="a vision transformer on ImageNet-1k, with torchvision's preprocessing",
    size=(224, 224),
    crop=0.875,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes="imagenet-1k",
    renamed=(
        (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
        (r"^encoder\.pos_embedding$|^pos_embed$", "positions"),
        (r"^cls_token$", "class_token"),
        (r"^patch_embed\.proj\.", "conv_proj."),
        (r"^encoder\.ln\.", "norm."),
        (r"^heads\.head\.", "head."),
        (r"\.ln_([12])\.", r".norm\1."),
        (r"\.self_attention\.in_proj_", ".self_attn.in_proj."),
        (r"\.attn\.qkv\.", ".self_attn.in_proj."),
        (r"\.self_attention\.out_proj\.|\.attn\.proj\.", ".self_attn.out_proj."),
        (r"\.mlp\.(?:0|linear_1|fc1)\.", ".linear1."),
        (r"\.mlp\.(?:3|linear_2|fc2)\.", ".linear2."),
    ),
)


def vision_transformer(
    patch: int = 4,
    *,
    width: int = 192,
    layers: int = 6,
    heads: int = 3,
    dropout: float = 0.0,
    inputs: Sequence[int] = (3, 32, 32),
    outputs: int = 10,
    weights: str | Path | None = None,
    download: bool = False,
) -> VisionTransformer:
    """A vision transformer with patches of `patch`×`patch` pixels. Input [N, C, H, W] of exactly `inputs`, output [N, outputs].

    `weights` and `download`: see `hubel.nets.weights.load_published`; the images it expects are described in `net.published`.

    >>> net = vision_transformer(16, width=768, layers=12, heads=12, inputs=(3, 224, 224), outputs=1000)
    >>> sum(p.numel() for p in net.parameters())
    86567656

    Raises `ValueError` for sides that are no multiples of `patch`, where `heads` does not divide `width`, for sizes that are not positive,
    and for weights that do not fit.
    """
    if min(int(patch), int(layers)) < 1:
        raise ValueError(
            f"vision_transformer: patch and layers must be positive; received patch={patch}, layers={layers}"
        )
    reductions = Reductions("vision_transformer", Reduction("conv_proj", int(patch), int(patch), least=1))
    shape = reductions.shape(inputs)
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(
            f"vision_transformer: layer conv_proj cuts patches of {patch}×{patch} pixels, and {shape[1]}×{shape[2]} are no multiples of "
            f"that: choose another patch, or resize the images to {-(-shape[1] // patch) * patch}×{-(-shape[2] // patch) * patch}"
        )
    net = VisionTransformer(
        int(patch),
        int(width),
        shape,
        num_outputs(outputs, "vision_transformer"),
        blocks=[TransformerBlock(int(width), int(heads), dropout=dropout) for _ in range(int(layers))],
        dropout=dropout,
    )
    sizes = {"patch": int(patch), "width": int(width), "layers": int(layers), "heads": int(heads)}
    made(net, "vision_transformer", inputs=shape, outputs=int(outputs), dropout=float(dropout), **sizes)
    if weights is not None:
        load_published(net, weights, SOURCE, first="conv_proj", head="head", download=download)
    return net


class VisionTransformer(Net):
    """See `vision_transformer`."""

    def __init__(
        self,
        patch: int,
        width: int,
        inputs: tuple[int, int, int],
        outputs: int,
        *,
        blocks: Sequence[TransformerBlock],
        dropout: float,
    ):
        super().__init__()
        self.inputs = inputs
        num = (inputs[1] // patch) * (inputs[2] // patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.positions = nn.Parameter(torch.empty(1, num + 1, width).normal_(std=0.02))
        self.conv_proj = nn.Conv2d(inputs[0], width, patch, patch)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.eps = 1e-6  # that of the published weights
        nn.init.normal_(self.conv_proj.weight, std=(inputs[0] * patch * patch) ** -0.5)
        nn.init.normal_(self.head.weight, std=0.02)
        for layer in (self.conv_proj, self.head):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """The class step of the last block, normed: [N, width]."""
        check_images(x, self.inputs, "vision_transformer")
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.class_token.expand(len(x), -1, -1).to(patches.dtype), patches], dim=1)
        h = self.dropout(h + self.positions)
        for block in self.blocks:
            h = block(h)
        return self.norm(h[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.head(self.features(x))
