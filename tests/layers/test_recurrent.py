"""Recurrent layers: against the equations in NumPy, against torch run on each sequence alone, and what padding may not change."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hubel.layers.recurrent import Cell, Recurrent

LENGTHS = torch.tensor([6, 1, 4, 6, 3])
every_cell = pytest.mark.parametrize("cell", list(Cell))
every_stack = pytest.mark.parametrize(
    ("num_layers", "bidirectional"), [(1, False), (1, True), (2, False), (3, True)]
)


def layer_of(cell, *, num_layers=1, bidirectional=False, inputs=3, hidden=4, seed=0):
    """In float64, with all parameters random, so that none of them can be forgotten."""
    torch.manual_seed(seed)
    layer = Recurrent(cell, inputs, hidden, num_layers=num_layers, bidirectional=bidirectional).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def sequences(num=5, length=6, features=3, seed=1):
    return torch.randn(
        num, length, features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def equations(cell, x, w, u, b, b_hidden, p):
    """h_1 … h_L of one sequence x [L, F], one direction, as the files' docstrings have them."""
    hidden = u.shape[1]
    h, c, outputs = np.zeros(hidden), np.zeros(hidden), []
    gate = lambda k, m: m[k * hidden : (k + 1) * hidden]  # noqa: E731
    for step in x:
        if cell == "rnn":
            h = np.tanh(w @ step + u @ h + b + b_hidden)
        elif cell == "gru":
            r, z = (
                sigmoid(gate(k, w) @ step + gate(k, u) @ h + gate(k, b) + gate(k, b_hidden)) for k in (0, 1)
            )
            n = np.tanh(gate(2, w) @ step + gate(2, b) + r * (gate(2, u) @ h + gate(2, b_hidden)))
            h = (1 - z) * n + z * h
        else:
            i, f, g, o = (
                gate(k, w) @ step + gate(k, u) @ h + gate(k, b) + gate(k, b_hidden) for k in range(4)
            )
            i, f = sigmoid(i + p[0] * c), sigmoid(f + p[1] * c)
            c = f * c + i * np.tanh(g)
            h = sigmoid(o + p[2] * c) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


@every_cell
def test_outputs_are_those_of_the_equations(cell):
    layer = layer_of(cell)
    x = sequences()
    with torch.no_grad():
        outputs, final = layer(x)
    parameters = {
        n.rpartition(".")[2].removesuffix("_l0"): p.detach().numpy() for n, p in layer.named_parameters()
    }
    w, u = parameters["weight_ih"], parameters["weight_hh"]
    b = parameters.get("bias_ih", parameters.get("bias"))
    b_hidden = parameters.get("bias_hh", np.zeros_like(b))
    p = parameters.get("peephole", np.zeros((3, 4)))
    for row in range(5):
        expected = equations(cell, x[row].numpy(), w, u, b, b_hidden, p)
        np.testing.assert_allclose(outputs[row].numpy(), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(final[row].numpy(), expected[-1], rtol=1e-10, atol=1e-12)


def torchs(layer, num_layers, bidirectional):
    """Torch's own layers with the same weights (without peepholes, an LSTM)."""
    kind = {"rnn": nn.RNN, "gru": nn.GRU}.get(layer.cell, nn.LSTM)
    theirs = kind(3, 4, num_layers, batch_first=True, bidirectional=bidirectional).double()
    for number, stage in enumerate(layer.layers):
        for direction, part in enumerate(stage):
            end = f"_l{number}{'_reverse' if direction else ''}"
            weights = {name.removesuffix("_l0"): value for name, value in part.state_dict().items()}
            weights.setdefault("bias_ih", weights.get("bias"))
            weights.setdefault("bias_hh", torch.zeros_like(weights["bias_ih"]))
            with torch.no_grad():
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(theirs, name + end).copy_(weights[name])
    return theirs


@every_cell
@every_stack
def test_layers_are_those_of_torch_whole_and_padded(cell, num_layers, bidirectional):
    layer = layer_of(cell, num_layers=num_layers, bidirectional=bidirectional)
    for name, parameter in layer.named_parameters():
        if name.endswith("peephole"):
            nn.init.zeros_(parameter)
    theirs = torchs(layer, num_layers, bidirectional)
    x = sequences()
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        whole, unpacked = theirs(x), theirs(packed)
        unpacked = (pad_packed_sequence(unpacked[0], batch_first=True)[0], unpacked[1])
        for received, (expected, state) in ((layer(x), whole), (layer(x, LENGTHS), unpacked)):
            hidden = state[0] if isinstance(state, tuple) else state
            last = hidden[-2:].transpose(0, 1).flatten(1) if bidirectional else hidden[-1]
            torch.testing.assert_close(received, (expected, last))


@every_cell
@every_stack
def test_padded_sequences_give_what_each_gives_alone(cell, num_layers, bidirectional):
    layer = layer_of(cell, num_layers=num_layers, bidirectional=bidirectional)
    x = sequences()
    with torch.no_grad():
        outputs, final = layer(x, LENGTHS)
        for row, length in enumerate(LENGTHS.tolist()):
            expected, last = layer(x[row : row + 1, :length])
            torch.testing.assert_close(outputs[row, :length], expected[0])
            torch.testing.assert_close(final[row], last[0])
            assert (outputs[row, length:] == 0).all()


def test_the_last_state_of_a_peephole_lstm_is_that_of_its_last_output():
    layer = layer_of("peephole_lstm").layers[0][0]
    outputs, (h, c) = layer(sequences())
    assert torch.equal(h, outputs[:, -1])
    gate = torch.sigmoid(
        sequences()[:, -1] @ layer.weight_ih[12:].T
        + outputs[:, -2] @ layer.weight_hh[12:].T
        + layer.bias[12:]
        + layer.peephole[2] * c
    )
    torch.testing.assert_close(h, gate * torch.tanh(c))


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_mask_with_gaps_gives_what_the_sequence_without_them_gives(cell, bidirectional):
    layer = layer_of(cell, num_layers=2, bidirectional=bidirectional)
    x = sequences()
    mask = torch.rand(5, 6, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[:, 3] = True
    assert not all(row.tolist() == sorted(row.tolist(), reverse=True) for row in mask)
    with torch.no_grad():
        outputs, final = layer(x, mask)
        for row in range(5):
            expected, last = layer(x[row : row + 1, mask[row]])
            torch.testing.assert_close(outputs[row, mask[row]], expected[0])
            torch.testing.assert_close(final[row], last[0])
            assert (outputs[row, ~mask[row]] == 0).all()
        as_mask = torch.arange(6) < LENGTHS[:, None]
        torch.testing.assert_close(layer(x, as_mask), layer(x, LENGTHS))


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_content_of_padding_changes_no_bit_of_outputs_and_gradients(cell, bidirectional):
    layer = layer_of(cell, num_layers=2, bidirectional=bidirectional)
    padding = torch.arange(6) >= LENGTHS[:, None]
    found = []
    for content in (0.0, 1e6, math.nan):
        x = sequences()
        x[padding] = content
        x.requires_grad_()
        layer.zero_grad()
        outputs, final = layer(x, LENGTHS)
        (outputs.square().sum() + final.square().sum()).backward()
        assert (x.grad[padding] == 0).all()
        found.append([outputs.detach(), final.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert all(torch.isfinite(value).all() for value in found[0])


@every_cell
def test_one_direction_never_sees_a_later_step(cell):
    layer = layer_of(cell, num_layers=2)
    x = sequences().requires_grad_()
    layer(x)[0][:, 2].sum().backward()
    assert (x.grad[:, :3].abs().sum(dim=2) > 0).all()
    assert (x.grad[:, 3:] == 0).all()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_of_peepholes_are_finite_differences(bidirectional):
    layer = layer_of("peephole_lstm", num_layers=2, bidirectional=bidirectional, hidden=2, inputs=2)
    x = sequences(3, 4, 2)
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *parameters):
        return torch.func.functional_call(
            layer, dict(zip(names, parameters, strict=True)), (x, torch.tensor([4, 1, 3]))
        )

    parameters = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(function, (x.requires_grad_(), *parameters))


@pytest.mark.parametrize("cell", ["lstm", "peephole_lstm"])
def test_the_cell_of_an_lstm_keeps_a_gradient_that_an_rnn_loses(cell):
    """One feature, one unit, no recurrence but the cell: dh_T/dx_1 by the chain rule, T = 100."""
    steps, f, w = 100, 0.99, 0.7
    x = (0.1 * torch.arange(steps, dtype=torch.float64).sin()).view(1, steps, 1).requires_grad_()
    lstm = Recurrent(cell, 1, 1).double()
    named = {name.rpartition(".")[2].removesuffix("_l0"): p for name, p in lstm.named_parameters()}
    with torch.no_grad():
        for parameter in named.values():
            parameter.zero_()
        named["weight_ih"][2] = w
        named["bias_ih" if cell == "lstm" else "bias"][1] = math.log(f / (1 - f))
    lstm(x)[1].backward()
    content = torch.tanh(w * x.detach())
    c = sum(f ** (steps - 1 - t) * 0.5 * content[0, t, 0] for t in range(steps))
    expected = 0.5 * (1 - torch.tanh(c) ** 2) * f ** (steps - 1) * 0.5 * w * (1 - content[0, 0, 0] ** 2)
    torch.testing.assert_close(x.grad[0, 0, 0], expected)
    kept = x.grad[0, 0, 0].abs().item()

    x.grad = None
    rnn = Recurrent("rnn", 1, 1).double()
    u = 0.8
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
        rnn.layers[0][0].weight_ih_l0.fill_(w)
        rnn.layers[0][0].weight_hh_l0.fill_(u)
    outputs, final = rnn(x)
    final.backward()
    slopes = 1 - outputs.detach()[0, :, 0] ** 2
    torch.testing.assert_close(x.grad[0, 0, 0], w * slopes[0] * (u * slopes[1:]).prod())
    lost = x.grad[0, 0, 0].abs().item()
    assert kept > 0.05
    assert lost < 1e-9


@every_cell
def test_initial_weights(cell):
    torch.manual_seed(0)
    layer = Recurrent(cell, 5, 7, num_layers=2)
    for path, parameter in layer.named_parameters():
        name = path.rpartition(".")[2]
        gates = parameter.split(7) if name != "peephole" else [parameter]
        if name.startswith("weight_hh"):
            for gate in gates:
                torch.testing.assert_close(gate @ gate.T, torch.eye(7), atol=1e-5, rtol=0)
        elif name.startswith("weight_ih"):
            bound = (6 / (parameter.shape[1] + 7)) ** 0.5
            assert all(0.7 * bound < gate.abs().max() <= bound for gate in gates)
        elif "lstm" in cell and name in ("bias", "bias_ih_l0"):
            assert parameter.tolist() == [0.0] * 7 + [1.0] * 7 + [0.0] * 14
        else:
            assert (parameter == 0).all()


@every_cell
def test_dropout_stands_between_layers_only_in_training(cell):
    torch.manual_seed(0)
    layer = Recurrent(cell, 3, 4, num_layers=2, dropout=0.5)
    x = sequences().float()
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    with pytest.raises(
        ValueError, match=r"dropout stands between layers, and there is one; received dropout=0.5"
    ):
        Recurrent(cell, 3, 4, dropout=0.5)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_bfloat16_is_close_to_float32(cell, bidirectional):
    torch.manual_seed(0)
    layer = Recurrent(cell, 3, 16, bidirectional=bidirectional)
    x = sequences().float()
    expected = layer(x, LENGTHS)[1]
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        received = layer(x, LENGTHS)[1].float()
    received.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())
    assert (received - expected).norm() < 0.02 * expected.norm()


def test_refusals():
    with pytest.raises(ValueError, match=r"'ltsm' is not a recurrent cell\. Did you mean .lstm"):
        Recurrent("ltsm", 3, 4)
    for sizes in ((0, 4, 1), (3, 0, 1), (3, 4, 0)):
        with pytest.raises(
            ValueError, match=f"must be positive; received {sizes[0]}, {sizes[1]}, {sizes[2]}"
        ):
            Recurrent("gru", sizes[0], sizes[1], num_layers=sizes[2])
