"""Sliding window, R-CNN, Fast R-CNN on pictures of bright and dark squares, whose classes a classifier sees without training."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torch import nn

from hubel import detection, nets
from hubel.core.boxes import encode, iou
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.data.boxes import packed
from hubel.detection import rcnn as machine
from hubel.objectives import FasterRCNNDetection

SIDE, K = 48, 2
SEARCH = detection.SelectiveSearch(scales=(30.0, 100.0))
WINDOWS = detection.SlidingWindow(((16, 16), (20, 14)), step=0.25)
SIZE = (8, 8)


def squares(count, seed=0):
    """Grey pictures with one or two squares, dark (0) or bright (1): pictures [N, 1, 48, 48] and boxes."""
    draw = np.random.default_rng(seed)
    pictures, rows = 0.05 * draw.standard_normal((count, 1, SIDE, SIDE)).astype(np.float32), []
    for picture in pictures:
        found = []
        for which in range(draw.integers(1, 3)):
            wide, high = draw.integers(12, 20, 2)
            x, y = draw.integers(0, 24 - wide // 2 - 6), draw.integers(0, SIDE - high)
            x += 24 * which
            number = draw.integers(K)
            picture[0, y : y + high, x : x + wide] += 2 * number - 1
            found.append([x, y, x + wide, y + high, number, 0])
        rows.append(np.array(found, np.float32))
    return torch.from_numpy(pictures), packed(rows)


class Seen(nn.Module):
    """A classifier of crops without weights: bright or dark where the middle is and the edge is not."""

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        middle = x[:, 0, 2:-2, 2:-2].mean((1, 2))
        edge = (x[:, 0, [0, -1], 2:-2].mean((1, 2)) + x[:, 0, 2:-2][:, :, [0, -1]].mean((1, 2))) / 2
        sure = 8 * (middle.abs() - edge.abs() - 0.5)
        return torch.stack([sure - 20 * (middle > 0), sure - 20 * (middle < 0), -sure], 1)


def silent(text):
    pass


def found_share(candidates, boxes, overlap=0.5, least=0.5):
    """The share of objects that a detection of their class, from a score of `least` on, overlaps; and of such detections that overlap none."""
    read = FasterRCNNDetection(K, overlap=0.3).read(candidates).values
    hits, objects, wrong, said = 0, 0, 0, 0
    for every, truth in zip(torch.from_numpy(read), torch.from_numpy(boxes), strict=True):
        rows, known = every[(every[:, 4] >= 0) & (every[:, 5] >= least)], truth[truth[:, 4] >= 0]
        good = (iou(known[:, None, :4], rows[None, :, :4]) >= overlap) & (
            known[:, None, 4] == rows[None, :, 4]
        )
        hits, objects = hits + int(good.any(1).sum()), objects + len(known)
        wrong, said = wrong + int((~good.any(0)).sum()), said + len(rows)
    return hits / objects, wrong / max(said, 1)


def test_a_classifier_at_every_window_finds_what_it_knows():
    pictures, boxes = squares(12)
    detector = detection.WindowDetector(Seen(), WINDOWS, SIZE, context=0.25, most=50)
    found = detector.candidates(pictures)
    assert found.shape == (12, 50, 8 + K)
    assert torch.equal(found[..., :4], found[..., 4:8])
    hit, wrong = found_share(found, boxes)
    assert hit > 0.9 and wrong < 0.2
    best = found[0, 0]
    crop = detection.warped(pictures[0], best[None, :4], SIZE, context=0.25)
    torch.testing.assert_close(best[8:].sigmoid(), Seen()(crop).softmax(1)[0, :K])
    assert (found[:, :-1, 8:].amax(2) >= found[:, 1:, 8:].amax(2)).all()
    few = detection.WindowDetector(Seen(), lambda picture: WINDOWS(picture)[:3], SIZE, most=5).candidates(
        pictures[:1]
    )
    assert few[0, 3:, :8].abs().sum() == 0 and (few[0, 3:, 8:] == -20).all()
    none = detection.WindowDetector(Seen(), lambda picture: np.zeros((0, 4)), SIZE, most=5).candidates(
        pictures[:1]
    )
    assert none.shape == (1, 5, 8 + K) and (none[..., 8:] == -20).all()


def test_rcnn_finds_squares_that_it_has_not_seen_and_moves_boxes_to_them():
    pictures, boxes = squares(40)
    said = []
    fitted = detection.fit_rcnn(
        Seen(),
        pictures,
        boxes,
        WINDOWS,
        SIZE,
        num_classes=K,
        context=0.25,
        ridge=10.0,
        most=100,
        say=said.append,
    )
    assert "windows" not in said[0] and "of the known objects" in said[0] and "features of" in said[1]
    fresh, truth = squares(20, seed=1)
    found = fitted.candidates(fresh)
    assert found.shape == (20, 100, 8 + K)
    hit, wrong = found_share(
        found, truth, least=0.3
    )  # proposals are near true boxes, to which the machines were fitted: near the margin
    assert hit > 0.9 and wrong < 0.2
    before, after = [], []
    for rows, known in zip(found, torch.from_numpy(truth), strict=True):
        for row in known[known[:, 4] >= 0]:
            near = iou(row[None, :4], rows[:, :4]) >= 0.6
            before.append(iou(row[None, :4], rows[near, :4]))
            after.append(iou(row[None, :4], rows[near, 4:8]))
    assert torch.cat(after).mean() > torch.cat(before).mean() + 0.05


def test_hard_negatives_lead_to_the_machine_of_all():
    draw = np.random.default_rng(0)
    features = draw.standard_normal((6_000, 6)).astype(np.float32)
    positive = np.flatnonzero(features @ [1, 1, 0, 0, 1, 0] > 3)
    negative = np.flatnonzero(features @ [1, 1, 0, 0, 1, 0] < 2.5)
    assert len(negative) > 2 * machine.FIRST_NEGATIVES
    found = machine._machine(features, positive, negative, 0.01, np.random.default_rng(1))
    rows = np.concatenate([positive, negative])
    whole = LinearSVC(
        C=0.01, loss="hinge", class_weight={True: 2.0}, intercept_scaling=10.0, max_iter=100_000
    )
    whole.fit(features[rows], np.arange(len(rows)) < len(positive))
    np.testing.assert_allclose(found, [*whole.coef_[0], whole.intercept_[0]], atol=0.02)
    assert np.sign(features[rows] @ found[:-1] + found[-1]).mean() < 0


def test_offsets_are_ridge_regressions_to_the_object_that_a_proposal_overlaps_most():
    pictures, boxes = squares(10)
    made = detection.propose_all(pictures, WINDOWS, say=silent)
    cached = detection.region_features(Seen(), pictures, made, SIZE, objects=boxes)
    assert [len(f) for f in cached.features] == [len(b) for b in cached.boxes]
    assert cached.features[0].dtype == np.float16
    assert np.array_equal(cached.boxes[0][: cached.known[0]], boxes[0][boxes[0, :, 4] >= 0][:, :4])
    overlaps, offsets = machine._overlaps_of_classes(cached, boxes, K)
    start = 0
    rows, wanted, inputs = [], [], []
    for picture, (here, features) in enumerate(zip(cached.boxes, cached.features, strict=True)):
        for k, box in enumerate(here):
            mine = [o for o in boxes[picture] if o[4] == 1]
            over = [float(iou(torch.from_numpy(box), torch.from_numpy(o[:4]))) for o in mine]
            assert overlaps[start + k, 1] == pytest.approx(max(over, default=0.0), abs=1e-6)
            if max(over, default=0) >= 0.6:
                rows.append(start + k)
                wanted.append(
                    encode(torch.from_numpy(mine[int(np.argmax(over))][:4]), torch.from_numpy(box)).numpy()
                )
                inputs.append(features[k].astype(np.float32))
        start += len(here)
    np.testing.assert_allclose(offsets[rows, 1], wanted, atol=1e-6)
    found = machine._regression(np.array(inputs), offsets[rows, 1], 5.0)
    expected = Ridge(5.0).fit(inputs, wanted)
    np.testing.assert_allclose(found[:-1].T, expected.coef_, atol=1e-3)
    np.testing.assert_allclose(found[-1], expected.intercept_, atol=1e-3)


def test_boxes_on_ignored_objects_count_for_no_class():
    pictures, boxes = squares(1)
    boxes[0, 0, 5] = 1
    made = detection.Proposals(boxes=(np.array([boxes[0, 0, :4], [40, 0, 48, 8]], np.float32),), seconds=0.0)
    cached = detection.region_features(Seen(), pictures, made, SIZE, objects=boxes)
    overlaps, _ = machine._overlaps_of_classes(cached, boxes, K)
    here = overlaps[cached.known[0] :]
    assert np.isnan(here[0]).all() and not np.isnan(here[1]).any()


def test_fast_rcnn_learns_on_given_proposals():
    pictures, boxes = squares(24)
    made = detection.propose_all(pictures, SEARCH, objects=boxes, say=silent)
    torch.manual_seed(0)
    net = nets.faster_rcnn(8, hidden=32, strides=(4, 8), inputs=(1, SIDE, SIDE), outputs=K)
    records = list(
        detection.fit_fast_rcnn(
            net,
            pictures,
            boxes,
            made,
            FasterRCNNDetection(K, regions_judged=16),
            epochs=20,
            batch_size=8,
            most=40,
            learning_rate=1e-2,
        )
    )
    assert len(records) == 60
    assert np.mean([r.loss for r in records[-3:]]) < 0.4 * np.mean([r.loss for r in records[:3]])
    fitted = detection.FastRCNN(net, SEARCH, most=40)
    found = fitted.candidates(pictures, made)
    assert found.shape == (24, 40, 8 + K)
    assert torch.equal(found[0, : len(made[0]), :4], torch.from_numpy(made[0][:40]))
    hit, wrong = found_share(found, boxes)
    assert hit > 0.8 and wrong < 0.3


def test_each_picture_is_judged_on_its_own_proposals():
    pictures, boxes = squares(3)
    objective = FasterRCNNDetection(K, regions_judged=500)  # all: nothing is drawn
    net = nets.faster_rcnn(8, hidden=16, inputs=(1, SIDE, SIDE), outputs=K).eval()
    given = detection.propose_all(pictures, SEARCH, say=silent).padded(30)
    question = detection.OnProposals(objective, given)
    ids = torch.tensor([2, 0])
    batch = Batch(inputs=pictures[ids], targets=torch.from_numpy(boxes)[ids], ids=ids)
    expected = objective.judged(net, net.maps(batch.inputs), given[ids], batch.targets, torch.ones(2))
    torch.testing.assert_close(question(net, batch).total, expected)
    with pytest.raises(ContractError, match="and a batch without"):
        question(net, Batch(inputs=batch.inputs, targets=batch.targets))
    with pytest.raises(ContractError, match="received Linear"):
        question(nn.Linear(2, 2), batch)


def test_what_does_not_fit_together_is_refused():
    pictures, boxes = squares(2)
    made = detection.propose_all(pictures, WINDOWS, say=silent)
    with pytest.raises(ValueError, match="Linear has no `features`"):
        detection.region_features(nn.Linear(2, 2), pictures, made, SIZE)
    with pytest.raises(ValueError, match="proposals for 2 pictures, and 1 pictures"):
        detection.region_features(Seen(), pictures[:1], made, SIZE)
    with pytest.raises(ValueError, match="expected 7 classes, each with an object"):
        detection.fit_rcnn(Seen(), pictures, boxes, WINDOWS, SIZE, num_classes=7, say=silent)
    net = nets.faster_rcnn(8, inputs=(1, SIDE, SIDE), outputs=K)
    with pytest.raises(ValueError, match="objects of 2 and proposals for 2; expected as many"):
        list(detection.fit_fast_rcnn(net, pictures[:1], boxes, made, FasterRCNNDetection(K)))
    with pytest.raises(ValueError, match="epochs is 0"):
        list(detection.fit_fast_rcnn(net, pictures, boxes, made, FasterRCNNDetection(K), epochs=0))
