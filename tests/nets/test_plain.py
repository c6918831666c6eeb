"""AlexNet and VGG: published counts and names, torchvision's outputs, formulas, and the two meanings of `features`."""

import copy
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_resnet import weights_from_a_formula

from hubel import nets
from hubel.layers.dropout import Dropout
from hubel.nets.plain import Features, PlainNet

TORCHVISION = json.loads(Path(__file__).with_name("torchvision_classics.json").read_text())


def on_meta(make, **arguments):
    with torch.device("meta"):
        return make(**arguments)


def vgg(depth, **arguments):
    return lambda: nets.vgg(depth, **arguments)


PARAMETERS = [
    (nets.alexnet, 61_100_840),
    (lambda: nets.alexnet(grouped=True), 60_965_224),
    (vgg(11), 132_863_336),
    (vgg(13), 133_047_848),
    (vgg(16), 138_357_544),
    (vgg(19), 143_667_240),
    (vgg(11, batch_norm=True), 132_868_840),
    (vgg(13, batch_norm=True), 133_053_736),
    (vgg(16, batch_norm=True), 138_365_992),
    (vgg(19, batch_norm=True), 143_678_248),
]


@pytest.mark.parametrize(("make", "expected"), PARAMETERS, ids=[str(count) for _, count in PARAMETERS])
def test_published_parameter_counts(make, expected):
    assert sum(p.numel() for p in on_meta(make).parameters()) == expected


@pytest.mark.parametrize(("depth", "millions"), [(11, 133), (13, 133), (16, 138), (19, 144)])
def test_vgg_has_the_size_in_table_2(depth, millions):
    assert round(sum(p.numel() for p in on_meta(vgg(depth)).parameters()) / 1e6) == millions


def test_grouped_alexnet_has_the_units_of_the_paper():
    """150,528 inputs; then 253,440 (by their own sizes 290,400), 186,624, 64,896, 64,896, 43,264, 4096, 4096, 1000."""
    net, units = on_meta(nets.alexnet, grouped=True).eval(), []
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda module, inputs, output: units.append(output[0].numel()))
    net(torch.zeros(1, 3, 224, 224, device="meta"))
    assert units == [55 * 55 * 96, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert sum(units) == 659_272


NAMES = {
    "alexnet": {
        "features.0.weight": [64, 3, 11, 11],
        "features.3.weight": [192, 64, 5, 5],
        "features.10.bias": [256],
        "classifier.1.weight": [4096, 9216],
        "classifier.4.weight": [4096, 4096],
        "classifier.6.weight": [1000, 4096],
    },
    "vgg16": {
        "features.0.weight": [64, 3, 3, 3],
        "features.14.weight": [256, 256, 3, 3],
        "features.28.weight": [512, 512, 3, 3],
        "classifier.0.weight": [4096, 25088],
        "classifier.3.weight": [4096, 4096],
        "classifier.6.bias": [1000],
    },
    "vgg11_bn": {
        "features.1.running_mean": [64],
        "features.4.weight": [128, 64, 3, 3],
        "features.25.weight": [512, 512, 3, 3],
        "features.26.num_batches_tracked": [],
        "classifier.0.weight": [4096, 25088],
    },
}
MAKERS = {
    "alexnet": nets.alexnet,
    **{f"vgg{depth}": vgg(depth) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": vgg(depth, batch_norm=True) for depth in (11, 13, 16, 19)},
}


@pytest.mark.parametrize("name", NAMES)
def test_characteristic_names_and_shapes(name):
    state = on_meta(MAKERS[name]).state_dict()
    assert {key: list(state[key].shape) for key in NAMES[name]} == NAMES[name]


@pytest.mark.parametrize("name", MAKERS)
def test_names_and_shapes_are_those_of_torchvision_in_order(name):
    state = on_meta(MAKERS[name]).state_dict()
    text = json.dumps([[key, list(value.shape)] for key, value in state.items()])
    assert len(state) == TORCHVISION[name]["keys"]
    assert hashlib.sha256(text.encode()).hexdigest() == TORCHVISION[name]["sha256"]


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "vgg13_bn"])
def test_convolutions_are_those_of_torchvision(name):
    net = MAKERS[name]() if name == "alexnet" else nets.vgg(int(name[3:5]), batch_norm="bn" in name, hidden=8)
    state = weights_from_a_formula(net.features.state_dict())
    net.features.load_state_dict(state)
    golden = TORCHVISION[name]
    x = torch.sin(torch.arange(2 * 3 * 64 * 64, dtype=torch.float64) * 0.37).reshape(2, 3, 64, 64).float()
    with torch.no_grad():
        maps = net.eval().features.maps(x)
    assert list(maps.shape) == golden["maps"]
    scale = golden["maps_scale"]
    torch.testing.assert_close(
        maps.flatten()[:12], torch.tensor(golden["maps_begin"]), rtol=1e-4, atol=1e-4 * scale
    )


def test_scores_of_alexnet_are_those_of_torchvision():
    net = nets.alexnet()
    net.load_state_dict(weights_from_a_formula(net.state_dict()))
    x = torch.sin(torch.arange(2 * 3 * 64 * 64, dtype=torch.float64) * 0.37).reshape(2, 3, 64, 64).float()
    golden = TORCHVISION["alexnet"]
    with torch.no_grad():
        received = net.eval()(x)[:, :6].flatten()
    torch.testing.assert_close(
        received, torch.tensor(golden["eval"]), rtol=1e-4, atol=1e-4 * golden["eval_scale"]
    )


def test_local_response_normalization_is_that_of_the_paper():
    norm = next(
        layer
        for layer in nets.alexnet(grouped=True, hidden=8).modules()
        if isinstance(layer, torch.nn.LocalResponseNorm)
    )
    a = torch.randn(2, 7, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100
    expected = torch.empty_like(a)
    for i in range(7):
        around = a[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = a[:, i] / (2 + 1e-4 * around.square().sum(1)) ** 0.75
    torch.testing.assert_close(norm(a), expected)


def test_groups_do_not_see_each_other():
    """The second convolution of 2012: its first 128 filters read the first 48 maps only."""
    layer = nets.alexnet(grouped=True, hidden=8).features[4]
    x = torch.randn(1, 96, 5, 5, requires_grad=True)
    layer(x)[:, :128].sum().backward()
    reached = x.grad.abs().sum(dim=(0, 2, 3)) > 0
    assert reached[:48].all()
    assert not reached[48:].any()


SMALLEST = [
    (lambda side: nets.alexnet(inputs=(3, side, side)), 63, r"features\.12"),
    (lambda side: nets.alexnet(inputs=(3, side, side), grouped=True), 63, r"features\.14"),
    (lambda side: nets.vgg(16, inputs=(3, side, side)), 32, r"features\.30"),
]


@pytest.mark.parametrize(("make", "smallest", "layer"), SMALLEST, ids=["alexnet", "grouped", "vgg16"])
def test_small_images_work_as_far_as_the_architecture_allows(make, smallest, layer):
    with torch.device("meta"):
        net = make(smallest).eval()
        assert net(torch.zeros(2, 3, smallest, smallest)).shape == (2, 1000)
        with pytest.raises(RuntimeError, match="too small"):  # torch's own, without our check
            net.features.maps(torch.zeros(2, 3, smallest - 1, smallest))
        with pytest.raises(
            ValueError, match=rf"H ≥ {smallest}.*received \[2, 3, {smallest - 1}.*layer {layer} "
        ):
            net(torch.zeros(2, 3, smallest - 1, smallest))
    with pytest.raises(
        ValueError, match=rf"at least {smallest}×{smallest} pixels; received {smallest - 1}.*layer {layer} "
    ):
        make(smallest - 1)


def test_other_sizes_than_that_of_inputs_are_accepted():
    net = nets.vgg(11, inputs=(1, 32, 32), outputs=3, hidden=8).eval()
    assert net(torch.zeros(2, 1, 40, 65)).shape == (2, 3)


@pytest.mark.parametrize("depth", [12, "16", 0])
def test_unknown_depth_says_which_exist(depth):
    with pytest.raises(
        ValueError, match=re.escape(f"depth must be one of (11, 13, 16, 19); received {depth!r}")
    ):
        nets.vgg(depth)


@pytest.mark.parametrize("make", [nets.alexnet, vgg(11)], ids=["alexnet", "vgg"])
def test_hidden_is_a_positive_number(make):
    function = nets.alexnet if make is nets.alexnet else lambda **more: nets.vgg(11, **more)
    for wrong in (0, -3, 2.5):
        with pytest.raises(ValueError, match=f"hidden must be a positive whole number; received {wrong}"):
            function(hidden=wrong)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return nets.vgg(11, inputs=(1, 32, 32), outputs=3, hidden=8).eval()


def test_features_is_the_convolutions_and_the_values_before_the_last_layer(small):
    x = torch.randn(2, 1, 32, 32)
    assert isinstance(small, PlainNet)
    assert isinstance(small.features, Features)
    assert small.get_submodule("features.0").weight.shape == (64, 1, 3, 3)
    assert small.features.maps(x).shape == (2, 512, 1, 1)
    assert small.features(x).shape == (2, 8)
    assert torch.equal(small.classifier[-1](small.features(x)), small(x))


def test_features_follow_a_copy_and_a_new_classifier(small):
    x = torch.randn(2, 1, 32, 32)
    other = copy.deepcopy(small)
    before = small.features(x)
    with torch.no_grad():
        other.classifier[0].weight.zero_()
    assert torch.equal(small.features(x), before)
    assert not other.features(x).any()
    assert len(list(other.parameters())) == len(list(small.parameters())) == 22
    other.classifier = torch.nn.Sequential(torch.nn.Linear(512 * 49, 5), torch.nn.Linear(5, 3))
    assert other.features(x).shape == (2, 5)


def test_functional_calls_reach_the_convolutions(small):
    x = torch.randn(2, 1, 32, 32)
    state = {name: torch.zeros_like(value) for name, value in small.named_parameters()}
    assert not torch.func.functional_call(small, state, x).any()
    assert small(x).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nets.alexnet(inputs=(1, 63, 63), outputs=4, hidden=32),
        lambda: nets.alexnet(inputs=(1, 63, 63), outputs=4, hidden=32, grouped=True),
        lambda: nets.vgg(11, inputs=(1, 32, 32), outputs=4, hidden=32),
        lambda: nets.vgg(13, inputs=(1, 32, 32), outputs=4, hidden=32, batch_norm=True),
    ],
    ids=["alexnet", "grouped", "vgg11", "vgg13_bn"],
)
def test_one_batch_is_learned_by_heart(make):
    torch.manual_seed(0)
    net = make()
    for module in net.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    x, y = torch.randn(8, *net.inputs), torch.arange(8) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
    losses = []
    for _ in range(60):  # a plain deep net lingers at the beginning, on some processors longer than on others
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: nets.alexnet(inputs=(3, 95, 95), outputs=10, hidden=512),
        lambda: nets.alexnet(inputs=(3, 95, 95), outputs=10, hidden=512, grouped=True),
        lambda: nets.vgg(19, inputs=(3, 64, 64), outputs=10, hidden=512),
    ],
    ids=["alexnet", "grouped", "vgg19"],
)
def test_values_keep_their_size_and_scores_begin_small(make):
    torch.manual_seed(0)
    net = make()
    x = torch.randn(4, *net.inputs)
    with torch.no_grad():
        features, scores = net.eval().features(x), net.train()(x)
    assert 0.5 < features.square().mean().sqrt() < 5
    assert 0.01 < scores.std() < 1


def test_a_file_with_torchvisions_names_is_loaded(tmp_path):
    torch.manual_seed(0)
    net = nets.vgg(11, inputs=(3, 32, 32), hidden=8).eval()
    torch.save(net.state_dict(), tmp_path / "vgg11.pth")
    again = nets.vgg(11, inputs=(3, 32, 32), hidden=8, weights=tmp_path / "vgg11.pth").eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(x), net(x))
    assert again.published.size == (224, 224)
    assert again.published.mean == (0.485, 0.456, 0.406)
    assert again.published.classes[388] == "giant panda"
    other = nets.vgg(11, inputs=(1, 32, 32), outputs=3, hidden=8, weights=tmp_path / "vgg11.pth")
    assert [note.split(" is ")[0] for note in other.published.notes] == [
        "classifier.6.weight",
        "classifier.6.bias",
        "features.0.weight",
    ]
    with pytest.raises(
        ValueError, match=r"classifier\.0\.weight has shape \[8, 25088\] in the file and \[9, 25088\]"
    ):
        nets.vgg(11, inputs=(3, 32, 32), hidden=9, weights=tmp_path / "vgg11.pth")
