"""Networks, one file a family. Every name in `__all__` is a function that makes one.

`hubel.nets.NAME(..., inputs=(C, H, W), outputs=K)` returns a module that maps [N, C, H, W] to raw scores
[N, K], carries `made_by`, and has `features(x)` [N, F], what the last linear layer reads. Networks of sequences
take F (or (L, F)) for `inputs`, [N, L, F] for x, and lengths [N] or a mask [N, L] beside it. Initial weights depend
on torch's global generator alone.
"""

from hubel.nets.alexnet import alexnet
from hubel.nets.character_lm import character_lm
from hubel.nets.compact import compact
from hubel.nets.densenet import densenet
from hubel.nets.efficientnet import efficientnet_lite0
from hubel.nets.googlenet import googlenet
from hubel.nets.inception_v3 import inception_v3
from hubel.nets.lenet import lenet
from hubel.nets.mlp import mlp
from hubel.nets.mobilenet import mobilenet_v2
from hubel.nets.nasnet import nasnet_mobile
from hubel.nets.recurrent import recurrent
from hubel.nets.resnet import resnet
from hubel.nets.simple_cnn import simple_cnn
from hubel.nets.symmetrized import GENERATORS as GENERATORS
from hubel.nets.symmetrized import Symmetrized as Symmetrized
from hubel.nets.symmetrized import symmetrized
from hubel.nets.transformer import transformer
from hubel.nets.vgg import vgg
from hubel.nets.xception import xception

__all__ = [
    "alexnet",
    "character_lm",
    "compact",
    "densenet",
    "efficientnet_lite0",
    "googlenet",
    "inception_v3",
    "lenet",
    "mlp",
    "mobilenet_v2",
    "nasnet_mobile",
    "recurrent",
    "resnet",
    "simple_cnn",
    "symmetrized",
    "transformer",
    "vgg",
    "xception",
]
