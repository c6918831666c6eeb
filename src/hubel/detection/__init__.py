"""Detectors that are more than a network and an objective: proposals from outside, and what judges them."""

from hubel.detection.selective_search import SelectiveSearch
from hubel.detection.sliding_window import SlidingWindow

__all__ = ["SelectiveSearch", "SlidingWindow"]
