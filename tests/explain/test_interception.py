"""The engine on every way of writing a network: nothing is lost, nothing is changed, and what has no rule says so."""

import copy

import pytest
import torch
import torch.nn.functional as F
from architectures import IMAGE, NETS, Function, conv, head, inputs
from torch import nn

from hubel import explain
from hubel.explain import intercept

every_net = pytest.mark.parametrize("name", NETS)


@every_net
@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_deeplift_is_complete_to_rounding(name, rule):
    net, shape = NETS[name]
    x, baseline = inputs(shape), inputs(shape, seed=3)
    found = explain.deeplift(net, x, target=1, baseline=baseline, rule=rule)
    with torch.no_grad():
        wanted = (net(x.clone()) - net(baseline.clone()))[:, 1]
    assert wanted.abs().min() > 1e-6
    assert found.residual.max() <= 1e-10
    torch.testing.assert_close(found.values.flatten(1).sum(1), wanted, rtol=1e-9, atol=1e-11)
    assert found.values.shape == x.shape


@every_net
def test_relevance_is_conserved_with_what_is_absorbed(name):
    net, shape = NETS[name]
    x = inputs(shape)
    for rule in (explain.Epsilon(0.0), explain.Epsilon(0.01), explain.EPSILON_PLUS, explain.EPSILON_GAMMA):
        found = explain.lrp(net, x, target=1, rule=rule)
        assert found.residual.max() <= 1e-6, rule
        assert found.values.abs().sum() > 0
        with torch.no_grad():
            torch.testing.assert_close(found.score, net(x.clone())[:, 1])


@every_net
def test_integrated_gradients_within_the_tolerance_asked_for(name):
    net, shape = NETS[name]
    for tolerance in (0.05, 0.005):
        found = explain.integrated_gradients(
            net,
            inputs(shape, 2),
            target=1,
            baseline=inputs(shape, 2, seed=3),
            tolerance=tolerance,
            max_steps=5103,
            batch_size=256,
        )
        assert found.residual.max() <= tolerance


@every_net
def test_examples_are_explained_as_if_they_were_alone(name):
    net, shape = NETS[name]
    x, baseline = inputs(shape), inputs(shape, seed=3)
    for method in (
        lambda x, b: explain.deeplift(net, x, target=0, baseline=b),
        lambda x, b: explain.lrp(net, x, target=0),
    ):
        together = method(x, baseline)
        alone = [method(x[i : i + 1], baseline[i : i + 1]) for i in range(len(x))]
        torch.testing.assert_close(
            together.values, torch.cat([a.values for a in alone]), rtol=1e-7, atol=1e-9
        )
        torch.testing.assert_close(
            together.absorbed, torch.cat([a.absorbed for a in alone]), rtol=1e-7, atol=1e-9
        )


def test_what_a_bias_or_a_position_keeps_is_counted_by_hand():
    layer = nn.Linear(2, 1).double()
    layer.weight.data, layer.bias.data = torch.tensor([[2.0, -1.0]]).double(), torch.tensor([0.5]).double()
    net = Function(lambda net, x: net.a(x + torch.tensor([0.25, 1.0])), a=layer)
    found = explain.lrp(net, torch.tensor([[1.0, 3.0]]), rule=explain.Epsilon(0.0))
    torch.testing.assert_close(found.values, torch.tensor([[2.0, -3.0]]).double())
    torch.testing.assert_close(found.absorbed, torch.tensor([0.5 + 2 * 0.25 - 1.0]).double())


def test_batch_norm_is_folded_by_the_flow_of_data_and_not_by_the_order_of_modules():
    torch.manual_seed(0)
    b, a = nn.BatchNorm2d(3), conv(2, 3)  # registered in the wrong order, and after another convolution's
    other = conv(2, 3)
    net = Function(
        lambda net, x: net.c(F.relu(net.b(net.a(x))).flatten(1)), other=other, b=b, a=a, c=head(192)
    )
    net.double().eval()
    (
        b.running_mean.uniform_(-1, 1),
        b.running_var.uniform_(0.5, 2),
        nn.init.uniform_(b.weight, -2, 2),
        nn.init.uniform_(b.bias),
    )
    scale = b.weight / (b.running_var + b.eps).sqrt()
    merged = copy.deepcopy(a)
    merged.weight.data = (a.weight * scale.view(-1, 1, 1, 1)).detach()
    merged.bias.data = (a.bias * scale + b.bias - b.running_mean * scale).detach()
    by_hand = nn.Sequential(merged, nn.ReLU(), nn.Flatten(), net.c)
    x = inputs(IMAGE)
    for rule in (explain.Epsilon(0.1), explain.ZPlus(), explain.AlphaBeta(2.0, 1.0), explain.Gamma(0.5)):
        received, expected = (explain.lrp(n, x, target=0, rule=rule) for n in (net, by_hand))
        torch.testing.assert_close(received.values, expected.values)
        torch.testing.assert_close(received.absorbed, expected.absorbed)


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_after_a_transposed_convolution_is_folded_too(groups):
    torch.manual_seed(0)
    a, b = nn.ConvTranspose2d(4, 6, 3, 2, groups=groups), nn.BatchNorm2d(6)
    net = nn.Sequential(a, b, nn.ReLU(), nn.Flatten(), head(6 * 49)).double().eval()
    b.running_var.uniform_(0.5, 2), nn.init.uniform_(b.weight, -2, 2)
    scale = (b.weight / (b.running_var + b.eps).sqrt()).detach()
    merged = copy.deepcopy(a)
    expanded = scale.view(groups, 1, -1).expand(groups, 4 // groups, -1).reshape(4, -1)
    merged.weight.data = (a.weight * expanded[:, :, None, None]).detach()
    merged.bias.data = (a.bias * scale).detach()
    by_hand = nn.Sequential(merged, *net[2:])
    received, expected = (
        explain.lrp(n, inputs((4, 3, 3)), target=0, rule=explain.ZPlus()).values for n in (net, by_hand)
    )
    torch.testing.assert_close(received, expected)


FUSED = {
    "lstm": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "gru": lambda: nn.GRU(3, 4, 2, batch_first=True, bias=False),
    "rnn": lambda: nn.RNN(3, 4, bidirectional=True),
    "response": lambda: nn.LocalResponseNorm(4, 0.3, 0.6, 2.0),
}


@pytest.mark.parametrize("kind", FUSED)
def test_fused_operations_taken_apart_answer_the_same(kind):
    torch.manual_seed(0)
    module = FUSED[kind]().double()
    x = inputs((5, 3), 4)
    with explain_ones() as engine:
        received = module(engine.marked(x.clone()))
    expected = module(x)
    for a, b in zip(intercept.tensors_in(received), intercept.tensors_in(expected), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("masks", ["none", "boolean", "padding", "heads"])
@pytest.mark.parametrize("batch_first", [True, False])
def test_multi_head_attention_taken_apart_answers_the_same(masks, batch_first):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first).double()
    x = inputs((5, 8), 5)
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)
    padding = torch.zeros(5, 5, dtype=torch.bool)
    padding[:, 4] = True
    more = {
        "none": {},
        "boolean": {"attn_mask": later},
        "padding": {"key_padding_mask": padding, "attn_mask": later},
        "heads": {"attn_mask": torch.randn(10, 5, 5).double(), "average_attn_weights": False},
    }[masks]
    with explain_ones() as engine:
        y = engine.marked(x.clone())
        received = module(y, y, y, **more)
    for a, b in zip(received, module(x, x, x, **more), strict=True):
        torch.testing.assert_close(a, b)


def explain_ones():
    from hubel.explain.lrp_rules import Composite
    from hubel.explain.relevance import Relevance

    return intercept.intercepted(nn.Identity(), Relevance(Composite(), 1, torch.zeros(1)))


def test_an_operation_without_a_rule_names_itself_and_its_place():
    net = (
        nn.Sequential(conv(), Function(lambda net, x: torch.cummax(x, 1)[0]), nn.Flatten(), head(256))
        .double()
        .eval()
    )
    for method in (explain.deeplift, explain.lrp):
        with pytest.raises(
            ValueError, match=r"has no rule for the operation cummax, which is called in 1 \(Function\)"
        ):
            method(net, inputs(IMAGE), target=0)


def test_a_choice_by_value_has_no_rule_in_deeplift():
    net = Function(lambda net, x: net.a(torch.where(x > 0, x, 0.1 * x)), a=nn.Linear(4, 2)).double()
    with pytest.raises(ValueError, match="operation where that reads a choice"):
        explain.deeplift(net, inputs((4,)), target=0)
    assert explain.lrp(net, inputs((4,)), target=0).residual.max() < 1e-9


def test_an_operator_without_a_rule_keeps_its_error():
    """Python would make "unsupported operand" of a TypeError inside of `-`."""

    def forward(net, x):
        with torch.no_grad():
            middle = x.mean()
        return net.a(x - middle)

    with pytest.raises(ValueError, match="deeplift has no rule for the operation sub that reads a choice"):
        explain.deeplift(Function(forward, a=nn.Linear(4, 2)).double(), inputs((4,)), target=0)


def test_control_flow_by_value_is_fine():
    def forward(net, x):
        if bool((x > -100).all()) and float(x.max()) < 100:
            x = net.a(x)
        return x.relu()

    net = Function(forward, a=nn.Linear(4, 2)).double()
    assert explain.deeplift(net, inputs((4,)), target=0, baseline=1.0).residual.max() < 1e-10


def test_different_operations_for_the_baseline_are_refused():
    net = Function(lambda net, x: net.a(x.relu() if x.sum() > 0 else x.tanh()), a=nn.Linear(4, 2)).double()
    with pytest.raises(ValueError, match="does different things for the input and for the baseline"):
        explain.deeplift(net, torch.ones(1, 4), target=0, baseline=-1.0)


def test_a_rule_that_changes_the_answer_is_found(monkeypatch):
    monkeypatch.setitem(
        __import__("hubel.explain.operations", fromlist=["TABLE"]).TABLE,
        "tanh",
        lambda call: call.args[0].tanh() * 1.01,
    )
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    for method in (explain.deeplift, explain.lrp):
        with pytest.raises(RuntimeError, match="a rule of hubel is wrong"):
            method(net, inputs((4,)), target=0)


def test_batch_statistics_are_refused():
    net = nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)).double().eval()
    with pytest.raises(ValueError, match="with the statistics of the batch"):
        explain.deeplift(net, inputs((4,)), target=0)
