"""Examples in: readers, splits, batches, augmentation.

Importing this folder needs NumPy only; image libraries, tables and torch are imported where they are used.
"""

from hubel.data.anchors import Anchors, anchors_of
from hubel.data.arrays import from_arrays
from hubel.data.box_writing import box_mappings, label_studio_config, write_boxes
from hubel.data.boxes_of_masks import boxes_of_mask
from hubel.data.builtin import BUILTIN, BuiltIn, load_builtin
from hubel.data.dataset import PARTS, SYMMETRIES, Dataset
from hubel.data.duplicates import Duplicates, duplicates, without_leaks
from hubel.data.feature_table import from_table
from hubel.data.forecasting import forecasting, load_forecasting
from hubel.data.loading import load
from hubel.data.prediction_input import read_like
from hubel.data.series import Series, pad_series
from hubel.data.splits import SplitRows, assign_parts
from hubel.data.text import alphabet_of, cut_text, from_text, load_text, read_text, symbols_of, text_of
from hubel.data.text_variants import synonyms, translated_back
from hubel.data.tiled import tiled

__all__ = [
    "BUILTIN",
    "PARTS",
    "SYMMETRIES",
    "Anchors",
    "BuiltIn",
    "Dataset",
    "Duplicates",
    "Series",
    "SplitRows",
    "alphabet_of",
    "anchors_of",
    "assign_parts",
    "box_mappings",
    "boxes_of_mask",
    "cut_text",
    "duplicates",
    "forecasting",
    "from_arrays",
    "from_table",
    "from_text",
    "label_studio_config",
    "load",
    "load_builtin",
    "load_forecasting",
    "load_text",
    "pad_series",
    "read_like",
    "read_text",
    "symbols_of",
    "synonyms",
    "text_of",
    "tiled",
    "translated_back",
    "without_leaks",
    "write_boxes",
]
