"""What a network saw: one function a method, one `Attribution` back. The network is never changed."""

from hubel.core.types import Attribution
from hubel.explain.circuit import circuit
from hubel.explain.codes_map import codes_map
from hubel.explain.dream import dream
from hubel.explain.feature_maps import feature_maps
from hubel.explain.filters import filters
from hubel.explain.loss_landscape import loss_landscape, loss_line
from hubel.explain.maximize import Regularizers, gallery, maximize
from hubel.explain.most_exciting import most_exciting
from hubel.explain.question import Unit
from hubel.explain.receptive_field import receptive_field
from hubel.explain.templates import templates
from hubel.explain.units_over_text import find_units, inside_brackets, position_in_line, units_over_text

__all__ = [
    "Attribution",
    "Regularizers",
    "Unit",
    "circuit",
    "codes_map",
    "dream",
    "feature_maps",
    "filters",
    "find_units",
    "gallery",
    "inside_brackets",
    "loss_landscape",
    "loss_line",
    "maximize",
    "most_exciting",
    "position_in_line",
    "receptive_field",
    "templates",
    "units_over_text",
]
