"""What is asked of a network: one file a question."""

from hubel.objectives.absolute_error import AbsoluteError, Huber
from hubel.objectives.adversarial import Adversarial
from hubel.objectives.anchor_free_detection import AnchorFreeDetection
from hubel.objectives.auxiliary import WithAuxiliary
from hubel.objectives.binary_cross_entropy import BinaryCrossEntropy
from hubel.objectives.contract import check
from hubel.objectives.cross_entropy import CrossEntropy
from hubel.objectives.detection import Detection as Detection
from hubel.objectives.faster_rcnn_detection import FasterRCNNDetection
from hubel.objectives.gaussian import GaussianLikelihood
from hubel.objectives.hinge import Hinge
from hubel.objectives.log_likelihood import LogLikelihood
from hubel.objectives.next_symbol import NextSymbol
from hubel.objectives.objective import Objective, Pieces, forward, mean_over_batch
from hubel.objectives.own_target import OwnTarget as OwnTarget
from hubel.objectives.pixel_cross_entropy import PixelCrossEntropy
from hubel.objectives.reconstruction import Reconstruction
from hubel.objectives.sparse_explanation import SparseExplanation
from hubel.objectives.squared_error import SquaredError
from hubel.objectives.squared_log_error import SquaredLogError
from hubel.objectives.variational import Variational
from hubel.objectives.yolo_detection import YOLODetection
from hubel.objectives.yolo_detection import lost_to_shared_cells as lost_to_shared_cells
from hubel.objectives.yolo_v3_detection import YOLOv3Detection

__all__ = [
    "AbsoluteError",
    "Adversarial",
    "AnchorFreeDetection",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "FasterRCNNDetection",
    "GaussianLikelihood",
    "Hinge",
    "Huber",
    "LogLikelihood",
    "NextSymbol",
    "Objective",
    "Pieces",
    "PixelCrossEntropy",
    "Reconstruction",
    "SparseExplanation",
    "SquaredError",
    "SquaredLogError",
    "Variational",
    "WithAuxiliary",
    "YOLODetection",
    "YOLOv3Detection",
    "check",
    "forward",
    "mean_over_batch",
]
