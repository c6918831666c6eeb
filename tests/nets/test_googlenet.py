"""GoogLeNet and Inception v3: published counts and names, torchvision's outputs, sizes, and auxiliary heads."""

import copy
import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_resnet import weights_from_a_formula

from hubel import nets
from hubel.core.types import Batch
from hubel.layers.auxiliary import AuxiliaryHead, auxiliary_scores
from hubel.layers.dropout import Dropout
from hubel.objectives import CrossEntropy, WithAuxiliary

TORCHVISION = json.loads(Path(__file__).with_name("torchvision_classics.json").read_text())
PARAMETERS = [
    (nets.googlenet, False, 6_624_904),
    (nets.googlenet, True, 13_004_888),
    (nets.inception_v3, False, 23_834_568),
    (nets.inception_v3, True, 27_161_264),
]


@pytest.mark.parametrize(("make", "auxiliary", "expected"), PARAMETERS, ids=[str(p[2]) for p in PARAMETERS])
def test_published_parameter_counts(make, auxiliary, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in make(auxiliary=auxiliary).parameters()) == expected


NAMES = {
    nets.googlenet: {
        "conv1.conv.weight": [64, 3, 7, 7],
        "conv3.bn.running_var": [192],
        "inception3a.branch1.conv.weight": [64, 192, 1, 1],
        "inception3a.branch2.1.conv.weight": [128, 96, 3, 3],
        "inception4d.branch3.1.conv.weight": [64, 32, 3, 3],
        "inception5b.branch4.1.bn.num_batches_tracked": [],
        "aux1.conv.conv.weight": [128, 512, 1, 1],
        "aux2.conv.conv.weight": [128, 528, 1, 1],
        "aux2.fc1.weight": [1024, 2048],
        "aux1.fc2.bias": [1000],
        "fc.weight": [1000, 1024],
    },
    nets.inception_v3: {
        "Conv2d_1a_3x3.conv.weight": [32, 3, 3, 3],
        "Conv2d_3b_1x1.bn.weight": [80],
        "Mixed_5b.branch5x5_2.conv.weight": [64, 48, 5, 5],
        "Mixed_6a.branch3x3dbl_3.conv.weight": [96, 96, 3, 3],
        "Mixed_6b.branch7x7_2.conv.weight": [128, 128, 1, 7],
        "Mixed_6e.branch7x7dbl_5.conv.weight": [192, 192, 1, 7],
        "AuxLogits.conv1.conv.weight": [768, 128, 5, 5],
        "AuxLogits.fc.weight": [1000, 768],
        "Mixed_7a.branch7x7x3_4.conv.weight": [192, 192, 3, 3],
        "Mixed_7c.branch3x3dbl_3b.conv.weight": [384, 384, 3, 1],
        "fc.weight": [1000, 2048],
    },
}


@pytest.mark.parametrize("make", NAMES)
def test_characteristic_names_and_shapes(make):
    with torch.device("meta"):
        state = make(auxiliary=True).state_dict()
    assert {key: list(state[key].shape) for key in NAMES[make]} == NAMES[make]


@pytest.mark.parametrize("make", NAMES)
@pytest.mark.parametrize("auxiliary", [False, True])
def test_names_and_shapes_are_those_of_torchvision_in_order(make, auxiliary):
    with torch.device("meta"):
        state = make(auxiliary=auxiliary).state_dict()
    golden = TORCHVISION[make.__name__ + ("_aux" if auxiliary else "")]
    text = json.dumps([[key, list(value.shape)] for key, value in state.items()])
    assert len(state) == golden["keys"]
    assert hashlib.sha256(text.encode()).hexdigest() == golden["sha256"]


@pytest.mark.parametrize(("make", "side"), [(nets.googlenet, 64), (nets.inception_v3, 107)])
def test_scores_are_those_of_torchvision(make, side):
    net = make(inputs=(3, side, side))
    net.load_state_dict(weights_from_a_formula(net.state_dict()))
    x = torch.sin(torch.arange(2 * 3 * side * side, dtype=torch.float64) * 0.37)
    x = x.reshape(2, 3, side, side).float()
    golden = TORCHVISION[make.__name__]
    with torch.no_grad():
        received = net.eval()(x)[:, :6].flatten()
    torch.testing.assert_close(
        received, torch.tensor(golden["eval"]), rtol=1e-4, atol=1e-4 * golden["eval_scale"]
    )


@pytest.mark.parametrize(("make", "side"), [(nets.googlenet, 64), (nets.inception_v3, 299)])
def test_auxiliary_scores_are_those_of_torchvision(make, side):
    """Of heads in eval mode, in a network whose batch norm uses the stored statistics."""
    net = make(inputs=(3, side, side), auxiliary=True)
    net.load_state_dict(weights_from_a_formula(net.state_dict()))
    x = torch.sin(torch.arange(3 * side * side, dtype=torch.float64) * 0.37).reshape(1, 3, side, side).float()
    golden = TORCHVISION[make.__name__ + "_aux"]["heads"]
    with torch.no_grad(), auxiliary_scores(net.eval()) as found:
        net(x)
    assert len(found) == len(golden)
    for scores, expected in zip(found, golden, strict=True):
        torch.testing.assert_close(
            scores[0, :6], torch.tensor(expected["eval"]), rtol=1e-4, atol=1e-4 * expected["eval_scale"]
        )


SMALLEST = [
    (nets.googlenet, False, 15, "maxpool3"),
    (nets.googlenet, True, 15, "maxpool3"),
    (nets.inception_v3, False, 75, "Mixed_7a"),
    (nets.inception_v3, True, 299, r"AuxLogits\.conv1"),
]


@pytest.mark.parametrize(("make", "auxiliary", "smallest", "layer"), SMALLEST)
def test_small_images_work_as_far_as_the_architecture_allows(make, auxiliary, smallest, layer, monkeypatch):
    with torch.device("meta"):
        net = make(inputs=(3, smallest, smallest), auxiliary=auxiliary)
        assert net(torch.zeros(2, 3, smallest, smallest)).shape == (2, 1000)
        small = torch.zeros(2, 3, smallest, smallest - 1)
        with pytest.raises(
            ValueError, match=rf"received \[2, 3, {smallest}, {smallest - 1}\].*layer {layer} "
        ):
            net(small)
        with pytest.raises(
            ValueError, match=rf"at least {smallest}×{smallest} pixels; received {smallest}.*layer {layer} "
        ):
            make(inputs=(3, smallest, smallest - 1), auxiliary=auxiliary)
        passes = SimpleNamespace(check=lambda x, inputs: None)
        for name in ("REDUCTIONS", "TO_HEAD"):
            monkeypatch.setattr(sys.modules[make.__module__], name, passes, raising=False)
        with auxiliary_scores(net), pytest.raises(RuntimeError):  # torch's own, without our check
            net(small)


def googlenet(**arguments):
    torch.manual_seed(0)
    return nets.googlenet(inputs=(1, 32, 32), outputs=4, **arguments)


BATCH = Batch(
    inputs=torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0)), targets=torch.arange(8) % 4
)


def test_heads_read_the_maps_after_4a_and_4d():
    net, maps = googlenet(auxiliary=True).eval(), []
    for module in (net.inception4a, net.inception4d):
        module.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad(), auxiliary_scores(net) as found:
        scores = net(BATCH.inputs)
    assert scores.shape == (8, 4)
    assert torch.equal(found[0], net.aux1(maps[0]))
    assert torch.equal(found[1], net.aux2(maps[1]))


def test_heads_are_idle_unless_they_are_asked():
    net = googlenet(auxiliary=True)
    calls = []
    for head in (net.aux1, net.aux2):
        head.register_forward_hook(lambda module, inputs, output: calls.append(module))
    assert net(BATCH.inputs).shape == (8, 4)
    assert not calls
    with pytest.raises(ValueError, match="expects images"), auxiliary_scores(net) as found:
        net(net(BATCH.inputs))
    assert calls == [net.aux1, net.aux2]
    net(BATCH.inputs)
    assert len(calls) == len(found) == 2


def test_a_network_can_be_copied_after_its_heads_were_asked():
    net = googlenet(auxiliary=True)
    with auxiliary_scores(net):
        net(BATCH.inputs)
    other = copy.deepcopy(net)
    assert all(head.asked is None for head in other.modules() if isinstance(head, AuxiliaryHead))


def test_scores_do_not_depend_on_the_heads():
    plain, other = googlenet().eval(), googlenet(auxiliary=True).eval()
    other.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(plain(BATCH.inputs), other(BATCH.inputs))


def test_with_auxiliary_backward_reaches_every_parameter_and_without_only_the_network():
    net = googlenet(auxiliary=True)
    WithAuxiliary(CrossEntropy(4))(net, BATCH).total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    net.zero_grad()
    CrossEntropy(4)(net, BATCH).total.backward()
    silent = {name.partition(".")[0] for name, p in net.named_parameters() if p.grad is None}
    assert silent == {"aux1", "aux2"}


def test_a_training_step_of_inception_with_its_head():
    torch.manual_seed(0)
    net = nets.inception_v3(inputs=(1, 299, 299), outputs=2, auxiliary=True)
    batch = Batch(inputs=torch.randn(2, 1, 299, 299), targets=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="more than 1 value per channel"):  # of 1×1 positions and one image
        WithAuxiliary(CrossEntropy(2))(net, Batch(inputs=batch.inputs[:1], targets=batch.targets[:1]))
    loss = WithAuxiliary(CrossEntropy(2), weight=0.4)(net, batch)
    loss.total.backward()
    assert loss.parts["auxiliary"] > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("make", "objective"),
    [
        (lambda: googlenet(auxiliary=True), WithAuxiliary(CrossEntropy(4))),
        (lambda: nets.inception_v3(inputs=(1, 75, 75), outputs=4), CrossEntropy(4)),
    ],
    ids=["googlenet", "inception_v3"],
)
def test_one_batch_is_learned_by_heart(make, objective):
    torch.manual_seed(0)
    net = make()
    for module in net.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    batch = Batch(inputs=torch.randn(8, *net.inputs), targets=torch.arange(8) % 4)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(25):
        loss = objective(net, batch)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.1 * losses[0]


def test_files_with_and_without_heads_serve_networks_with_and_without(tmp_path):
    net = googlenet(auxiliary=True)
    torch.save(net.state_dict(), tmp_path / "with.pth")
    torch.save({k: v for k, v in net.state_dict().items() if "aux" not in k}, tmp_path / "without.pth")

    whole = googlenet(auxiliary=True, weights=tmp_path / "with.pth")
    assert whole.published.notes == ()
    assert torch.equal(whole.aux2.fc1.weight, net.aux2.fc1.weight)

    less = googlenet(weights=tmp_path / "with.pth")
    assert less.published.notes == tuple(
        f"{head} of the file is left out: the net was made without auxiliary heads"
        for head in ("aux1", "aux2")
    )
    assert torch.equal(less.fc.weight, net.fc.weight)

    more = googlenet(auxiliary=True, weights=tmp_path / "without.pth")
    assert more.published.notes == tuple(
        f"{head} is fresh: the file has no such auxiliary head" for head in ("aux1", "aux2")
    )

    other = nets.googlenet(inputs=(1, 32, 32), outputs=7, auxiliary=True, weights=tmp_path / "with.pth")
    assert [note.split(" is ")[0] for note in other.published.notes] == [
        f"{layer}.{part}" for layer in ("fc", "aux1.fc2", "aux2.fc2") for part in ("weight", "bias")
    ]
    assert torch.equal(other.aux1.fc1.weight, net.aux1.fc1.weight)

    broken = {k: v for k, v in net.state_dict().items() if k != "aux1.fc1.weight"}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match=r"aux1\.fc1\.weight is missing"):
        googlenet(auxiliary=True, weights=tmp_path / "broken.pth")


@pytest.mark.parametrize(("make", "size"), [(nets.googlenet, (224, 224)), (nets.inception_v3, (299, 299))])
def test_published_images_are_scaled_to_one(make, size):
    """torchvision's transform_input makes of its usual normalization that by mean 1/2 and deviation 1/2."""
    source = sys.modules[make.__module__].IMAGENET
    assert source.size == size
    pixels = torch.linspace(0, 1, 5)
    for mean, std, own_mean, own_std in zip(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), source.mean, source.std, strict=True
    ):
        usual = (pixels - mean) / std
        torch.testing.assert_close((pixels - own_mean) / own_std, usual * (std / 0.5) + (mean - 0.5) / 0.5)
