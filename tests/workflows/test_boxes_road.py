"""Boxes by the same road as everything else: fitted, scored, shown, resumed, asked, explained."""

import json
import re

import numpy as np
import pytest
import torch

import hubel
from hubel.core.errors import ContractError
from hubel.core.types import Prediction
from hubel.data import Dataset
from hubel.data.boxes import packed
from hubel.fitting import AdamW, Precision, open_run
from hubel.objectives import AnchorFreeDetection, CrossEntropy
from hubel.show.report import report
from hubel.workflows.of_boxes import boxes_shown, crop, passes_over, strides_for

CLASSES = ("disc", "square")


def drawn(num=96, side=48, seed=0):
    """Bright squares and dark discs of 10 to 18 pixels on noise; every sixth picture has none."""
    random = np.random.default_rng(seed)
    pictures = random.normal(100, 6, (num, 1, side, side))
    y, x = np.mgrid[:side, :side] + 0.5
    rows = []
    for k, picture in enumerate(pictures):
        found = []
        for _ in range(0 if k % 6 == 5 else int(random.integers(1, 3))):
            length, kind = int(random.integers(10, 19)), int(random.integers(2))
            x0, y0 = (int(v) for v in random.integers(0, side - length, 2))
            radius = length / 2
            disc = (x - x0 - radius) ** 2 + (y - y0 - radius) ** 2 < radius**2
            square = (x > x0) & (x < x0 + length) & (y > y0) & (y < y0 + length)
            picture[0][square if kind else disc] = 190 if kind else 30
            found.append((x0, y0, x0 + length, y0 + length, kind, 0))
        rows.append(np.array(found, np.float32).reshape(-1, 6))
    return Dataset(
        inputs=pictures.clip(0, 255).astype(np.uint8),
        targets=packed(rows),
        classes=CLASSES,
        name="drawn",
        symmetries=frozenset({"flip_horizontal"}),
    )


RECIPE = hubel.Recipe(
    epochs=20, batch_size=8, optimizer=AdamW(learning_rate=5e-3), precision=Precision(threads=1), seed=1
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    torch.manual_seed(0)
    net = hubel.nets.anchor_free(8, strides=(8,), inputs=(1, 48, 48), outputs=2)
    return hubel.fit(
        drawn(), net=net, recipe=RECIPE, out=tmp_path_factory.mktemp("boxes") / "run", quiet=True
    )


def test_it_learns_where_and_what(fitted):
    assert list(fitted.test)[:2] == ["AP50[all-point]", "AP[coco]"]
    assert fitted.test["AP50[all-point]"]["value"] > 0.5
    assert fitted.test["AP50[all-point] of disc"]["count"] == len(fitted.split["test"])
    assert fitted.about["data"]["boxes"] is True
    assert 0 < fitted.objective.threshold < 1
    errors = fitted.about["errors"]
    assert set(errors) == {"class", "location", "both", "duplicate", "background", "missed"}
    rows = [json.loads(line) for line in (fitted.folder / "curves.jsonl").read_text().splitlines()]
    assert rows[-1]["validation"]["AP50[all-point]"] > rows[0]["validation"]["AP50[all-point]"]


def test_it_is_evaluated_on_other_data(fitted):
    scores = fitted.evaluate(drawn(12, seed=5))
    assert scores["AP50[all-point]"].count == 12
    labelled = Dataset(inputs=drawn(12).inputs, targets=np.arange(12) % 2, classes=CLASSES, name="labelled")
    with pytest.raises(ValueError, match="fitted to boxes"):
        fitted.evaluate(labelled)


def test_class_numbers_are_those_of_the_run(fitted):
    data = drawn(12, seed=5)
    turned = data.targets.copy()
    turned[..., 4] = np.where(turned[..., 4] >= 0, 1 - turned[..., 4], -1)
    other = Dataset(inputs=data.inputs, targets=turned, classes=CLASSES[::-1], name="turned")
    same, found = fitted.evaluate(data), fitted.evaluate(other)
    assert found["AP50[all-point]"].value == same["AP50[all-point]"].value


def test_the_report_shows_boxes(fitted):
    page = (fitted.folder / "report.html").read_text("utf-8")
    assert page.count("<rect x=") > 5
    assert "What kind of error costs how much" in page
    assert "Precision against recall" in page
    assert "Objects of each class" in page


def test_it_is_fitted_like_another_run(fitted, tmp_path):
    net = hubel.nets.anchor_free(8, strides=(8,), inputs=(1, 48, 48), outputs=2)
    half = hubel.fit(
        drawn(), net=net, like=fitted, recipe=hubel.Recipe(epochs=2), out=tmp_path / "half", quiet=True
    )
    assert type(half.objective) is AnchorFreeDetection
    assert half.recipe.optimizer == fitted.recipe.optimizer
    assert np.array_equal(half.split["train"], fitted.split["train"])


def test_a_class_is_explained(fitted):
    from hubel.workflows.asked_networks import asked_network

    net = asked_network(fitted)
    x = fitted.scaling(torch.from_numpy(drawn(2, seed=3).inputs))
    found = hubel.explain.saliency(net, x, target=1)
    assert found.values.shape == x.shape
    assert found.values.abs().max() > 0


def test_of_a_large_picture_the_tile_with_the_surest_object_is_explained(fitted, tmp_path):
    from PIL import Image

    from hubel.workflows.explain import explain_files

    wide = np.concatenate([np.full((1, 48, 60), 100, np.uint8), drawn(1, seed=3).inputs[0]], axis=2)
    Image.fromarray(wide[0]).save(tmp_path / "wide.png")
    (found,) = explain_files(
        fitted, [tmp_path / "wide.png"], hubel.explain.saliency, target="square", out=tmp_path / "out"
    )
    assert found.figure.name == "wide-saliency.png" and found.attribution.values.shape == (1, 1, 48, 48)
    assert re.fullmatch(r".*wide\.png \[0:48, \d+:\d+\]", found.answers[0]["file"])


def test_what_explains_without_a_method_is_no_empty_map():
    from hubel.workflows.asked_networks import BestScores
    from hubel.workflows.usual import regions

    torch.manual_seed(0)
    net = BestScores(hubel.nets.anchor_free(8, strides=(4, 8), inputs=(1, 48, 48), outputs=1)).eval()
    with torch.no_grad():
        net.net.classes.last.weight.normal_()
    x = torch.randn(1, 1, 48, 48)
    fine = int(net.net(x)[0, :, 8].argmax()) < 144  # the best box lies on the finer of the two maps
    assert fine, "the last maps, of the coarser, have no part in the answer"
    with pytest.raises(NotImplementedError, match="have no part in the answer"):
        regions(net, x, target=0)
    assert regions(net, x, target=0, layer=net.common_layer).values.any()


def test_class_activation_maps_are_those_of_the_body(fitted):
    from hubel.workflows.asked_networks import asked_network

    net = asked_network(fitted)
    x = fitted.scaling(torch.from_numpy(drawn(2, seed=3).inputs))
    found = hubel.explain.hires_cam(net, x, target=0, layer=net.common_layer)
    assert found.coarse.shape == (2, 6, 6)  # stride 8
    assert (found.values.flatten(1).abs().amax(1) > 0).all()


def test_contradictions_are_refused(tmp_path):
    data = drawn(24)
    with pytest.raises(ContractError, match="but drawn has boxes"):
        hubel.fit(data, objective=CrossEntropy(2), out=tmp_path / "a", quiet=True)
    with pytest.raises(ContractError, match="take a detector"):
        hubel.fit(
            data, net=hubel.nets.compact(16, inputs=(1, 48, 48), outputs=2), out=tmp_path / "b", quiet=True
        )
    empty = Dataset(
        inputs=data.inputs, targets=packed([np.zeros((0, 6))] * 24), classes=CLASSES, name="empty"
    )
    with pytest.raises(ContractError, match="no training picture of empty shows an object"):
        hubel.fit(empty, out=tmp_path / "c", quiet=True)
    with pytest.raises(ValueError, match="balance was asked for, but drawn has boxes"):
        hubel.fit(data, balance=True, out=tmp_path / "d", quiet=True)


def test_strides_follow_the_sizes_of_objects():
    def data(side, lengths):
        rows = [np.array([[0, 0, n, n, 0, 0]], np.float32) for n in lengths]
        return Dataset(
            inputs=np.zeros((len(lengths), 1, side, side), np.uint8), targets=packed(rows), classes=("a",)
        )

    assert strides_for(data(128, [24] * 9)) == (8, 16)
    assert strides_for(data(512, [12] * 9)) == (4, 8)
    assert strides_for(data(512, [12] * 5 + [100] * 5)) == (4, 8, 16, 32)
    assert strides_for(data(16, [12] * 9)) == (4,)


def test_what_is_kept_of_the_mistakes():
    data = drawn(3, seed=1)
    true = data.targets.copy()
    true[:] = 0
    true[..., 4] = -1
    true[0, 0] = (4, 4, 16, 16, 0, 0)  # found
    true[1, 0] = (20, 20, 40, 40, 1, 0)  # missed
    data = Dataset(inputs=data.inputs, targets=true, classes=CLASSES, groups=np.array(["b", "a", "b"]))
    said = packed(
        [
            np.array([(4, 4, 16, 16, 0, 0.9)]),
            np.zeros((0, 6)),
            np.array([(30, 30, 44, 44, 1, 0.8), (2, 2, 9, 9, 1, 0.1)]),
        ]
    )
    arrays, errors = boxes_shown(data, Prediction(values=said, classes=CLASSES), 0.5)
    assert {kind: row["count"] for kind, row in errors.items()} == {
        "class": 0, "location": 0, "both": 0, "duplicate": 0, "background": 1, "missed": 1,
    }  # fmt: skip
    assert arrays["alarm_boxes"].tolist() == [pytest.approx([30, 30, 44, 44, 1, 0.8])]
    assert arrays["groups"].tolist() == [1, 0, 1]
    assert arrays["missed_boxes"].tolist() == [[20, 20, 40, 40, 1, 0]]
    assert (arrays["missed_pictures"][0] == crop(data.inputs[1], np.array([20, 20, 40, 40]))).all()


def test_folds_are_put_together_and_ensembles_are_refused(tmp_path):
    def net(inputs, outputs):
        return hubel.nets.anchor_free(8, strides=(8,), inputs=inputs, outputs=outputs)

    data, recipe = drawn(30), hubel.Recipe(epochs=1, batch_size=8, precision=Precision(threads=1))
    found = hubel.cross_validate(data, net=net, recipe=recipe, folds=3, out=tmp_path / "folds", quiet=True)
    assert "AP50[all-point]" in found.test
    with np.load(found.folder / "predictions.npz") as content:
        assert len(content["values"]) == len(content["targets"]) == 30
        assert np.array_equal(content["targets"], data.targets)
    assert "Class by class" in report(found.folder)
    with pytest.raises(ValueError, match="different boxes, which have no mean"):
        hubel.ensemble(data, net=net, recipe=recipe, members=2, out=tmp_path / "members", quiet=True)


def test_the_default_detector_finds_the_same_in_a_declared_mirror(tmp_path):
    recipe = hubel.Recipe(epochs=2, batch_size=16, precision=Precision(threads=1))
    run = hubel.fit(drawn(48), recipe=recipe, out=tmp_path / "run", quiet=True)
    assert "2 declared mirror images" in run.about["reasons"]["net"]
    again = open_run(tmp_path / "run")
    x = torch.rand(2, *again.net.net.inputs)
    with torch.no_grad():
        found, seen = again.net.eval()(x), again.net(x.flip(3))
    assert torch.equal(found, run.net.eval()(x))
    torch.testing.assert_close(found[:, :, 8:].amax(1), seen[:, :, 8:].amax(1))
    assert run.recipe.optimizer == hubel.fitting.Muon(learning_rate=0.04, normalize=True)


def test_few_pictures_are_seen_more_often():
    few, many = drawn(12), drawn(96)
    assert passes_over(few, 2) == 500
    assert passes_over(many, 100) == 60 and passes_over(many, 1000) == 50
    labelled = Dataset(inputs=few.inputs, targets=np.zeros(12, np.int64), classes=CLASSES)
    assert passes_over(labelled, 2) is None
