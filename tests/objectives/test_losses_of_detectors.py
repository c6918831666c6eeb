"""YOLO, YOLO with anchors, Faster R-CNN: losses against loops over pictures and objects, written from the papers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hubel import nets
from hubel.core.errors import ContractError
from hubel.core.sureness import raw_scores
from hubel.core.types import Batch
from hubel.objectives import (
    FasterRCNNDetection,
    YOLODetection,
    YOLOv3Detection,
    lost_to_shared_cells,
)
from hubel.objectives.faster_rcnn_detection import drawn, regions_of
from hubel.objectives.yolo_v3_detection import resized

K, SIDE = 3, 64.0
NONE = [0.0, 0, 0, 0, -1, 0]


def overlap(a, b):
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(wide, 0) * max(high, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def centre(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def boxes_near(draw, centres, spread=6.0):
    """Boxes of 8 to 30 pixels about places that were shifted a little: [n, 4]."""
    middle = centres + spread * (2 * torch.rand(len(centres), 2, generator=draw) - 1)
    half = 4 + 11 * torch.rand(len(centres), 2, generator=draw)
    return torch.cat([middle - half, middle + half], 1)


def case(found_from, seed=0, pictures=3, ignored=True):
    """Candidates in double precision from rows [R, 4], and objects, of which some are ignored, with room left over."""
    draw = torch.Generator().manual_seed(seed)
    rows = len(found_from)
    middle = (found_from[:, :2] + found_from[:, 2:]) / 2
    candidates = []
    for _ in range(pictures):
        confidence = torch.rand(rows, generator=draw).clamp(0.02, 0.9).log()
        classes = torch.randn(rows, K, generator=draw).log_softmax(1)
        candidates.append(
            torch.cat([found_from, boxes_near(draw, middle), raw_scores(confidence, classes)], 1).double()
        )
    objects = torch.tensor([NONE]).repeat(pictures, 6, 1)
    for picture in objects[:-1]:  # the last one shows nothing
        picture[:5, :4] = boxes_near(draw, 12 + 40 * torch.rand(5, 2, generator=draw), 0)
        picture[:5, 4] = torch.randint(K, (5,), generator=draw)
        picture[4, 5] = float(ignored)
    return torch.stack(candidates), objects.double()


def grid_cells(num, each=1):
    side = SIDE / num
    return torch.tensor(
        [
            [x * side, y * side, (x + 1) * side, (y + 1) * side]
            for y in range(num)
            for x in range(num)
            for _ in range(each)
        ]
    )


def shares(row):
    """C and p_k of a candidate's raw scores."""
    scores = 1 / (1 + np.exp(-row[8:]))
    return scores.sum(), scores / scores.sum()


def inside(point, box):
    return box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]


def yolo_by_loops(candidates, objects, coordinates=5.0, without=0.5):
    """Equation 3 of the paper, cell by cell."""
    parts = {"place": 0.0, "size": 0.0, "confidence": 0.0, "class": 0.0}
    for rows, every in zip(candidates.numpy(), objects.numpy(), strict=True):
        known = [o for o in every if o[4] >= 0]
        real = sorted((o for o in known if not o[5]), key=lambda o: -(o[2] - o[0]) * (o[3] - o[1]))
        responsible = {}
        taken = []
        for o in real:
            here = [r for r in range(len(rows)) if inside(centre(o), rows[r, :4])]
            if any(r in taken for r in here):
                continue
            taken += here
            responsible[max(here, key=lambda r: overlap(rows[r, 4:8], o))] = o
        for r, row in enumerate(rows):
            confidence, classes = shares(row)
            if r not in responsible:
                if not any(o[5] and inside(centre(row), o) for o in known):
                    parts["confidence"] += without * confidence**2
                continue
            o = responsible[r]
            cell = row[2] - row[0]
            (x, y), (x0, y0) = centre(row[4:8]), centre(o)
            parts["place"] += coordinates * ((x - x0) ** 2 + (y - y0) ** 2) / cell**2
            for low in (0, 1):
                said, true = (row[6 + low] - row[4 + low]) / SIDE, (o[2 + low] - o[low]) / SIDE
                parts["size"] += coordinates * (math.sqrt(said) - math.sqrt(true)) ** 2
            parts["confidence"] += (confidence - overlap(row[4:8], o)) ** 2
            parts["class"] += ((classes - np.eye(K)[int(o[4])]) ** 2).sum()
    return {name: value / len(candidates) for name, value in parts.items()}


@pytest.mark.parametrize("seed", range(4))
def test_yolo_is_the_sum_over_cells_of_the_paper(seed):
    candidates, objects = case(grid_cells(4, each=2), seed)
    found = YOLODetection(K).losses(candidates, objects)
    expected = yolo_by_loops(candidates, objects)
    assert {name: part.item() for name, part in found.items()} == pytest.approx(expected, rel=1e-6)


def test_of_two_objects_in_a_cell_the_larger_is_asked_for():
    cells = grid_cells(2)
    row = torch.cat([cells, cells, torch.zeros(4, K)], 1)[None].double()
    small, large = [10.0, 10, 20, 20, 0, 0], [4.0, 4, 28, 28, 2, 0]
    apart = YOLODetection(K).losses(row, torch.tensor([[large]]).double())
    for order in ([small, large], [large, small]):
        objects = torch.tensor([order])
        together = YOLODetection(K).losses(row, objects.double())
        assert together == apart
        assert lost_to_shared_cells(objects, (64, 64), 2) == 1
        assert lost_to_shared_cells(objects, (64, 64), 64) == 0
    twins = torch.tensor([[large, large, large, [*large[:5], 1.0], NONE]])
    assert lost_to_shared_cells(twins, (64, 64), 7) == 2
    with pytest.raises(ValueError, match="grid is 0"):
        lost_to_shared_cells(twins, (64, 64), 0)


def v3_by_loops(candidates, objects, ignore_above=0.5, weight=2.0):
    parts, total = {"confidence": 0.0, "class": 0.0, "box": 0.0}, 0
    for rows, every in zip(candidates.numpy(), objects.numpy(), strict=True):
        known = [o for o in every if o[4] >= 0]
        real = [o for o in known if not o[5]]

        def fit(o, row):
            (x, y), (x0, y0) = centre(row[:4]), centre(o)
            return overlap(row[:4], o) - 1e-3 * (abs(x - x0) + abs(y - y0)) / SIDE

        wants = [max(range(len(rows)), key=lambda r, o=o: fit(o, rows[r])) for o in real]
        finds = {}
        for o, r in zip(real, wants, strict=True):
            if r not in finds or fit(o, rows[r]) > fit(finds[r], rows[r]):
                finds[r] = o
        total += len(finds)
        for r, row in enumerate(rows):
            confidence, classes = shares(row)
            if r in finds:
                o, box = finds[r], row[4:8]
                parts["confidence"] -= math.log(confidence)
                parts["class"] -= math.log(classes[int(o[4])])
                around = (max(box[2], o[2]) - min(box[0], o[0])) * (max(box[3], o[3]) - min(box[1], o[1]))
                both = (box[2] - box[0]) * (box[3] - box[1]) + (o[2] - o[0]) * (o[3] - o[1])
                union = both / (1 + overlap(box, o))
                parts["box"] += weight * (1 - overlap(box, o) + (around - union) / around)
            elif not any(o[5] and inside(centre(row), o) for o in known) and not any(
                overlap(row[4:8], o) > ignore_above for o in real
            ):
                parts["confidence"] -= math.log(1 - confidence)
    return {name: value / total for name, value in parts.items()}


def anchors_on(num, sizes):
    middle = (torch.arange(num) + 0.5) * SIDE / num
    return torch.tensor(
        [
            [float(x) - w / 2, float(y) - h / 2, float(x) + w / 2, float(y) + h / 2]
            for y in middle
            for x in middle
            for w, h in sizes
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_anchors_are_judged_as_by_loops(seed):
    anchors = torch.cat([anchors_on(8, [(12, 12), (20, 12)]), anchors_on(4, [(24, 28)])])
    candidates, objects = case(anchors, seed)
    assert candidates[..., :4].max() == SIDE + 12 - 8 or candidates[..., :4].amax() > 0
    scale = candidates[..., :4].amax().item() / SIDE  # the tie-break is in units of the farthest edge
    found = YOLOv3Detection(K).losses(candidates, objects)
    assert 0.9 < scale < 1.4
    expected = v3_by_loops(candidates, objects)
    assert {name: part.item() for name, part in found.items()} == pytest.approx(expected, rel=1e-6)


def test_two_objects_at_one_anchor():
    anchors = anchors_on(2, [(16, 16)])
    row = torch.cat([anchors, anchors, torch.zeros(4, K)], 1)[None].double()
    better, worse = [8.0, 8, 24, 24, 1, 0], [8.0, 8, 24, 34, 0, 0]
    for order in ([better, worse], [worse, better]):
        picture, anchor, which, _ = YOLOv3Detection(K).assigned(row, torch.tensor([order]).double())
        assert picture.tolist() == [0] and anchor.tolist() == [0]
        assert order[int(which)] == better


@pytest.mark.parametrize("objective", [YOLODetection(K), YOLOv3Detection(K), FasterRCNNDetection(K)])
def test_a_picture_of_weight_0_does_not_count_and_one_of_2_counts_twice(objective):
    candidates, objects = case(grid_cells(4, each=2))
    parts = objective.losses(candidates, objects, torch.tensor([2.0, 1.0, 0.0]))
    expected = objective.losses(candidates[[0, 0, 1]], objects[[0, 0, 1]])
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(
        {name: part.item() for name, part in expected.items()}
    )


@pytest.mark.parametrize("objective", [YOLOv3Detection(K), FasterRCNNDetection(K)], ids=["v3", "faster"])
def test_gradients(objective):
    candidates, objects = case(anchors_on(4, [(16, 16)]), pictures=2)
    start = candidates[..., 4:].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rest: sum(objective.losses(torch.cat([candidates[..., :4], rest], 2), objects).values()), start
    )


def test_gradients_of_yolo_but_for_the_overlap_that_the_confidence_is_to_tell():
    candidates, objects = case(grid_cells(4), pictures=2)
    start = candidates[..., 4:].clone().requires_grad_()

    def moved(rest):
        parts = YOLODetection(K).losses(torch.cat([candidates[..., :4], rest], 2), objects)
        return parts["place"] + parts["size"] + parts["class"]

    assert torch.autograd.gradcheck(moved, start)


@pytest.mark.parametrize("objective", [YOLODetection(K), YOLOv3Detection(K), FasterRCNNDetection(K)])
def test_pictures_without_objects_and_no_room_for_any(objective):
    candidates, _ = case(grid_cells(4, each=2))
    for objects in (torch.zeros(3, 0, 6), torch.tensor([[NONE]]).repeat(3, 1, 1)):
        parts = objective.losses(candidates.requires_grad_(), objects)
        total = sum(parts.values())
        total.backward()
        assert torch.isfinite(total) and total > 0
        assert torch.isfinite(candidates.grad).all()
        assert [name for name, part in parts.items() if part > 0] in (["confidence"], ["class"])


def test_of_anchors_that_fit_as_well_the_nearest_finds_an_object():
    anchors = anchors_on(8, [(24, 24)])
    row = torch.cat([anchors, anchors, torch.zeros(64, K)], 1)[None].double()
    for x, y in ((34.0, 27.0), (29.0, 36.0), (27.0, 27.0)):  # within several anchors
        small = torch.tensor([[[x - 2, y - 2, x + 2, y + 2, 0, 0]]]).double()
        _, anchor, _, _ = YOLOv3Detection(K).assigned(row, small)
        assert centre(anchors[anchor[0]].tolist()) == (8 * (x // 8) + 4, 8 * (y // 8) + 4)


def test_multi_scale_training_changes_pictures_and_boxes_together():
    inputs = torch.zeros(1, 1, 40, 60)
    inputs[:, :, 10:20, 30:50] = 1
    batch = Batch(inputs=inputs, targets=torch.tensor([[[30.0, 10, 50, 20, 0, 0], NONE]]))
    for share in (0.5, 1.5):
        seen = resized(batch, share)
        assert seen.inputs.shape == (1, 1, int(40 * share), int(60 * share))
        x0, y0, x1, y1 = (seen.targets[0, 0, :4]).int().tolist()
        assert seen.inputs[0, 0, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].min() > 0.9
        assert seen.inputs.sum() == pytest.approx(200 * share**2, rel=0.05)
    assert batch.targets[0, 0].tolist() == [30, 10, 50, 20, 0, 0]


class Sizes(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(tuple(x.shape[2:]))
        return case(anchors_on(2, [(16, 16)]), pictures=len(x))[0].float()


def test_sizes_are_drawn_in_training_only_and_follow_the_seed():
    batch = Batch(inputs=torch.zeros(2, 1, 64, 64), targets=torch.tensor([[[8.0, 8, 24, 24, 0, 0]]] * 2))
    objective = YOLOv3Detection(K, sizes=(0.5, 1.0, 1.5))
    seen = []
    for _ in range(2):
        net = Sizes().train()
        torch.manual_seed(1)
        for _ in range(12):
            objective(net, batch)
        seen.append(net.seen)
    assert seen[0] == seen[1] and set(seen[0]) == {(32, 32), (64, 64), (96, 96)}
    net.eval()
    objective(net, batch)
    assert net.seen[-1] == (64, 64)


def faster_by_loops(candidates, objects):
    """The expectation of the published loss: a quarter of the regions hold objects."""
    wrong, missed, background, positive, negative = 0.0, 0.0, 0.0, 0, 0
    weights = np.array([10, 10, 5, 5])

    def offsets(box, start):
        (x, y), (x0, y0) = centre(box), centre(start)
        w, h = start[2] - start[0], start[3] - start[1]
        return weights * [
            (x - x0) / w,
            (y - y0) / h,
            math.log((box[2] - box[0]) / w),
            math.log((box[3] - box[1]) / h),
        ]

    for rows, every in zip(candidates.numpy(), objects.numpy(), strict=True):
        known = [o for o in every if o[4] >= 0]
        real = [o for o in known if not o[5]]
        for row in rows:
            scores = 1 / (1 + np.exp(-row[8:]))
            best = max(real, key=lambda o: overlap(row[:4], o), default=None)
            if best is not None and overlap(row[:4], best) >= 0.5:
                positive += 1
                wrong -= math.log(scores[int(best[4])])
                d = np.abs(offsets(row[4:8], row[:4]) - offsets(best, row[:4]))
                missed += np.where(d < 1 / 9, 4.5 * d**2, d - 1 / 18).sum()
            elif not any(o[5] and shared(row[:4], o) > 0.5 for o in known):
                negative += 1
                background -= math.log(1 - scores.sum())
    return {
        "class": 0.25 * wrong / max(positive, 1) + 0.75 * background / max(negative, 1),
        "box": 0.25 * missed / max(positive, 1),
    }


def shared(a, b):
    """The share of `a` that lies in `b`."""
    common = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]))


@pytest.mark.parametrize("seed", range(4))
def test_the_judgement_of_proposals_is_the_expected_loss(seed):
    candidates, objects = case(anchors_on(8, [(16, 16), (24, 20)]), seed)
    found = FasterRCNNDetection(K).losses(candidates, objects)
    assert regions_of(candidates[..., :4], objects)[0].sum() > 3
    assert {name: part.item() for name, part in found.items()} == pytest.approx(
        faster_by_loops(candidates, objects), rel=1e-6
    )


def test_where_all_regions_are_judged_nothing_is_left_to_chance():
    """The loss of a training step equals the one that candidates tell, weighted by numbers in place of shares."""
    proposals = anchors_on(6, [(16, 16)])
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(1, len(proposals) + 6, K + 1, generator=draw)
    offsets = 0.1 * torch.randn(1, len(proposals) + 6, K, 4, generator=draw)
    _, objects = case(proposals, pictures=2)
    objects = objects[:1].float()
    objective = FasterRCNNDetection(K, regions_judged=1000)
    order = []

    class Judge:
        def judge(self, maps, regions):
            known = torch.cat([proposals, torch.where(objects[0, :, 5:] == 0, objects[0, :, :4], 0.0)])
            place = [int((known == region).all(1).nonzero()[0]) for region in regions[0]]
            order.extend(place)
            return scores[:, place], offsets[:, place]

    loss = objective.judged(Judge(), [], proposals[None], objects, torch.ones(1))
    regions = torch.cat([proposals, torch.where(objects[0, :, 5:] == 0, objects[0, :, :4], 0.0)])[None]
    holds, without, which = regions_of(regions, objects)
    assert holds[0, 36:40].all()  # true boxes are judged too
    share = scores.log_softmax(2)[0]
    expected, count = 0.0, 0
    for r in range(regions.shape[1]):
        if holds[0, r]:
            o = objects[0, which[0, r]]
            (x, y), (x0, y0) = centre(o.tolist()), centre(regions[0, r].tolist())
            w, h = (regions[0, r, 2:] - regions[0, r, :2]).tolist()
            wanted = [
                10 * (x - x0) / w,
                10 * (y - y0) / h,
                5 * math.log((o[2] - o[0]) / w),
                5 * math.log((o[3] - o[1]) / h),
            ]
            d = (offsets[0, r, int(o[4])] - torch.tensor(wanted)).abs()
            expected += -share[r, int(o[4])] + torch.where(d < 1 / 9, 4.5 * d**2, d - 1 / 18).sum()
            count += 1
        elif without[0, r]:
            expected -= share[r, K]
            count += 1
    assert count < len(order)
    assert loss.item() == pytest.approx(expected.item() / count, rel=1e-4)


def test_anchors_are_judged_by_their_overlap_and_the_best_always_is():
    """All anchors are drawn: binary cross-entropy of those above 0.7 and below 0.3, and of the best of an object that none fits."""
    anchors = anchors_on(8, [(16, 16)])
    objects = torch.tensor(
        [[[8.0, 8, 24, 24, 1, 0], [30.0, 30, 60, 36, 0, 0], [40.0, 40, 64, 64, 0, 1], NONE]]
    )
    scores = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    offsets = torch.zeros(1, 64, 4)
    loss = FasterRCNNDetection(K, anchors_judged=1000).proposed(
        anchors, scores, offsets, objects, torch.ones(1)
    )
    real = objects[0, :2].tolist()
    best = {max(range(64), key=lambda a, o=o: overlap(anchors[a].tolist(), o)): o for o in real}
    expected, count = 0.0, 0
    for a in range(64):
        box = anchors[a].tolist()
        overlaps = [overlap(box, o) for o in real]
        o = best.get(a) or (real[int(np.argmax(overlaps))] if max(overlaps) >= 0.7 else None)
        probability = scores[0, a].sigmoid().item()
        if o is not None:
            (x, y), (x0, y0) = centre(o), centre(box)
            d = np.abs(
                [(x - x0) / 16, (y - y0) / 16, math.log((o[2] - o[0]) / 16), math.log((o[3] - o[1]) / 16)]
            )
            expected += -math.log(probability) + np.where(d < 1 / 9, 4.5 * d**2, d - 1 / 18).sum()
            count += 1
        elif max(overlaps) < 0.3 and shared(box, objects[0, 2].tolist()) <= 0.5:
            expected -= math.log(1 - probability)
            count += 1
    assert len(best) == 2 and 30 < count < 62
    assert loss.item() == pytest.approx(expected / count, rel=1e-4)


def test_a_number_of_each_picture_is_drawn_at_random():
    holds = torch.zeros(2, 100, dtype=torch.bool)
    holds[0, :60] = True
    holds[1, :3] = True
    torch.manual_seed(0)
    counts = torch.zeros(2, 100)
    for _ in range(300):
        positive, negative = drawn(holds, ~holds, 20, 0.25)
        assert positive.sum(1).tolist() == [5, 3] and negative.sum(1).tolist() == [15, 17]
        assert not (positive & ~holds).any() and not (negative & holds).any()
        counts += positive.float() + negative.float()
    assert counts[1, :3].tolist() == [300] * 3
    for row, expected in ((counts[0, :60], 25), (counts[0, 60:], 112.5), (counts[1, 3:], 300 * 17 / 97)):
        assert (row - expected).abs().max() < 6 * math.sqrt(expected)


def test_a_net_that_proposes_nothing_and_numbers_out_of_range_are_refused():
    batch = Batch(inputs=torch.zeros(1, 1, 64, 64), targets=torch.tensor([[NONE]]))
    with pytest.raises(ContractError, match=r"take hubel\.nets\.faster_rcnn"):
        FasterRCNNDetection(K)(nets.anchor_free(8, inputs=(1, 64, 64), outputs=K), batch)
    with pytest.raises(ContractError, match="at least 4"):
        FasterRCNNDetection(K, regions_judged=2)
    with pytest.raises(ContractError, match="shares of a picture's size"):
        YOLOv3Detection(K, sizes=(0.0, 1.0))
    with pytest.raises(ContractError, match="ignore_above is 0"):
        YOLOv3Detection(K, ignore_above=0.0)
    with pytest.raises(ContractError, match="at least one"):
        YOLOv3Detection(0)
