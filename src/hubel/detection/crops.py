"""What a classifier is shown of a picture: boxes cut out and brought to one size."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hubel.core.boxes import pairwise
from hubel.core.random import numpy_generator
from hubel.data.boxes import CLASS, IGNORED, objects_of
from hubel.data.dataset import Dataset
from hubel.detection.proposals import Proposals

CONTEXT = 16 / 195  # of each side, on both sides: 16 of 227 pixels, as R-CNN was published
OBJECT, BACKGROUND = 0.6, 0.3  # overlaps: an object from here on, background below
NO_CLASS = "background"


def warped(picture: Tensor, boxes: Tensor, size: tuple[int, int], *, context: float = CONTEXT) -> Tensor:
    """Boxes [n, 4] of a picture [C, H, W], each with `context` of its sides around it, brought to `size` (h, w): [n, C, h, w].

    Values between pixels are interpolated linearly; beyond the edge the picture goes on as it is there.

    >>> picture = torch.arange(16.0).view(1, 4, 4)
    >>> warped(picture, torch.tensor([[1.0, 1.0, 3.0, 3.0]]), (2, 2), context=0.0)[0, 0]
    tensor([[ 5.,  6.],
            [ 9., 10.]])
    """
    if picture.ndim != 3 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"the picture is {list(picture.shape)}, boxes are {list(boxes.shape)}; expected [C, H, W] and [n, 4]"
        )
    _, height, width = picture.shape
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = (boxes[:, 2:] - boxes[:, :2]) * (1 + 2 * context)
    at = []
    for column, number, length in ((1, size[0], height), (0, size[1], width)):
        steps = (torch.arange(number, dtype=boxes.dtype, device=boxes.device) + 0.5) / number - 0.5
        at.append(2 * (middle[:, column : column + 1] + sides[:, column : column + 1] * steps) / length - 1)
    rows, columns = at
    grid = torch.stack(
        [columns[:, None].expand(-1, size[0], -1), rows[:, :, None].expand(-1, -1, size[1])], dim=3
    )
    found = F.grid_sample(
        picture[None].to(grid.dtype), grid.flatten(0, 1)[None], padding_mode="border", align_corners=False
    )
    return found[0].unflatten(1, (len(boxes), size[0])).transpose(0, 1).to(picture.dtype)


def labelled_crops(
    data: Dataset,
    proposals: Proposals,
    size: tuple[int, int],
    *,
    per_object: int = 4,
    per_picture: int = 8,
    context: float = CONTEXT,
    seed: int = 0,
) -> Dataset:
    """Crops [n, C, h, w] of pictures with boxes, for a classifier: the classes of the objects and, last, "background".

    Of each object that counts its own box and up to `per_object` proposals that overlap it by 0.6 or more; of each picture up to `per_picture` proposals
    that overlap no object by 0.3. Crops of a picture stay together where the data are split (`groups`).

    Raises `ValueError` for data without boxes, and for proposals of other pictures.

    >>> from hubel.data.boxes import packed
    >>> from hubel.detection import SlidingWindow, propose_all
    >>> pictures = np.zeros((2, 1, 32, 32), np.uint8)
    >>> boxes = packed([np.array([[0, 0, 16, 16, 1, 0]]), np.array([[8, 8, 24, 24, 0, 0]])])
    >>> data = Dataset(inputs=pictures, targets=boxes, classes=("cat", "dog"))
    >>> labelled_crops(data, propose_all(pictures, SlidingWindow(((16, 16),), 0.5)), (8, 8))
    Dataset('data, cut out': 14 examples of 1 × 8 × 8 uint8, 3 classes)
    """
    if not data.has_boxes or data.classes is None:
        raise ValueError(f"{data.name} has no boxes; expected pictures whose targets are boxes [N, M, 6]")
    if len(proposals) != len(data):
        raise ValueError(
            f"there are proposals for {len(proposals):,} pictures, but {data.name} has {len(data):,}"
        )
    crops, numbers, parents = [], [], []
    for row in range(len(data)):
        generator = numpy_generator(seed, "crops", step=row)
        rows = objects_of(np.asarray(data.targets[row]))
        counted = rows[rows[:, IGNORED] == 0]
        found = torch.from_numpy(proposals[row])
        overlaps = pairwise(torch.from_numpy(rows[:, :4]), found).numpy()
        chosen, classes = [counted[:, :4]], [counted[:, CLASS]]
        for overlap, known in zip(overlaps, rows, strict=True):
            good = np.flatnonzero(overlap >= OBJECT) if not known[IGNORED] else np.zeros(0, np.int64)
            good = generator.permutation(good)[:per_object]
            chosen.append(proposals[row][good])
            classes.append(np.full(len(good), known[CLASS]))
        empty = np.flatnonzero((overlaps < BACKGROUND).all(0))
        empty = generator.permutation(empty)[:per_picture]
        chosen.append(proposals[row][empty])
        classes.append(np.full(len(empty), len(data.classes)))
        boxes = np.concatenate(chosen).astype(np.float32)
        picture = torch.from_numpy(np.array(data.inputs[row])).float()
        cut = warped(picture, torch.from_numpy(boxes), size, context=context).numpy()
        whole = np.issubdtype(data.inputs.dtype, np.integer)
        crops.append((np.rint(cut) if whole else cut).astype(data.inputs.dtype))
        numbers.append(np.concatenate(classes).astype(np.int64))
        parents.append(np.full(len(boxes), row))
    return Dataset(
        inputs=np.concatenate(crops),
        targets=np.concatenate(numbers),
        classes=(*data.classes, NO_CLASS),
        name=f"{data.name}, cut out",
        groups=np.concatenate(parents),
    )
