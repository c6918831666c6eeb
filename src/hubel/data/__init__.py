"""Examples in: readers, splits, batches, augmentation.

Importing this folder needs NumPy only; image libraries, tables and torch are imported where they are used.
"""

from hubel.data.arrays import from_arrays
from hubel.data.builtin import BUILTIN, BuiltIn, load_builtin
from hubel.data.dataset import PARTS, SYMMETRIES, Dataset
from hubel.data.duplicates import Duplicates, duplicates, without_leaks
from hubel.data.loading import load
from hubel.data.prediction_input import read_like
from hubel.data.splits import SplitRows, assign_parts

__all__ = [
    "BUILTIN",
    "PARTS",
    "SYMMETRIES",
    "BuiltIn",
    "Dataset",
    "Duplicates",
    "SplitRows",
    "assign_parts",
    "duplicates",
    "from_arrays",
    "load",
    "load_builtin",
    "read_like",
    "without_leaks",
]
