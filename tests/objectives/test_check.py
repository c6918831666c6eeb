"""What `check` refuses, with the remedy, and what it must let pass: network ending × objective × targets."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import nets
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError, check

N, D = 16, 6


class Ends(nn.Module):
    """A network whose last operation is `end`."""

    def __init__(self, outputs, end=lambda z: z):
        super().__init__()
        self.body, self.end = nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, outputs)), end

    def forward(self, x):
        return self.end(self.body(x))


def ending(outputs, end):
    return lambda: Ends(outputs, end)


def then(outputs, *modules):
    return lambda: nn.Sequential(Ends(outputs), *modules)


def softmax_by_hand(z):
    e = (z - z.max(1, keepdim=True).values).exp()
    return e / e.sum(1, keepdim=True)


INPUTS = torch.randn(N, D, generator=torch.Generator().manual_seed(1))
K3 = torch.arange(N) % 3
K2 = torch.arange(N) % 2
YES = K2.float()
LABELS = torch.stack([K2, 1 - K2, K3 % 2], 1)
REAL = torch.randn(N, generator=torch.Generator().manual_seed(2)) * 3
ONE_HOT = F.one_hot(K3, 3)
CE3, CE2, BCE, BCE3, SQ, SQ2 = (
    CrossEntropy(3),
    CrossEntropy(2),
    BinaryCrossEntropy(1),
    BinaryCrossEntropy(3),
    SquaredError(1),
    SquaredError(2),
)
plain1, plain2, plain3 = ending(1, lambda z: z), ending(2, lambda z: z), ending(3, lambda z: z)
nan_inputs = INPUTS.clone()
nan_inputs[3, 1] = float("nan")

REMOVE = "Remove it from the network"
WRONG = {
    # an activation before a loss that has its own
    "softmax module": (then(3, nn.Softmax(1)), CE3, K3, f"ends with a softmax.*applied twice.*{REMOVE}"),
    "softmax function": (ending(3, lambda z: F.softmax(z, 1)), CE3, K3, REMOVE),
    "softmax method": (ending(3, lambda z: z.softmax(-1)), CE3, K3, REMOVE),
    "softmax, cast": (ending(3, lambda z: z.double().softmax(1).float()), CE3, K3, "softmax"),
    "softmax, viewed": (ending(3, lambda z: z.softmax(1).view(-1, 3, 1).squeeze(2)), CE3, K3, "softmax"),
    "softmax, twice transposed": (ending(3, lambda z: z.softmax(1).T.contiguous().T), CE3, K3, "softmax"),
    "softmax by hand": (ending(3, softmax_by_hand), CE3, K3, "softmax"),
    "softmax of two": (then(2, nn.Softmax(1)), CE2, K2, "softmax"),
    "softmax, detached graph": (ending(3, lambda z: z.softmax(1).detach()), CE3, K3, "softmax"),
    "softmax, probabilities": (then(3, nn.Softmax(1)), CE3, ONE_HOT.float(), "softmax"),
    "sigmoid under classes": (then(3, nn.Sigmoid()), CE3, K3, f"sigmoid.*squashed.*{REMOVE}"),
    "clamped sigmoid under classes": (
        ending(3, lambda z: z.sigmoid().clamp(1e-7, 1 - 1e-7)),
        CE3,
        K3,
        "between 0 and 1",
    ),
    "two probabilities from one": (
        ending(1, lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()], 1)),
        CE2,
        K2,
        "softmax",
    ),
    "tanh under classes": (then(3, nn.Tanh()), CE3, K3, "tanh.*can not express a sure answer"),
    "hard sigmoid": (then(3, nn.Hardsigmoid()), CE3, K3, "hard sigmoid"),
    "log-sigmoid": (then(3, nn.LogSigmoid()), CE3, K3, "log-sigmoid"),
    "sigmoid, one node": (then(1, nn.Sigmoid()), BCE, YES, f"sigmoid.*squashed twice.*{REMOVE}"),
    "sigmoid function": (ending(1, torch.sigmoid), BCE, YES, "sigmoid"),
    "sigmoid by hand": (ending(1, lambda z: 1 / (1 + (-z).exp())), BCE, YES, "between 0 and 1"),
    "sigmoid, clamped": (ending(1, lambda z: z.sigmoid().clamp(0.01, 0.99)), BCE, YES, "between 0 and 1"),
    "sigmoid, cast": (ending(1, lambda z: z.double().sigmoid().float()), BCE, YES, "sigmoid"),
    "sigmoid, several labels": (then(3, nn.Sigmoid()), BCE3, LABELS, "sigmoid"),
    "softmax, several labels": (then(3, nn.Softmax(1)), BCE3, LABELS, "softmax"),
    "softmax on one node": (then(1, nn.Softmax(1)), BCE, YES, "one node, which is always 1"),
    "log_softmax, several labels": (then(3, nn.LogSoftmax(1)), BCE3, LABELS, "log_softmax.*above one half"),
    "relu, one node": (then(1, nn.ReLU()), BCE, YES, "relu.*below one half"),
    "tanh, one node": (then(1, nn.Tanh()), BCE, YES, "tanh"),
    # an activation that can not reach the targets
    "sigmoid, real values": (
        then(1, nn.Sigmoid()),
        SQ,
        REAL,
        "between 0 and 1, but the targets run from .*linear layer",
    ),
    "tanh, real values": (then(1, nn.Tanh()), SQ, REAL, "between -1 and 1, but"),
    "relu, negative values": (then(1, nn.ReLU()), SQ, REAL, "between 0 and inf, but"),
    "softmax on one node, values": (then(1, nn.Softmax(1)), SQ, REAL.sigmoid(), "always 1"),
    "sigmoid, standardized values": (
        then(1, nn.Sigmoid()),
        SquaredError(1, center=(0.5,), scale=(0.1,)),
        YES * 0.8,
        "in the units of center and scale",
    ),
    # sizes
    "one node for classes": (
        plain1,
        CE2,
        K2,
        r"shape \(16, 1\); expected \(16, 2\).*BinaryCrossEntropy\(1\)",
    ),
    "too few nodes": (plain2, CE3, K3, r"\(16, 2\); expected \(16, 3\).*End the network with 3 outputs"),
    "too many nodes": (plain3, CE2, K2, "choose the objective for 3"),
    "two nodes for yes or no": (plain2, BCE, YES, r"expected \(16, 1\)"),
    "a lost axis": (ending(1, lambda z: z.squeeze(1)), SQ, REAL, r"broadcast to \[N, N\].*unsqueeze"),
    "a lost axis, yes or no": (ending(1, lambda z: z.squeeze(1)), BCE, YES, "unsqueeze"),
    "a map of scores": (ending(3, lambda z: z.view(-1, 3, 1, 1)), CE3, K3, "Average over positions"),
    "a single number": (ending(3, lambda z: z.mean()), CE3, K3, "Do not reduce the scores"),
    "a part of the batch": (ending(3, lambda z: z[:5]), CE3, K3, r"\(5, 3\)"),
    # what is returned
    "a tuple": (ending(3, lambda z: (z, z)), CE3, K3, "returned a tuple.*Wrap it"),
    "a dict": (ending(3, lambda z: {"out": z}), CE3, K3, "returned a dict"),
    "classes": (ending(3, lambda z: z.argmax(1)), CE3, K3, "int64 numbers.*remove the argmax"),
    "yes or no": (ending(1, lambda z: z > 0), BCE, YES, "bool numbers"),
    "NaN": (ending(3, lambda z: z / 0 * 0), CE3, K3, "NaN or infinite values.*division by zero"),
    "infinity": (ending(3, lambda z: z.abs().mul(-1).log()), CE3, K3, "NaN or infinite"),
    "an error": (
        ending(3, lambda z: z @ torch.zeros(5, 5)),
        CE3,
        K3,
        r"failed on one real batch of shape \(16, 6\)",
    ),
    "a strange error": (ending(3, lambda z: z.nothing), CE3, K3, "AttributeError"),
    # targets
    "classes from 1": (
        plain3,
        CE3,
        K3 + 1,
        r"run from 1 to 3.*renumber the classes from 0, or write CrossEntropy\(4\)",
    ),
    "classes -1 and 1": (plain2, CE2, 2 * K2 - 1, "run from -1 to 1"),
    "one-hot of whole numbers": (plain3, CE3, ONE_HOT, "argmax"),
    "classes as [N, 1]": (plain3, CE3, K3[:, None], r"expected class numbers \[N\]"),
    "classes as floating numbers": (plain3, CE3, K3.float(), "For real values write SquaredError"),
    "rows that do not sum to 1": (plain3, CE3, torch.ones(N, 3), "every row with sum 1"),
    "negative probabilities": (plain3, CE3, torch.tensor([2.0, -1, 0]).expand(N, 3), "not negative"),
    "NaN probabilities": (plain3, CE3, torch.full((N, 3), float("nan")), "probabilities"),
    "yes is 1, no is -1": (plain1, BCE, 2 * YES - 1, r"run from -1 to 1.*\(y \+ 1\) / 2"),
    "class numbers for yes or no": (plain1, BCE, K3, "0 to 2.*CrossEntropy"),
    "halves": (plain1, BCE, YES * 0.5 + 0.25, r"hold 0.25.*\[1 - p, p\]"),
    "NaN for yes or no": (plain1, BCE, YES * float("nan"), "NaN"),
    "one label for three": (plain3, BCE3, YES, r"expected \[N, 3\]"),
    "three labels for one": (plain1, BCE, LABELS, r"expected \[N\] or \[N, 1\]"),
    "squared error of classes": (plain1, SQ, K3, r"look like class numbers.*CrossEntropy\(K\)"),
    "squared error of two values": (plain1, SQ, REAL[:, None].expand(-1, 2), r"write SquaredError\(2\)"),
    "squared error of one value": (plain2, SQ2, REAL, r"expected \[N, 2\]"),
    "NaN values": (plain1, SQ, torch.where(K2 == 1, REAL, torch.nan), "NaN or infinite values.*rows"),
    "targets of another batch": (plain3, CE3, K3[:5], "16 inputs and 5 targets"),
}
PASS = {
    "classes": (plain3, CE3, K3),
    "two classes": (plain2, CE2, K2),
    "small class numbers": (plain3, CE3, K3.to(torch.uint8)),
    "a class that is not there": (plain3, CE3, K2),
    "probabilities": (plain3, CE3, ONE_HOT.float()),
    "one node": (plain1, BCE, YES),
    "one node, [N, 1]": (plain1, BCE, YES[:, None]),
    "one node, whole numbers": (plain1, BCE, K2),
    "one node, true and false": (plain1, BCE, K2.bool()),
    "several labels": (plain3, BCE3, LABELS),
    "a value": (plain1, SQ, REAL),
    "a value, [N, 1]": (plain1, SQ, REAL[:, None]),
    "two values": (plain2, SQ2, REAL.view(-1, 1).expand(-1, 2)),
    "log_softmax before cross-entropy changes nothing": (then(3, nn.LogSoftmax(1)), CE3, K3),
    "relu under classes": (then(3, nn.ReLU()), CE3, K3),
    "relu for positive values": (then(1, nn.ReLU()), SQ, REAL.abs()),
    "sigmoid for values between 0 and 1": (then(1, nn.Sigmoid()), SQ, REAL.sigmoid()),
    "sigmoids and squared error for labels": (then(3, nn.Sigmoid()), SquaredError(3), LABELS.float()),
    "tanh for values between -1 and 1": (then(1, nn.Tanh()), SQ, REAL.tanh()),
    "softplus for positive values": (then(1, nn.Softplus()), SQ, REAL.abs()),
    "capped scores": (ending(3, lambda z: 30 * torch.tanh(z / 30)), CE3, K3),
    "scores between 0 and 1 by chance": (ending(1, lambda z: 0.01 * z + 0.5), BCE, YES),
    "class scores between 0 and 1 by chance": (ending(3, lambda z: 0.01 * z + 0.5), CE3, K3),
    "scores that sum to 1 by chance": (
        ending(3, lambda z: 1 / 3 + 0 * z.detach() + 0.0 * z + 1e-5 * z),
        CE3,
        K3,
    ),
    "zero scores": (ending(3, lambda z: z * 0), CE3, K3),
    "equal scores": (ending(1, lambda z: z * 0 + 0.4 + 1e-3 * z), BCE, YES),
    "large scores": (ending(3, lambda z: 1e4 * z), CE3, K3),
    "sure and right scores": (ending(3, lambda z: 1e-3 * z + 50.0 * F.one_hot(K3, 3)[: len(z)]), CE3, K3),
    "positive scores": (ending(3, lambda z: z.abs() + 3), CE3, K3),
    "half precision": (ending(3, lambda z: z.bfloat16()), CE3, K3),
    "batch norm at the end": (then(3, nn.BatchNorm1d(3)), CE3, K3),
    "dropout at the end": (then(3, nn.Dropout(0.5)), CE3, K3),
}


def verdict(make, objective, targets, inputs=INPUTS):
    torch.manual_seed(0)
    check(make(), objective, Batch(inputs=inputs, targets=targets, ids=torch.arange(len(inputs))))


def test_the_tables_are_long():
    assert len(WRONG) >= 60 and len(PASS) >= 30


@pytest.mark.parametrize(("make", "objective", "targets", "match"), WRONG.values(), ids=WRONG)
def test_refused_with_the_remedy(make, objective, targets, match):
    with pytest.raises(ContractError, match=match):
        verdict(make, objective, targets)


@pytest.mark.parametrize(("make", "objective", "targets"), PASS.values(), ids=PASS)
def test_passes(make, objective, targets):
    verdict(make, objective, targets)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_inputs_that_are_not_finite(bad):
    inputs = INPUTS.clone()
    inputs[3, 1] = bad
    with pytest.raises(
        ContractError, match=r"1 examples of the first batch hold NaN or infinite inputs \(rows \[3\]\)"
    ):
        verdict(plain3, CE3, K3, inputs)


def test_inputs_of_any_rank():
    class Embeds(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 3)

        def forward(self, x):
            return self.table(x)

    verdict(Embeds, CE3, K3, torch.arange(N) % 9)


@pytest.mark.parametrize("num", [1, 2])
def test_small_batches(num):
    verdict(plain3, CE3, K3[:num], INPUTS[:num])
    verdict(plain1, BCE, YES[:num], INPUTS[:num])
    with pytest.raises(ContractError, match="softmax"):
        verdict(WRONG["softmax by hand"][0], CE3, K3[:num], INPUTS[:num])
    with pytest.raises(ContractError, match="between 0 and 1"):
        verdict(WRONG["sigmoid by hand"][0], BCE, YES[:num], INPUTS[:num])


def test_no_examples():
    with pytest.raises(ContractError, match="at least one"):
        verdict(plain3, CE3, K3[:0], INPUTS[:0])


@pytest.mark.parametrize("scale", [1e-4, 0.03, 1.0, 30.0])
def test_raw_scores_of_many_networks_pass(scale):
    """2,000 one-node and three-node networks, narrow ones among them, whose scores are between 0 and 1 by chance often enough."""
    seen = 0
    for seed in range(250):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(D, 2), nn.ReLU(), nn.Linear(2, 1 if seed % 2 else 3))
        with torch.no_grad():
            net[2].weight.mul_(scale)
            net[2].bias.uniform_(0.2, 0.8)
            inside = net(INPUTS)
        seen += bool(((inside > 0) & (inside < 1)).all())
        check(net, BCE if seed % 2 else CE3, Batch(inputs=INPUTS, targets=YES if seed % 2 else K3))
    assert seen > 50 or scale > 0.1


def test_squashed_networks_never_pass():
    for seed in range(200):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(D, 3), nn.Tanh(), nn.Linear(3, 1 if seed % 2 else 3))
        squashed = Then(net, (lambda z: 1 / (1 + torch.exp(-z))) if seed % 2 else softmax_by_hand)
        with pytest.raises(ContractError):
            check(squashed, BCE if seed % 2 else CE3, Batch(inputs=INPUTS, targets=YES if seed % 2 else K3))


class Then(nn.Module):
    def __init__(self, net, end):
        super().__init__()
        self.net, self.end = net, end

    def forward(self, x):
        return self.end(self.net(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nets.resnet(20, inputs=(3, 16, 16), outputs=4),
        lambda: nets.simple_cnn(inputs=(3, 16, 16), outputs=4),
    ],
)
def test_hubels_networks_pass(make):
    check(make(), CrossEntropy(4), Batch(inputs=torch.randn(8, 3, 16, 16), targets=torch.arange(8) % 4))


class Busy(nn.Module):
    """Changes one buffer, replaces another, draws random numbers; and one part of it stays in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(D, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.last = torch.rand(())
        return 0.01 * self.net(x) + 0.5


@pytest.mark.parametrize("good", [True, False])
def test_nothing_is_left_changed(good):
    net = Busy().train()
    net.net[1].eval()
    net(INPUTS).sum().backward()
    modes = [m.training for m in net.modules()]
    state = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = dict(net.named_buffers())
    grads = [p.grad.clone() for p in net.parameters()]
    rng = torch.get_rng_state()
    batch = Batch(inputs=INPUTS.clone(), targets=K3.clone() if good else K3 + 1)
    try:
        check(net, CE3 if good else CE2, batch)
    except ContractError:
        assert not good
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert all(v is tensors[k] for k, v in net.named_buffers())
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), grads, strict=True))
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(batch.inputs, INPUTS)


def test_out_of_memory_is_not_the_networks_fault():
    def fail(z):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        verdict(ending(3, fail), CE3, K3)


def test_the_layer_in_which_a_network_fails_is_named_with_what_it_was_given():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(100, 2))
    batch = Batch(inputs=torch.zeros(3, 1, 8, 8), targets=torch.tensor([0, 1, 0]))
    with pytest.raises(ContractError, match=r"in layer 2, Linear, which received \[3, 144\]"):
        check(net, CrossEntropy(2), batch)
