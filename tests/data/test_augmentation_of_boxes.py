"""Boxes against pictures in which they are painted: a box goes where its pixels go."""

import dataclasses

import numpy as np
import pytest
import torch

from hubel.data import Dataset, augmentation
from hubel.data.augmentation import (
    Affine,
    CopyPaste,
    Crop,
    Draw,
    Erase,
    Flip,
    Mixup,
    Mosaic,
    RotateQuarter,
    Shift,
    changed_with_boxes,
)
from hubel.data.batches import Batches
from hubel.data.boxes import check_boxes
from hubel.data.preprocessing import Scaling

SIDE = 24


def draw(num, *, epoch=1, step=0):
    return Draw(3, epoch, step, torch.arange(num))


def painted(boxes, height=SIDE, width=SIDE):
    """Pictures [N, 1, H, W] in which every box (with whole edges) is filled with its number from 1."""
    out = torch.zeros(len(boxes), 1, height, width)
    for picture, rows in zip(out, boxes, strict=True):
        for k, (x0, y0, x1, y1, number, _) in enumerate(rows.tolist()):
            if number >= 0:
                picture[0, int(y0) : int(y1), int(x0) : int(x1)] = k + 1
    return out


def extent(there):
    rows, columns = there.any(1).nonzero().ravel(), there.any(0).nonzero().ravel()
    return [columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1]


@pytest.fixture
def boxes():
    """In each picture one box at the left, one at the right, and a row without an object between them."""
    generator = np.random.default_rng(0)
    rows = torch.zeros(40, 3, 6)
    rows[:, 1, 4] = -1
    for k in range(40):
        for place, left in ((0, 0), (2, 12)):
            x0, y0 = generator.integers(left, left + 5), generator.integers(0, 10)
            w, h = generator.integers(3, 8), generator.integers(3, 14)
            rows[k, place] = torch.tensor([x0, y0, x0 + w, y0 + h, place, 0])
    return rows


@pytest.mark.parametrize(
    "change",
    [
        Flip(),
        Flip(axis="vertical"),
        RotateQuarter(),
        Shift(pixels=6, fill="mean"),
        Crop(padding=5, fill="mean"),
    ],
    ids=repr,
)
def test_boxes_go_where_their_pixels_go(boxes, change):
    before = boxes.clone()
    pictures, moved = changed_with_boxes(painted(boxes), boxes, [change], draw(len(boxes)))
    assert torch.equal(boxes, before)
    assert (moved != boxes).any(2).any(1).sum() > 10
    for picture, rows, old in zip(pictures, moved, boxes, strict=True):
        for k, row in enumerate(rows):
            there = picture[0] == k + 1
            area = float((old[k, 2] - old[k, 0]) * (old[k, 3] - old[k, 1]))
            if not there.any():
                assert row.tolist() == [0, 0, 0, 0, -1, 0]
                continue
            assert row[:4].tolist() == extent(there)
            assert row[4] == old[k, 4]
            assert row[5] == float(there.sum() < 0.4 * area)
    assert moved[:, 1].tolist() == boxes[:, 1].tolist()


def test_what_is_pushed_out_is_ignored_or_gone(boxes):
    moved = Shift(pixels=12, fill="mean").of_boxes(boxes, (SIDE, SIDE), draw(len(boxes)))
    assert (moved[:, [0, 2], 5] == 1).sum() > 5
    assert (moved[:, [0, 2], 4] == -1).sum() > 5


def test_boxes_through_a_resampling_hold_their_pixels():
    wide = torch.zeros(30, 1, 6)
    wide[:, 0] = torch.tensor([14.0, 10, 26, 18, 1, 0])
    change = Affine(degrees=40, zoom=0.3, aspect=0.2, fill="mean")
    pictures, moved = changed_with_boxes(painted(wide, 30, 42), wide, [change], draw(30))
    for picture, (row,) in zip(pictures, moved, strict=True):
        seen = np.array(extent(picture[0] > 0.5))
        assert np.abs(row[:4].numpy() - seen).max() < 1.6
        outer = extent(picture[0] > 1e-3)
        assert (row[:4].numpy() - outer)[:2].min() > -1.1 and (outer - row[:4].numpy())[2:].max() < 1.1
    still = Affine().of_boxes(wide, (30, 42), draw(30))
    torch.testing.assert_close(still, wide)


def test_what_is_erased_by_more_than_half_is_ignored(boxes):
    change = Erase(probability=0.8, area=(0.2, 0.5))
    pictures, moved = changed_with_boxes(painted(boxes), boxes, [change], draw(len(boxes)))
    assert torch.equal(moved[..., :5], boxes[..., :5])
    told = set()
    for picture, rows in zip(pictures, moved, strict=True):
        for k in (0, 2):
            area = float((rows[k, 2] - rows[k, 0]) * (rows[k, 3] - rows[k, 1]))
            assert rows[k, 5] == float((picture[0] == k + 1).sum() < 0.5 * area)
            told.add(rows[k, 5].item())
        assert rows[1].tolist() == [0, 0, 0, 0, -1, 0]
    assert told == {0.0, 1.0}


def test_ignored_stays_ignored(boxes):
    boxes[:, 0, 5] = 1
    for change in (Flip(), RotateQuarter(), Shift(), Affine(degrees=5), Erase(), Mosaic(), CopyPaste()):
        _, moved = changed_with_boxes(painted(boxes), boxes, [change], draw(len(boxes)))
        assert (moved[:, 0, 5] == (moved[:, 0, 4] >= 0)).all(), change


def test_every_change_says_what_becomes_of_boxes_or_is_refused(boxes):
    x = painted(boxes)
    defined = set()
    for name in augmentation.__all__:
        kind = getattr(augmentation, name)
        if not dataclasses.is_dataclass(kind) or name == "Draw":
            continue
        if not hasattr(kind, "of_boxes") and not hasattr(kind, "with_boxes"):
            with pytest.raises(ValueError, match=f"{name} does not say what becomes of boxes"):
                changed_with_boxes(x, boxes, [kind()], draw(len(x)))
            continue
        _, moved = changed_with_boxes(x, boxes, [kind()], draw(len(x)))
        assert moved.shape[0] == len(x) and moved.shape[2] == 6
        defined.add(name)
    assert defined == {
        "Affine", "Brightness", "Colour", "Contrast", "CopyPaste", "Crop", "Erase", "Flip", "Mosaic", "Noise", "RotateQuarter", "Shift",
    }  # fmt: skip


def test_pasted_objects_are_those_of_another_picture(boxes):
    x = painted(boxes) + 10 * torch.arange(len(boxes)).view(
        -1, 1, 1, 1
    )  # every picture has values of its own
    change = CopyPaste(probability=1.0, most=2, feather=0)
    pictures, more = change.with_boxes(x, boxes, draw(len(x)))
    assert more.shape == (40, 5, 6)
    for n, (picture, rows) in enumerate(zip(pictures[:, 0], more, strict=True)):
        x0, y0, x1, y1, number, ignored = rows[4].int().tolist()  # the last one lies on top
        cut = picture[y0:y1, x0:x1]
        source, value = divmod(cut[0, 0].item(), 10)
        assert (cut == cut[0, 0]).all() and value == number + 1 and not ignored
        of = boxes[int(source), int(value) - 1]
        assert [x1 - x0, y1 - y0] == [of[2] - of[0], of[3] - of[1]]
        around = picture.clone()
        around[y0:y1, x0:x1] = x[n, 0, y0:y1, x0:x1]
        x0, y0, x1, y1 = rows[3, :4].int().tolist()
        around[y0:y1, x0:x1] = x[n, 0, y0:y1, x0:x1]
        assert torch.equal(around, x[n, 0])
        check_boxes(rows[None].numpy(), (1, 1, SIDE, SIDE), 3)


def test_pasting_hides_and_blends(boxes):
    x = painted(boxes)
    hidden = 0
    _, more = CopyPaste(probability=1.0, most=1).with_boxes(x, boxes, draw(len(x)))
    for rows, old in zip(more, boxes, strict=True):
        for k in (0, 2):
            both = (
                (torch.minimum(rows[3, 2:4], old[k, 2:4]) - torch.maximum(rows[3, :2], old[k, :2]))
                .clamp_min(0)
                .prod()
            )
            share = both / (old[k, 2:4] - old[k, :2]).prod()
            assert rows[k, 5] == float(share > 0.5)
            hidden += int(share > 0.5)
    assert hidden
    same, few = CopyPaste(probability=0.0).with_boxes(x, boxes, draw(len(x)))
    assert torch.equal(same, x) and torch.equal(few[:, :3], boxes) and (few[:, 3:, 4] == -1).all()
    flat = torch.zeros(2, 1, SIDE, SIDE)
    flat[1] = 1
    one = torch.tensor([[[10.0, 10, 14, 14, 0, 0]]] * 2)
    blended, _ = CopyPaste(probability=1.0, most=1, feather=3).with_boxes(flat, one, draw(2, step=1))
    values = blended.unique()
    assert len(values) > 4 and values.min() >= 0 and values.max() <= 1


def test_pictures_without_objects_give_none(boxes):
    boxes[:, :, 4] = -1
    x = painted(boxes)
    pictures, more = CopyPaste(probability=1.0).with_boxes(x, boxes, draw(len(x)))
    assert torch.equal(pictures, x) and (more[..., 4] == -1).all()
    pictures, more = CopyPaste(probability=1.0).with_boxes(x, torch.zeros(40, 0, 6), draw(len(x)))
    assert more.shape == (40, 3, 6) and (more[..., 4] == -1).all()


def test_a_mosaic_shows_parts_of_four_pictures(boxes):
    x = painted(boxes) + 10 * torch.arange(len(boxes)).view(-1, 1, 1, 1)
    pictures, more = Mosaic(probability=1.0).with_boxes(x, boxes, draw(len(x)))
    assert more.shape == (40, 12, 6)
    sources = [set((picture // 10).ravel().tolist()) for picture in pictures]
    assert sum(len(of) == 4 for of in sources) > 25
    for picture, rows in zip(pictures[:, 0], more, strict=True):
        seen = {}
        for row in rows[rows[:, 4] >= 0]:
            x0, y0, x1, y1 = row[:4].int().tolist()
            cut = picture[y0:y1, x0:x1]
            assert (cut % 10 == row[4] + 1).all() and (cut == cut[0, 0]).all()
            of = boxes[int(cut[0, 0] // 10), int(row[4])]
            assert row[5] == float(cut.numel() < 0.4 * float((of[2:4] - of[:2]).prod()))
            seen[x0, y0] = cut.numel()
        assert sum(seen.values()) == int((picture % 10 > 0).sum())
    same, few = Mosaic(probability=0.0).with_boxes(x, boxes, draw(len(x)))
    assert torch.equal(same, x) and torch.equal(few[:, :3], boxes) and (few[:, 3:, 4] == -1).all()


def test_pasting_needs_boxes_and_sense():
    for change in (CopyPaste(), Mosaic()):
        with pytest.raises(ValueError, match=r"needs their boxes \[N, M, 6\]: leave it out where"):
            change(torch.zeros(2, 1, 8, 8), draw(2))
    with pytest.raises(ValueError, match=r"probability is 1\.5; expected a number from 0 to 1"):
        Mosaic(probability=1.5)
    with pytest.raises(ValueError, match="most is 0 and feather 2; expected at least one object"):
        CopyPaste(most=0)


def test_batches_move_boxes_with_their_pictures(boxes):
    stored = Dataset(inputs=painted(boxes).numpy(), targets=boxes.numpy(), classes=("a", "b", "c"))
    scaling = Scaling(mean=(0.0,), std=(1.0,), dtype="float32", shape=(1, SIDE, SIDE))
    changes = (Flip(), RotateQuarter(), Shift(pixels=3, fill="mean"), Mosaic())
    batches = Batches(data=stored, scaling=scaling, batch_size=20, augmentation=changes)
    for batch in batches.epoch(1):
        for picture, rows in zip(batch.inputs[:, 0], batch.targets, strict=True):
            for row in rows[(rows[:, 4] >= 0)]:
                x0, y0, x1, y1 = row[:4].int().tolist()
                assert (picture[y0:y1, x0:x1] == row[4] + 1).all()
    plain = next(iter(batches.in_order()))
    assert torch.equal(plain.targets, boxes[:20])
    with pytest.raises(ValueError, match="Mixup does not say what becomes of boxes"):
        next(Batches(data=stored, scaling=scaling, batch_size=20, augmentation=[Mixup()]).epoch(1))


def test_objects_are_pasted_and_pictures_put_together_where_that_is_declared():
    from hubel.data import from_arrays
    from hubel.fitting.recipe import default_augmentation

    truths = [{"boxes": [[1, 1, 5, 5]], "labels": ["a"]}] * 4
    x = np.zeros((4, 16, 16), np.uint8)
    data = from_arrays(x, truths, symmetries=["mosaic", "flip_horizontal", "copy_paste"])
    changes = default_augmentation(data, 5)[0]
    assert changes[:3] == (Mosaic(), CopyPaste(), Flip())
    plain = default_augmentation(from_arrays(x, truths), 5)[0]
    assert not {Mosaic, CopyPaste} & {type(change) for change in plain}
    with pytest.raises(
        ValueError,
        match="the symmetries copy_paste move objects from picture to picture, and arrays has no boxes",
    ):
        from_arrays(x, np.arange(4) % 2, symmetries=["copy_paste"])
