"""Series and text where they meet the rest: ensembles, folds, features, other data, changes, options of the other kind."""

import signal

import numpy as np
import pytest
import torch
from small_runs import quick, same_weights
from torch import nn

import hubel
from hubel import nets, workflows
from hubel.core.errors import ContractError
from hubel.data import forecasting, from_text
from hubel.data.augmentation import CropSteps, Draw, Jitter, Mixup, Noise, ScaleValues, augmented
from hubel.fitting import AdamW
from hubel.objectives import AbsoluteError, SquaredError
from hubel.show.report import report
from hubel.workflows import choices, training

SAYING = "to be or not to be, that is the question. whether it is nobler to read, or to write. "


def small(inputs, outputs):
    return nets.character_lm("gru", 12, layers=1, dropout=0.0, inputs=inputs, outputs=outputs)


def recipe(**changes):
    return quick(**{"optimizer": AdamW(learning_rate=0.02), "epochs": 2, "average": False, **changes})


def level(steps=300, seed=0):
    """An autoregression of order 2 about 280."""
    generator = np.random.default_rng(seed)
    found = np.zeros(steps)
    for k in range(2, steps):
        found[k] = 1.8 * found[k - 1] - 0.9 * found[k - 2] + generator.normal()
    return 280 + found


def write_level(path, steps=300, seed=0, step=1.0):
    rows = [f"{k * step:g},{v:.9g}" for k, v in enumerate(level(steps, seed))]
    path.write_text("\n".join(["time (h),level (m)", *rows]))
    return path


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text(SAYING * 30, encoding="utf-8")
    return path


class TestEnsembles:
    def test_of_a_text_the_mean_is_that_of_probabilities_on_the_windows_of_the_members(self, book, tmp_path):
        """Shares part a text where it is cut, so that members and mean must cut it alike."""
        found = hubel.ensemble(
            book, members=2, net=small, recipe=recipe(), options={"length": 20}, validation=0.2, test=0.3,
            out=tmp_path / "e", quiet=True,
        )  # fmt: skip
        one = found.members[0]
        data = hubel.data.load(book, length=20, validation=0.2, test=0.3)
        rows = one.split["test"]
        assert one.about["data"]["fingerprint"] == data.fingerprint
        assert set(data.part[rows]) == {"test"}
        probabilities = np.mean(
            [run.objective.read(run.outputs(data.inputs[rows])).probabilities for run in found.members],
            axis=0,
        )
        came = np.take_along_axis(probabilities, data.targets[rows].astype(int)[:, :, None], axis=2)
        assert found.test["bits_per_symbol"]["value"] == pytest.approx(-np.log2(came).mean(), rel=1e-5)
        right = (probabilities.argmax(2) == data.targets[rows]).mean()
        assert found.test["accuracy"]["value"] == pytest.approx(right)
        with np.load(found.folder / "predictions.npz") as stored:
            assert "probabilities" not in stored
            assert stored["values"].dtype == np.uint8
            assert stored["ids"].tolist() == data.ids[rows].tolist()
        assert found.evaluate()["bits_per_symbol"].value == pytest.approx(
            found.test["bits_per_symbol"]["value"], rel=1e-6
        )
        assert "What it writes" not in report(found.folder)  # the text of one member
        with pytest.raises(FileNotFoundError, match=r"name one of those in it, such as .*member-1"):
            hubel.write(found.folder)

    def test_of_forecasts_the_naive_ones_are_compared_with_the_mean(self, tmp_path):
        data = forecasting(level(), 3, length=12, target=0)
        found = hubel.ensemble(data, members=2, recipe=recipe(epochs=4), out=tmp_path / "e", quiet=True)
        part = data.view(found.members[0].split["test"])
        mean = found.prediction_of(part).values
        last = part.inputs[:][:, -1, :].repeat(3, axis=1)
        saved = np.mean(1 - ((mean - part.targets) ** 2).sum(0) / ((last - part.targets) ** 2).sum(0))
        naive = found.about["naive"]["the last value"]
        assert naive["skill"]["value"] == pytest.approx(saved)
        assert naive["skill"]["value"] != found.members[0].about["naive"]["the last value"]["skill"]["value"]
        assert f"{100 * saved:.1f} %" in report(found.folder)


class TestFolds:
    def test_of_a_text_are_refused(self, book, tmp_path):
        with pytest.raises(ValueError, match="is one text: its windows go on from one another"):
            hubel.cross_validate(book, options={"length": 20}, out=tmp_path / "cv", quiet=True)
        assert not (tmp_path / "cv").exists()


class TestForecasts:
    def test_error_bars_stand_beside_the_naive_forecasts(self, tmp_path):
        run = hubel.fit(
            forecasting(level(), 2, length=10),
            uncertainty=True,
            recipe=recipe(),
            out=tmp_path / "run",
            quiet=True,
        )
        assert run.status == "finished"
        assert set(run.about["naive"]["the last value"]) >= {"rmse", "mae", "skill"}
        assert "with error bars" in run.about["reasons"]["net"]
        assert (tmp_path / "run" / "report.html").exists()

    def test_few_windows_have_no_interval_and_are_said_all_the_same(self, tmp_path, capsys):
        data = forecasting(level(120), 10, length=12)
        run = hubel.fit(data, validation=0, recipe=recipe(), out=tmp_path / "run")
        assert run.status == "finished"
        assert run.test["rmse"]["low"] is None
        said = " ".join(capsys.readouterr().err.split())
        assert "no interval" in said
        assert "beside it: the last value" in said
        assert (tmp_path / "run" / "report.html").exists()

    def test_a_text_file_of_numbers_is_parted_as_a_series(self, tmp_path):
        path = write_level(tmp_path / "level.txt", 200)
        run = hubel.fit(
            path, options={"forecast": 3, "length": 10}, validation=0.2, test=0.3, recipe=recipe(),
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
        assert "60 test" in run.about["split"]["how"]
        assert run.about["loading"]["options"] == {"forecast": 3, "length": 10}

    def test_a_run_of_an_array_is_evaluated_on_a_file(self, tmp_path):
        x = np.stack([np.arange(200.0) % 7, level(200)], axis=1)
        run = hubel.fit(
            forecasting(x, 3, length=10, target=1), recipe=recipe(), out=tmp_path / "run", quiet=True
        )
        np.savetxt(tmp_path / "new.csv", x[:80], delimiter=",")
        found = run.evaluate(tmp_path / "new.csv")
        same = run.evaluate(forecasting(x[:80], 3, length=10, target=1))
        assert found["rmse"] == same["rmse"]
        assert found["rmse"].count == 80 - 10 - 3 + 1
        with pytest.raises(
            ValueError, match=r"hubel\.data\.forecasting\(series, 3, length=10, target=\[1\]\)"
        ):
            run.evaluate(x[None, :10], np.zeros((1, 3)))
        np.savetxt(tmp_path / "long.csv", x, delimiter=",")
        again = hubel.fit(tmp_path / "long.csv", like=run, out=tmp_path / "again", quiet=True)
        assert hubel.resume(again.folder, quiet=True).status == "finished"
        assert hubel.open_run(again.folder).evaluate()["rmse"].value == again.test["rmse"]["value"]

    def test_steps_at_another_rate_are_refused_and_gaps_said(self, tmp_path):
        run = hubel.fit(
            write_level(tmp_path / "hours.csv"), options={"forecast": 3, "length": 10}, recipe=recipe(),
            out=tmp_path / "run", quiet=True,
        )  # fmt: skip
        tens = write_level(tmp_path / "tens.csv", 40, step=1 / 6)
        with pytest.raises(
            ValueError, match=r"a step every 0\.1666\d* h, but the network was fitted to one every 1 h"
        ):
            list(workflows.predict_files(run, [tens]))
        rows = write_level(tmp_path / "gap.csv", 40).read_text().splitlines()
        (tmp_path / "gap.csv").write_text("\n".join([*rows[:20], *rows[22:]]))
        with pytest.warns(UserWarning, match="uneven steps .first 3 h before row 20."):
            assert len(list(workflows.predict_files(run, [tmp_path / "gap.csv"]))) == 1
        (tmp_path / "bare.csv").write_text("\n".join(row.partition(",")[2] for row in rows))
        assert len(list(workflows.predict_files(run, [tmp_path / "bare.csv"]))) == 1

    def test_the_network_adds_the_last_value_where_target_and_input_have_one_unit(self):
        train = forecasting(level(), 2, length=10)
        objective, _ = choices.choose_objective(train)
        robust = AbsoluteError(2, center=objective.center, scale=objective.scale)
        for asked, name in (
            (objective, "forecaster"),
            (robust, "forecaster"),
            (SquaredError(2), "recurrent"),
        ):
            net, why = choices.choose_net(train, asked, 0, 1.0)
            assert net.made_by.name == f"hubel.nets.{name}"
            assert "error bars" not in why

    @pytest.mark.parametrize("change", [CropSteps(), ScaleValues()])
    def test_changes_that_make_the_next_values_others_are_refused(self, change, tmp_path):
        data = forecasting(level(), 2, length=10)
        with pytest.raises(ContractError, match="changes a window, but not the values that follow"):
            hubel.fit(data, recipe=recipe(augmentation=(change,)), out=tmp_path / "run", quiet=True)
        run = hubel.fit(data, recipe=recipe(augmentation=(Jitter(),)), out=tmp_path / "run", quiet=True)
        assert run.status == "finished"


class TestFeatures:
    def test_of_a_text_are_the_mean_over_its_symbols(self, book, tmp_path):
        run = hubel.fit(
            book, net=small, recipe=recipe(), options={"length": 20}, out=tmp_path / "run", quiet=True
        )
        codes = hubel.features(run, book)
        windows = hubel.data.read_like(book, run.reading)
        with torch.no_grad():
            expected = run.net.features(torch.from_numpy(windows).long()).mean(dim=1)
        assert codes.shape == (len(windows), 12)
        np.testing.assert_allclose(codes, expected, rtol=1e-4, atol=1e-6)

    def test_of_layers_of_series_are_means_over_the_steps_that_there_are(self, tmp_path):
        generator = np.random.default_rng(0)
        curves = [generator.normal(size=(n, 2)) for n in generator.integers(6, 13, 40)]
        made = {
            "convolutions": lambda inputs, outputs: nets.series_resnet(12, inputs=inputs, outputs=outputs),
            "attention": lambda inputs, outputs: nets.transformer(8, heads=2, inputs=inputs, outputs=outputs),
        }
        for name, net in made.items():
            run = hubel.fit(
                curves, np.arange(40) % 2, net=net, recipe=recipe(), out=tmp_path / name, quiet=True
            )
            layers = ("stem", "blocks.0.two") if name == "convolutions" else ("embed", "blocks.1")
            for layer in layers:
                together = hubel.features(run, curves, layer=layer)
                alone = np.concatenate([hubel.features(run, [curve], layer=layer) for curve in curves])
                assert together.shape == (40, 12 if name == "convolutions" else 8)
                np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
            assert np.ptp(together, axis=0).min() > 0

    def test_of_a_layer_that_sees_single_pictures_are_refused(self):
        net = nets.image_series("gru", 8, width=8, inputs=(1, 8, 8), outputs=2)
        with pytest.raises(ValueError, match="answers with 6 rows for 2 examples"):
            hubel.features(net, torch.zeros(2, 3, 1, 8, 8), layer="look.head")


class TestChanges:
    def test_nothing_stands_beyond_a_length(self):
        lengths = torch.tensor([3, 5])
        x = torch.ones(2, 6, 2)
        changed, kept = augmented(x, (Noise(amount=1.0),), Draw(0, 1, 0, torch.arange(2), lengths=lengths))
        assert kept.tolist() == [3, 5]
        assert (changed[0, 3:] == 0).all()
        assert (changed[1, 5:] == 0).all()
        assert (changed[0, :3] != 1).all()

    def test_stretches_need_a_network_that_takes_lengths(self, tmp_path):
        x = np.random.default_rng(0).normal(size=(40, 10, 2)).astype("float32")
        net = nn.Sequential(nn.Flatten(), nn.Linear(20, 2))
        with pytest.raises(ContractError, match="CropSteps makes series of different lengths"):
            hubel.fit(
                x, np.arange(40) % 2, net=net, options={"kind": "series", "symmetries": ["crop"]},
                recipe=recipe(augmentation=None), out=tmp_path / "run", quiet=True,
            )  # fmt: skip

    def test_blends_of_different_lengths_are_refused(self, tmp_path):
        curves = [np.ones((3 + k % 4, 2)) for k in range(40)]
        with pytest.raises(ContractError, match="of which the longer one would be cut"):
            hubel.fit(
                curves,
                np.arange(40) % 2,
                recipe=recipe(augmentation=(Mixup(),)),
                out=tmp_path / "run",
                quiet=True,
            )


def test_symbols_that_were_lost_before_the_network_was_asked_are_said(book, tmp_path):
    """Here z stands in the last fifth of the new text alone, which `from_text` parts off by default; the network knows it."""
    run = hubel.fit(
        from_text(SAYING * 20 + "zz" * 40, length=10, validation=0, test=0), net=small, recipe=recipe(),
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    new = SAYING * 6 + "z" * 40
    with pytest.warns(
        UserWarning, match=r"symbols of text are �: .*from_text\(text, validation=0, test=0, least=1\)"
    ):
        lost = run.evaluate(from_text(new, length=10))
    kept = run.evaluate(from_text(new, length=10, validation=0, test=0, least=1))
    assert lost["bits_per_symbol"].value > kept["bits_per_symbol"].value + 0.1


def test_like_a_run_of_something_else_a_text_is_refused(book, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
    run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=recipe(), out=tmp_path / "run", quiet=True)
    with pytest.raises(
        ValueError, match=r"book\.txt is a text, but .* was fitted to something else \(features\)"
    ):
        hubel.fit(book, like=run, out=tmp_path / "other", quiet=True)


def test_a_network_that_reads_whole_windows_alone_is_scored_but_writes_nothing(tmp_path):
    class Whole(nn.Module):
        """[N, 20] to [N, 20, K], and no other length."""

        def __init__(self, size):
            super().__init__()
            self.table = nn.Embedding(size, size)

        def forward(self, x):
            assert x.shape[1] == 20, "20 symbols"
            return self.table(x)

    data = from_text(SAYING * 10, length=20)
    with pytest.warns(RuntimeWarning, match=r"could not write a text \(AssertionError: 20 symbols"):
        run = hubel.fit(
            data, net=Whole(len(data.alphabet)), recipe=recipe(), out=tmp_path / "run", quiet=True
        )
    assert run.status == "finished"
    assert np.isfinite(run.test["bits_per_symbol"]["value"])
    assert (tmp_path / "run" / "report.html").exists()


def waves(num=60, seed=0):
    """Series of 6 to 14 steps of 2 features, slow or fast."""
    generator = np.random.default_rng(seed)
    y = np.arange(num) % 2
    curves = []
    for fast in y:
        t = np.arange(generator.integers(6, 15)) + generator.uniform(0, 6)
        curves.append(np.stack([np.sin(t * (1.5 if fast else 0.4)), generator.normal(size=len(t))], axis=1))
    return curves, y


def test_the_mean_of_members_and_the_folds_know_the_lengths(tmp_path):
    """Scored together as each series is scored alone, without any padding."""
    curves, y = waves()
    members = hubel.ensemble(curves, y, members=2, recipe=recipe(), out=tmp_path / "e", quiet=True)
    with np.load(members.folder / "predictions.npz") as stored:
        rows = stored["ids"].astype(int)
        alone = np.concatenate([members.predict([curves[row]]).probabilities for row in rows])
        np.testing.assert_allclose(stored["probabilities"], alone, rtol=1e-4, atol=1e-6)
    folds = hubel.cross_validate(curves, y, folds=2, recipe=recipe(), out=tmp_path / "f", quiet=True)
    for run in folds.runs:
        rows = run.split["test"]
        alone = np.concatenate([run.predict([curves[row]]).probabilities for row in rows])
        np.testing.assert_allclose(folds.predictions["probabilities"][rows], alone, rtol=1e-4, atol=1e-6)


def test_an_interrupted_run_with_changed_series_ends_as_one_that_was_not(tmp_path, monkeypatch):
    curves, y = waves()
    options = {"options": {"symmetries": ["crop", "jitter", "scale"]}, "quiet": True}
    chosen = recipe(epochs=4, augmentation=None, average=0.9)
    whole = hubel.fit(curves, y, recipe=chosen, out=tmp_path / "whole", **options)
    factor = training.Training.factor

    def interrupting(self, step):
        if step == 5 and not sent:
            sent.append(step)
            signal.raise_signal(signal.SIGINT)
        return factor(self, step)

    sent: list[int] = []
    monkeypatch.setattr(training.Training, "factor", interrupting)
    half = hubel.fit(curves, y, recipe=chosen, out=tmp_path / "half", **options)
    assert half.status == "interrupted"
    resumed = hubel.resume(half.folder, data=curves, y=y, quiet=True)
    assert resumed.status == "finished"
    assert same_weights(whole, resumed)
    assert resumed.test == whole.test


def test_the_season_is_that_of_the_training_part_and_intervals_draw_blocks(tmp_path):
    t = np.arange(600)
    series = np.where(t < 480, np.sin(t * 2 * np.pi / 7), np.sin(t * 2 * np.pi / 11))
    series = series + np.random.default_rng(0).normal(0, 0.05, 600)
    run = hubel.fit(forecasting(series, 3, length=20), recipe=recipe(), out=tmp_path / "run", quiet=True)
    assert "the value one season (7 steps) before" in run.about["naive"]
    for scores in (run.test, *run.about["naive"].values()):
        assert all("groups" in score["method"] for score in scores.values())
    again = run.evaluate(forecasting(series[480:], 3, length=20))
    assert "groups" in again["rmse"].method


def test_the_worst_forecasts_are_of_different_events(tmp_path):
    series = level(600)
    series[530] += 60  # one event in the test part, which many windows share
    run = hubel.fit(forecasting(series, 5, length=12), recipe=recipe(), out=tmp_path / "run", quiet=True)
    with np.load(run.folder / "predictions.npz") as stored:
        worst = stored["worst_rows"]
        steps = np.array([int(name.removeprefix("step ")) for name in stored["ids"]])[worst]
    assert 520 < steps[0] < 545
    assert np.diff(np.sort(steps)).min() >= 5


def test_a_file_of_one_series_is_answered_by_its_name(tmp_path):
    curves, y = waves()
    run = hubel.fit(curves, y, recipe=recipe(), out=tmp_path / "run", quiet=True)
    np.save(tmp_path / "one.npy", curves[0])
    np.savez(tmp_path / "two.npz", x=np.stack([curves[0][:6], curves[1][:6]]))
    found = workflows.predict_files(run, [tmp_path / "one.npy", tmp_path / "two.npz"])
    assert [str(answer["file"]).rpartition("/")[2] for answer in found] == [
        "one.npy",
        "two.npz[0]",
        "two.npz[1]",
    ]


def test_pictures_that_a_film_has_not_are_shown_as_none(tmp_path):
    films = [np.full((2 + k % 3, 5, 5), 10 + k, np.uint8) for k in range(40)]
    run = hubel.fit(
        films,
        np.arange(40) % 2,
        options={"kind": "image series"},
        recipe=recipe(),
        out=tmp_path / "run",
        quiet=True,
    )
    with np.load(run.folder / "predictions.npz") as stored:
        entering = stored["entering_pictures"]
    there = np.isfinite(entering).all((2, 3))
    assert entering.shape[1:] == (4, 5, 5)
    assert set(there.sum(1).tolist()) == {2, 3, 4}
    assert (np.isfinite(entering).any((2, 3)) == there).all()
    assert "pictures, side by side in grey" in report(run.folder)
