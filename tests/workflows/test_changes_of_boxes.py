"""A recipe whose changes do not fit boxes is refused before anything is learned."""

import numpy as np
import pytest
import torch

from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.data import from_arrays
from hubel.data.augmentation import CopyPaste, Flip, Mixup, Mosaic, RotateQuarter
from hubel.fitting import Recipe
from hubel.workflows.contradictions import _check_changes


class Blink:
    """A change that says what becomes of boxes, but not as boxes."""

    def __call__(self, inputs, draw):
        return inputs

    def of_boxes(self, boxes, size, draw):
        return boxes[..., :5]


@pytest.fixture
def first():
    data = from_arrays(np.zeros((4, 16, 20), np.uint8), [{"boxes": [[1, 1, 9, 9]], "labels": ["a"]}] * 4)
    targets = torch.from_numpy(np.array(data.targets))
    return data, Batch(inputs=torch.zeros(4, 1, 16, 20), targets=targets, ids=torch.arange(4))


@pytest.mark.parametrize("changes", [(Flip(), CopyPaste()), (Mosaic(),)], ids=str)
def test_changes_that_add_boxes_pass(first, changes):
    data, batch = first
    _check_changes(Recipe(augmentation=changes), batch, data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Mixup(), "Mixup does not say what becomes of boxes"),
        (RotateQuarter(), "quarter turns need square images"),
        (
            Blink(),
            r"Blink\.of_boxes makes torch\.float32 of shape \(4, 1, 5\) of boxes .*expected the same type and rows of six",
        ),
    ],
)
def test_changes_that_do_not_fit_boxes_are_refused(first, change, said):
    data, batch = first
    with pytest.raises(ContractError, match=said):
        _check_changes(Recipe(augmentation=(change,)), batch, data)
