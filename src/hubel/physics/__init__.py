"""Equations: fields, derivatives, conditions, and networks that satisfy them."""

from hubel.physics.unknown import Unknown, unknown

__all__ = ["Unknown", "unknown"]
