"""What is asked of a network: one file a question."""

from hubel.objectives.auxiliary import WithAuxiliary
from hubel.objectives.binary_cross_entropy import BinaryCrossEntropy
from hubel.objectives.contract import check
from hubel.objectives.cross_entropy import CrossEntropy
from hubel.objectives.objective import Objective, forward, mean_over_batch
from hubel.objectives.squared_error import SquaredError

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Objective",
    "SquaredError",
    "WithAuxiliary",
    "check",
    "forward",
    "mean_over_batch",
]
