"""What is explained of networks that answer no row of scores, of several networks, and of several values."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import quick, table
from torch import nn

import hubel
from hubel import explain, nets, objectives
from hubel.data import from_text
from hubel.workflows import asked_networks, usual
from hubel.workflows.display import Display
from hubel.workflows.explain import compare_methods, explain_files
from hubel.workflows.subject import Subject, subjects, target_of
from hubel.workflows.suited import suited


def by_gradient(net, x, target):
    """The slope of target(net(x)), by torch alone."""
    inputs = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(target(net(inputs)).sum(), inputs)
    return slope


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    x, _ = table()
    np.save(folder / "new.npy", x[:3])
    return folder, x


def test_an_autoencoder_is_asked_for_its_error(rows):
    folder, x = rows
    net = nets.autoencoder(2, (), inputs=5)
    run = hubel.fit(x, "self", recipe=quick(), out=folder / "own", quiet=True, net=net)
    (found,) = explain_files(run, [folder / "new.npy"], explain.integrated_gradients)
    scaled = run.scaling(torch.from_numpy(x[:3]))
    with torch.no_grad():
        error = (run.net(scaled) - scaled).square().mean(1)
        at_zero = run.net(torch.zeros(1, 5)).square().mean()
    torch.testing.assert_close(found.attribution.score, error)
    torch.testing.assert_close(
        found.attribution.values.sum(1), error - at_zero, rtol=0, atol=0.02 * float(error.max())
    )
    assert [row["target"] for row in found.answers] == ["reconstruction error"] * 3
    (unit,) = explain_files(run, [folder / "new.npy"], explain.saliency, target=f"{last_linear(run.net)}:1")
    direct = explain.saliency(run.net, scaled, target=explain.Unit(layer=last_linear(run.net), channel=1))
    torch.testing.assert_close(unit.attribution.values, direct.values)
    assert [row["target"] for row in unit.answers] == list(direct.target)
    with pytest.raises(ValueError, match="no layer 'nothing'"):
        explain_files(run, [folder / "new.npy"], explain.saliency, target="nothing:1")


def last_linear(net):
    return [name for name, layer in net.named_modules() if isinstance(layer, torch.nn.Linear)][-1]


def test_an_ensemble_is_the_mean_of_its_members(rows):
    folder, x = rows
    both = hubel.ensemble(
        x, (x[:, 0] > 0).astype(int), members=2, recipe=quick(), out=folder / "e", quiet=True
    )
    (found,) = explain_files(both, [folder / "new.npy"], explain.gradient_times_input)
    shares = both.predict(x[:3]).probabilities
    classes = shares.argmax(1)
    expected = 0
    for run in both.members:
        scaled = run.scaling(torch.from_numpy(x[:3]))
        slope = by_gradient(run.net, scaled, lambda y: y[range(3), classes])
        expected = expected + slope * scaled / 2
    torch.testing.assert_close(found.attribution.values, expected)
    assert [row["probability"] for row in found.answers] == pytest.approx(shares.max(1).tolist())
    assert "mean of 2 members, whose maps correlate by" in found.attribution.notes[0]
    assert found.figure.parent == folder / "e" / "explained"
    with pytest.raises(ValueError, match="every member has its own"):
        explain_files(both, [folder / "new.npy"], explain.saliency, target="0:1")
    compared, _, _ = compare_methods(both, [folder / "new.npy"], {"saliency": explain.saliency}, samples=5)
    assert compared.images == 3 and not compared.refused


def test_maps_of_a_layer_are_those_of_every_member():
    torch.manual_seed(0)
    both = asked_networks.Members([nets.lenet(inputs=(1, 28, 28), outputs=3).eval() for _ in range(2)])
    x = torch.rand(1, 1, 28, 28)
    found = asked_networks.over_members(explain.grad_cam)(both, x, target=1)
    apart = [explain.grad_cam(net, x, target=1).values for net in both.nets]
    torch.testing.assert_close(found.values, (apart[0] + apart[1]) / 2)


def test_several_values_go_by_their_names(rows):
    folder, x = rows
    data = hubel.data.from_arrays(x, np.stack([x[:, 0], x[:, 1]], 1), target_names=["mass", "age"])
    net = nets.mlp((8,), inputs=5, outputs=4)
    objective = objectives.GaussianLikelihood(4, target_names=("mass", "age"))
    run = hubel.fit(data, net=net, objective=objective, recipe=quick(), out=folder / "two", quiet=True)
    with pytest.raises(
        ValueError, match="answers 2 values: say which one is to be explained, one of mass, age"
    ):
        explain_files(run, [folder / "new.npy"], explain.saliency)
    (found,) = explain_files(run, [folder / "new.npy"], explain.saliency, target="age")
    slope = by_gradient(run.net, run.scaling(torch.from_numpy(x[:3])), lambda y: y[:, 1])
    torch.testing.assert_close(found.attribution.values.abs(), slope.abs())
    assert [row["value"] for row in found.answers] == pytest.approx(
        run.predict(x[:3]).values[:, 1].tolist(), rel=1e-5
    )


def test_the_uncertainty_is_not_what_is_explained(rows):
    folder, x = rows
    net = nets.mlp((8,), inputs=5, outputs=2)
    with torch.no_grad():
        net.head.bias.copy_(torch.tensor([0.0, 9.0]))  # the logarithm of the variance is the greatest output
    run = hubel.fit(
        x, x[:, 0], net=net, objective=objectives.GaussianLikelihood(2), recipe=quick(epochs=1),
        out=folder / "one", quiet=True,
    )  # fmt: skip
    (subject,) = subjects(run, [folder / "new.npy"])
    assert target_of(subject, None) == 0


def test_what_follows_a_text(tmp_path):
    data = from_text("to be or not to be " * 20, length=12)
    net = nets.character_lm("gru", 12, layers=1, dropout=0.0, inputs=len(data.alphabet))
    run = hubel.fit(data, net=net, recipe=quick(), out=tmp_path / "run", quiet=True)
    (tmp_path / "new.txt").write_text("or to be or not to")
    (found,) = explain_files(run, [tmp_path / "new.txt"], explain.gradient_times_input, target="b")
    number = run.objective.alphabet.index("b")
    symbols = [run.objective.alphabet.index(c) for c in "be or not to"]
    with torch.no_grad():
        scores = run.net(torch.tensor([symbols]))[0, -1]
    torch.testing.assert_close(found.attribution.score, scores[number : number + 1])
    (answer,) = found.answers
    shares = (scores / run.objective.temperature).softmax(0)
    assert answer["target"] == "b" and answer["probability"] == pytest.approx(float(shares[number]), rel=1e-5)
    with np.load(found.numbers) as numbers:
        assert "".join(numbers["symbols"][0]) == "be or not to" and numbers["values"].shape == (1, 12)
    assert found.figure.stat().st_size > 5_000
    (own,) = explain_files(run, [tmp_path / "new.txt"], explain.occlusion)  # what is unknown stands in
    assert own.answers[0]["target"] == run.objective.alphabet[int(scores.argmax())]
    (unit,) = explain_files(run, [tmp_path / "new.txt"], explain.saliency, target="body.layers.0.0:3")
    with torch.no_grad():
        hidden = run.net.body.layers[0][0](run.net.embed(torch.tensor([symbols])))[0]
    torch.testing.assert_close(unit.attribution.score, hidden[:, :, 3].mean(1))
    assert unit.answers[0]["target"] == "unit 3 of body.layers.0.0"
    (erased,) = explain_files(run, [tmp_path / "new.txt"], explain.representation_erasure)
    assert erased.attribution.values.shape == (1, 12)
    with pytest.raises(ValueError, match="a text has symbols: explain it by several methods instead"):
        compare_methods(run, [tmp_path / "new.txt"] * 2, {"occlusion": explain.occlusion})
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match=r"empty\.txt is empty"):
        explain_files(run, [tmp_path / "empty.txt"], explain.occlusion)


def test_films_are_volumes_whose_depth_is_time(tmp_path):
    rng = np.random.default_rng(0)
    films = rng.normal(size=(24, 5, 1, 8, 8)).astype("float32")
    net = nets.image_series("gru", 8, width=8, inputs=(1, 8, 8), outputs=2)
    np.savez(tmp_path / "films.npz", x=films, y=np.arange(24) % 2)
    run = hubel.fit(
        tmp_path / "films.npz", options={"kind": "image series"}, net=net, recipe=quick(),
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    np.save(tmp_path / "film.npy", films[0])
    (found,) = explain_files(run, [tmp_path / "film.npy"], explain.gradient_times_input, target=1)
    scaled = run.scaling(torch.from_numpy(films[:1]))
    expected = by_gradient(run.net, scaled, lambda y: y[:, 1]) * scaled
    torch.testing.assert_close(found.attribution.values, expected.transpose(1, 2))
    assert found.attribution.map.shape == (1, 5, 8, 8)
    (other,) = explain_files(run, [tmp_path / "film.npy"], explain.expected_gradients, target=1)
    assert other.attribution.values.shape == (1, 1, 5, 8, 8)


def test_a_default_that_does_not_suit_the_network_is_said_and_the_next_taken(rows, monkeypatch):
    def unsuited(net, x, *, target=None):
        raise TypeError("no rule for fold")

    folder, x = rows
    run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=quick(), out=folder / "c", quiet=True)
    monkeypatch.setattr(usual, "VALUES", (unsuited, explain.random_map))
    with pytest.warns(UserWarning, match=r"unsuited does not suit .*no rule for fold\): random_map instead"):
        (found,) = explain_files(run, [folder / "new.npy"])
    assert found.figure.name == "new-random_map.png"


def large(head, side=96, kind="pictures"):
    """A network and one picture, as files would give them."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 5, 3), nn.ReLU(), *head).eval()
    x = torch.rand(1, 1, side, side)
    return Subject(net=net, x=x, shown=x.numpy(), ids=("a.png",), kind=kind, classes=None, answer=None)


POOLED = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]


@pytest.mark.parametrize(
    ("subject", "method", "said"),
    [
        (large(POOLED), "hires_cam", None),
        (large([nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(16, 9), nn.Tanh(), nn.Linear(9, 3)]), "occlusion", "not linear"),
        (large([nn.Flatten(), nn.Linear(4 * 31 * 31, 3)]), "hires_cam", None),
        (large(POOLED, side=95), "deeplift", None),
    ],
)  # fmt: skip
def test_large_pictures_are_explained_by_regions(subject, method, said):
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        chosen, found, why = usual.explained_by(None, subject, subject.net, 1, Display(quiet=True))
    assert chosen.__name__ == method
    assert [said in str(note.message) for note in noticed] == ([True] if said else [])
    assert ("by regions" in why) == (subject.x.shape[2] == 96)
    direct = getattr(explain, method)(subject.net, subject.x, target=1)
    torch.testing.assert_close(found.values, direct.values)


def test_a_unit_in_a_large_picture_is_explained_without_the_last_maps():
    subject = large(POOLED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen, _, why = usual.explained_by(
            None, subject, subject.net, explain.Unit(layer="0", channel=2), Display(quiet=True)
        )
    assert chosen is explain.occlusion and "by regions" in why


def test_pictures_without_maps_are_occluded():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(96 * 96, 3)).eval()
    subject = replace(large(POOLED), net=flat)
    with pytest.warns(UserWarning, match=r"makes no maps of positions .* occlusion instead"):
        chosen, _, _ = usual.explained_by(None, subject, flat, None, Display(quiet=True))
    assert chosen is explain.occlusion


def test_a_density_is_explained_by_its_logarithm(rows):
    folder, x = rows
    net = nets.realnvp(inputs=(5,))
    run = hubel.fit(
        x, "self", net=net, objective=objectives.LogLikelihood(), recipe=quick(epochs=1), out=folder / "p",
        quiet=True,
    )  # fmt: skip
    (found,) = explain_files(run, [folder / "new.npy"], explain.gradient_times_input)
    with torch.no_grad():
        expected = run.net(run.scaling(torch.from_numpy(x[:3])))[:, 0]
    torch.testing.assert_close(found.attribution.score, expected)
    assert {row["target"] for row in found.answers} == {"log likelihood"}


@pytest.mark.parametrize("name", ["occlusion", "rise", "lime", "shapley_sampling", "representation_erasure"])
def test_what_takes_parts_away_finds_the_step_of_a_series(name):
    """A series of one feature: taken for a map of as many channels as steps, every step would look alike."""

    class Last(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 10:15, 0].sum(1), 0 * x[:, 0, 0]], 1)

    x = torch.zeros(1, 20, 1)
    x[:, 10:15] = 2
    net = Last().eval()
    asked = Subject(net=net, x=x, shown=x.numpy(), ids=("a",), kind="series", classes=None, answer=None)
    found = suited(getattr(explain, name), asked, net)(net, x, target=0).values[0, :, 0]
    assert found[10:15].mean() > 2 * found[[*range(8), *range(17, 20)]].abs().mean()
    assert found[10:15].mean() > 0


@pytest.mark.parametrize("choose", [lambda x: x.sort(1)[0], lambda x: torch.where(x > 0, x, 0.1 * x)])
def test_what_deeplift_has_no_rule_for_is_explained_by_integrated_gradients(choose):
    class Choosing(nn.Linear):
        def forward(self, x):
            return super().forward(choose(x))

    net, x = Choosing(6, 2).eval(), torch.randn(2, 6)
    asked = Subject(net=net, x=x, shown=x.numpy(), ids=("a", "b"), kind="rows", classes=None, answer=None)
    with pytest.warns(UserWarning, match=r"deeplift has no rule for .*: integrated_gradients instead"):
        chosen, found, _ = usual.explained_by(None, asked, net, 1, Display(quiet=True))
    assert chosen is explain.integrated_gradients
    torch.testing.assert_close(found.values, explain.integrated_gradients(net, x, target=1).values)
    with pytest.raises(ValueError, match="deeplift has no rule"):
        usual.explained_by(explain.deeplift, asked, net, 1, Display(quiet=True))
