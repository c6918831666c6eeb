"""Fitting: the loop, step rules, optimizers, schedules, recipes, precision, checkpoints and runs."""

from hubel.fitting.averaging import MovingAverage
from hubel.fitting.checkpoints import Checkpoints
from hubel.fitting.loop import StepRule, steps
from hubel.fitting.optimizers import SGD, AdamW, Muon
from hubel.fitting.precision import Precision, probe
from hubel.fitting.recipe import EarlyStopping, Recipe
from hubel.fitting.rules import Backprop, Closure
from hubel.fitting.run import Run, open_run
from hubel.fitting.schedules import Constant, Cosine, Linear, OneCycle, Piecewise, Plateau, Progress, Schedule

__all__ = [
    "SGD",
    "AdamW",
    "Backprop",
    "Checkpoints",
    "Closure",
    "Constant",
    "Cosine",
    "EarlyStopping",
    "Linear",
    "MovingAverage",
    "Muon",
    "OneCycle",
    "Piecewise",
    "Plateau",
    "Precision",
    "Progress",
    "Recipe",
    "Run",
    "Schedule",
    "StepRule",
    "open_run",
    "probe",
    "steps",
]
