"""Every kind of target goes the whole road: fitted, scored, reported, opened again and asked."""

import json

import numpy as np
import pytest

import hubel
from hubel import workflows


def pictures(num=160, seed=0):
    generator = np.random.default_rng(seed)
    bright = generator.integers(0, 2, (num, 2))
    x = generator.normal(100, 20, (num, 1, 12, 12))
    x[:, :, :6] += 80 * bright[:, 0, None, None, None]
    x[:, :, 6:] += 80 * bright[:, 1, None, None, None]
    return x.clip(0, 255).astype("uint8"), bright


def targets_of(kind):
    x, bright = pictures()
    if kind == "two classes":
        return x, np.where(bright[:, 0], "lit", "dark"), "accuracy"
    if kind == "four classes":
        return x, bright @ [1, 2], "accuracy"
    if kind == "several labels":
        return x, bright.astype("uint8"), "f1_macro"
    if kind == "a value":
        return x, (x.mean((1, 2, 3)) * 10).astype("float32"), "rmse"
    if kind == "two values":
        return x, np.stack([x[:, 0, :6].mean((1, 2)), x[:, 0, 6:].mean((1, 2))], 1).astype("float32"), "rmse"
    assert kind == "a table"
    return x.reshape(len(x), -1).astype("float32"), bright[:, 0], "accuracy"


KINDS = ["two classes", "four classes", "several labels", "a value", "two values", "a table"]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_road(kind, tmp_path):
    x, y, headline = targets_of(kind)
    recipe = hubel.Recipe(epochs=12, seed=1)
    run = hubel.fit(x, y, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert run.status == "finished"
    assert next(iter(run.test)) == headline
    score = run.test[headline]
    assert score["low"] <= score["value"] <= score["high"]
    if headline == "rmse":
        assert score["value"] < 0.6 * np.std(y), "no better than the mean"
    else:
        assert score["value"] > 0.8
    again = hubel.open_run(tmp_path / "run")
    prediction = again.predict(x[:7])
    assert len(prediction) == 7
    assert np.array_equal(prediction.values, run.predict(x[:7]).values)
    assert again.recipe == run.recipe
    assert json.loads((tmp_path / "run" / "run.json").read_text())["format"] == 1


def test_four_lines_of_the_readme():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    run = hubel.fit(x.reshape(-1, 8, 8).astype("uint8"), y, recipe=hubel.Recipe(epochs=3), quiet=True)
    assert run.test["accuracy"]["value"] > 0.8


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    x, bright = pictures(num=120)
    for row, (picture, lit) in enumerate(zip(x, bright[:, 0], strict=True)):
        place = tmp_path / "photos" / ("lit" if lit else "dark")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[0]).save(place / f"bild-ü-{row:03d}.png")
    return tmp_path / "photos"


def test_prediction_sees_what_evaluation_saw_bit_by_bit(folder, tmp_path):
    run = hubel.fit(folder, recipe=hubel.Recipe(epochs=2), out=tmp_path / "run", quiet=True)
    with np.load(tmp_path / "run" / "predictions.npz", allow_pickle=False) as stored:
        ids, probabilities = stored["ids"], stored["probabilities"]
    answers = list(workflows.predict_files(run, [folder / name for name in ids]))
    assert [answer["class"] for answer in answers] == [
        run.objective.classes[k] for k in probabilities.argmax(1)
    ]
    for answer, row in zip(answers, probabilities, strict=True):
        assert np.float32(answer["probability"]) == row.max()
        assert sum(p for _, p in answer["top"]) == pytest.approx(1, abs=1e-5)
    scores = workflows.evaluate(run)
    assert scores["accuracy"].value == run.test["accuracy"]["value"]
    assert scores["log_loss"].value == run.test["log_loss"]["value"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["test_looks"] == 2
    other = workflows.evaluate(run, folder)
    assert other["accuracy"].count == 120


def test_evaluation_on_data_whose_classes_come_in_another_order(tmp_path):
    x, bright = pictures()
    run = hubel.fit(
        x,
        np.where(bright[:, 0], "lit", "dark"),
        recipe=hubel.Recipe(epochs=6),
        out=tmp_path / "run",
        quiet=True,
    )
    same = run.evaluate(x, np.where(bright[:, 0], "lit", "dark"))
    turned = hubel.data.Dataset(inputs=x, targets=1 - bright[:, 0], classes=("lit", "dark"))
    assert run.evaluate(turned)["accuracy"].value == same["accuracy"].value
    assert same["accuracy"].value > 0.8
    with pytest.raises(ValueError, match="classes that this network does not know: \\['blue'\\]"):
        run.evaluate(x, np.where(bright[:, 0], "blue", "dark"))
    with pytest.raises(ValueError, match="1×12×6"):
        run.evaluate(x[:, :, :, :6], np.where(bright[:, 0], "lit", "dark"))


def test_predicting_from_several_array_files_of_a_dataset_made_by_hand(tmp_path):
    x, bright = pictures()
    data = hubel.data.Dataset(inputs=x, targets=bright[:, 0], classes=("dark", "lit"))
    run = hubel.fit(data, recipe=hubel.Recipe(epochs=1), out=tmp_path / "run", quiet=True)
    assert run.stopped == "the one epoch is done"
    np.save(tmp_path / "a.npy", x[:2])
    np.save(tmp_path / "b.npy", x[2:5])
    answers = list(workflows.predict_files(tmp_path / "run", [tmp_path / "a.npy", tmp_path / "b.npy"]))
    names = [answer["file"].rpartition("/")[2] for answer in answers]
    assert names == ["a.npy[0]", "a.npy[1]", "b.npy[0]", "b.npy[1]", "b.npy[2]"]
