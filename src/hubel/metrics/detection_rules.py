"""By which rule boxes are counted: what is a match, how many boxes of an image count, and which area stands under the curve.

The same detector has several "average precisions": the interpolation alone moves it by several points where objects are few. A rule is
therefore an object, and its name stands in the name of every score.

| rule | a match | ignored truths | area under the curve |
|---|---|---|---|
| `all_point` | IoU ≥ 0.5 with the truth that it overlaps most | by the same IoU | of the greatest precision at this or a higher recall, over all recalls |
| `voc07` | as `all_point` | as `all_point` | mean of that precision at recall 0, 0.1, … 1 |
| `coco` | IoU ≥ 0.5, 0.55, … 0.95 with the best truth that no better box took | by IoP, and as often as they are met | mean of it at recall 0, 0.01, … 1; at most 100 boxes of a class in an image |

Sources: M. Everingham et al., "The PASCAL Visual Object Classes Challenge", Int. J. Comput. Vis. 88, 303 (2010), doi:10.1007/s11263-009-0275-4
(eleven points until 2009, all afterwards; its development kit counts pixels, x1 - x0 + 1, here edges are meant); T.-Y. Lin et al., "Microsoft COCO", ECCV 2014 (arXiv:1405.0312),
as in pycocotools 2.0.11.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How well two boxes agree: a function of boxes [..., 4] and [..., 4], with broadcasting. `distance` where less is better."""

    name: str
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]
    distance: bool = False

    def __call__(self, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
        return self.of(np.asarray(predicted, np.float64), np.asarray(true, np.float64))


def _sizes(boxes: np.ndarray) -> np.ndarray:
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    np.maximum(sides, 0, out=sides)
    return sides[..., 0] * sides[..., 1]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    common = _common(a, b)
    return _share(common, _sizes(a) + _sizes(b) - common)


def _iop(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    common = _common(a, b)
    return _share(common, np.broadcast_to(_sizes(a), common.shape))


def _ios(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    common = _common(a, b)
    return _share(common, np.minimum(_sizes(a), _sizes(b)))


def _centre_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return np.hypot(apart[..., 0], apart[..., 1])


iou = Measure(name="IoU", of=_iou)  # intersection over union
iop = Measure(name="IoP", of=_iop)  # intersection over the area of the prediction
ios = Measure(name="IoS", of=_ios)  # intersection over the area of the smaller
OVERLAPS = (iou, iop, ios)  # 0 of boxes that have nothing in common
centre_distance = Measure(name="centre distance", of=_centre_distance, distance=True)  # pixels


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How boxes are counted; `dataclasses.replace(all_point, thresholds=(0.3,))` is another one.

    `thresholds`: what `measure` has to reach, or a distance must not exceed; boxes that have nothing in common never match, so that a threshold of 0 asks for
    any overlap. `points`: recalls at which precision is read, or None for the whole area. `limit`: how many boxes of a class count in an image, or
    None for all. `next_best`: a box whose truth was taken by a better one may take another. `ignored_by`: how a box belongs to an ignored truth (`measure` where None), and
    with `ignored_often` so may several. `area`: smallest and greatest area, in square pixels, of truths that are wanted; boxes of other sizes that match none do not count.
    """

    name: str
    thresholds: tuple[float, ...] = (0.5,)
    points: tuple[float, ...] | None = None
    limit: int | None = None
    measure: Measure = iou
    next_best: bool = False
    ignored_by: Measure | None = None
    ignored_often: bool = True
    area: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        allowed = all(
            np.isfinite(t) and t >= 0 and (self.measure.distance or t <= 1) for t in self.thresholds
        )
        if not self.thresholds or not allowed:
            scale = "pixels" if self.measure.distance else "shares from 0 to 1, such as (0.5,)"
            raise ValueError(f"thresholds are {self.thresholds}; expected {scale} for {self.measure.name}")
        if self.points is not None and not (self.points and all(0 <= point <= 1 for point in self.points)):
            raise ValueError(
                f"points are {self.points}; expected recalls from 0 to 1, or None for the whole area"
            )
        if self.area is not None and not 0 <= self.area[0] < self.area[1]:
            raise ValueError(
                f"area is {self.area}; expected the smallest and the greatest area in square pixels, (0, 1024)"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(
                f"limit is {self.limit}; expected how many boxes of an image count, or None for all"
            )
        if self.ignored_by is not None and self.ignored_by.distance != self.measure.distance:
            raise ValueError(
                f"ignored_by is {self.ignored_by.name} where measure is {self.measure.name}; expected two shares or two distances"
            )

    def _check_kinds(self) -> None:
        """Raise `TypeError` for what is not of the kind that a rule is made of."""
        if not isinstance(self.measure, Measure) or not isinstance(self.ignored_by, Measure | None):
            raise TypeError(
                f"measure is {self.measure!r} and ignored_by {self.ignored_by!r}; expected measures such as hubel.metrics.iou"
            )
        if self.limit is not None and (isinstance(self.limit, bool) or not isinstance(self.limit, Integral)):
            raise TypeError(f"limit is {self.limit!r}; expected a whole number, or None for all")
        for name, numbers in (("thresholds", self.thresholds), ("points", self.points), ("area", self.area)):
            if numbers is not None and not (
                isinstance(numbers, tuple) and all(isinstance(n, Real) for n in numbers)
            ):
                raise TypeError(f"{name} is {numbers!r}; expected a tuple of numbers")
        if self.area is not None and len(self.area) != 2:
            raise TypeError(f"area is {self.area!r}; expected (smallest, greatest)")

    def __str__(self) -> str:
        """`AP50[all-point]`, `AP[coco]`, `AP[all-point, IoP > 0]`.

        >>> from dataclasses import replace
        >>> print(all_point, voc07, coco, replace(all_point, measure=iop, thresholds=(0,)), sep="; ")
        AP50[all-point]; AP50[voc07]; AP[coco]; AP[all-point, IoP > 0]
        """
        return self.named("AP")

    def named(self, what: str) -> str:
        """The name of a score `what` by this rule.

        >>> voc07.named("recall")
        'recall[voc07, IoU ≥ 0.5]'
        """
        details, first, last = [self.name], self.thresholds[0], self.thresholds[-1]
        digits = ""
        if self.measure.distance:
            details.append(
                f"{self.measure.name} ≤ {first:g} px"
                if first == last
                else f"{self.measure.name} ≤ {first:g} to {last:g} px"
            )
        elif what == "AP" and self.measure is iou and len(self.thresholds) == 1 and first > 0:
            digits = f"{100 * first:.4g}"
        elif self.measure is not iou or self.thresholds != COCO_THRESHOLDS:
            sign = ">" if first == 0 else "≥"
            details.append(
                f"{self.measure.name} {sign} {first:g}" + (f" to {last:g}" if first != last else "")
            )
        if self.limit is not None and (self.name, self.limit) != ("coco", 100):
            details.append(f"at most {self.limit} an image")
        if self.area is not None:
            details.append(f"area {self.area[0]:g} to {self.area[1]:g} px²")
        return f"{what}{digits}[{', '.join(details)}]"


COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
all_point = Rule(name="all-point")
voc07 = Rule(name="voc07", points=tuple(i / 10 for i in range(11)))
coco = Rule(
    name="coco",
    thresholds=COCO_THRESHOLDS,
    points=tuple(np.linspace(0, 1, 101).tolist()),
    limit=100,
    next_best=True,
    ignored_by=iop,
)
