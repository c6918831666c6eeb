"""Going on: on the device on which a run began, after a closed terminal, and where nobody looks any more."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from small_runs import quick, same_weights, table

import hubel
from hubel.fitting import machine
from hubel.workflows import training
from hubel.workflows.display import Display


def stopped(folder, number=signal.SIGTERM, monkeypatch=None):
    """A run that was interrupted after its first epoch."""
    x, y = table()
    show = Display.epoch
    try:
        Display.epoch = lambda self, row, epochs: signal.raise_signal(number)
        return hubel.fit(x, y, net=hubel.nets.mlp, recipe=quick(), out=folder, quiet=True)
    finally:
        Display.epoch = show


def whole(folder):
    x, y = table()
    return hubel.fit(x, y, net=hubel.nets.mlp, recipe=quick(), out=folder, quiet=True)


def changed(folder, **entries):
    about = json.loads((folder / "run.json").read_text())
    for name, value in entries.items():
        about[name] = about[name] | value if isinstance(value, dict) else value
    (folder / "run.json").write_text(json.dumps(about))


def test_the_device_is_recorded(tmp_path):
    run = whole(tmp_path / "run")
    assert run.about["device"] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_run_of_a_gpu_asks_before_it_goes_on_elsewhere(tmp_path):
    run = stopped(tmp_path / "run")
    changed(run.folder, device="cuda:0", machine={"device": "NVIDIA H200"})
    x, y = table()
    with pytest.raises(
        ValueError,
        match=r"the run run began on cuda:0 \(NVIDIA H200\), which is not here.*bit by bit.*--device cpu",
    ):
        hubel.resume(run.folder, data=x, y=y, quiet=True)
    assert hubel.open_run(run.folder).status == "interrupted"
    again = hubel.resume(run.folder, data=x, y=y, device="cpu", quiet=True)
    assert again.status == "finished"
    assert again.about["moved"] == [
        "The run began on NVIDIA H200, and goes on on cpu: it ends with weights like those of an uninterrupted run, but not the same bit by bit."
    ]


def test_on_the_same_device_nothing_is_said(tmp_path, capsys):
    run = stopped(tmp_path / "run")
    x, y = table()
    again = hubel.resume(run, data=x, y=y)
    assert again.about["moved"] == [] and "bit by bit" not in capsys.readouterr().err
    assert same_weights(again, whole(tmp_path / "whole"))


def test_another_processor_or_torch_is_said(tmp_path, capsys):
    run = stopped(tmp_path / "run")
    changed(run.folder, machine={"processor": "Cray-1"}, versions={"torch": "0.1"})
    x, y = table()
    hubel.resume(run.folder, data=x, y=y)
    said = capsys.readouterr().err.replace("\n", " ")
    assert (
        "The run began on a Cray-1, and goes on on a " in said
        and f"with torch 0.1, and goes on with {torch.__version__}" in said
    )


@pytest.mark.parametrize(
    ("began", "asked", "expected"),
    [("cuda:1", "auto", "cuda:1"), ("cpu", "auto", "cpu"), ("cpu", "cuda:0", "cuda:0")],
)
def test_where_there_are_gpus(monkeypatch, began, asked, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {torch.device(device).index}")
    then = machine.describe(torch.device(began))
    device, other = machine.device_again({"device": began, "machine": then, "versions": {}}, asked)
    assert str(device) == expected and bool(other) == (began != expected)


@pytest.mark.parametrize("word", ["gpu9", "meta", "cuda:99", "cuda"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_here(word):
    with pytest.raises(ValueError, match=r"is not known; expected|is not here: torch finds no GPU"):
        machine.device_of(word)


def test_a_closed_terminal_is_saved(tmp_path):
    before = signal.signal(signal.SIGHUP, lambda *_: None)  # not to end the tests where this fails
    try:
        run = stopped(tmp_path / "run", signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.status == "interrupted"
    x, y = table()
    assert same_weights(hubel.resume(run, data=x, y=y, quiet=True), whole(tmp_path / "whole"))


def test_under_nohup_a_closed_terminal_changes_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with training.interruptible() as interrupted:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupted()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_twice_stops_at_once_and_says_how_to_go_on(tmp_path, capsys):
    x, y = table()
    show = Display.epoch

    def twice(self, row, epochs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    try:
        Display.epoch = twice
        with pytest.raises(KeyboardInterrupt):
            hubel.fit(x, y, net=hubel.nets.mlp, recipe=quick(), out=tmp_path / "a run")
    finally:
        Display.epoch = show
    assert (
        f"Go on from the last checkpoint with:\n  hubel resume '{tmp_path / 'a run'}'"
        in capsys.readouterr().err
    )
    assert same_weights(hubel.resume(tmp_path / "a run", data=x, y=y, quiet=True), whole(tmp_path / "whole"))


def test_nobody_looks_any_more(tmp_path):
    """What reads the progress ends; the work goes on."""
    program = f"""
import sys
sys.path[:0] = {[*sys.path]!r}
import hubel
from small_runs import quick, table
x, y = table()
hubel.show.report = lambda folder: ""
run = hubel.fit(x, y, net=hubel.nets.mlp, recipe=quick(), out={str(tmp_path / "run")!r})
open({str(tmp_path / "ended")!r}, "w").write(run.status)
"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", program], stderr=writing, timeout=100, check=False)
    os.close(writing)
    assert (tmp_path / "ended").read_text() == "finished"
    assert done.returncode in (0, 120)  # 120: the interpreter's own last flush
