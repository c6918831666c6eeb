"""Pictures of which none is left to train on when copies in validation and test are taken out: what is so is said, and what to do."""

import numpy as np
import pytest
from small_runs import quick

import hubel
from hubel.data import SplitRows, from_arrays


def pictures(kinds, num=40):
    """`num` pictures, `kinds` different ones over and over."""
    drawn = np.random.default_rng(0).integers(0, 255, (kinds, 8, 8), dtype=np.uint8)
    return drawn[np.arange(num) % kinds], np.arange(num) % 2


@pytest.mark.parametrize("y", ["labels", "self"])
def test_pictures_that_are_all_the_same(tmp_path, y):
    x, labels = pictures(1)
    with pytest.raises(
        ValueError, match=r"arrays: received 40 examples that are all the same, bit by bit.*one file copied"
    ):
        hubel.fit(x, labels if y == "labels" else y, recipe=quick(), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_pictures_of_which_all_have_copies_elsewhere(tmp_path):
    x, y = pictures(2)
    said = (
        r"each of the \d+ training examples also stands in validation or test \(2 different ones among 40\).*"
    )
    with pytest.raises(
        ValueError, match=said + "Remove the copies, or give all copies of an example one group"
    ):
        hubel.fit(x, y, recipe=quick(), out=tmp_path / "run", quiet=True)
    split = SplitRows(
        train=np.arange(20), validation=np.arange(20, 30), test=np.arange(30, 40), how="by hand"
    )
    with pytest.raises(ValueError, match=said + "Correct the split"):
        hubel.fit(x, y, split=split, recipe=quick(), out=tmp_path / "run", quiet=True)


def test_groups_of_the_copies_are_the_remedy(tmp_path):
    x, _ = pictures(4)
    y = np.arange(40) // 4 % 2
    with pytest.raises(ValueError, match="training examples also stands"):
        hubel.fit(x, y, recipe=quick(), out=tmp_path / "no", quiet=True)
    data = from_arrays(x, y, groups=np.arange(40) % 4)
    run = hubel.fit(data, recipe=quick(), out=tmp_path / "run", quiet=True)
    assert run.status == "finished"
    assert run.about["data"]["duplicates"]["left_out_of_train"] == 0
