"""Other data are read as those of a run: for `evaluate`, and for `fit(like=)`."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import quick

import hubel
from hubel.core.errors import DamagedRun, UnreadableData
from hubel.fitting.alike import options_like, recorded_options

RNG = np.random.default_rng(0)
ALIKE = {"net": lambda inputs, outputs: hubel.nets.mlp((8,), inputs=inputs, outputs=outputs)}


def photos(root, size=(10, 12), num=12, channels=(), levels=(40, 160)):
    for name, level in zip(("dark", "light"), levels, strict=True):
        (root / name).mkdir(parents=True)
        for k in range(num):
            pixels = (
                RNG.normal(level, 20, (size[0], size[1] + k % 2, *channels)).clip(0, 255).astype(np.uint8)
            )
            Image.fromarray(pixels).save(root / name / f"{k}.png")
    return root


def fitted(source, out, **more):
    return hubel.fit(source, recipe=quick(), out=out, quiet=True, **{**ALIKE, **more})


def rows_of(run, folder):
    paths = sorted(folder.rglob("*.png"))
    return [str(path) for path in paths], hubel.data.read_like(paths, run.reading)


def test_pictures_of_another_size_are_scored_as_they_would_be_predicted(tmp_path):
    run = fitted(photos(tmp_path / "photos"), tmp_path / "run", options={"resize": "crop"})
    others = photos(tmp_path / "others", size=(23, 17))
    scores = run.evaluate(others)
    files, rows = rows_of(run, others)
    said = run.predict(rows).labels
    right = np.mean([name.split("/")[-2] == label for name, label in zip(files, said, strict=True)])
    assert scores["accuracy"].value == right and scores["accuracy"].count == 24
    assert run.reading["size"] == [10, 12] and run.reading["resize"] == "crop"


def test_grey_and_colour_pictures_together(tmp_path):
    run = fitted(photos(tmp_path / "photos", channels=(3,)), tmp_path / "run")
    others = photos(tmp_path / "others", channels=(3,))
    for name in ("dark", "light"):
        Image.fromarray(RNG.integers(0, 200, (30, 30), dtype=np.uint8)).save(others / name / "grey.png")
    assert run.evaluate(others)["accuracy"].count == 26
    grey = fitted(photos(tmp_path / "greys"), tmp_path / "grey-run")
    with pytest.raises(UnreadableData, match=r'24 of 26 files .*expected grey; channels="grey" converts it'):
        grey.evaluate(others)
    assert grey.evaluate(others, options={"channels": "grey"})["accuracy"].count == 26
    deep = photos(tmp_path / "deep")
    Image.fromarray(np.zeros((10, 12), np.uint16)).save(deep / "dark" / "deep.png")
    with pytest.raises(
        UnreadableData,
        match=r"dark/deep\.png \(its values are uint16, expected uint8, as the training data have: save it as those were\)",
    ):
        grey.evaluate(deep)
    assert grey.evaluate(deep, options={"skip_unreadable": True})["accuracy"].count == 24


def test_a_table_is_evaluated_by_the_column_of_the_run_and_a_folder_by_its_names(tmp_path):
    root = photos(tmp_path / "photos")
    lines = [
        f"{p.relative_to(tmp_path)},{p.parent.name},x{k % 3}"
        for k, p in enumerate(sorted(root.rglob("*.png")))
    ]
    (tmp_path / "a.csv").write_text("\n".join(["path,kind,label", *lines]))
    (tmp_path / "b.csv").write_text("\n".join(["path,kind,label", *lines[:9], *lines[15:]]))
    run = fitted(tmp_path / "a.csv", tmp_path / "run", options={"target": "kind"})
    assert run.about["data"]["classes"] == ["dark", "light"]
    assert run.evaluate(tmp_path / "b.csv")["accuracy"].count == 18
    assert run.evaluate(root)["accuracy"].count == 24


def test_arrays_have_to_have_the_shape_and_type(tmp_path):
    x = RNG.integers(0, 256, (40, 6, 5, 4)).astype(
        np.uint8
    )  # an axis of 4 among 6 and 5: only the layout tells
    y = np.arange(40) % 2
    run = fitted(x, tmp_path / "run", y=y, options={"channels": "last"})
    assert run.evaluate(x, y)["accuracy"].count == 40
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert run.evaluate(tmp_path / "a.npz")["accuracy"].value == run.evaluate(x, y)["accuracy"].value
    assert run.evaluate(x.transpose(0, 3, 1, 2), y)["accuracy"].value == run.evaluate(x, y)["accuracy"].value
    for wrong in (x.astype(np.uint16), np.zeros((40, 8, 8), np.uint8)):
        with pytest.raises(
            ValueError, match=r"fitted on 4×6×5 uint8: bring the arrays to that shape and type"
        ):
            run.evaluate(wrong, y)


def test_nan_is_read_as_it_was(tmp_path):
    x = RNG.normal(size=(40, 5)).astype(np.float32)
    x[3, 2] = np.nan
    y = np.arange(40) % 2
    run = fitted(x, tmp_path / "run", y=y, options={"nan": "zero"})
    assert run.evaluate(x, y)["accuracy"].count == 40
    with pytest.raises(UnreadableData, match="1 values are NaN"):
        run.evaluate(x, y, options={"nan": "refuse"})


def test_a_fit_like_another_reads_as_it_did(tmp_path):
    first = fitted(
        photos(tmp_path / "photos", channels=(3,)),
        tmp_path / "first",
        options={
            "size": 9,
            "resize": "stretch",
            "channels": "grey",
            "symmetries": ["flip_horizontal", "background"],
        },
    )
    again = hubel.fit(
        photos(tmp_path / "others", size=(31, 30), channels=(3,)),
        like=first,
        out=tmp_path / "again",
        quiet=True,
    )
    assert again.about["data"]["shape"] == [1, 9, 9]
    assert {again.reading[name] for name in ("resize", "convert", "nan")} == {"stretch", "grey", "refuse"}
    assert again.about["data"]["symmetries"] == ["background", "flip_horizontal"]
    assert again.scaling.background == "subtracted"
    _, rows = rows_of(first, tmp_path / "others")
    assert torch.equal(torch.from_numpy(rows), torch.from_numpy(rows_of(again, tmp_path / "others")[1]))
    assert hubel.resume(again, quiet=True).status == "finished"
    assert (
        again.evaluate()["accuracy"].value == again.test["accuracy"]["value"]
    )  # read again from where it came
    given = hubel.fit(
        tmp_path / "others",
        like=first,
        out=tmp_path / "given",
        quiet=True,
        options={"resize": "pad", "symmetries": ["flip_horizontal"]},
    )
    assert given.reading["resize"] == "pad" and given.scaling.background == "kept"


def test_the_same_source_is_read_with_the_same_options(tmp_path):
    first = fitted(photos(tmp_path / "photos"), tmp_path / "first", options={"size": 9})
    assert options_like(first, tmp_path / "photos", None) == {"size": 9}
    again = hubel.fit(tmp_path / "photos", like=first, out=tmp_path / "again", quiet=True)
    assert again.about["data"]["fingerprint"] == first.about["data"]["fingerprint"]
    assert again.test == first.test


def test_built_in_data_keep_their_own_symmetries(tmp_path):
    first = fitted("digits", tmp_path / "first")
    again = hubel.fit("digits", like=first, out=tmp_path / "again", quiet=True)
    assert again.about["data"]["symmetries"] == ["shift"] and again.test == first.test


@pytest.mark.parametrize(
    "options", [{"nothing": 1}, {"size": [1, 2, 3]}, {"source": "x"}, {"progress": 3}, {"target": 3}], ids=str
)
def test_options_from_a_stranger_are_refused(tmp_path, options):
    run = fitted(photos(tmp_path / "photos"), tmp_path / "run")
    about = json.loads((run.folder / "run.json").read_text())
    about["loading"]["options"] = options
    (run.folder / "run.json").write_text(json.dumps(about))
    with pytest.raises(DamagedRun, match=r"run\.json: loading\.options has "):
        hubel.evaluate(run.folder)


def test_a_permission_to_download_is_not_kept(tmp_path):
    run = fitted(photos(tmp_path / "photos"), tmp_path / "run", options={"download": True, "size": 8})
    assert recorded_options(run) == {"size": 8}


def test_a_look_that_can_not_be_counted_is_said(tmp_path, monkeypatch):
    run = fitted(photos(tmp_path / "photos"), tmp_path / "run")

    def refuse(changes):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run, "change", refuse)
    with pytest.warns(RuntimeWarning, match="could not be counted in .*: Permission denied"):
        assert run.evaluate()["accuracy"].value == run.test["accuracy"]["value"]
