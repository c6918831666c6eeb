"""Detectors that are more than a network and an objective: proposals from outside, and what judges them.

    SelectiveSearch, SlidingWindow    proposals for a picture
    propose_all                       for many, and how many of the known objects they reach
    labelled_crops                    proposals cut out, for a classifier
    WindowDetector                    that classifier at every proposal
    fit_rcnn                          its features, support vector machines, and boxes moved by regression (R-CNN)
    fit_fast_rcnn                     one pass for all proposals of a picture (Fast R-CNN)

All answer candidates [N, R, 8 + K] for pictures [N, C, H, W], which `hubel.objectives.FasterRCNNDetection(K).read` makes detections of.
"""

from hubel.detection.crops import labelled_crops, warped
from hubel.detection.fast_rcnn import FastRCNN, OnProposals, fit_fast_rcnn
from hubel.detection.proposals import Proposals, Propose, propose_all
from hubel.detection.rcnn import RCNN, RegionFeatures, fit_rcnn, region_features
from hubel.detection.selective_search import SelectiveSearch
from hubel.detection.sliding_window import SlidingWindow
from hubel.detection.window_detector import WindowDetector

__all__ = [
    "RCNN",
    "FastRCNN",
    "OnProposals",
    "Proposals",
    "Propose",
    "RegionFeatures",
    "SelectiveSearch",
    "SlidingWindow",
    "WindowDetector",
    "fit_fast_rcnn",
    "fit_rcnn",
    "labelled_crops",
    "propose_all",
    "region_features",
    "warped",
]
