"""`hubel.fit` and `hubel.resume`: what they promise of data, networks, interruptions and folders."""

import dataclasses
import json
import signal
from contextlib import suppress

import numpy as np
import pytest
import torch
from small_runs import Small, quick, same_weights, table
from torch import nn

import hubel
from hubel import fitting, nets
from hubel.core import files
from hubel.core.errors import ContractError, DamagedRun, MemoryRanOut, NonFiniteLoss, RunBusy
from hubel.fitting.run import outputs_of
from hubel.workflows import choices, training
from hubel.workflows.display import Display


def fitted(folder, *, data=None, **changes):
    x, y = table() if data is None else data
    torch.manual_seed(0)
    net = changes.pop("net", None) or Small()
    validation = changes.pop("validation", None)
    return hubel.fit(
        x,
        y,
        net=net,
        recipe=quick(**changes),
        validation=validation,
        out=folder,
        quiet=True,
        checkpoint_seconds=0,
    )


def resumed(folder, *, data=None, net=None, **more):
    x, y = table() if data is None else data
    return hubel.resume(folder, data=x, y=y, net=net or Small(), quiet=True, checkpoint_seconds=0, **more)


def changed_about(folder, change):
    about = json.loads((folder / "run.json").read_text())
    change(about)
    (folder / "run.json").write_text(json.dumps(about))


# the job


def test_four_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(120, 3)).astype("float32")
    y = np.where(x[:, 0] > 0, "positive", "negative")
    run = hubel.fit(x, y, recipe=hubel.Recipe(epochs=8), quiet=True)
    assert run.status == "finished" and run.stopped == "all 8 epochs done"
    assert run.folder.parent.name == "runs"
    assert run.test["accuracy"]["value"] > 0.7
    prediction = run.predict(x)
    assert np.mean(np.array(prediction.labels) == y) > 0.8
    assert len(run.curves) == 8 and run.recipe.is_resolved
    assert run.predict(x[0]).labels == prediction.labels[:1]  # one example
    assert len(hubel.show.curves(run).axes) == 2  # a run stands for its folder
    assert {"optimizer", "batch_size", "precision", "epochs"} <= set(run.about["reasons"])


def test_whole_numbers_of_any_width_are_predicted_as_they_were_fitted(tmp_path):
    x = np.random.default_rng(0).integers(0, 100, (60, 5))  # int64, which is stored as int32
    run = fitted(tmp_path / "run", data=(x, (x[:, 0] > 50).astype(int)), net=nets.mlp)
    assert len(run.predict(x)) == 60


def test_prediction_of_nothing_is_refused(tmp_path):
    run = fitted(tmp_path / "run")
    with pytest.raises(ValueError, match="no examples"):
        run.predict(table()[0][:0])


def test_two_runs_of_one_recipe_are_one_run(tmp_path):
    one = fitted(tmp_path / "one", net=nets.mlp)
    x, y = table()
    other = hubel.fit(x, y, like=one, out=tmp_path / "other", quiet=True)
    assert same_weights(one, other)
    assert other.recipe == one.recipe
    seed2 = fitted(tmp_path / "seed2", net=nets.mlp, seed=2)
    assert not same_weights(one, seed2)


def test_like_takes_the_parts_too(tmp_path):
    x, y = table(80)
    one = hubel.fit(
        x, y, net=Small(), recipe=quick(), validation=0.3, test=0.2, out=tmp_path / "one", quiet=True
    )
    other = hubel.fit(x, y, net=Small(), like=one, out=tmp_path / "other", quiet=True)
    assert all(np.array_equal(one.split[name], other.split[name]) for name in one.split)
    assert len(other.split["test"]) == 16
    asked = hubel.fit(x, y, net=Small(), like=one, test=0.5, out=tmp_path / "asked", quiet=True)
    assert len(asked.split["test"]) == 40
    elsewhere = hubel.fit(x[:60], y[:60], net=Small(), like=one, out=tmp_path / "elsewhere", quiet=True)
    assert sum(map(len, elsewhere.split.values())) == 60


def test_like_with_another_seed_is_another_run(tmp_path):
    x, y = table()
    one = hubel.fit(x, y, recipe=quick(seed=1), out=tmp_path / "one", quiet=True)
    two, three = (
        hubel.fit(x, y, like=one, recipe=hubel.Recipe(seed=seed), out=tmp_path / f"{seed}", quiet=True)
        for seed in (2, 3)
    )
    assert not same_weights(two, three) and two.recipe.seed == 2 and two.recipe.epochs == one.recipe.epochs
    longer = hubel.fit(x, y, like=one, recipe=hubel.Recipe(epochs=3), out=tmp_path / "longer", quiet=True)
    assert longer.recipe.epochs == 3 and longer.recipe.seed == 1


def test_like_takes_the_names_of_the_new_data(tmp_path):
    x, y = table()
    one = hubel.fit(x, np.where(y, "cat", "dog"), recipe=quick(), out=tmp_path / "one", quiet=True)
    other = hubel.fit(-x, np.where(y, "pear", "apple"), like=one, out=tmp_path / "other", quiet=True)
    assert set(other.predict(x).labels) <= {"apple", "pear"}
    with pytest.raises(ValueError, match=r"3 classes.*has 2"):
        hubel.fit(x, np.arange(60) % 3, like=one, out=tmp_path / "three", quiet=True)
    values = hubel.fit(x, x[:, 0], recipe=quick(), out=tmp_path / "values", quiet=True)
    shifted = hubel.fit(x, 500 + 3 * x[:, 0], like=values, out=tmp_path / "shifted", quiet=True)
    assert shifted.objective.center[0] == pytest.approx(500, abs=2)


def test_like_a_run_object_of_an_own_network_begins_where_it_began(tmp_path):
    run = fitted(tmp_path / "run")
    x, y = table()
    again = hubel.fit(x, y, like=run, out=tmp_path / "again", quiet=True)
    assert same_weights(run, again)


def test_a_later_fit_of_the_same_network_changes_no_earlier_run(tmp_path):
    net, (x, y) = Small(), table()
    one = hubel.fit(x, y, net=net, recipe=quick(), out=tmp_path / "one", quiet=True)
    before = one.predict(x).probabilities
    hubel.fit(x, 1 - y, net=net, recipe=quick(epochs=20), out=tmp_path / "two", quiet=True)
    assert np.array_equal(one.predict(x).probabilities, before)
    assert np.array_equal(hubel.open_run(one.folder, net=Small()).predict(x).probabilities, before)


def test_a_network_of_ours_that_was_edited_is_an_own_network(tmp_path):
    x, y = table()
    net = nets.mlp((8,), inputs=5, outputs=2)
    net.body[1] = nn.Tanh()
    run = hubel.fit(x, y, net=net, recipe=quick(), out=tmp_path / "run", quiet=True)
    assert run.about["net"]["name"] is None
    expected = run.predict(x).probabilities
    with pytest.raises(ValueError, match="network of your own"):
        hubel.open_run(run.folder).predict(x)
    again = nets.mlp((8,), inputs=5, outputs=2)
    again.body[1] = nn.Tanh()
    assert np.array_equal(hubel.open_run(run.folder, net=again).predict(x).probabilities, expected)
    frozen = nets.mlp((8,), inputs=5, outputs=2)
    frozen.body.requires_grad_(False)
    assert (
        hubel.fit(x, y, net=frozen, recipe=quick(), out=tmp_path / "frozen", quiet=True).about["net"]["name"]
        is None
    )


@pytest.mark.parametrize(
    "optimizer", [fitting.AdamW(), fitting.SGD(), fitting.Muon()], ids=lambda o: type(o).__name__
)
def test_a_state_of_other_shapes_is_refused(tmp_path, monkeypatch, optimizer):
    """Fused steps write as far as the shape says: a state from a stranger must not lead them out of bounds."""
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_goes_on", lambda self: self.position.epoch < 2)
        patch.setattr(training.Training, "finish", lambda self: self.save())
        patch.setattr(hubel.workflows.conclude, "conclude", lambda *a: None)
        fitted(tmp_path / "run", optimizer=optimizer)
    checkpoints = hubel.open_run(tmp_path / "run", net=Small()).checkpoints
    found = checkpoints.read(("state", "start"))
    for values in found.trees["state"]["optimizer"].values():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.ndim:
                values[name] = torch.zeros(1)
    checkpoints.write(found.step + 1, found.trees, alone=True)
    with pytest.raises(DamagedRun, match="other parameters were trained"):
        resumed(tmp_path / "run")


def test_a_damaged_start_does_not_matter_where_a_state_is_whole(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_goes_on", lambda self: self.position.epoch < 2)
        patch.setattr(training.Training, "finish", lambda self: self.save())
        patch.setattr(hubel.workflows.conclude, "conclude", lambda *a: None)
        fitted(tmp_path / "run")
    for start in (tmp_path / "run" / "checkpoints").glob("start-*"):
        content = bytearray(start.read_bytes())
        content[-1] ^= 1
        start.write_bytes(content)
    assert same_weights(resumed(tmp_path / "run"), fitted(tmp_path / "whole"))


def test_intervals_know_groups(tmp_path):
    """Rows of one patient are no independent examples: the interval over groups is the wider one."""
    x, y = table(400)
    groups = np.arange(400) // 20
    run = hubel.fit(x, y, net=Small(), recipe=quick(), groups=groups, out=tmp_path / "run", quiet=True)
    test = run.split["test"]
    prediction = run.predict(x[test])
    expected = hubel.metrics.accuracy(y[test], prediction.values, groups=groups[test])
    assert run.test["accuracy"]["low"] == pytest.approx(expected.low)
    assert "ilson" not in run.test["accuracy"]["method"]


def test_equal_rows_of_a_table_are_said_and_kept(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(300, 4)).astype("float32")
    run = hubel.fit(x, (x.sum(1) > 2).astype(int), recipe=quick(), out=tmp_path / "run", quiet=True)
    assert sum(run.about["data"]["sizes"].values()) == 300
    assert "They were kept" in run.about["data"]["duplicates"]["sentence"]


def test_widths_that_contradict_each_other_come_to_an_end(tmp_path, monkeypatch):
    """Too many epochs for a narrow network and too few for the next one: one of them is taken."""
    monkeypatch.setattr(choices, "MANY", 10)
    monkeypatch.setattr(
        choices, "choose_epochs", lambda pace, *a, **k: (2, "slow") if pace.step > 0.5 else (100, "quick")
    )
    monkeypatch.setattr(
        choices,
        "measure_pace",
        lambda net, *a: choices.Pace(
            step=float(sum(p.numel() for p in net.parameters()) > 100_000), evaluation=0.0
        ),
    )
    monkeypatch.setattr(training.Training, "_goes_on", lambda self: False)
    data = hubel.data.from_arrays(
        np.zeros((40, 1, 8, 8), "uint8") + np.arange(40, dtype="uint8")[:, None, None, None],
        np.arange(40) % 2,
    )
    run = hubel.fit(
        data, recipe=hubel.Recipe(precision=fitting.Precision()), out=tmp_path / "run", quiet=True
    )
    assert run.about["net"]["arguments"]["width"] in choices.WIDTHS


def test_a_precision_that_the_network_has_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"weights are float32.*net.double\(\)"):
        fitted(tmp_path / "run", precision=fitting.Precision(dtype="float64"))


def test_a_killed_run_is_interrupted(tmp_path):
    run = hubel.fit(*table(), net=Small(), recipe=quick(), out=tmp_path / "run", quiet=True)
    run.note(status="running")
    with files.locked(run.folder):
        assert hubel.open_run(run.folder, net=Small()).status == "running"
    assert hubel.open_run(run.folder, net=Small()).status == "interrupted"


def test_a_folder_killed_before_it_began_says_so(tmp_path):
    run = hubel.fit(*table(), net=Small(), recipe=quick(), out=tmp_path / "run", quiet=True)
    (run.folder / "run.json").unlink()
    with pytest.raises(FileExistsError, match="killed before it began"):
        hubel.fit(*table(), net=Small(), recipe=quick(), out=run.folder, quiet=True)
    with files.locked(run.folder), pytest.raises(FileExistsError, match="another process"):
        hubel.fit(*table(), net=Small(), recipe=quick(), out=run.folder, quiet=True)


def test_a_report_that_fails_takes_nothing_away(tmp_path, monkeypatch):
    monkeypatch.setattr(hubel.show, "report", lambda folder: 1 / 0)
    with pytest.warns(RuntimeWarning, match="hubel report"):
        run = hubel.fit(*table(), net=Small(), recipe=quick(), out=tmp_path / "run", quiet=True)
    assert run.status == "finished" and run.test and not (run.folder / "report.html").exists()


def test_looking_leaves_every_part_in_its_mode(tmp_path):
    run = hubel.fit(*table(), net=Small(), recipe=quick(), out=tmp_path / "run", quiet=True)
    net = run.net.train()
    net[1].eval()
    outputs = outputs_of(net, run.scaling, run.precision, table()[0], run.device)
    assert net.training and not net[1].training and net[3].training and outputs.shape == (60, 2)


def test_like_a_run_with_an_own_network_asks_for_it(tmp_path):
    run = fitted(tmp_path / "run")
    x, y = table()
    with pytest.raises(ValueError, match=r"network of your own.*pass it again"):
        hubel.fit(x, y, like=run.folder, out=tmp_path / "again", quiet=True)


# data that are few or strange


def test_fewer_examples_than_a_batch(tmp_path):
    run = fitted(tmp_path / "run", data=table(12), batch_size=128, net=nets.mlp)
    assert len(run.split["train"]) < 12 and run.status == "finished"
    assert run.curves[-1]["step"] == run.recipe.epochs  # one batch of all of them an epoch


def test_one_class_only_is_refused(tmp_path):
    x, _ = table()
    with pytest.raises(ValueError, match="class"):
        hubel.fit(x, np.zeros(60, int), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_one_example_in_a_class(tmp_path):
    x, y = table()
    y[7] = 2
    run = fitted(tmp_path / "run", data=(x, y), net=nets.mlp)
    assert run.status == "finished"
    assert 7 in run.split["train"]
    assert run.predict(x).probabilities.shape == (60, 3)


def test_no_validation_part(tmp_path):
    run = fitted(tmp_path / "run", validation=0)
    assert run.status == "finished" and len(run.split["validation"]) == 0
    assert "validation_loss" not in run.curves[0]


@pytest.mark.parametrize(
    "blind",
    [{"early_stopping": fitting.EarlyStopping(patience=1)}, {"schedule": fitting.Plateau()}],
    ids=["early", "plateau"],
)
def test_what_watches_the_validation_loss_needs_one(tmp_path, blind):
    with pytest.raises(ValueError, match=r"validation part is empty.*validation=0.1"):
        fitted(tmp_path / "run", validation=0, **blind)


def test_float64_network(tmp_path):
    x, y = table()
    run = fitted(
        tmp_path / "run",
        data=(x.astype("float64"), y),
        net=Small().double(),
        precision=fitting.Precision(dtype="float64"),
    )
    weights = run.checkpoints.read(("chosen",)).trees["chosen"]
    assert weights["0.weight"].dtype == torch.float64
    assert run.scaling.precision == "float64"
    again = hubel.open_run(run.folder, net=Small())
    assert torch.equal(again.net[0].weight.cpu(), weights["0.weight"])


def test_real_values(tmp_path):
    x, _ = table()
    run = fitted(tmp_path / "run", data=(x, 100 + 5 * x[:, 0]), net=Small(1))
    assert run.predict(x).values.mean() == pytest.approx(100, abs=5)


# folders


def test_a_folder_that_is_taken(tmp_path):
    fitted(tmp_path / "run")
    with pytest.raises(FileExistsError, match="is a run already: go on with hubel resume"):
        fitted(tmp_path / "run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(FileExistsError, match="not empty: name another"):
        hubel.fit("no such data", out=tmp_path / "full", quiet=True)  # said before the data are read
    assert (tmp_path / "full" / "thesis.tex").read_text() == "x"


def test_two_writers_of_one_run(tmp_path):
    fitted(tmp_path / "run")
    with files.locked(tmp_path / "run"), pytest.raises(RunBusy, match="another process is writing"):
        resumed(tmp_path / "run")


def test_own_network_needs_passing_again(tmp_path):
    fitted(tmp_path / "run")
    with pytest.raises(ValueError, match=r"network of your own \(.*Small\).*pass it again"):
        _ = hubel.open_run(tmp_path / "run").net
    with pytest.raises(ValueError, match="does not fit this network"):
        _ = hubel.open_run(tmp_path / "run", net=nn.Linear(5, 2)).net


def test_unknown_format_is_refused_by_name(tmp_path):
    fitted(tmp_path / "run")
    changed_about(tmp_path / "run", lambda about: about.update(format=7))
    with pytest.raises(ValueError, match="format 7; this hubel reads format 1"):
        hubel.open_run(tmp_path / "run")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}', "\x00\xff"])
def test_damaged_run_json(tmp_path, content):
    fitted(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_bytes(content.encode("latin-1"))
    with pytest.raises((DamagedRun, ValueError), match=r"run.json"):
        hubel.open_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("net",), {"name": "os.system", "arguments": {"command": "touch {mark}"}, "parameters": 1}),
        (("net",), {"name": "hubel.nets.resnet", "arguments": {"weights": "{mark}"}, "parameters": 1}),
        (("net",), {"name": "hubel.nets.made.made", "arguments": {}, "parameters": 1}),
        (("net",), {"name": "hubel.data.load", "arguments": {"source": "{mark}"}, "parameters": 1}),
        (("net",), {"name": "hubel.fitting.open_run", "arguments": {"folder": "{mark}"}, "parameters": 1}),
        (("net",), {"name": ["hubel.nets.mlp"], "arguments": [], "parameters": 1}),
        (("net",), {"name": "hubel.nets.mlp", "arguments": {"nothing": 1}, "parameters": 1}),
        (("recipe", "optimizer"), {"is": "os.system", "command": "touch {mark}"}),
        (("recipe", "optimizer"), {"is": "subprocess.Popen", "args": "touch {mark}"}),
        (("recipe", "optimizer"), {"is": "hubel.fitting.open_run", "folder": "{mark}"}),
        (("recipe", "optimizer"), {"is": "hubel.fitting.SGD", "nothing": {"is": "os.system"}}),
        (("recipe", "optimizer"), {"is": "hubel.fitting.SGD", "nothing": 1}),
        (("recipe", "precision"), {"is": "hubel.fitting.Precision", "dtype": "load"}),
        (("recipe", "precision"), {"is": "hubel.fitting.Precision", "threads": 100_000}),
        (("recipe",), {"is": "hubel.core.files.write_text", "path": "{mark}", "content": ""}),
        (("objective",), {"is": "hubel.objectives.check"}),
        (("preprocessing", "precision"), "load"),
    ],
)
def test_a_folder_from_a_stranger_runs_no_code(tmp_path, where, value):
    folder, mark = tmp_path / "run", tmp_path / "mark"
    fitted(folder, net=nets.mlp)
    value = json.loads(json.dumps(value).replace("{mark}", str(mark)))

    def tamper(about):
        for key in where[:-1]:
            about = about[key]
        about[where[-1]] = value

    changed_about(folder, tamper)
    x, y = table()
    with pytest.raises((ValueError, DamagedRun)):
        hubel.open_run(folder).predict(x)
    changed_about(folder, lambda about: about.update(status="interrupted"))
    with pytest.raises((ValueError, DamagedRun)):
        hubel.resume(folder, data=x, y=y, quiet=True)
    with suppress(ValueError, DamagedRun):  # the scaling is not taken over
        hubel.fit(x, y, like=folder, out=tmp_path / "again", quiet=True)
    assert not mark.exists()


# interruptions


def test_a_stranger_can_not_ask_for_all_memory(tmp_path):
    run = hubel.fit(*table(), recipe=quick(), out=tmp_path / "run", quiet=True)
    assert hubel.open_run(run.folder).net is not None
    changed_about(run.folder, lambda about: about["net"]["arguments"].update(hidden=[60_000, 60_000]))
    with pytest.raises(DamagedRun, match=r"asks for a network of [0-9,]+ MB"):
        _ = hubel.open_run(run.folder).net
    changed_about(run.folder, lambda about: about["net"]["arguments"].update(hidden=[10**9, 10**9]))
    with pytest.raises(DamagedRun, match="asks for a network with 1,000,000,000 of something"):
        _ = hubel.open_run(run.folder).net


@pytest.mark.parametrize(
    ("net", "said"),
    [
        ({"name": "hubel.nets.mlp", "arguments": {"hidden": [1] * 200_000}}, r"by 200,000 numbers"),
        (
            {
                "name": "hubel.nets.transformer",
                "arguments": {"layers": 60_000, "inputs": [5, 5], "outputs": 2},
            },
            r"of more than [0-9,]+ layers",
        ),
        (
            {
                "name": "hubel.nets.symmetrized",
                "arguments": {"net": {"name": "hubel.nets.mlp", "arguments": {"hidden": [10**9]}}},
            },
            r"with 1,000,000,000 of something",
        ),
    ],
)
def test_a_stranger_can_not_ask_for_many_layers(tmp_path, net, said):
    run = hubel.fit(*table(), recipe=quick(), out=tmp_path / "run", quiet=True)
    changed_about(run.folder, lambda about: about.update(net=about["net"] | net))
    with pytest.raises(DamagedRun, match=said + r".*, but the checkpoints hold [0-9,]+ bytes"):
        _ = hubel.open_run(run.folder).net
    changed_about(run.folder, lambda about: about.update(status="interrupted"))
    with pytest.raises(DamagedRun, match=said):
        hubel.resume(run.folder, data=table()[0], y=table()[1], quiet=True)


def test_ctrl_c_at_every_step(tmp_path, monkeypatch):
    whole = fitted(tmp_path / "whole", epochs=2)
    steps = whole.curves[-1]["step"]
    plain = Display.step
    for number in range(1, steps + 1):

        def step(self, record, epochs, steps_per_epoch, number=number):
            if record.step == number:
                signal.raise_signal(signal.SIGINT)
            plain(self, record, epochs, steps_per_epoch)

        monkeypatch.setattr(Display, "step", step)
        run = fitted(tmp_path / f"run-{number}", epochs=2)
        monkeypatch.setattr(Display, "step", plain)
        if number == steps:  # the work was done: nothing is left to go on with
            assert run.status == "finished"
        else:
            assert run.status == "interrupted" and f"after step {number}" in run.stopped
            run = resumed(run.folder)
            assert run.about["resumed"] == 1
        assert run.status == "finished"
        assert same_weights(run, whole)
        timed = ("seconds", "examples_per_second")
        for ours, theirs in zip(run.curves, whole.curves, strict=True):
            assert {k: v for k, v in ours.items() if k not in timed} == {
                k: v for k, v in theirs.items() if k not in timed
            }


def test_ctrl_c_leaves_the_handlers_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    fitted(tmp_path / "run")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_early_stopping_stops_where_it_stopped_before(tmp_path, monkeypatch):
    """Killed just after the checkpoint of the epoch after which it would have stopped."""
    x, y = table()
    shuffled = np.random.default_rng(3).permutation(y)  # nothing to learn: the validation loss soon rises
    early = {
        "epochs": 30,
        "early_stopping": fitting.EarlyStopping(patience=2),
        "average": False,
        "data": (x, shuffled),
    }
    whole = fitted(tmp_path / "whole", **early)
    assert "has not improved since epoch" in whole.stopped
    last = whole.curves[-1]["epoch"]
    assert last < 30
    plain = Display.epoch

    def epoch(self, row, epochs):
        plain(self, row, epochs)
        if row["epoch"] == last:
            raise SystemExit("killed")

    monkeypatch.setattr(Display, "epoch", epoch)
    with pytest.raises(SystemExit):
        fitted(tmp_path / "run", **early)
    monkeypatch.setattr(Display, "epoch", plain)
    run = resumed(tmp_path / "run", data=early["data"])
    assert len(run.curves) == last
    assert run.stopped == whole.stopped
    assert same_weights(run, whole)


def test_changed_data_are_refused(tmp_path, monkeypatch):
    interrupt_at(2, monkeypatch)
    fitted(tmp_path / "run")
    monkeypatch.undo()
    x, y = table()
    x[3, 2] += 1e-6
    with pytest.raises(ValueError, match=r"data .* have changed since it was started"):
        resumed(tmp_path / "run", data=(x, y))


def test_arrays_are_asked_for_again(tmp_path, monkeypatch):
    interrupt_at(2, monkeypatch)
    fitted(tmp_path / "run")
    with pytest.raises(ValueError, match=r"pass them again, hubel.resume"):
        hubel.resume(tmp_path / "run", net=Small(), quiet=True)


def test_another_split_is_refused(tmp_path, monkeypatch):
    interrupt_at(2, monkeypatch)
    run = fitted(tmp_path / "run")
    rows = run.split
    np.savez(tmp_path / "run" / "split.npz", **{**rows, "train": rows["train"][:-1]})
    with pytest.raises(DamagedRun, match=r"split.npz"):
        resumed(tmp_path / "run")


def test_a_finished_run_is_returned_as_it_is(tmp_path):
    run = fitted(tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    assert resumed(tmp_path / "run").test == run.test
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_damaged_chosen_weights_are_made_again(tmp_path):
    run = fitted(tmp_path / "run")
    whole = run.checkpoints.read(("chosen",)).trees["chosen"]
    (chosen,) = (tmp_path / "run" / "checkpoints").glob("chosen*")
    flipped = bytearray(chosen.read_bytes())
    flipped[-3] ^= 4
    chosen.write_bytes(flipped)
    with pytest.raises(DamagedRun, match=r"chosen-.* changed .*hubel resume"):
        _ = hubel.open_run(run.folder, net=Small()).net
    again = resumed(tmp_path / "run")
    assert again.status == "finished"
    made = again.checkpoints.read(("chosen",)).trees["chosen"]
    assert all(torch.equal(made[name], whole[name]) for name in whole)


@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, monkeypatch, capsys, harm):
    whole = fitted(tmp_path / "whole", epochs=3)
    interrupt_at(6, monkeypatch)
    fitted(tmp_path / "run", epochs=3)
    monkeypatch.undo()
    newest = max((tmp_path / "run" / "checkpoints").glob("state*"))
    content = bytearray(newest.read_bytes())
    if harm == "gone":
        newest.unlink()
    else:
        content[len(content) // 2] ^= 16
        newest.write_bytes(content[: len(content) // 2] if harm == "cut" else content)
    x, y = table()
    run = hubel.resume(tmp_path / "run", data=x, y=y, net=Small())
    said = capsys.readouterr().err
    assert newest.name in said and "the one before was taken" in said
    assert {"cut": "truncated", "flip": "changed", "gone": "No such file"}[harm] in said
    assert same_weights(run, whole)


# breakdowns


class Poisoned(nn.Module):
    """NaN at its fourth training step."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = Small(), 0

    def forward(self, x):
        self.seen += self.training
        return self.net(x) * (float("nan") if self.seen == 4 and self.training else 1)


def test_a_loss_that_is_not_finite(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"became nan .*at step 4 \(epoch 2\).*rows \d+") as caught:
        fitted(tmp_path / "run", net=Poisoned())
    assert caught.value.step == 4 and len(caught.value.ids) == 16
    run = hubel.open_run(tmp_path / "run")
    assert run.status == "failed" and "step 4" in run.stopped
    state = run.checkpoints.read(("state",)).trees["state"]
    assert state["position"]["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["net"].values())
    healed = resumed(tmp_path / "run", net=Healed())  # the cause removed, it goes on from the last good state
    assert healed.status == "finished"
    assert healed.curves[-1]["loss"] > 0.1  # the loss of the steps before the failure still counts


class Healed(Poisoned):
    def forward(self, x):
        return self.net(x)


class Greedy(nn.Module):
    """A network for which memory suffices up to a batch of `most`."""

    def __init__(self, most, error=None):
        super().__init__()
        self.net, self.most, self.error = Small(), most, error or GPU

    def forward(self, x):
        if len(x) > self.most:
            raise self.error
        return self.net(x)


GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
)


@pytest.mark.parametrize("error", [GPU, CPU], ids=["gpu", "cpu"])
def test_out_of_memory_halves_the_batch(tmp_path, capsys, error):
    x, y = table()
    torch.manual_seed(0)
    run = hubel.fit(x, y, net=Greedy(5, error), recipe=quick(), out=tmp_path / "run")
    assert run.status == "finished"
    assert run.recipe.batch_size == 4
    assert "halved from 16 to 4, because memory did not suffice" in capsys.readouterr().err
    assert "halved from 16 to 4" in hubel.open_run(run.folder).about["reasons"]["batch_size"]
    torch.manual_seed(0)
    alike = hubel.fit(x, y, net=Greedy(5), like=run, out=tmp_path / "like", quiet=True)
    torch.manual_seed(0)
    asked = hubel.fit(x, y, net=Greedy(5), recipe=quick(batch_size=4), out=tmp_path / "asked", quiet=True)
    assert same_weights(run, alike) and same_weights(run, asked)


def test_memory_that_runs_out_late_takes_no_run_away(tmp_path, monkeypatch):
    """What fitted for an epoch fits: another program took the memory. The run is kept, and goes on when there is some again."""
    greedy = Greedy(16)

    def epoch(self, row, epochs):
        greedy.most = 9

    with monkeypatch.context() as patch:
        patch.setattr(Display, "epoch", epoch)
        with pytest.raises(MemoryRanOut, match="hubel resume"):
            fitted(tmp_path / "run", net=greedy)
    assert hubel.open_run(tmp_path / "run").status == "failed"
    run = resumed(tmp_path / "run", net=Greedy(16))
    assert run.recipe.batch_size == 16
    torch.manual_seed(0)
    assert same_weights(run, fitted(tmp_path / "whole", net=Greedy(16)))


def test_out_of_memory_in_a_later_step_begins_again(tmp_path, monkeypatch):
    greedy = Greedy(16)
    plain = Display.epoch
    monkeypatch.setattr(training.Training, "_checkpoint_is_due", lambda self: False)  # nothing is lost yet

    def epoch(self, row, epochs):
        greedy.most = 9  # another program took the memory
        plain(self, row, epochs)

    monkeypatch.setattr(Display, "epoch", epoch)
    run = fitted(tmp_path / "run", net=greedy)
    assert run.recipe.batch_size == 8
    asked = fitted(tmp_path / "asked", net=Greedy(8), batch_size=8)
    assert same_weights(run, asked)
    assert [row["epoch"] for row in run.curves] == [1, 2]


def test_out_of_memory_while_choosing(tmp_path):
    x, y = table(300)
    run = hubel.fit(x, y, net=Greedy(5), recipe=hubel.Recipe(epochs=1), out=tmp_path / "run", quiet=True)
    assert run.recipe.batch_size == 4 and "halved from 16 to 4" in run.about["reasons"]["batch_size"]


def test_not_even_one_example_fits(tmp_path):
    with pytest.raises(torch.OutOfMemoryError):
        fitted(tmp_path / "run", net=Greedy(0))


def test_wrong_choices_are_refused_before_anything_is_written(tmp_path):
    net = nn.Sequential(Small(), nn.Softmax(1))
    with pytest.raises(ContractError, match="softmax"):
        fitted(tmp_path / "run", net=net)
    assert not (tmp_path / "run").exists()


def test_two_names_of_one_dataset(tmp_path):
    x, y = table()
    with pytest.raises(TypeError, match="without targets"):
        hubel.fit(x, out=tmp_path / "run", quiet=True)
    data = hubel.data.from_arrays(x, y)
    with pytest.raises(TypeError, match="leave y out"):
        hubel.fit(data, y, out=tmp_path / "run", quiet=True)


def test_a_resolved_recipe_measures_nothing(tmp_path):
    fitted(tmp_path / "run")
    assert not (tmp_path / "cache" / "precision").exists()
    blank = dataclasses.replace(quick(), precision=None)
    x, y = table()
    hubel.fit(x, y, net=Small(), recipe=blank, out=tmp_path / "measured", quiet=True)
    assert (tmp_path / "cache" / "precision").exists()


def interrupt_at(number, monkeypatch):
    """As if Ctrl-C were pressed in this step."""
    plain = Display.step

    def step(self, record, epochs, steps_per_epoch):
        if record.step == number:
            signal.raise_signal(signal.SIGINT)
        plain(self, record, epochs, steps_per_epoch)

    monkeypatch.setattr(Display, "step", step)
