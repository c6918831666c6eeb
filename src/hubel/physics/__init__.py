"""Equations: fields, derivatives, conditions, and networks that satisfy them."""

from hubel.physics.problem import Problem
from hubel.physics.solution import Solution
from hubel.physics.solver import Solver, solve
from hubel.physics.unknown import Found, Unknown, unknown

__all__ = ["Found", "Problem", "Solution", "Solver", "Unknown", "solve", "unknown"]
