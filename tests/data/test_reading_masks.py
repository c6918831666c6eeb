"""Masks: which values are classes, how they are read from files beside their pictures, and that they go where their pictures go."""

import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from hubel.core.errors import UnreadableData
from hubel.data import Dataset, assign_parts, from_arrays, load
from hubel.data.augmentation import (
    Affine,
    Brightness,
    Colour,
    Contrast,
    Crop,
    Draw,
    Erase,
    Flip,
    Mixup,
    Noise,
    RotateQuarter,
    Shift,
    moved,
)
from hubel.data.batches import Batches
from hubel.data.mask_files import mask_values
from hubel.data.masks import MaskClasses, rarest_classes
from hubel.data.preprocessing import scaling_of
from hubel.data.sizes import fit_mask, fit_size, unfit_mask

N, H, W = 8, 10, 12


def made(num=N, height=H, width=W, classes=3, seed=0):
    """Pictures [N, H, W] whose grey value is 40 times the class, and their masks."""
    masks = np.random.default_rng(seed).integers(0, classes, (num, height, width)).astype(np.uint8)
    return masks * np.uint8(40), masks


# arrays


def test_values_are_classes_as_they_are():
    x, masks = made()
    data = from_arrays(x, masks)
    assert data.has_masks and data.classes == ("0", "1", "2")
    assert np.array_equal(data.targets, masks) and data.targets.dtype == np.uint8
    counts = np.bincount(masks.ravel())
    assert data.class_counts() == {"0": counts[0], "1": counts[1], "2": counts[2]}
    colours = np.repeat(x[:, None], 3, axis=1)
    for given in (colours, np.moveaxis(colours, 1, 3), torch.from_numpy(colours), list(x)):
        assert np.array_equal(from_arrays(given, torch.from_numpy(masks.astype(np.int64))).targets, masks)


def test_names_belong_to_values():
    x, masks = made()
    assert from_arrays(x, masks, classes=["sky", "star", "dust"]).classes == ("sky", "star", "dust")
    spread = np.array([0, 7, 200], np.uint8)[masks]
    by_value = from_arrays(x, spread, classes={"200": "dust", 0: "sky", 7: "star"})
    assert by_value.classes == ("sky", "star", "dust") and np.array_equal(by_value.targets, masks)
    unnamed = from_arrays(x, spread)
    assert unnamed.classes == ("0", "7", "200") and np.array_equal(unnamed.targets, masks)
    assert any("0, 7, 200" in note for note in unnamed.notes)
    more = from_arrays(x, masks, classes=["sky", "star", "dust", "comet"])
    assert len(more.classes) == 4 and any("comet" in note for note in more.notes)


def test_what_is_not_labelled():
    x, masks = made()
    masks[:, 0] = 255
    data = from_arrays(x, masks)
    assert data.classes == ("0", "1", "2") and (data.targets[:, 0] == 255).all()
    assert any("255 in a mask means not labelled" in note for note in data.notes)
    assert sum(data.class_counts().values()) == masks[:, 1:].size
    wide = from_arrays(x, masks.astype(np.int32))
    assert wide.classes == ("0", "1", "2", "255") and any(
        "255 is a class here" in note for note in wide.notes
    )
    said = from_arrays(x, masks.astype(np.int32), unlabelled=255)
    assert np.array_equal(said.targets, data.targets)
    signed = masks.astype(np.int16)
    signed[signed == 255] = -1
    assert np.array_equal(from_arrays(x, signed, unlabelled=-1).targets, data.targets)
    zero = from_arrays(x, masks, unlabelled=0)
    assert zero.classes == ("1", "2", "255") and ((zero.targets == 255) == (masks == 0)).all()
    yes = from_arrays(x, np.where(masks == 1, 255, 0).astype(np.uint8), unlabelled="none")
    assert yes.classes == ("0", "255") and ((yes.targets == 1) == (masks == 1)).all()


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (lambda m: m.astype("float32"), {}, r"float32; expected whole numbers.*astype\(int\)"),
        (
            lambda m: np.repeat(m[..., None], 3, 3),
            {},
            r"shape \(8, 10, 12, 3\); expected one class number a pixel",
        ),
        (lambda m: m[:, :5], {}, r"10 × 12 pixels, but their masks 5 × 12.*nearest neighbour"),
        (lambda m: m[:5], {}, "8 pictures, but there are 5 masks"),
        (lambda m: m * 0, {}, 'have the class "0"; expected at least two'),
        (lambda m: (m > 0).astype(np.uint8) * 255, {}, r"say unlabelled=\"none\" \(--unlabelled none\)"),
        (lambda m: m * 0 + 255, {}, "no labelled pixel"),
        (lambda m: m.astype(int) - 1, {}, r"hold -1; class numbers begin at 0.*unlabelled=-1"),
        (lambda m: np.arange(m.size).reshape(m.shape), {}, "960 different values.*masks > 0"),
        (lambda m: m, {"classes": ["sky", "star"]}, r"hold 2, which no class is named for \(0, 1"),
        (lambda m: m, {"classes": ["sky", "sky", "star"]}, "2 different names"),
        (lambda m: m, {"unlabelled": 1, "classes": ["a", "b", "c"]}, "it is the class 'b'"),
        (lambda m: m, {"unlabelled": "no"}, r'or "none" where all have one'),
        (lambda m: m, {"task": "values"}, "Leave task out"),
    ],
)
def test_refusals_of_arrays(change, more, said):
    x, masks = made()
    with pytest.raises(ValueError, match=said):
        from_arrays(x, change(masks), **more)


def test_masks_belong_to_pictures():
    _, masks = made()
    with pytest.raises(ValueError, match=r"masks \[N, H, W\] belong to pictures"):
        from_arrays(np.zeros((N, 5)), masks)
    with pytest.raises(ValueError, match="y has none: leave it out"):
        from_arrays(np.zeros((N, 5)), np.arange(N) % 2, unlabelled=255)
    with pytest.raises(ValueError, match=r"masks have shape \[8, 10, 12\] for inputs \[8, 1, 10, 10\]"):
        Dataset(inputs=np.zeros((N, 1, 10, 10)), targets=masks, classes=("a", "b", "c"))


def test_parts_read_their_own_rows():
    x, masks = made()
    data = from_arrays(x, masks)
    part = data.view([5, 2, 7]).view([2, 0])
    assert np.array_equal(np.asarray(part.targets), masks[[7, 5]])
    assert np.array_equal(part.select([1]).targets, masks[[5]])
    assert data.fingerprint != from_arrays(x, masks[::-1].copy()).fingerprint


def test_the_rarest_class_of_a_mask_stays_in_training():
    """Class 2 is in two pictures of sixty: with a split at random it would be missing in training for one seed in twenty."""
    x, masks = made(60, classes=2)
    masks[[13, 44], 3, 4] = 2
    data = from_arrays(x, masks)
    assert rarest_classes(data.targets, 3)[[12, 13]].tolist()[1] == 2
    for seed in range(40):
        rows = assign_parts(data, seed=seed)
        assert (masks[rows.train] == 2).any()
        assert sorted(np.concatenate([rows.train, rows.validation, rows.test])) == list(range(60))


# files


def folder_of(root, x, masks, *, names=None, parts=None):
    for k, (picture, mask) in enumerate(zip(x, masks, strict=True)):
        below = root if parts is None else root / parts[k]
        for kind, values in (("images", picture), ("masks", mask)):
            (below / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(below / kind / f"{k:02d}.png")
    if names is not None:
        (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def test_a_folder_of_pictures_and_masks(tmp_path):
    x, masks = made()
    masks[0, 0, 0] = 255
    data = load(folder_of(tmp_path / "cells", x, masks, names=["sky", "star", "dust"]))
    assert np.array_equal(data.inputs[:, 0], x) and np.array_equal(data.targets, masks)
    assert data.classes == ("sky", "star", "dust") and data.ids[3] == "images/03.png"
    assert data.reading["masks"] == {
        "values": [0, 1, 2],
        "classes": ["sky", "star", "dust"],
        "unlabelled": 255,
    }
    again = load(tmp_path / "cells")  # from the cache of decoded pictures
    assert again.fingerprint == data.fingerprint
    (tmp_path / "cells" / "classes.txt").unlink()
    (tmp_path / "cells" / "classes.json").write_text(json.dumps({"0": "a", "1": "b", "2": "c"}))
    assert load(tmp_path / "cells").classes == ("a", "b", "c")


@pytest.mark.parametrize("inside", [False, True])
def test_folders_for_parts(tmp_path, inside):
    x, masks = made()
    parts = ["train"] * 5 + ["val"] + ["test"] * 2
    folder_of(tmp_path, x, masks, parts=parts)
    if inside:
        for part in set(parts):
            for kind in ("images", "masks"):
                (tmp_path / kind).mkdir(exist_ok=True)
                (tmp_path / part / kind).rename(tmp_path / kind / part)
            (tmp_path / part).rmdir()
    data = load(tmp_path)
    order = [int(name[-6:-4]) for name in data.ids]
    expected = [{"val": "validation"}.get(parts[k], parts[k]) for k in order]
    assert data.part.tolist() == expected
    assert np.array_equal(data.targets, masks[order]) and np.array_equal(data.inputs[:, 0], x[order])


def test_a_table_with_paths_of_masks(tmp_path):
    x, masks = made()
    folder_of(tmp_path, x, masks)
    lines = [f"images/{k:02d}.png,masks/{k:02d}.png,g{k // 2}" for k in range(N)]
    (tmp_path / "t.csv").write_text("\n".join(["path,mask,group", *lines[::-1]]))
    data = load(tmp_path / "t.csv")
    assert np.array_equal(data.targets, masks[::-1]) and data.groups.tolist()[:2] == ["g3", "g3"]
    (tmp_path / "both.csv").write_text("\n".join(["path,mask,label", *lines]))
    assert not load(tmp_path / "both.csv").has_masks
    assert load(tmp_path / "both.csv", target="mask").has_masks
    (tmp_path / "t.csv").write_text("path,mask\nimages/00.png,masks/none.png\nimages/01.png,masks/01.png\n")
    with pytest.raises(UnreadableData, match=r"1 of 2 masks that .* do not exist: masks/none.png"):
        load(tmp_path / "t.csv")


def grey_png(path, values, bits):
    """A greyscale PNG of 1, 2 or 4 bits, written by hand."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = values.shape
    rows = b""
    for row in values:
        digits = "".join(f"{v:0{bits}b}" for v in row)
        digits += "0" * (-len(digits) % 8)
        rows += b"\0" + bytes(int(digits[k : k + 8], 2) for k in range(0, len(digits), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_spread(tmp_path, bits):
    values = np.random.default_rng(0).integers(0, 2**bits, (5, 7)).astype(np.uint8)
    grey_png(tmp_path / "m.png", values, bits)
    assert np.array_equal(mask_values(tmp_path / "m.png"), values)


def test_every_kind_of_file_keeps_its_numbers(tmp_path):
    values = np.random.default_rng(0).integers(0, 5, (5, 7)).astype(np.uint8)
    palette = Image.fromarray(values)
    palette.putpalette(list(np.random.default_rng(1).integers(0, 255, 768)))
    for name in ("p.png", "p.bmp", "p.gif", "p.tif"):
        palette.save(tmp_path / name)
    for name in ("g.png", "g.tif", "g.bmp"):
        Image.fromarray(values).save(tmp_path / name)
    for name in ("w.png", "w.tif"):
        Image.fromarray(values.astype(np.uint16) * 300).save(tmp_path / name)
    np.save(tmp_path / "n.npy", values.astype(np.int64))
    for path in sorted(tmp_path.iterdir()):
        found = mask_values(path)
        assert np.array_equal(found, values.astype(int) * (300 if path.stem == "w" else 1)), path.name


@pytest.mark.parametrize(
    ("name", "save", "said"),
    [
        ("00.png", lambda p: Image.new("RGB", (W, H)).save(p), "00.png .*RGB, colours; expected one class number"),
        ("00.tif", lambda p: Image.fromarray(np.zeros((H, W), np.float32)).save(p), "float32; expected whole numbers"),
        ("00.jpg", lambda p: Image.new("L", (W, H)).save(p), "changes values.*save masks as PNG"),
        ("00.npy", lambda p: np.save(p, np.zeros((H, W, 3), int)), r"shape \(10, 12, 3\)"),
        ("00.png", lambda p: p.write_bytes(b"no"), "1 of 8 files can not be read"),
        (
            "00.png",
            lambda p: Image.new("L", (W, H - 1)).save(p),
            r"1 of 8 masks are of another size.*00.png \(9 × 12, its picture 10 × 12\)",
        ),
        ("new.png", lambda p: Image.new("L", (W, H)).save(p), r"1 of 8 pictures have no mask \(00\) and 1 of 8 masks have no picture \(new\)"),
        ("01.tif", lambda p: Image.new("L", (W, H)).save(p), "1 names twice.*01.png and 01.tif|01.tif and 01.png"),
    ],
)  # fmt: skip
def test_refusals_of_files(tmp_path, name, save, said):
    x, masks = made()
    folder_of(tmp_path, x, masks)
    if name != "01.tif":
        (tmp_path / "masks" / "00.png").unlink()
    save(tmp_path / "masks" / name)
    with pytest.raises(ValueError, match=said):
        load(tmp_path)


def test_unreadable_masks_may_be_skipped(tmp_path):
    x, masks = made()
    folder_of(tmp_path, x, masks)
    (tmp_path / "masks" / "03.png").write_bytes(b"no")
    data = load(tmp_path, skip_unreadable=True)
    kept = [0, 1, 2, 4, 5, 6, 7]
    assert np.array_equal(data.targets, masks[kept]) and np.array_equal(data.inputs[:, 0], x[kept])
    assert any("masks/03.png" in note for note in data.notes)


def test_names_that_are_none(tmp_path):
    x, masks = made()
    folder_of(tmp_path, x, masks, names=["sky", "star"])
    with pytest.raises(ValueError, match="hold 2, which no class is named for"):
        load(tmp_path)
    (tmp_path / "classes.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"has classes.txt and classes.json"):
        load(tmp_path)
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(ValueError, match="holds no names; expected a name a line"):
        load(tmp_path)


def test_an_option_that_means_nothing_is_refused(tmp_path):
    x, masks = made()
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(N) % 2)
    for source in ("digits", tmp_path / "a.npz"):
        with pytest.raises(ValueError, match="unlabelled=0"):
            load(source, unlabelled=0)
    np.savez(tmp_path / "b.npz", x=x, y=masks, classes=["sky", "star", "dust"])
    assert load(tmp_path / "b.npz").classes == ("sky", "star", "dust")
    folder_of(tmp_path / "c", x, masks)
    with pytest.raises(ValueError, match="is not for pictures with masks"):
        load(tmp_path / "c", kind="volumes")


# sizes


@pytest.mark.parametrize("resize", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (31, 31), (8, 90)])
def test_masks_are_resized_as_their_pictures(resize, shape):
    """A mask drawn into its picture stays where it is: both are resized, and inside the classes they agree."""
    rows, columns = np.indices(shape) / np.array(shape)[:, None, None]
    mask = ((rows > 0.3) & (columns > 0.45)).astype(np.uint8)
    picture = fit_size((mask * 200)[None], (32, 32), resize)[0]
    small = fit_mask(mask, (32, 32), resize, fill=255)
    assert small.shape == (32, 32) and small.dtype == np.uint8
    inside = small != 255
    assert inside.all() == (resize != "pad" or shape[0] == shape[1])
    sure = inside & ((picture == 0) | (picture == 200))
    assert sure.sum() > 0.3 * inside.sum()
    assert (small[sure] == picture[sure] // 200).mean() > 0.995
    back = unfit_mask(small, shape, resize, fill=255)
    assert back.shape == shape
    known = back != 255
    assert known.all() == (resize != "crop" or shape[0] == shape[1])
    assert (back[known] == mask[known]).mean() > 0.9


def test_pictures_of_different_sizes_and_what_padding_adds(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for k, (height, width) in enumerate([(20, 20), (20, 40), (40, 20), (10, 10)]):
        mask = np.zeros((height, width), np.uint8)
        mask[height // 2 :] = 1
        Image.fromarray(mask * 100).save(tmp_path / "images" / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{k}.png")
    data = load(tmp_path, size=20)
    assert data.targets.shape == (4, 20, 20)
    assert (data.targets[0] == 255).sum() == 0 and (data.targets[1] == 255).sum() == 200
    assert (data.targets[1, 5:10] == 0).all() and (data.targets[1, 10:15] == 1).all()
    assert any("nearest neighbour; what padding added is not labelled" in note for note in data.notes)
    with pytest.raises(ValueError, match="one size"):
        load(tmp_path, size="stored")


def test_other_masks_are_read_by_the_values_of_the_run(tmp_path):
    x, masks = made()
    reading = load(folder_of(tmp_path / "a", x, masks * np.uint8(3))).reading
    folder_of(tmp_path / "b", x, np.full_like(masks, 3))
    data = load(tmp_path / "b", reading=reading)
    assert data.classes == ("0", "3", "6") and (data.targets == 1).all()
    folder_of(tmp_path / "c", x, masks)
    with pytest.raises(ValueError, match=r"hold 1, 2, which no class is named for \(0, 3, 6"):
        load(tmp_path / "c", reading=reading)


def test_stored_values_come_back():
    found = MaskClasses(values=(0, 7, 300), classes=("a", "b", "c"))
    mask = np.array([[0, 7], [300, 7]])
    assert np.array_equal(found.stored(found.numbers(mask)), mask)
    full = MaskClasses(values=(0, 255), classes=("a", "b"))
    assert full.stored(np.array([1, 255], np.uint8)).tolist() == [255, 256]
    assert full.stored(np.array([1, 0], np.uint8)).dtype == np.uint8


# changes


def draw(num=N, **more):
    return Draw(0, more.get("epoch", 1), more.get("step", 0), torch.arange(num))


def batch_of_masks(side=11, num=16, classes=4, seed=3):
    """Blobs of classes, so that most pixels have neighbours of their own class; as pictures the class number is the value."""
    blocks = torch.randint(classes, (num, 4, 4), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(blocks[:, None].float(), size=(side, side))[:, 0].to(torch.uint8)


@pytest.mark.parametrize(
    "change", [Flip(), Flip(axis="vertical"), RotateQuarter(), Shift(pixels=3), Crop(padding=3)]
)
def test_masks_go_where_the_pixels_go(change):
    """A picture that shows the numbers of its mask still shows those of the changed mask."""
    masks = batch_of_masks()
    for epoch in (1, 2):
        pictures = change(masks[:, None].float(), draw(16, epoch=epoch))[:, 0]
        found = moved(masks, [change], draw(16, epoch=epoch))
        assert found.dtype == torch.uint8
        assert torch.equal(found.float(), pictures)
        assert not torch.equal(found, masks)


def test_flips_and_turns_are_numpys():
    masks = batch_of_masks().numpy()
    for change, ways in (
        (Flip(), [lambda m: m, np.fliplr]),
        (Flip(axis="vertical"), [lambda m: m, np.flipud]),
        (RotateQuarter(), [lambda m, k=k: np.rot90(m, k) for k in range(4)]),
    ):
        found = moved(torch.from_numpy(masks), [change], draw(16)).numpy()
        used = set()
        for mask, one in zip(masks, found, strict=True):
            fitting = [k for k, way in enumerate(ways) if np.array_equal(one, way(mask))]
            assert fitting
            used.update(fitting)
        assert used == set(range(len(ways)))


@pytest.mark.parametrize("fill", ["edge", "reflect", "mean"])
def test_affine_changes_of_masks_are_nearest_neighbours(fill):
    """The class that a pixel gets is one of those that bilinear interpolation mixes there, with a quarter of the weight at least."""
    change = Affine(degrees=40, zoom=0.3, aspect=0.2, fill=fill)
    masks = batch_of_masks(side=17)
    found = moved(masks, [change], draw(16)).long()
    shares = torch.stack([change((masks == k)[:, None].float(), draw(16))[:, 0] for k in range(4)], 1)
    labelled = found != 255
    own = shares.gather(1, found.clamp_max(3).unsqueeze(1)).squeeze(1)
    assert own[labelled].min() > 0.25 - 1e-4
    assert (found[labelled] == shares.argmax(1)[labelled]).float().mean() > 0.9
    assert labelled.all() == (fill != "mean")
    assert shares.sum(1)[~labelled].max() < 0.75 if fill == "mean" else True


def test_what_a_shift_fills_with_the_mean_is_not_labelled():
    masks = batch_of_masks()
    change = Shift(pixels=3, fill="mean")
    found = moved(masks, [change], draw(16))
    outside = change(torch.ones(16, 1, 11, 11), draw(16))[:, 0] == 0
    assert torch.equal(found == 255, outside) and outside.any()


@pytest.mark.parametrize("change", [Brightness(), Contrast(), Colour(), Noise()])
def test_colours_leave_masks_alone(change):
    masks = batch_of_masks()
    assert torch.equal(moved(masks, [change], draw(16)), masks)


def test_what_is_hidden_is_not_labelled():
    masks = batch_of_masks(side=20)
    found = moved(masks, [Erase()], draw(16))
    hidden = Erase()(torch.ones(16, 1, 20, 20), draw(16))[:, 0] == 0
    assert torch.equal(found == 255, hidden) and hidden.any()
    assert torch.equal(found[~hidden], masks[~hidden])


def test_a_change_that_does_not_say_is_refused():
    class Mine:
        def __call__(self, inputs, draw):
            return inputs

    for change in (Mixup(), Mine()):
        with pytest.raises(ValueError, match=r"does not say what becomes of masks.*of_masks"):
            moved(batch_of_masks(), [change], draw(16))


def test_batches_move_masks_with_their_pictures(tmp_path):
    """Through shuffling, scaling and several changes one after the other: the grey value still says the class."""
    x, masks = made(20, 8, 8)
    data = from_arrays(x, masks).view(np.arange(3, 19))
    changes = (Flip(), RotateQuarter(), Shift(pixels=2), Brightness(amount=0.0))
    batches = Batches(data=data, scaling=scaling_of(data), batch_size=5, seed=1, augmentation=changes)
    seen = 0
    for batch in batches.epoch(1):
        grey = batches.scaling.invert(batch.inputs)[:, 0].round() / 40
        assert torch.equal(grey.to(torch.uint8), batch.targets)
        seen += len(batch)
    assert seen == 20
    in_order = torch.cat([batch.targets for batch in batches.in_order(3)])
    assert np.array_equal(in_order.numpy(), masks[3:19])
    np.save(tmp_path / "m.npy", masks)
    mapped = Dataset(
        inputs=x[:, None], targets=np.load(tmp_path / "m.npy", mmap_mode="r"), classes=("a", "b", "c")
    )
    again = Batches(data=mapped.view([4, 2]), scaling=batches.scaling, batch_size=2)
    assert np.array_equal(next(again.in_order()).targets.numpy(), masks[[4, 2]])
