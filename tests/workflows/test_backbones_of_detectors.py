"""A detector sees with what another fitted network learned: a classifier of patches, or an autoencoder of pictures without labels."""

import functools

import numpy as np
import pytest
import torch
from test_other_detectors import bright

import hubel
from hubel import nets
from hubel.cli.words import WrongWords, net_of
from hubel.fitting import Freeze, Precision
from hubel.nets.backbones import strides_of
from hubel.workflows.folders import fresh_net
from hubel.workflows.of_boxes import suited

RECIPE = hubel.Recipe(epochs=1, batch_size=16, precision=Precision(threads=1), seed=1)


def patches(num=48, side=32):
    random = np.random.default_rng(3)
    x = random.normal(100, 6, (num, 1, side, side)).clip(0, 255).astype(np.uint8)
    x[::2, :, 8:24, 8:24] = 190
    return x, np.arange(num) % 2


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    x, y = patches()
    net = nets.symmetrized(nets.compact(8, inputs=(1, 32, 32), outputs=2), ["flip_horizontal"])
    return hubel.fit(x, y, net=net, recipe=RECIPE, out=tmp_path_factory.mktemp("seen") / "run", quiet=True)


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    net = functools.partial(nets.conv_autoencoder, 4, 8)
    out = tmp_path_factory.mktemp("seen") / "run"
    return hubel.fit(patches()[0], "self", net=net, recipe=RECIPE, out=out, quiet=True)


def weights_of(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


@pytest.mark.parametrize("name", ["classifier", "autoencoder"])
def test_a_detector_begins_with_what_was_learned_from_patches(name, request, tmp_path):
    known = request.getfixturevalue(name)
    before = weights_of(known.net)
    data = bright(24)
    run = hubel.fit(
        data,
        net=functools.partial(nets.anchor_free, 8, strides=(4, 8), backbone=known.net),
        recipe=RECIPE,
        out=tmp_path / "run",
        quiet=True,
    )
    start = run.checkpoints.read(("start",)).trees["start"]
    seen = {
        key.removeprefix("body.net."): value for key, value in start.items() if key.startswith("body.net.")
    }
    inside = {"classifier": "net.", "autoencoder": "encoder."}[name]
    assert len(seen) > 5
    assert all(torch.equal(torch.as_tensor(value), before[inside + key]) for key, value in seen.items())
    after = weights_of(run.net)
    assert not all(torch.equal(after[f"body.net.{key}"], before[inside + key]) for key in seen)
    assert all(torch.equal(value, before[key]) for key, value in weights_of(known.net).items())
    again = hubel.open_run(tmp_path / "run")
    assert np.array_equal(again.predict(data.inputs[:4]).values, run.predict(data.inputs[:4]).values)
    other = weights_of(fresh_net(again, seed=5))  # what a run that is to be like this one begins with
    assert all(torch.equal(other[f"body.net.{key}"], before[inside + key]) for key in seen)


def test_strides_are_those_of_the_backbone(classifier, autoencoder):
    assert strides_of(classifier.net, (1, 48, 48)) == (2, 4, 8)
    assert strides_of(autoencoder.net, (1, 48, 48)) == (2, 4, 8)
    data = bright(24)
    make, why = suited(functools.partial(nets.anchor_free, backbone=classifier.net), data)
    assert make(inputs=data.shape, outputs=2).strides == (4, 8) and "strides of 4, 8" in why
    assert why.endswith("it sees with a copy of a fitted compact")
    few = nets.resnet(20, inputs=(1, 48, 48), outputs=2)
    make, why = suited(functools.partial(nets.yolo_v3, backbone=few, attention=True), data)
    net = make(inputs=data.shape, outputs=2)
    assert strides_of(few, (1, 48, 48)) == (2, 4) and net.strides == (4,)
    assert net.made_by.arguments["attention"] is True and net.each == 3


def test_frozen_the_body_stays_as_it_was(classifier, tmp_path):
    recipe = hubel.Recipe(
        epochs=1,
        batch_size=16,
        precision=Precision(threads=1),
        freeze=Freeze(layers=("body",)),
        average=False,
    )
    net = functools.partial(nets.anchor_free, 8, strides=(4, 8), backbone=classifier.net)
    run = hubel.fit(bright(24), net=net, recipe=recipe, out=tmp_path / "run", quiet=True)
    before, after = weights_of(classifier.net), weights_of(run.net)
    seen = [key for key in after if key.startswith("body.net.")]
    assert all(torch.equal(after[key], before[f"net.{key.removeprefix('body.net.')}"]) for key in seen)


def test_backbones_that_can_not_see_are_refused(classifier):
    with pytest.raises(ValueError, match="looks at pictures of 1 channels, and these have 3"):
        nets.anchor_free(8, backbone=classifier.net, inputs=(3, 64, 64))
    with pytest.raises(ValueError, match=r"LeNet, the backbone, can not look at pictures of 64×64"):
        nets.anchor_free(8, backbone=nets.lenet(inputs=(1, 28, 28)), inputs=(1, 64, 64))
    with pytest.raises(ValueError, match="it has maps of no size"):
        nets.anchor_free(8, backbone=nets.autoencoder(3, inputs=(1, 64, 64)), inputs=(1, 64, 64))


def test_words(classifier):
    make = net_of(None, weights=None, download=False, backbone=str(classifier.folder))
    assert make.func is nets.anchor_free
    assert net_of("yolo_v3_attention", weights=None, download=False).keywords == {"attention": True}
    with pytest.raises(WrongWords, match="compact is none"):
        net_of("compact", weights=None, download=False, backbone=str(classifier.folder))
    with pytest.raises(WrongWords, match="is a run, which has its own"):
        net_of(None, weights="a.pth", download=False, backbone=str(classifier.folder))
    with pytest.raises(WrongWords, match="nowhere is no run folder and no network"):
        net_of(None, weights=None, download=False, backbone="nowhere")
