"""What is asked of a detector without anchors, against loops over places and objects."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.data.boxes import packed
from hubel.objectives import AnchorFreeDetection, detection

SIZE, STRIDE, K = 48, 8, 3


def squares():
    steps = torch.arange(0, SIZE, STRIDE, dtype=torch.float64)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    corner = torch.stack([x, y], -1).reshape(-1, 2)
    return torch.cat([corner, corner + STRIDE], 1)


def candidates(num=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    places = squares()
    centre = (places[:, :2] + places[:, 2:]) / 2
    far = 2 + 14 * torch.rand(num, len(places), 4, generator=generator, dtype=torch.float64)
    boxes = torch.cat([centre - far[..., :2], centre + far[..., 2:]], -1)
    scores = torch.randn(num, len(places), K, generator=generator, dtype=torch.float64)
    return torch.cat([places.expand(num, -1, -1), boxes, scores], 2)


def objects():
    first = [[3, 4, 30, 28, 0, 0], [10, 12, 40, 44, 2, 0], [33, 1, 47, 14, 1, 1]]
    second = [[17.5, 17.5, 18.5, 18.5, 1, 0]]  # no place lies inside
    return torch.from_numpy(packed([np.array(first), np.array(second)])).double()


def overlap(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def generalized(a, b):
    width, height = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    shared = overlap(a, b)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    union = sum(areas) / (1 + shared)
    return shared - (width * height - union) / (width * height)


def by_loops(found, rows, k=4, alpha=1.0, beta=6.0):
    """Scores wanted [R, K], the object of each place (or -1) and whether it counts, of one picture."""
    found, rows = found.tolist(), [row for row in rows.tolist() if row[4] >= 0]
    inside = {}
    for m, row in enumerate(rows):
        centres = [((f[0] + f[2]) / 2, (f[1] + f[3]) / 2) for f in found]
        inside[m] = [r for r, (x, y) in enumerate(centres) if row[0] < x < row[2] and row[1] < y < row[3]]
        if not inside[m] and row[5] == 0:
            middle = ((row[0] + row[2]) / 2, (row[1] + row[3]) / 2)
            inside[m] = [min(range(len(found)), key=lambda r: math.dist(centres[r], middle))]
    wants = {}
    for m, row in enumerate(rows):
        if row[5] == 1:
            continue
        aligned = {
            r: (1 / (1 + math.exp(-found[r][8 + int(row[4])]))) ** alpha * overlap(found[r][4:8], row) ** beta
            for r in inside[m]
        }
        wants[m] = dict(sorted(aligned.items(), key=lambda item: -item[1])[:k])
    owner = {}
    for r in range(len(found)):
        those = [m for m in wants if r in wants[m]]
        if those:
            owner[r] = max(those, key=lambda m: overlap(found[r][4:8], rows[m]))
    wanted = np.zeros((len(found), K))
    for m, aligned in wants.items():
        mine = {r: t for r, t in aligned.items() if owner[r] == m}
        if mine:
            best = max(overlap(found[r][4:8], rows[m]) for r in mine)
            for r, t in mine.items():
                wanted[r, int(rows[m][4])] = t / max(mine.values()) * best
    ignored = {r for m, row in enumerate(rows) if row[5] == 1 for r in inside[m]} - set(owner)
    return wanted, owner, ignored, rows


def test_places_are_assigned_as_by_loops():
    objective = AnchorFreeDetection(K, places=4)
    found, true = candidates(), objects()
    wanted, owner, counts = objective.assigned(found, true)
    for picture in range(2):
        expected, owners, ignored, _ = by_loops(found[picture], true[picture])
        torch.testing.assert_close(wanted[picture], torch.from_numpy(expected), rtol=1e-5, atol=1e-7)
        assert {r: int(m) for r, m in enumerate(owner[picture]) if m >= 0} == owners
        assert {r for r, c in enumerate(counts[picture]) if c == 0} == ignored
    assert len(ignored) == 0
    assert (counts[0] == 0).any()


@pytest.mark.parametrize("piece", [1, 100, 2**22])
def test_crowds_are_assigned_as_by_loops_in_pieces_of_any_size(piece, monkeypatch):
    monkeypatch.setattr(detection, "PIECE", piece)
    generator = np.random.default_rng(3)
    rows = []
    for number in (25, 0, 3):
        corner, side = generator.uniform(0, 40, (number, 2)), generator.uniform(0.5, 25, (number, 2))
        kind = generator.integers(0, [K, 2], (number, 2))
        kind[:, 1] *= generator.random(number) < 0.3
        rows.append(np.concatenate([corner, corner + side, kind], 1))
    found, true = candidates(3, seed=1), torch.from_numpy(packed(rows)).double()
    wanted, owner, counts = AnchorFreeDetection(K, places=4).assigned(found, true)
    for picture in range(3):
        expected, owners, ignored, _ = by_loops(found[picture], true[picture])
        torch.testing.assert_close(wanted[picture], torch.from_numpy(expected), rtol=1e-5, atol=1e-4)
        assert {r: int(m) for r, m in enumerate(owner[picture]) if m >= 0} == owners
        assert {r for r, c in enumerate(counts[picture]) if c == 0} == ignored
    assert len(by_loops(found[0], true[0])[1]) > 20 and by_loops(found[0], true[0])[2]


def test_no_table_of_all_places_and_all_rows_is_made(monkeypatch):
    """One crowded picture among others, as mosaics make them: most rows hold no object."""
    monkeypatch.setattr(detection, "PIECE", 2000)

    class Largest(TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(one, torch.Tensor) and one._is_view() is False:
                    self.numel = max(self.numel, one.numel())
            return out

    found, true = candidates(4), torch.zeros(4, 400, 6, dtype=torch.float64)
    true[..., 4] = -1
    true[:, :2, :] = torch.tensor([[3.0, 4, 30, 28, 0, 0], [10, 12, 40, 44, 2, 0]])
    true[0, :, :] = true[0, 0]
    with Largest() as seen:
        AnchorFreeDetection(K).losses(found, true)
    assert seen.numel <= max(2000, 4 * 400 * 6), "4 × 400 × 36 places"


def test_the_loss_is_that_of_loops():
    objective = AnchorFreeDetection(K, places=4, box_weight=3.0)
    found, true = candidates(), objects()
    classes = boxes = total = 0.0
    for picture in range(2):
        wanted, owner, ignored, rows = by_loops(found[picture], true[picture])
        for r, row in enumerate(found[picture].tolist()):
            if r in ignored:
                continue
            for k in range(K):
                p = 1 / (1 + math.exp(-row[8 + k]))
                classes -= wanted[r, k] * math.log(p) + (1 - wanted[r, k]) * math.log(1 - p)
            if r in owner:
                boxes += wanted[r].max() * (1 - generalized(row[4:8], rows[owner[r]]))
            total += wanted[r].sum()
    parts = objective.losses(found, true)
    assert parts["class"].item() == pytest.approx(classes / max(total, 1), rel=1e-5)
    assert parts["box"].item() == pytest.approx(3 * boxes / max(total, 1), rel=1e-5)


def test_gradients():
    """With the assignment held, which has no gradient."""
    objective = AnchorFreeDetection(K, places=3)
    found, true = candidates(1), objects()[:1]
    held = objective.assigned(found, true)
    object.__setattr__(objective, "assigned", lambda *_: held)
    learned = found[:, :, 4:].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: sum(objective.losses(torch.cat([found[:, :, :4], z], 2), true).values()), learned
    )


def test_found_exactly_costs_little_and_missed_costs_much():
    objective = AnchorFreeDetection(1)
    true = torch.tensor([[[8.0, 8, 24, 24, 0, 0]]])
    place = torch.tensor([12.0, 12, 20, 20])
    sure = torch.cat([place, true[0, 0, :4], torch.tensor([12.0])]).view(1, 1, -1)
    unsure = torch.cat([place, true[0, 0, :4], torch.tensor([-12.0])]).view(1, 1, -1)
    cost = [sum(objective.losses(found, true).values()).item() for found in (sure, unsure)]
    assert cost[0] < 1e-4
    assert cost[1] > 10


def test_pictures_without_objects():
    objective = AnchorFreeDetection(K)
    found = candidates(1).float()
    none = torch.from_numpy(packed([np.zeros((0, 6))]))
    padded = torch.tensor([[[0.0, 0, 0, 0, -1, 0]] * 3])
    for true in (none, padded):
        parts = objective.losses(found, true)
        expected = torch.nn.functional.softplus(found[:, :, 8:]).sum()
        torch.testing.assert_close(parts["class"], expected)
        assert parts["box"] == 0


def test_weights_of_pictures():
    objective = AnchorFreeDetection(K)
    found, true = candidates(), objects()
    both = objective.losses(found, true, torch.tensor([1.0, 0.0]))
    first = objective.losses(found[:1], true[:1])
    assert both["class"].item() == pytest.approx(first["class"].item())
    assert both["box"].item() == pytest.approx(first["box"].item())


def test_the_reading_is_one_box_an_object():
    objective = AnchorFreeDetection(2, classes=("a", "b"), overlap=0.5)
    rows = [  # box, raw scores
        ([0, 0, 10, 10], [3.0, -9]),
        ([1, 0, 11, 10], [2.0, -9]),  # the same object
        ([1, 0, 11, 10], [-9, 1.0]),  # of another class
        ([30, 30, 40, 40], [-9.0, -9]),  # nothing
    ]
    found = torch.tensor([[[0, 0, 8, 8, *box, *scores] for box, scores in rows]], dtype=torch.float32)
    said = objective.read(torch.cat([found, found - 100]))  # nothing is found on the second picture
    assert said.values.shape == (2, 2, 6)
    assert said.values[0, :, 4].tolist() == [0, 1]
    np.testing.assert_allclose(said.values[0, 0], [0, 0, 10, 10, 0, 1 / (1 + math.exp(-3))], rtol=1e-6)
    assert (said.values[1, :, 4] == -1).all()


def test_at_most_so_many():
    objective = AnchorFreeDetection(1, most=5)
    box = torch.arange(40.0).view(1, 40, 1) * 20
    found = torch.cat(
        [box * 0, box * 0, box * 0 + 8, box * 0 + 8, box, box * 0, box + 10, box * 0 + 10, box / 800], 2
    )
    said = objective.read(found).values[0]
    assert said.shape == (5, 6)
    assert (np.diff(said[:, 5]) <= 0).all()
    assert said[0, 0] == 39 * 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"num_outputs": 0}, "expected at least one"),
        ({"num_outputs": 2, "classes": ("a",)}, "1 class names for 2 outputs"),
        ({"num_outputs": 1, "threshold": 2.0}, "threshold is 2.0"),
        ({"num_outputs": 1, "overlap": 0.0}, "overlap 0.0"),
        ({"num_outputs": 1, "places": 0}, "places is 0"),
        ({"num_outputs": 1, "beta": -1.0}, "beta is -1.0"),
    ],
)
def test_wrong_values_are_refused(given, said):
    with pytest.raises(ContractError, match=said):
        AnchorFreeDetection(**given)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (torch.zeros(2, dtype=torch.long), "objects were asked for"),
        (torch.zeros(2, 1, 4), r"expected boxes \[N, M, 6\]"),
        (torch.tensor([[[0.0, 0, 1, 1, 5, 0]]]), "class numbers of objects run from 5 to 5"),
    ],
)
def test_other_targets_are_refused(targets, said):
    with pytest.raises(ContractError, match=said):
        AnchorFreeDetection(2).check_targets(targets)


def test_a_step_of_a_batch_is_the_mean_of_its_losses():
    found, true = candidates(), objects()
    objective = AnchorFreeDetection(K)
    loss = objective(torch.nn.Identity(), Batch(inputs=found, targets=true))
    parts = objective.losses(found, true)
    torch.testing.assert_close(loss.total, parts["class"] + parts["box"])
    assert set(loss.parts) == {"class", "box"}


def test_a_place_that_two_objects_want_finds_the_one_that_it_overlaps_more():
    objective = AnchorFreeDetection(2)
    true = torch.tensor([[[0.0, 0, 20, 20, 0, 0], [0, 0, 20, 18, 1, 0]]])
    box = [0.0, 0, 20, 19.2]  # 0.96 of the first, 0.9375 of the second, which it is much surer of
    found = torch.tensor([[[8.0, 8, 16, 16, *box, -4.0, 4.0]]])
    wanted, owner, _ = objective.assigned(found, true)
    assert owner.tolist() == [[0]]
    assert wanted[0, 0].tolist() == pytest.approx([0.96, 0.0])
