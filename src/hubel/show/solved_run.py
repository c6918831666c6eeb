"""What the folder of a solved equation holds, read as something that may be damaged."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core import files
from hubel.core.errors import DamagedRun
from hubel.data.archives import opened_npz
from hubel.fitting.about import read_equation


@dataclass(frozen=True, kw_only=True)
class Banded:
    """An unknown function of the coordinates `of` on their grid: what was found, the ends of its band, the truth where it is known."""

    of: tuple[str, ...]
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    truth: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Solved:
    """What a run folder holds: `about` of run.json, `axes`, `fields`, `known` values of the reference and `residuals` on their grid
    (complex fields by their size), unknown `functions`, and a row an iteration.
    """

    folder: Path
    about: Mapping[str, Any]
    axes: Mapping[str, np.ndarray]
    fields: Mapping[str, np.ndarray]
    known: Mapping[str, np.ndarray]
    residuals: tuple[np.ndarray, ...]
    functions: Mapping[str, Banded]
    rows: tuple[Mapping[str, Any], ...]

    @staticmethod
    def read(folder: os.PathLike[str] | str) -> Solved:
        """Raises `FileNotFoundError`, `DamagedRun` or `ValueError` where the folder holds no solution."""
        folder = Path(folder)
        about = read_equation(folder)
        path = folder / "solution.npz"
        if not path.exists():
            raise DamagedRun(
                f"{folder} holds no solution yet (it is {about['status']}): go on with hubel resume {folder}"
            )
        names, fields = tuple(about["problem"]["ranges"]), tuple(about["problem"]["fields"])
        try:
            with opened_npz(path) as content:
                arrays = {name: content[name] for name in content.files}
            axes = {name: arrays[f"axis_{name}"] for name in names}
            shape = tuple(len(axis) for axis in axes.values())
            told = {name: arrays[f"field_{name}"] for name in fields}
            known = {name: arrays[f"reference_{name}"] for name in fields if f"reference_{name}" in arrays}
            residuals = tuple(arrays[name] for name in sorted(arrays) if name.startswith("residual_"))
            if any(array.shape != shape for array in (*told.values(), *known.values(), *residuals)):
                raise ValueError("its arrays are not of the size of its axes")
            functions = {
                name: _banded(arrays, name, tuple(of), axes)
                for name, of in about["problem"].get("functions", {}).items()
            }
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DamagedRun(
                f"{path} can not be read ({error}): restore it from a copy, or solve again"
            ) from error
        rows = tuple(
            row
            for row in files.read_lines(folder / "curves.jsonl")
            if isinstance(row.get("seconds"), (int, float))
        )
        return Solved(
            folder=folder, about=about, axes=axes, fields=told, known=known, residuals=residuals,
            functions=functions, rows=rows,
        )  # fmt: skip

    @property
    def title(self) -> str:
        """That of the equation."""
        return str(self.about["problem"].get("title") or self.folder.name)

    @property
    def measured(self) -> float | None:
        """The relative error of all fields together, each in units of its size; None where there is no reference."""
        shares = [score.get("value") for score in self.about["test"].values()]
        if not shares or any(share is None for share in shares):
            return None
        return math.sqrt(sum(share**2 for share in shares) / len(shares))

    def labelled(self, name: str) -> str:
        """A name with its unit, where it has one."""
        unit = self.about["problem"].get("units", {}).get(name)
        return name if unit is None else f"{name} ({unit})"


def solved_run(run: Solved | os.PathLike[str] | str) -> Solved:
    """The run itself, or the one in a folder."""
    return run if isinstance(run, Solved) else Solved.read(run)


def _banded(
    arrays: Mapping[str, np.ndarray], name: str, of: tuple[str, ...], axes: Mapping[str, np.ndarray]
) -> Banded:
    """An unknown function from the arrays of its folder. Raises `ValueError` where they are not of the size of its axes."""
    found = Banded(
        of=of,
        values=arrays[f"function_{name}"],
        low=arrays[f"low_{name}"],
        high=arrays[f"high_{name}"],
        truth=arrays.get(f"truth_{name}"),
    )
    shape = tuple(len(axes[x]) for x in of)
    given = [found.values, found.low, found.high, *([] if found.truth is None else [found.truth])]
    if any(array.shape != shape or array.dtype.kind not in "fiu" for array in given):
        raise ValueError(f"the arrays of the function {name} are not of the size of its axes")
    return found
