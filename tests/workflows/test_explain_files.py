"""Files explained by a run: read and scaled as its own data, figures and numbers written, wrong words told."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import quick

import hubel
from hubel import explain, nets
from hubel.workflows import layers, look_inside
from hubel.workflows.explain import compare_methods, explain_files
from hubel.workflows.subject import as_rows, subjects, target_of

FILES = 12


def gradient(net, x, *, target=None):
    """The slope, as a method of `hubel.explain` answers it."""
    from hubel.explain.question import Question, untouched

    with untouched(net):
        question = Question(net, x, target)
        inputs = question.x.clone().requires_grad_()
        (values,) = torch.autograd.grad(question(inputs).sum(), inputs)
    return explain.Attribution(
        values=values, method="gradient", target=question.names, score=question.score, passes=question.calls
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    rng = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 180)):
        (folder / "photos" / label).mkdir(parents=True)
        for k in range(FILES):
            pixels = rng.integers(0, 60, (12, 14, 3), dtype=np.uint8) + np.uint8(level)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{k}.png")
    net = nets.self_explaining(width=8, inputs=(3, 12, 14), outputs=2)
    hubel.fit(folder / "photos", net=net, recipe=quick(), out=folder / "run", quiet=True)
    return folder


@pytest.fixture
def run(place):
    return hubel.open_run(place / "run")


def test_the_figure_and_the_raw_map_are_those_of_the_method(place, run, tmp_path):
    picture = place / "photos" / "light" / "3.png"
    (found,) = explain_files(run, [picture], gradient, target="dark", out=tmp_path)
    assert found.figure == tmp_path / "3-gradient.png" and found.numbers == tmp_path / "3-gradient.npz"
    stored = np.asarray(Image.open(picture)).transpose(2, 0, 1)[None]
    direct = gradient(run.net, run.scaling(torch.from_numpy(stored.copy())), target=0)
    with np.load(found.numbers) as numbers:
        np.testing.assert_array_equal(numbers["values"], direct.values)
        np.testing.assert_array_equal(numbers["map"], direct.map)
        assert numbers["files"].tolist() == [str(picture)] and str(numbers["method"]) == "gradient"
    with Image.open(found.figure) as figure:
        assert min(figure.size) > 200
    (answer,) = found.answers
    prediction = run.predict(stored)
    assert answer["target"] == "dark" and answer["class"] == prediction.labels[0]
    assert answer["probability"] == pytest.approx(float(prediction.probabilities[0, 0]))
    assert json.loads(json.dumps(found.as_json()))["examples"][0]["file"] == str(picture)


def test_folders_and_numbers_and_the_own_answer(place, run):
    (found,) = explain_files(run, [place / "photos"], explain.intrinsic, most=5)
    assert len(found.attribution) == 5 and found.figure.parent == place / "run" / "explained"
    named = [row["file"] for row in found.answers]
    assert [Path(name).parent.name for name in named] == ["dark"] * 3 + [
        "light"
    ] * 2  # evenly over the folder
    answers = run.predict(named).labels
    assert [row["target"] for row in found.answers] == answers
    assert "residual" in found.answers[0]
    (by_number,) = explain_files(run, [place / "photos"], explain.intrinsic, target=1, most=1)
    assert by_number.answers[0]["target"] == "light"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("drak", r'no class \'drak\'. Did you mean "dark"'),
        ("7", r"target 7 is out of range: the network has 2 outputs, 0 to 1 \(dark, light\)"),
        ("-1", "target -1 is out of range"),
    ],
)
def test_targets_that_there_are_not(place, run, target, said):
    with pytest.raises(ValueError, match=said):
        explain_files(run, [place / "photos" / "dark" / "0.png"], gradient, target=target)


def test_pictures_of_other_size_and_depth(place, run, tmp_path):
    Image.new("RGB", (40, 33), (200, 10, 10)).save(tmp_path / "large.png")
    (found,) = explain_files(run, [tmp_path / "large.png"], gradient, out=tmp_path / "new" / "folder")
    assert found.attribution.values.shape == (1, 3, 12, 14)  # resized as the training data were
    np.save(tmp_path / "deep.npy", np.zeros((2, 5, 12, 14), np.uint8))
    with pytest.raises(ValueError, match=r"deep.npy has shape \(2, 5, 12, 14\)"):
        explain_files(run, [tmp_path / "deep.npy"], gradient)
    with pytest.raises(FileNotFoundError, match="absent"):
        explain_files(run, [tmp_path / "absent.png"], gradient)
    with pytest.raises(ValueError, match="no files are named"):
        explain_files(run, [], gradient)


def test_nothing_is_left_of_a_figure_that_can_not_be_written(place, run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        explain_files(run, [place / "photos" / "dark" / "0.png"], gradient, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_methods_are_compared_and_drawn_side_by_side(place, run, tmp_path):
    methods = {"intrinsic": explain.intrinsic, "gradient": gradient, "random_map": explain.random_map}
    found, numbers, figure = compare_methods(
        run, [place / "photos"], methods, out=tmp_path, most=6, samples=5
    )
    assert {j.method for j in found.judgements} == set(methods) and found.images == 6
    assert json.loads(numbers.read_text())["verdict"] == found.verdict
    assert figure is not None and figure.stat().st_size > 5_000


def test_a_table_is_explained_by_its_columns(tmp_path):
    rng = np.random.default_rng(0)
    with open(tmp_path / "t.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["mass", "kind", "label"])
        for k in range(60):
            mass = "" if k % 10 == 0 else f"{rng.normal(5, 2):.3f}"
            rows.writerow([mass, rng.choice(["dwarf", "giant"]), rng.choice(["no", "yes"])])
    run = hubel.fit(
        tmp_path / "t.csv", net=lambda *, inputs, outputs: nets.mlp((8,), inputs=inputs, outputs=outputs),
        recipe=quick(), out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    (subject,) = subjects(run, [tmp_path / "t.csv"], most=4)
    assert subject.features == ("mass", "kind") and subject.written[0][0] == "missing"
    assert len(subject.columns) == subject.x.shape[1]
    names = run.scaling.names(run.reading["columns"])
    for place, name in zip(subject.columns, names, strict=True):
        assert name.startswith(subject.features[place]) or name == "(no level)"
    values = torch.arange(float(4 * subject.x.shape[1])).view(4, -1)
    by_column = as_rows(subject, values)
    for column in range(2):
        expected = values[:, [k for k, c in enumerate(subject.columns) if c == column]].sum(1)
        torch.testing.assert_close(by_column[:, column], expected)
    (found,) = explain_files(run, [tmp_path / "t.csv"], gradient, out=tmp_path)
    assert found.attribution.values.shape == (8, 2)
    with np.load(found.numbers) as numbers:
        assert numbers["by_column"].shape == (8, 2) and numbers["columns"].tolist() == ["mass", "kind"]


def test_values_have_their_names(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    np.save(tmp_path / "new.npy", x[:3])
    run = hubel.fit(
        x,
        3 * x[:, 0] + 100,
        recipe=quick(),
        out=tmp_path / "run",
        quiet=True,
        net=nets.mlp((8,), inputs=4, outputs=1),
    )
    (found,) = explain_files(run, [tmp_path / "new.npy"], gradient)
    values = run.predict(x[:3]).values[:, 0]
    assert [row["value"] for row in found.answers] == pytest.approx(values.tolist(), rel=1e-5)


def test_series_of_different_lengths_come_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(length, 2)).astype("float32") for length in rng.integers(12, 20, 40)]
    net = nets.recurrent("gru", 8, inputs=2, outputs=2)
    run = hubel.fit(series, np.arange(40) % 2, net=net, recipe=quick(), out=tmp_path / "run", quiet=True)
    for k in range(2):
        np.save(tmp_path / f"s{k}.npy", series[k])
    found = explain_files(run, [tmp_path / "s0.npy", tmp_path / "s1.npy"], gradient, out=tmp_path / "out")
    assert [one.attribution.values.shape for one in found] == [(1, len(s), 2) for s in series[:2]]
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_masks_ask_for_a_class(tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (24, 16, 16), dtype=np.uint8)
    masks = (x > 128).astype(np.uint8)
    run = hubel.fit(
        x[:, None],
        masks,
        net=nets.unet(8, inputs=(1, 16, 16), outputs=2),
        recipe=quick(),
        out=tmp_path / "run",
        quiet=True,
    )
    np.save(tmp_path / "new.npy", x[:2, None])
    (subject,) = subjects(run, [tmp_path / "new.npy"], most=2)
    with pytest.raises(ValueError, match="a class for every pixel: say which one"):
        target_of(subject, None)
    (found,) = explain_files(run, [tmp_path / "new.npy"], gradient, target=1)
    with torch.no_grad():
        expected = run.net(subject.x)[:, 1].mean((1, 2))
    torch.testing.assert_close(found.attribution.score, expected)


def test_layers_are_told_with_what_they_answer(run):
    rows = {row["layer"]: row for row in layers.layers(run)}
    assert rows["trunk.stem"]["answers"] == [16, 12, 14] and rows["fc"]["answers"] == [2]
    assert rows["fc"]["parameters"] == 34
    assert "    trunk.block.one  ConvNorm" in layers.tree(run)
    with pytest.raises(
        ValueError, match=r'no layer \'trunk.stme\'. Did you mean "trunk.stem"\? Its layers:\ntrunk'
    ):
        layers.layer_of(run, "trunk.stme")


def test_units_by_word(run):
    assert layers.unit_of(run, "light") == 1 and layers.unit_of(run, "0") == 0
    unit = layers.unit_of(run, "trunk.first.conv:5:3,4")
    assert (unit.layer, unit.channel, unit.position) == ("trunk.first.conv", 5, (3, 4))
    with pytest.raises(ValueError, match="expected LAYER:CHANNEL"):
        layers.unit_of(run, "bright")


def test_a_surrogate_of_the_test_part_or_of_files(place, run):
    found = look_inside.surrogate_of(run, [place / "photos"])
    assert found.outputs == ("dark", "light") and found.held_out == 7
    with pytest.raises(ValueError, match="too few"):
        look_inside.surrogate_of(run)


def test_what_excites_a_class_most_has_its_name(run, tmp_path, monkeypatch):
    from hubel.show import inside

    drawn, names = inside.gallery, []
    monkeypatch.setattr(
        inside, "gallery", lambda found, **more: names.append(found.names) or drawn(found, **more)
    )
    look_inside.draw_maximized(run, "light", tmp_path, steps=1)
    look_inside.draw_maximized(run, "0", tmp_path, steps=1)
    assert names == [("light",), ("dark",)]


def test_units_over_a_text_have_a_figure_each(tmp_path):
    data = hubel.data.from_text("ab, cd\n" * 60, length=14)
    net = nets.character_lm("lstm", 8, layers=1, inputs=len(data.alphabet))
    run = hubel.fit(data, net=net, recipe=quick(), out=tmp_path / "run", quiet=True)
    (tmp_path / "some.txt").write_text("ab, cd\nab")
    figures = look_inside.draw_text(run, tmp_path / "some.txt", tmp_path, units=(3, 5))
    assert [path.name for path in figures] == ["text-some-unit-3.png", "text-some-unit-5.png"]
    assert figures[0].read_bytes() != figures[1].read_bytes()
    with pytest.raises(ValueError, match="reads symbols, of which there are none in between"):
        look_inside.draw_maximized(run, "3", tmp_path)
