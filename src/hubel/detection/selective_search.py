"""Selective search: boxes that may hold objects, from segments that are merged until one is left.

    segments    of the picture by its edges (Felzenszwalb, Huttenlocher 2004), for several scales
    merging     of all neighbours the two most alike become one, again and again; the box of every segment on the way is a proposal
    alike       Σ min(colour histograms) + Σ min(texture histograms) + (1 - share of the picture) + (1 - empty share of the box around both)

Colour: 25 bins a channel; texture: 8 directions × 10 strengths of the smoothed gradient a channel. All proposals of a picture are different.

Sources: J. R. R. Uijlings et al., "Selective Search for Object Recognition", International Journal of Computer Vision 104, 154 (2013),
doi:10.1007/s11263-013-0620-5; segments: P. F. Felzenszwalb, D. P. Huttenlocher, IJCV 59, 167 (2004), doi:10.1023/B:VISI.0000022288.19776.77, by
scikit-image. We differ: the channels of the picture as they are (published: several colour spaces), gradients in place of Gaussian derivatives.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hubel.core.errors import missing_extra

COLOURS, DIRECTIONS, STRENGTHS = 25, 8, 10  # bins
DARK, BRIGHT = 0.5, 99.5  # percentiles of a channel that become 0 and 1
SMOOTH = 0.8  # standard deviation, in pixels, before edges are looked for


@dataclass(frozen=True)
class SelectiveSearch:
    """Proposals [n, 4] for a picture [C, H, W], as (x0, y0, x1, y1) in pixels.

    `scales` say how large the first segments are (larger ones at larger scales; of 8-bit pictures 20 to 300 are usual); `smallest` is the least
    number of pixels of a segment, `least_side` the least side of a proposal. At most `most` are answered, those that were merged last first.

    Raises `ValueError` for numbers out of their range and pictures of another shape, `MissingExtra` without scikit-image.

    >>> picture = np.zeros((1, 32, 40))
    >>> picture[:, 8:20, 10:30] = 1.0
    >>> [10.0, 8.0, 30.0, 20.0] in SelectiveSearch(scales=(50,))(picture).tolist()
    True
    """

    scales: tuple[float, ...] = (50.0, 100.0, 200.0)
    smallest: int = 16
    least_side: float = 6.0
    most: int | None = None

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0 or self.smallest < 1 or self.least_side < 0:
            raise ValueError(
                f"scales are {self.scales}, smallest {self.smallest}, least_side {self.least_side}; expected scales above 0, at least one pixel, and a side "
                "of at least 0"
            )
        if self.most is not None and self.most < 1:
            raise ValueError(f"most is {self.most}; expected how many proposals may be answered, or None")

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        channels = _from_0_to_1(picture)
        found = [_merged(_segments(channels, scale, self.smallest), channels) for scale in self.scales]
        longest = max(len(boxes) for boxes in found)
        turns = [boxes[k : k + 1] for k in range(longest) for boxes in found if k < len(boxes)]
        boxes = np.concatenate(turns)
        sides = boxes[:, 2:] - boxes[:, :2]
        boxes = boxes[(sides >= self.least_side).all(1)]
        _, first = np.unique(boxes, axis=0, return_index=True)
        return boxes[np.sort(first)][: self.most].astype(np.float32)


def _from_0_to_1(picture: np.ndarray) -> np.ndarray:
    """Channels last, [H, W, C], each stretched so that all but its extremes lie between 0 and 1."""
    if picture.ndim != 3 or min(picture.shape) < 1:
        raise ValueError(f"the picture is {list(picture.shape)}; expected [C, H, W]")
    values = np.moveaxis(np.asarray(picture, np.float64), 0, 2)
    if not np.isfinite(values).all():
        raise ValueError("the picture holds NaN or infinite values; expected numbers: replace them")
    low, high = np.percentile(values, [DARK, BRIGHT], axis=(0, 1))
    flat = high <= low  # nearly constant but for a few pixels: by its whole range
    low, high = np.where(flat, values.min((0, 1)), low), np.where(flat, values.max((0, 1)), high)
    return np.clip((values - low) / np.where(high > low, high - low, 1.0), 0, 1)


def _segments(channels: np.ndarray, scale: float, smallest: int) -> np.ndarray:
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise missing_extra("scikit-image", "science", "selective search") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got image with third dimension")  # any number of channels is meant
        return felzenszwalb(channels, scale=scale, sigma=SMOOTH, min_size=smallest, channel_axis=2)


def _merged(segments: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """The boxes of all segments on the way to one, the last first: [2 n - 1, 4]."""
    num = int(segments.max()) + 1
    sizes = np.bincount(segments.ravel(), minlength=num).astype(np.float64)
    boxes = _boxes(segments, num)
    histograms = np.concatenate(
        [_colours(segments, channels, num), _textures(segments, channels, num)], axis=1
    )
    histograms /= sizes[:, None] * channels.shape[2]
    total = float(segments.size)
    of = {k: (sizes[k], boxes[k], histograms[k]) for k in range(num)}
    neighbours = _neighbours(segments, num)

    def alike(a: int, b: int) -> float:
        (size, box, histogram), (other, its_box, its_histogram) = of[a], of[b]
        around = _around(box, its_box)
        empty = (around[2] - around[0]) * (around[3] - around[1]) - size - other
        return float(np.minimum(histogram, its_histogram).sum() + 2 - (size + other + empty) / total)

    waiting = [(-alike(a, b), a, b) for a in range(num) for b in neighbours[a] if a < b]
    heapq.heapify(waiting)
    while waiting:
        _, a, b = heapq.heappop(waiting)
        if not neighbours[a] or not neighbours[b] or b not in neighbours[a]:
            continue  # one of them was merged before
        new = len(of)
        (size, box, histogram), (other, its_box, its_histogram) = of[a], of[b]
        both = size + other
        of[new] = both, _around(box, its_box), (size * histogram + other * its_histogram) / both
        neighbours.append((neighbours[a] | neighbours[b]) - {a, b})
        for k in neighbours[new]:
            neighbours[k] -= {a, b}
            neighbours[k].add(new)
            heapq.heappush(waiting, (-alike(k, new), k, new))
        neighbours[a], neighbours[b] = set(), set()
    return np.array([of[k][1] for k in reversed(range(len(of)))])


def _boxes(segments: np.ndarray, num: int) -> np.ndarray:
    """The box of each segment [num, 4]."""
    y, x = np.indices(segments.shape)
    found = np.zeros((num, 4))
    for column, places in ((0, x), (1, y)):
        found[:, column] = np.inf
        np.minimum.at(found[:, column], segments.ravel(), places.ravel())
        np.maximum.at(found[:, column + 2], segments.ravel(), places.ravel() + 1)
    return found


def _colours(segments: np.ndarray, channels: np.ndarray, num: int) -> np.ndarray:
    """Pixels of each segment by value, [num, C · 25]."""
    values = np.minimum((channels * COLOURS).astype(np.int64), COLOURS - 1)
    return np.concatenate(
        [_counted(segments, values[..., c], num, COLOURS) for c in range(values.shape[2])], axis=1
    )


def _textures(segments: np.ndarray, channels: np.ndarray, num: int) -> np.ndarray:
    """Pixels of each segment by direction and strength of the gradient, [num, C · 80]."""
    parts = []
    for c in range(channels.shape[2]):
        down, right = (
            np.gradient(channels[..., c], axis=k) if channels.shape[k] > 1 else np.zeros(segments.shape)
            for k in (0, 1)
        )
        strength = np.hypot(down, right)
        top = max(float(strength.max()), 1e-12)
        level = np.minimum((strength / top * STRENGTHS).astype(np.int64), STRENGTHS - 1)
        turn = ((np.arctan2(down, right) / (2 * np.pi) % 1) * DIRECTIONS).astype(np.int64) % DIRECTIONS
        parts.append(_counted(segments, turn * STRENGTHS + level, num, DIRECTIONS * STRENGTHS))
    return np.concatenate(parts, axis=1)


def _counted(segments: np.ndarray, values: np.ndarray, num: int, bins: int) -> np.ndarray:
    flat = segments.ravel().astype(np.int64) * bins + values.ravel()
    return np.bincount(flat, minlength=num * bins).reshape(num, bins).astype(np.float64)


def _neighbours(segments: np.ndarray, num: int) -> list[set[int]]:
    found: list[set[int]] = [set() for _ in range(num)]
    for one, other in ((segments[:-1], segments[1:]), (segments[:, :-1], segments[:, 1:])):
        differ = one != other
        for a, b in np.unique(np.stack([one[differ], other[differ]], axis=1), axis=0).tolist():
            found[a].add(b)
            found[b].add(a)
    return found


def _around(a: Sequence[float], b: Sequence[float]) -> np.ndarray:
    return np.array([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
