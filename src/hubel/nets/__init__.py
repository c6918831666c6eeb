"""Networks, one file a family. Every name in `__all__` is a function that makes one.

`hubel.nets.NAME(..., inputs=(C, H, W), outputs=K)` returns a module that maps [N, C, H, W] to raw scores
[N, K], carries `made_by`, and has `features(x)` [N, F], what the last linear layer reads. Initial weights
depend on torch's global generator alone.
"""

from hubel.nets.alexnet import alexnet
from hubel.nets.compact import compact
from hubel.nets.efficientnet import efficientnet_lite0
from hubel.nets.googlenet import googlenet
from hubel.nets.inception_v3 import inception_v3
from hubel.nets.lenet import lenet
from hubel.nets.mlp import mlp
from hubel.nets.resnet import resnet
from hubel.nets.simple_cnn import simple_cnn
from hubel.nets.symmetrized import GENERATORS as GENERATORS
from hubel.nets.symmetrized import Symmetrized as Symmetrized
from hubel.nets.symmetrized import symmetrized
from hubel.nets.vgg import vgg

__all__ = [
    "alexnet",
    "compact",
    "efficientnet_lite0",
    "googlenet",
    "inception_v3",
    "lenet",
    "mlp",
    "resnet",
    "simple_cnn",
    "symmetrized",
    "vgg",
]
