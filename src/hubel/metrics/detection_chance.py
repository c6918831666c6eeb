"""What is reached without looking: how often random boxes match by a rule, and how many objects proposals leave to be found.

By a loose rule chance is no small thing: where any overlap counts as found, boxes of the usual sizes thrown at random into a crowded image "find" many objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from hubel.core.random import numpy_generator
from hubel.core.types import Interval
from hubel.metrics.detection import in_doubt, units_of_images
from hubel.metrics.detection_matching import Scenes, match_alone, scenes_of
from hubel.metrics.detection_rules import Measure, Rule, iou
from hubel.metrics.intervals import bootstrap, normal_quantile, undefined

Images = Sequence[Mapping[str, Any]]
PAIRS_AT_A_TIME = 1_000_000


def placed_at_random(predictions: Images, size, *, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """The same boxes, labels and scores, each box somewhere else in its image: every place inside is as likely.

    `size` is (H, W) of all images, or one (H, W) an image [N, 2], in pixels. Boxes larger than their image lie at its upper left corner. Any score of them is its level by chance.

    >>> found = [{"boxes": [[0, 0, 4, 2]], "labels": [1], "scores": [0.5]}]
    >>> box = placed_at_random(found, (10, 10))[0]["boxes"][0]
    >>> (box[2:] - box[:2]).round(6).tolist(), bool((box >= 0).all() and (box <= 10).all())
    ([4.0, 2.0], True)
    """
    generator = numpy_generator(seed, "boxes at random")
    sizes = _sizes_of(size, len(predictions))
    return [
        {**one, "boxes": _thrown(np.asarray(one["boxes"], float).reshape(-1, 4), size, generator)}
        for one, size in zip(predictions, sizes, strict=True)
    ]


def _sizes_of(size, num: int) -> np.ndarray:
    sizes = np.asarray(size, float)
    if sizes.shape not in {(2,), (num, 2)} or not (sizes > 0).all():
        raise ValueError(f"size is {size}; expected (H, W) in pixels, or one for each of {num} images")
    return np.broadcast_to(sizes, (num, 2))


def _thrown(boxes: np.ndarray, sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Boxes [n, 4] somewhere else in pictures of `sizes` [2] or [n, 2]."""
    sides = boxes[:, 2:] - boxes[:, :2]
    corner = generator.random(sides.shape) * np.maximum(sizes[..., ::-1] - sides, 0)
    return np.concatenate([corner, corner + sides], axis=1)


def chance_of_match(
    predictions: Images,
    truths: Images,
    size,
    *,
    rule: Rule,
    draws: int = 100,
    groups=None,
    level=0.95,
    seed=0,
) -> Interval:
    """The precision that boxes of the predicted sizes have by `rule` when each is thrown into its image alone and at random.

    The mean of `draws` throws of `placed_at_random`; interval: bootstrap over images, or over `groups`. A rule with one threshold is needed.

    >>> from dataclasses import replace
    >>> from hubel.metrics import all_point, iop
    >>> truths = [{"boxes": [[0, 0, 50, 100]], "labels": [0]}]
    >>> found = [{"boxes": [[3, 3, 4, 4]], "labels": [0], "scores": [0.9]}]
    >>> any_overlap = replace(all_point, measure=iop, thresholds=(0,))
    >>> round(chance_of_match(found, truths, (100, 100), rule=any_overlap, draws=2000).value, 1)
    0.5
    """
    normal_quantile(level)
    if len(rule.thresholds) != 1 or draws < 1:
        raise ValueError(
            f"{rule} and {draws} draws were given; expected a rule with one threshold, and at least one draw"
        )
    scenes = scenes_of(predictions, truths)
    if not len(scenes.boxes):
        return undefined("no box was predicted", level=level, count=scenes.num_images)
    generator = numpy_generator(seed, "boxes at random")
    sizes = _sizes_of(size, scenes.num_images)[scenes.images]
    columns = np.zeros((scenes.num_images, 2))
    for _ in range(draws):
        hit, void = match_alone(replace(scenes, boxes=_thrown(scenes.boxes, sizes, generator)), rule)
        columns[:, 0] += np.bincount(scenes.images[hit], minlength=scenes.num_images)
        columns[:, 1] += np.bincount(scenes.images[~void], minlength=scenes.num_images)
    return _share(columns, scenes, groups, level, seed)


def proposal_recall(
    proposals: Images,
    truths: Images,
    *,
    threshold: float = 0.5,
    measure: Measure = iou,
    limit: int | None = None,
    groups=None,
    level=0.95,
    seed=0,
) -> Interval:
    """The share of objects, of any class, that some proposal covers with an IoU of `threshold` or more: what a detector on these proposals can find at most.

    Proposals need `boxes` [n, 4] only; with a `limit` the first so many of an image count (the best, as proposals come in order). Ignored truths do not count.

    Source: J. Hosang et al., "What makes for effective detection proposals?", TPAMI 38, 814 (2016), doi:10.1109/TPAMI.2015.2465908.

    >>> truths = [{"boxes": [[0, 0, 9, 9], [20, 0, 29, 9]], "labels": [3, 4]}]
    >>> proposal_recall([{"boxes": [[0, 0, 9, 8], [50, 50, 60, 60]]}], truths).value
    0.5
    """
    normal_quantile(level)
    if not isinstance(threshold, Real) or not (threshold >= 0 and (measure.distance or threshold <= 1)):
        raise ValueError(
            f"threshold is {threshold!r}; expected what {measure.name} has to reach, such as 0.5"
        )
    counted = [np.asarray(one["boxes"])[:limit] for one in proposals]
    as_predictions = [
        {"boxes": boxes, "labels": np.zeros(len(boxes), int), "scores": np.zeros(len(boxes))}
        for boxes in counted
    ]
    of_any_class = [{**one, "labels": np.zeros(len(one["labels"]), int)} for one in truths]
    scenes = scenes_of(as_predictions, of_any_class)
    bounds = np.searchsorted(scenes.images, np.arange(scenes.num_images + 1))
    columns = np.zeros((scenes.num_images, 2))
    for image in range(scenes.num_images):
        mine = scenes.boxes[bounds[image] : bounds[image + 1]]
        theirs = scenes.true_boxes[(scenes.true_images == image) & ~scenes.ignored]
        columns[image] = _covered(mine, theirs, threshold, measure), len(theirs)
    if not columns[:, 1].any():
        return undefined("no truth counts", level=level, count=scenes.num_images)
    return _share(columns, scenes, groups, level, seed)


def _share(columns: np.ndarray, scenes: Scenes, groups, level: float, seed: int) -> Interval:
    """The sum of the first of `columns` [N, 2] over that of the second."""
    units, _ = units_of_images(scenes, groups)
    share = bootstrap(columns, lambda sums: sums[:, :1] / sums[:, 1:], groups=units, level=level, seed=seed)[
        0
    ]
    return in_doubt(share, len(np.unique(units[columns[:, 1] > 0])))


def _covered(mine: np.ndarray, theirs: np.ndarray, threshold: float, measure: Measure) -> int:
    """How many of `theirs` [m, 4] one of `mine` [n, 4] covers."""
    there = np.zeros(len(theirs), bool)
    step = max(1, PAIRS_AT_A_TIME // max(1, len(theirs)))
    for start in range(0, len(mine), step):
        values = measure(mine[start : start + step, None], theirs[None])
        enough = values <= threshold if measure.distance else (values >= threshold) & (values > 0)
        there |= enough.any(0)
    return int(there.sum())
