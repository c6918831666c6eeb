"""What a network saw: one function a method, one `Attribution` back. The network is never changed."""

from hubel.core.types import Attribution
from hubel.explain.compare import Comparison, compare
from hubel.explain.completeness_of_maps import completeness
from hubel.explain.controls import centre_map, random_map
from hubel.explain.deletion_insertion import deletion, insertion
from hubel.explain.infidelity import infidelity, max_sensitivity
from hubel.explain.intrinsic import intrinsic
from hubel.explain.pointing_game import pointing_game
from hubel.explain.question import Unit
from hubel.explain.randomization import data_randomization, model_randomization
from hubel.explain.sensitivity_n import sensitivity_n
from hubel.explain.surrogate import Surrogate, surrogate
from hubel.explain.trust import Trust

__all__ = [
    "Attribution",
    "Comparison",
    "Surrogate",
    "Trust",
    "Unit",
    "centre_map",
    "compare",
    "completeness",
    "data_randomization",
    "deletion",
    "infidelity",
    "insertion",
    "intrinsic",
    "max_sensitivity",
    "model_randomization",
    "pointing_game",
    "random_map",
    "sensitivity_n",
    "surrogate",
]
