"""LeNet-5: two convolutions of 5×5 with average pooling, three linear layers, tanh between them.

C1 6 maps → S2 → C3 16 maps → S4 → C5 120 → F6 84 → outputs. 61,706 parameters at (1, 28, 28) → 10: the paper
pads the digits to 32×32, here the first convolution pads by 2.

Where we differ from the paper, as everybody today: plain tanh for 1.7159·tanh(2x/3), pooling without trained
coefficients, C3 sees all maps of S2, a linear output for the radial basis functions. Initial weights Glorot
uniform, biases zero.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86 (1998) 2278, doi:10.1109/5.726791, figure 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions

REDUCTIONS = Reductions("lenet", Reduction("s2", 2, 2), Reduction("c3", 5, 1), Reduction("s4", 2, 2))


def lenet(inputs: Sequence[int] = (1, 28, 28), outputs: int = 10) -> LeNet:
    """LeNet-5. Input [N, C, H, W], output [N, outputs].

    >>> sum(p.numel() for p in lenet().parameters())
    61706

    Raises `ValueError` for images smaller than 12×12 pixels.
    """
    shape = REDUCTIONS.shape(inputs)
    net = LeNet(shape, num_outputs(outputs, "lenet"))
    return made(net, "lenet", inputs=shape, outputs=int(outputs))


class LeNet(Net):
    """See `lenet`; layers are named as in the paper's figure 2, in small letters."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        height, width = REDUCTIONS.after(inputs)
        self.c1 = nn.Conv2d(inputs[0], 6, 5, padding=2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c5 = nn.Linear(16 * height * width, 120)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, outputs)
        for layer in (self.c1, self.c3, self.c5, self.f6, self.output):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """The layer F6: [N, 84]."""
        REDUCTIONS.check_exactly(x, self.inputs, "c5")
        x = F.avg_pool2d(torch.tanh(self.c1(x)), 2)
        x = F.avg_pool2d(torch.tanh(self.c3(x)), 2)
        return torch.tanh(self.f6(torch.tanh(self.c5(x.flatten(1)))))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.output(self.features(x))
