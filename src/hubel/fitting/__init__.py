"""Fitting: the loop, step rules, optimizers, schedules, recipes, precision, checkpoints and runs."""

from hubel.fitting.averaging import MovingAverage
from hubel.fitting.checkpoints import Checkpoints
from hubel.fitting.ensemble import Ensemble, mean_prediction, open_ensemble, open_fitted
from hubel.fitting.freezing import Freeze
from hubel.fitting.loop import StepRule, steps
from hubel.fitting.optimizers import SGD, Adadelta, Adagrad, Adam, AdamW, Momentum, Muon, RMSProp
from hubel.fitting.penalties import L1, L2, Activity, Lp, MaxNorm, NonNegative, Penalty, UnitNorm
from hubel.fitting.perceptron import PerceptronRule, linearly_separable
from hubel.fitting.precision import Precision, probe
from hubel.fitting.recipe import EarlyStopping, Recipe
from hubel.fitting.rules import Backprop, Closure
from hubel.fitting.run import Run, open_run
from hubel.fitting.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    Piecewise,
    Plateau,
    Progress,
    Schedule,
    Step,
)

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Activity",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Backprop",
    "Checkpoints",
    "Closure",
    "Constant",
    "Cosine",
    "EarlyStopping",
    "Ensemble",
    "Exponential",
    "Freeze",
    "Linear",
    "Lp",
    "MaxNorm",
    "Momentum",
    "MovingAverage",
    "Muon",
    "NonNegative",
    "OneCycle",
    "Penalty",
    "PerceptronRule",
    "Piecewise",
    "Plateau",
    "Precision",
    "Progress",
    "RMSProp",
    "Recipe",
    "Run",
    "Schedule",
    "Step",
    "StepRule",
    "UnitNorm",
    "linearly_separable",
    "mean_prediction",
    "open_ensemble",
    "open_fitted",
    "open_run",
    "probe",
    "steps",
]
