"""Equations: fields, derivatives, conditions, and networks that satisfy them."""

from hubel.physics import equations, references
from hubel.physics.equations import Equation
from hubel.physics.problem import Problem
from hubel.physics.references import Reference
from hubel.physics.runs import open_solution
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver, solve
from hubel.physics.unknown import Found, Unknown, unknown

__all__ = [
    "Equation",
    "Found",
    "Problem",
    "Reference",
    "Solution",
    "Solver",
    "Unknown",
    "equations",
    "open_solution",
    "references",
    "solve",
    "unknown",
]
