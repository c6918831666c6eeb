"""`hubel solve` and what `resume`, `report` and `runs` do with the folder."""

import json
import signal
import sys
from itertools import pairwise

import pytest

import hubel
from hubel.cli.main import main
from hubel.workflows.solved import Watch

FILE = """
import hubel

problem = hubel.physics.Problem(lambda u: u.t + u, domain=dict(t=(0, 1)), initial=1.0)
"""


def run(arguments, monkeypatch):
    """Exit code of `hubel ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["hubel", *map(str, arguments)])
    with pytest.raises(SystemExit) as leaving:
        main()
    return leaving.value.code or 0


@pytest.fixture(autouse=True)
def no_page(monkeypatch):
    monkeypatch.setattr(hubel.show.equation, "report", lambda folder: "<html></html>")


def test_the_road(tmp_path, monkeypatch, capsys):
    path = tmp_path / "decay.py"
    path.write_text(FILE)
    place = tmp_path / "run"

    def is_due(self, seconds):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "is_due", is_due)
        assert run(["solve", path, "--tol", "1e-3", "-o", place], patch) == 130
    assert f"hubel resume {place} --equation decay.py" in capsys.readouterr().err
    assert run(["resume", place], monkeypatch) == 1
    assert "solves the file decay.py, which a folder does not run" in capsys.readouterr().err
    assert run(["resume", place, "--equation", path, "--device", "cuda"], monkeypatch) == 2
    assert "--device is for runs of labelled data" in capsys.readouterr().err
    assert run(["resume", place, "--equation", path, "--json", "-q"], monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reached"]
    assert told["estimate"] < 1e-3
    assert told["run"] == str(place)
    assert run(["report", place], monkeypatch) == 0
    assert capsys.readouterr().out.strip() == str(place / "report.html")
    assert run(["runs", tmp_path], monkeypatch) == 0
    assert "finished     equation" in capsys.readouterr().out
    assert run(["solve", path, "-o", place], monkeypatch) == 1
    assert "is a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve", "burger"], "there is no equation 'burger'. Did you mean \"burgers\"?"),
        (["solve", "heat", "--tol", "0"], "--tol is 0; expected a relative error between 0 and 1"),
        (
            ["solve", "heat", "--continuation", "k:0.1"],
            "--continuation is 'k:0.1'; expected a name and its values",
        ),
        (
            ["solve", "heat", "--continuation", "k=a"],
            "--continuation is 'k=a'; expected a name and its values",
        ),
        (["solve", "heat", "--activation", "tan"], "there is no activation 'tan'. Did you mean"),
        (["solve", "heat", "--method", "sopa"], "there is no method 'sopa'. Did you mean \"soap\"?"),
        (["solve", "heat", "--fourier", "-2"], "Invalid value for '--fourier': Input should be greater"),
        (["solve", "heat", "--budget", "soon"], "a duration of 'soon' is not understood"),
        (["resume", "nowhere", "--equation", "a.py"], "--equation is for the run of an equation"),
    ],
)
def test_wrong_words(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(arguments, monkeypatch) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_network_and_the_method_are_chosen(tmp_path, monkeypatch, capsys):
    path, place = tmp_path / "decay.py", tmp_path / "run"
    path.write_text(FILE)
    words = "--width 6 --depth 2 --activation sine --residual --fourier 3 --method broyden --tol 1e-2"
    assert run(["solve", path, *words.split(), "-o", place], monkeypatch) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "network 2 layers of 6, sine, residual, 3 Fourier features at the beginning" in said
    about = json.loads((place / "run.json").read_text())
    assert (about["method"], about["network"]) == (
        "SelfScaledBroyden",
        "2 layers of 6, sine, residual, 3 Fourier features",
    )
    solution = hubel.open_solution(place, equation=path)
    assert solution.network.label == about["network"]
    assert solution(t=1.0) == pytest.approx(0.3679, abs=0.01)


def test_work_that_can_not_be_done(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "points.csv").write_text("time,x,u\n0,0,1\n")
    for arguments, said in (
        (["solve", "mine.py"], "mine.py does not exist"),
        (["solve", "heat", "--data", "points.csv"], "data has no column 't'; it has x, u"),
        (["solve", "burgers-discovery", "--noise", "-1"], "noise is -1.0"),
        (
            ["solve", "heat", "--continuation", "nu=1"],
            "continuation has 'nu', which is no number of the problem. There are: k.",
        ),
        (["solve", "poisson", "--causal"], "causal weights go on from the beginning of time"),
    ):
        assert run(arguments, monkeypatch) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_the_list(monkeypatch, capsys):
    assert run(["solve"], monkeypatch) == 0
    assert "burgers              Burgers: u_t + u u_x = 0.0031831 u_xx" in capsys.readouterr().out
    assert run(["solve", "--json"], monkeypatch) == 0
    assert {"heat", "allen-cahn", "taylor-green"} <= set(json.loads(capsys.readouterr().out))


def test_windows_of_time_are_gone_on_with(tmp_path, monkeypatch, capsys):
    path, place, whole = tmp_path / "decay.py", tmp_path / "run", tmp_path / "whole"
    path.write_text(FILE)
    rows = []

    def is_due(self, seconds):
        rows.append(seconds)
        if len(rows) == ends[0] + 5:  # in the second window
            signal.raise_signal(signal.SIGINT)

    assert run(["solve", path, "--tol", "1e-3", "--windows", "3", "-o", whole], monkeypatch) == 0
    said = capsys.readouterr().err
    assert "3 of t, one after the other" in " ".join(said.split()) and "  window " in said
    curves = [json.loads(line) for line in (whole / "curves.jsonl").read_text().splitlines()]
    ends = [row["iteration"] for row, after in pairwise(curves) if row["window"] < after["window"]]
    assert len(ends) == 2 and ends[1] > ends[0] + 5
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "is_due", is_due)
        assert run(["solve", path, "--tol", "1e-3", "--windows", "3", "-o", place, "-q"], patch) == 130
    capsys.readouterr()
    assert run(["resume", place, "--equation", path, "--json", "-q"], monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["reached"]
    again, first = (hubel.open_solution(folder, equation=path) for folder in (place, whole))
    assert [again(t=t) for t in (0.2, 0.5, 1.0)] == [first(t=t) for t in (0.2, 0.5, 1.0)]
    assert again.estimate == first.estimate and len(again.history) == len(first.history)
    about = json.loads((place / "run.json").read_text())
    assert about["asked"]["windows"] == 3 and about["weights"] == again.num_weights > again.network.size


def test_windows_of_what_has_no_time(tmp_path, monkeypatch, capsys):
    assert run(["solve", "poisson", "--windows", "2", "-o", tmp_path / "run"], monkeypatch) == 1
    assert "windows are parts of the time, and the domain has x, y" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not (tmp_path / "run").exists()
