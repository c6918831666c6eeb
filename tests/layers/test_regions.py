"""Regions of interest against torchvision's kept answers, finite differences and maps whose answers are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from make_torchvision_regions import CASES, KEPT, LISTS, RATIOS, SIZE, kept_lists, kept_regions, slope

from hubel.core.boxes import nms
from hubel.layers import regions
from hubel.layers.regions import RoIAlign, RoIPool, roi_align, roi_pool

ARRAYS = dict(np.load(KEPT, allow_pickle=False))
FORMS = pytest.mark.parametrize("form", ["separable", "grid"])
WAYS = pytest.mark.parametrize(
    "answer",
    [
        lambda x, b, i: roi_align(x, b, i, SIZE, form="separable"),
        lambda x, b, i: roi_align(x, b, i, SIZE, ratio=None),
        lambda x, b, i: roi_align(x, b, i, SIZE, form="grid"),
        lambda x, b, i: roi_pool(x, b, i, SIZE),
    ],
    ids=["separable", "adaptive", "grid", "pool"],
)


@FORMS
def test_roi_align_is_torchvisions_with_its_slope(form):
    compared = 0
    for number in range(CASES):
        features, boxes, images, scale = kept_regions(ARRAYS, number)
        for aligned in (False, True):
            for ratio in RATIOS:
                if form == "grid" and ratio == 0:
                    continue
                options = {"scale": scale, "ratio": ratio or None, "aligned": aligned, "form": form}
                found = slope(lambda x, o=options, b=boxes, i=images: roi_align(x, b, i, SIZE, **o), features)
                way = f"{number}_{int(aligned)}_{ratio}"
                for ours, name in zip(found, ("align", "align_slope"), strict=True):
                    np.testing.assert_allclose(ours, ARRAYS[f"{name}_{way}"], rtol=0, atol=1e-12)
                    compared += bool(np.abs(ours).sum() > 0)
    assert compared > CASES * 10


def test_roi_pool_is_torchvisions_with_its_slope_where_values_are_equal():
    for number in range(CASES):
        features, boxes, images, scale = kept_regions(ARRAYS, number)
        found = slope(lambda x, b=boxes, i=images, s=scale: roi_pool(x, b, i, SIZE, scale=s), features.relu())
        np.testing.assert_array_equal(found[0], ARRAYS[f"pool_{number}"])
        np.testing.assert_allclose(found[1], ARRAYS[f"pool_slope_{number}"], rtol=0, atol=1e-12)


def test_suppressed_boxes_are_torchvisions():
    for number in range(LISTS):
        boxes, scores, labels, threshold = kept_lists(ARRAYS, number)
        assert nms(boxes, scores, threshold).tolist() == ARRAYS[f"nms_{number}"].tolist()
        assert nms(boxes, scores, threshold, labels=labels).tolist() == ARRAYS[f"classes_{number}"].tolist()


def test_against_torchvision_itself():
    try:
        from torchvision.ops import roi_align as theirs
    except Exception as error:  # beside another torch its import raises RuntimeError
        pytest.skip(
            f"torchvision can not be imported ({type(error).__name__}); its kept answers were compared above"
        )
    features, boxes, images, scale = kept_regions(ARRAYS, 0)
    rows = torch.cat([images[:, None].double(), boxes], dim=1)
    assert torch.allclose(
        roi_align(features, boxes, images, 2, scale=scale), theirs(features, rows, 2, scale, 2, True)
    )


@WAYS
def test_slopes_are_those_of_finite_differences(answer):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 2, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor(
        [[0.3, -1.0, 4.0, 3.2], [2.0, 1.0, 7.5, 4.4], [1.0, 1.0, 2.0, 2.0]], dtype=torch.float64
    )
    images = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(lambda x: answer(x, boxes, images), features)


@FORMS
def test_a_sloping_map_gives_the_places_of_the_centres(form):
    """The value of a cell is a + b (row + 1/2) + c (column + 1/2), so that of a bin is a + b y + c x at its centre."""
    rows, columns = torch.meshgrid(torch.arange(20.0) + 0.5, torch.arange(30.0) + 0.5, indexing="ij")
    slopes = torch.stack([2 + rows, 3 - 2 * columns])[None].double()
    boxes = torch.tensor([[2.2, 3.1, 20.7, 15.4], [5.0, 5.0, 5.5, 5.25]], dtype=torch.float64)
    found = roi_align(slopes, boxes * 4, torch.tensor([0, 0]), (4, 3), scale=0.25, form=form)
    for box, values in zip(boxes.tolist(), found, strict=True):
        y = torch.tensor([box[1] + (i + 0.5) * (box[3] - box[1]) / 4 for i in range(4)], dtype=torch.float64)
        x = torch.tensor([box[0] + (j + 0.5) * (box[2] - box[0]) / 3 for j in range(3)], dtype=torch.float64)
        torch.testing.assert_close(values[0], (2 + y)[:, None].expand(4, 3))
        torch.testing.assert_close(values[1], (3 - 2 * x).expand(4, 3))
    half_a_cell_off = roi_align(
        slopes, boxes * 4, torch.tensor([0, 0]), (4, 3), scale=0.25, aligned=False, form=form
    )
    torch.testing.assert_close(half_a_cell_off[0, 0], found[0, 0] + 0.5)


@WAYS
def test_a_constant_map_gives_the_constant_inside_and_nothing_outside(answer):
    constant = torch.full((2, 1, 8, 8), 7.0)
    boxes = torch.tensor(
        [[1.0, 1.0, 6.0, 5.0], [0.0, 0.0, 8.0, 8.0], [30.0, 30.0, 40.0, 40.0], [-30.0, 1.0, -20.0, 5.0]]
    )
    found = answer(constant, boxes, torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(found[:2], torch.full_like(found[:2], 7.0))
    assert not found[2:].any()


@WAYS
def test_order_images_and_no_boxes(answer):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 2, 9, 9, generator=generator)
    corner = torch.rand(80, 2, generator=generator) * 6
    boxes = torch.cat([corner, corner + 1 + torch.rand(80, 2, generator=generator) * 4], dim=1)
    images = torch.randint(0, 3, (80,), generator=generator)
    found = answer(features, boxes, images)
    for n in (0, 41, 79):
        alone = answer(features[images[n]][None], boxes[n][None], torch.tensor([0]))
        torch.testing.assert_close(found[n], alone[0])
    none = answer(features.requires_grad_(), boxes[:0], images[:0])
    assert none.shape == (0, 2, *SIZE)
    assert torch.autograd.grad(none.sum(), features)[0].shape == features.shape
    assert answer(features[:0], boxes[:0], images[:0]).shape == (0, 2, *SIZE)


def test_a_box_without_area():
    slopes = torch.arange(6.0).expand(1, 1, 6, 6)
    point = torch.tensor([[2.5, 2.5, 2.5, 2.5]])
    images = torch.tensor([0])
    assert roi_align(slopes, point, images, 2).unique().tolist() == [2.0]
    assert roi_align(slopes, point, images, 2, ratio=None).unique().tolist() == [0.0]
    assert roi_pool(slopes, point, images, 1).tolist() == [[[[3.0]]]]


@WAYS
def test_half_precision_keeps_the_places(answer):
    """Edges near 300 cells would be off by half a cell in bfloat16."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(1, 2, 4, 16, generator=generator).bfloat16()
    wide = F.pad(features, (300, 0))
    boxes = torch.tensor([[302.3, 0.7, 309.1, 3.1]])
    found = answer(wide, boxes, torch.tensor([0]))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), answer(wide.float(), boxes, torch.tensor([0])), atol=0.03, rtol=0.02
    )


def test_which_form_is_taken(monkeypatch):
    taken = []
    by_grid, by_products = regions._by_grid, regions._by_products
    monkeypatch.setattr(regions, "_by_grid", lambda *a: (taken.append("grid"), by_grid(*a))[1])
    monkeypatch.setattr(regions, "_by_products", lambda *a: (taken.append("separable"), by_products(*a))[1])
    box, images = torch.tensor([[1.0, 1.0, 9.0, 9.0]]), torch.tensor([0])
    small, large = torch.randn(1, 1, 100, 100), torch.randn(1, 1, 100, 101)
    answers = [roi_align(x, box, images, 2) for x in (small, large)]
    assert taken == ["separable", "grid"]
    roi_align(large, box, images, 2, ratio=None)
    torch.use_deterministic_algorithms(True)
    try:
        exact = roi_align(large, box, images, 2)
    finally:
        torch.use_deterministic_algorithms(False)
    assert taken == ["separable", "grid", "separable", "separable"]
    torch.testing.assert_close(exact, answers[1])


def test_layers_are_their_functions():
    features, boxes = torch.randn(1, 2, 8, 8), torch.tensor([[4.0, 4.0, 14.0, 12.0]])
    images = torch.tensor([0])
    align, pool = RoIAlign((3, 2), scale=0.5, ratio=3, aligned=False), RoIPool(2, scale=0.5)
    expected = roi_align(features, boxes, images, (3, 2), scale=0.5, ratio=3, aligned=False)
    assert torch.equal(align(features, boxes, images), expected)
    assert torch.equal(pool(features, boxes, images), roi_pool(features, boxes, images, 2, scale=0.5))
    assert repr(align) == "RoIAlign((3, 2), scale=0.5, ratio=3, aligned=False)"
    assert repr(pool) == "RoIPool((2, 2), scale=0.5)"


MAP, BOX, FIRST = torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([0])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: roi_align(MAP[0], BOX, FIRST, 2), r"features are \[1, 4, 4\] .*; expected \[N, C, H, W\]"),
        (lambda: roi_align(MAP.long(), BOX, FIRST, 2), "torch.int64; expected .* floating"),
        (lambda: roi_pool(MAP, BOX[0], FIRST, 2), r"boxes are \[4\]"),
        (lambda: roi_pool(MAP, BOX.long(), FIRST, 2), "boxes are .* floating"),
        (
            lambda: roi_align(MAP, BOX, torch.tensor([0, 0]), 2),
            r"images are \[2\] .*; expected .* \[1\] of int64",
        ),
        (lambda: roi_align(MAP, BOX, FIRST.float(), 2), "images are .*float32"),
        (lambda: roi_align(MAP, BOX, FIRST + 1, 2), "numbered 1 to 1; expected 0 to 0"),
        (lambda: roi_pool(MAP, BOX * torch.nan, FIRST, 2), "boxes have NaN"),
        (lambda: roi_align(MAP, BOX, FIRST, 0), "size is 0"),
        (lambda: roi_align(MAP, BOX, FIRST, 2, ratio=0), "ratio is 0; expected .* or None"),
        (lambda: roi_align(MAP, BOX, FIRST, 2, ratio=None, form="grid"), "a number as ratio for the grid"),
        (lambda: roi_align(MAP, BOX, FIRST, 2, form="fast"), "form is 'fast'"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(ValueError, match=said):
        call()
