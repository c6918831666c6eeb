"""DenseNet, Xception, MobileNetV2, NASNet-mobile: published names and files, scores of Keras, and that they learn."""

import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.layers.dropout import Dropout

KERAS = json.loads(Path(__file__).with_name("keras_scores.json").read_text())

# a few names and shapes of the published files, and the number of names without `num_batches_tracked`
LAYOUTS = {
    "densenet(121)": (
        606,
        {
            "features.conv0.weight": (64, 3, 7, 7),
            "features.norm0.running_mean": (64,),
            "features.denseblock1.denselayer1.norm1.weight": (64,),
            "features.denseblock1.denselayer1.conv1.weight": (128, 64, 1, 1),
            "features.denseblock1.denselayer1.norm2.bias": (128,),
            "features.denseblock1.denselayer6.conv2.weight": (32, 128, 3, 3),
            "features.transition1.norm.weight": (256,),
            "features.transition3.conv.weight": (512, 1024, 1, 1),
            "features.denseblock4.denselayer16.norm1.running_var": (992,),
            "features.norm5.weight": (1024,),
            "classifier.weight": (1000, 1024),
            "classifier.bias": (1000,),
        },
    ),
    "densenet(161)": (
        806,
        {
            "features.conv0.weight": (96, 3, 7, 7),
            "features.denseblock3.denselayer36.conv1.weight": (192, 2064, 1, 1),
            "features.transition2.conv.weight": (384, 768, 1, 1),
            "classifier.weight": (1000, 2208),
        },
    ),
    "mobilenet_v2()": (
        262,
        {
            "features.0.0.weight": (32, 3, 3, 3),
            "features.0.1.running_var": (32,),
            "features.1.conv.0.0.weight": (32, 1, 3, 3),
            "features.1.conv.1.weight": (16, 32, 1, 1),
            "features.1.conv.2.weight": (16,),
            "features.2.conv.0.0.weight": (96, 16, 1, 1),
            "features.2.conv.1.0.weight": (96, 1, 3, 3),
            "features.2.conv.1.1.bias": (96,),
            "features.2.conv.2.weight": (24, 96, 1, 1),
            "features.2.conv.3.running_mean": (24,),
            "features.14.conv.2.weight": (160, 576, 1, 1),
            "features.17.conv.2.weight": (320, 960, 1, 1),
            "features.18.0.weight": (1280, 320, 1, 1),
            "features.18.1.weight": (1280,),
            "classifier.1.weight": (1000, 1280),
        },
    ),
    "xception()": (
        236,
        {
            "conv1.weight": (32, 3, 3, 3),
            "bn2.weight": (64,),
            "block1.rep.0.conv1.weight": (64, 1, 3, 3),
            "block1.rep.0.pointwise.weight": (128, 64, 1, 1),
            "block1.rep.3.pointwise.weight": (128, 128, 1, 1),
            "block1.rep.4.running_mean": (128,),
            "block1.skip.weight": (128, 64, 1, 1),
            "block1.skipbn.weight": (128,),
            "block2.rep.1.pointwise.weight": (256, 128, 1, 1),
            "block11.rep.7.pointwise.weight": (728, 728, 1, 1),
            "block11.rep.8.bias": (728,),
            "block12.rep.1.pointwise.weight": (728, 728, 1, 1),
            "block12.rep.4.pointwise.weight": (1024, 728, 1, 1),
            "block12.skipbn.running_var": (1024,),
            "conv3.conv1.weight": (1024, 1, 3, 3),
            "conv4.pointwise.weight": (2048, 1536, 1, 1),
            "bn4.weight": (2048,),
            "fc.weight": (1000, 2048),
        },
    ),
    "nasnet_mobile()": (
        1126,
        {
            "conv0.conv.weight": (32, 3, 3, 3),
            "conv0.bn.weight": (32,),
            "cell_stem_0.conv_1x1.conv.weight": (11, 32, 1, 1),
            "cell_stem_0.comb_iter_0_left.separable_1.depthwise_conv2d.weight": (11, 1, 5, 5),
            "cell_stem_0.comb_iter_0_right.separable_1.depthwise_conv2d.weight": (32, 1, 7, 7),
            "cell_stem_0.comb_iter_0_right.separable_1.pointwise_conv2d.weight": (11, 32, 1, 1),
            "cell_stem_0.comb_iter_4_left.bn_sep_2.running_mean": (11,),
            "cell_stem_1.path_1.conv.weight": (11, 32, 1, 1),
            "cell_stem_1.path_2.conv.weight": (11, 32, 1, 1),
            "cell_stem_1.final_path_bn.weight": (22,),
            "cell_0.conv_1x1.conv.weight": (44, 88, 1, 1),
            "cell_0.path_2.conv.weight": (22, 44, 1, 1),
            "cell_1.conv_prev_1x1.conv.weight": (44, 88, 1, 1),
            "cell_3.comb_iter_1_left.separable_2.depthwise_conv2d.weight": (44, 1, 5, 5),
            "reduction_cell_0.conv_prev_1x1.bn.weight": (88,),
            "reduction_cell_0.comb_iter_2_right.separable_1.depthwise_conv2d.weight": (88, 1, 5, 5),
            "cell_6.path_1.conv.weight": (44, 264, 1, 1),
            "cell_12.conv_1x1.conv.weight": (176, 704, 1, 1),
            "cell_15.comb_iter_1_right.bn_sep_1.weight": (176,),
            "last_linear.weight": (1000, 1056),
        },
    ),
}
MAKE = {
    "densenet(121)": lambda **given: nets.densenet(121, **given),
    "densenet(161)": lambda **given: nets.densenet(161, **given),
    "densenet(169)": lambda **given: nets.densenet(169, **given),
    "densenet(201)": lambda **given: nets.densenet(201, **given),
    "mobilenet_v2()": nets.mobilenet_v2,
    "mobilenet_v2(0.5)": lambda **given: nets.mobilenet_v2(0.5, **given),
    "nasnet_mobile()": nets.nasnet_mobile,
    "xception()": nets.xception,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_names_and_shapes_are_those_of_the_published_files(name):
    count, layout = LAYOUTS[name]
    with torch.device("meta"):
        state = MAKE[name]().state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if not key.endswith("tracked")}
    assert {key: shapes.get(key) for key in layout} == layout
    assert len(shapes) == count


@pytest.mark.parametrize(
    ("width", "parameters"),
    [(0.35, 1_677_128), (0.5, 1_968_680), (0.75, 2_636_424), (1.3, 5_386_792), (1.4, 6_108_776)],
)
def test_widths_of_mobilenet_have_the_parameters_that_keras_counts(width, parameters):
    with torch.device("meta"):
        net = nets.mobilenet_v2(width)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net.made_by.arguments["width"] == width


def weights_from_a_formula(state):
    """The same waves that the networks of Keras were filled with."""
    for index, (name, value) in enumerate(state.items()):
        if value.dtype == torch.float32:
            wave = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 12.9898 + index * 78.233)
            if name.endswith("running_var"):
                wave = 1 + 0.5 * wave
            elif value.ndim > 1:
                wave = wave * (3.0 / (value.numel() / value.shape[0])) ** 0.5
            elif name.endswith("weight"):
                wave = 1 + 0.2 * wave
            else:
                wave = 0.1 * wave
            state[name] = wave.reshape(value.shape).float()
    return state


def picture(height, width):
    return torch.sin(torch.arange(3 * height * width, dtype=torch.float64) * 0.37).reshape(
        1, 3, height, width
    )


@pytest.mark.parametrize("name", KERAS)
def test_scores_are_those_of_keras(name):
    """Keras 3.15.1 on TensorFlow 2.21.0, with these weights and our ε in its batch norms, and (NASNet) pooling that leaves out the padding."""
    golden = KERAS[name]
    net = MAKE[name](outputs=golden["outputs"]).eval()
    net.load_state_dict(weights_from_a_formula(net.state_dict()))
    with torch.no_grad():
        received = net(picture(*golden["size"]).float())[0]
    expected = torch.tensor(golden["scores"])
    torch.testing.assert_close(received, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", ["densenet(121)", "mobilenet_v2(0.5)", "nasnet_mobile()", "xception()"])
def test_one_batch_of_small_pictures_is_learnt(name):
    torch.manual_seed(0)
    net = MAKE[name](inputs=(3, 32, 32), outputs=4)
    for module in net.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    x, y = torch.randn(8, 3, 32, 32), torch.arange(8) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    before = {key: value.clone() for key, value in net.named_parameters()}
    first = None
    for _ in range(40):
        loss = F.cross_entropy(net(x), y)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.05:
            break
    assert first > 1
    assert loss.item() < 0.05
    assert all(not torch.equal(before[key], value) for key, value in net.named_parameters())


def test_older_files_of_densenet_are_read(tmp_path):
    """The files of 2017 have `norm.1` where the names of today have `norm1`."""
    net = nets.densenet(121, outputs=5).eval()
    older = {}
    for key, value in net.state_dict().items():
        if not key.endswith("tracked"):
            older[re.sub(r"(denselayer\d+\.[a-z]+)([12])", r"\1.\2", key)] = value
    assert "features.denseblock1.denselayer1.norm.1.running_mean" in older
    torch.save(older, tmp_path / "older.pth")
    again = nets.densenet(121, outputs=5, weights=tmp_path / "older.pth").eval()
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), net(x))
    assert again.published.notes == ()


def test_older_files_of_xception_are_read(tmp_path):
    """Their 1×1 filters are matrices, and some call the last layer `last_linear`."""
    net = nets.xception((3, 32, 32), 5).eval()
    older = {}
    for key, value in net.state_dict().items():
        older[key.replace("fc.", "last_linear.")] = value[:, :, 0, 0] if "pointwise" in key else value
    torch.save(older, tmp_path / "older.pth")
    again = nets.xception((3, 32, 32), 5, weights=tmp_path / "older.pth").eval()
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), net(x))
    assert again.published.size == (299, 299)


@pytest.mark.parametrize("name", ["densenet(121)", "mobilenet_v2()", "nasnet_mobile()", "xception()"])
def test_published_files_serve_other_channels_and_outputs(name, tmp_path):
    net = MAKE[name](inputs=(3, 32, 32), outputs=7).eval()
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    again = MAKE[name](inputs=(1, 32, 32), outputs=3, weights=tmp_path / "weights.pth").eval()
    grey = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        expected = net.features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(again.features(grey), expected, rtol=1e-3, atol=1e-3)
    assert again(grey).shape == (2, 3)
    assert len(again.published.notes) == 3
    assert len(again.published.mean) == 1


def test_features_of_the_published_name_are_a_module():
    """Torchvision's files call all but the last layer `features`: reachable by name, and called like the method of other networks."""
    for net in (nets.densenet(121, outputs=2), nets.mobilenet_v2(outputs=2)):
        assert net.get_submodule("features") is net.features
        assert dict(net.named_modules())["features"] is net.features


@pytest.mark.parametrize("width", [0, -1.0, float("nan"), float("inf")])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(ValueError, match=r"width must be a positive number.*received"):
        nets.mobilenet_v2(width)


def test_unknown_depths_say_which_exist():
    with pytest.raises(
        ValueError, match=r"densenet: depth must be one of \(121, 161, 169, 201\); received 120"
    ):
        nets.densenet(120)


def test_channels_of_thin_and_wide_networks_are_multiples_of_eight():
    with torch.device("meta"):
        thin, wide = nets.mobilenet_v2(0.1), nets.mobilenet_v2(1.4)
    assert thin.classifier[1].in_features == 1280
    assert wide.classifier[1].in_features == 1792
    for net in (thin, wide):
        assert all(c.out_channels % 8 == 0 for c in net.modules() if isinstance(c, torch.nn.Conv2d))
