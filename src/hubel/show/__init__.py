"""A result becomes a figure, a table, a page."""

from hubel.show.evidence import Evidence
from hubel.show.report import report

__all__ = ["Evidence", "report"]
