"""A list of image files with their labels: what a folder or a table is before any picture is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """Image files in a fixed order; `ids` are their printable paths, `y` their labels as `read_targets` takes them (None where there are
    none, because the pictures are their own target, or have a mask each: `masks`, printed as `mask_ids`, with the `class_names` by value that stand
    beside them).
    """

    paths: list[Path]
    ids: list[str]
    y: Any
    part: np.ndarray | None = None
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None
    target_names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    masks: list[Path] | None = None
    mask_ids: list[str] | None = None
    class_names: Any = None
    notes: tuple[str, ...] = ()
