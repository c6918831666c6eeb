"""Two convolutions, the second with stride 2 in place of pooling, and two linear layers: the first network of many courses.

    conv 3×3 of 32 → relu → conv 3×3 of 64, stride 2 → relu → linear 128 → relu → linear

No padding. Nearly all of the parameters stand in the first linear layer, which reads 14·14·64 values of a 32×32 picture: what an
average over positions saves. Initial weights as in Keras: Glorot uniform, biases zero.

Source: the form is that of the beginners' examples of Keras, F. Chollet et al. (2015), https://keras.io; stride in place of pooling:
J. T. Springenberg et al., "Striving for Simplicity: The All Convolutional Net" (2014, arXiv:1412.6806).
Parameters at (3, 32, 32) → 10: 896 + 18,496 + 1,605,760 + 1,290 = 1,626,442.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hubel.layers.relu import relu
from hubel.nets.made import Net, made, num_outputs
from hubel.nets.reductions import Reduction, Reductions

REDUCTIONS = Reductions("strided_cnn", Reduction("conv1", 3, 1), Reduction("conv2", 3, 2))


def strided_cnn(inputs: Sequence[int] = (3, 32, 32), outputs: int = 10) -> StridedCNN:
    """Two convolutions and two linear layers. Input [N, C, H, W], output [N, outputs].

    >>> sum(p.numel() for p in strided_cnn().parameters())
    1626442

    Raises `ValueError` for images of which a layer gets too few positions.
    """
    shape = REDUCTIONS.shape(inputs)
    net = StridedCNN(shape, num_outputs(outputs, "strided_cnn"))
    return made(net, "strided_cnn", inputs=shape, outputs=int(outputs))


class StridedCNN(Net):
    """See `strided_cnn`."""

    def __init__(self, inputs: tuple[int, int, int], outputs: int):
        super().__init__()
        self.inputs = inputs
        height, width = REDUCTIONS.after(inputs)
        self.conv1 = nn.Conv2d(inputs[0], 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3, 2)
        self.fc1 = nn.Linear(64 * height * width, 128)
        self.fc2 = nn.Linear(128, outputs)
        for layer in (self.conv1, self.conv2, self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """The hidden linear layer: [N, 128]."""
        REDUCTIONS.check_exactly(x, self.inputs, "fc1")
        x = relu(self.conv1(x), training=self.training)
        x = relu(self.conv2(x), training=self.training)
        return relu(self.fc1(x.flatten(1)), training=self.training)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores [N, K]."""
        return self.fc2(self.features(x))
