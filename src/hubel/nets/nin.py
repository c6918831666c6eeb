"""Network in network: after each convolution two of 1×1, a small perceptron that looks at one position of all maps.

    conv 5×5 of 192, 1×1 of 160, 1×1 of 96 → pool → conv 5×5 of 192, 1×1 of 192 twice → pool → conv 3×3 of 192, 1×1 of 192, 1×1 to scores
    → average over positions

The first pooling takes the maximum of 3×3, the second the mean, both with stride 2, rounding up, with dropout 0.5 behind them. The
average over positions in place of large linear layers was this paper's idea.

Where we differ from the paper: the last 1×1 convolution stands after the average over positions, as a linear layer (both are linear, so
the scores are the same), and no relu stands on the scores. `batch_norm` adds batch norm after every convolution (later than the paper);
it is what makes the network train without care. Initial weights: He normal by fan-in, biases zero.

Source: M. Lin, Q. Chen, S. Yan, "Network In Network", ICLR 2014 (arXiv:1312.4400), sections 3 and 4; sizes as the authors published them
for CIFAR-10. Parameters at (3, 32, 32) → 10: 966,986, with batch norm 969,802.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.dropout import Dropout
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.plain import ReLU
from hubel.nets.reductions import Reduction, Reductions

# of each stage: kernel of the convolution, its channels, those of the 1×1 convolutions
STAGES = ((5, 192, (160, 96)), (5, 192, (192, 192)), (3, 192, (192,)))
REDUCTIONS = Reductions(
    "nin", Reduction("pools.0", 2, 2), Reduction("pools.1", 2, 2), Reduction("the average", 1, 1)
)


def nin(
    inputs: Sequence[int] = (3, 32, 32), outputs: int = 10, *, batch_norm: bool = False
) -> NetworkInNetwork:
    """Network in network for small pictures. Input [N, C, H, W], output [N, outputs]; other sizes from 8×8 on are accepted.

    >>> sum(p.numel() for p in nin().parameters())
    966986

    Raises `ValueError` for images of which a layer gets too few positions.
    """
    shape = REDUCTIONS.shape(inputs)
    net = NetworkInNetwork(shape, num_outputs(outputs, "nin"), batch_norm=bool(batch_norm))
    return made(net, "nin", inputs=shape, outputs=int(outputs), batch_norm=bool(batch_norm))


class NetworkInNetwork(Net):
    """See `nin`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int, *, batch_norm: bool):
        super().__init__()
        self.inputs = inputs
        channels = inputs[0]
        self.stages = nn.ModuleList()
        for kernel, first, widths in STAGES:
            layers: list[nn.Module] = []
            for width, side in zip((first, *widths), (kernel, *(1 for _ in widths)), strict=True):
                layers.append(nn.Conv2d(channels, width, side, padding=side // 2))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(ReLU())
                channels = width
            self.stages.append(nn.Sequential(*layers))
        self.pools = nn.ModuleList([nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, ceil_mode=True)])
        self.dropout = Dropout(0.5)
        self.fc = nn.Linear(channels, outputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """The maps of the last 1×1 convolution but one, averaged over positions: [N, 192]."""
        REDUCTIONS.check(x, self.inputs)
        first, second, third = self.stages
        x = self.dropout(self.pools[0](first(x)))
        x = self.dropout(self.pools[1](second(x)))
        return third(x).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc(self.features(x))
