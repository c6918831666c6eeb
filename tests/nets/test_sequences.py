"""What networks of sequences promise: the promises of test_contract.py, and that padding and the future change nothing.

Each is made with 6 features (or 6 symbols) and 5 outputs. Scores of `character_lm` are one row a position.
"""

import copy
import io
import json
import math

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.core import names
from hubel.layers.recurrent import Cell, Recurrent
from hubel.nets.made import Net

FEATURES, STEPS = 6, 12
RECURRENT = [{"kind": str(kind), "hidden": 16} for kind in Cell]
RECURRENT += [
    {"kind": str(kind), "hidden": 16, "bidirectional": True, "layers": 2, "pooling": "mean"} for kind in Cell
]
TRANSFORMER = [
    {"width": 16},
    {"width": 16, "pooling": "last", "layers": 1, "feedforward": 24, "dropout": 0.0},
]
CHARACTER_LM = [{"kind": kind, "width": 16} for kind in [*map(str, Cell), "transformer"]]
SERIES_RESNET = [{"width": 8}, {"width": 12, "dropout": 0.0}]
WITH_PADDING = [("recurrent", variant) for variant in RECURRENT] + [("transformer", v) for v in TRANSFORMER]
WITH_PADDING += [("series_resnet", variant) for variant in SERIES_RESNET]
CASES = WITH_PADDING + [("character_lm", variant) for variant in CHARACTER_LM]
LENGTHS = torch.tensor([12, 1, 5, 12, 7])


def cases_of(cases):
    return pytest.mark.parametrize(
        ("name", "variant"), cases, ids=[f"{n}{list(v.values())}" for n, v in cases]
    )


every_net = cases_of(CASES)
every_net_with_padding = cases_of(WITH_PADDING)


def make(name, variant, *, inputs=FEATURES, outputs=5, seed=0):
    torch.manual_seed(seed)
    return getattr(nets, name)(**variant, inputs=inputs, outputs=outputs)


def sequences(name, count=5, steps=STEPS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    if name == "character_lm":
        return torch.randint(FEATURES, (count, steps), generator=generator)
    return torch.randn(count, steps, FEATURES, generator=generator)


def loss_of(net, x):
    scores = net(x).flatten(0, -2)
    return F.cross_entropy(scores, torch.arange(len(scores)) % 5)


@every_net
def test_shapes_of_scores_and_features(name, variant):
    net = make(name, variant).eval()
    assert isinstance(net, Net)
    x = sequences(name)
    with torch.no_grad():
        scores, features = net(x), net.features(x)
    rows = (5, STEPS) if name == "character_lm" else (5,)
    assert scores.shape == (*rows, 5)
    assert features.shape[:-1] == rows
    torch.testing.assert_close(net.head(features), scores)
    assert net(sequences(name, steps=1)).shape[-1] == net(sequences(name, steps=40)).shape[-1] == 5


@every_net
def test_backward_reaches_every_parameter(name, variant):
    net = make(name, variant)
    loss_of(net, sequences(name, 8)).backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@every_net
def test_examples_do_not_see_each_other_and_eval_repeats_itself(name, variant):
    net = make(name, variant).eval()
    x = sequences(name)
    kept, state = x.clone(), copy.deepcopy(net.state_dict())
    with torch.no_grad():
        together = net(x)
        alone = torch.cat([net(x[i : i + 1]) for i in range(5)])
        assert torch.equal(net(x), together)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert torch.equal(x, kept)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


@every_net
def test_saved_rebuilt_and_loaded_it_gives_the_same_bits(name, variant):
    net = make(name, variant)
    stored = json.loads(json.dumps({"name": net.made_by.name, "arguments": net.made_by.arguments}))
    again = names.rebuild_net(stored["name"], stored["arguments"])
    assert again.made_by == net.made_by
    assert repr(again) == repr(net)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(net.eval()(sequences(name)), again.eval()(sequences(name)))


@every_net
def test_initial_weights_depend_on_the_global_generator_alone(name, variant):
    first, second, third = (make(name, variant, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in make(name, variant).state_dict().items()}
    assert shapes == {key: value.shape for key, value in first.items()}


@every_net
def test_first_loss_is_near_that_of_chance(name, variant):
    with torch.no_grad():
        loss = loss_of(make(name, variant), sequences(name, 32))
    assert 0.5 * math.log(5) < loss < 2 * math.log(5)


@every_net
def test_bfloat16_is_close_to_float32(name, variant):
    net = make(name, variant).eval()  # without dropout
    x, found = sequences(name, 16), []
    for bfloat16 in (True, False):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            scores = net(x)
            loss = loss_of(net, x)
        loss.backward()
        found.append((scores.float().flatten(), torch.cat([p.grad.flatten() for p in net.parameters()])))
    for received, expected in zip(*found, strict=True):
        assert torch.isfinite(received).all()
        assert F.cosine_similarity(received, expected, dim=0) > 0.98


@every_net_with_padding
def test_padding_changes_no_bit_and_gives_what_each_sequence_gives_alone(name, variant):
    net = make(name, variant).eval().double()
    x = sequences(name).double()
    padding = torch.arange(STEPS) >= LENGTHS[:, None]
    with torch.no_grad():
        expected = torch.cat([net(x[i : i + 1, :length]) for i, length in enumerate(LENGTHS)])
        scores = net(x, LENGTHS)
        torch.testing.assert_close(scores, expected)
        torch.testing.assert_close(net(x, ~padding), expected)
        assert not torch.allclose(net(x), expected)
    for content in (-50.0, math.nan):
        x[padding] = content
        with torch.no_grad():
            assert torch.equal(net(x, LENGTHS), scores)
        net.zero_grad()
        net(x, LENGTHS).square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@every_net_with_padding
def test_every_step_can_reach_the_scores(name, variant):
    net = make(name, variant).eval()
    x = sequences(name).requires_grad_()
    net(x).square().sum().backward()
    assert (x.grad.abs().sum(dim=0) > 0).all()


@cases_of([("character_lm", variant) for variant in CHARACTER_LM])
def test_a_later_symbol_changes_no_earlier_score(name, variant):
    net = make(name, variant).eval()
    x = sequences(name)
    with torch.no_grad():
        scores = net(x)
        for place in (1, 6, STEPS - 1):
            other = x.clone()
            other[:, place:] = (other[:, place:] + 1) % FEATURES
            received = net(other)
            assert torch.equal(received[:, :place], scores[:, :place])
            assert (received[:, place] != scores[:, place]).any(dim=1).all()
            torch.testing.assert_close(net(x[:, :place]), scores[:, :place], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_language_model_learns_what_follows_what(kind):
    """Of "abcd" repeated, every symbol after the first is certain."""
    torch.manual_seed(0)
    net = nets.character_lm(kind, 32, layers=1, dropout=0.0, inputs=4)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        text = (torch.randint(4, (16, 1), generator=generator) + torch.arange(13)) % 4
        loss = F.cross_entropy(net(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize(
    ("make_net", "published"),
    [
        # 4 (F H + H² + H) and the second bias that torch's layer has, 4 H; the linear layer H K + K
        (lambda: nets.recurrent("lstm", 10, inputs=3, outputs=2), 4 * (30 + 100 + 10) + 40 + 22),
        (lambda: nets.recurrent("peephole_lstm", 10, inputs=3, outputs=2), 4 * (30 + 100 + 10) + 30 + 22),
        (lambda: nets.recurrent("gru", 10, inputs=3, outputs=2), 3 * (30 + 100 + 20) + 22),
        (
            lambda: nets.recurrent("rnn", 10, inputs=3, outputs=2, bidirectional=True),
            2 * (30 + 100 + 20) + 42,
        ),
        # the base encoder of Vaswani et al.: 6 blocks of 12 F² + 13 F; with the last norm 2 F
        (
            lambda: nets.transformer(512, heads=8, layers=6, inputs=1, outputs=1),
            6 * (12 * 512**2 + 13 * 512) + 1024 + 1024 + 513,
        ),
        (lambda: nets.character_lm("lstm", 8, layers=1, inputs=5), 40 + 4 * (64 + 64 + 16) + 45),
    ],
)
def test_parameter_counts(make_net, published):
    with torch.device("meta"):
        assert sum(p.numel() for p in make_net().parameters()) == published


def test_dropout_acts_between_layers_and_before_the_last_one_in_training():
    x = sequences("recurrent")
    one, two = (nets.recurrent("lstm", 8, layers=k, dropout=0.5, inputs=6, outputs=2) for k in (1, 2))
    assert torch.equal(one.features(x), one.features(x))
    assert not torch.equal(two.features(x), two.features(x))
    for net in (one, two, nets.transformer(8, layers=1, dropout=0.5, inputs=6, outputs=2)):
        assert not torch.equal(net(x), net(x))
        assert torch.equal(net.eval()(x), net(x))


def test_a_length_may_be_said_and_is_not_held_to():
    net = nets.recurrent("gru", 8, inputs=(20, 6), outputs=2)
    assert net.made_by.arguments["inputs"] == [20, 6]
    assert net(torch.zeros(1, 3, 6)).shape == (1, 2)
    assert nets.transformer(8, inputs=(20, 6), outputs=2)(torch.zeros(1, 3, 6)).shape == (1, 2)


def test_whole_numbers_may_be_stored_as_floating_ones():
    net = nets.character_lm(width=8, inputs=6).eval()
    x = sequences("character_lm")
    for kind in (torch.uint8, torch.int16, torch.float32, torch.float64):
        assert torch.equal(net(x.to(kind)), net(x))
    for wrong, said in (
        (torch.tensor([[0, 6]]), "symbol numbers from 0 to 5, not scaled; received values from 0 to 6"),
        (torch.tensor([[0, -1]]), "received values from -1 to 0"),
        (torch.tensor([[0.5, 1.0]]), "received values from 0.5 to 1"),
        (torch.tensor([[math.nan, 1.0]]), "received values from nan to nan"),
        (torch.zeros(2, 3, 6), r"expects symbol numbers \[N, L\]; received \[2, 3, 6\]"),
    ):
        with pytest.raises(ValueError, match=said):
            net(wrong)


@pytest.mark.parametrize("name", ["recurrent", "transformer", "series_resnet"])
def test_wrong_sequences_and_sizes_are_refused_by_name(name):
    function = getattr(nets, name)
    net = function(inputs=6, outputs=2)
    for wrong in (torch.zeros(2, 6), torch.zeros(2, 3, 5), torch.zeros(2, 0, 6), torch.zeros(2, 1, 3, 6)):
        with pytest.raises(ValueError, match=rf"{name} expects sequences \[N, L, 6\]; received \[2"):
            net(wrong)
    for inputs in (0, (3, 0), (1, 2, 3), 2.5, ()):
        with pytest.raises(
            ValueError, match=rf"{name}: inputs must be .*F.*positive whole numbers; received"
        ):
            function(inputs=inputs, outputs=2)
    with pytest.raises(ValueError, match=rf"{name}: outputs must be a positive whole number; received 0"):
        function(inputs=6, outputs=0)
    if name == "series_resnet":
        return
    with pytest.raises(ValueError, match=f'{name}: pooling must be "last" or "mean"; received .max.'):
        function(inputs=6, outputs=2, pooling="max")


def test_other_refusals():
    with pytest.raises(
        ValueError, match=r'character_lm: .lstn. is not a recurrent cell.*Or write "transformer"'
    ):
        nets.character_lm("lstn", inputs=6)
    with pytest.raises(ValueError, match="width and layers must be positive; received 0 and 2"):
        nets.character_lm(width=0, inputs=6)
    for inputs in (0, 2.5, (3, 4), "abc"):
        with pytest.raises(ValueError, match="inputs must be the number of symbols"):
            nets.character_lm(inputs=inputs)
    with pytest.raises(ValueError, match="character_lm: outputs must be a positive"):
        nets.character_lm(inputs=6, outputs=0)
    with pytest.raises(ValueError, match="layers must be positive; received 0"):
        nets.transformer(8, layers=0, inputs=6, outputs=2)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "peephole_lstm", "transformer"])
def test_what_follows_is_the_same_in_pieces_of_any_length(kind):
    """A text read symbol by symbol, or in pieces, gives the scores of the whole text."""
    torch.manual_seed(0)
    net = nets.character_lm(kind, 16, layers=2, inputs=9).eval()
    text = torch.randint(9, (3, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = net(text)
        for pieces in ((1,) * 12, (5, 1, 6), (12,)):
            state, end = None, 0
            for length in pieces:
                scores, state = net.following(text[:, end : end + length], state, context=12)
                end += length
                assert torch.allclose(scores, whole[:, end - 1], atol=1e-5)


def test_a_transformer_looks_back_as_far_as_its_context():
    torch.manual_seed(0)
    net = nets.character_lm("transformer", 16, layers=1, inputs=9).eval()
    text = torch.randint(9, (1, 12), generator=torch.Generator().manual_seed(1))
    state = None
    for end in range(12):
        scores, state = net.following(text[:, end : end + 1], state, context=5)
        first = max(0, end - 4)
        assert torch.allclose(scores, net(text[:, first : end + 1])[:, -1], atol=1e-5)
    assert state.shape == (1, 5)


def test_layers_that_read_in_both_directions_do_not_go_on():
    with pytest.raises(ValueError, match="read in both directions can not go on from a state"):
        Recurrent("gru", 3, 4, bidirectional=True).advance(torch.zeros(1, 2, 3))
