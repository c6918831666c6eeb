"""Masks, the whole road: fitted, scored, opened, asked, written as PNG, evaluated, resumed, reported; and what is refused."""

import csv
import io
import itertools
import json
import re
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import sklearn.metrics
import torch
from PIL import Image
from small_runs import quick, same_weights
from torch import nn

import hubel
from hubel import nets
from hubel.cli.main import main
from hubel.core.errors import ContractError
from hubel.data.augmentation import Flip, Mixup, RotateQuarter, Shift
from hubel.fitting import AdamW
from hubel.objectives import CrossEntropy, PixelCrossEntropy
from hubel.show.report import report
from hubel.workflows import training

NAMES = ["sky", "disc", "square"]


def discs_and_squares(num=48, side=20, seed=0):
    """Bright discs and squares in noise, and the masks in which they are 1 and 2."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    masks = np.zeros((num, side, side), np.uint8)
    for mask in masks:
        (a, b), (c, d) = rng.integers(4, side - 4, (2, 2))
        mask[(rows - a) ** 2 + (columns - b) ** 2 < 14] = 1
        mask[(abs(rows - c) < 3) & (abs(columns - d) < 3)] = 2
    levels = np.array([60, 190, 130])[masks]
    return np.clip(levels + rng.normal(0, 15, masks.shape), 0, 255).astype(np.uint8), masks


def recipe(**more):
    return quick(**{"optimizer": AdamW(learning_rate=0.01), "epochs": 12, "batch_size": 8, **more})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of pictures and masks with names, and a run on it."""
    folder = tmp_path_factory.mktemp("masks")
    x, masks = discs_and_squares()
    masks[:, 0, :3] = 255
    for k, (picture, mask) in enumerate(zip(x, masks, strict=True)):
        for kind, values in (("images", picture), ("masks", mask)):
            (folder / "made" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(folder / "made" / kind / f"{k:02d}.png")
    (folder / "made" / "classes.txt").write_text("\n".join(NAMES))
    options = {"symmetries": ["flip_horizontal", "rotate_90"]}
    hubel.fit(
        folder / "made", recipe=recipe(augmentation=None), options=options, out=folder / "run", quiet=True
    )
    return folder


@pytest.fixture
def run(place):
    return hubel.open_run(place / "run")


def command(arguments):
    """Exit code of `hubel ARGUMENTS`, in this process."""
    before = sys.argv
    sys.argv = ["hubel", *map(str, arguments)]
    try:
        main()
    except SystemExit as leaving:
        return leaving.code or 0
    finally:
        sys.argv = before
    return 0


def test_every_choice_follows_from_the_masks(run):
    assert run.about["net"]["name"] == "hubel.nets.unet"
    assert run.about["net"]["arguments"] == {
        "width": 16,
        "levels": 1,
        "batch_norm": True,
        "inputs": [1, 20, 20],
        "outputs": 3,
    }
    assert isinstance(run.objective, PixelCrossEntropy) and run.objective.classes == tuple(NAMES)
    assert "one of 3 classes for every pixel" in run.about["reasons"]["objective"]
    assert run.recipe.augmentation == (Flip(), RotateQuarter())
    assert list(run.test)[:3] == ["mean_iou", "pixel_accuracy", "mean_dice"]
    assert run.test["iou_disc"]["value"] > 0.6 and run.test["mean_iou"]["low"] > 0.5
    assert run.test["mean_iou"]["count"] == len(run.split["test"])
    assert {"mean_iou", "pixel_accuracy"} <= set(run.curves[-1]["validation"])


def test_scores_are_those_of_the_stored_masks(run):
    with np.load(run.folder / "predictions.npz") as stored:
        targets, values, matrix = stored["targets"], stored["values"], stored["pixel_confusion"]
    there = targets != 255
    assert (~there).any()
    y, z = targets[there], values[there]
    assert run.test["mean_iou"]["value"] == pytest.approx(
        sklearn.metrics.jaccard_score(y, z, average="macro")
    )
    assert np.array_equal(matrix, sklearn.metrics.confusion_matrix(y, z))


def test_a_run_is_opened_asked_and_evaluated(run, place):
    x, masks = discs_and_squares(20, seed=5)
    prediction = run.predict(x)
    assert prediction.values.shape == masks.shape and prediction.probabilities.shape == (20, 3, 20, 20)
    assert np.allclose(prediction.probabilities.sum(1), 1, atol=1e-5)
    assert (prediction.values == masks).mean() > 0.9
    scores = run.evaluate(x, masks)
    expected = sklearn.metrics.jaccard_score(masks.ravel(), prediction.values.ravel(), average="macro")
    assert scores["mean_iou"].value == pytest.approx(expected)
    assert run.evaluate()["mean_iou"].value == pytest.approx(run.test["mean_iou"]["value"])
    assert run.evaluate(place / "made")["iou_sky"].count == 48
    one = run.evaluate(x[:2], np.zeros_like(masks[:2]))  # a class alone: nothing is amiss in an evaluation
    assert np.isfinite(one["iou_sky"].value)
    with pytest.raises(ValueError, match="hold 7, which no class is named for"):
        run.evaluate(x, np.full_like(masks, 7))
    with pytest.raises(ValueError, match=r"fitted to masks \[N, H, W\], but y has shape \(20,\)"):
        run.evaluate(x, np.arange(20) % 3)
    assert hubel.resume(run.folder, quiet=True).status == "finished"


def test_a_network_for_classes_is_not_evaluated_on_masks(tmp_path):
    x, masks = discs_and_squares()
    one = hubel.fit(
        x, np.arange(48) % 3, net=nets.simple_cnn, recipe=recipe(epochs=1), out=tmp_path / "r", quiet=True
    )
    with pytest.raises(ValueError, match="fitted to one target an example, but arrays has masks"):
        one.evaluate(x, masks)


def test_predicted_masks_are_files(place, tmp_path, capsys, run):
    x, masks = discs_and_squares(6, seed=9)
    (tmp_path / "new" / "deep").mkdir(parents=True)
    for k, picture in enumerate(x):
        Image.fromarray(picture).save(tmp_path / "new" / ("deep" if k % 2 else ".") / f"{k}.png")
    large = Image.fromarray(x[0]).resize((50, 30), Image.Resampling.NEAREST)
    large.save(tmp_path / "new" / "large.png")
    assert command(["predict", place / "run", tmp_path / "new", "--out", tmp_path / "said"]) == 0
    rows = {row["file"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert len(rows) == 7
    expected = run.predict(x).values
    for k in range(6):
        below = f"{'deep/' if k % 2 else ''}{k}.png"
        with Image.open(tmp_path / "said" / below) as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), expected[k])
        row = rows[str(tmp_path / "new" / below)]
        assert row["mask"] == str(tmp_path / "said" / below)
        for number, name in enumerate(NAMES):
            assert float(row[f"share of {name}"]) == pytest.approx((expected[k] == number).mean(), abs=1e-5)
    with Image.open(tmp_path / "said" / "large.png") as image:
        assert image.size == (50, 30)  # as the picture, not as what entered the network
        truth = Image.fromarray(masks[0]).resize((50, 30), Image.Resampling.NEAREST)
        assert (np.asarray(image) == np.asarray(truth)).mean() > 0.6
    assert command(["predict", place / "run", tmp_path / "new", "--out", tmp_path / "said"]) == 1
    assert "7 of 7 masks are there already" in capsys.readouterr().err
    assert command(["predict", place / "run", tmp_path / "new" / "0.png", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"file", "shares"} and sum(answer["shares"].values()) == pytest.approx(1)


def test_arrays_and_broken_files_are_answered(place, tmp_path, capsys):
    x, _ = discs_and_squares(3, seed=9)
    np.save(tmp_path / "x.npy", x)
    assert command(["predict", place / "run", tmp_path / "x.npy", "--out", tmp_path / "said", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"][-3:] for row in rows] == ["[0]", "[1]", "[2]"]
    assert [row["mask"] for row in rows] == [str(tmp_path / "said" / f"x-{k}.png") for k in range(3)]
    Image.fromarray(x[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no")
    files = [tmp_path / "bad.png", tmp_path / "good.png"]
    assert command(["predict", place / "run", *files, "--json"]) == 1
    told = capsys.readouterr()
    assert "bad.png can not be used: " in told.err
    assert [json.loads(line)["file"] for line in told.out.splitlines()] == [str(files[1])]
    out = ["--skip-unreadable", "--out", tmp_path / "some", "--json"]
    assert command(["predict", place / "run", *files, *out]) == 0
    bad, good = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (
        bad["unreadable"] and not good["unreadable"] and good["mask"] == str(tmp_path / "some" / "good.png")
    )
    (tmp_path / "other").mkdir()
    Image.fromarray(x[1]).save(tmp_path / "other" / "good.png")
    twice = [tmp_path / "good.png", tmp_path / "other" / "good.png", "--out", tmp_path / "twice"]
    assert command(["predict", place / "run", *twice]) == 1
    assert "would both have the mask" in capsys.readouterr().err
    taken = [tmp_path / "good.png", "--out", tmp_path]
    assert command(["predict", place / "run", *taken]) == 1  # its mask would be the picture itself
    assert "are there already" in capsys.readouterr().err


def test_values_that_are_no_class_numbers_come_back(tmp_path):
    x, masks = discs_and_squares(24)
    stored = np.array([0, 300, 700], np.uint16)[masks]
    run = hubel.fit(x, stored, recipe=recipe(epochs=1), out=tmp_path / "run", quiet=True)
    np.save(tmp_path / "x.npy", x[:1])
    (answer,) = hubel.workflows.predict_files(run, [tmp_path / "x.npy"], masks=tmp_path / "said")
    with Image.open(answer["mask"]) as image:
        found = np.asarray(image)
    assert np.array_equal(found, np.array([0, 300, 700])[run.predict(x[:1]).values[0]])
    assert run.evaluate(x, stored)["mean_iou"].count == 24


def test_the_command_line_fits_and_evaluates(place, tmp_path, capsys):
    few = ["--epochs", "1", "--precision", "float32", "-q", "--json"]
    assert command(["fit", place / "made", "--net", "unet", "--balance", "-o", tmp_path / "r", *few]) == 0
    assert json.loads(capsys.readouterr().out)["test"]["mean_iou"]["count"] == 10
    weights = hubel.open_run(tmp_path / "r").objective.class_weights
    assert weights[0] < 0.6 < weights[1]
    assert command(["evaluate", tmp_path / "r", place / "made", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_iou"]["count"] == 48
    assert command(["fit", place / "made", "--unlabelled", "0", "-o", tmp_path / "zero", *few]) == 1
    assert "unlabelled=0 means not labelled, but it is the class 'sky'" in capsys.readouterr().err
    assert command(["fit", place / "made", "--unlabelled", "much", "-o", tmp_path / "much", *few]) == 2
    assert command(["fit", place / "made", "--focus", "2", "-o", tmp_path / "focus", *few]) == 1
    assert "ask for balance" in capsys.readouterr().err


def test_resuming_gives_the_same_weights(place, tmp_path, monkeypatch):
    options = {"symmetries": ["flip_vertical", "rotate_90", "rotate", "shift"]}

    def fit(name):
        chosen = recipe(augmentation=None, average=False)
        return hubel.fit(place / "made", recipe=chosen, options=options, out=tmp_path / name, quiet=True)

    whole = fit("whole")
    with monkeypatch.context() as stopped:
        stopped.setattr(training, "interruptible", stops_after(9))
        assert fit("part").status == "interrupted"
    done = hubel.resume(tmp_path / "part", quiet=True)
    assert done.status == "finished" and same_weights(whole, done)
    assert done.test == whole.test
    like = hubel.fit(place / "made", like=whole, out=tmp_path / "like", quiet=True)
    assert same_weights(like, whole)


def stops_after(looks):
    @contextmanager
    def interruptible():
        count = itertools.count()
        yield lambda: next(count) >= looks

    return interruptible


def test_an_ensemble_and_folds(tmp_path):
    x, masks = discs_and_squares(24)
    both = hubel.ensemble(x, masks, members=2, recipe=recipe(epochs=1), out=tmp_path / "both", quiet=True)
    said = both.predict(x[:2])
    each = np.mean([member.predict(x[:2]).probabilities for member in both.members], axis=0)
    assert np.array_equal(said.values, each.argmax(1))
    assert both.evaluate(x, masks)["mean_iou"].count == 24
    folds = hubel.cross_validate(
        x, masks, folds=2, recipe=recipe(epochs=1), out=tmp_path / "folds", quiet=True
    )
    assert len(folds.scores["mean_iou"]) == 2
    assert folds.predictions["values"].shape == masks.shape


def test_the_report_shows_masks(run):
    page = report(run.folder)
    assert "mean intersection over union of 3 classes, over all pixels of 10 test pictures" in page
    assert page.count('alt="images/') >= 3 * 8 and page.count("true mask") > 8
    assert "Pixels of each class" in page and "Which pixels are taken for which" in page
    assert "not labelled" in page and "changed as the picture was" in page
    with np.load(run.folder / "predictions.npz") as stored:
        targets = stored["targets"]
    share = (targets == 0).sum() / (targets != 255).sum() / 3
    told = re.search(r"Calling every pixel the most frequent class would give ([\d.]+) %", page)
    assert float(told[1]) == pytest.approx(100 * share, abs=0.06)


def test_a_report_without_its_arrays_says_so(run, tmp_path):
    for name in ("run.json", "curves.jsonl"):
        (tmp_path / name).write_bytes((run.folder / name).read_bytes())
    page = report(tmp_path)
    assert "Pictures with their masks are not recorded" in page
    np.savez(
        tmp_path / "predictions.npz", targets=np.zeros((2, 3)), pixels_right=np.zeros(3), shown_rows=[[9]]
    )
    assert "The scores of single classes are not recorded" in report(tmp_path)


class Mine:
    """A change of the user's own that says nothing about masks."""

    def __call__(self, inputs, draw):
        return inputs


def late_class():
    """Class 2 in the test part alone."""
    x, masks = discs_and_squares(24)
    masks[masks == 2] = 0
    masks[20:, 3, 3] = 2
    part = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    return hubel.data.from_arrays(x, masks, classes=NAMES, part=part)


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda x, m: {"source": late_class()}, "no training mask shows, but masks of the test part do: square"),
        (lambda x, m: {"source": x, "y": m * 0, "options": {"classes": NAMES}}, "one class only, 'sky'"),
        (lambda x, m: {"source": x, "y": m, "recipe": recipe(augmentation=(Mixup(),))}, "Mixup blends pictures.*leave Mixup out"),
        (lambda x, m: {"source": x, "y": m, "recipe": recipe(augmentation=(Flip(), Mine()))}, "Mine does not say what becomes of masks.*of_masks"),
        (lambda x, m: {"source": x, "y": m, "objective": CrossEntropy(3)}, "CrossEntropy asks for one answer a picture.*PixelCrossEntropy"),
        (lambda x, m: {"source": x, "y": m, "net": nets.simple_cnn}, r"shape \(8, 3\); expected \(8, 3, 20, 20\).*hubel.nets.unet"),
        (
            lambda x, m: {"source": x, "y": m, "net": nets.symmetrized(nets.unet(4, levels=1, inputs=(1, 20, 20), outputs=3), ["flip_horizontal"])},
            "averages its scores over mirrored and turned views",
        ),
        (lambda x, m: {"source": x, "y": m, "objective": PixelCrossEntropy(2)}, r"class numbers of pixels run from 0 to 2"),
        (lambda x, m: {"source": x, "y": m, "uncertainty": True}, "uncertainty was asked for, but arrays has a class for every pixel"),
        (lambda x, m: {"source": x, "y": np.arange(48) % 3, "objective": PixelCrossEntropy(3)}, "expected masks"),
    ],
)  # fmt: skip
def test_refused_before_the_first_step(attempt, said, tmp_path):
    asked = {"recipe": recipe(), "out": tmp_path / "run", "quiet": True, **attempt(*discs_and_squares())}
    with pytest.raises((ContractError, ValueError), match=said):
        hubel.fit(asked.pop("source"), asked.pop("y", None), **asked)


class Own(nn.Module):
    """A user's own network of two convolutions."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def forward(self, x):
        return self.layers(x)


def test_weights_dice_and_own_networks(tmp_path):
    x, masks = discs_and_squares()
    weights = [1.0] * 40 + [0.0] * 8
    objective = PixelCrossEntropy(3, dice=1.0, class_weights=(1.0, 2.0, 2.0))
    torch.manual_seed(0)
    run = hubel.fit(
        x, masks, net=Own(), objective=objective, options={"weights": weights}, recipe=recipe(augmentation=(Shift(),), epochs=60),
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.test["mean_iou"]["value"] > 0.5
    assert run.about["objective"]["dice"] == 1.0
    assert hubel.open_run(run.folder, net=Own()).predict(x[:1]).values.shape == (1, 20, 20)
