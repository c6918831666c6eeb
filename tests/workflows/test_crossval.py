"""Cross-validation: a run a fold, no example in its own training part, mean and corrected interval, and going on after an interruption."""

import signal

import numpy as np
import pytest
import torch
from small_runs import Small, quick, same_weights, table

import hubel
from hubel import workflows
from hubel.data import SplitRows, from_arrays
from hubel.metrics import over_folds
from hubel.workflows.display import Display


def folded(out, folds=4, recipe=None, **more):
    x, y = table(60)
    return hubel.cross_validate(x, y, folds=folds, recipe=recipe or quick(), out=out, quiet=True, **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return folded(tmp_path_factory.mktemp("folds") / "whole")


def test_a_run_a_fold(whole):
    assert [run.folder.name for run in whole.runs] == ["fold-1", "fold-2", "fold-3", "fold-4"]
    tested = np.concatenate([run.split["test"] for run in whole.runs])
    assert sorted(tested.tolist()) == list(range(60))
    for run in whole.runs:
        assert not set(run.split["test"]) & (set(run.split["train"]) | set(run.split["validation"]))
        assert len(run.split["validation"])
    values = [run.test["accuracy"]["value"] for run in whole.runs]
    assert whole.mean("accuracy") == pytest.approx(np.mean(values))
    assert whole.sd("accuracy") == pytest.approx(np.std(values, ddof=1))
    assert "4 folds" in str(whole) and "accuracy" in str(whole)
    assert whole.status == "finished"


def test_the_interval_knows_the_sizes_of_the_parts(whole):
    sizes = [(len(run.split["train"]), len(run.split["test"])) for run in whole.runs]
    train, test = np.mean(sizes, axis=0)
    expected = over_folds(whole.scores["accuracy"], num_train=train, num_test=test, limits=(0, 1))
    found = whole.interval("accuracy")
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.count == 60 and whole.test["accuracy"]["method"] == "corrected t over 4 folds"
    assert whole.about["test"] == whole.test


def test_every_example_is_predicted_by_the_network_that_never_saw_it(whole):
    x, y = table(60)
    said = whole.predictions
    assert said["probabilities"].shape == (60, 2) and np.array_equal(said["targets"], y)
    for number, run in enumerate(whole.runs, start=1):
        rows = run.split["test"]
        assert (said["fold"][rows] == number).all()
        assert np.allclose(said["probabilities"][rows], run.predict(x[rows]).probabilities, atol=1e-6)
    assert np.mean(said["values"] == y) == pytest.approx(
        np.average(whole.scores["accuracy"], weights=[test for _, test in whole.sizes])
    )


def test_groups_stay_together(tmp_path):
    groups = np.arange(60) // 5
    found = folded(tmp_path / "folds", folds=3, groups=groups)
    for run in found.runs:
        assert not set(groups[run.split["test"]]) & set(groups[run.split["train"]])


def test_a_given_test_part_is_left_alone(tmp_path):
    x, y = table(60)
    data = from_arrays(x, y, part=["train"] * 40 + ["test"] * 20)
    found = hubel.cross_validate(data, folds=4, recipe=quick(), out=tmp_path / "folds", quiet=True)
    used = np.concatenate([rows for run in found.runs for rows in run.split.values()])
    assert used.max() < 40 and sorted(np.concatenate([run.split["test"] for run in found.runs])) == list(
        range(40)
    )
    assert len(found.predictions["targets"]) == 40 and found.interval("accuracy").count == 40


def test_every_fold_begins_anew(tmp_path):
    """A module of one's own that kept its weights from fold to fold would have seen every test example."""
    net = Small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = folded(tmp_path / "folds", folds=3, net=net)
    for run in found.runs:
        start = run.checkpoints.read(("start",)).trees["start"]
        assert all(torch.equal(start[name], value) for name, value in before.items())
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_folds_of_values_have_their_own_scale(tmp_path):
    x, _ = table(60)
    y = (np.arange(60) + x[:, 0]).astype("float32")
    found = hubel.cross_validate(
        x, y, folds=3, recipe=quick(optimizer=hubel.fitting.AdamW()), out=tmp_path / "folds", quiet=True
    )
    for run in found.runs:
        assert run.objective.center == pytest.approx((float(y[run.split["train"]].mean(dtype=np.float64)),))
    assert found.predictions["values"].shape == (60, 1)


def test_examples_that_are_their_own_target(tmp_path):
    x, _ = table(60)
    words = {"net": hubel.nets.autoencoder(2, (8,), inputs=5, outputs=5), "recipe": quick(), "quiet": True}
    found = hubel.cross_validate(x, "self", folds=2, out=tmp_path / "folds", **words)
    assert (
        found.status == "finished" and found.scores and not (tmp_path / "folds" / "predictions.npz").exists()
    )
    with pytest.raises(ValueError, match="its own target: what its members encode can not be averaged"):
        hubel.ensemble(x, "self", members=2, out=tmp_path / "e", **words)


def test_the_first_fold_resolves_the_recipe_for_all(tmp_path):
    found = folded(tmp_path / "folds", folds=3, recipe=quick(epochs=None), budget=0.3)
    assert len({run.recipe for run in found.runs}) == 1


def test_after_ctrl_c_the_same_call_goes_on(whole, tmp_path, monkeypatch):
    plain, seen = Display.step, []

    def step(self, record, epochs, steps_per_epoch):
        seen.append(record.step)
        if len(seen) == 9:
            signal.raise_signal(signal.SIGINT)
        plain(self, record, epochs, steps_per_epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Display, "step", step)
        stopped = folded(tmp_path / "folds", checkpoint_seconds=0.0)
    assert stopped.status == "interrupted" and 1 <= len(stopped.runs) < 4
    assert "interrupted by the user" in stopped.stopped
    with pytest.raises(FileNotFoundError):
        _ = stopped.predictions
    done = folded(tmp_path / "folds", checkpoint_seconds=0.0)
    assert done.status == "finished" and done.test == whole.test
    assert all(same_weights(a, b) for a, b in zip(done.runs, whole.runs, strict=True))


def test_resumed_from_its_folder(tmp_path, monkeypatch):
    x, y = table(60)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    words = {"folds": 3, "recipe": quick(), "quiet": True, "seed": 5, "validation": 0.3}
    with monkeypatch.context() as patch:  # killed between the last fold and the end
        patch.setattr(workflows.crossval, "_conclude", lambda *rest: None)
        first = hubel.cross_validate(tmp_path / "data.npz", out=tmp_path / "folds", **words)
    assert first.status == "interrupted"
    done = workflows.resume_folds(tmp_path / "folds", quiet=True)
    assert done.status == "finished"
    assert [run.about["split"]["sha256"] for run in done.runs] == [
        run.about["split"]["sha256"] for run in first.runs
    ]


def test_a_folder_of_folds_is_no_network(whole, tmp_path):
    np.save(tmp_path / "x.npy", table(60)[0])
    with pytest.raises(ValueError, match="no network in it has seen all examples"):
        list(workflows.predict_files(whole.folder, [tmp_path / "x.npy"]))
    with pytest.raises(ValueError, match=r"begun with other words .*seed was 0, now 3"):
        folded(whole.folder, seed=3)
    with pytest.raises(ValueError, match="61 folds of 60 examples"):
        folded(tmp_path / "many", folds=61)
    with pytest.raises(ValueError, match=r"test=0.2 was given, but each of the 4 folds is a test part"):
        folded(tmp_path / "many", test=0.2)
    assert not (tmp_path / "many").exists()


def rows(*numbers):
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("split", "match"),
    [
        (
            SplitRows(train=rows(0, 1), validation=rows(1), test=rows(2), how=""),
            "1 rows stand more than once",
        ),
        (
            SplitRows(train=rows(), validation=rows(1), test=rows(2), how=""),
            "training part of the split is empty",
        ),
        (
            SplitRows(train=rows(0, 60), validation=rows(1), test=rows(2), how=""),
            "rows from 0 to 60, but there are 60",
        ),
        (SplitRows(train=np.array([0.5]), validation=rows(1), test=rows(2), how=""), "expected row numbers"),
    ],
)
def test_a_split_that_is_none_is_refused(tmp_path, split, match):
    x, y = table(60)
    with pytest.raises(ValueError, match=match):
        hubel.fit(x, y, split=split, recipe=quick(), out=tmp_path / "run", quiet=True)


def test_a_given_split_is_kept_and_says_it_all(tmp_path):
    x, y = table(60)
    split = SplitRows(
        train=np.arange(30), validation=np.arange(30, 40), test=np.arange(50, 60), how="by hand"
    )
    run = hubel.fit(x, y, split=split, recipe=quick(), out=tmp_path / "run", quiet=True)
    assert all(np.array_equal(run.split[part], getattr(split, part)) for part in run.split)
    assert run.about["split"]["how"] == "by hand"
    with pytest.raises(ValueError, match="leave the others out"):
        hubel.fit(x, y, split=split, test=0.1, recipe=quick(), out=tmp_path / "other", quiet=True)
