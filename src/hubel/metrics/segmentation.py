"""How well the classes of pixels were found: intersection over union and Dice of each class, and the share of pixels that are right.

Of a class with `right` pixels found, `true` of them in the masks and `said` in the answers, all over the whole part of the data:

    IoU = right / (true + said - right)          Dice = 2 right / (true + said) = 2 IoU / (1 + IoU)

Sources: P. Jaccard, New Phytologist 11, 37 (1912), doi:10.1111/j.1469-8137.1912.tb05611.x; L. R. Dice, Ecology 26, 297 (1945),
doi:10.2307/1932409; the mean over classes: M. Everingham et al., Int. J. Comput. Vis. 88, 303 (2010), doi:10.1007/s11263-009-0275-4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hubel.core.types import Interval
from hubel.metrics.intervals import bootstrap


def segmentation(
    targets,
    values,
    classes: Sequence[str],
    *,
    unlabelled: int | None = None,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Mean intersection over union of the classes, share of pixels that are right, mean Dice, then IoU and Dice of each of the `classes` [K].

    `targets`, `values` [N, H, W] are class numbers; pixels that are `unlabelled` in the targets do not count. Pixels of one picture are not
    independent: intervals are from the bootstrap over the N pictures, or over `groups`.

    Raises `ValueError` for arrays of another shape or type, and for numbers that are no classes.

    >>> scores = segmentation([[[0, 0, 1, 1]]], [[[0, 1, 1, 1]]], ["sky", "star"])
    >>> {name: round(score.value, 3) for name, score in scores.items()}
    {'mean_iou': 0.583, 'pixel_accuracy': 0.75, 'mean_dice': 0.733, 'iou_sky': 0.5, 'iou_star': 0.667, 'dice_sky': 0.667, 'dice_star': 0.8}
    """
    right, true, said = overlaps(targets, values, len(classes), unlabelled=unlabelled)
    return segmentation_from_counts(right, true, said, classes, groups=groups, level=level, seed=seed)


def segmentation_from_counts(
    right: np.ndarray,
    true: np.ndarray,
    said: np.ndarray,
    classes: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """`segmentation` of what `overlaps` counted in each picture, [N, K] each."""
    width = len(classes)

    def statistic(sums: np.ndarray) -> np.ndarray:
        found, wanted, answered = sums[:, :width], sums[:, width : 2 * width], sums[:, 2 * width :]
        either = wanted + answered
        iou, dice = found / (either - found), 2 * found / either  # NaN where a class is nowhere
        there = either > 0
        means = [
            np.where(there, part, 0).sum(1) / np.where(there.any(1), there.sum(1), np.nan)
            for part in (iou, dice)
        ]
        return np.column_stack([means[0], found.sum(1) / wanted.sum(1), means[1], iou, dice])

    columns = np.concatenate([right, true, said], axis=1)
    scores = bootstrap(columns, statistic, groups=groups, level=level, seed=seed)
    names = ["mean_iou", "pixel_accuracy", "mean_dice"]
    names += [f"{what}_{name}" for what in ("iou", "dice") for name in classes]
    return dict(zip(names, scores, strict=True))


def overlaps(
    targets, values, num_classes: int, *, unlabelled: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each of N pictures and K classes the pixels that were found, that are in the mask, and that were said: [N, K] each.

    >>> [counts.tolist() for counts in overlaps([[[0, 1]]], [[[1, 1]]], 2)]
    [[[0, 1]], [[1, 1]], [[0, 2]]]
    """
    matrices = pixel_confusions(targets, values, num_classes, unlabelled=unlabelled)
    counts = [(np.diag(m), m.sum(axis=1), m.sum(axis=0)) for m in matrices]
    right, true, said = (np.array(column).reshape(-1, num_classes) for column in zip(*counts, strict=True))
    return right, true, said


def pixel_confusions(targets, values, num_classes: int, *, unlabelled: int | None = None):
    """The confusion matrix [K, K] of each picture in turn: row = true class, column = predicted class.

    >>> [m.tolist() for m in pixel_confusions([[[0, 1, 9]]], [[[1, 1, 0]]], 2, unlabelled=9)]
    [[[0, 1], [0, 1]]]
    """
    targets, values = np.asarray(targets), np.asarray(values)
    if targets.ndim != 3 or targets.shape != values.shape or not targets.size:
        raise ValueError(
            f"masks are {targets.shape} and answers {values.shape}; expected class numbers of the same shape (N, H, W)"
        )
    for name, array in (("masks", targets), ("answers", values)):
        if array.dtype.kind not in "iu":
            raise ValueError(f"{name} are {array.dtype}; expected class numbers, whole numbers")
    for mask, answer in zip(targets, values, strict=True):
        there = np.ones(mask.shape, bool) if unlabelled is None else mask != unlabelled
        pairs = mask[there].astype(np.int64), answer[there].astype(np.int64)
        for name, numbers in zip(("masks", "answers"), pairs, strict=True):
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < num_classes:
                raise ValueError(
                    f"{name} hold class numbers from {numbers.min()} to {numbers.max()}; expected 0 to {num_classes - 1}"
                )
        cells = np.bincount(pairs[0] * num_classes + pairs[1], minlength=num_classes**2)
        yield cells.reshape(num_classes, num_classes)


def mean_overlap(right: np.ndarray, true: np.ndarray, said: np.ndarray) -> float:
    """Mean intersection over union over the classes that occur, of pixels counted over a whole part: [K] each.

    >>> mean_overlap(np.array([1, 2, 0]), np.array([2, 2, 0]), np.array([1, 3, 0]))
    0.5833333333333333
    """
    either = true + said - right
    there = either > 0
    return float((right[there] / either[there]).mean()) if there.any() else float("nan")
