"""Equations: fields, derivatives, conditions, and networks that satisfy them."""

from hubel.physics.levenberg import LevenbergMarquardt
from hubel.physics.problem import Problem
from hubel.physics.quasi_newton import LimitedMemory, SelfScaledBroyden
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver, raissi, solve
from hubel.physics.unknown import Found, Unknown, unknown

__all__ = [
    "Found",
    "LevenbergMarquardt",
    "LimitedMemory",
    "Problem",
    "SelfScaledBroyden",
    "Solution",
    "Solver",
    "Unknown",
    "raissi",
    "solve",
    "unknown",
]
