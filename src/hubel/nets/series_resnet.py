"""A residual network of convolutions along time: sequence to class or value.

    stem   conv 7 (F → w), norm, relu
    1–3    residual block of kernel 5, stride 2:   relu(norm(conv relu(norm(conv x))) + norm(conv₁ x)),  to w, 2w, 2w channels
    head   mean over steps, linear

A convolution looks at a stretch of the series wherever it is; global pooling makes any length one row. Padding is zero before every
convolution, is not counted in any norm (`hubel.layers.step_norm`) nor in the mean, so that a series gives the same scores however it is
padded.

Source: Z. Wang, W. Yan, T. Oates, "Time series classification from scratch with deep neural networks: a strong baseline", IJCNN 2017
(arXiv:1611.06455), whose three blocks have kernels 8, 5, 3 and full resolution; here each halves it. H. Ismail Fawaz et al., "Deep learning for time series classification: a review" (2019),
doi:10.1007/s10618-019-00619-1, where the residual network is the best of nine on the UCR archive.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.layers.masks import mean_of_valid, valid_steps
from hubel.layers.relu import relu
from hubel.layers.step_norm import StepNorm
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.sequences import check_sequences, sequence_inputs

STEM, KERNEL = 7, 5


def series_resnet(
    width: int = 32, *, dropout: float = 0.1, inputs: int | Sequence[int], outputs: int
) -> SeriesResNet:
    """A 1-D residual network that begins with `width` channels: sequences [N, L, F] of any length L → [N, outputs].

    `inputs` is F, or (L, F). Called as `net(x, valid)` with lengths [N] or a mask [N, L], it passes over the other steps. `dropout` stands
    before the last layer.

    >>> import torch
    >>> net = series_resnet(16, inputs=6, outputs=3)
    >>> net(torch.zeros(4, 20, 6)).shape, net(torch.zeros(4, 20, 6), torch.tensor([20, 3, 7, 1])).shape
    (torch.Size([4, 3]), torch.Size([4, 3]))

    Raises `ValueError` for sizes that are not positive.
    """
    shape = sequence_inputs(inputs, "series_resnet")
    if width < 1:
        raise ValueError(f"series_resnet: width must be positive; received {width}")
    net = SeriesResNet(int(width), shape[-1], num_outputs(outputs, "series_resnet"), dropout=dropout)
    return made(net, "series_resnet", width=int(width), dropout=dropout, inputs=shape, outputs=int(outputs))


class SeriesResNet(Net):
    """See `series_resnet`."""

    def __init__(self, width: int, inputs: int, outputs: int, *, dropout: float):
        super().__init__()
        self.inputs = inputs
        widths = (width, width, 2 * width, 2 * width)
        self.stem = ConvNorm(inputs, width, STEM)
        self.blocks = nn.ModuleList(Block(a, b) for a, b in itertools.pairwise(widths))
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(widths[-1], outputs)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """The mean of every channel over the steps: [N, 2 width]."""
        check_sequences(x, self.inputs, "series_resnet")
        mask = None if valid is None else valid_steps(valid, x)
        x = x.transpose(1, 2)
        x = relu(self.stem(x, mask), training=self.training)
        for block in self.blocks:
            x, mask = block(x, mask)
        return mean_of_valid(x.transpose(1, 2), mask)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Raw scores [N, K]."""
        return self.head(self.dropout(self.features(x, valid)))


class ConvNorm(nn.Module):
    """A convolution along time without bias, of zeros where there is no step, and a norm over the steps that there are."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = StepNorm(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[N, C, L] → [N, outputs, ⌈L/stride⌉]; `mask` [N, L] is that of the input."""
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(1), 0.0)
            mask = mask[:, :: self.stride]
        return self.norm(self.conv(x), mask)


class Block(nn.Module):
    """Two convolutions, of which the first halves the steps, added to a shortcut of kernel 1."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.one = ConvNorm(inputs, outputs, KERNEL, stride=2)
        self.two = ConvNorm(outputs, outputs, KERNEL)
        self.shortcut = ConvNorm(inputs, outputs, 1, stride=2)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The output [N, outputs, ⌈L/2⌉] and its mask."""
        half = None if mask is None else mask[:, ::2]
        out = self.two(relu(self.one(x, mask), training=self.training), half)
        return relu(out + self.shortcut(x, mask), training=self.training), half
