"""Networks, one file a family. Every name in `__all__` is a function that makes one.

`hubel.nets.NAME(..., inputs=(C, H, W), outputs=K)` returns a module that maps [N, C, H, W] to raw scores
[N, K], carries `made_by`, and has `features(x)` [N, F], what the last linear layer reads. `compact` takes volumes (C, D, H, W) too;
Detectors (`anchor_free`, `faster_rcnn`, `yolo`, `yolo_v3`) answer candidates [N, R, 8 + K] (see `hubel.objectives.Detection`).
`enet` and `unet` answer for every pixel, [N, K, H, W], and `features` is then the mean over positions. Networks whose target is the
input itself (`autoencoder`, `conv_autoencoder`, `variational_autoencoder`, `dcgan`, `realnvp`) take the number of values of an example
for `outputs`, or nothing. Networks of sequences
take F (or (L, F)) for `inputs`, [N, L, F] for x, and lengths [N] or a mask [N, L] beside it. Initial weights depend
on torch's global generator alone.
"""

from hubel.nets.alexnet import alexnet
from hubel.nets.anchor_free import anchor_free
from hubel.nets.autoencoder import autoencoder
from hubel.nets.character_lm import character_lm
from hubel.nets.committee import committee
from hubel.nets.compact import compact
from hubel.nets.conv_autoencoder import conv_autoencoder
from hubel.nets.dcgan import dcgan
from hubel.nets.densenet import densenet
from hubel.nets.detector_parts import OF_OBJECTS as OF_OBJECTS
from hubel.nets.efficientnet import efficientnet_lite0
from hubel.nets.enet import enet
from hubel.nets.faster_rcnn import faster_rcnn
from hubel.nets.forecaster import forecaster
from hubel.nets.googlenet import googlenet
from hubel.nets.image_series import image_series
from hubel.nets.inception_v3 import inception_v3
from hubel.nets.lenet import lenet
from hubel.nets.mlp import mlp
from hubel.nets.mobilenet import mobilenet_v2
from hubel.nets.mobilenet_v1 import mobilenet_v1
from hubel.nets.nasnet import nasnet_mobile
from hubel.nets.nin import nin
from hubel.nets.perceptron import perceptron
from hubel.nets.realnvp import realnvp
from hubel.nets.recurrent import recurrent
from hubel.nets.resnet import resnet
from hubel.nets.self_explaining import self_explaining
from hubel.nets.series_resnet import series_resnet
from hubel.nets.shape_check import LayerShapes as LayerShapes
from hubel.nets.shape_check import shape_check as shape_check
from hubel.nets.simple_cnn import simple_cnn
from hubel.nets.strided_cnn import strided_cnn
from hubel.nets.symmetrized import GENERATORS as GENERATORS
from hubel.nets.symmetrized import Symmetrized as Symmetrized
from hubel.nets.symmetrized import symmetrized
from hubel.nets.transformer import transformer
from hubel.nets.unet import unet
from hubel.nets.variational_autoencoder import variational_autoencoder
from hubel.nets.vgg import vgg
from hubel.nets.vision_transformer import vision_transformer
from hubel.nets.xception import xception
from hubel.nets.yolo import yolo
from hubel.nets.yolo_v3 import yolo_v3
from hubel.nets.zfnet import zfnet

OF_THEMSELVES = ("autoencoder", "conv_autoencoder", "dcgan", "realnvp", "variational_autoencoder")
"""Networks whose target is their own input."""

__all__ = [
    "alexnet",
    "anchor_free",
    "autoencoder",
    "character_lm",
    "committee",
    "compact",
    "conv_autoencoder",
    "dcgan",
    "densenet",
    "efficientnet_lite0",
    "enet",
    "faster_rcnn",
    "forecaster",
    "googlenet",
    "image_series",
    "inception_v3",
    "lenet",
    "mlp",
    "mobilenet_v1",
    "mobilenet_v2",
    "nasnet_mobile",
    "nin",
    "perceptron",
    "realnvp",
    "recurrent",
    "resnet",
    "self_explaining",
    "series_resnet",
    "simple_cnn",
    "strided_cnn",
    "symmetrized",
    "transformer",
    "unet",
    "variational_autoencoder",
    "vgg",
    "vision_transformer",
    "xception",
    "yolo",
    "yolo_v3",
    "zfnet",
]
