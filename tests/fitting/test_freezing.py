"""Frozen layers keep their weights and statistics, bit by bit; the others learn; and layers learn at the rates of their depth."""

import pytest
import torch
from torch import nn

import hubel
from hubel import nets
from hubel.fitting import AdamW, Backprop, Freeze, Recipe
from hubel.fitting.optimizers import layer_depths
from hubel.fitting.recipe import default_optimizer
from hubel.nets.made import is_as_made


def small():
    torch.manual_seed(0)
    return nets.resnet(20, inputs=(1, 8, 8), outputs=3)


def data(num=48):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(num) % 3
    x = torch.randn(num, 1, 8, 8, generator=generator) + y.view(-1, 1, 1, 1)
    return x.numpy(), y.numpy()


def changed(before, after):
    return {name for name, value in after.items() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("face", ["fit", "estimator"])
@pytest.mark.parametrize(
    ("freeze", "learns"),
    [
        (Freeze(), lambda name: name.startswith("fc.")),
        (
            Freeze(layers=("conv1", "bn1", "layer1", "layer2")),
            lambda name: name.startswith(("layer3", "fc.")),
        ),
        (False, lambda name: True),
    ],
    ids=["all but last", "by name", "none"],
)
def test_only_what_is_not_frozen_changes(face, freeze, learns, tmp_path):
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    recipe = Recipe(
        epochs=2, batch_size=16, freeze=freeze, seed=1, average=False, precision=hubel.fitting.Precision()
    )
    x, y = data()
    if face == "fit":
        run = hubel.fit(x, y, net=net, recipe=recipe, out=tmp_path / "run", quiet=True, test=0)
        fitted = run.net
        again = hubel.open_run(run.folder)
        assert again.recipe.freeze == freeze
        assert not changed(fitted.state_dict(), again.net.state_dict())  # it is rebuilt as one of ours
    else:
        fitted = hubel.sklearn.NetClassifier(net, recipe=recipe).fit(x, y).net_
    moved = changed(before, fitted.state_dict())
    assert moved == {name for name in before if learns(name)}
    assert all(p.requires_grad for p in net.parameters())
    assert is_as_made(fitted)


def test_nothing_is_computed_backwards_before_the_first_layer_that_learns():
    net, freeze = small(), Freeze()
    seen = []
    net.layer3.register_full_backward_hook(lambda *_: seen.append("layer3"))
    x, y = (torch.from_numpy(value) for value in data())
    with freeze.applied(net):
        rule = Backprop(AdamW().build(net), still=freeze.norms(net))
        batch = hubel.core.types.Batch(inputs=x, targets=y)
        net.train()
        rule.update(net, hubel.objectives.CrossEntropy(3), batch, 1.0)
        assert [name for name, p in net.named_parameters() if p.grad is not None] == ["fc.weight", "fc.bias"]
        assert not net.bn1.training
        assert net.fc.training
    assert seen == []


def test_what_can_not_be_frozen_is_said():
    with pytest.raises(ValueError, match=r"no layer 'layer9' to freeze\. Did you mean \"layer\d\""):
        Freeze(layers=("layer9",)).applied(small()).__enter__()
    everything = tuple(name for name, _ in small().named_children())
    with pytest.raises(ValueError, match="leaves nothing to learn"):
        Freeze(layers=everything).applied(small()).__enter__()
    with pytest.raises(ValueError, match="no layer that learns"):
        Freeze().applied(small().requires_grad_(False)).__enter__()


def test_a_prefix_is_a_whole_name():
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "ab": nn.Linear(2, 2)})
    with Freeze(layers=("a",)).applied(net):
        assert [name for name, p in net.named_parameters() if p.requires_grad] == ["ab.weight", "ab.bias"]


def test_learning_rates_fall_with_the_depth():
    net = small()
    depths = layer_depths(net)
    named = dict(net.named_parameters())
    assert depths[id(named["fc.bias"])] == 0
    assert depths[id(named["layer3.2.conv2.weight"])] == depths[id(named["layer3.2.bn2.bias"])] == 1
    assert depths[id(named["conv1.weight"])] == depths[id(named["bn1.weight"])] == 19
    optimizer = AdamW(learning_rate=1.0, before_last=0.5, depth_decay=0.9).build(net)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == {id(p) for p in net.parameters()}
    for name, p in net.named_parameters():
        depth = depths[id(p)]
        assert rates[id(p)] == pytest.approx(0.5 * 0.9 ** (depth - 1) if depth else 1.0), name
    assert optimizer.param_groups[0]["lr"] == 1.0  # what is shown as the learning rate
    decays = {
        group["weight_decay"]
        for group in optimizer.param_groups
        if named["bn1.weight"] in set(group["params"])
    }
    assert decays == {0.0}


def test_the_command_line_freezes(tmp_path):
    from hubel.cli import words

    assert words.freeze(["all-but-last"]) == Freeze()
    assert words.freeze(["layer1", "conv1"]) == Freeze(layers=("layer1", "conv1"))
    assert words.freeze(None) is False
    with pytest.raises(words.WrongWords, match="freezes the other layers too"):
        words.freeze(["all-but-last", "layer1"])
    with pytest.raises(words.WrongWords, match="name it as well"):
        words.net_of(None, weights="a.pth", download=False)
    with pytest.raises(words.WrongWords, match="no published weights for lenet"):
        words.net_of("lenet", weights="a.pth", download=False)
    torch.save(nets.resnet(20).state_dict(), tmp_path / "a.pth")
    net = words.net_of("resnet20", weights=str(tmp_path / "a.pth"), download=False)(
        inputs=(3, 32, 32), outputs=10
    )
    assert net.published.file == "a.pth"


def test_all_that_follows_the_body_of_a_detector_is_last():
    classifier = nets.resnet(20, inputs=(3, 32, 32), outputs=3)
    net = nets.anchor_free(backbone=classifier, strides=(2, 4), inputs=(3, 32, 32), outputs=2)
    depths, alone = layer_depths(net), layer_depths(net.body.net)
    of_body = {id(p) for p in net.body.parameters()}
    assert all((depths[id(p)] == 0) == (id(p) not in of_body) for p in net.parameters())
    assert all(depths[id(p)] == alone[id(p)] + 1 for p in net.body.net.layer3.parameters())  # fc is behind it
    chosen, why = default_optimizer(net, 8)
    assert chosen.before_last < 1 and "learnt" in why
    anew = nets.anchor_free(
        backbone=net.made_by.arguments["backbone"], strides=(2, 4), inputs=(3, 32, 32), outputs=2
    )
    assert default_optimizer(anew, 8)[0].before_last == 1  # nothing that was learnt
