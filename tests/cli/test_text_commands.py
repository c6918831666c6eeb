"""Text on the command line: fitted with its options, written as it comes, foretold file by file."""

import json
import os
import signal
import subprocess
import sys

import pytest
from test_commands import run

SAYING = "to be or not to be, that is the question. "
SMALL = ["--epochs", "2", "--batch-size", "16", "--precision", "float32", "-q"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli-text")
    (folder / "book.txt").write_text(SAYING * 30, encoding="utf-8")
    options = ["--length", "20", "--step", "10", "--net", "character_lm_gru", "--test", "0.2"]
    assert run(["fit", folder / "book.txt", "-o", folder / "run", *options, *SMALL]) == 0
    return folder


def test_the_options_reach_the_text(place):
    about = json.loads((place / "run" / "run.json").read_text())
    assert about["loading"]["options"] == {"length": 20, "step": 10, "test": 0.2}
    assert about["net"]["arguments"]["kind"] == "gru"
    assert about["data"]["shape"] == [20]


def test_writing(place, capsys):
    assert run(["write", place / "run", "--prompt", "to be ", "--length", 12, "--seed", 4]) == 0
    out = capsys.readouterr().out
    assert out.startswith("to be ") and out.endswith("\n") and len(out) == 6 + 12 + 1
    asked = ["--prompt", "to be ", "--length", 12, "--seed", 4, "--temperature", 1, "--top", 40]
    assert run(["write", place / "run", *asked]) == 0
    assert capsys.readouterr().out == out
    assert run(["write", place / "run", *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"prompt": "to be ", "text": out[6:-1]}


def test_strange_symbols_are_said_on_stderr(place, capsys):
    assert run(["write", place / "run", "--prompt", "né", "--length", 3]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("hubel: the prompt has 'é', which the alphabet of this network has not")
    assert captured.out.startswith("né")


def test_an_interruption_ends_the_line(place):
    command = [sys.executable, "-m", "hubel", "write", str(place / "run"), "--length", "100000000"]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell ignores it for what runs behind
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    with process:
        try:
            assert process.stdout is not None
            begun = process.stdout.read(20)
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert len(begun) == 20 and rest.endswith("\n")
    assert said.strip() == "interrupted"


def test_predicting_and_evaluating(place, capsys):
    (place / "other.txt").write_text(SAYING * 2, encoding="utf-8")
    assert run(["predict", place / "run", place / "book.txt", place / "other.txt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file,symbols,unknown,bits_per_symbol,perplexity,accuracy"
    assert lines[2].split(",")[1:3] == [str(len(SAYING) * 2), "0"]
    assert run(["evaluate", place / "run", place / "other.txt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert run(["evaluate", place / "run", place / "other.txt"]) == 0
    assert f"{(2 * len(SAYING) - 1) // 20} windows" in capsys.readouterr().out
    assert list(found) == ["bits_per_symbol", "perplexity", "accuracy", "top_5_accuracy"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["fit", "digits", "--length", "20"],
            1,
            "length=20 says how a text becomes windows, but digits is no text",
        ),
        (["fit", "opticks", "--tokens", "word"], 2, "no tokens 'word'. Did you mean \"words\""),
        (
            ["fit", "opticks", "--length", "0"],
            1,
            "length, step and least must be positive; received length=0",
        ),
        (["fit", "optics"], 1, 'Did you mean "opticks"'),
        (["write", "nowhere"], 1, "nowhere does not exist"),
        (["write", "RUN", "--temperature", "-1"], 1, "temperature is -1.0; expected 0"),
    ],
)
def test_refusals(place, capsys, monkeypatch, tmp_path, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    assert run([place / "run" if a == "RUN" else a for a in arguments]) == code
    assert said in capsys.readouterr().err
