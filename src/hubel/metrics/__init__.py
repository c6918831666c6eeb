"""Scores with intervals: pure functions of NumPy arrays that return `Interval`s.

Class numbers, probabilities or real values in; what was true always comes first. `groups=` names what the
examples belong to (patients, plates, nights): the interval then treats groups, not examples, as independent.

Arguments of the wrong shape, type or range (class numbers below 0, probabilities that do not sum to 1) raise
`ValueError`; a score that does not exist on these examples is NaN, and its `method` says why.
"""

from hubel.metrics.calibration import (
    ReliabilityBin,
    brier,
    expected_calibration_error,
    log_loss,
    mean,
    reliability,
)
from hubel.metrics.chance import chance_level, expected_initial_loss, majority_accuracy
from hubel.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    per_class,
    proportion,
    top_k_accuracy,
)
from hubel.metrics.detection import AveragePrecision, average_precision_difference
from hubel.metrics.detection_chance import chance_of_match, placed_at_random, proposal_recall
from hubel.metrics.detection_curves import (
    Curve,
    OperatingPoint,
    best_f1,
    froc,
    precision_at_recall,
    precision_recall,
    recall_at_precision,
    scores_at,
)
from hubel.metrics.detection_errors import ErrorBreakdown, error_breakdown
from hubel.metrics.detection_matching import predictions_of, truths_of
from hubel.metrics.detection_rules import (
    Measure,
    Rule,
    all_point,
    centre_distance,
    coco,
    iop,
    ios,
    iou,
    voc07,
)
from hubel.metrics.detection_scores import object_detection
from hubel.metrics.folds import over_folds
from hubel.metrics.frechet import frechet_distance
from hubel.metrics.intervals import bootstrap, undefined, wilson
from hubel.metrics.multilabel import f1_over_labels, per_label, subset_accuracy
from hubel.metrics.ranking import average_precision, roc_auc
from hubel.metrics.reconstruction import by_channel, reconstruction
from hubel.metrics.regression import coverage, mae, r2, rmse
from hubel.metrics.segmentation import (
    mean_overlap,
    overlaps,
    pixel_confusions,
    segmentation,
    segmentation_from_counts,
)
from hubel.metrics.sequences import next_symbol
from hubel.metrics.skill import skill
from hubel.metrics.summaries import classification, multilabel, regression

__all__ = [
    "AveragePrecision",
    "Curve",
    "ErrorBreakdown",
    "Measure",
    "OperatingPoint",
    "ReliabilityBin",
    "Rule",
    "accuracy",
    "all_point",
    "average_precision",
    "average_precision_difference",
    "balanced_accuracy",
    "best_f1",
    "bootstrap",
    "brier",
    "by_channel",
    "centre_distance",
    "chance_level",
    "chance_of_match",
    "classification",
    "coco",
    "confusion_matrix",
    "coverage",
    "error_breakdown",
    "expected_calibration_error",
    "expected_initial_loss",
    "f1_over_labels",
    "frechet_distance",
    "froc",
    "iop",
    "ios",
    "iou",
    "log_loss",
    "mae",
    "majority_accuracy",
    "mean",
    "mean_overlap",
    "multilabel",
    "next_symbol",
    "object_detection",
    "over_folds",
    "overlaps",
    "per_class",
    "per_label",
    "pixel_confusions",
    "placed_at_random",
    "precision_at_recall",
    "precision_recall",
    "predictions_of",
    "proportion",
    "proposal_recall",
    "r2",
    "recall_at_precision",
    "reconstruction",
    "regression",
    "reliability",
    "rmse",
    "roc_auc",
    "scores_at",
    "segmentation",
    "segmentation_from_counts",
    "skill",
    "subset_accuracy",
    "top_k_accuracy",
    "truths_of",
    "undefined",
    "voc07",
    "wilson",
]
