"""What is asked of a network: one file a question."""

from hubel.objectives.absolute_error import AbsoluteError, Huber
from hubel.objectives.auxiliary import WithAuxiliary
from hubel.objectives.binary_cross_entropy import BinaryCrossEntropy
from hubel.objectives.contract import check
from hubel.objectives.cross_entropy import CrossEntropy
from hubel.objectives.gaussian import GaussianLikelihood
from hubel.objectives.hinge import Hinge
from hubel.objectives.next_symbol import NextSymbol
from hubel.objectives.objective import Objective, Pieces, forward, mean_over_batch
from hubel.objectives.squared_error import SquaredError
from hubel.objectives.squared_log_error import SquaredLogError

__all__ = [
    "AbsoluteError",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "GaussianLikelihood",
    "Hinge",
    "Huber",
    "NextSymbol",
    "Objective",
    "Pieces",
    "SquaredError",
    "SquaredLogError",
    "WithAuxiliary",
    "check",
    "forward",
    "mean_over_batch",
]
