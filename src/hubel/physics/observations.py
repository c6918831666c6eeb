"""Measured values of fields at points of the domain, from a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubel.core.errors import nearest
from hubel.physics.problem import Problem


@dataclass(frozen=True)
class Observations:
    """Points [N, D] and the measured values [N] of one component or more."""

    points: Tensor
    values: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def scales(self) -> dict[str, float]:
        """The size of every component: its root mean square, 1 where all values are 0."""
        return {name: float(values.square().mean().sqrt()) or 1.0 for name, values in self.values.items()}

    @staticmethod
    def of(data: Any, problem: Problem) -> Observations:
        """From a mapping of columns or a DataFrame: one column a coordinate, and one or more of fields (complex ones have complex values).

        Raises `ValueError` for columns that lack or differ in length, for missing numbers, and for points outside the domain.
        """
        names = [
            str(name) for name in (data.keys() if isinstance(data, Mapping) else getattr(data, "columns", ()))
        ]
        known = (*problem.coordinates, *problem.fields)
        if not names:
            raise TypeError(
                f"data must be a table with columns {', '.join(known)}; received {type(data).__name__}"
            )
        for name in problem.coordinates:
            if name not in names:
                raise ValueError(
                    f"data has no column {name!r}; it has {', '.join(names)}.{nearest(name, names)}"
                )
        measured = [name for name in problem.fields if name in names]
        if not measured:
            raise ValueError(
                f"data has no column of a field ({', '.join(problem.fields)}); it has {', '.join(names)}"
            )
        columns = {
            name: _column(name, data[name], name in problem.complex)
            for name in (*problem.coordinates, *measured)
        }
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1 or not min(lengths.values()):
            raise ValueError(f"the columns of data must be of one length, at least 1; received {lengths}")
        for name in problem.coordinates:
            low, high = problem.ranges[name]
            slack = 1e-9 * (high - low)
            outside = (columns[name] < low - slack) | (columns[name] > high + slack)
            if bool(outside.any()):
                first = int(outside.nonzero()[0])
                raise ValueError(
                    f"{int(outside.sum())} of {len(outside)} rows of data are outside of the domain: {name} = "
                    f"{float(columns[name][first]):g} in row {first}; the domain has {low:g} to {high:g}"
                )
        values = {}
        for name in measured:
            if name in problem.complex:
                values |= {f"{name}.real": columns[name].real, f"{name}.imag": columns[name].imag}
            else:
                values[name] = columns[name]
        points = torch.stack([columns[name] for name in problem.coordinates], dim=1)
        inside = problem.inside(points)
        if inside is not None and not bool(inside.all()):
            first = int((~inside).nonzero()[0])
            at = ", ".join(f"{name} = {float(columns[name][first]):g}" for name in problem.coordinates)
            raise ValueError(
                f"{int((~inside).sum())} of {len(inside)} rows of data are outside of the shape: {at} in row {first}"
            )
        return Observations(points, {name: value.contiguous() for name, value in values.items()})


def _column(name: str, given: Any, complex: bool) -> Tensor:
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.ndim != 1:
        raise ValueError(f"column {name} of data has shape {list(array.shape)}; expected one number a row")
    if array.dtype.kind not in ("fiuc" if complex else "fiu"):
        raise TypeError(
            f"column {name} of data holds {array.dtype}; expected {'complex' if complex else 'real'} numbers"
        )
    array = array.astype(np.complex128 if complex else np.float64)
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(
            f"column {name} of data has {int((~np.isfinite(array)).sum())} missing or infinite numbers, the first in row {place}: "
            "leave these rows out"
        )
    return torch.from_numpy(array)
