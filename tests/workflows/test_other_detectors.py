"""YOLO, YOLO with anchors and Faster R-CNN by the road of everything else, with what suits the objects chosen for them."""

import functools
import signal

import numpy as np
import pytest
import torch
from small_runs import same_weights

import hubel
from hubel.core.errors import ContractError
from hubel.data import Dataset, anchors_of
from hubel.data.boxes import packed
from hubel.fitting import Precision
from hubel.objectives import (
    AnchorFreeDetection,
    FasterRCNNDetection,
    YOLODetection,
    YOLOv3Detection,
    lost_to_shared_cells,
)
from hubel.show.report import report
from hubel.workflows.asking import Wishes
from hubel.workflows.display import Display
from hubel.workflows.of_boxes import box_objective, question_of, suited

QUESTIONS = {
    "anchor_free": AnchorFreeDetection,
    "faster_rcnn": FasterRCNNDetection,
    "yolo": YOLODetection,
    "yolo_v3": YOLOv3Detection,
}


def bright(num=48, side=48, seed=0):
    """Bright and dark rectangles of 10 to 18 pixels on noise."""
    random = np.random.default_rng(seed)
    pictures = random.normal(100, 6, (num, 1, side, side))
    rows = []
    for picture in pictures:
        wide, high = (int(v) for v in random.integers(10, 19, 2))
        x, y, kind = (
            int(random.integers(0, side - wide)),
            int(random.integers(0, side - high)),
            int(random.integers(2)),
        )
        picture[0, y : y + high, x : x + wide] = 190 if kind else 30
        rows.append(np.array([[x, y, x + wide, y + high, kind, 0]], np.float32))
    return Dataset(
        inputs=pictures.clip(0, 255).astype(np.uint8),
        targets=packed(rows),
        classes=("dark", "bright"),
        name="plates",
    )


SMALL = {
    "anchor_free": {"strides": (8,)},
    "faster_rcnn": {"hidden": 16, "proposals": 20},
    "yolo": {"grid": 4},
    "yolo_v3": {"strides": (8,), "attention": True},
}


@pytest.mark.parametrize("name", hubel.nets.OF_OBJECTS)
def test_every_detector_goes_the_whole_road(name, tmp_path, monkeypatch):
    data, recipe = bright(32), hubel.Recipe(epochs=2, batch_size=8, precision=Precision(threads=1), seed=1)
    make = functools.partial(getattr(hubel.nets, name), width=8, **SMALL[name])
    asked = QUESTIONS[name](2, classes=data.classes, least_score=0.0)  # after so few steps all scores are low
    run = hubel.fit(data, net=make, objective=asked, recipe=recipe, out=tmp_path / "run", quiet=True)

    def step(self, record, epochs, steps_per_epoch):
        if record.step == 5:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as stopped:
        stopped.setattr(Display, "step", step)
        part = hubel.fit(data, net=make, recipe=recipe, out=tmp_path / "part", quiet=True)
    assert part.status == "interrupted" and "after step 5" in part.stopped
    if name != "anchor_free":
        assert "such a detector" in part.about["reasons"]["objective"]
    done = hubel.resume(tmp_path / "part", data=data, quiet=True)
    assert type(done.objective) is QUESTIONS[name] and done.objective.classes == ("dark", "bright")
    assert same_weights(done, run)

    again = hubel.open_run(tmp_path / "run")
    assert type(again.objective) is QUESTIONS[name]
    assert np.array_equal(run.predict(data.inputs[:4]).values, again.predict(data.inputs[:4]).values)
    scores = hubel.evaluate(again, data.view(again.split["test"]))
    assert scores["AP50[all-point]"].value == run.test["AP50[all-point]"]["value"]
    np.save(tmp_path / "large.npy", np.concatenate([data.inputs[0], data.inputs[1]], axis=2))
    (answer,) = hubel.workflows.predict_files(again, [tmp_path / "large.npy"], boxes={"threshold": 0.0})
    assert answer["objects"] and all(
        0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 48
        for x0, y0, x1, y1 in (one["box"] for one in answer["objects"])
    )
    assert "Precision against recall" in report(run.folder)


def test_strides_anchors_and_cells_follow_the_objects():
    data = bright()
    for name in ("faster_rcnn", "yolo_v3"):
        make, why = suited(getattr(hubel.nets, name), data)
        net = make(inputs=data.shape, outputs=2)
        sizes = anchors_of(data.targets, 3 * len(net.strides)).sizes
        assert [size for of_stride in net.anchors for size in of_stride] == list(sizes)
        assert "mean overlap" in why
    one = Dataset(inputs=data.inputs[:1], targets=data.targets[:1], classes=data.classes)
    assert suited(hubel.nets.yolo_v3, one)[0](inputs=data.shape, outputs=2).each == 4
    crowded = np.tile(data.targets[:1], (1, 3, 1))
    crowded[0, 1, [0, 2]] += 3
    crowded[0, 2, [0, 2]] += 6
    many = Dataset(inputs=data.inputs[:1], targets=crowded, classes=data.classes)
    make, why = suited(hubel.nets.yolo, many)
    grid = make(inputs=data.shape, outputs=2).grid
    lost = [lost_to_shared_cells(torch.from_numpy(crowded), (48, 48), g) for g in (7, 10, 14, 20)]
    assert lost[0] > 0
    assert grid == (7, 10, 14, 20)[lost.index(0)] and f"{grid} × {grid} cells: 0 of 3" in why
    own = functools.partial(hubel.nets.yolo, 16)
    assert suited(own, data) == (own, None)


def test_a_question_that_belongs_to_another_detector_is_refused():
    net = hubel.nets.yolo(8, inputs=(1, 48, 48), outputs=2)
    given = YOLODetection(2, without_object=1.0)
    assert question_of(net, given, chosen=False) is given
    assert type(question_of(net, AnchorFreeDetection(2), chosen=True)) is YOLODetection
    with pytest.raises(
        ContractError,
        match=r"AnchorFreeDetection was asked of hubel.nets.yolo, .* expected YOLODetection\(2\)",
    ):
        question_of(net, AnchorFreeDetection(2), chosen=False)
    assert (
        type(question_of(torch.nn.Linear(2, 2), AnchorFreeDetection(2), chosen=True)) is AnchorFreeDetection
    )


def test_of_574_objects_in_a_picture_none_lacks_room():
    corners = np.array([[9 * (k % 24), 9 * (k // 24)] for k in range(574)])
    rows = np.concatenate([corners, corners + 8, np.zeros((574, 2))], 1)
    data = Dataset(
        inputs=np.zeros((2, 1, 224, 224), np.uint8), targets=packed([rows, rows[:3]]), classes=("cell",)
    )
    question, why = box_objective(data, Wishes())
    assert question.most == 1148 and "up to 1,148 objects of a picture are answered, as one" in why
    asked_by_another = question_of(hubel.nets.yolo(8, inputs=(1, 64, 64), outputs=1), question, chosen=True)
    assert asked_by_another.most == 1148
    candidates = torch.zeros(1, 4 * 574, 9)  # each object four times, all of them surer than the next object
    boxes = torch.from_numpy(rows[:, :4]).float().repeat_interleave(4, 0)
    candidates[0, :, 4:8] = boxes
    candidates[0, :, 8] = torch.linspace(3, 1, 4 * 574)
    assert question.read(candidates).values.shape == (1, 574, 6)
    make, why = suited(hubel.nets.faster_rcnn, data)
    assert make.keywords["proposals"] == 1148 and "1,148 proposals, as one picture has 574 objects" in why
    few = Dataset(inputs=data.inputs, targets=packed([rows[:40], rows[:3]]), classes=("cell",))
    assert box_objective(few, Wishes())[0].most == 300
    assert "proposals" not in suited(hubel.nets.faster_rcnn, few)[0].keywords
