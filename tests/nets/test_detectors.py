"""What every detector of hubel promises: all of `hubel.nets.OF_OBJECTS`."""

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.core import names
from hubel.nets.backbones import ClassifierBody
from hubel.nets.detector_parts import Body, Pyramid, cells
from hubel.nets.made import Net, is_as_made

SHAPE = (2, 68, 76)
VARIANTS = {"anchor_free": [{"width": 16}, {"width": 16, "strides": (4, 8, 16), "depth": 2}]}
CASES = [(name, variant) for name in nets.OF_OBJECTS for variant in VARIANTS.get(name, [{}])]
every_detector = pytest.mark.parametrize(
    ("name", "variant"), CASES, ids=[f"{n}{list(v)[1:] or ''}" for n, v in CASES]
)


def make(name, variant, *, inputs=SHAPE, outputs=5, seed=0):
    torch.manual_seed(seed)
    return getattr(nets, name)(**variant, inputs=inputs, outputs=outputs)


def pictures(count=2, shape=SHAPE, seed=1):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@every_detector
def test_candidates(name, variant):
    net = make(name, variant).eval()
    assert isinstance(net, Net)
    with torch.no_grad():
        found, features = net(pictures()), net.features(pictures())
    assert found.dtype == torch.float32
    assert found.shape[0] == 2
    assert found.shape[2] >= 8 + 5
    assert torch.isfinite(found).all()
    assert (found[:, :, 2:4] >= found[:, :, :2]).all()
    assert (found[:, :, 6:8] >= found[:, :, 4:6]).all()
    assert features.ndim == 2
    assert len(features) == 2


@every_detector
def test_examples_do_not_see_each_other_in_eval(name, variant):
    net = make(name, variant).eval()
    batch = pictures(3)
    with torch.no_grad():
        together, alone = net(batch), torch.cat([net(batch[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@every_detector
def test_it_can_be_made_again(name, variant):
    net = make(name, variant)
    again = names.rebuild_net(net.made_by.name, dict(net.made_by.arguments))
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net.eval()(pictures()), again.eval()(pictures()))
    assert is_as_made(net)


@every_detector
def test_other_sizes_of_pictures_are_accepted(name, variant):
    net = make(name, variant).eval()
    with torch.no_grad():
        found = net(pictures(1, (2, 96, 64)))
    assert found[..., [2, 6]].max() > 64 * 0.5
    with pytest.raises(ValueError, match=r"expects images \[N, 2, "):
        net(pictures(1, (3, 96, 64)))


@every_detector
def test_wrong_sizes_are_refused(name, variant):
    with pytest.raises(ValueError, match="outputs must be a positive whole number; received 0"):
        make(name, variant, outputs=0)
    with pytest.raises(ValueError, match=r"images must be at least \d+×\d+ pixels; received 2×2"):
        make(name, variant, inputs=(1, 2, 2))


@pytest.mark.parametrize("variant", VARIANTS["anchor_free"])  # of the others not what is answered is trained
def test_backward_reaches_every_parameter(variant):
    net = make("anchor_free", variant)
    found = net(pictures(4))
    F.mse_loss(found, torch.ones_like(found)).backward()
    for where, parameter in net.named_parameters():
        assert parameter.grad is not None, where
        assert parameter.grad.abs().max() > 0, where


def test_places_tile_the_picture():
    net = make("anchor_free", {"strides": (8, 16)}, inputs=(1, 64, 96)).eval()
    with torch.no_grad():
        squares = net(pictures(1, (1, 64, 96)))[0, :, :4]
    fine = squares[squares[:, 2] - squares[:, 0] == 8]
    covered = torch.zeros(64, 96)
    for x0, y0, x1, y1 in fine.long().tolist():
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
    assert len(squares) - len(fine) == 4 * 6


def test_the_centre_of_a_place_is_where_its_box_is_counted_from():
    net = make("anchor_free", {}, inputs=(1, 64, 64)).eval()
    with torch.no_grad():
        for tower in (net.sides,):
            tower.last.weight.zero_()
            tower.last.bias.fill_(0.0)
        found = net(pictures(1, (1, 64, 64)))[0]
    centre = (found[:, :2] + found[:, 2:4]) / 2
    far = (found[:, 2:3] - found[:, :1]) * torch.log(torch.tensor(2.0))  # stride · softplus(0)
    torch.testing.assert_close(found[:, 4:6], centre - far)
    torch.testing.assert_close(found[:, 6:8], centre + far)


def test_scores_begin_low():
    net = make("anchor_free", {}).eval()
    with torch.no_grad():
        scores = net(pictures())[:, :, 8:].sigmoid()
    assert 0.003 < scores.mean() < 0.03


def test_a_classifier_as_backbone_keeps_its_weights():
    torch.manual_seed(0)
    classifier = nets.resnet(18, inputs=(3, 64, 64), outputs=7)
    net = nets.anchor_free(
        strides=(8, 16), channels=16, backbone=classifier, inputs=(3, 64, 64), outputs=2
    ).eval()
    state = net.state_dict()
    assert all(
        torch.equal(value, state[f"body.net.{name}"]) for name, value in classifier.state_dict().items()
    )
    again = names.rebuild_net(net.made_by.name, dict(net.made_by.arguments))
    again.load_state_dict(state)
    x = pictures(1, (3, 64, 64))
    with torch.no_grad():
        assert torch.equal(again.eval()(x), net(x))
        maps = classifier.eval()
        from hubel.core.capture import captured

        with captured(maps, lambda name, module: name in net.body.layers) as calls:
            maps(x)
        assert all(torch.equal(a, b[3]) for a, b in zip(net.body(x), calls, strict=True))


@pytest.mark.parametrize("name", ["compact", "resnet", "mobilenet_v2", "efficientnet_lite0", "vgg"])
def test_what_a_backbone_does_in_place_while_it_learns_changes_no_map(name):
    torch.manual_seed(0)
    chosen = {"resnet": {"depth": 18}, "vgg": {"depth": 11, "hidden": 16, "batch_norm": True}}.get(name, {})
    classifier = getattr(nets, name)(inputs=(3, 64, 64), outputs=2, **chosen)
    body = ClassifierBody(classifier, (3, 64, 64), (4, 8))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = [found.clone() for found in body.eval()(x)]
        body.train()
        for module in body.modules():  # all that differs between training and evaluation on purpose
            if "Norm" in type(module).__name__ or "Drop" in type(module).__name__:
                module.eval()
        found = body(x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_backbone_without_such_maps_is_refused():
    with pytest.raises(ValueError, match=r"Compact has no map of 2×2 for pictures of 64×64 \(stride 32\)"):
        nets.anchor_free(strides=(32,), backbone=nets.compact(16, inputs=(1, 64, 64)), inputs=(1, 64, 64))


@pytest.mark.parametrize("strides", [(), (3,), (8, 4), (8, 8), (1,)])
def test_strides_are_rising_powers_of_two(strides):
    with pytest.raises(ValueError, match="expected powers of two"):
        nets.anchor_free(strides=strides, inputs=(1, 64, 64))


def test_the_pyramid_tells_the_finer_map_what_the_coarser_sees():
    torch.manual_seed(0)
    pyramid = Pyramid((4, 8), 6).eval()
    fine, coarse = torch.randn(1, 4, 6, 6), torch.randn(1, 8, 3, 3)
    changed = coarse.clone()
    changed[:, :, 2, 2] += 5
    with torch.no_grad():
        before, after = pyramid([fine, coarse]), pyramid([fine, changed])
    differs = (before[0] != after[0]).any(1)[0]
    assert differs[4:, 4:].any()
    assert not differs[:3, :3].any()  # one 3×3 convolution beyond the 2×2 pixels below (2, 2)


def test_the_body_halves_by_rounding_up():
    body = Body(3, 16, (2, 4, 8))
    with torch.no_grad():
        shapes = [tuple(found.shape[1:]) for found in body(torch.zeros(1, 3, 21, 33))]
    assert shapes == [(8, 11, 17), (16, 6, 9), (32, 3, 5)]
    assert cells(3, 5, 8, torch.zeros(1)).shape == (15, 4)


def test_a_classifier_body_is_left_in_its_mode():
    net = nets.resnet(18, inputs=(3, 64, 64), outputs=2).train()
    ClassifierBody(net, (3, 64, 64), (8,))
    assert all(module.training for module in net.modules())
