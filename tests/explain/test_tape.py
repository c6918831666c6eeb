"""The tape of a pass: in-place code becomes values, what is not needed is dropped, batch norm is folded; replayed for more rows it answers the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel.explain.nested import mapped
from hubel.explain.simplified import simplified
from hubel.explain.tape import Slot, record

LIMIT = 10**9


def replayed(tape, x):
    values = {0: x}
    for operation in tape.operations:
        for number, value in zip(operation.outputs, tape.replay(operation, values, len(x)), strict=True):
            if value is not None:
                values[number] = value
    return mapped(tape.answer, Slot, lambda slot: values[slot.number])


def network(*, bias=True):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, bias=bias), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2, bias=bias), nn.BatchNorm2d(4, affine=bias), nn.Flatten(), nn.Linear(900, 3),
    ).double().eval()  # fmt: skip
    for layer in (net[1], net[4]):
        nn.init.normal_(layer.running_mean)
        nn.init.uniform_(layer.running_var, 0.2, 3)
    return net


@pytest.mark.parametrize("bias", [True, False])
def test_a_folded_tape_answers_for_any_number_of_rows(bias):
    net, x = network(bias=bias), torch.randn(5, 2, 9, 9, dtype=torch.float64)
    tape, _ = record(net, x[:2], limit=LIMIT)
    short = simplified(tape, channels_last=False)
    names = [operation.name for operation in short.operations]
    assert "native_batch_norm" not in names and not [n for n in names if "batch_norm" in n]
    assert any(operation.in_place for operation in short.operations)
    with torch.no_grad():
        assert torch.allclose(replayed(tape, x.clone()), net(x), rtol=1e-12)
        assert torch.allclose(replayed(short, x.clone()), net(x), rtol=1e-10)


def test_writing_in_place_does_not_change_what_was_recorded_before():
    def run(x):
        y = x * 2
        z = y.view(2, -1)
        y.add_(1).relu_()
        return y + x, z

    x = torch.randn(2, 4)
    tape, answered = record(lambda x: run(x)[0], x, limit=LIMIT)
    assert [operation.name for operation in tape.operations] == ["mul", "view", "add", "relu", "add"]
    first, second, third, fourth = (tape.values[tape.operations[k].outputs[0]] for k in (0, 2, 3, 4))
    assert torch.equal(first, x * 2)
    assert torch.equal(second, x * 2 + 1)
    assert torch.equal(third, F.relu(x * 2 + 1))
    assert torch.equal(fourth, answered)


def test_a_value_read_through_a_stale_view_is_refused():
    def run(x):
        y = x * 2
        z = y.view(-1)
        y.add_(1)
        return z * 3

    reason, _ = record(run, torch.randn(2, 4), limit=LIMIT)
    assert reason == "a view of a value was written to"


def test_more_than_may_be_kept_is_refused():
    reason, answered = record(network(), torch.randn(2, 2, 9, 9, dtype=torch.float64), limit=1000)
    assert "takes more than" in reason
    assert answered.shape == (2, 3)


def test_an_answer_that_is_no_function_of_the_input_is_refused():
    reason, _ = record(lambda x: torch.ones(2, 3), torch.zeros(2, 4), limit=LIMIT)
    assert "can be followed" in reason


class Tokens(nn.Module):
    """A class token before the positions, and weights that are expanded for every example."""

    def __init__(self):
        super().__init__()
        self.first, self.weight = nn.Parameter(torch.randn(1, 1, 6)), nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        tokens = torch.cat([self.first.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        mixed = torch.bmm(tokens, self.weight.expand(len(x), 6, 6))
        return (mixed + self.first.expand(len(x), 10, 6))[:, 0]


NUMBER_OF_EXAMPLES = {
    "group norm": lambda: nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.GroupNorm(3, 6), nn.Flatten()),
    "class token": lambda: nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.MaxPool2d(3), Tokens()),
    "pooled to one position, channels last": lambda: nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("name", NUMBER_OF_EXAMPLES)
def test_operations_that_are_told_the_number_of_examples(name):
    torch.manual_seed(0)
    net = NUMBER_OF_EXAMPLES[name]().double().eval()
    x = torch.randn(5, 2, 9, 9, dtype=torch.float64)
    if name.endswith("last"):
        x = x.contiguous(memory_format=torch.channels_last)
    tape, _ = record(net, x[:2], limit=LIMIT)
    assert not isinstance(tape, str), tape
    with torch.no_grad():
        assert torch.allclose(replayed(tape, x.clone()), net(x), rtol=1e-12)


def test_memory_that_is_read_in_another_order_is_refused():
    reason, _ = record(lambda x: torch.as_strided(x * 1, (2, 4), (1, 2)), torch.randn(2, 4), limit=LIMIT)
    assert "addresses memory itself" in reason
