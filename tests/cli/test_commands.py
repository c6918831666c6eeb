"""The command line: exit codes, answers that parse, suggestions, and how soon it answers."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hubel
from hubel.cli import words
from hubel.cli.main import app, main
from hubel.workflows import predict_files

SMALL = [
    "--epochs",
    "2",
    "--optimizer",
    "sgd",
    "--schedule",
    "linear",
    "--precision",
    "float32",
    "--net",
    "simple_cnn",
]


def pictures(folder, num=12):
    rng = np.random.default_rng(0)
    for number, label in enumerate(("dark", "light", "mixed, ü")):
        (folder / label).mkdir(parents=True)
        for k in range(num):
            Image.fromarray(rng.integers(0, 80, (12, 12), dtype=np.uint8) + np.uint8(80 * number)).save(
                folder / label / f"{k}.png"
            )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, arrays, a table, and a run of each kind."""
    folder = tmp_path_factory.mktemp("cli")
    cache = os.environ.get("HUBEL_CACHE")
    os.environ["HUBEL_CACHE"] = str(folder / "cache")
    pictures(folder / "photos")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    np.savez(folder / "values.npz", x=x, y=x[:, 0] * 3 + 1)
    np.savez(folder / "classes.npz", x=x, y=(x[:, 0] > 0).astype(int))
    with open(folder / "table.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        rows.writerows([str(path), path.parent.name] for path in sorted((folder / "photos").rglob("*.png")))
    assert run(["fit", folder / "photos", "-o", folder / "run", "-q", *SMALL]) == 0
    mlp = ["--epochs", "2", "--precision", "float32", "--net", "mlp"]
    assert run(["fit", folder / "values.npz", "-o", folder / "value-run", "-q", *mlp]) == 0
    yield folder
    if cache is None:
        os.environ.pop("HUBEL_CACHE")
    else:
        os.environ["HUBEL_CACHE"] = cache


def run(arguments):
    """Exit code of `hubel ARGUMENTS`, in this process."""
    before = sys.argv
    sys.argv = ["hubel", *map(str, arguments)]
    try:
        main()
    except SystemExit as leaving:
        return leaving.code or 0
    finally:
        sys.argv = before
    return 0


def shell(arguments, **more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "hubel", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
        **more,
    )


# success


def test_fit_answers_json(place, capsys):
    assert run(["fit", place / "photos", "-o", place / "json-run", "--json", *SMALL]) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["status"] == "finished" and answer["run"] == str(place / "json-run")
    assert {"value", "low", "high", "count"} <= set(answer["test"]["accuracy"])
    assert "epoch" in err and "Report:" in err
    assert (place / "json-run" / "report.html").stat().st_size > 1000


def test_quiet_is_quiet(place, capsys):
    assert run(["fit", place / "table.csv", "-o", place / "quiet-run", "-q", *SMALL]) == 0
    assert capsys.readouterr() == (f"{place / 'quiet-run'}\n", "")


def test_fit_like(place, capsys):
    assert run(["fit", place / "photos", "-o", place / "like-run", "-q", "--like", place / "run"]) == 0
    first, again = (hubel.open_run(place / name) for name in ("run", "like-run"))
    assert first.recipe == again.recipe
    assert (
        first.checkpoints.folder.joinpath("manifest.json").read_text().split('"chosen"')[1][:200]
        == again.checkpoints.folder.joinpath("manifest.json").read_text().split('"chosen"')[1][:200]
    )


def test_an_ensemble_by_the_same_verbs(place, capsys):
    folder = place / "two"
    words_of_it = ["fit", place / "photos", "-o", folder, "-q", "--members", "2", *SMALL]
    assert run([*words_of_it, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "finished" and answer["run"] == str(folder)
    file = place / "photos" / "light" / "0.png"
    assert run(["predict", folder, file, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    each = [dict(next(predict_files(folder / f"member-{k}", [file]))["top"]) for k in (1, 2)]
    assert said["probability"] == pytest.approx(np.mean([one[said["class"]] for one in each]), abs=1e-6)
    assert run(["evaluate", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["value"] == answer["test"]["accuracy"]["value"]
    assert run(["resume", folder]) == 0
    assert "is finished: all 2 members are fitted" in capsys.readouterr().err
    assert run(["report", folder]) == 0
    page = (folder / "report.html").read_text("utf-8")
    assert "The members" in page and 'href="member-2/report.html"' in page and "How the fit went" not in page
    capsys.readouterr()
    assert run(["runs", place, "--json"]) == 0
    assert "ensemble of 2" in {row.get("net") for row in json.loads(capsys.readouterr().out)}


def test_predict_csv(place, capsys):
    files = [place / "photos" / "light" / "0.png", place / "photos" / "mixed, ü" / "3.png"]
    assert run(["predict", place / "run", *files]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [str(file) for file in files]
    for row in rows:
        assert row["class"] in ("dark", "light", "mixed, ü")
        assert row["class"] == row["class_1"] and float(row["probability"]) == pytest.approx(
            float(row["probability_1"]), abs=1e-5
        )
        assert sum(float(row[f"probability_{k}"]) for k in (1, 2, 3)) == pytest.approx(1, abs=1e-4)


def test_predict_json_lines(place, capsys):
    assert run(["predict", place / "run", place / "photos", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 36
    for row in rows:
        assert set(row) == {"file", "class", "probability", "top"}
        assert len(row["top"]) == 3 and row["top"][0] == [row["class"], row["probability"]]
        assert [p for _, p in row["top"]] == sorted((p for _, p in row["top"]), reverse=True)


def test_predict_says_what_the_run_says(place, capsys):
    files = sorted((place / "photos" / "dark").iterdir())
    run(["predict", place / "run", *files, "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    x = np.stack([np.asarray(Image.open(file)) for file in files])
    prediction = hubel.open_run(place / "run").predict(x)
    assert [row["class"] for row in rows] == prediction.labels
    assert [row["probability"] for row in rows] == pytest.approx(prediction.probabilities.max(1).tolist())


def test_predict_goes_on_behind_an_unreadable_file(place, tmp_path, capsys):
    good = place / "photos" / "light" / "0.png"
    for name in ("a.png", "z.png"):
        (tmp_path / name).write_bytes(good.read_bytes()[:40])
    files = [tmp_path / "a.png", good, tmp_path / "z.png"]
    assert run(["predict", place / "run", *files, "--out", tmp_path / "answers.csv"]) == 1
    said = capsys.readouterr().err
    assert "2 files can not be read" in said and "--skip-unreadable" in said
    assert all(f"{name} can not be used: " in said for name in ("a.png", "z.png"))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "answers.csv").read_text())))
    assert [row["file"] for row in rows] == [str(good)] and "unreadable" not in rows[0]
    assert run(["predict", place / "run", files[0], "--out", tmp_path / "none.csv"]) == 1
    assert "a.png can not be used: " in capsys.readouterr().err and not (tmp_path / "none.csv").exists()
    assert run(["predict", place / "run", *files, "--skip-unreadable"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert [bool(row["unreadable"]) for row in rows] == [True, False, True]
    assert rows[1]["class_1"] and not rows[0]["class"]
    assert run(["predict", place / "run", *files, "--skip-unreadable", "--json"]) == 0
    first, second, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert set(first) == {"file", "unreadable"} and second["unreadable"] == ""
    assert run(["predict", place / "run", files[0], "--skip-unreadable"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "file,unreadable"


def test_predict_converts_pictures_of_other_channels_where_asked(place, tmp_path, capsys):
    grey = place / "photos" / "dark" / "0.png"
    coloured = tmp_path / "coloured.png"
    Image.open(grey).convert("RGB").save(coloured)
    assert run(["predict", place / "run", coloured]) == 1
    assert "expected grey" in capsys.readouterr().err
    assert run(["predict", place / "run", grey, "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert run(["predict", place / "run", coloured, "--channels", "grey", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top"] == expected["top"]
    assert run(["predict", place / "run", coloured, "--channels", "rgb"]) == 1
    assert "fitted to pictures with the channels grey" in capsys.readouterr().err
    assert run(["predict", place / "run", coloured, "--channels", "cmyk"]) == 2


def test_predict_values_into_a_file(place, tmp_path):
    np.save(tmp_path / "new.npy", np.zeros((3, 4), "float32"))
    assert run(["predict", place / "value-run", tmp_path / "new.npy", "-o", tmp_path / "out.csv"]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 3 and rows[2]["file"].endswith("new.npy[2]")
    assert (
        run(["predict", place / "value-run", tmp_path / "new.npy", "--json", "-o", tmp_path / "out.jsonl"])
        == 0
    )
    (first, *_) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert all(isinstance(value, float) for value in first["values"].values())


def test_evaluate(place, capsys):
    assert run(["evaluate", place / "run", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["accuracy"]["value"] == hubel.open_run(place / "run").test["accuracy"]["value"]
    assert run(["evaluate", place / "run", place / "photos"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert hubel.open_run(place / "run").about["test_looks"] >= 2


def test_runs(place, capsys):
    (place / "broken").mkdir(exist_ok=True)
    (place / "broken" / "run.json").write_text("{")
    assert run(["runs", place, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"finished", "damaged"} <= {row["status"] for row in rows}
    assert run(["runs", place]) == 0
    assert "simple_cnn" in capsys.readouterr().out


def test_report_and_resume_of_a_finished_run(place, capsys):
    assert run(["report", place / "run"]) == 0
    assert capsys.readouterr().out.strip() == str(place / "run" / "report.html")
    assert run(["resume", place / "run", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "finished"


# failure


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fit"], 2, "DATA"),
        (["fti", "x"], 2, "fti"),
        (["fit", "{photos}", "--nothing"], 2, "--nothing"),
        (["fit", "{photos}", "--epochs", "many"], 2, "--epochs"),
        (["fit", "{photos}", "--epochs", "0"], 2, "epochs is 0"),
        (["fit", "{photos}", "--net", "resnet19"], 2, "no network 'resnet19'. Did you mean \"resnet1"),
        (["fit", "{photos}", "--optimizer", "adamx"], 2, 'Did you mean "adam"'),
        (["fit", "{photos}", "--schedule", "onecycle"], 2, 'Did you mean "one-cycle"'),
        (["fit", "{photos}", "--precision", "float16"], 2, 'Did you mean "bfloat16"'),
        (["fit", "{photos}", "--budget", "soon"], 2, "a duration of 'soon'"),
        (["fit", "{photos}", "--size", "big"], 2, "a size of 'big'"),
        (["fit", "{place}/photso"], 1, 'does not exist. Did you mean "photos"'),
        (["fit", "fashion-minst"], 1, 'Did you mean "fashion-mnist"'),
        (["fit", "{photos}", "--out", "{place}/run"], 1, "is a run already"),
        (["fit", "{photos}", "--device", "gpu9"], 1, "gpu9"),
        (["fit", "{photos}", "--like", "{place}/none"], 1, "does not exist"),
        (["fit", "{photos}", "--members", "2", "--folds", "2"], 2, "expected one of them"),
        (["fit", "{photos}", "--folds", "1"], 2, "--folds 1: expected a whole number of at least 2"),
        (["fit", "{photos}", "--folds", "2", "--test", "0.3"], 1, "each of the 2 folds is a test part"),
        (["resume", "{place}/none"], 1, "hubel runs"),
        (["resume", "{photos}"], 1, "is not a run folder"),
        (["predict", "{place}/run", "{place}/none.png"], 1, "none.png does not exist"),
        (["predict", "{place}/run", "{place}/values.npz"], 1, ""),
        (["predict", "{place}/run"], 2, "FILES"),
        (["evaluate", "{place}/value-run", "{place}/classes.npz"], 1, ""),
        (["evaluate", "{place}/run", "{place}/values.npz"], 1, "fitted on"),
        (["runs", "{place}/none"], 1, "does not exist"),
        (
            ["predict", "{place}/run", "{photos}", "--out", "{place}/none/x.csv"],
            1,
            "{place}/none: this folder does not exist",
        ),
        (
            ["predict", "{place}/run", "{photos}", "--out", "{place}"],
            1,
            "{place}: this is a folder; name a file",
        ),
        (["fit", "{photos}", "--out", "{place}/table.csv/run"], 1, "{place}/table.csv: this is no folder"),
        (["evaluate", "{place}/run", "--channels", "grey"], 2, "--channels is for other data"),
        (["report", "{place}/none"], 1, "does not exist"),
        (["fit", "{photos}", "--members", "0"], 2, "--members 0: expected a whole number of at least 2"),
        (["fit", "{photos}", "--folds", "100"], 1, "100 folds of 36 examples"),
        (["fit", "{photos}", "--freeze", "nosuch"], 1, "no layer 'nosuch' to freeze"),
        (["fit", "{photos}", "--focus", "-1"], 1, "focus is -1.0; expected 0 or a positive number"),
        (["fit", "{place}/values.npz", "--balance"], 1, "real values have no classes to balance"),
        (["fit", "{photos}", "--uncertainty"], 1, "classes have probabilities already"),
        (["fit", "{photos}", "--kind", "volumes"], 1, "it is no volume"),
        (["fit", "{photos}", "--kind", "image series"], 1, "without an image series"),
        (["fit", "{photos}", "--time", "t"], 1, "time='t' names the times of series"),
        (["fit", "{photos}", "--columns", "a"], 1, "is for tables of features"),
        (["fit", "digits", "--columns", "a"], 1, "changes how files are read, but digits is built in"),
        (["fit", "digits", "--resize", "crop"], 1, "resize='crop' is for picture files"),
        (["fit", "{place}/values.npz", "--resize", "crop"], 1, "resize='crop' is for picture files"),
        (["fit", "{place}/values.npz", "--symmetry", "rotate_90"], 1, "holds rows of features"),
        (
            ["fit", "{place}/values.npz", "--net", "lenet"],
            1,
            "lenet: inputs must be (channels, height, width)",
        ),
        (["fit", "{photos}", "--season", "12"], 2, "--season belongs to a forecast"),
        (["fit", "{photos}", "--forecast", "3"], 1, "a forecast needs one long series"),
        (["fit", "{photos}", "--step", "3"], 1, "says how a text becomes windows"),
        (["fit", "{photos}", "--weights", "x.pth"], 2, "name it as well"),
        (["fit", "{photos}", "--net", "lenet", "--weights", "x"], 2, "no published weights for lenet"),
        (
            ["fit", "{photos}", "--learning-rate", "-1", "--optimizer", "sgd"],
            2,
            "--learning-rate is -1.0; expected a positive number",
        ),
        (["fit", "{photos}", "--checkpoint-seconds", "-1"], 2, "--checkpoint-seconds"),
        (["fit", "{photos}", "--like", "{place}/run", "--balance"], 1, "leave one of them out"),
        (["sample", "{place}/run", "-o", "{place}/s.png"], 1, "(simple_cnn) makes no new examples. Fit one"),
        (["write", "{place}/run"], 1, "was not fitted to a text"),
        (["study", "nosuch"], 2, "there is no study 'nosuch'"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else None,
)
def test_what_fails_says_so_in_one_line(place, capsys, arguments, code, said):
    filled = [word.format(place=place, photos=place / "photos") for word in arguments]
    assert run([*filled, *(["-q"] if filled[0] == "fit" and code == 1 else [])]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hubel: ") and said.format(place=place) in err
    assert "Traceback" not in err
    assert not (place / "none").exists()


def test_several_runs_in_a_folder_are_not_one(tmp_path, capsys):
    for name, one in (("ensemble.json", "member-1"), ("folds.json", "fold-1")):
        folder = tmp_path / name.removesuffix(".json")
        folder.mkdir()
        (folder / name).write_text("{}")
        assert run(["write", folder]) == 1
        assert f"name one of those in it, such as {folder / one}" in capsys.readouterr().err


def test_a_failure_shows_its_trace_where_asked(place, monkeypatch):
    monkeypatch.setenv("HUBEL_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        run(["fit", place / "none", "-q"])


@pytest.mark.parametrize("harm", ["cut", "{", '{"format": 9}'])
def test_damaged_runs_exit_1(place, capsys, tmp_path, harm):
    folder = tmp_path / "run"
    folder.mkdir()
    text = (place / "run" / "run.json").read_text()
    (folder / "run.json").write_text(text[: len(text) // 2] if harm == "cut" else harm)
    assert run(["predict", folder, place / "photos"]) == 1
    assert "run.json" in capsys.readouterr().err


# interruption


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_an_interruption_is_saved_and_can_be_gone_on_with(place, tmp_path, capsys, number):
    long = ["--epochs", "60", *SMALL[2:]]
    out = tmp_path / "run"
    shutil.copytree(place / "photos", tmp_path / "photos")
    command = [sys.executable, "-m", "hubel", "fit", str(tmp_path / "photos"), "-o", str(out), *long]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 150
    while not (out / "curves.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert "Stopped and saved after step" in said and f"hubel resume {out}" in said
    assert hubel.open_run(out).status == "interrupted"
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert run(["resume", out, "-q"]) == 1
    assert f"hubel resume {out} --data PLACE" in capsys.readouterr().err
    assert run(["resume", out, "--data", tmp_path / "moved", "-q"]) == 0
    assert run(["fit", place / "photos", "-o", tmp_path / "whole", "-q", "--like", out]) == 0
    manifests = [
        json.loads((f / "checkpoints" / "manifest.json").read_text())["generations"][0]
        for f in (out, tmp_path / "whole")
    ]
    assert manifests[0]["files"]["chosen"]["sha256"] == manifests[1]["files"]["chosen"]["sha256"]


def test_before_the_training_an_interruption_is_said(place, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(hubel.workflows, "list_runs", stop)
    assert run(["runs", place]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


# readiness


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    program = f"""
import sys
sys.argv = ["hubel", *{arguments!r}]
from hubel.cli import main
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
heavy = [name for name in ("torch", "numpy", "sklearn", "matplotlib", "PIL", "scipy", "pandas") if name in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "hubel" in done.stdout


def test_no_words_show_the_help(capsys):
    assert run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: ")


def test_every_verb_is_documented():
    for command in app.registered_commands:
        assert command.callback.__doc__, command.callback.__name__


def test_every_word_is_a_thing():
    from hubel import fitting, nets

    for word in words.NETS:
        name, _ = words.NETS[word]
        assert callable(getattr(nets, name)), word
    for word in (*words.OPTIMIZERS.values(), *words.SCHEDULES.values()):
        assert callable(getattr(fitting, word))


def test_answers_to_a_closed_pipe(place):
    process = subprocess.Popen(
        [sys.executable, "-m", "hubel", "runs", str(place), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) in (0, 1)
    assert "Traceback" not in said


def test_the_package_knows_its_folder():
    assert Path(hubel.__file__).name == "__init__.py" and hubel.__version__


def test_a_score_without_an_interval_names_none(capsys):
    from hubel.cli import answers
    from hubel.core.types import Interval

    nan = float("nan")
    one, other = (
        Interval(value=0.5, low=0.4, high=0.6, count=9),
        Interval(value=0.5, low=nan, high=nan, count=9),
    )
    answers.scores({"AP[coco]": one, "other": other}, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "AP[coco]  0.5 [0.4, 0.6]  95% interval  9 pictures",
        "other     0.5 (no interval)  9 pictures",
    ]
