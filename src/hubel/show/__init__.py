"""A result becomes a figure, a table, a page. Nothing here computes a network: a run's folder is read."""

from hubel.show import equation, figures, inside
from hubel.show.attribution import attribution
from hubel.show.evidence import Evidence
from hubel.show.figures import confusion, curves, mistakes, predicted
from hubel.show.report import report

__all__ = [
    "Evidence",
    "attribution",
    "confusion",
    "curves",
    "equation",
    "figures",
    "inside",
    "mistakes",
    "predicted",
    "report",
]
