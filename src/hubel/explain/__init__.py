"""What a network saw: one function a method, one `Attribution` back. The network is never changed."""

from hubel.core.types import Attribution
from hubel.explain.leave_one_feature_out import leave_one_feature_out
from hubel.explain.lime import lime
from hubel.explain.meaningful_perturbation import meaningful_perturbation
from hubel.explain.occlusion import occlusion, occlusion_cost
from hubel.explain.prediction_difference import prediction_difference
from hubel.explain.question import Unit
from hubel.explain.representation_erasure import representation_erasure
from hubel.explain.rise import rise
from hubel.explain.shapley import shapley_exact, shapley_sampling

__all__ = [
    "Attribution",
    "Unit",
    "leave_one_feature_out",
    "lime",
    "meaningful_perturbation",
    "occlusion",
    "occlusion_cost",
    "prediction_difference",
    "representation_erasure",
    "rise",
    "shapley_exact",
    "shapley_sampling",
]
