"""Volumes [N, C, D, H, W]: arrays, files in class folders, scaling, duplicates, augmentation, prediction."""

import numpy as np
import pytest
import torch

from hubel.core.errors import UnreadableData
from hubel.data import from_arrays, load, read_like
from hubel.data.arrays import layout_of
from hubel.data.augmentation import (
    Affine,
    Brightness,
    Colour,
    Contrast,
    Draw,
    Erase,
    Flip,
    RotateCube,
    RotateQuarter,
    Shift,
    cube_rotations,
)
from hubel.data.batches import Batches
from hubel.data.dataset import Dataset
from hubel.data.duplicates import duplicates
from hubel.data.preprocessing import scaling_of
from hubel.data.splits import assign_parts

LABELS = np.array(["a", "b"] * 6)


def volumes(num=12, channels=2, sides=(5, 6, 7), dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, 4000, (num, channels, *sides)).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "given", "expected"),
    [
        ((9, 2, 8, 9, 7), {}, "NCDHW"),
        ((9, 8, 9, 7, 3), {}, "NDHWC"),
        ((9, 8, 9, 7, 3), {"channels": "first"}, "NCDHW"),
        ((9, 5, 9, 7), {"kind": "volumes"}, "NDHW"),
        ((9, 1, 9, 7), {}, "NCHW"),
        ((9, 1, 9, 7), {"kind": "volumes"}, "NDHW"),
    ],
)
def test_the_meaning_of_the_axes(shape, given, expected):
    assert layout_of(shape, **given) == expected


def test_axes_that_are_not_clear_are_asked_for():
    with pytest.raises(
        ValueError, match=r'channels="first" for \[N, C, D, H, W\] or channels="last" for \[N, D, H, W, C\]'
    ):
        layout_of((9, 8, 8, 8, 8))
    with pytest.raises(ValueError, match=r'kind="volumes" for volumes \[N, D, H, W\]'):
        layout_of((9, 16, 16, 16))
    with pytest.raises(ValueError, match=r"expected volumes \[N, D, H, W\]"):
        layout_of((9, 16, 16), kind="volumes")
    with pytest.raises(ValueError, match=r"kind='pictures' is not known"):
        layout_of((9, 16, 16, 16), kind="pictures")


def test_arrays_keep_their_values_and_type_and_move_their_channels():
    x = volumes()
    data = from_arrays(x, LABELS)
    assert data.kind == "volumes"
    assert data.inputs.dtype == np.uint16
    assert np.array_equal(data.inputs, x)
    last = from_arrays(np.moveaxis(x, 1, -1), LABELS)
    assert np.array_equal(last.inputs, x)
    alone = from_arrays(x[:, 0], LABELS, kind="volumes")
    assert alone.shape == (1, 5, 6, 7)
    assert data.fingerprint == last.fingerprint != alone.fingerprint


def test_scaling_is_per_channel_and_background_per_volume():
    x = volumes().astype("float64")
    x[:, 1] = 3 * x[:, 1] + 500
    scaled = scaling_of(from_arrays(x, LABELS))(torch.from_numpy(x))
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3, 4)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(dim=(0, 2, 3, 4), correction=0), torch.ones(2), atol=1e-5, rtol=0)
    data = from_arrays(x, LABELS, symmetries=["background"])
    shifted = torch.from_numpy(x + 1000 * np.random.default_rng(1).normal(size=(12, 2, 1, 1, 1)))
    scaling = scaling_of(data)
    torch.testing.assert_close(scaling(shifted), scaling(torch.from_numpy(x)), atol=1e-4, rtol=0)
    above = x - x.mean(axis=(2, 3, 4), keepdims=True)  # of the whole volume, not of each plane
    expected = above / above.std(axis=(0, 2, 3, 4)).reshape(1, 2, 1, 1, 1)
    torch.testing.assert_close(
        scaling(torch.from_numpy(x)).double(), torch.from_numpy(expected), atol=1e-4, rtol=0
    )


def test_duplicates_are_found_and_left_out():
    from hubel.workflows.prepare import prepare

    x = volumes(num=40)
    x[35] = x[3]
    data = from_arrays(x, ["a", "b"] * 20)
    for seed in range(30):
        rows = assign_parts(data, seed=seed)
        if (3 in rows.train) != (35 in rows.train):
            break
    assert duplicates(data, rows).leaked.size == 1
    prepared = prepare(data, seed=seed)
    assert prepared.duplicates["left_out_of_train"] == 1


def test_batches_in_channels_last_hold_the_same_values():
    data = from_arrays(volumes(), LABELS)
    plain, last = (
        next(Batches(data=data, scaling=scaling_of(data), batch_size=4, layout=layout).epoch(1)).inputs
        for layout in ("contiguous", "channels_last")
    )
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last_3d)
    assert not plain.is_contiguous(memory_format=torch.channels_last_3d)


def written(folder, suffix, x):
    folder.mkdir(parents=True, exist_ok=True)
    for number, volume in enumerate(x):
        path = folder / f"{number:02d}{suffix}"
        if suffix == ".npy":
            np.save(path, volume)
        elif suffix == ".fits":
            pytest.importorskip("astropy.io.fits").writeto(path, volume)
        else:
            pytest.importorskip("tifffile").imwrite(path, volume, photometric="minisblack")


@pytest.mark.parametrize("suffix", [".npy", ".fits", ".tif"])
def test_files_in_class_folders(tmp_path, suffix):
    x = volumes(num=6, channels=1)[:, 0]
    written(tmp_path / "data" / "a", suffix, x[:3])
    written(tmp_path / "data" / "b", suffix, x[3:])
    data = load(tmp_path / "data", kind="volumes", cache=False)
    assert data.kind == "volumes"
    assert data.inputs.dtype == np.uint16
    assert np.array_equal(data.inputs, x[:, None])
    assert data.classes == ("a", "b")
    files = [tmp_path / "data" / "b" / f"0{k}{suffix}" for k in range(2)]
    assert np.array_equal(read_like(files, data.reading), x[3:5, None])
    assert np.array_equal(read_like(x[:2], data.reading), x[:2, None])
    assert np.array_equal(read_like(x[0], data.reading), x[:1, None])


def test_files_with_channels(tmp_path):
    x = volumes(num=4)
    written(tmp_path / "a" / "one", ".npy", x[:2])
    written(tmp_path / "a" / "two", ".npy", np.moveaxis(x[2:], 1, -1))  # channels last, of the same volumes
    data = load(tmp_path / "a", kind="volumes", cache=False)
    assert np.array_equal(data.inputs, x)
    assert np.array_equal(read_like(tmp_path / "a" / "two" / "01.npy", data.reading), x[3:])
    tifffile = pytest.importorskip("tifffile")
    for name, number in (("one", 0), ("two", 1)):
        (tmp_path / "t" / name).mkdir(parents=True)
        planes = np.moveaxis(x[number], 0, 1)  # [D, C, H, W]
        tifffile.imwrite(tmp_path / "t" / name / "v.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    assert np.array_equal(load(tmp_path / "t", kind="volumes", cache=False).inputs, x[:2])


def test_decoded_volumes_come_back_from_the_cache(tmp_path):
    x = volumes(num=4, channels=1)[:, 0]
    written(tmp_path / "a", ".npy", x[:2])
    written(tmp_path / "b", ".npy", x[2:])
    first, again = (load(tmp_path, kind="volumes") for _ in range(2))
    assert np.array_equal(first.inputs, again.inputs)
    assert first.reading == again.reading
    with pytest.raises(
        UnreadableData, match=r'or kind="volumes" for volumes'
    ):  # not the same cache: it has to be said
        load(tmp_path)


def test_volumes_of_different_shape_or_type_are_refused_by_name(tmp_path):
    x = volumes(num=4, channels=1)[:, 0]
    written(tmp_path / "a", ".npy", x[:2])
    written(tmp_path / "b", ".npy", x[2:, :4])
    with pytest.raises(
        ValueError,
        match=r"different shapes .*2 1 × 5 × 6 × 7: a/00\.npy.*2 1 × 4 × 6 × 7: b/00\.npy.*Resample",
    ):
        load(tmp_path, kind="volumes", cache=False)
    written(tmp_path / "b", ".npy", x[2:].astype("float32"))
    with pytest.raises(ValueError, match=r"different value types"):
        load(tmp_path, kind="volumes", cache=False)
    np.save(tmp_path / "b" / "00.npy", x[0, 0])
    np.save(tmp_path / "b" / "01.npy", x[0])
    with pytest.raises(UnreadableData, match=r"b/00\.npy \(it has the shape \(6, 7\); expected \[D, H, W\]"):
        load(tmp_path, kind="volumes", cache=False)
    with pytest.raises(ValueError, match="size, resize and channels are for pictures"):
        load(tmp_path, kind="volumes", size=8)
    with pytest.raises(ValueError, match="digits is built in"):
        load("digits", kind="volumes")


def test_nan_in_a_volume_is_refused_or_zero(tmp_path):
    x = volumes(num=4, channels=1, dtype="float32")[:, 0]
    x[1, 2, 3, 4] = np.nan
    written(tmp_path / "a", ".npy", x[:2])
    written(tmp_path / "b", ".npy", x[2:])
    with pytest.raises(UnreadableData, match=r"a/01\.npy \(1 of its values are NaN"):
        load(tmp_path, kind="volumes", cache=False)
    assert load(tmp_path, kind="volumes", nan="zero", cache=False).inputs[1, 0, 2, 3, 4] == 0


def test_array_files(tmp_path):
    x = volumes()
    np.savez(tmp_path / "v.npz", x=x, y=LABELS)
    assert np.array_equal(load(tmp_path / "v.npz").inputs, x)
    np.savez(tmp_path / "one.npz", x=x[:, 0], y=LABELS)
    data = load(tmp_path / "one.npz", kind="volumes")
    assert np.array_equal(data.inputs[:, 0], x[:, 0])
    np.save(tmp_path / "new.npy", x[:3, 0])
    assert np.array_equal(read_like(tmp_path / "new.npy", data.reading), x[:3, :1])
    with pytest.raises(ValueError, match=r"expected examples of 1 × 5 × 6 × 7"):
        read_like(x[:2, 0, :4], data.reading)


def batch(num=8, sides=(4, 4, 4)):
    return torch.randn(num, 2, *sides, generator=torch.Generator().manual_seed(0))


DRAW = Draw(3, 1, 0, torch.arange(8))


def test_the_rotations_of_a_cube_are_a_group_of_24_without_mirrors():
    matrices = set()
    for order, mirrored in cube_rotations():
        matrix = np.zeros((3, 3), int)
        for row, axis in enumerate(order):
            matrix[row, axis - 2] = -1 if row + 2 in mirrored else 1
        assert round(np.linalg.det(matrix)) == 1
        matrices.add(tuple(matrix.ravel()))
    assert len(matrices) == 24
    for a in matrices:
        for b in matrices:
            assert tuple((np.reshape(a, (3, 3)) @ np.reshape(b, (3, 3))).ravel()) in matrices


def test_rotations_of_a_cube_move_voxels_and_draw_all_of_them():
    x = torch.arange(27.0).view(1, 1, 3, 3, 3).repeat(600, 1, 1, 1, 1)
    out = RotateCube()(x, Draw(0, 1, 0, torch.arange(600)))
    assert torch.equal(out.flatten(1).sort(1).values, x.flatten(1))
    assert len({tuple(row) for row in out.flatten(1).tolist()}) == 24
    assert (out[:, 0, 1, 1, 1] == 13).all()
    with pytest.raises(ValueError, match=r"need volumes .* with equal sides"):
        RotateCube()(batch(sides=(3, 4, 4)), DRAW)


def test_flips_along_each_axis():
    x = batch()
    for axis, place in (("horizontal", -1), ("vertical", -2), ("depth", -3)):
        out = Flip(axis=axis)(x, DRAW)
        same = [torch.equal(o, i) for o, i in zip(out, x, strict=True)]
        turned = [torch.equal(o, i.flip(place)) for o, i in zip(out, x, strict=True)]
        assert [a ^ b for a, b in zip(same, turned, strict=True)] == [True] * 8
        assert 0 < sum(turned) < 8
    with pytest.raises(ValueError, match="only volumes"):
        Flip(axis="depth")(x[:, :, 0], DRAW)


def test_quarter_turns_are_those_of_every_plane():
    x = batch()
    assert torch.equal(RotateQuarter()(x, DRAW)[:, :, 2], RotateQuarter()(x[:, :, 2], DRAW))


def test_a_shift_moves_along_all_three_axes():
    x = torch.zeros(64, 1, 9, 9, 9)
    x[:, :, 4, 4, 4] = 1
    out = Shift(pixels=2)(x, Draw(0, 1, 0, torch.arange(64)))
    places = out.view(64, -1).argmax(1)
    found = torch.stack([places // 81, places // 9 % 9, places % 9], dim=1)
    assert (out.view(64, -1).sum(1) == 1).all()
    for axis in range(3):
        assert set(found[:, axis].tolist()) == {2, 3, 4, 5, 6}
    x = torch.arange(5 * 7 * 9.0).view(1, 1, 5, 7, 9).expand(64, -1, -1, -1, -1)
    moved = Shift(pixels=1)(x, Draw(0, 1, 0, torch.arange(64)))
    change = moved[:, 0, 2, 3, 4] - x[:, 0, 2, 3, 4]  # of the middle voxel, by whole steps along each axis
    allowed = {63 * a + 9 * b + c for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)}
    assert set(change.tolist()) <= allowed
    assert len(set(change.tolist())) > 20
    edge = Shift(pixels=1, fill="mean")(torch.ones(64, 1, 3, 3, 3), Draw(0, 1, 0, torch.arange(64)))
    assert set(edge.view(64, -1).sum(1).tolist()) == {8.0, 12.0, 18.0, 27.0}


def test_brightness_contrast_and_colour_act_on_whole_volumes():
    x = batch()
    lifted = Brightness()(x, DRAW) - x
    torch.testing.assert_close(lifted, lifted[:, :1, :1, :1, :1].expand_as(x), atol=1e-6, rtol=0)
    for change in (Contrast(), Colour(amount=0.0)):
        torch.testing.assert_close(
            change(x, DRAW).mean(dim=(1, 2, 3, 4)), x.mean(dim=(1, 2, 3, 4)), atol=1e-5, rtol=0
        )
    stretched = Colour()(x, DRAW)
    slopes = stretched.std(dim=(2, 3, 4)) / x.std(dim=(2, 3, 4))
    assert slopes.std() > 0.01


@pytest.mark.parametrize("change", [Affine(degrees=10), Erase()])
def test_changes_of_pictures_are_refused(change):
    with pytest.raises(ValueError, match=r"is for pictures \[N, C, H, W\]; received \(8, 2, 4, 4, 4\)"):
        change(batch(), DRAW)


def test_symmetries_that_mean_nothing_are_refused():
    x = volumes()
    with pytest.raises(ValueError, match=r"rotate, scale are not defined for volumes"):
        from_arrays(x, LABELS, symmetries=["rotate", "scale", "shift"])
    with pytest.raises(
        ValueError, match=r"flip_depth, rotate_cube are not defined for other data than volumes"
    ):
        Dataset(
            inputs=x[:, :, 0],
            targets=np.arange(12) % 2,
            classes=("a", "b"),
            symmetries=frozenset({"flip_depth", "rotate_cube"}),
        )


def test_declared_symmetries_become_augmentation():
    from hubel.fitting.recipe import default_augmentation

    data = from_arrays(
        volumes(sides=(6, 6, 6)), LABELS, symmetries=["flip_depth", "rotate_cube", "shift", "flip_vertical"]
    )
    assert default_augmentation(data, 1)[0] == (
        Flip(axis="vertical"),
        Flip(axis="depth"),
        RotateCube(),
        Shift(pixels=1),
    )
    flat = from_arrays(volumes(sides=(4, 6, 6)), LABELS, symmetries=["rotate_cube", "rotate_90"])
    assert default_augmentation(flat, 1)[0] == (RotateQuarter(),)
