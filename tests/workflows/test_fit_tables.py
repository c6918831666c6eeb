"""Tables on the whole road: fitted, predicted, evaluated, resumed, repeated."""

import json

import numpy as np
import pytest
from small_runs import quick, same_weights

import hubel
from hubel.core.errors import UnreadableData
from hubel.objectives import CrossEntropy, GaussianLikelihood, SquaredError
from hubel.workflows import predict_files

NUM = 120


@pytest.fixture(scope="module")
def columns():
    generator = np.random.default_rng(0)
    a, colour = generator.normal(size=NUM), generator.choice(["red", "green", "blue"], NUM)
    mass = 3 + 2 * a + (colour == "red") + 0.1 * generator.normal(size=NUM)
    a = [None if k % 10 == 0 else float(v) for k, v in enumerate(a)]
    return {
        "a": a,
        "colour": colour.tolist(),
        "mass [Msun]": mass.tolist(),
        "kind": np.where(mass > 3, "big", "small").tolist(),
    }


def written(folder, columns, name="t.csv"):
    lines = [",".join(columns)] + [
        ",".join("" if v is None else str(v) for v in row) for row in zip(*columns.values(), strict=True)
    ]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def fit(source, tmp_path, name="run", **more):
    return hubel.fit(source, recipe=quick(), out=tmp_path / name, quiet=True, device="cpu", **more)


def test_a_regression_has_units_everywhere(columns, tmp_path, capsys):
    table = written(tmp_path, columns)
    run = fit(table, tmp_path, target="mass", options={"ignore": "kind"})
    assert run.objective.units == ("Msun",) and run.objective.target_names == ("mass",)
    assert isinstance(run.objective, SquaredError)
    assert run.about["net"]["arguments"]["inputs"] == [1 + 1 + 3 + 2]
    assert (
        "mass is a real value, so squared error of a linear score is minimized"
        in run.about["reasons"]["objective"]
    )
    answers = list(predict_files(run, [table]))
    assert len(answers) == NUM
    assert answers[0]["units"] == {"mass": "Msun"}
    expected = run.predict({"a": columns["a"][:1], "colour": columns["colour"][:1]}).values[0, 0]
    assert answers[0]["values"]["mass"] == pytest.approx(expected, rel=1e-5)
    lacking = written(tmp_path, {"colour": columns["colour"]}, "lacking.csv")
    (tmp_path / "broken.csv").write_bytes(b"a,kind,colour\n1,\xff\xfe\n")
    asked = predict_files(run, [lacking, table, tmp_path / "broken.csv", table])
    assert [next(asked) for _ in range(2 * NUM)] == answers * 2
    with pytest.raises(UnreadableData, match=r"(?s)2 files can not be read.*lacking\.csv.*broken\.csv"):
        next(asked)
    (tmp_path / "notes.md").write_text("no table")
    others = list(predict_files(run, [tmp_path / "notes.md", table], skip_unreadable=True))
    assert "notes.md is none; expected one of .csv" in others[0]["unreadable"]
    assert [one | {"unreadable": ""} for one in answers] == others[1:]
    with pytest.raises(FileNotFoundError, match=r"gone\.csv does not exist"):
        next(predict_files(run, [table, tmp_path / "gone.csv"]))


def test_error_bars_are_asked_for_and_answered(columns, tmp_path):
    table = written(tmp_path, columns)
    run = fit(table, tmp_path, target="mass", uncertainty=True, options={"ignore": "kind"})
    assert isinstance(run.objective, GaussianLikelihood) and run.objective.num_outputs == 2
    answer = next(predict_files(run, [table]))
    assert answer["uncertainties"]["mass"] > 0
    with np.load(run.folder / "predictions.npz") as stored:
        assert stored["uncertainties"].shape == stored["values"].shape
        inside = np.abs(stored["values"] - stored["targets"]) <= stored["uncertainties"]
    assert run.test["coverage_68"]["value"] == pytest.approx(inside.mean())
    again = fit(table, tmp_path, "again", like=run)
    assert again.objective.center == run.objective.center and same_weights(run, again)


def test_evaluating_and_predicting_repeat_the_reading(columns, tmp_path):
    table = written(tmp_path, columns)
    run = fit(table, tmp_path, target="kind", options={"ignore": "mass"})
    assert run.evaluate()["accuracy"].value == pytest.approx(run.test["accuracy"]["value"])
    rows = [k for k in range(NUM) if columns["colour"][k] == "green" and columns["kind"][k] == "big"][:9]
    some = {name: [values[k] for k in rows] for name, values in columns.items()}
    new = written(tmp_path, {name: some[name] for name in ("kind", "mass [Msun]", "colour", "a")}, "new.csv")
    score = run.evaluate(new)["accuracy"]
    said = run.predict({"colour": some["colour"], "a": some["a"]})
    assert score.count == 9
    assert score.value == pytest.approx(np.mean(np.array(said.labels) == "big"))


def test_a_data_frame_is_fitted_by_target_or_by_columns(columns, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns)
    whole = fit(frame, tmp_path, target="kind", options={"ignore": "mass"})
    parts = hubel.fit(
        frame[["a", "colour"]], frame["kind"], recipe=quick(), out=tmp_path / "parts", quiet=True
    )
    assert same_weights(whole, parts)
    assert whole.predict(frame).labels == parts.predict(frame[["colour", "a"]]).labels
    assert parts.evaluate(frame[["a", "colour"]], frame["kind"])["accuracy"].count == NUM
    mass = hubel.fit(
        frame[["a", "colour"]], frame["mass [Msun]"], recipe=quick(), out=tmp_path / "mass", quiet=True
    )
    assert mass.objective.units == ("Msun",)
    with pytest.raises(TypeError, match="target="):
        hubel.fit(frame, quiet=True)


def test_like_reads_another_table_by_the_levels_of_the_first(columns, tmp_path):
    run = fit(written(tmp_path, columns), tmp_path, target="kind", options={"ignore": "mass"})
    less = {
        name: [v for v, c in zip(values, columns["colour"], strict=True) if c != "red"]
        for name, values in columns.items()
    }
    other = fit(written(tmp_path, less, "less.csv"), tmp_path, "other", target="kind", like=run)
    assert other.reading["columns"] == run.reading["columns"]
    assert other.about["net"]["arguments"] == run.about["net"]["arguments"]


def test_resuming_reads_the_table_again_and_notices_a_change(columns, tmp_path):
    table = written(tmp_path, columns)
    run = fit(table, tmp_path, target="kind", options={"ignore": "mass"})
    about = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(about | {"status": "interrupted"}))
    assert same_weights(hubel.resume(run.folder, quiet=True), run)
    (run.folder / "run.json").write_text(json.dumps(about | {"status": "interrupted"}))
    written(tmp_path, {**columns, "colour": ["RED" if c == "red" else c for c in columns["colour"]]})
    with pytest.raises(ValueError, match="have changed since it was started"):
        hubel.resume(run.folder, quiet=True)


def test_probabilities_as_targets(tmp_path):
    x = np.random.default_rng(0).normal(size=(NUM, 3)).astype("float32")
    p = 1 / (1 + np.exp(-3 * x[:, :1]))
    y = np.concatenate([p, 1 - p], axis=1)
    run = hubel.fit(
        x,
        y,
        options={"task": "probabilities", "classes": ["a", "b"]},
        recipe=quick(epochs=30),
        out=tmp_path / "p",
        quiet=True,
    )
    assert isinstance(run.objective, CrossEntropy) and run.objective.label_smoothing == 0
    assert run.test["accuracy"]["value"] > 0.8
    assert run.predict(x).labels[int(x[:, 0].argmax())] == "a"
    assert (
        run.evaluate(x, y, options={"task": "probabilities", "classes": ["a", "b"]})["accuracy"].count == NUM
    )
    table = {f"x{k}": x[:, k].tolist() for k in range(3)} | {
        "p_a": p[:, 0].tolist(),
        "p_b": (1 - p[:, 0]).tolist(),
    }
    other = fit(written(tmp_path, table), tmp_path, target=["p_a", "p_b"])
    assert other.about["data"]["classes"] == ["a", "b"]
    assert "are probabilities of 2 classes, so cross-entropy" in other.about["reasons"]["objective"]


def test_several_values_have_a_score_each_in_their_unit(columns, tmp_path):
    table = written(tmp_path, {**columns, "age [Gyr]": np.linspace(1, 900, NUM).tolist()})
    run = fit(table, tmp_path, target=["mass", "age"], options={"ignore": "kind"})
    assert run.objective.units == ("Msun", "Gyr")
    assert list(run.test)[:3] == ["r2", "rmse_mass", "rmse_age"] and "rmse" not in run.test
    alike = written(tmp_path, {**columns, "size [Msun]": np.linspace(1, 900, NUM).tolist()})
    run = fit(alike, tmp_path / "alike", target=["mass", "size"], options={"ignore": "kind"})
    both = run.test["rmse_mass"]["value"] + run.test["rmse_size"]["value"]
    assert run.test["rmse"]["value"] == pytest.approx(both / 2)


@pytest.mark.parametrize(
    ("wishes", "target", "said"),
    [
        ({"uncertainty": True}, "kind", "uncertainty was asked for, but classes have probabilities"),
        ({"balance": True}, "mass", "balance was asked for, but real values have no classes"),
        ({"focus": 2.0}, "mass", "focus was asked for, but"),
        ({"focus": -1.0}, "kind", "focus is -1.0; expected 0 or a positive number"),
        (
            {"balance": True, "objective": CrossEntropy(2)},
            "kind",
            "balance was asked for, but the objective was given",
        ),
    ],
)
def test_wishes_that_contradict_the_target(columns, tmp_path, wishes, target, said):
    with pytest.raises(ValueError, match=said):
        fit(written(tmp_path, columns), tmp_path, target=target, **wishes)


def test_balance_weighs_classes_and_says_so(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    y = (np.arange(200) % 10 == 0).astype(int)
    run = hubel.fit(x, y, balance=True, focus=2.0, recipe=quick(), out=tmp_path / "run", quiet=True)
    counts = np.array(list(run.about["data"]["counts"]["train"].values()))
    assert run.objective.class_weights == pytest.approx(tuple(counts.sum() / (2 * counts)))
    assert run.objective.focus == 2.0
    assert "so that each counts alike" in run.about["reasons"]["objective"]
    several = np.stack([y, 1 - y], axis=1)
    several[0] = 0
    labels = hubel.fit(x, several, balance=True, recipe=quick(), out=tmp_path / "labels", quiet=True)
    assert labels.objective.positive_weights[0] > 5


def test_a_table_that_is_mapped_to_a_file_is_fitted_alike(columns, tmp_path, monkeypatch):
    from hubel.data import storage

    table = written(tmp_path, columns)
    held = fit(table, tmp_path, target="kind")
    monkeypatch.setattr(storage, "fits", lambda num_bytes: False)
    mapped = fit(table, tmp_path, "mapped", target="kind")
    assert mapped.about["data"]["memory_mapped"]
    assert same_weights(held, mapped)
