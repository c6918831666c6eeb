"""Average precision of boxes against pycocotools, against the plain loops of the VOC rules, and what has misled others."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from make_pycocotools_cases import CASES, WAYS, case, kept, pycocotools_says

from hubel import metrics
from hubel.metrics import all_point, coco, voc07
from hubel.metrics.detection import _means, _reader, units_of_images
from hubel.metrics.detection_matching import match, scenes_of


def values(predictions, truths, rule):
    """Mean, by threshold, by class, without intervals."""
    scenes = scenes_of(predictions, truths)
    units, _ = units_of_images(scenes, None)
    read = _reader(scenes, match(scenes, rule), units, rule)
    return _means(read(np.ones((1, int(units.max()) + 1))))[0]


@pytest.mark.filterwarnings("ignore:.*best boxes of a class")
def test_coco_is_what_pycocotools_said_of_200_cases():
    compared = 0
    for one, said in kept():
        for way, (area, limit) in WAYS.items():
            if len(said[way]):
                ours = values(one.predictions, one.truths, replace(coco, area=area, limit=limit))
                np.testing.assert_allclose(ours, said[way], rtol=0, atol=1e-9)
                compared += 1
    assert compared > 3.8 * CASES


@pytest.mark.filterwarnings("ignore:.*best boxes of a class")
def test_coco_is_what_pycocotools_says():
    pytest.importorskip(
        "pycocotools", reason="pycocotools is not installed; its kept answers were compared above"
    )
    for seed in range(CASES, CASES + 20):
        one = case(seed)
        for area, limit in WAYS.values():
            said = pycocotools_says(one.predictions, one.truths, area, limit)
            if said is not None:
                ours = values(one.predictions, one.truths, replace(coco, area=area, limit=limit))
                np.testing.assert_allclose(ours, said, rtol=0, atol=1e-9)


def plain_overlap(p, q):
    common = max(min(p[2], q[2]) - max(p[0], q[0]), 0) * max(min(p[3], q[3]) - max(p[1], q[1]), 0)
    return common / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - common)


def plain_voc(predictions, truths, label):
    """Recall and precision after each box of a class, as the development kit finds them; None where there is no truth."""
    truths = [
        [(b, g) for b, k, g in zip(t["boxes"].tolist(), t["labels"], t["ignore"], strict=True) if k == label]
        for t in truths
    ]
    wanted = sum(not g for image in truths for _, g in image)
    found = [
        (-s, i, n, b)
        for i, image in enumerate(predictions)
        for n, (b, k, s) in enumerate(
            zip(image["boxes"].tolist(), image["labels"], image["scores"], strict=True)
        )
        if k == label
    ]
    taken, right, wrong, curve = set(), 0, 0, []
    for _, image, _, box in sorted(found, key=lambda row: row[:3]):
        overlaps = [plain_overlap(box, b) for b, _ in truths[image]]
        best = int(np.argmax(overlaps)) if overlaps else None
        if best is not None and overlaps[best] >= 0.5:
            if truths[image][best][1]:
                continue
            if (image, best) not in taken:
                taken.add((image, best))
                right += 1
            else:
                wrong += 1
        else:
            wrong += 1
        if wanted:
            curve.append((right / wanted, right / (right + wrong)))
    return curve if wanted else None


def plain_area(curve, points):
    if points:
        return sum(max((p for r, p in curve if r >= least), default=0) for least in points) / len(points)
    area, before = 0.0, 0.0
    for i, (recall, _) in enumerate(curve):
        area, before = area + (recall - before) * max(p for _, p in curve[i:]), recall
    return area


@pytest.mark.parametrize("rule", [all_point, voc07])
def test_voc_rules_are_their_plain_loops(rule):
    compared = 0
    for seed in range(80):
        one = case(seed)
        ours = values(one.predictions, one.truths, rule)
        names = scenes_of(one.predictions, one.truths).names
        curves = [plain_voc(one.predictions, one.truths, label) for label in names]
        plain = [math.nan if c is None else plain_area(c, rule.points) for c in curves]
        np.testing.assert_allclose(ours[2:], plain, atol=1e-12)
        there = [p for p in plain if not math.isnan(p)]
        assert ours[0] == pytest.approx(np.mean(there) if there else math.nan, nan_ok=True)
        compared += len(there)
    assert compared > 80


def image(boxes, labels=None, scores=None, ignore=None):
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    one = {"boxes": boxes, "labels": np.zeros(len(boxes), int) if labels is None else np.asarray(labels)}
    if scores is not None:
        one["scores"] = np.asarray(scores, float)
    return one if ignore is None else {**one, "ignore": np.asarray(ignore)}


A, B, C = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]
RULES = pytest.mark.parametrize("rule", [all_point, voc07, coco])


@RULES
def test_the_first_truth_counts_like_the_others(rule):
    """(Elsewhere the annotation with the number 0 is never found.)"""
    perfect = metrics.average_precision(
        [image([A, B, C], scores=[0.9, 0.8, 0.7])], [image([A, B, C])], rule=rule
    )
    assert perfect.value == 1 and perfect.num_objects == 3


@RULES
def test_a_class_without_truths_is_left_out_and_named(rule):
    score = metrics.average_precision(
        [image([A, B], [0, 7], [0.9, 0.8])], [image([A, C], [0, 3], ignore=[0, 1])], rule=rule
    )
    assert score.value == 1 and score.per_class[0].value == 1
    assert math.isnan(score.per_class[7].value) and math.isnan(score.per_class[3].value)
    nothing = metrics.average_precision([image([A], scores=[0.5])], [image([])], rule=rule)
    assert math.isnan(nothing.value) and nothing.num_objects == 0
    empty = metrics.average_precision([image([], [], [])], [image([])], rule=rule)
    assert math.isnan(empty.value) and empty.per_class == {}


@RULES
def test_a_class_that_is_never_found_counts_as_zero(rule):
    score = metrics.average_precision([image([A], [0], [0.9])], [image([A, B], [0, 1])], rule=rule)
    assert score.value == 0.5 and score.per_class[1].value == 0
    assert metrics.average_precision([image([], [], [])], [image([A])], rule=rule).value == 0


@RULES
def test_the_second_box_on_an_object_is_false(rule):
    twice = metrics.average_precision(
        [image([A, A, B], scores=[0.9, 0.8, 0.7])], [image([A, B])], rule=rule
    ).value
    once = metrics.average_precision([image([A, B], scores=[0.9, 0.7])], [image([A, B])], rule=rule).value
    assert once == 1 and twice < 0.9


@RULES
def test_images_without_objects_count_their_false_boxes(rule):
    found = [image([A], scores=[0.5]), image([A], scores=[0.9])]
    assert metrics.average_precision(found, [image([A]), image([])], rule=rule).value == pytest.approx(0.5)


@RULES
def test_ignored_truths_are_neither_found_nor_missed(rule):
    found = [image([B, B, A], scores=[0.9, 0.8, 0.7])]
    truths = [image([A, B], ignore=[0, 1])]
    assert metrics.average_precision(found, truths, rule=rule).value == 1


def test_an_ignored_region_takes_small_boxes_by_their_share_in_it():
    truths = [image([A, [0, 0, 100, 100]], ignore=[0, 1])]
    found = [image([B, A], scores=[0.9, 0.7])]
    assert metrics.average_precision(found, truths, rule=coco).value == 1
    assert metrics.average_precision(found, truths, rule=all_point).value == 0.5
    by_share = replace(all_point, ignored_by=metrics.iop)
    assert metrics.average_precision(found, [image([A])], rule=by_share).value == 0.5
    assert (
        metrics.average_precision(found, [image([A, [15, 15, 99, 99]], ignore=[0, 1])], rule=by_share).value
        == 1
    )


def test_equal_scores_count_in_the_order_in_which_they_are_given():
    truths = [image([A])]
    first = metrics.average_precision([image([A, B], scores=[0.5, 0.5])], truths, rule=all_point)
    second = metrics.average_precision([image([B, A], scores=[0.5, 0.5])], truths, rule=all_point)
    assert (first.value, second.value) == (1, 0.5)


def test_of_truths_that_agree_equally_well_the_last_or_the_first_is_taken():
    """pycocotools takes the last, the development kit of VOC the first; the second box fits only the last."""
    truths = [image([[0, 0, 10, 10], [4, 0, 14, 10]])]
    found = [image([[2, 0, 12, 10], [5, 0, 15, 10]], scores=[0.9, 0.8])]
    half = replace(coco, thresholds=(0.5,))
    assert metrics.average_precision(found, truths, rule=half).value == pytest.approx(51 / 101)
    assert metrics.average_precision(found, truths, rule=all_point).value == 1


def test_recall_that_is_exactly_a_point_counts():
    """3 of 10 found: 0.3 is reached, which 3 × 0.1 in floating point is not."""
    truths = [image([[20 * i, 0, 20 * i + 10, 10] for i in range(10)])]
    found = [image(truths[0]["boxes"][:3], scores=[0.9, 0.8, 0.7])]
    assert metrics.average_precision(found, truths, rule=voc07).value == pytest.approx(4 / 11)
    assert metrics.average_precision(found, truths, rule=all_point).value == pytest.approx(0.3)


def test_a_limit_that_cuts_is_said():
    corners = np.array([[12 * i, 12 * j] for i in range(13) for j in range(12)], float)
    crowd = np.concatenate([corners, corners + 10], axis=1)
    found, truths = [image(crowd, scores=np.linspace(1, 0, 156))], [image(crowd)]
    with pytest.warns(
        UserWarning, match=r"100 best boxes of a class .* has 156 objects of a class: no more than 64 %"
    ):
        assert metrics.average_precision(found, truths, rule=coco).value < 0.65
    assert metrics.average_precision(found, truths, rule=replace(coco, limit=None)).value == 1


def test_measures_of_a_match():
    truths, inside = [image([[0, 0, 100, 100]])], [image([[0, 0, 9, 9]], scores=[0.5])]
    by_share = replace(all_point, measure=metrics.iop)
    assert metrics.average_precision(inside, truths, rule=all_point).value == 0
    assert metrics.average_precision(inside, truths, rule=by_share).value == 1
    assert metrics.average_precision(inside, truths, rule=replace(by_share, measure=metrics.ios)).value == 1
    any_overlap = replace(by_share, thresholds=(0.0,))
    beside = [image([[100, 0, 110, 10]], scores=[0.5])]
    assert metrics.average_precision(beside, truths, rule=any_overlap).value == 0
    assert str(any_overlap) == "AP[all-point, IoP > 0]"
    near = replace(all_point, measure=metrics.centre_distance, thresholds=(3.0, 5.0))
    off = [image([[3, 4, 103, 104]], scores=[0.5])]
    score = metrics.average_precision(off, truths, rule=near)
    assert [score.per_threshold[t].value for t in (3.0, 5.0)] == [0, 1] and score.value == 0.5
    assert score.name == "AP[all-point, centre distance ≤ 3 to 5 px]"


def test_labels_may_be_names():
    predictions, truths = many(num=20)
    names = np.array(["star", "galaxy"])
    plain = metrics.average_precision(predictions, truths, rule=all_point)
    named = metrics.average_precision(
        *(
            [{**one, "labels": names[one["labels"]].tolist()} for one in side]
            for side in (predictions, truths)
        ),
        rule=all_point,
    )
    assert named.value == plain.value
    assert {key: part.value for key, part in named.per_class.items()} == {
        names[key]: part.value for key, part in plain.per_class.items()
    }
    proposals = [{"boxes": one["boxes"]} for one in predictions]
    by_name = [{**one, "labels": names[one["labels"]]} for one in truths]
    assert metrics.proposal_recall(proposals, by_name) == metrics.proposal_recall(proposals, truths)
    with pytest.raises(ValueError, match=r"label is 0; expected one of \['galaxy', 'star'\]"):
        metrics.best_f1(
            [image([A, B], ["star", "galaxy"], [1, 1])], [image([A], ["star"])], rule=all_point, label=0
        )


def test_names_carry_the_rule():
    names = {
        "AP75[coco]": replace(coco, thresholds=(0.75,)),
        "AP[coco, area 0 to 1024 px²]": replace(coco, area=(0, 1024)),
        "AP[coco, at most 10 an image]": replace(coco, limit=10),
        "AP[all-point, IoU ≥ 0.3 to 0.5]": replace(all_point, thresholds=(0.3, 0.5)),
        "AP[voc07, IoS ≥ 0.5]": replace(voc07, measure=metrics.ios),
    }
    assert {str(rule) for rule in names.values()} == set(names)
    assert coco.named("recall") == "recall[coco]"


def many(num=60, seed=0, noise=2.0, found=0.8):
    """Images of up to 4 objects of two classes; a detector that finds some, displaced, and sees some that are not there."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(num):
        corner = rng.random((rng.integers(0, 5), 2)) * 80
        boxes = np.concatenate([corner, corner + 10], axis=1)
        labels = rng.integers(0, 2, len(boxes))
        seen = rng.random(len(boxes)) < found
        false = rng.random((rng.integers(0, 3), 2)) * 80
        own = np.concatenate(
            [boxes[seen] + rng.normal(size=(seen.sum(), 4)) * noise, np.concatenate([false, false + 10], 1)]
        )
        own[:, 2:] = np.maximum(own[:, 2:], own[:, :2] + 1)
        said = np.concatenate([labels[seen], rng.integers(0, 2, len(false))])
        scores = np.concatenate([0.3 + 0.7 * rng.random(seen.sum()), 0.7 * rng.random(len(false))])
        predictions.append(image(own, said, scores))
        truths.append(image(boxes, labels))
    return predictions, truths


def test_intervals_are_over_parent_images():
    predictions, truths = many()
    one = metrics.average_precision(predictions, truths, rule=all_point)
    assert one.low < one.value < one.high and one.count == 60 and one.method == "bootstrap over 60 images"
    tiles = [p for p in predictions for _ in range(4)], [t for t in truths for _ in range(4)]
    parents = np.repeat(np.arange(60), 4)
    naive = metrics.average_precision(*tiles, rule=all_point)
    grouped = metrics.average_precision(*tiles, rule=all_point, groups=parents)
    assert grouped.method == "bootstrap over 60 groups"
    width = one.high - one.low
    assert grouped.high - grouped.low == pytest.approx(width, rel=0.05)
    assert naive.high - naive.low == pytest.approx(width / 2, rel=0.2)
    alone = metrics.average_precision(predictions, truths, rule=all_point, groups=["one"] * 60)
    assert alone.value == one.value and math.isnan(alone.low)


def test_few_parents_give_an_interval_as_wide_as_students():
    predictions, truths = many(240)
    few = metrics.average_precision(predictions, truths, rule=all_point, groups=np.arange(240) % 5)
    many_parents = metrics.average_precision(predictions, truths, rule=all_point)
    assert few.high - few.low > many_parents.high - many_parents.low


@pytest.mark.parametrize("value", [0, 1])
def test_what_no_draw_changes_is_not_certain(value):
    """Wilson's interval for the four parents that have objects, of five."""
    truths = [image([A, C], [0, 1])] * 8 + [image([])] * 2
    found = [image([A, C] if value else [B, B], [0, 1], scores=[0.9, 0.8])] * 8 + [image([], [], [])] * 2
    groups = np.arange(10) // 2
    stand_in = metrics.wilson(4 * value, 4)
    for score in (
        metrics.average_precision(found, truths, rule=all_point, groups=groups),
        metrics.average_precision(found, truths, rule=all_point, groups=groups).per_class[0],
        metrics.scores_at(found, truths, 0.5, rule=all_point, groups=groups)["recall[all-point, IoU ≥ 0.5]"],
        metrics.proposal_recall(found, truths, groups=groups),
    ):
        assert (score.value, score.low, score.high) == (value, stand_in.low, stand_in.high)
        assert score.method == "Wilson for 4 trials, as all draws are alike" and score.count == 10
    curve = metrics.precision_recall(found, truths, rule=all_point, recalls=(1,), groups=groups)
    assert (curve.low[0], curve.high[0]) == (stand_in.low, stand_in.high)


@pytest.mark.parametrize("num", [6, 8, 13])
def test_what_rounding_alone_changes_is_not_certain(num):
    """Sums of sixths and thirteenths are not 1 to the last digit."""
    truths = [image([A], [k % 2]) for k in range(num)]
    found = [image([A], [k % 2], scores=[0.5 + k / 100]) for k in range(num)]
    score = metrics.average_precision(found, truths, rule=all_point)
    assert (score.value, score.low) == (1, metrics.wilson(num, num).low)
    assert score.per_class[1].low == metrics.wilson(num // 2, num // 2).low


def test_what_draws_change_keeps_its_interval():
    """The precision is 1 where enough is found, which is not so in every draw."""
    truths, half = [image([A])] * 8, [image([A], scores=[0.9]), image([], [], [])] * 4
    point = metrics.precision_at_recall(half, truths, 0.5, rule=all_point)
    assert (point.value, point.low, point.method) == (1, 0, "bootstrap over 8 images")


def test_a_paired_difference_is_sharper_than_two_intervals():
    predictions, truths = many()
    worse = [
        image(p["boxes"][:n], p["labels"][:n], p["scores"][:n])
        for p, n in zip(predictions, [0, 99, 99, 99, 99, 99] * 10, strict=True)
    ]
    one, other = (metrics.average_precision(p, truths, rule=all_point) for p in (predictions, worse))
    difference = metrics.average_precision_difference(predictions, worse, truths, rule=all_point)
    assert difference.value == pytest.approx(one.value - other.value) and difference.low > 0
    assert difference.high - difference.low < 0.8 * (one.high - one.low)
    same = metrics.average_precision_difference(predictions, predictions, truths, rule=all_point)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("predictions", "truths", "said"),
    [
        ([image([A], scores=[1])], [], "predictions for 1 images and truths for 0"),
        ([], [], "there are no images"),
        (image([A], scores=[1]), [image([A])], "predictions are dict; expected a list"),
        ([image([A])], [image([A], scores=[1])], "expected predictions first, then truths"),
        ([image([A])], [image([A])], "predictions of image 0 have .*'scores' is missing"),
        ([image([A], scores=[1])], [{"boxes": [A]}], "truths of image 0 have .*'labels' is missing"),
        ([image([A], ["a"], [1])], [image([A], [1])], "some labels are names and others are numbers"),
        ([image([A], scores=[np.nan])], [image([A])], "predictions of image 0 have scores"),
        ([image([A], [0, 1], [1])], [image([A])], "1 boxes and labels of shape"),
        ([image([A], [0.5], [1])], [image([A])], "expected names, or class numbers"),
        ([image([A], [-1], [1])], [image([A])], "expected names, or class numbers"),
        ([image([A], scores=[1])], [{"boxes": [[1, 2, 3]], "labels": [0]}], r"truths of image 0 .*\(1, 3\)"),
        ([image([[5, 5, 1, 9]], scores=[1])], [image([A])], "predictions of image 0 have the box .* row 0"),
        ([image([A], scores=[1])] * 2, [image([A]), image([A, [5, 5, 5, 9]])], "truths of image 1 .* row 1"),
        ([image([[0, 0, np.inf, 1]], scores=[1])], [image([A])], "expected finite edges"),
    ],
)
def test_refusals(predictions, truths, said):
    with pytest.raises(ValueError, match=said):
        metrics.average_precision(predictions, truths, rule=all_point)


def test_rules_and_calls_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="need the rule by which they are counted"):
        metrics.average_precision([image([A], scores=[1])], [image([A])])
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        replace(all_point, thresholds=(50,))
    with pytest.raises(ValueError, match=r"thresholds are \(\)"):
        replace(all_point, thresholds=())
    with pytest.raises(ValueError, match="limit is 0"):
        replace(all_point, limit=0)
    with pytest.raises(ValueError, match="two shares or two distances"):
        replace(coco, measure=metrics.centre_distance)
    with pytest.raises(ValueError, match="groups has shape"):
        metrics.average_precision([image([A], scores=[1])], [image([A])], rule=all_point, groups=[1, 2])
    with pytest.raises(ValueError, match=r"expected \(N, M, 6\)"):
        metrics.truths_of(np.zeros((2, 6)))


BOX = {"boxes": [[1, 1, 9, 9]], "labels": [0], "scores": [0.5]}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scores": ["a"]}, r"have scores \['a'\]; expected numbers \(n,\)"),
        ({"scores": [1 + 1j]}, r"have scores .* expected numbers"),
        ({"scores": [float("nan")]}, "expected finite numbers"),
        ({"boxes": "x"}, r"predictions of image 0 have boxes x; expected numbers \(n, 4\)"),
        ({"boxes": [["a"] * 4]}, r"have boxes .* expected numbers \(n, 4\)"),
        ({"boxes": [[1, 1, 9, 9], [1, 2]]}, r"expected numbers \(n, 4\)"),
        ({"boxes": [[10**400, 1, 2, 3]]}, r"expected numbers \(n, 4\)"),
        ({"boxes": [[-1e308, -1e308, 1e308, 1e308]]}, r"of which none is beyond 1e\+100"),
        ({"labels": [True]}, "expected names, or class numbers"),
        ({"labels": [2**63]}, "expected names, or class numbers"),
    ],
)
def test_what_is_no_box_is_refused_in_words(wrong, said):
    with pytest.raises(ValueError, match=said):
        metrics.average_precision([BOX | wrong], [BOX], rule=coco)


def test_classes_that_differ_in_case_between_both_sides_are_refused():
    with pytest.raises(ValueError, match="labels are 'Star' and 'star', which differ in case"):
        metrics.average_precision([BOX | {"labels": ["star"]}], [BOX | {"labels": ["Star"]}], rule=coco)


def test_scores_may_be_tensors_that_need_gradients():
    found = [BOX | {"scores": torch.tensor([0.5], requires_grad=True), "boxes": torch.tensor(BOX["boxes"])}]
    assert metrics.average_precision(found, [BOX], rule=coco).value == pytest.approx(1)


@pytest.mark.parametrize("rule", ["coco", all_point.thresholds])
def test_a_word_is_no_rule(rule):
    with pytest.raises(TypeError, match=r"rule is .* expected a rule such as hubel\.metrics\.all_point"):
        metrics.average_precision([BOX], [BOX], rule=rule)


@pytest.mark.parametrize("given", [None, iter([BOX]), 3])
def test_what_is_no_list_of_images_is_refused(given):
    with pytest.raises(ValueError, match="expected a list with one mapping an image"):
        metrics.average_precision(given, [BOX], rule=coco)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thresholds": 0.5}, "thresholds is 0.5; expected a tuple of numbers"),
        ({"thresholds": ("a",)}, "expected a tuple of numbers"),
        ({"points": ()}, r"points are \(\); expected recalls from 0 to 1"),
        ({"points": (math.nan,)}, "expected recalls from 0 to 1"),
        ({"limit": 1.5}, "limit is 1.5; expected a whole number"),
        ({"area": (5, 1)}, r"area is \(5, 1\); expected the smallest"),
        ({"area": 5}, "area is 5; expected a tuple"),
        ({"measure": "iou"}, "measure is 'iou' .* expected measures such as"),
    ],
)
def test_what_makes_no_rule_is_refused(change, said):
    with pytest.raises((ValueError, TypeError), match=said):
        replace(coco, **change)


@pytest.mark.parametrize("threshold", [math.nan, "a"])
def test_a_threshold_is_a_number(threshold):
    with pytest.raises(ValueError, match=r"threshold is .*; expected"):
        metrics.scores_at([BOX], [BOX], threshold, rule=all_point)
    with pytest.raises(ValueError, match=r"threshold is .*; expected"):
        metrics.proposal_recall([BOX], [BOX], threshold=threshold)
