"""Solutions that are known, to measure errors against: closed forms, spectral methods, series; each with its stated accuracy."""

from hubel.physics.references.closed import (
    advection,
    burgers,
    heat,
    helmholtz,
    kovasznay,
    taylor_green,
    wave,
)
from hubel.physics.references.l_shape import l_shape
from hubel.physics.references.reference import Known, Reference
from hubel.physics.references.riemann import riemann
from hubel.physics.references.spectral import allen_cahn, burgers_spectral, kdv, schroedinger

__all__ = [
    "Known",
    "Reference",
    "advection",
    "allen_cahn",
    "burgers",
    "burgers_spectral",
    "heat",
    "helmholtz",
    "kdv",
    "kovasznay",
    "l_shape",
    "riemann",
    "schroedinger",
    "taylor_green",
    "wave",
]
