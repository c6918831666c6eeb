"""What a network saw: one function a method, one `Attribution` back. The network is never changed."""

from hubel.core.types import Attribution
from hubel.explain.cam import cam
from hubel.explain.circuit import circuit
from hubel.explain.codes_map import codes_map
from hubel.explain.compare import Comparison, compare
from hubel.explain.completeness_of_maps import completeness
from hubel.explain.controls import centre_map, random_map
from hubel.explain.deeplift import deeplift
from hubel.explain.deletion_insertion import deletion, insertion
from hubel.explain.dream import dream
from hubel.explain.expected_gradients import expected_gradients
from hubel.explain.feature_maps import feature_maps
from hubel.explain.filters import filters
from hubel.explain.grad_cam import grad_cam, grad_cam_plus_plus, hires_cam, layer_cam
from hubel.explain.gradient_times_input import gradient_times_input
from hubel.explain.infidelity import infidelity, max_sensitivity
from hubel.explain.integrated_gradients import integrated_gradients
from hubel.explain.intrinsic import intrinsic
from hubel.explain.leave_one_feature_out import leave_one_feature_out
from hubel.explain.lime import lime
from hubel.explain.loss_landscape import loss_landscape, loss_line
from hubel.explain.lrp import lrp
from hubel.explain.lrp_rules import (
    EPSILON_ALPHA2_BETA1,
    EPSILON_ALPHA2_BETA1_FLAT,
    EPSILON_GAMMA,
    EPSILON_PLUS,
    EPSILON_PLUS_FLAT,
    AlphaBeta,
    Box,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    ZPlus,
)
from hubel.explain.maximize import Regularizers, gallery, maximize
from hubel.explain.meaningful_perturbation import meaningful_perturbation
from hubel.explain.most_exciting import most_exciting
from hubel.explain.occlusion import occlusion, occlusion_cost
from hubel.explain.pointing_game import pointing_game
from hubel.explain.prediction_difference import prediction_difference
from hubel.explain.question import Unit
from hubel.explain.randomization import data_randomization, model_randomization
from hubel.explain.receptive_field import receptive_field
from hubel.explain.rectified import deconvnet, guided_backprop
from hubel.explain.representation_erasure import representation_erasure
from hubel.explain.rise import rise
from hubel.explain.saliency import saliency
from hubel.explain.sensitivity_n import sensitivity_n
from hubel.explain.shapley import shapley_exact, shapley_sampling
from hubel.explain.smoothgrad import smoothgrad
from hubel.explain.surrogate import Surrogate, surrogate
from hubel.explain.templates import templates
from hubel.explain.trust import Trust
from hubel.explain.units_over_text import find_units, inside_brackets, position_in_line, units_over_text

__all__ = [
    "EPSILON_ALPHA2_BETA1",
    "EPSILON_ALPHA2_BETA1_FLAT",
    "EPSILON_GAMMA",
    "EPSILON_PLUS",
    "EPSILON_PLUS_FLAT",
    "AlphaBeta",
    "Attribution",
    "Box",
    "Comparison",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Regularizers",
    "Surrogate",
    "Trust",
    "Unit",
    "WSquare",
    "ZPlus",
    "cam",
    "centre_map",
    "circuit",
    "codes_map",
    "compare",
    "completeness",
    "data_randomization",
    "deconvnet",
    "deeplift",
    "deletion",
    "dream",
    "expected_gradients",
    "feature_maps",
    "filters",
    "find_units",
    "gallery",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient_times_input",
    "guided_backprop",
    "hires_cam",
    "infidelity",
    "insertion",
    "inside_brackets",
    "integrated_gradients",
    "intrinsic",
    "layer_cam",
    "leave_one_feature_out",
    "lime",
    "loss_landscape",
    "loss_line",
    "lrp",
    "max_sensitivity",
    "maximize",
    "meaningful_perturbation",
    "model_randomization",
    "most_exciting",
    "occlusion",
    "occlusion_cost",
    "pointing_game",
    "position_in_line",
    "prediction_difference",
    "random_map",
    "receptive_field",
    "representation_erasure",
    "rise",
    "saliency",
    "sensitivity_n",
    "shapley_exact",
    "shapley_sampling",
    "smoothgrad",
    "surrogate",
    "templates",
    "units_over_text",
]
