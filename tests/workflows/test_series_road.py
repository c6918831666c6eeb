"""Series, films and forecasts go the whole road: fitted, scored, reported, opened again, asked, resumed, evaluated."""

import json

import numpy as np
import pytest
from small_runs import quick, same_weights

import hubel
from hubel import workflows
from hubel.fitting import AdamW
from hubel.show.report import report


def light_curves(num=120, seed=0):
    """Series of 8 to 24 steps of 2 features: slow or fast waves beside noise."""
    generator = np.random.default_rng(seed)
    y = np.arange(num) % 2
    curves = []
    for fast in y:
        t = np.arange(generator.integers(8, 25)) + generator.uniform(0, 6)
        curves.append(np.stack([np.sin(t * (1.5 if fast else 0.4)), generator.normal(size=len(t))], axis=1))
    return curves, np.where(y, "fast", "slow")


def recipe(**more):
    return quick(optimizer=AdamW(learning_rate=5e-3), epochs=12, **more)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    curves, y = light_curves()
    out = tmp_path_factory.mktemp("series") / "run"
    return hubel.fit(curves, y, recipe=recipe(), out=out, quiet=True)


def test_ragged_lists_are_fitted_and_asked(classified):
    assert classified.test["accuracy"]["value"] > 0.8
    assert classified.about["net"]["name"] == "hubel.nets.series_resnet"
    new, truth = light_curves(seed=1)
    again = hubel.open_run(classified.folder)
    prediction = again.predict(new)
    assert np.mean(np.array(prediction.labels) == truth) > 0.8
    one = again.predict([new[3]])
    np.testing.assert_allclose(one.probabilities[0], prediction.probabilities[3], rtol=1e-4, atol=1e-6)
    longer = np.concatenate([new[0], new[2], new[4]])  # longer than any of training
    assert again.predict([longer, new[1]]).probabilities.shape == (2, 2)
    assert again.evaluate(new, truth)["accuracy"].count == 120
    with pytest.raises(ValueError, match="expected at least one step of 2 features"):
        again.predict([np.zeros((5, 3))])


def test_resuming_and_going_alike(classified, tmp_path):
    curves, y = light_curves()
    assert hubel.resume(classified.folder, data=curves, y=y, quiet=True).status == "finished"
    like = hubel.fit(curves, y, like=classified, out=tmp_path / "like", quiet=True)
    assert same_weights(like, classified)


def test_the_report_draws_the_series(classified):
    page = report(classified.folder)
    assert page.count('class="chart series"') >= 8
    assert "feature 2" in page
    with np.load(classified.folder / "predictions.npz") as stored:
        assert stored["example_series"].shape[1:] == (24, 2)
        assert stored["example_lengths"].max() <= 24


def test_a_folder_of_series_through_the_command_line_words(tmp_path):
    curves, y = light_curves(60)
    for k, (curve, label) in enumerate(zip(curves, y, strict=True)):
        (tmp_path / "curves" / label).mkdir(parents=True, exist_ok=True)
        lines = [f"{t},{a:.9g},{b:.9g}" for t, (a, b) in enumerate(curve)]
        (tmp_path / "curves" / label / f"{k:03d}.csv").write_text(
            "\n".join(["time (s),flux (mJy),error", *lines])
        )
    run = hubel.fit(tmp_path / "curves", recipe=quick(), out=tmp_path / "run", quiet=True)
    with np.load(run.folder / "predictions.npz") as stored:
        ids, probabilities = stored["ids"], stored["probabilities"]
    files = [tmp_path / "curves" / name for name in ids]
    answers = list(workflows.predict_files(run, files))
    for answer, row in zip(answers, probabilities, strict=True):
        assert answer["probability"] == pytest.approx(float(row.max()), rel=1e-4)
    assert len(list(workflows.predict_files(run, [tmp_path / "curves" / "slow"]))) == 30
    assert workflows.evaluate(run)["accuracy"].value == run.test["accuracy"]["value"]
    page = report(run.folder)
    assert "flux (mJy)" in page
    assert "time (s)" in page


def test_a_value_of_series_and_crops_declared(tmp_path):
    curves, _ = light_curves(80)
    y = np.array([curve[:, 0].std() for curve in curves])
    options = {"symmetries": ["crop", "jitter", "scale"]}
    run = hubel.fit(
        curves, y, recipe=recipe(augmentation=None), options=options, out=tmp_path / "run", quiet=True
    )
    assert [type(change).__name__ for change in run.recipe.augmentation] == [
        "CropSteps",
        "Jitter",
        "ScaleValues",
    ]
    assert next(iter(run.test)) == "rmse"


def test_series_of_one_length_go_to_a_network_without_lengths(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 10, 2)).astype("float32")
    y = (x[:, 0, 0] > 0).astype(int)

    def net(inputs, outputs):
        return hubel.nets.mlp((8,), inputs=inputs, outputs=outputs)

    run = hubel.fit(
        x, y, net=net, options={"kind": "series"}, recipe=quick(), out=tmp_path / "run", quiet=True
    )
    assert run.predict(x[:3]).values.shape == (3,)
    assert run.predict(x[0]).values.shape == (1,)


def test_films(tmp_path):
    """Whether a bright row moves down or up: only the order of the pictures says it."""
    generator = np.random.default_rng(0)
    films, y = [], np.arange(60) % 2
    for up in y:
        steps = int(generator.integers(4, 7))
        film = generator.normal(0, 0.2, (steps, 8, 8))
        for t in range(steps):
            film[t, (-t if up else t) % 8] += 2
        films.append(film.astype("float32"))
    chosen = quick(optimizer=AdamW(learning_rate=5e-3), epochs=20, batch_size=8)
    run = hubel.fit(
        films, y, options={"kind": "image series"}, recipe=chosen, out=tmp_path / "run", quiet=True
    )
    assert run.about["net"]["name"] == "hubel.nets.image_series"
    assert run.test["accuracy"]["value"] > 0.7
    assert run.predict([films[0], films[1][:3]]).probabilities.shape == (2, 2)
    assert (
        hubel.open_run(run.folder).evaluate(films, y, options={"kind": "image series"})["accuracy"].count
        == 60
    )


def write_waves(path, steps=600, seed=0):
    generator = np.random.default_rng(seed)
    t = np.arange(steps)
    level = np.zeros(steps)
    for k in range(2, steps):
        level[k] = 1.8 * level[k - 1] - 0.9 * level[k - 2] + generator.normal()
    lines = [f"{k},{280 + v:.9g},{np.sin(k / 5):.9g}" for k, v in zip(t, level, strict=True)]
    path.write_text("\n".join(["time (h),temperature (K),tide", *lines]))
    return 280 + level


@pytest.fixture(scope="module")
def forecast(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast")
    write_waves(folder / "waves.csv")
    options = {"forecast": 4, "length": 16, "target": "temperature"}
    return hubel.fit(folder / "waves.csv", options=options, recipe=recipe(), out=folder / "run", quiet=True)


def test_a_forecast_beats_the_naive_ones_and_says_so(forecast):
    naive = forecast.about["naive"]
    assert next(iter(naive)) == "the last value"
    best = min(naive, key=lambda name: naive[name]["rmse"]["value"])
    assert naive[best]["skill"]["low"] > 0
    assert forecast.test["rmse"]["value"] < naive[best]["rmse"]["value"]
    page = report(forecast.folder)
    assert "it is worth its cost" in page
    assert "steps ahead" in page
    assert "time (h), from the last one seen" in page
    assert forecast.objective.target_names == tuple(f"temperature +{k}" for k in (1, 2, 3, 4))
    assert "in order of time" in forecast.about["split"]["how"]


def test_the_naive_scores_against_a_loop(forecast, tmp_path):
    level = write_waves(tmp_path / "again.csv")
    first = int(len(level) - 0.2 * len(level))
    errors = [[level[t + h] - level[t] for h in (1, 2, 3, 4)] for t in range(first + 15, len(level) - 4)]
    expected = np.sqrt(np.square(errors).mean(0)).mean()
    assert forecast.about["naive"]["the last value"]["rmse"]["value"] == pytest.approx(expected, rel=1e-6)


def test_a_forecast_of_recent_values(forecast, tmp_path):
    level = write_waves(tmp_path / "recent.csv", steps=50, seed=3)
    (answer,) = workflows.predict_files(forecast, [tmp_path / "recent.csv"])
    values = np.array(list(answer["values"].values()))
    assert list(answer["values"]) == ["temperature +1", "temperature +2", "temperature +3", "temperature +4"]
    assert abs(values[0] - level[-1]) < 6
    rows = np.loadtxt(tmp_path / "recent.csv", delimiter=",", skiprows=1)[:, 1:]
    assert forecast.predict(rows).values[0].tolist() == values.tolist()
    assert forecast.evaluate(tmp_path / "recent.csv")["rmse"].count == 50 - 16 - 4 + 1
    assert workflows.evaluate(forecast)["rmse"].value == forecast.test["rmse"]["value"]


def test_a_forecast_is_resumed(forecast):
    about = json.loads((forecast.folder / "run.json").read_text())
    assert about["status"] == "finished"
    assert hubel.resume(forecast.folder, quiet=True).status == "finished"


def test_cross_validating_a_forecast_is_refused(tmp_path):
    write_waves(tmp_path / "waves.csv", steps=200)
    with pytest.raises(ValueError, match="windows share steps"):
        hubel.cross_validate(tmp_path / "waves.csv", options={"forecast": 2}, out=tmp_path / "cv", quiet=True)
