"""Operating points, curves, chance, proposals and kinds of errors, against the plain list of boxes and by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from make_pycocotools_cases import case
from test_detection import A, B, C, image, many

from hubel import metrics
from hubel.metrics import all_point, coco, voc07


def plain_list(predictions, truths, label=None):
    """Score, true positive or not of every box that counts from the best down, and the number of truths."""
    from hubel.metrics.detection_matching import match, scenes_of

    scenes = scenes_of(predictions, truths)
    matches = match(scenes, all_point)
    mine = (
        np.ones(len(matches.rows), bool)
        if label is None
        else scenes.names[scenes.labels[matches.rows]] == label
    )
    theirs = matches.wanted if label is None else matches.wanted & (scenes.names[scenes.true_labels] == label)
    rows = [
        (scenes.scores[row], bool(hit))
        for row, hit, void, own in zip(matches.rows, matches.hit[0], matches.void[0], mine, strict=True)
        if own and not void
    ]
    return sorted(rows, key=lambda r: -r[0]), int(theirs.sum())


def points_of(predictions, truths, label=None):
    """Threshold, precision, recall and F1 at each score, and false alarms in all."""
    rows, wanted = plain_list(predictions, truths, label)
    for score in sorted({s for s, _ in rows}, reverse=True):
        found = sum(hit for s, hit in rows if s >= score)
        kept = sum(s >= score for s, _ in rows)
        yield score, found / kept, found / wanted, 2 * found / (kept + wanted), kept - found


SEVERAL = 18  # a case with ignored truths and equal scores
SETS = [many(), many(num=25, seed=4), (case(SEVERAL).predictions, case(SEVERAL).truths)]


@pytest.mark.parametrize("images", SETS)
def test_points_are_those_of_the_plain_list(images):
    points = list(points_of(*images))
    best = metrics.best_f1(*images, rule=all_point)
    score, precision, recall, f1, _ = max(points, key=lambda p: p[3])
    assert (best.value, best.threshold) == pytest.approx((f1, score))
    assert (best.precision, best.recall, best.f1) == pytest.approx((precision, recall, f1))
    assert best.low <= best.value <= best.high
    for least in (0.1, 0.4):
        at_recall = metrics.precision_at_recall(*images, least, rule=all_point)
        assert at_recall.value == pytest.approx(max(p[1] for p in points if p[2] >= least))
        assert at_recall.recall >= least and at_recall.precision == pytest.approx(at_recall.value)
        at_precision = metrics.recall_at_precision(*images, least, rule=all_point)
        assert at_precision.value == pytest.approx(max((p[2] for p in points if p[1] >= least), default=0))
        assert at_precision.value == 0 or at_precision.precision >= least
    for threshold in (best.threshold, points[len(points) // 2][0]):
        at = metrics.scores_at(*images, threshold, rule=all_point)
        _, precision, recall, f1, false = next(p for p in points if p[0] == threshold)
        found = [at[f"{name}[all-point, IoU ≥ 0.5]"].value for name in ("precision", "recall", "F1")]
        assert found == pytest.approx([precision, recall, f1])
        alarms = at["false alarms an image[all-point, IoU ≥ 0.5]"]
        assert alarms.value == pytest.approx(false / len(images[1]))


@pytest.mark.parametrize("images", SETS)
def test_curves_are_those_of_the_plain_list(images):
    points = list(points_of(*images))
    curve = metrics.precision_recall(*images, rule=all_point)
    expected = [max((p[1] for p in points if p[2] >= r - 1e-9), default=0) for r in curve.x]
    assert curve.y == pytest.approx(expected) and len(curve.x) == 101
    assert (curve.low <= curve.y).all() and (curve.y <= curve.high).all()
    reached = curve.y > 0
    by_score = {p[0]: p[1] for p in points}
    assert [by_score[t] for t in curve.thresholds[reached]] == pytest.approx(curve.y[reached])
    froc = metrics.froc(*images, rule=all_point)
    expected = [
        max((p[2] for p in points if p[4] <= most * len(images[1]) + 1e-9), default=0) for most in froc.x
    ]
    assert froc.y == pytest.approx(expected) and (np.diff(froc.y) >= 0).all()
    assert froc.name == "FROC[all-point, IoU ≥ 0.5]" and (froc.x_name, froc.y_name) == (
        "false alarms an image",
        "recall",
    )


def test_one_class_of_several():
    predictions, truths = many()
    points = list(points_of(predictions, truths, label=1))
    best = metrics.best_f1(predictions, truths, rule=all_point, label=1)
    assert best.value == pytest.approx(max(p[3] for p in points))
    with pytest.raises(ValueError, match=r"label is 5; expected one of \[0, 1\]"):
        metrics.best_f1(predictions, truths, rule=all_point, label=5)


def test_images_without_objects_count_in_froc_alone():
    found, truths = [image([A, B], scores=[0.9, 0.8])], [image([A])]
    more = [*found, image([C], scores=[0.95])], [*truths, image([])]
    alarms = (0.0, 0.5, 1.0)
    assert metrics.froc(found, truths, rule=all_point, false_alarms=alarms).y.tolist() == [1, 1, 1]
    assert metrics.froc(*more, rule=all_point, false_alarms=alarms).y.tolist() == [0, 1, 1]
    empty = [*found, image([], [], [])], [*truths, image([])]
    assert metrics.froc(*empty, rule=all_point, false_alarms=(0.0,)).y.tolist() == [1]


def test_no_false_alarm_is_no_proof_that_there_will_be_none():
    """A rate of 3.69 in ten images shows none with a probability of 2.5 %; one in every image is a rate, and no share."""
    truths = [image([A])] * 10
    alarms = [
        metrics.scores_at([image(boxes, scores=[0.9] * len(boxes))] * 10, truths, 0.5, rule=all_point)[
            "false alarms an image[all-point, IoU ≥ 0.5]"
        ]
        for boxes in ([A], [A, B])
    ]
    assert (alarms[0].value, alarms[0].low) == (0, 0)
    assert math.exp(-10 * alarms[0].high) == pytest.approx(0.025)
    assert (alarms[1].low, alarms[1].high) == (1, 1)


def test_boxes_of_equal_score_come_together():
    found, truths = [image([A, B], scores=[0.5, 0.5])], [image([A])]
    assert metrics.best_f1(found, truths, rule=all_point).precision == 0.5
    assert metrics.precision_recall(found, truths, rule=all_point, recalls=(1.0,)).y.tolist() == [0.5]


def test_what_does_not_exist_says_why():
    found, truths = [image([A], scores=[0.5])], [image([A, B])]
    missing = metrics.precision_at_recall(found, truths, 0.7, rule=all_point)
    assert math.isnan(missing.value) and missing.method == "undefined: recall ends at 0.5"
    nothing = metrics.best_f1([image([], [], [])], truths, rule=all_point)
    assert math.isnan(nothing.value) and "no box was predicted" in nothing.method
    no_truth = metrics.best_f1(found, [image([])], rule=all_point)
    assert math.isnan(no_truth.value) and "no truth counts" in no_truth.method
    assert metrics.precision_recall([image([], [], [])], truths, rule=all_point).y.max() == 0
    assert metrics.froc([image([], [], [])], truths, rule=all_point).y.max() == 0
    never = metrics.recall_at_precision([image([C], scores=[0.5])], truths, 0.5, rule=all_point)
    assert never.value == 0 and never.threshold == math.inf
    with pytest.raises(ValueError, match="10 thresholds; expected a rule with one"):
        metrics.best_f1(found, truths, rule=coco)
    with pytest.raises(ValueError, match="recall is 70"):
        metrics.precision_at_recall(found, truths, 70, rule=all_point)


def test_intervals_of_points_are_over_groups():
    predictions, truths = many()
    groups = np.arange(60) // 4
    for score in (
        metrics.best_f1(predictions, truths, rule=all_point, groups=groups),
        metrics.scores_at(predictions, truths, 0.4, rule=all_point, groups=groups)[
            "recall[all-point, IoU ≥ 0.5]"
        ],
        metrics.chance_of_match(predictions, truths, (90, 90), rule=all_point, draws=3, groups=groups),
        metrics.proposal_recall(predictions, truths, groups=groups),
    ):
        assert "15 groups" in score.method and score.low < score.value < score.high
    names = [metrics.scores_at(predictions, truths, 0.4, rule=all_point, groups=g) for g in (None, groups)]
    assert all(one.value == other.value for one, other in zip(*(n.values() for n in names), strict=True))


def test_the_chance_of_a_match_is_the_area_where_it_matches():
    """A point-like box overlaps the left half with probability 1/2; a box of the truth's size has an IoU ≥ t where its corner is near enough."""
    any_overlap = replace(all_point, measure=metrics.iop, thresholds=(0.0,))
    truths, found = [image([[0, 0, 50, 100]])], [image([[3, 3, 3.01, 3.01]] * 40, scores=[0.5] * 40)]
    half = metrics.chance_of_match(found, truths, (100, 100), rule=any_overlap, draws=200)
    assert half.value == pytest.approx(0.5, abs=0.02)
    beside = [image([[0, 0, 50, 100], [50, 0, 100, 100]], ignore=[0, 1])]
    assert metrics.chance_of_match(found, beside, (100, 100), rule=any_overlap, draws=20).value > 0.99
    truths, found = [image([[0, 40, 100, 60]])], [image([[0, 0, 100, 20]] * 40, scores=[0.5] * 40)]
    third = metrics.chance_of_match(found, truths, (100, 100), rule=all_point, draws=200)
    assert third.value == pytest.approx(
        2 * (20 / 3) / 80, abs=0.01
    )  # shifts up to 20/3 of an even law over 80 pixels
    elsewhere = [image(found[0]["boxes"], [1] * 40, [0.5] * 40)]
    assert metrics.chance_of_match(elsewhere, truths, (100, 100), rule=all_point).value == 0


def test_boxes_at_random_are_the_same_boxes_elsewhere():
    predictions, truths = many()
    placed = metrics.placed_at_random(predictions, (90, 120), seed=3)
    again = metrics.placed_at_random(predictions, (90, 120), seed=3)
    boxes = np.concatenate([p["boxes"] for p in placed])
    assert boxes.min() >= 0 and 110 < boxes[:, 2].max() <= 120 and 80 < boxes[:, 3].max() <= 90
    for before, after, same in zip(predictions, placed, again, strict=True):
        sides = [one["boxes"][:, 2:] - one["boxes"][:, :2] for one in (before, after)]
        np.testing.assert_allclose(*sides)
        assert (after["scores"] == before["scores"]).all() and (same["boxes"] == after["boxes"]).all()
    by_chance = metrics.average_precision(placed, truths, rule=all_point).value
    assert by_chance < 0.1 < metrics.average_precision(predictions, truths, rule=all_point).value
    with pytest.raises(ValueError, match=r"size is 90; expected \(H, W\)"):
        metrics.placed_at_random(predictions, 90)


def test_recall_of_proposals():
    truths = [image([A, B], [4, 5], ignore=[0, 0]), image([C], [4], ignore=[1]), image([])]
    proposals = [{"boxes": [C, A, [20, 20, 30, 26]]}, {"boxes": []}, {"boxes": [A]}]
    assert metrics.proposal_recall(proposals, truths).value == 1
    assert metrics.proposal_recall(proposals, truths, threshold=0.7).value == 0.5
    assert metrics.proposal_recall(proposals, truths, limit=1).value == 0
    assert metrics.proposal_recall([{"boxes": [C]}], [image([A])], threshold=0).value == 0
    near = metrics.proposal_recall(proposals, truths, measure=metrics.centre_distance, threshold=1.5)
    assert near.value == 0.5
    assert math.isnan(metrics.proposal_recall(proposals[1:], truths[1:]).value)


def errors(found, truths, **options):
    return metrics.error_breakdown([found], [truths], rule=all_point, **options)


KINDS = {
    "duplicate": (image([A, A], [0, 0], [0.9, 0.8]), image([A], [0])),
    "class": (image([B], [1], [0.9]), image([A, B], [0, 0])),
    "location": (image([[0, 0, 10, 4]], [0], [0.9]), image([A], [0])),
    "both": (image([[0, 0, 10, 4]], [1], [0.9]), image([A, B], [0, 1])),
    "background": (image([C], [0], [0.9]), image([A], [0])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_errors(kind):
    found = errors(*KINDS[kind])
    assert found.kinds == (kind,) and found.images.tolist() == [0]
    assert found.rows.tolist() == [1 if kind == "duplicate" else 0]
    missed = {
        "duplicate": [],
        "class": [[0, 0]],
        "location": [],
        "both": [[0, 0], [0, 1]],
        "background": [[0, 0]],
    }[kind]
    assert found.missed.tolist() == missed
    assert found.counts == dict.fromkeys(found.counts, 0) | {kind: 1, "missed": len(missed)}


def test_what_an_error_costs():
    """Worked by hand: average precision as it is, and after the one kind is mended."""
    truths = image([A, B, C], [0, 0, 0])
    found = image([A, [20, 20, 30, 24], A, [80, 80, 90, 90]], [0] * 4, [0.9, 0.8, 0.7, 0.95])
    said = errors(found, truths)
    assert said.value == pytest.approx(1 / 6)  # false, true: a third of the truths at precision 1/2
    expected = {
        "location": (1 / 3 + 1 / 3) * 2 / 3,  # false, true, true: precision 2/3 up to a recall of 2/3
        "background": 1 / 3,
        "duplicate": 1 / 6,
        "class": 1 / 6,
        "both": 1 / 6,
        "missed": 1 / 4,  # two truths are asked for
    }
    assert said.gains == pytest.approx({kind: value - 1 / 6 for kind, value in expected.items()})
    assert said.missed.tolist() == [[0, 2]] and str(said).startswith("AP50[all-point] 0.167; class 0 (+0)")


def test_a_mended_class_moves_the_box_and_ignored_truths_have_no_errors():
    found, truths = image([A, B], [1, 1], [0.9, 0.8]), image([A, C, B], [0, 0, 1])
    said = errors(found, truths)
    assert said.value == pytest.approx(0.25) and said.gains["class"] == pytest.approx(0.5)
    twice = errors(image([A, A], [1, 1], [0.9, 0.8]), image([A, B], [0, 1]))
    assert twice.counts["class"] == 2 and twice.gains["class"] == pytest.approx(0.5)
    already = errors(image([A, A], [0, 1], [0.9, 0.8]), image([A, B], [0, 1]))
    assert already.kinds == ("class",) and already.gains["class"] == 0
    ignored = errors(image([A, B], [0, 0], [0.9, 0.8]), image([A, B], [0, 0], ignore=[0, 1]))
    beside = errors(image([[20, 20, 30, 24]], [0], [0.9]), image([A, B], [0, 0], ignore=[0, 1]))
    assert beside.kinds == ("background",)
    assert ignored.kinds == () and ignored.missed.tolist() == [] and ignored.value == 1
    with pytest.raises(ValueError, match="one threshold of IoU"):
        metrics.error_breakdown([found], [truths], rule=coco)


def test_errors_say_where_they_are():
    found = [image([A, C], [0, 0], [0.9, 0.8]), image([A, B, C], [0, 0, 0], [0.9, 0.8, 0.7])]
    said = metrics.error_breakdown(found, [image([A, C]), image([A, C, [0, 40, 9, 49]])], rule=all_point)
    assert (said.images.tolist(), said.rows.tolist(), said.missed.tolist()) == ([1], [1], [[1, 2]])


def test_every_false_box_and_every_missed_object_has_one_kind():
    predictions, truths = many(noise=4)
    said = metrics.error_breakdown(predictions, truths, rule=voc07)
    rows, wanted = plain_list(predictions, truths)
    assert (
        sum(said.counts.values()) - said.counts["missed"]
        == sum(not hit for _, hit in rows)
        == len(said.kinds)
    )
    assert min(said.counts.values()) >= 0 and said.counts["location"] > 5 and said.counts["background"] > 5
    assert (
        min(said.gains.values()) >= 0
        and said.value == metrics.average_precision(predictions, truths, rule=voc07).value
    )
    assert said.counts["missed"] <= wanted - sum(hit for _, hit in rows)


def test_rows_of_a_dataset_and_of_a_prediction():
    rows = np.array([[[*A, 2, 0], [*B, 0, 1], [0, 0, 0, 0, -1, 0]], [[0, 0, 0, 0, -1, 0]] * 3], np.float32)
    truths = metrics.truths_of(rows)
    assert truths[0]["labels"].tolist() == [2, 0] and truths[0]["ignore"].tolist() == [0, 1]
    assert truths[1]["boxes"].shape == (0, 4)
    found = metrics.predictions_of(rows[:, ::-1])
    assert found[0]["boxes"].tolist() == [B, A] and found[0]["scores"].tolist() == [1, 0]
    assert metrics.average_precision(found, truths, rule=all_point).value == 1
