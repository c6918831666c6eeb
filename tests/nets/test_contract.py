"""What every network of hubel promises. The networks are found by themselves: all of `hubel.nets.__all__`.

A family with a required choice (a depth) lists the ones to test in VARIANTS; any other needs no line here.
"""

import copy
import inspect
import io
import json
import math
import re
import sys

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.core import names
from hubel.layers.dropout import Dropout
from hubel.nets.made import Net

MIRRORED = {
    "net": {"name": "hubel.nets.compact", "arguments": {"width": 16}},
    "symmetries": ["flip_horizontal", "flip_vertical"],
}
VARIANTS = {
    "densenet": [{"depth": 121}],
    "alexnet": [{"hidden": 64}, {"hidden": 64, "grouped": True}],
    "mobilenet_v1": [{"width": 0.5}],
    "nin": [{}, {"batch_norm": True}],
    "resnet": [{"depth": 20}, {"depth": 18}, {"depth": 20, "skips": False}],  # bottlenecks: test_resnet.py
    "self_explaining": [{"kind": kind} for kind in ("class_activation", "attention", "mask")],
    "symmetrized": [MIRRORED],
    "vgg": [{"depth": 11, "hidden": 64}, {"depth": 11, "hidden": 64, "batch_norm": True}],
    "vision_transformer": [{"width": 32, "layers": 2, "heads": 2}],
    "zfnet": [{"hidden": 64}],
}
SHAPE = (2, 34, 38)
LARGER = {  # for architectures that refuse SHAPE
    "alexnet": (2, 63, 67),
    "inception_v3": (2, 75, 79),
    "vision_transformer": (2, 36, 40),
    "zfnet": (2, 47, 51),
}
FIRST_LOSS = 3  # times that of chance, at most
OF_SEQUENCES = (
    "character_lm",
    "recurrent",
    "transformer",
    "series_resnet",
)  # the same promises: test_sequences.py
OF_SEQUENCES += ("forecaster", "image_series")  # test_series_nets.py
OF_PIXELS = ("enet", "unet")  # the same promises: test_dense.py
OF_ANY_SHAPE = ("committee", "mlp", "perceptron")
CASES = [
    (name, variant)
    for name in nets.__all__
    for variant in VARIANTS.get(name, [{}])
    if name
    not in (
        *OF_SEQUENCES,
        *OF_PIXELS,
        *nets.OF_THEMSELVES,
        *nets.OF_OBJECTS,
    )  # test_autoencoders.py, test_detectors.py
]

every_net = pytest.mark.parametrize(
    ("name", "variant"), CASES, ids=[f"{n}{list(v.values()) or ''}" for n, v in CASES]
)


def shape_for(name):
    return LARGER.get(name, SHAPE)


def make(name, variant, *, inputs=None, outputs=5, seed=0):
    torch.manual_seed(seed)
    return getattr(nets, name)(**variant, inputs=inputs or shape_for(name), outputs=outputs)


def images(name, count=4, shape=None, seed=1):
    return torch.randn(count, *(shape or shape_for(name)), generator=torch.Generator().manual_seed(seed))


@every_net
def test_shapes_of_scores_and_features(name, variant):
    net = make(name, variant).eval()
    assert isinstance(net, Net)
    with torch.no_grad():
        scores, features = net(images(name)), net.features(images(name))
    assert scores.shape == (4, 5)
    assert scores.dtype == torch.float32
    assert features.ndim == 2
    assert len(features) == 4
    if name == "committee":  # the last layers of its members: test_committee.py
        return
    last = [module for module in net.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        linear = last(features)
    scale = scores.norm() / linear.norm()  # a fixed factor after the last layer is allowed
    torch.testing.assert_close(scores, linear * scale, rtol=1e-4, atol=1e-5)


@every_net
def test_backward_reaches_every_parameter(name, variant):
    net = make(name, variant)
    F.cross_entropy(net(images(name, 8)), torch.arange(8) % 5).backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@every_net
def test_examples_do_not_see_each_other_in_eval(name, variant):
    net = make(name, variant).eval()
    batch = images(name, 5)
    with torch.no_grad():
        together = net(batch)
        alone = torch.cat([net(batch[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5 * together.abs().max().item())


@every_net
def test_eval_is_deterministic_and_leaves_input_and_buffers_alone(name, variant):
    net = make(name, variant).eval()
    batch = images(name)
    kept, state = batch.clone(), copy.deepcopy(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net(batch), net(batch))
    assert torch.equal(batch, kept)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


@every_net
def test_saved_and_loaded_weights_give_the_same_bits(name, variant):
    net = make(name, variant)
    net(images(name))  # running statistics move
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other = make(name, variant, seed=9)
    other.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(net.eval()(images(name)), other.eval()(images(name)))


@every_net
def test_made_by_survives_json_and_makes_the_same_net(name, variant):
    net = make(name, variant)
    stored = json.loads(json.dumps({"name": net.made_by.name, "arguments": net.made_by.arguments}))
    again = names.find(stored["name"])(**stored["arguments"])
    assert again.made_by == net.made_by
    assert "weights" not in stored["arguments"]
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    again.load_state_dict(net.state_dict())
    assert repr(again) == repr(net)
    assert copy.deepcopy(net).made_by == net.made_by


@every_net
def test_initial_weights_depend_on_the_global_generator_alone(name, variant):
    first, second, third = (make(name, variant, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


@every_net
def test_first_loss_is_near_that_of_chance(name, variant):
    """Scores at the start are small enough that softmax is not yet saturated."""
    net = make(name, variant)
    with torch.no_grad():
        loss = F.cross_entropy(net(images(name, 32)), torch.arange(32) % 5)
    assert 0.5 * math.log(5) < loss < FIRST_LOSS * math.log(5)


@every_net
def test_channels_last_gives_the_same_scores(name, variant):
    net = make(name, variant).eval()
    with torch.no_grad():
        expected = net(images(name))
        net.to(memory_format=torch.channels_last)
        received = net(images(name).to(memory_format=torch.channels_last))
    torch.testing.assert_close(received, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@every_net
def test_bfloat16_is_close_to_float32(name, variant):
    net = make(name, variant)
    batch = images(name, 8)
    with torch.no_grad():
        net(batch), net.eval()  # running statistics of these images, so that sizes are natural
        expected = net(batch)
        with torch.autocast("cpu", torch.bfloat16):
            received = net(batch).float()
    assert torch.isfinite(received).all()
    assert F.cosine_similarity(received.flatten(), expected.flatten(), dim=0) > 0.99


@every_net
def test_gradients_in_bfloat16_are_close_to_float32(name, variant):
    """Finite in all; close where rounding does not add up over more than twenty layers of fresh weights."""

    def gradient(bfloat16):
        net = make(name, variant)
        for module in net.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(net(images(name, 16)), torch.arange(16) % 5)
        loss.backward()
        return torch.cat([p.grad.flatten() for p in net.parameters()])

    received = gradient(True)
    assert torch.isfinite(received).all()
    if len(received) < 300_000 and variant.get("skips", True):
        assert F.cosine_similarity(received, gradient(False), dim=0) > 0.98


@every_net
def test_every_pixel_can_reach_the_scores(name, variant):
    """At one of three neighbouring sizes, since pooling drops the last row of an odd one, and a stride without padding that of an even one."""

    def reached(size):
        net = make(name, variant, inputs=(1, size, size)).eval()
        x = images(name, 16, (1, size, size)).requires_grad_()
        net(x).square().sum().backward()
        return (x.grad.abs().sum(dim=(0, 1)) > 0).all()

    side = min(shape_for(name)[1:])
    assert reached(side) or reached(side + 1) or reached(side + 2)


@every_net
def test_wrong_images_are_refused_by_name(name, variant):
    net = make(name, variant).eval()
    for wrong in (torch.zeros(2, 3, 34, 38), torch.zeros(2, 2, 4, 4), torch.zeros(2, 34, 38)):
        with pytest.raises(
            ValueError,
            match=rf"{'compact' if name == 'symmetrized' else name}.* expects .*; received \[{wrong.shape[0]}, {wrong.shape[1]}",
        ):
            net(wrong)


@every_net
def test_wrong_sizes_are_refused_before_anything_is_made(name, variant):
    function = getattr(nets, name)
    with pytest.raises(ValueError, match="outputs must be a positive whole number; received 0"):
        function(**variant, inputs=shape_for(name), outputs=0)
    with pytest.raises(ValueError, match=r"must be .*positive"):
        function(**variant, inputs=(0, 32, 32), outputs=3)
    if name not in OF_ANY_SHAPE:
        with pytest.raises(ValueError, match=r"images must be at least \d+×\d+ pixels; received 2×2"):
            function(**variant, inputs=(1, 2, 2), outputs=3)
        with pytest.raises(ValueError, match="channels, height, width"):
            function(**variant, inputs=(3, 32), outputs=3)


@pytest.mark.parametrize("name", nets.__all__)
def test_docstrings_have_an_example_and_a_source(name):
    function = getattr(nets, name)
    assert ">>>" in inspect.getdoc(function)
    assert re.search("Source|arXiv|doi", sys.modules[function.__module__].__doc__)


PARAMETERS = [
    (nets.simple_cnn, 34_826),
    (nets.lenet, 61_706),
    (lambda: nets.mlp((100,), inputs=(1, 28, 28), outputs=10), 79_510),
    (lambda: nets.resnet(20), 269_722),
    (lambda: nets.resnet(32), 464_154),
    (lambda: nets.resnet(44), 658_586),
    (lambda: nets.resnet(56), 853_018),
    (lambda: nets.resnet(110), 1_727_962),
    (lambda: nets.resnet(18), 11_689_512),
    (lambda: nets.resnet(34), 21_797_672),
    (lambda: nets.resnet(50), 25_557_032),
    (lambda: nets.resnet(101), 44_549_160),
    (lambda: nets.resnet(152), 60_192_808),
    (lambda: nets.resnet(20, skips=False), 269_722),  # shortcuts of option A have no parameters
    (lambda: nets.resnet(110, skips=False), 1_727_962),
    (nets.efficientnet_lite0, 4_652_008),
    (nets.strided_cnn, 1_626_442),
    (lambda: nets.perceptron(inputs=784, outputs=10), 7_850),
    (nets.nin, 966_986),
    (lambda: nets.nin(batch_norm=True), 969_802),
    (nets.zfnet, 62_357_608),
    (nets.mobilenet_v1, 4_231_976),
    (lambda: nets.mobilenet_v1(0.75), 2_585_560),
    (lambda: nets.mobilenet_v1(0.5), 1_331_592),
    (lambda: nets.mobilenet_v1(0.25), 470_072),
    (nets.enet, 364_376),
    (
        lambda: nets.unet(64, batch_norm=False, inputs=(1, 572, 572)),
        31_030_658,
    ),
    *(
        (
            lambda width=width, heads=heads: nets.vision_transformer(
                16, width=width, layers=12, heads=heads, inputs=(3, 224, 224), outputs=1000
            ),
            count,
        )
        for width, heads, count in ((192, 3, 5_717_416), (384, 6, 22_050_664), (768, 12, 86_567_656))
    ),
    (lambda: nets.densenet(121), 7_978_856),
    (lambda: nets.densenet(161), 28_681_000),
    (lambda: nets.densenet(169), 14_149_480),
    (lambda: nets.densenet(201), 20_013_928),
    (nets.xception, 22_855_952),
    (nets.mobilenet_v2, 3_504_872),
    (nets.nasnet_mobile, 5_289_978),
]


@pytest.mark.parametrize(("make_net", "expected"), PARAMETERS, ids=[str(count) for _, count in PARAMETERS])
def test_published_parameter_counts(make_net, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in make_net().parameters()) == expected


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_small_resnets_have_the_size_in_table_6(depth, millions):
    with torch.device("meta"):
        count = sum(p.numel() for p in nets.resnet(depth).parameters())
    assert round(count / 1e6, 1 if depth == 110 else 2) == millions


def test_unknown_depth_says_which_exist():
    with pytest.raises(ValueError, match=r"depth must be one of \(20, 32, .*152\); received 19"):
        nets.resnet(19)


def test_global_average_accepts_other_sizes():
    for net in (nets.resnet(20), nets.resnet(18), nets.efficientnet_lite0()):
        assert net.eval()(torch.zeros(1, 3, 40, 33)).shape[0] == 1
