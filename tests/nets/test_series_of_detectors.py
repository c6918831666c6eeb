"""Detectors: candidates [N, R, 8 + K]. What `test_contract.py` holds of the others, as far as it is asked of these."""

import copy
import io
import json

import pytest
import torch

from hubel import nets, objectives
from hubel.core import names
from hubel.core.boxes import clip, decode, iou
from hubel.core.types import Batch
from hubel.nets.faster_rcnn import FasterRCNN

SHAPE, K = (2, 64, 80), 3
CASES = {
    "yolo": (lambda **given: nets.yolo(8, grid=4, **given), objectives.YOLODetection),
    "yolo with two layers": (
        lambda **given: nets.yolo(8, grid=3, hidden=16, **given),
        objectives.YOLODetection,
    ),
    "yolo v3": (lambda **given: nets.yolo_v3(8, **given), objectives.YOLOv3Detection),
    "yolo v3 with attention": (
        lambda **given: nets.yolo_v3(8, strides=(8, 16), attention=True, **given),
        objectives.YOLOv3Detection,
    ),
    "faster r-cnn": (
        lambda **given: nets.faster_rcnn(8, hidden=32, proposals=20, **given),
        objectives.FasterRCNNDetection,
    ),
}
every_detector = pytest.mark.parametrize(("make", "question"), CASES.values(), ids=CASES)


def made(make, inputs=SHAPE, outputs=K, seed=0):
    torch.manual_seed(seed)
    return make(inputs=inputs, outputs=outputs)


def pictures(count=2, shape=SHAPE, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def squares(count=8, seed=0):
    """Dark pictures with one or two bright squares, a class a brightness: a batch."""
    draw = torch.Generator().manual_seed(seed)
    inputs = 0.1 * torch.randn(count, *SHAPE, generator=draw)
    targets = torch.zeros(count, 2, 6)
    targets[:, :, 4] = -1
    for picture in range(count):
        for which in range(1 + picture % 2):
            side = int(torch.randint(12, 24, (), generator=draw))
            x = int(torch.randint(0, 40 - side, (), generator=draw)) + 40 * which
            y = int(torch.randint(0, 64 - side, (), generator=draw))
            number = int(torch.randint(K, (), generator=draw))
            inputs[picture, :, y : y + side, x : x + side] += number - 1.5
            targets[picture, which] = torch.tensor([x, y, x + side, y + side, number, 0])
    return Batch(inputs=inputs, targets=targets)


@every_detector
@pytest.mark.parametrize("num", [1, K])
def test_candidates_are_places_boxes_and_scores(make, question, num):
    net = made(make, outputs=num).eval()
    with torch.no_grad():
        found, features = net(pictures()), net.features(pictures())
    assert found.dtype == torch.float32
    assert found.shape[::2] == (2, 8 + num) and found.shape[1] > 1
    assert torch.isfinite(found).all()
    assert (found[..., 2:4] >= found[..., :2]).all() and (found[..., 6:8] >= found[..., 4:6]).all()
    assert features.ndim == 2 and len(features) == 2
    shape = question(num).scores_shape(Batch(inputs=pictures(), targets=torch.zeros(2, 1, 6)))
    assert shape[::2] == found.shape[::2]


@every_detector
def test_a_batch_is_learnt_by_every_parameter(make, question):
    net, objective, batch = made(make), question(K), squares()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    first = None
    for _ in range(25):
        loss = objective(net, batch)
        optimizer.zero_grad()
        loss.total.backward()
        if first is None:
            first = loss.total.item()
            assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
        optimizer.step()
    torch.testing.assert_close(torch.stack(list(loss.parts.values())).sum(), loss.total.detach())
    assert loss.total.item() < 0.5 * first


@every_detector
def test_examples_do_not_see_each_other_in_eval(make, question):
    net = made(make).eval()
    with torch.no_grad():
        together, alone = net(pictures(3)), torch.cat([net(x[None]) for x in pictures(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


@every_detector
def test_made_by_and_saved_weights_make_the_same_net(make, question):
    net = made(make)
    net(pictures())
    stored = json.loads(json.dumps({"name": net.made_by.name, "arguments": net.made_by.arguments}))
    torch.manual_seed(9)
    again = names.find(stored["name"])(**stored["arguments"])
    assert again.made_by == net.made_by and repr(again) == repr(net)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    kept = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net.eval()(pictures()), again.eval()(pictures()))
    assert all(torch.equal(kept[key], value) for key, value in net.state_dict().items())


@every_detector
def test_bfloat16_is_close_to_float32(make, question):
    net = made(make)
    ask = net
    if isinstance(
        net, FasterRCNN
    ):  # which of nearly equal proposals are the surest may depend on the rounding
        given = torch.tensor([[8.0, 8, 24, 30], [20, 10, 70, 60]]).repeat(2, 1, 1)
        ask = lambda x: net.candidates(given, *net.judge(net.maps(x), given), SHAPE[1:])  # noqa: E731
    with torch.no_grad():
        net(pictures(8)), net.eval()
        expected = ask(pictures())
        with torch.autocast("cpu", torch.bfloat16):
            received = ask(pictures())
    assert received.dtype == torch.float32
    torch.testing.assert_close(received, expected, rtol=0.05, atol=1.0)


@every_detector
def test_wrong_pictures_and_sizes_are_refused_by_name(make, question):
    net = made(make).eval()
    for wrong in (torch.zeros(2, 3, 64, 80), torch.zeros(2, 2, 4, 4), torch.zeros(2, 64, 80)):
        with pytest.raises(ValueError, match=rf"{net.made_by.name[11:]} expects .*; received \[2, "):
            net(wrong)
    with pytest.raises(ValueError, match="outputs must be a positive whole number; received 0"):
        make(inputs=SHAPE, outputs=0)
    with pytest.raises(ValueError, match=r"images must be at least \d+×\d+ pixels; received 2×2"):
        make(inputs=(1, 2, 2), outputs=3)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("yolo", {"grid": 16}), ("yolo_v3", {"strides": (2, 4)}), ("faster_rcnn", {"strides": (2, 4)})],
)
def test_a_fitted_classifier_is_the_body(name, chosen):
    torch.manual_seed(0)
    classifier = nets.resnet(20, inputs=(2, 64, 64), outputs=5)
    net = getattr(nets, name)(backbone=classifier, **chosen, inputs=(2, 64, 64), outputs=K)
    weights = {key: value for key, value in net.state_dict().items() if key.startswith("body.net.")}
    assert weights.keys() == {f"body.net.{key}" for key in classifier.state_dict()}
    again = names.find(net.made_by.name)(**json.loads(json.dumps(net.made_by.arguments)))
    assert again.state_dict().keys() == net.state_dict().keys()


def test_one_pass_of_yolo_stays_in_its_cell_and_its_scores_are_shares():
    net = made(CASES["yolo"][0]).eval()
    with torch.no_grad():
        found = net(pictures())
    cells, boxes, scores = found[..., :4], found[..., 4:8], found[..., 8:].sigmoid()
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    assert (centre >= cells[..., :2]).all() and (centre <= cells[..., 2:]).all()
    expected = torch.tensor(
        [[x * 20.0, y * 16.0, x * 20.0 + 20, y * 16.0 + 16] for y in range(4) for x in range(4)]
    )
    assert torch.equal(cells[0, ::2], expected) and torch.equal(cells[0, 1::2], expected)
    assert (scores.sum(-1) <= 1 + 1e-6).all()
    shared = scores / scores.sum(
        -1, keepdim=True
    )  # both boxes of a cell have the class probabilities of the cell
    torch.testing.assert_close(shared[:, ::2], shared[:, 1::2])


def test_sizes_of_yolo_are_squares_of_what_is_answered():
    """Of zeros, whose sigmoid is a half, a quarter of the picture; and B boxes of a cell have numbers of their own."""
    net = made(CASES["yolo"][0]).eval()
    with torch.no_grad():
        net.head.last.weight.zero_()
        net.head.last.bias.zero_()
        net.head.last.bias[5 + 2] = 1.0  # √w of the second box
        boxes = net(pictures(1))[0, :, 4:8]
    sides = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(sides[::2], torch.tensor([80.0, 64.0]).div(4).expand(16, 2))
    wide = 80 * torch.tensor(1.0).sigmoid().item() ** 2
    torch.testing.assert_close(sides[1::2], torch.tensor([wide, 16.0]).expand(16, 2))


def test_other_sizes_of_pictures_are_accepted_where_nothing_has_a_fixed_size():
    with torch.no_grad():
        assert made(CASES["yolo"][0]).eval()(torch.zeros(1, 2, 96, 70)).shape == (1, 32, 11)
        assert made(CASES["yolo v3"][0]).eval()(torch.zeros(1, 2, 96, 70)).shape == (
            1,
            3 * (12 * 9 + 6 * 5 + 3 * 3),
            11,
        )
        with pytest.raises(ValueError, match="yolo expects"):
            made(CASES["yolo with two layers"][0]).eval()(torch.zeros(1, 2, 96, 70))


def test_anchors_stand_about_their_places_and_are_stretched_from_there():
    sizes = [(30.0, 20.0), (8.0, 8.0), (16.0, 12.0), (50.0, 60.0)]
    net = nets.yolo_v3(8, anchors=sizes, strides=(8, 16), inputs=SHAPE, outputs=K).eval()
    for head in net.heads:
        torch.nn.init.zeros_(head.last.weight)
    with torch.no_grad():
        found = net(pictures(1))[0]
    anchors, boxes = found[:, :4], found[:, 4:8]
    torch.testing.assert_close(anchors, boxes)
    widths, heights = (anchors[:, 2:] - anchors[:, :2]).T
    assert list(zip(widths[:2].tolist(), heights[:2].tolist(), strict=True)) == [(8.0, 8.0), (16.0, 12.0)]
    assert list(zip(widths[-2:].tolist(), heights[-2:].tolist(), strict=True)) == [(30.0, 20.0), (50.0, 60.0)]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centres[[0, 1, 2, 2 * 8 * 10]].tolist() == [[4, 4], [4, 4], [12, 4], [8, 8]]


def test_anchors_that_can_not_be_dealt_out_are_refused():
    with pytest.raises(ValueError, match="as many for each of the 3 strides"):
        nets.yolo_v3(anchors=[(8, 8), (9, 9)], inputs=SHAPE, outputs=1)
    with pytest.raises(ValueError, match="above 0"):
        nets.yolo_v3(anchors=[(8, 8), (9, 0)], strides=(8, 16), inputs=SHAPE, outputs=1)


def test_with_attention_every_place_sees_all():
    """The finest place at one corner depends on the pixel at the other corner with attention only."""

    def reach(attention):
        torch.manual_seed(0)
        net = nets.yolo_v3(8, strides=(4, 8), attention=attention, inputs=(1, 256, 256), outputs=1).eval()
        x = torch.randn(1, 1, 256, 256).requires_grad_()
        net(x)[0, 0, 8].backward()
        return x.grad[0, 0, -8:, -8:].abs().max().item()

    assert reach(True) > 0
    assert reach(False) == 0


def test_proposals_differ_lie_in_the_picture_and_are_the_surest():
    net = made(CASES["faster r-cnn"][0]).eval()
    for layer in (net.proposer.last,):
        torch.nn.init.normal_(layer.weight, std=0.3)
    with torch.no_grad():
        found = net.anchored(net.maps(pictures()))
        boxes = net.propose(found, SHAPE[1:])
    assert boxes.shape == (2, 20, 4)
    for rows, scores, offsets in zip(boxes, found.scores, found.offsets, strict=True):
        every = clip(decode(offsets, found.boxes), SHAPE[1:])
        kept = []  # the greedy loop
        for k in scores.argsort(descending=True)[:80].tolist():
            if all(iou(every[k], every[other]) <= 0.7 for other in kept):
                kept.append(k)
        expected = every[kept[:20]]
        torch.testing.assert_close(rows[: len(expected)], expected)
        assert (rows[len(expected) :] == 0).all()


def test_rows_without_a_proposal_are_never_detections():
    net = made(CASES["faster r-cnn"][0]).eval()
    proposals = torch.tensor([[[8.0, 8, 24, 24], [0, 0, 0, 0]]])
    with torch.no_grad():
        classes, offsets = torch.zeros(1, 2, K + 1), torch.zeros(1, 2, K, 4)
        classes[0, :, 1] = 3.0
        offsets[0, 0, 1] = torch.tensor(
            [10.0, 0, 0, 0]
        )  # by its whole width, as the likeliest class wants it
        found = net.candidates(proposals, classes, offsets, SHAPE[1:])
    assert found[0, 0, 4:8].tolist() == [24, 8, 40, 24]
    torch.testing.assert_close(found[0, 0, 8:].sigmoid(), classes[0, 0].softmax(0)[:K])
    assert found[0, 1, :8].tolist() == [0] * 8
    read = objectives.FasterRCNNDetection(K).read(found).values[0]
    assert (read[:, 4] == 1).sum() == 1 and set(read[:, 4].tolist()) <= {0, 1, 2}
    assert (read[:, :4].sum(1) > 0).all()


def test_regions_of_a_linear_picture_are_its_values_at_the_middles_of_their_parts():
    """RoIAlign is exact where a map is linear; large regions are read from the coarser map."""
    net = made(CASES["faster r-cnn"][0], inputs=(2, 256, 256))
    maps = []
    for stride in net.strides:
        y, x = torch.meshgrid(*[(torch.arange(256 // stride) + 0.5) * stride] * 2, indexing="ij")
        maps.append(torch.stack([x, y, torch.full_like(x, stride)])[None])
    boxes = torch.tensor([[[20.0, 40, 60, 90], [30.5, 33.0, 141, 145], [8.0, 10, 248, 240], [0, 0, 0, 0]]])
    found = net.regions(maps, boxes)
    assert found.shape == (1, 4, 7, 7, 3)
    for box, region, stride in zip(boxes[0, :3], found[0], (8, 8, 16), strict=False):
        middles = (torch.arange(7) + 0.5) / 7
        torch.testing.assert_close(region[..., 0], (box[0] + (box[2] - box[0]) * middles).expand(7, 7))
        torch.testing.assert_close(
            region[..., 1], (box[1] + (box[3] - box[1]) * middles)[:, None].expand(7, 7)
        )
        assert (region[..., 2] == stride).all()
