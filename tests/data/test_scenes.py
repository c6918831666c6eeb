import os
from dataclasses import replace

import numpy as np
import pytest

from hubel.data import BUILTIN, Dataset, load, scenes
from hubel.data.boxes import objects_of
from hubel.data.scenes import DARKEST, compose_scenes

GIVEN = os.environ.get("HUBEL_DATA")  # before the fixture takes it away


@pytest.fixture
def pieces():
    """Rectangles, each of a brightness of its own."""
    num = 240
    inputs = np.zeros((num, 1, 28, 28), np.uint8)
    for k, piece in enumerate(inputs[:, 0]):
        piece[4 + k % 5 : 24, 8 : 12 + k % 9] = 255 - (k % 200)
    return Dataset(
        inputs=inputs,
        targets=np.arange(num) % 3,
        classes=("a", "b", "c"),
        part=np.array(["train"] * 200 + ["test"] * 40),
    )


@pytest.fixture
def on_black(monkeypatch):
    monkeypatch.setitem(scenes.TEXTURES, "grain", lambda generator: np.zeros((scenes.SIDE, scenes.SIDE)))


def extent(there):
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_a_box_is_the_smallest_that_holds_its_piece(pieces, on_black):
    data = compose_scenes(pieces, counts={"train": 30, "test": 6})
    alone = [k for k in range(len(data)) if len(objects_of(data.targets[k])) == 1]
    assert len(alone) >= 3
    for k in alone:
        box = objects_of(data.targets[k])[0, :4]
        seen = DARKEST / scenes.OPAQUE * DARKEST  # a pixel at the limit lets half of the texture through
        outer, inner = extent(data.inputs[k, 0] >= np.floor(seen)), extent(data.inputs[k, 0] > np.ceil(seen))
        assert (outer[:2] <= box[:2]).all() and (outer[2:] >= box[2:]).all()
        assert (inner[:2] >= box[:2]).all() and (inner[2:] <= box[2:]).all()
        assert np.abs(np.array(outer) - box).max() <= 1
    sides = np.concatenate([objects_of(p)[:, 2:4] - objects_of(p)[:, :2] for p in data.targets])
    assert sides.max(1).min() >= 18 and sides.max() <= 60
    assert data.targets.shape[1] == 6 and data.class_counts().keys() == {"a", "b", "c"}


def test_no_piece_occurs_twice(pieces, on_black, monkeypatch):
    monkeypatch.setattr(
        scenes, "MOST_OVERLAP", 0.0
    )  # so that the brightest pixel of a box is its piece's own
    data = compose_scenes(pieces, counts={"train": 20, "validation": 10, "test": 6})
    seen = {"train": [], "validation": [], "test": []}
    for picture, boxes, part in zip(data.inputs[:, 0], data.targets, data.part, strict=True):
        for box in objects_of(boxes).astype(int):
            seen[part].append(int(picture[box[1] : box[3], box[0] : box[2]].max()))
    learnt = seen["train"] + seen["validation"]
    assert len(set(learnt)) == len(learnt) > 60
    assert set(seen["test"]) <= {255 - k for k in range(40)}
    assert len(set(data.groups.tolist())) == len(data)


def test_boxes_overlap_little(pieces):
    data = compose_scenes(pieces, counts={"train": 30})
    shares = []
    for boxes in data.targets:
        rows = objects_of(boxes)
        for k, one in enumerate(rows):
            for two in rows[:k]:
                both = np.prod(np.maximum(np.minimum(one[2:4], two[2:4]) - np.maximum(one[:2], two[:2]), 0))
                areas = np.prod(one[2:4] - one[:2]) + np.prod(two[2:4] - two[:2])
                shares.append(both / (areas - both))
    assert 0.05 < max(shares) <= scenes.MOST_OVERLAP + 1e-6


def test_what_is_covered_by_more_than_half_is_ignored(pieces, on_black, monkeypatch):
    monkeypatch.setattr(scenes, "MOST_OVERLAP", 1.0)
    monkeypatch.setattr(scenes, "MOST_TURN", 0.0)
    monkeypatch.setattr(scenes, "LONGEST_SIDES", (30.0, 60.0))
    data = compose_scenes(pieces, counts={"train": 33, "test": 6})
    clear = {True: 0, False: 0}
    for picture, boxes in zip(data.inputs[:, 0], data.targets, strict=True):
        covered = np.zeros(picture.shape, bool)
        for box in objects_of(boxes)[::-1].astype(int):  # those painted last cover the others
            inside = slice(box[1], box[3]), slice(box[0], box[2])
            share = 1 - covered[inside].mean()
            if abs(share - 0.5) > 0.1:
                assert box[5] == (share < 0.5)
                clear[bool(box[5])] += 1
            covered[inside] = True
    assert min(clear.values()) >= 3


def test_scenes_follow_from_the_seed_and_textures_change_nothing_else(pieces):
    counts = {"train": 4, "test": 2}
    grain, again = compose_scenes(pieces, counts=counts), compose_scenes(pieces, counts=counts)
    assert grain.fingerprint == again.fingerprint
    weave = compose_scenes(pieces, counts=counts, texture="weave")
    assert np.array_equal(grain.targets, weave.targets)
    assert not np.array_equal(grain.inputs, weave.inputs)
    assert grain.fingerprint != compose_scenes(pieces, counts=counts, seed=1).fingerprint
    alone = compose_scenes(pieces, counts={"test": 2})
    assert np.array_equal(alone.inputs, grain.inputs[4:])
    with pytest.raises(
        ValueError, match=r"40 pieces are in the test part; expected 6 for each of its scenes"
    ):
        compose_scenes(pieces, counts={"test": 7})


def test_grain_is_irregular_and_weave_is_periodic(pieces):
    """The largest share of the power of a texture in one place of its spectrum (and the opposite one)."""
    generator = np.random.default_rng(0)

    def peak(texture):
        values = scenes.TEXTURES[texture](generator)
        power = np.abs(np.fft.rfft2(values - values.mean())) ** 2
        return np.sort(power.ravel())[::-1][:4].sum() / power.sum()

    grain, weave = ([peak(texture) for _ in range(20)] for texture in ("grain", "weave"))
    assert np.median(grain) < 0.3 < np.median(weave)


def test_fashion_scenes_where_this_machine_has_the_pieces(monkeypatch):
    assert {"fashion-scenes", "fashion-scenes-shifted"} <= set(BUILTIN)
    absent = replace(BUILTIN["fashion-mnist"], files=(("none", ""),))
    monkeypatch.setitem(BUILTIN, "fashion-mnist", absent)
    with pytest.raises(FileNotFoundError, match="fashion-mnist is not on this machine"):
        load("fashion-scenes")
    monkeypatch.undo()
    if GIVEN is not None:
        monkeypatch.setenv("HUBEL_DATA", GIVEN)
    try:
        pieces = load("fashion-mnist")
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not on this machine; $HUBEL_DATA may name its folder")
    shifted = load("fashion-scenes-shifted")
    assert shifted.inputs.shape == (200, 1, 128, 128) and shifted.part is None
    assert shifted.classes == pieces.classes and "woven" in shifted.source
    few = compose_scenes(pieces, counts={"test": 10})
    assert np.array_equal(few.targets, shifted.targets[:10, : few.targets.shape[1]])
