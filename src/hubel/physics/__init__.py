"""Equations: fields, derivatives, conditions, and networks that satisfy them."""

from hubel.physics import equations, references, shapes
from hubel.physics.architecture import Architecture
from hubel.physics.equations import Equation
from hubel.physics.first_order import Adam
from hubel.physics.functions import FoundFunction
from hubel.physics.levenberg import LevenbergMarquardt
from hubel.physics.muon import Muon
from hubel.physics.problem import Problem
from hubel.physics.quasi_newton import LimitedMemory, SelfScaledBroyden
from hubel.physics.references import Reference
from hubel.physics.runs import open_solution
from hubel.physics.soap import SOAP
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver
from hubel.physics.solving import raissi, solve
from hubel.physics.unknown import Found, Unknown, unknown
from hubel.physics.windows import Windows

__all__ = [
    "SOAP",
    "Adam",
    "Architecture",
    "Equation",
    "Found",
    "FoundFunction",
    "LevenbergMarquardt",
    "LimitedMemory",
    "Muon",
    "Problem",
    "Reference",
    "SelfScaledBroyden",
    "Solution",
    "Solver",
    "Unknown",
    "Windows",
    "equations",
    "open_solution",
    "raissi",
    "references",
    "shapes",
    "solve",
    "unknown",
]
