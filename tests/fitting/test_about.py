"""`run.json` from a stranger, or from a damaged disk: every entry that is used is of its type, or the file is refused by name."""

import copy
import json

import numpy as np
import pytest

import hubel
from hubel.core.errors import DamagedRun
from hubel.fitting.about import NEEDED_OF_KIND, read_about


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    out = tmp_path_factory.mktemp("runs") / "run"
    return hubel.fit(x, (x[:, 0] > 0).astype(int), net=hubel.nets.mlp, recipe=recipe, out=out, quiet=True)


def with_entry(run, tmp_path, name, value):
    about = copy.deepcopy(run.about)
    holder = about
    *way, last = name.split(".")
    for key in way:
        holder = holder[key]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    (tmp_path / "run.json").write_text(json.dumps(about))
    (tmp_path / "checkpoints").symlink_to(run.folder / "checkpoints")
    (tmp_path / "split.npz").symlink_to(run.folder / "split.npz")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", 3),
        ("data", []),
        ("data.shape", "3"),
        ("data.classes", [1, 2]),
        ("data.dtype", "object"),
        ("data.dtype", "no type"),
        ("data.examples", 2.5),
        ("data.reading.shape", [None]),
        ("data.reading.dtype", "M8[s]"),
        ("net", "hubel.nets.mlp"),
        ("net.arguments", None),
        ("split.how", None),
        ("test", [1]),
        ("test.accuracy", 0.9),
        ("test.accuracy.value", "high"),
        ("machine", None),
        ("versions", "1"),
        ("moved", "x"),
        ("data.fingerprint", ...),
        ("net.parameters", ...),
        ("loading", ...),
    ],
)
def test_an_entry_of_another_type_is_named(run, tmp_path, name, value):
    folder = with_entry(run, tmp_path, name, value)
    wanted = f"lacks .*{name}" if value is ... else f"has {name} = "
    with pytest.raises(DamagedRun, match=rf"run\.json {wanted}.*: restore it from a copy, or fit again"):
        hubel.open_run(folder)


@pytest.mark.parametrize(
    "text", ['{"format": NaN}', "[" * 100_000, '{"a": ' * 5000 + "1" + "}" * 5000, "\xff", ""]
)
def test_no_json_at_all(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises((DamagedRun, ValueError), match=r"run\.json (is damaged|has format)"):
        read_about(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "images"}, r"lacks data\.reading\.channels, .*convert, .*size, .*resize"),
        ({"shape": []}, r"data\.reading\.shape = \[\]; expected the sizes"),
        ({"shape": [0]}, r"data\.reading\.shape = \[0\]; expected the sizes"),
        (
            {"kind": "images", "channels": None, "convert": None, "size": [4], "resize": "pad"},
            r"of size \[4\]",
        ),
        (
            {"kind": "images", "channels": None, "convert": None, "size": [4, 4], "resize": "pad"},
            r"data are \[3\], but that they were read as \[1, 4, 4\]",
        ),
    ],
)
def test_a_reading_that_can_not_be_repeated(run, tmp_path, changes, said):
    reading = {**run.about["data"]["reading"], "shape": [1, 4, 4], **changes}
    with pytest.raises(DamagedRun, match=said):
        hubel.open_run(with_entry(run, tmp_path, "data.reading", reading))


@pytest.mark.parametrize("kind", [*NEEDED_OF_KIND])
def test_every_kind_of_reading_lacks_nothing(run, tmp_path, kind):
    reading = {"kind": kind, "shape": [3], "dtype": "float32", **dict.fromkeys(NEEDED_OF_KIND[kind])}
    del reading[NEEDED_OF_KIND[kind][0]]
    with pytest.raises(DamagedRun, match=rf"lacks data\.reading\.{NEEDED_OF_KIND[kind][0]}"):
        hubel.open_run(with_entry(run, tmp_path, "data.reading", reading))


def test_pictures_are_not_resized_to_another_size_than_the_network_was_fitted_to(run, tmp_path):
    reading = {
        "kind": "images",
        "shape": [1, 4, 4],
        "size": [50_000, 50_000],
        "channels": None,
        "convert": None,
    }
    reading = {**run.about["data"]["reading"], **reading, "resize": "pad"}
    data = {**run.about["data"], "shape": [1, 4, 4], "reading": reading}
    with pytest.raises(DamagedRun, match=r"read as \[1, 4, 4\] of size \[50000, 50000\]"):
        hubel.open_run(with_entry(run, tmp_path, "data", data))


def test_objects_within_objects(run, tmp_path):
    deep: list = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(DamagedRun, match="more than 40 deep"):
        hubel.open_run(with_entry(run, tmp_path, "reasons", deep))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("recipe.optimizer", {"is": "os.system"}, "not a name that a run folder may use"),
        (
            "recipe.optimizer",
            {"is": "hubel.fitting.SGD", "learning_rate": "fast"},
            "has learning_rate='fast'; expected float",
        ),
        ("recipe.epochs", None, "not resolved"),
        ("recipe.precision", {"is": "hubel.fitting.EarlyStopping"}, "has precision="),
        ("recipe", {"is": "hubel.fitting.SGD"}, "has no recipe, but SGD"),
        ("objective", {"is": "hubel.fitting.SGD"}, "names no objective"),
        ("preprocessing", {"is": "hubel.fitting.SGD"}, "has no preprocessing, but SGD"),
        ("preprocessing.mean", ["a", "b", "c"], "has mean="),
        ("net.name", "hubel.nets.nothing", "not a name that a run folder may use"),
        ("net.arguments.hidden", "wide", "has hidden='wide'"),
        ("net.arguments.hidden", [-5], "net:"),
        ("net.arguments.hidden", [10**9], "asks for a network with 1,000,000,000 of something"),
        ("net.arguments.hidden", [60_000, 60_000], "asks for a network of 1"),
        ("net.arguments.outputs", None, "net:"),
    ],
    ids=str,
)
def test_what_can_not_be_made_again_is_said(run, tmp_path, name, value, said):
    folder = with_entry(run, tmp_path, name, value)
    with pytest.raises(DamagedRun, match=said):
        hubel.open_run(folder).predict(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    "rows",
    [
        {"train": [0, 1], "validation": [2], "test": [40]},
        {"train": [0, 1], "validation": [2], "test": [-1]},
        {"train": [0, 1], "validation": [2.5], "test": [3]},
        {"train": [[0, 1]], "validation": [2], "test": [3]},
        {"train": [0, 1], "validation": [2]},
    ],
    ids=str,
)
def test_a_split_that_is_none(run, tmp_path, rows):
    folder = with_entry(run, tmp_path, "status", "finished")
    (folder / "split.npz").unlink()
    np.savez(folder / "split.npz", **{name: np.array(part) for name, part in rows.items()})
    with pytest.raises(DamagedRun, match=r"split\.npz .*[Rr]estore it from a copy"):
        _ = hubel.open_run(folder).split
