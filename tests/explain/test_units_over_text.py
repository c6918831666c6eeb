"""Recurrent units over a text: a planted counter is found, and numbers are those of the network."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from hubel.data.text import alphabet_of, symbols_of
from hubel.explain import find_units, inside_brackets, position_in_line, units_over_text
from hubel.nets import character_lm


def made_text():
    """Words in lines, some of them in one or two brackets."""
    generator = np.random.default_rng(0)
    words = [
        "the",
        "paper",
        "of",
        "another",
        "one",
        "or",
        "this",
        "and",
        "so",
        "on",
        "but",
        "then",
        "not",
        "a",
        "see",
    ]
    lines = []
    for _ in range(20):
        chosen = [words[k] for k in generator.integers(0, len(words), generator.integers(4, 9))]
        first = int(generator.integers(0, 3))
        last = first + int(generator.integers(0, 2))
        opening, closing = ("[[", "]]") if generator.random() < 0.7 else ("[", "]")
        chosen[first] = opening + chosen[first]
        chosen[last] += closing
        lines.append(" ".join(chosen))
    return "\n".join(lines)


TEXT = made_text()
ALPHABET = alphabet_of(TEXT)


def planted():
    """A network whose unit 5 remembers a "[" until a "]" comes: h = tanh(20 (x + h)), where x is ±3 at brackets and h keeps its sign."""
    torch.manual_seed(0)
    net = character_lm("rnn", 8, layers=1, inputs=len(ALPHABET)).eval()
    cell = net.body.layers[0][0]
    with torch.no_grad():
        net.embed.weight[:, 0] = 0
        net.embed.weight[ALPHABET.index("["), 0] = 3.0
        net.embed.weight[ALPHABET.index("]"), 0] = -3.0
        cell.weight_ih_l0[5] = 0
        cell.weight_ih_l0[5, 0] = 20
        cell.weight_hh_l0[5] = 0
        cell.weight_hh_l0[5, 5] = 20
        cell.bias_ih_l0[5] = cell.bias_hh_l0[5] = 0
    return net


def test_the_planted_unit_is_found_and_shown():
    net = planted()
    found = find_units(net, TEXT, inside_brackets("[", "]"), alphabet=ALPHABET, count=3)
    assert found.units[0] == 5 and found.correlations[0] > 0.9
    assert found.correlations[0] > found.chance and found.searched == 8
    shown = units_over_text(net, TEXT, [2, 5], alphabet=ALPHABET)
    # before the first bracket the unit knows nothing
    start = TEXT.index("[")
    on = shown.activations[start:, 1] > 0
    inside = inside_brackets("[", "]")(TEXT)[start:] > 0
    last = np.array(
        [s == "]" and n == "]" for s, n in zip(TEXT[start:], TEXT[start + 1 :] + " ", strict=True)]
    )
    assert np.array_equal(on[~last], inside[~last])


def test_chance_is_what_a_property_without_meaning_reaches():
    """Of many properties that have nothing to do with the text about one in twenty is beyond it."""
    net = planted()
    text = TEXT[:200]
    generator = np.random.default_rng(0)
    beyond = 0
    for seed in range(60):
        drawn = generator.normal(size=len(text))
        found = find_units(net, text, drawn, alphabet=ALPHABET, count=1, seed=seed)
        beyond += abs(found.correlations[0]) > found.chance
    assert beyond <= 10


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "peephole_lstm"])
def test_activations_and_expectations_are_those_of_the_network(kind, monkeypatch):
    torch.manual_seed(1)
    net = character_lm(kind, 6, layers=2, inputs=len(ALPHABET)).eval()
    x = torch.from_numpy(symbols_of(TEXT, ALPHABET).astype(np.int64))[None]
    scores = net(x)[0].detach()
    features = net.features(x)[0].detach()
    for piece in (4096, 37):
        monkeypatch.setattr(sys.modules["hubel.explain.units_over_text"], "PIECE", piece)
        found = units_over_text(net, TEXT, range(6), alphabet=ALPHABET, top=3)
        assert found.layer == "body.layers.1.0"
        assert np.allclose(found.activations, features.numpy(), atol=1e-5)
        best = scores.softmax(1).topk(3, dim=1)
        assert np.allclose(found.probabilities, best.values.numpy(), atol=1e-5)
        assert found.expected[10, 0] == ALPHABET[int(best.indices[10, 0])]


@pytest.mark.parametrize("kind", ["lstm", "peephole_lstm"])
def test_cells_of_an_lstm_follow_its_equations(kind):
    """h = o ∘ tanh(c) with 0 < o < 1: the cell has the sign of the output and is larger, and h / tanh(c) is the gate."""
    torch.manual_seed(2)
    net = character_lm(kind, 6, layers=1, inputs=len(ALPHABET)).eval()
    cells = units_over_text(net, TEXT[:50], range(6), of="cell", alphabet=ALPHABET)
    outputs = units_over_text(net, TEXT[:50], range(6), alphabet=ALPHABET)
    assert np.allclose(cells.probabilities, outputs.probabilities, atol=1e-6)
    gate = outputs.activations / cells.activations
    assert (gate > 0).all() and (gate < 1).all()
    if kind == "lstm":  # the gate of the first step, from the weights
        cell = net.body.layers[0][0]
        x = net.embed(torch.tensor([ALPHABET.index(TEXT[0])]))
        o = torch.sigmoid(x @ cell.weight_ih_l0[18:].T + (cell.bias_ih_l0 + cell.bias_hh_l0)[18:])
        assert np.allclose(gate[0], o[0].detach().numpy(), atol=1e-4)


def test_any_network_that_scores_every_position():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.rnn, self.head = (
                nn.Embedding(5, 4),
                nn.GRU(4, 3, batch_first=True),
                nn.Linear(3, 5),
            )

        def forward(self, x):
            return self.head(self.rnn(self.embed(x))[0])

    net = Own().eval()
    found = units_over_text(net, "abcdab", 1, alphabet=("a", "b", "c", "d", "�"))
    x = torch.tensor([[0, 1, 2, 3, 0, 1]])
    assert found.layer == "rnn" and np.allclose(
        found.activations[:, 0], net.rnn(net.embed(x))[0][0, :, 1].detach()
    )


def test_positions_and_brackets():
    assert inside_brackets()("[a][[b]c]]").tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert inside_brackets("(", ")")("a(b(c)d)e").tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert inside_brackets('"', '"')('a"b"c"d').tolist() == [0, 1, 1, 0, 0, 1, 1]
    assert position_in_line(["ab", " c", ".\n", "d"]).tolist() == [0, 1, 2, 0]


def test_wrong_input_is_told():
    net = planted()
    for call, said in (
        (
            lambda: units_over_text(net, TEXT, 8, alphabet=ALPHABET),
            "has 8 channels, 0 to 7; received channel 8",
        ),
        (lambda: units_over_text(net, TEXT, 0, layer="body.1", alphabet=ALPHABET), "no layer 'body.1'"),
        (lambda: units_over_text(net, "", 0, alphabet=ALPHABET), "the text is empty"),
        (lambda: units_over_text(net, TEXT, 0), "pass the alphabet"),
        (lambda: units_over_text(net, TEXT, 0, of="cell", alphabet=ALPHABET), "is no LSTM"),
        (lambda: units_over_text(net, TEXT, 0, of="gate", alphabet=ALPHABET), 'expected "output" or "cell"'),
        (lambda: find_units(net, TEXT, [1.0], alphabet=ALPHABET), "one finite number for each"),
        (
            lambda: find_units(net, TEXT, inside_brackets("<", ">"), alphabet=ALPHABET),
            "inside < > is 0 at every symbol",
        ),
        (
            lambda: find_units(
                character_lm("transformer", 8, inputs=4).eval(), "ab", [0, 1], alphabet="abc�"
            ),
            "no recurrent layer",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            call()


def test_a_run_brings_its_alphabet(tmp_path):
    import hubel

    data = hubel.data.from_text(TEXT * 3, length=20)
    net = hubel.nets.character_lm("gru", 8, layers=1, inputs=len(data.alphabet))
    recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision(threads=1))
    run = hubel.fit(data, net=net, recipe=recipe, out=tmp_path / "run", quiet=True)
    found = units_over_text(run, "see [[this]]", 3)
    by_hand = units_over_text(run.net, "see [[this]]", 3, alphabet=data.alphabet)
    assert np.array_equal(found.activations, by_hand.activations)
    sharper = by_hand.probabilities ** (1 / run.objective.temperature)
    assert np.allclose(
        found.probabilities[:, 1] / found.probabilities[:, 0], sharper[:, 1] / sharper[:, 0], rtol=1e-4
    )
