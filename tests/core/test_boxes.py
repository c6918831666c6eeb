"""Boxes against definitions written out in plain Python, closed forms and the greedy loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hubel.core import boxes as b


def random_boxes(num, seed=0, size=60.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=generator, dtype=dtype) * size
    return torch.cat([corner, corner + 1 + torch.rand(num, 2, generator=generator, dtype=dtype) * 20], dim=1)


def by_definition(p, q):
    """IoU, GIoU, DIoU, IoP and IoS of two boxes."""
    width, height = min(p[2], q[2]) - max(p[0], q[0]), min(p[3], q[3]) - max(p[1], q[1])
    common = max(width, 0) * max(height, 0)
    one, other = (p[2] - p[0]) * (p[3] - p[1]), (q[2] - q[0]) * (q[3] - q[1])
    union = one + other - common
    wide, high = max(p[2], q[2]) - min(p[0], q[0]), max(p[3], q[3]) - min(p[1], q[1])
    apart = ((p[0] + p[2] - q[0] - q[2]) / 2) ** 2 + ((p[1] + p[3] - q[1] - q[3]) / 2) ** 2
    share = common / union
    return (
        share,
        share - (wide * high - union) / (wide * high),
        share - apart / (wide**2 + high**2),
        common / one,
        common / min(one, other),
    )


def test_measures_are_their_definitions():
    first, second = random_boxes(15), random_boxes(12, seed=1)
    found = [b.pairwise(first, second, measure) for measure in (b.iou, b.giou, b.diou, b.iop, b.ios)]
    for i, p in enumerate(first.tolist()):
        for j, q in enumerate(second.tolist()):
            assert [float(m[i, j]) for m in found] == pytest.approx(by_definition(p, q), abs=1e-12)
    assert (found[0] > 0).any() and (found[0] == 0).any() and (found[1] < 0).any()
    assert torch.equal(b.iou(first[:12], second), found[0][:12].diagonal())


def test_slopes_are_those_of_finite_differences_and_finite_where_there_is_no_area():
    first, second = random_boxes(6).requires_grad_(), random_boxes(6, seed=1)
    for measure in (b.iou, b.giou, b.diou, b.iop, b.ios):
        assert torch.autograd.gradcheck(lambda x, measure=measure: b.pairwise(x, second, measure), first)
    flat = torch.tensor([[1.0, 1.0, 1.0, 5.0], [2.0, 2.0, 2.0, 2.0]], requires_grad=True)
    for measure in (b.iou, b.giou, b.diou, b.iop, b.ios):
        values = measure(flat, flat.detach().clone())
        assert values[1] == 0
        (slope,) = torch.autograd.grad(values.sum(), flat)
        assert torch.isfinite(values).all() and torch.isfinite(slope).all()


def test_half_precision_is_computed_in_single():
    large = torch.tensor([[0.0, 0.0, 400.0, 400.0]], dtype=torch.float16)
    assert float(b.areas(large)) == 160_000 and float(b.iou(large, large)) == 1
    assert b.nms(large.repeat(2, 1), torch.ones(2), 0.5).tolist() == [0]


def test_encode_is_the_published_equation_and_decode_its_inverse():
    boxes, anchors = random_boxes(20), random_boxes(20, seed=1)
    weights = (10.0, 10.0, 5.0, 5.0)
    offsets = b.encode(boxes, anchors, weights=weights)
    for row, box, anchor in zip(offsets.tolist(), boxes.tolist(), anchors.tolist(), strict=True):
        wide, high = anchor[2] - anchor[0], anchor[3] - anchor[1]
        expected = [
            10 * ((box[0] + box[2]) / 2 - (anchor[0] + anchor[2]) / 2) / wide,
            10 * ((box[1] + box[3]) / 2 - (anchor[1] + anchor[3]) / 2) / high,
            5 * math.log((box[2] - box[0]) / wide),
            5 * math.log((box[3] - box[1]) / high),
        ]
        assert row == pytest.approx(expected)
    assert torch.allclose(b.decode(offsets, anchors, weights=weights), boxes)
    several = b.decode(offsets[:, None].expand(20, 3, 4), anchors[:, None], weights=weights)
    assert torch.allclose(several, boxes[:, None].expand(20, 3, 4))
    far = b.decode(torch.tensor([0.0, 0.0, 1e4, 0.0]), torch.tensor([0.0, 0.0, 16.0, 16.0]))
    assert far.tolist() == pytest.approx([8 - 500, 0, 8 + 500, 16])


def test_clip_and_remove_small():
    boxes = torch.tensor([[-5.0, -5.0, 3.0, 3.0], [6.0, 1.0, 40.0, 2.0], [20.0, 0.0, 30.0, 5.0]])
    inside = b.clip(boxes, (10, 8))
    assert inside.tolist() == [[0, 0, 3, 3], [6, 1, 8, 2], [8, 0, 8, 5]]
    assert b.remove_small(inside, 0).tolist() == [0, 1]
    assert b.remove_small(inside, 2).tolist() == [0]


def greedy(boxes, scores, threshold, labels):
    """The loop as everyone writes it."""
    stay = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(labels[i] != labels[j] or by_definition(boxes[i], boxes[j])[0] <= threshold for j in stay):
            stay.append(i)
    return stay


@given(
    num=st.integers(0, 60),
    seed=st.integers(0, 10_000),
    threshold=st.sampled_from([0.0, 0.31, 0.57, 1.0]),
    levels=st.sampled_from([2, 5, 1000]),
    classes=st.integers(1, 3),
    block=st.sampled_from([3, 16, 256]),
)
def test_nms_is_the_greedy_loop(num, seed, threshold, levels, classes, block):
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(num, seed)
    scores = torch.randint(0, levels, (num,), generator=generator) / levels  # many ties
    labels = torch.randint(0, classes, (num,), generator=generator)
    expected = greedy(boxes.tolist(), scores.tolist(), threshold, labels.tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(b, "BLOCK", block)
        assert b.nms(boxes, scores, threshold, labels=labels).tolist() == expected
        assert b.nms(boxes, scores, threshold, labels=labels, limit=4).tolist() == expected[:4]


def test_nms_across_blocks_with_chains():
    """Each box overlaps the next: every second one stays, which takes as many rounds as there are boxes."""
    start = torch.arange(600, dtype=torch.float64) * 3
    chain = torch.stack([start, 0 * start, start + 10, 0 * start + 10], dim=1)
    scores = torch.linspace(1, 0, 600)
    assert b.nms(chain, scores, 0.5).tolist() == list(range(0, 600, 2))
    kept = b.nms(chain, scores, 0.5)
    assert b.nms(chain[kept], scores[kept], 0.5).tolist() == list(range(len(kept)))


def test_nms_far_from_the_origin_keeps_classes_apart():
    """Classes moved apart by an offset, as is common, would lose these pixels in single precision."""
    boxes = random_boxes(40, size=10, dtype=torch.float32) + 5e5
    labels = torch.arange(40) % 2
    scores = torch.linspace(1, 0, 40)
    alone = [torch.nonzero(labels == k).flatten() for k in range(2)]
    expected = sorted(i for own in alone for i in own[b.nms(boxes[own], scores[own], 0.4)].tolist())
    assert sorted(b.nms(boxes, scores, 0.4, labels=labels).tolist()) == expected


def slow_soft(boxes, scores, decay, smallest):
    left, found = dict(enumerate(scores)), []
    while left and max(left.values()) >= smallest:
        best = max(left, key=lambda i: (left[i], -i))
        found.append((best, left.pop(best)))
        left = {i: s * decay(by_definition(boxes[best], boxes[i])[0]) for i, s in left.items()}
    return found


@pytest.mark.parametrize(
    ("rule", "decay"),
    [
        (b.Linear(0.4), lambda u: 1 - u if u > 0.4 else 1),
        (b.Gaussian(0.3), lambda u: math.exp(-u * u / 0.3)),
    ],
)
def test_soft_nms_is_its_loop(rule, decay):
    boxes = random_boxes(50, size=25)
    scores = torch.rand(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    indices, left = b.soft_nms(boxes, scores, rule, smallest=0.05)
    expected = slow_soft(boxes.tolist(), scores.tolist(), decay, 0.05)
    assert indices.tolist() == [i for i, _ in expected] and 10 < len(expected) < 50
    assert left.tolist() == pytest.approx([s for _, s in expected])
    labels = torch.arange(50)
    assert torch.equal(b.soft_nms(boxes, scores, rule, labels=labels)[1], scores.sort(descending=True)[0])


PLACES = torch.tensor([[0.0, 0.0, 100.0, 100.0], [80.0, 0.0, 180.0, 100.0], [160.0, 0.0, 260.0, 100.0]])


def merged(rows, labels=None, threshold=0.5):
    """`rows` of tile, score and box."""
    tiles, scores = torch.tensor([r[0] for r in rows]), torch.tensor([r[1] for r in rows])
    boxes = torch.tensor([r[2] for r in rows], dtype=torch.float32)
    labels = None if labels is None else torch.tensor(labels)
    found, whose = b.merge(boxes, scores, tiles, PLACES, labels=labels, threshold=threshold)
    return found.tolist(), whose.tolist()


def test_merge_keeps_the_whole_one_of_what_a_seam_cuts():
    cut, whole = [92, 10, 100, 40], [92, 10, 130, 40]
    assert merged([(0, 0.9, cut), (1, 0.6, whole)]) == ([whole], [1])
    assert merged([(0, 0.9, cut), (1, 0.6, whole)], labels=[0, 1]) == ([cut, whole], [0, 1])
    assert merged([(1, 0.9, cut), (1, 0.6, whole)])[1] == [0, 1]  # of one tile: for nms


def test_merge_puts_parts_together_that_no_tile_sees_whole():
    parts = [(0, 0.7, [20, 10, 100, 30]), (1, 0.5, [80, 10, 180, 30]), (2, 0.9, [160, 10, 200, 30])]
    assert merged(parts) == ([[20, 10, 200, 30]], [2])
    assert merged(parts[::-1])[0] == [[20, 10, 200, 30]]
    assert merged(parts[::2])[0] == [[160, 10, 200, 30], [20, 10, 100, 30]]


def test_merge_leaves_neighbours_and_the_small_in_the_large():
    touching = [(0, 0.9, [84, 10, 95, 30]), (1, 0.8, [93, 10, 110, 30])]
    assert merged(touching)[1] == [0, 1]
    nested = [(0, 0.9, [40, 10, 96, 90]), (1, 0.8, [85, 40, 90, 45])]
    assert merged(nested)[1] == [0, 1]  # both whole: IoU counts, though the IoS is 1
    at_edges = [(0, 0.9, [0, 0, 96, 100]), (1, 0.8, [85, 40, 90, 45])]
    assert merged(at_edges)[1] == [0, 1]  # the edges of the picture cut nothing
    duplicate = [(0, 0.8, [84, 10, 95, 30]), (1, 0.9, [84, 11, 95, 31])]
    assert merged(duplicate) == ([[84, 11, 95, 31]], [1])
    outside = [(0, 0.9, [10, 10, 30, 30]), (2, 0.8, [10, 10, 30, 30])]
    assert merged(outside)[1] == [0, 1]  # no zone that both tiles see


def test_merge_in_any_order_of_rows():
    rows = [
        (t, 0.5 + 0.01 * i, box)
        for i, (t, box) in enumerate(
            [
                (0, [20, 10, 100, 30]),
                (1, [80, 10, 150, 30]),
                (0, [5, 60, 30, 80]),
                (1, [85, 60, 99, 80]),
                (0, [85, 60, 99, 81]),
                (2, [165, 20, 175, 30]),
            ]
        )
    ]
    expected = merged(rows)[0]
    generator = torch.Generator().manual_seed(0)
    assert len(expected) == 4
    for _ in range(10):
        order = torch.randperm(len(rows), generator=generator).tolist()
        assert merged([rows[i] for i in order])[0] == expected


def test_nothing_stays_nothing():
    none, no_scores = torch.zeros(0, 4), torch.zeros(0)
    some = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert b.pairwise(none, some).shape == (0, 1)
    assert b.nms(none, no_scores, 0.5).tolist() == [] and b.soft_nms(none, no_scores)[0].tolist() == []
    assert b.merge(none, no_scores, torch.zeros(0, dtype=torch.int64), none)[0].shape == (0, 4)
    assert b.encode(none, none).shape == b.decode(none, none).shape == b.clip(none, (3, 3)).shape == (0, 4)
    assert b.nms(some, torch.ones(1), 0.5, limit=0).tolist() == []


ONE, TWO = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: b.iou(ONE[:, :3], ONE), r"\[1, 3\] of float32; expected \[..., 4\]"),
        (lambda: b.iou(ONE.long(), ONE), "int64; expected .* floating"),
        (lambda: b.iou(TWO, torch.zeros(3, 4)), r"\[2, 4\] of float32 and \[3, 4\] .*pairwise"),
        (lambda: b.pairwise(ONE[0], ONE), r"first boxes are \[4\]"),
        (lambda: b.pairwise(ONE, TWO * math.nan), "second boxes have NaN in 2 of 2 rows, the first is row 0"),
        (lambda: b.encode(ONE * 0, ONE), "boxes of no width"),
        (lambda: b.encode(ONE, ONE[:, [2, 1, 0, 3]]), "anchors of no width"),
        (lambda: b.nms(ONE, torch.ones(2), 0.5), r"scores are \[2\] of float32; expected \[1\]"),
        (lambda: b.nms(ONE, torch.tensor([math.nan]), 0.5), "scores have NaN"),
        (lambda: b.nms(ONE, torch.ones(1), 50), "threshold is 50; expected a share"),
        (lambda: b.nms(ONE, torch.ones(1), 0.5, labels=torch.ones(3)), r"labels are \[3\]"),
        (lambda: b.nms(ONE, torch.ones(1), 0.5, limit=-1), "limit is -1"),
        (lambda: b.soft_nms(ONE * math.nan, torch.ones(1)), "boxes have NaN"),
        (lambda: b.merge(ONE, torch.ones(1), torch.ones(1), ONE), "tiles are .* whole numbers"),
        (lambda: b.merge(ONE, torch.ones(1), torch.tensor([3]), ONE), "numbered 3 to 3; expected 0 to 0"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_not_a_number_passes_where_a_loss_is_made():
    wrong = ONE * math.nan
    assert torch.isnan(b.giou(wrong, ONE)).all() and torch.isnan(b.decode(wrong, ONE)).all()
    assert torch.isnan(b.clip(wrong, (2, 2))).all()
