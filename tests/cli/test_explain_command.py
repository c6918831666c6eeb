"""`hubel explain` and `hubel dream`: answers that parse, exit codes, words that do not fit together."""

import json

import numpy as np
import pytest
from PIL import Image
from test_commands import run

from hubel import explain
from hubel.cli import words

SMALL = [
    "--epochs",
    "2",
    "--optimizer",
    "sgd",
    "--schedule",
    "linear",
    "--precision",
    "float32",
    "--net",
    "self_explaining",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli-explain")
    rng = np.random.default_rng(0)
    for number, label in enumerate(("dark", "light")):
        (folder / "photos" / label).mkdir(parents=True)
        for k in range(15):
            pixels = rng.integers(0, 80, (12, 12), dtype=np.uint8) + np.uint8(120 * number)
            Image.fromarray(pixels).save(folder / "photos" / label / f"{k}.png")
    assert run(["fit", folder / "photos", "-o", folder / "run", "-q", *SMALL]) == 0
    return folder


def test_a_figure_and_a_map_on_stdout(place, capsys, tmp_path):
    picture = place / "photos" / "dark" / "3.png"
    assert run(["explain", place / "run", picture, "-m", "intrinsic", "-o", tmp_path]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / f"3-intrinsic.{kind}") for kind in ("png", "npz")]
    assert "explaining 1 picture by intrinsic" in err
    assert (
        run(["explain", place / "run", picture, "-m", "random-map", "--target", "light", "--json", "-q"]) == 0
    )
    out, err = capsys.readouterr()
    (answer,) = json.loads(out)
    assert answer["examples"][0]["target"] == "light" and err == ""
    assert answer["figure"] == str(place / "run" / "explained" / "3-random_map.png")


def test_every_word_for_a_method_is_a_function():
    for name, method in words.methods().items():
        assert method is getattr(explain, name) and name in explain.__all__
    named = {name for group in words.METHODS.values() for name in group}
    assert {name for names in words.COMPARED.values() for name in names} <= named


def test_comparing(place, capsys):
    arguments = ["-m", "intrinsic", "-m", "random_map", "--most", "4"]
    assert run(["explain", place / "run", place / "photos", "--compare", *arguments]) == 0
    out, err = capsys.readouterr()
    assert "1. " in out and "4 examples" in out and "2 of 2 methods asked" in err
    fewer = ["-m", "intrinsic", "-m", "centre_map", "--most", "2", "--json", "-q"]
    assert run(["explain", place / "run", place / "photos", "--compare", *fewer]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {m["method"] for m in answer["methods"]} == {"intrinsic", "centre_map"} and answer["images"] == 2


def test_layers_and_a_surrogate(place, capsys):
    assert run(["explain", place / "run", "--layers"]) == 0
    assert "  trunk.stem  ConvNorm" in capsys.readouterr().out
    assert run(["explain", place / "run", "--layers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[-1]["layer"] == "fc"
    assert run(["explain", place / "run", place / "photos", "--surrogate"]) == 0
    assert "decision tree" in capsys.readouterr().out
    assert run(["explain", place / "run", place / "photos", "--surrogate", "--linear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "linear"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run"], 2, "name the files"),
        (["run", "photos", "-m", "saliencyy"], 2, "there is no method 'saliencyy'"),
        (["run", "photos", "--layers", "--map"], 2, "--layers and --map ask for different things"),
        (
            ["run", "--layers", "--target", "dark"],
            2,
            "--target belongs to the explanation of files or --compare",
        ),
        (["run", "photos", "--unit", "3"], 2, "--unit belongs to --text"),
        (["run", "photos", "--places"], 2, "--grid belongs to --map"),
        (["run", "photos", "--target", "trunk.stme:3"], 1, 'Did you mean "trunk.stem"? Its layers:'),
        (
            ["run", "photos", "-m", "intrinsic", "-m", "random_map"],
            2,
            "several methods are judged with --compare",
        ),
        (["run", "photos", "--target", "drak"], 1, 'Did you mean "dark"'),
        (["run", "photos", "--target", "9"], 1, "out of range: the network has 2 outputs"),
        (["run", "nothing.png"], 1, "nothing.png does not exist"),
        (["run", "photos", "--features", "trunk.stme"], 1, 'Did you mean "trunk.stem"? Its layers:'),
        (["run", "--features", "trunk.stem"], 2, "--features: name the files"),
        (["no-such-run", "photos"], 2, "is no run folder and no network"),
        (["runs/none", "photos"], 1, "does not exist"),
        (["simple_cnn", "photos"], 2, "no published weights for simple_cnn"),
        (["efficientnet_lite0", "--landscape"], 2, "--landscape is for run folders"),
    ],
)
def test_wrong_words(place, capsys, monkeypatch, arguments, code, said):
    monkeypatch.chdir(place)
    assert run(["explain", *arguments]) == code
    assert said in capsys.readouterr().err


def test_wrong_words_of_dreams(place, capsys, monkeypatch):
    monkeypatch.chdir(place)
    picture = "photos/dark/0.png"
    for arguments, code, said in (
        (["--layer", "trunk.nothing", "--run", "run"], 1, "Its layers:"),
        (["--layer", "fc", "--run", "run", "--net", "resnet18"], 2, "expected one of them"),
        ([], 2, "layer"),
        (["--layer", "fc", "--run", "run", "-o", "no/such/folder/x.png"], 1, "does not exist"),
    ):
        assert run(["dream", picture, *arguments]) == code
        assert said in capsys.readouterr().err


def test_looks_inside_are_figures(place, capsys, tmp_path):
    picture = place / "photos" / "dark" / "2.png"
    looks = (
        (["--filters", "first"], "filters-trunk.stem.conv.png"),
        (["--features", "trunk.block", picture], "features-trunk.block-2.png"),
        (["--map", place / "photos", "--map-method", "pca", "--places"], "codes-pca.png"),
    )
    for words_of, name in looks:
        assert run(["explain", place / "run", *words_of, "-o", tmp_path, "-q"]) == 0
        assert capsys.readouterr().out == f"{tmp_path / name}\n"
        with Image.open(tmp_path / name) as figure:
            assert min(figure.size) > 100


def test_a_dream_is_a_picture_of_the_same_size(place, capsys, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 24), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    asked = [
        "--run",
        place / "run",
        "--layer",
        "trunk.block",
        "--octaves",
        "1",
        "--steps",
        "2",
        "-q",
        "--json",
    ]
    assert run(["dream", tmp_path / "a.png", "-o", tmp_path / "b.png", *asked]) == 0
    assert json.loads(capsys.readouterr().out) == {"figure": str(tmp_path / "b.png")}
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        assert before.size == after.size and before.tobytes() != after.tobytes()
    assert run(["dream", tmp_path / "a.png", "-o", tmp_path / "c.png", *asked[:-2], "--size", "16"]) == 0
    assert "made smaller, from 20 × 24 to 13 × 16 pixels: --size 24 keeps it" in capsys.readouterr().err
    with Image.open(tmp_path / "c.png") as smaller:
        assert smaller.size == (16, 13)


def test_occlusion_says_what_it_will_take_before_it_begins(place, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("hubel.workflows.usual.LONG", 0.0)
    picture = place / "photos" / "dark" / "2.png"
    assert run(["explain", place / "run", picture, "-m", "occlusion", "-o", tmp_path]) == 0
    assert "versions of the example, about" in capsys.readouterr().err
