"""What was given beside the data (groups, weights, parts, options) goes with the run: resume, like and evaluate know it, or say what to do."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from small_runs import quick, same_weights, table

import hubel
from hubel.core import files
from hubel.core.errors import DamagedRun, RunBusy
from hubel.data import SplitRows, from_arrays
from hubel.fitting import evaluation
from hubel.workflows.display import Display

GROUPS = np.array([f"patient {k // 4}" for k in range(60)])


def fitted(folder, source, y=None, *, stopped=False, **more):
    """A run of two epochs, or one that was interrupted after its first."""
    show = Display.epoch
    try:
        if stopped:
            Display.epoch = lambda self, row, epochs: signal.raise_signal(signal.SIGTERM)
        given = {"net": hubel.nets.mlp, "recipe": quick(), "quiet": True} | more
        run = hubel.fit(source, y, out=folder, **given)
    finally:
        Display.epoch = show
    assert run.status == ("interrupted" if stopped else "finished")
    return run


@pytest.fixture
def stored(tmp_path):
    x, y = table()
    np.savez(tmp_path / "table.npz", x=x, y=y)
    return tmp_path / "table.npz"


def parts(run):
    return {name: rows.tolist() for name, rows in run.split.items()}


@pytest.mark.parametrize("kind", [str, np.int64, object])
def test_a_run_with_groups_is_resumed_without_giving_them_again(tmp_path, stored, kind):
    groups = np.unique(GROUPS, return_inverse=True)[1] if kind is np.int64 else GROUPS.astype(kind)
    run = fitted(tmp_path / "run", stored, groups=groups, stopped=True)
    again = hubel.resume(run.folder, quiet=True)
    whole = fitted(tmp_path / "whole", stored, groups=groups)
    assert same_weights(again, whole)
    assert again.test == whole.test
    assert "groups" in again.test["accuracy"]["method"]
    x, y = table()
    arrays = fitted(tmp_path / "arrays", x, y, groups=groups, stopped=True)
    assert same_weights(hubel.resume(arrays, data=x, y=y, quiet=True), whole)


def test_a_run_with_groups_is_evaluated_by_groups(tmp_path, stored):
    run = fitted(tmp_path / "run", stored, groups=GROUPS)
    scores = hubel.open_run(run.folder).evaluate()
    assert "groups" in scores["accuracy"].method
    assert scores["accuracy"].low == pytest.approx(run.test["accuracy"]["low"])


@pytest.mark.parametrize("again", [{}, {"groups": GROUPS}])
def test_like_takes_parts_and_groups_of_the_same_data(tmp_path, stored, again):
    first = fitted(tmp_path / "first", stored, groups=GROUPS, test=0.4)
    second = hubel.fit(stored, like=first, out=tmp_path / "second", quiet=True, **again)
    assert parts(second) == parts(first)
    assert second.about["data"]["fingerprint"] == first.about["data"]["fingerprint"]
    assert "groups" in second.test["accuracy"]["method"]
    assert hubel.open_run(second.folder).evaluate()["accuracy"].low == pytest.approx(
        second.test["accuracy"]["low"]
    )


def test_other_data_of_as_many_examples_do_not_get_the_groups(tmp_path, stored):
    first = fitted(tmp_path / "first", stored, groups=GROUPS)
    second = hubel.fit(*table(seed=9), like=first, out=tmp_path / "second", quiet=True)
    assert second.groups is None
    assert "groups" not in second.test["accuracy"]["method"]


def test_given_parts_are_those_of_a_resumed_run_and_of_one_like_it(tmp_path, stored):
    rows = np.random.default_rng(0).permutation(60)
    split = SplitRows(
        train=np.sort(rows[:40]), validation=np.sort(rows[40:50]), test=np.sort(rows[50:]), how="by hand"
    )
    run = fitted(tmp_path / "run", stored, split=split, stopped=True)
    again = hubel.resume(run.folder, quiet=True)
    assert same_weights(again, fitted(tmp_path / "whole", stored, split=split))
    assert parts(hubel.fit(stored, like=again, out=tmp_path / "like", quiet=True)) == parts(again)


def test_weights_as_options_or_in_a_dataset(tmp_path):
    x, y = table()
    weights = np.linspace(0.1, 2.0, 60)
    with pytest.raises(
        TypeError, match=r"options has weights as ndarray of 60 rows.*from_arrays\(x, y, weights=…\)"
    ):
        hubel.fit(x, y, options={"weights": weights}, out=tmp_path / "no", quiet=True)
    assert not (tmp_path / "no").exists()
    data = from_arrays(x, y, weights=weights)
    whole = fitted(tmp_path / "whole", data)
    assert not same_weights(whole, fitted(tmp_path / "plain", x, y))
    run = fitted(tmp_path / "run", data, stopped=True)
    assert same_weights(hubel.resume(run, data=data, quiet=True), whole)
    listed = fitted(tmp_path / "listed", x, y, options={"weights": weights.tolist()}, stopped=True)
    assert same_weights(hubel.resume(listed, data=x, y=y, quiet=True), whole)
    with pytest.raises(ValueError, match=r"data of .* have changed"):
        hubel.resume(fitted(tmp_path / "b", data, stopped=True), data=x, y=y, quiet=True)


def test_a_data_frame_with_options_is_resumed(tmp_path):
    pandas = pytest.importorskip("pandas")
    x, y = table()
    frame = pandas.DataFrame(x, columns=list("abcde")).assign(kind=np.where(y, "up", "down"), noise=y)
    options = {"ignore": ["noise"]}
    run = fitted(tmp_path / "run", frame, target="kind", options=options, stopped=True)
    again = hubel.resume(run, data=frame, quiet=True)
    assert same_weights(again, fitted(tmp_path / "whole", frame, target="kind", options=options))


@pytest.mark.parametrize("groups", [np.arange(7), np.zeros((60, 2))])
def test_groups_of_another_number_are_refused(tmp_path, groups):
    with pytest.raises(ValueError, match=r"groups has .* but there are 60 examples"):
        hubel.fit(*table(), groups=groups, out=tmp_path / "run", quiet=True)


def test_groups_that_were_damaged_are_refused(tmp_path, stored):
    run = fitted(tmp_path / "run", stored, groups=GROUPS)
    np.savez(run.folder / "split.npz", **run.split, groups=GROUPS[:-1])
    with pytest.raises(DamagedRun, match=r"split.npz has groups \[59\] for 60 examples"):
        hubel.open_run(run.folder).evaluate()


# looks at the test part, and runs that were killed


def test_looks_of_several_at_once_are_all_counted(tmp_path, stored):
    run = fitted(tmp_path / "run", stored)
    opened = [hubel.open_run(run.folder) for _ in range(3)]
    for one in opened:
        one.evaluate()
    assert hubel.open_run(run.folder).about["test_looks"] == 4


def test_a_look_waits_while_another_process_writes(tmp_path, stored, monkeypatch):
    run = fitted(tmp_path / "run", stored)
    with files.locked(run.folder):
        monkeypatch.setattr(evaluation, "WAIT", 0.001)
        with pytest.raises(RunBusy):
            run.evaluate()
    monkeypatch.setattr(evaluation, "WAIT", 0.1)
    free = threading.Event()

    def hold():
        with files.locked(run.folder):
            free.set()
            time.sleep(0.2)

    other = threading.Thread(target=hold)
    other.start()
    free.wait()
    run.evaluate()
    other.join()
    assert run.about["test_looks"] == 2


KILLED = """
import os, signal, sys, hubel
from hubel.workflows.display import Display
Display.epoch = lambda self, row, epochs: os.kill(os.getpid(), signal.SIGKILL)
hubel.fit(sys.argv[1], net=hubel.nets.mlp, recipe=hubel.Recipe(epochs=3, precision=hubel.fitting.Precision()), out=sys.argv[2], quiet=True)
"""


def test_a_killed_run_says_so_and_how_to_go_on(tmp_path, stored, capsys):
    from hubel.cli import answers
    from hubel.show.evidence import Evidence
    from hubel.show.verdict import verdict

    folder = tmp_path / "runs" / "a b"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", KILLED, stored, folder], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    run = hubel.open_run(folder)
    assert run.about["status"] == "running"
    assert run.status == "interrupted" and "ended without a word" in run.stopped
    answers.runs(hubel.workflows.list_runs(tmp_path / "runs"), as_json=False)
    said = capsys.readouterr().out
    assert "it ended without a word (killed, or the machine stopped)" in said
    assert f"go on: hubel resume '{folder}'" in said
    assert "ended without a word" in verdict(Evidence.read(folder))["status"]["text"]
    with files.locked(folder):
        assert hubel.open_run(folder).status == "running"
        assert verdict(Evidence.read(folder))["status"]["text"] == "This run is still going."
    assert hubel.resume(folder, quiet=True).status == "finished"
