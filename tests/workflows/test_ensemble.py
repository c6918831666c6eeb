"""Ensembles of seeds: members that differ by their seed alone, a mean that is their mean, and going on after an interruption."""

import json
import signal

import numpy as np
import pytest
import torch
from small_runs import Small, quick, same_weights, table

import hubel
from hubel import workflows
from hubel.core.errors import DamagedRun
from hubel.core.types import Prediction
from hubel.fitting import mean_prediction
from hubel.workflows.display import Display


def own(inputs, outputs):
    return Small(outputs)


def made(out, members=3, **more):
    x, y = table(60)
    return hubel.ensemble(x, y, members=members, recipe=quick(), out=out, quiet=True, **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("ensembles") / "whole")


def test_members_differ_by_their_seed_alone(whole):
    assert [run.folder.name for run in whole.members] == ["member-1", "member-2", "member-3"]
    assert [run.recipe.seed for run in whole.members] == [1, 2, 3]
    first, *others = whole.members
    for run in others:
        assert run.about["split"]["sha256"] == first.about["split"]["sha256"]
        assert run.about["net"] == first.about["net"]
        told, asked = run.about["recipe"], first.about["recipe"]
        assert {k: v for k, v in told.items() if k != "seed"} == {
            k: v for k, v in asked.items() if k != "seed"
        }
        assert not same_weights(run, first)
    assert whole.status == "finished" and whole.stopped == "all 3 members are fitted"


def test_a_member_is_an_ordinary_run(whole, tmp_path):
    x, y = table(60)
    alone = hubel.fit(x, y, recipe=quick(), out=tmp_path / "run", quiet=True)
    assert same_weights(alone, whole.members[0])


def test_the_mean_is_the_mean(whole):
    x, _ = table(60)
    each = [run.predict(x[:7]).probabilities for run in whole.members]
    said = whole.predict(x[:7])
    assert np.allclose(said.probabilities, np.mean(each, axis=0), atol=1e-6)
    assert np.array_equal(said.values, np.mean(each, axis=0).argmax(1))
    part = whole.members[0].split["test"]
    y = table(60)[1][part]
    mean = np.mean([run.predict(x[part]).probabilities for run in whole.members], axis=0)
    assert whole.test["accuracy"]["value"] == pytest.approx((mean.argmax(1) == y).mean())
    assert whole.test["log_loss"]["value"] == pytest.approx(-np.log(mean[range(len(y)), y]).mean(), rel=1e-5)
    with np.load(whole.folder / "predictions.npz", allow_pickle=False) as stored:
        assert np.allclose(stored["probabilities"], mean, atol=1e-6) and np.array_equal(stored["targets"], y)


def test_opened_again_it_answers_the_same(whole, tmp_path):
    x, y = table(60)
    again = hubel.open_ensemble(whole.folder)
    assert np.array_equal(again.predict(x).probabilities, whole.predict(x).probabilities)
    np.save(tmp_path / "new.npy", x[:3])
    answers = list(workflows.predict_files(whole.folder, [tmp_path / "new.npy"]))
    assert [answer["class"] for answer in answers] == again.predict(x[:3]).labels
    scores = workflows.evaluate(whole.folder, x, y)
    assert scores["accuracy"].value == pytest.approx((again.predict(x).values == y).mean())
    assert "3 members, finished" in repr(again)


@pytest.mark.parametrize("stated", [False, True])
def test_values_have_their_spread_as_uncertainty(stated):
    rng = np.random.default_rng(0)
    values, own_sd = rng.normal(size=(4, 5, 2)), rng.uniform(0.5, 1, size=(4, 5, 2))
    said = [
        Prediction(values=v, uncertainties=s if stated else None, units=("m", "s"))
        for v, s in zip(values, own_sd, strict=True)
    ]
    mean = mean_prediction(said)
    assert np.allclose(mean.values, values.mean(0)) and mean.units == ("m", "s")
    variance = values.var(0, ddof=1) + (np.square(own_sd).mean(0) if stated else 0)
    assert np.allclose(mean.uncertainties, np.sqrt(variance))


def test_labels_are_said_where_their_mean_is_above_one_half():
    each = [np.array([[0.9, 0.2], [0.4, 0.4]]), np.array([[0.2, 0.3], [0.7, 0.5]])]
    said = [Prediction(values=(p > 0.5).astype(np.uint8), probabilities=p, classes=("a", "b")) for p in each]
    assert mean_prediction(said).values.tolist() == [[1, 0], [1, 0]]


def test_real_values_the_whole_road(tmp_path):
    x, _ = table(60)
    y = (2 * x[:, :1] + 5).astype("float32")
    found = hubel.ensemble(
        x,
        y,
        members=2,
        recipe=quick(epochs=10, optimizer=hubel.fitting.AdamW()),
        out=tmp_path / "e",
        quiet=True,
    )
    np.save(tmp_path / "new.npy", x[:2])
    answers = list(workflows.predict_files(found, [tmp_path / "new.npy"]))
    assert list(answers[0]["values"]) == list(answers[0]["uncertainties"]) == ["value_0"]
    each = [run.predict(x[:2]).values for run in found.members]
    assert answers[1]["uncertainties"]["value_0"] == pytest.approx(
        abs(each[0][1, 0] - each[1][1, 0]) / np.sqrt(2)
    )
    assert found.test["rmse"]["value"] <= max(run.test["rmse"]["value"] for run in found.members)


def interrupted_at(monkeypatch, number):
    """Ctrl-C at the step of this number, counted over all members."""
    plain, seen = Display.step, []

    def step(self, record, epochs, steps_per_epoch):
        seen.append(record.step)
        if len(seen) == number:
            signal.raise_signal(signal.SIGINT)
        plain(self, record, epochs, steps_per_epoch)

    monkeypatch.setattr(Display, "step", step)


@pytest.mark.parametrize("number", [2, 8])
def test_after_ctrl_c_the_same_call_goes_on(whole, tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        interrupted_at(patch, number)
        stopped = made(tmp_path / "e", checkpoint_seconds=0.0)
    assert stopped.status == "interrupted" and "interrupted by the user" in stopped.stopped
    assert len(stopped.members) == (1 if number == 2 else 2)
    x, _ = table(60)
    with pytest.raises(ValueError, match=r"of 3 members are fitted. Go on with: hubel resume"):
        stopped.predict(x)
    done = made(tmp_path / "e", checkpoint_seconds=0.0)
    assert done.status == "finished"
    assert all(same_weights(a, b) for a, b in zip(done.members, whole.members, strict=True))
    assert done.test == whole.test


def test_resumed_from_its_folder(tmp_path, monkeypatch):
    x, y = table(60)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    words = {"members": 2, "recipe": quick(), "quiet": True, "checkpoint_seconds": 0.0}
    with monkeypatch.context() as patch:
        interrupted_at(patch, 2)
        hubel.ensemble(tmp_path / "data.npz", out=tmp_path / "e", **words)
    done = workflows.resume_ensemble(tmp_path / "e", quiet=True)
    straight = hubel.ensemble(tmp_path / "data.npz", out=tmp_path / "straight", **words)
    assert done.status == "finished" and len(done.members) == 2
    assert all(same_weights(a, b) for a, b in zip(done.members, straight.members, strict=True))
    assert done.evaluate()["accuracy"].value == straight.test["accuracy"]["value"]
    assert hubel.open_ensemble(tmp_path / "e").about["test_looks"] == 2
    np.savez(tmp_path / "data.npz", x=x + 1, y=y)
    with pytest.raises(ValueError, match="have changed"):
        workflows.resume_ensemble(tmp_path / "e", quiet=True)


def test_a_member_that_was_killed_before_it_began_is_begun_again(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_at(patch, 2)
        made(tmp_path / "e", checkpoint_seconds=0.0)
    (tmp_path / "e" / "member-2" / "checkpoints").mkdir(parents=True)
    (tmp_path / "e" / "member-2" / "checkpoints" / "manifest.json").write_text("{}")
    (tmp_path / "e" / "member-2" / ".lock").touch()
    assert same_weights(made(tmp_path / "e").members[1], whole.members[1])


def test_a_network_of_ones_own_is_made_for_every_member(tmp_path):
    found = made(tmp_path / "e", members=2, net=own)
    first, second = (run.checkpoints.read(("start",)).trees["start"] for run in found.members)
    assert not torch.equal(first["0.weight"], second["0.weight"])
    x, _ = table(60)
    again = hubel.open_ensemble(tmp_path / "e", net=Small())
    assert np.array_equal(again.predict(x).probabilities, found.predict(x).probabilities)
    with pytest.raises(ValueError, match="function of inputs and outputs that makes it"):
        made(tmp_path / "f", members=2, net=Small())
    assert not (tmp_path / "f").exists()


def test_groups_stay_together_in_every_member(tmp_path):
    groups = np.arange(60) // 5
    found = made(tmp_path / "e", members=2, groups=groups)
    for run in found.members:
        assert not set(groups[run.split["test"]]) & set(groups[run.split["train"]])
    assert len({run.about["split"]["sha256"] for run in found.members}) == 1


def test_refusals(whole, tmp_path, monkeypatch):
    x, y = table(60)
    for members in (1, True, 2.5):
        with pytest.raises(ValueError, match="at least 2"):
            hubel.ensemble(x, y, members=members, out=tmp_path / "e", quiet=True)
    with pytest.raises(ValueError, match=r"begun with other words .*number was 3, now 2"):
        made(whole.folder, members=2)
    with pytest.raises(ValueError, match=r"begun with other words .*data was"):
        hubel.ensemble(x + 1, y, members=3, recipe=quick(), out=whole.folder, quiet=True)
    with pytest.raises(FileExistsError, match="not empty"):
        made(whole.folder / "member-1" / "checkpoints")
    with pytest.raises(ValueError, match="arrays, which a folder does not hold"):
        workflows.resume_ensemble(whole.folder, quiet=True)
    with pytest.raises(FileNotFoundError, match=r"holds no ensemble\.json"):
        hubel.open_ensemble(whole.folder / "member-1")
    with monkeypatch.context() as patch:
        patch.setenv("RANK", "0")
        patch.setenv("WORLD_SIZE", "2")
        with pytest.raises(ValueError, match="without torchrun"):
            made(tmp_path / "ranks")
    assert made(whole.folder).test == whole.test, "a finished ensemble is returned as it is"


def test_what_is_refused_before_the_first_step_leaves_nothing(tmp_path):
    x, y = table(60)
    with pytest.raises(ValueError, match="expected"):
        hubel.ensemble(
            x,
            y,
            members=2,
            net=lambda inputs, outputs: Small(7),
            recipe=quick(),
            out=tmp_path / "e",
            quiet=True,
        )
    assert not (tmp_path / "e").exists()
    with pytest.raises(ValueError, match="expected"):
        hubel.cross_validate(x, y, folds=2, net=Small(7), recipe=quick(), out=tmp_path / "f", quiet=True)
    assert not (tmp_path / "f").exists()


def test_killed_before_anything_began_other_words_may_begin(whole, tmp_path):
    (tmp_path / "ensemble.json").write_text((whole.folder / "ensemble.json").read_text())
    (tmp_path / "member-1" / "checkpoints").mkdir(parents=True)
    assert len(made(tmp_path, members=2).members) == 2


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda about: about.update(format=9), ValueError),
        (lambda about: about.update(runs=[{"folder": "../elsewhere"}]), DamagedRun),
        (lambda about: about.pop("asked"), DamagedRun),
    ],
)
def test_a_damaged_file_is_refused(whole, tmp_path, harm, error):
    about = json.loads((whole.folder / "ensemble.json").read_text())
    harm(about)
    (tmp_path / "ensemble.json").write_text(json.dumps(about))
    with pytest.raises(error, match=r"ensemble\.json"):
        hubel.open_ensemble(tmp_path)
