"""Values that travel between folders, and the letters of tensor axes.

Axes: N examples · C channels · H W image rows, columns · D depth · T time · F features · K classes or outputs · P parameters.

Everything here is frozen and prints itself; nothing here needs torch to be imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some examples on the device, ready for the network.

    `inputs` [N, ...] are scaled; `targets` [N] or [N, K]; `ids` [N] are row numbers in the dataset
    (so that a bad example can be named); `weights` [N] count each example's loss. `lengths` [N] are the numbers of steps of
    sequences [N, L, F] of different lengths: what lies beyond is zero, and a network is called as `net(inputs, lengths)`.
    """

    inputs: Tensor
    targets: Tensor
    ids: Tensor | None = None
    weights: Tensor | None = None
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def repeated(self, times: int) -> Batch:
        """The same examples `times` over, one after the other.

        >>> import torch
        >>> Batch(inputs=torch.tensor([[1.0], [2.0]]), targets=torch.tensor([0, 1])).repeated(2).targets.tolist()
        [0, 1, 0, 1]
        """

        def again(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.repeat(times, *[1] * (values.ndim - 1))

        inputs, targets = again(self.inputs), again(self.targets)
        assert inputs is not None and targets is not None
        return replace(
            self,
            inputs=inputs,
            targets=targets,
            ids=again(self.ids),
            weights=again(self.weights),
            lengths=again(self.lengths),
        )

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """What the network is called with: inputs, and lengths where there are some."""
        return (self.inputs,) if self.lengths is None else (self.inputs, self.lengths)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A scalar to descend (`total`), and the named parts that it was summed from (for the record)."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one step did. `step` counts from 1 over the whole run, `epoch` from 1.

    The scalars are detached tensors still on the device; `loss` and `read()` fetch them when asked, so
    that a loop which does not look does not wait.
    """

    step: int
    epoch: int
    examples: int
    learning_rate: float
    scalars: Mapping[str, Tensor]

    @property
    def loss(self) -> float:
        """The loss of this batch, in the objective's unit."""
        return float(self.scalars["loss"])

    @property
    def grad_norm(self) -> float:
        """Euclidean norm of the whole gradient before clipping."""
        return float(self.scalars["grad_norm"])

    def read(self) -> dict[str, float]:
        """All scalars as Python numbers."""
        return {name: float(value) for name, value in self.scalars.items()}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score with its interval: `value` (low-high, at `level`), from `count` examples, by `method`."""

    value: float
    low: float
    high: float
    level: float = 0.95
    count: int | None = None
    method: str = ""

    def __str__(self) -> str:
        if any(math.isnan(v) for v in (self.value, self.low, self.high)):
            return f"{self.value:.4g} (no interval)"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, NaN as null."""

        def number(value: float) -> float | None:
            return None if math.isnan(value) else float(value)

        return {
            "value": number(self.value),
            "low": number(self.low),
            "high": number(self.high),
            "level": self.level,
            "count": self.count,
            "method": self.method,
        }


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What an objective reads from raw scores.

    `values` [N] are class numbers (or real values, [N, K]); `probabilities` [N, K] where there are any;
    `classes` are the names behind the numbers, `units` those of real values; `uncertainties` [N, K] are one standard deviation of
    real values, where the network says one. Of masks `values` [N, H, W] are the class numbers of pixels, `probabilities` [N, K, H, W]. Of symbols `values` [N, L] are the numbers in the `alphabet`; where those that came are
    known, `surprisals` [N, L] are the bits that each took, and `ranks` [N, L] how many others were thought likelier.
    """

    values: np.ndarray
    probabilities: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    uncertainties: np.ndarray | None = None
    alphabet: tuple[str, ...] | None = None
    surprisals: np.ndarray | None = None
    ranks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def labels(self) -> list[str]:
        """Class names, one an example (several yes/no labels are joined by '|'); texts of symbols."""
        if self.alphabet is not None:
            return ["".join(self.alphabet[int(v)] for v in row) for row in self.values]
        if self.classes is None:
            raise ValueError("this prediction has no classes: its values are real numbers, read `.values`")
        if self.values.ndim == 3:
            raise ValueError(
                "this prediction has a class for every pixel: write np.array(prediction.classes)[prediction.values]"
            )
        if self.values.ndim == 2:
            return ["|".join(c for c, on in zip(self.classes, row, strict=True) if on) for row in self.values]
        return [self.classes[int(v)] for v in self.values]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing noticed about data or a fit: what, the numbers behind it, why it matters, what to do."""

    what: str
    evidence: Mapping[str, Any]
    why: str
    remedy: str
    severity: Literal["note", "flagged"] = "note"
    source: str = ""
    confidence: float | None = None

    def __str__(self) -> str:
        return f"{self.what}. {self.why} {self.remedy}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """What an explanation found: how much each value of the input did for one number that the network answers.

    `values` has the shape of the input [N, ...], signed and unscaled: it is scaled for drawing only. A method that can not tell channels
    apart shares each position's value equally among them, so that the sum over channels (`map`) is what the method says. `score` [N] is
    the number that is explained, `target` [N] its name an example. `baseline` is the input that counts as nothing, where the method
    has one. `residual` [N] is what is missing to completeness, relative: |sum of values + `absorbed` - (score - score of the baseline)|
    over the greater of |score - score of the baseline| and of the greatest absolute value; `absorbed` [N] is what biases keep for themselves.
    Both are None where a method promises nothing. `coarse` is the map at the resolution at which it was computed, where that is another one.
    `passes` counts forward and backward passes of one example each; `seconds` is wall time.
    """

    values: Tensor
    method: str
    target: tuple[str, ...]
    score: Tensor
    baseline: Tensor | None = None
    residual: Tensor | None = None
    absorbed: Tensor | None = None
    coarse: Tensor | None = None
    passes: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def map(self) -> Tensor:
        """The sum over channels: [N, H, W] of images, [N, D, H, W] of volumes, `values` themselves where there are no channels."""
        return self.values.sum(1) if self.values.ndim >= 4 else self.values

    def __str__(self) -> str:
        parts = [
            f"{self.method} of {', '.join(dict.fromkeys(self.target))}: values {list(self.values.shape)}"
        ]
        if self.residual is not None and len(self.residual):
            parts.append(f"completeness within {float(self.residual.max()):.2g}")
        parts.append(f"{self.passes} passes, {self.seconds:.3g} s")
        return ", ".join((*parts, *self.notes))
