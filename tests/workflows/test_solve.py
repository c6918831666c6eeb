"""`hubel.solve` and `hubel.resume_solution`: what they promise of folders, interruptions, files, data and tolerances."""

import importlib
import json
import math
import signal

import numpy as np
import pytest
import torch

import hubel
from hubel.core.errors import DamagedRun, RunBusy, UnreadableData
from hubel.core.files import locked
from hubel.fitting import Checkpoints
from hubel.physics import SOAP, Architecture, Problem, posing, unknown
from hubel.workflows.solve import resume_solution
from hubel.workflows.solved import errors_of, together
from hubel.workflows.table_of_points import read_points

module = importlib.import_module("hubel.workflows.solve")  # of that name there is a function as well
FILE = """
from pathlib import Path

import numpy as np

import hubel

with open(Path(__file__).with_name("executed"), "a") as file:
    file.write("x")


def decay(u, k):
    return u.t + k * u


def reference(t):
    return np.exp(-2.0 * t)


problem = hubel.physics.Problem(decay, domain=dict(t=(0, 1)), k=2.0, initial=1.0)
"""


@pytest.fixture(autouse=True)
def no_page(request, monkeypatch):
    """The page has tests of its own: most runs here are without it."""
    if "page" not in request.node.name and "evidence" not in request.node.name:
        monkeypatch.setattr(hubel.show.equation, "report", lambda folder: "<html></html>")


def decay(u, k):
    return u.t + k * u


def problem(**changes):
    return Problem(decay, **{"domain": {"t": (0, 1)}, "k": 2.0, "initial": 1.0, **changes})


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "my_equation.py"
    path.write_text(FILE)
    return path


def executed(path):
    count = path.with_name("executed")
    return len(count.read_text()) if count.exists() else 0


def chosen(folder):
    return Checkpoints(folder).read(("chosen",)).trees["chosen"]


def interrupt_at(number, monkeypatch):
    """As if Ctrl-C were pressed after this iteration."""
    calls = []

    def is_due(self, seconds):
        calls.append(seconds)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        return False

    monkeypatch.setattr(module.Watch, "is_due", is_due)


class TestOfAProblem:
    def test_a_folder_with_the_evidence(self, tmp_path):
        solution = hubel.solve(problem(), tol=1e-4, out=tmp_path / "run", quiet=True)
        t = np.linspace(0, 1, 7)
        np.testing.assert_allclose(solution(t=t), np.exp(-2 * t), atol=3e-4)
        np.testing.assert_allclose(solution.u.t(t=0.5), -2 * np.exp(-1), atol=1e-2)
        assert solution.reached and solution.folder == tmp_path / "run"
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        assert (about["format"], about["kind"], about["status"]) == (1, "equation", "finished")
        assert about["estimate"] == solution.estimate < 1e-4
        assert about["stopped"] == "the estimated error is below the tolerance"
        assert about["problem"]["parameters"] == {"k": 2.0}
        rows = [json.loads(line) for line in (tmp_path / "run" / "curves.jsonl").read_text().splitlines()]
        assert [row["iteration"] for row in rows] == list(range(1, len(rows) + 1))
        assert "<h1>decay</h1>" in (tmp_path / "run" / "report.html").read_text()
        with pytest.raises(
            ValueError, match="a Problem of your own, which a folder does not run: pass it again"
        ):
            hubel.open_solution(tmp_path / "run")
        again = hubel.open_solution(tmp_path / "run", equation=problem())
        assert (again(t=t) == solution(t=t)).all()
        with pytest.raises(ValueError, match="what was passed has u on"):
            hubel.open_solution(tmp_path / "run", equation=problem(domain={"t": (0, 2)}))
        page = (tmp_path / "run" / "report.html").read_text()
        (tmp_path / "run" / "report.html").unlink()
        assert hubel.report(solution).read_text() == page
        (row,) = hubel.workflows.list_runs(tmp_path)
        assert (row["net"], row["data"], row["status"]) == ("equation", "decay", "finished")
        with pytest.raises(ValueError, match=r"open it with hubel\.open_solution"):
            hubel.open_run(tmp_path / "run")
        with pytest.raises(FileExistsError, match="is a run already"):
            hubel.solve(problem(), out=tmp_path / "run", quiet=True)

    def test_an_unknown_function_and_units_stand_in_the_evidence(self, tmp_path, capsys):
        rate = Problem(
            lambda u, k: u.t + k * u,
            domain={"t": (0, 1)},
            k=unknown(of="t"),
            units={"t": "s", "k": "1/s"},
        )
        t = np.linspace(0, 1, 80)
        u = np.exp(-t - t**2) + 0.002 * np.random.default_rng(0).normal(size=80)
        solution = hubel.solve(rate, data={"t": t, "u": u}, tol=0.1, out=tmp_path / "run")
        said = " ".join(capsys.readouterr().err.split())
        assert "unknown k(t)" in said and "t from 0 to 1 s" in said and "k(t) " in said
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        assert about["problem"]["functions"] == {"k": ["t"]}
        assert about["problem"]["units"] == {"t": "s", "k": "1/s"}
        assert (
            "k (1/s)" not in said
            and "The functions that were unknown" in (tmp_path / "run" / "report.html").read_text()
        )
        with np.load(tmp_path / "run" / "solution.npz") as opened:
            content = dict(opened)
        assert about["functions"]["k"]["of"] == ["t"]
        assert about["functions"]["k"]["highest"] == pytest.approx(solution.k(t=t).max(), rel=0.05)
        assert about["functions"]["k"]["standard_error"] == pytest.approx(
            np.sqrt(np.mean(solution.k.standard_error(t=np.linspace(0, 1, 41)) ** 2))
        )
        np.testing.assert_array_equal(content["field_u"], solution(t=content["axis_t"]))
        np.testing.assert_array_equal(content["function_k"], solution.k(t=content["axis_t"]))
        np.testing.assert_array_equal(content["high_k"], solution.k.interval(t=content["axis_t"])[1])
        again = hubel.open_solution(tmp_path / "run", equation=rate)
        np.testing.assert_array_equal(again.k.interval(t=t), solution.k.interval(t=t))
        assert np.abs(again.k(t=t) - 1 - 2 * t).max() < 0.3

    def test_a_walk_goes_on_where_it_was_interrupted(self, tmp_path, monkeypatch):
        walk = {"k": (0.5, 1.0)}
        whole = hubel.solve(
            problem(), tol=1e-2, out=tmp_path / "whole", quiet=True, continuation=walk, causal=5.0
        )
        with monkeypatch.context() as patch:
            interrupt_at(3, patch)
            hubel.solve(problem(), tol=1e-2, out=tmp_path / "run", quiet=True, continuation=walk, causal=5.0)
        asked = json.loads((tmp_path / "run" / "run.json").read_text())["asked"]
        assert asked["continuation"] == {"k": [0.5, 1.0]} and asked["causal"] == 5.0
        found = resume_solution(tmp_path / "run", equation=problem(), quiet=True)
        assert torch.equal(found.network.weights(), whole.network.weights()) and found.reached

    def test_a_tolerance_that_can_not_be_reached_is_said(self, tmp_path, capsys):
        solution = hubel.solve(problem(), tol=1e-15, budget=0.6, out=tmp_path / "run")
        assert not solution.reached
        assert "the tolerance was not reached, this is the best that was found" in " ".join(
            capsys.readouterr().err.split()
        )
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"

    def test_a_step_is_not_called_solved(self, tmp_path, capsys):
        """A step that stands still leaves no residual at any point beside it; the true one moves with speed 1 / 2."""
        shock = Problem(
            lambda u: u.t + u * u.x,
            domain={"t": (0, 1), "x": (-1, 1)},
            initial=lambda x: torch.where(x < 0, 1.0, 0.0).double(),
            boundary={"x=-1": 1.0},
        )
        solution = hubel.solve(shock, tol=1e-3, out=tmp_path / "run")
        assert solution(t=0.8, x=0.2) < 0.1
        assert solution.residual < 1e-3
        assert solution.estimate is None and not solution.reached
        said = " ".join(capsys.readouterr().err.split())
        assert said.count("the beginning of u jumps by 1 at x = 0") == 3
        assert "the residual is small, which says nothing of the error here" in said

    @pytest.mark.parametrize(
        ("given", "more", "said"),
        [
            ("burger", {}, "there is no equation 'burger'. Did you mean \"burgers\""),
            (3, {}, "received int; expected a hubel.physics.Problem"),
            ("heat", {"tol": 2.0}, "tol is 2.0; expected a relative error"),
            ("heat", {"budget": -1}, "budget is -1; expected a positive number of seconds"),
            ("heat", {"noise": 0.1}, "noise= is for data that a named equation makes"),
            ("burgers-discovery", {"noise": -1.0}, "noise is -1.0; expected a share"),
            ("heat", {"data": [1, 2]}, "data is list; expected a table with columns t, x, u"),
            ("heat", {"data": {"x": [0.0], "u": [0.0]}}, "data has no column 't'; it has x, u"),
            (
                "heat",
                {"data": {"t": [0.5, 3.0], "x": [0.1, 0.2], "u": [0.0, 1.0]}},
                "outside of the domain: t = 3 in row 1",
            ),
        ],
    )
    def test_refused_before_there_is_a_folder(self, given, more, said, tmp_path):
        with pytest.raises((ValueError, TypeError)) as caught:
            hubel.solve(given, out=tmp_path / "run", quiet=True, **more)
        assert said in str(caught.value)
        assert not (tmp_path / "run").exists()

    def test_a_report_needs_a_folder(self):
        solution = hubel.physics.solve(problem(), tol=1e-2)
        with pytest.raises(ValueError, match="lies in no folder"):
            hubel.report(solution)


class TestGoingOn:
    def test_interrupted_anywhere_it_ends_as_it_would_have(self, tmp_path, monkeypatch, capsys):
        whole = hubel.solve(problem(), tol=1e-5, out=tmp_path / "whole", quiet=True)
        last = len(whole.history)
        assert last > 12
        for number in (1, last - 1):
            place = tmp_path / str(number)
            with monkeypatch.context() as patch:
                interrupt_at(number, patch)
                stopped = hubel.solve(problem(), tol=1e-5, out=place)
            assert stopped.stopped == "interrupted"
            assert f"hubel resume {place}" in capsys.readouterr().err
            about = json.loads((place / "run.json").read_text())
            assert (about["status"], about["stopped"]) == (
                "interrupted",
                f"interrupted by the user after iteration {number}",
            )
            again = resume_solution(place, equation=problem(), quiet=True)
            assert torch.equal(
                chosen(place)["tensors"]["weights"], chosen(tmp_path / "whole")["tensors"]["weights"]
            )
            assert (again.estimate, len(again.history)) == (whole.estimate, last)
            rows = [
                json.loads(line)["iteration"] for line in (place / "curves.jsonl").read_text().splitlines()
            ]
            assert rows == list(range(1, last + 1))
            assert json.loads((place / "run.json").read_text())["resumed"] == 1

    def test_killed_it_goes_on_from_the_last_checkpoint(self, tmp_path, monkeypatch):
        whole = hubel.solve("heat", tol=1e-2, out=tmp_path / "whole", quiet=True)
        plain, calls = module._checkpoint, []

        def killed(job, solver, **more):
            plain(job, solver, **more)
            calls.append(solver.iteration)
            if len(calls) == 4:
                raise MemoryError("as if it were killed")

        monkeypatch.setattr(module, "CHECKPOINT_SHARE", math.inf)
        monkeypatch.setattr(module, "_checkpoint", killed)
        with pytest.raises(MemoryError):
            hubel.solve("heat", tol=1e-2, out=tmp_path / "run", quiet=True, checkpoint_seconds=0)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"
        monkeypatch.setattr(module, "_checkpoint", plain)
        again = resume_solution(tmp_path / "run", quiet=True)
        assert calls == [1, 2, 3, 4]
        assert again.estimate == whole.estimate
        assert torch.equal(
            chosen(tmp_path / "run")["tensors"]["weights"], chosen(tmp_path / "whole")["tensors"]["weights"]
        )

    def test_a_damaged_checkpoint_falls_back_to_the_one_before(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(module, "CHECKPOINT_SHARE", math.inf)
        interrupt_at(6, monkeypatch)
        hubel.solve(problem(), tol=1e-5, out=tmp_path / "run", quiet=True, checkpoint_seconds=0)
        newest = max((tmp_path / "run" / "checkpoints").glob("state-*"))
        newest.write_bytes(newest.read_bytes()[:100])
        resume_solution(tmp_path / "run", equation=problem())
        said = capsys.readouterr().err
        assert "the checkpoint of step 6 can not be used" in said
        assert "Going on after iteration 5" in said

    def test_finished_is_finished(self, tmp_path, capsys):
        done = hubel.solve("heat", tol=5e-2, out=tmp_path / "run", quiet=True)
        before = (tmp_path / "run" / "run.json").read_bytes()
        again = resume_solution(tmp_path / "run")
        assert "is finished" in capsys.readouterr().err
        assert again(t=0.1, x=0.5) == done(t=0.1, x=0.5)
        assert (tmp_path / "run" / "run.json").read_bytes() == before
        with locked(tmp_path / "run"), pytest.raises(RunBusy):
            resume_solution(tmp_path / "run", quiet=True)

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("run.json", b"{", "is damaged"),
            ("run.json", b'{"format": 2}', "has format 2"),
            ("run.json", b'{"format": 1, "kind": "equation"}', "lacks status"),
            ("run.json", b'{"format": 1}', "a fitted network"),
        ],
    )
    def test_a_folder_from_a_stranger(self, name, content, said, tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((DamagedRun, ValueError), match=said):
            hubel.open_solution(tmp_path)

    def test_a_stranger_names_no_other_function(self, tmp_path):
        hubel.solve("heat", tol=5e-2, out=tmp_path / "run", quiet=True)
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        (tmp_path / "mine.py").write_text("raise SystemExit('executed')")
        for name in ("Equation", "references", "os.system", str(tmp_path / "mine.py"), "math"):
            (tmp_path / "run" / "run.json").write_text(json.dumps(about | {"equation": {"named": name}}))
            with pytest.raises(ValueError, match="no equation"):
                hubel.open_solution(tmp_path / "run")


class Own(torch.nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.inner, self.last = (torch.nn.Linear(*shape).double() for shape in ((1, width), (width, 1)))

    def forward(self, v):
        return self.last(torch.sin(self.inner(v)))


class TestOfAChosenNetwork:
    def test_choices_are_resumed_to_the_same_bits(self, tmp_path, monkeypatch):
        chosen = {
            "network": Architecture(width=7, depth=2, activation="sine", residual=True, fourier=2),
            "method": SOAP(learning_rate=5e-3, warm_up=3),
        }
        with monkeypatch.context() as patch:
            interrupt_at(9, patch)
            hubel.solve(problem(), tol=1e-9, out=tmp_path / "run", quiet=True, budget=99, **chosen)
        asked = json.loads((tmp_path / "run" / "run.json").read_text())["asked"]
        assert asked["network"]["fourier"] == 2 and asked["method"]["warm_up"] == 3
        monkeypatch.setattr(module.Solver, "steps", stopping_at(25, module.Solver.steps))
        again = resume_solution(tmp_path / "run", equation=problem(), quiet=True)
        whole = hubel.solve(
            problem(),
            tol=1e-9,
            out=tmp_path / "whole",
            quiet=True,
            **chosen | {"method": SOAP(learning_rate=5e-3, warm_up=3)},
        )
        assert torch.equal(again.network.weights(), whole.network.weights())
        assert again.network.label == "2 layers of 7, sine, residual, 2 Fourier features"

    def test_a_network_of_ones_own_is_passed_again(self, tmp_path, monkeypatch, capsys):
        with monkeypatch.context() as patch:
            interrupt_at(3, patch)
            hubel.solve(problem(), network=Own(), tol=1e-2, out=tmp_path / "run")
        said = " ".join(capsys.readouterr().err.split())
        assert said.count("Own (your own) by nested differentiation, which is slow") == 1
        assert f"hubel.resume_solution('{tmp_path / 'run'}', network=...)" in said
        for network, text in (
            (None, "has a network of your own, Own, which a folder does not hold"),
            (Own(5), r"'inner.weight': \[6, 1\]"),
        ):
            with pytest.raises(ValueError, match=text):
                resume_solution(tmp_path / "run", equation=problem(), network=network, quiet=True)
        solution = resume_solution(tmp_path / "run", equation=problem(), network=Own(), quiet=True)
        again = hubel.open_solution(tmp_path / "run", equation=problem(), network=Own())
        t = np.linspace(0, 1, 7)
        assert (again(t=t) == solution(t=t)).all() and solution.reached
        np.testing.assert_allclose(again(t=t), np.exp(-2 * t), atol=0.02)
        with pytest.raises(ValueError, match="pass it again"):
            hubel.open_solution(tmp_path / "run", equation=problem())
        hubel.solve(problem(), tol=1e-2, out=tmp_path / "plain", quiet=True)
        with pytest.raises(ValueError, match=r"leave out network=Own"):
            hubel.open_solution(tmp_path / "plain", equation=problem(), network=Own())

    def test_refused_before_there_is_a_folder(self, tmp_path):
        for wrong, kind, text in (
            ({"network": "mlp"}, TypeError, "network is str"),
            ({"method": "soap"}, TypeError, "method is 'soap'"),
            ({"network": Own().float()}, ValueError, "float32"),
        ):
            with pytest.raises(kind, match=text):
                hubel.solve(problem(), out=tmp_path / "run", quiet=True, **wrong)
        assert not list(tmp_path.iterdir())

    def test_a_stranger_names_no_other_method(self, tmp_path, monkeypatch):
        interrupt_at(2, monkeypatch)
        hubel.solve(problem(), tol=1e-9, out=tmp_path / "run", quiet=True, method=SOAP())
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        for entry in ({"method": {"is": "os.system"}}, {"network": {"width": 10**30}}, {"network": {"x": 1}}):
            (tmp_path / "run" / "run.json").write_text(json.dumps(about | {"asked": about["asked"] | entry}))
            with pytest.raises(DamagedRun, match="is none of this equation"):
                resume_solution(tmp_path / "run", equation=problem(), quiet=True)


def stopping_at(number, steps):
    """The steps of a solver that ends after this iteration, as if the time were over."""

    def until(self, seconds=None):
        for record in steps(self, seconds):
            if record.iteration >= number:
                self.stopped = "time"
            yield record

    return until


class TestOfAFile:
    def test_it_is_executed_only_where_it_is_named(self, own_file, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            interrupt_at(3, patch)
            hubel.solve(own_file, tol=1e-4, out=tmp_path / "run", quiet=True)
        assert executed(own_file) == 1
        assert (tmp_path / "run" / "equation.py").read_text() == FILE
        with pytest.raises(ValueError, match=r"solves the file my_equation\.py, which a folder does not run"):
            resume_solution(tmp_path / "run", quiet=True)
        assert executed(own_file) == 1
        solution = resume_solution(tmp_path / "run", equation=own_file, quiet=True)
        assert executed(own_file) == 2
        assert solution.reached
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        assert (
            about["test"]["relative error of u"]["value"] < 5e-4
        )  # the estimate, below 1e-4, holds to a factor of 5
        assert about["reference"]["how"] == "the function reference of my_equation.py"
        hubel.report(tmp_path / "run")
        assert executed(own_file) == 2
        own_file.write_text(FILE + "\n# another text")
        with pytest.raises(ValueError, match="what was passed is another text"):
            hubel.open_solution(tmp_path / "run", equation=own_file)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("x = 1\n", "must define `problem`, and it is missing"),
            ("problem = 3\n", "must define `problem`, and it is a int"),
            ("\n\n1 / 0\n", "line 3: ZeroDivisionError"),
            ("def f(:\n", "line 1: SyntaxError"),
            (
                "import hubel\nproblem = hubel.physics.Problem(lambda u: u.t + u * float('nan'), domain=dict(t=(0, 1)))\n",
                "line 2: ValueError",
            ),
            (FILE.replace("return np.exp(-2.0 * t)", "return 1.0"), r"reference answers u as float64 \[\]"),
            (
                FILE.replace("def reference(t)", "def reference(x)"),
                "reference must be a function of arrays t",
            ),
            (
                FILE.replace("def reference(t)", "reference = 4\n\n\ndef other(t)"),
                "reference is 4; expected a function of t",
            ),
        ],
    )
    def test_refused(self, text, said, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            posing.posed(path)

    def test_that_is_none(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"does not exist; expected a Python file that defines `problem`"
        ):
            posing.posed(str(tmp_path / "none.py"))
        (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
        with pytest.raises(ValueError, match="no text in UTF-8"):
            posing.posed(tmp_path / "latin.py")


class TestWithData:
    def table(self, num=60):
        t = np.linspace(0, 1, num)
        noise = 0.01 * np.random.default_rng(0).normal(size=num)
        return {"t": t, "u": np.exp(-2 * t) + noise}

    def unknown_rate(self):
        return Problem(decay, domain={"t": (0, 1)}, k=unknown(1.0, positive=True))

    def test_unknowns_are_looked_for_in_a_file(self, tmp_path, capsys):
        table = self.table()
        rows = "\n".join(f"{u},{t},x" for t, u in zip(table["t"], table["u"], strict=True))
        (tmp_path / "points.csv").write_text(f"u, t, note\n{rows}\n")
        found = hubel.solve(
            self.unknown_rate(), data=tmp_path / "points.csv", budget=1.0, out=tmp_path / "run"
        )
        low, high = found.k.interval
        assert 1 < found.k.value < 3
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        told = {"rows": 60, "columns": ["t", "u"], "source": str(tmp_path / "points.csv")}
        assert about["data"] == about["data"] | told
        assert (about["unknowns"]["k"]["low"], about["unknowns"]["k"]["high"]) == (low, high)
        assert about["classical"] is None
        assert "95 % interval" in capsys.readouterr().err

    def test_intervals_that_were_computed_too_early_are_said(self, tmp_path):
        hubel.solve(self.unknown_rate(), data=self.table(), budget=1e-3, out=tmp_path / "run", quiet=True)
        about = json.loads((tmp_path / "run" / "run.json").read_text())
        assert "k had not come to rest: the intervals do not hold yet" in about["warnings"][-1]

    def test_resumed_with_the_table_of_the_folder(self, tmp_path, monkeypatch):
        def theta(folder):
            return Checkpoints(folder).read(("state",)).trees["state"]["tensors"]["theta"]

        def stopped_at(number, folder, **more):
            with monkeypatch.context() as patch:
                interrupt_at(number, patch)
                if more:
                    hubel.solve(self.unknown_rate(), out=folder, quiet=True, **more)
                else:
                    resume_solution(folder, equation=self.unknown_rate(), quiet=True)

        stopped_at(8, tmp_path / "whole", data=self.table())
        stopped_at(5, tmp_path / "run", data=self.table())
        assert not torch.equal(theta(tmp_path / "run"), theta(tmp_path / "whole"))
        stopped_at(3, tmp_path / "run")
        assert torch.equal(theta(tmp_path / "run"), theta(tmp_path / "whole"))
        with open(tmp_path / "run" / "data.npz", "ab") as file:
            file.write(b"x")
        with pytest.raises(DamagedRun, match="not the table that was begun with"):
            resume_solution(tmp_path / "run", equation=self.unknown_rate(), quiet=True)


class TestReadPoints:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("t,u\n0,1\n0.5,abc\n", r"line 3: u is 'abc'; expected a finite number"),
            ("t,u\n0,1\n\n0.5,nan\n", r"line 4: u is 'nan'"),
            ("t,u\n0\n", r"line 2: u is ''"),
            ("t,u,t\n0,1,2\n", "the column t 2 times"),
            ("a,b\n0,1\n", r"has columns a, b; expected t, u"),
            ("t,u\n", "has 1 lines; expected names of columns"),
            ("", "has 0 lines"),
        ],
    )
    def test_refuses(self, content, said, tmp_path):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(UnreadableData, match=said):
            read_points(tmp_path / "a.csv", ("t", "u"))

    def test_reads(self, tmp_path):
        (tmp_path / "a.tsv").write_text("\ufeffu\tt\n1+2j\t0\n-1 - 0.5j\t0.5\n", encoding="utf-8")
        found = read_points(tmp_path / "a.tsv", ("t", "u"))
        assert found["u"].tolist() == [1 + 2j, -1 - 0.5j]
        assert found["t"].dtype == np.float64
        np.savez(tmp_path / "a.npz", t=np.arange(2.0), other=np.arange(3))
        assert list(read_points(tmp_path / "a.npz", ("t", "u"))) == ["t"]

    def test_other_files(self, tmp_path):
        (tmp_path / "a.xlsx").write_text("")
        with pytest.raises(ValueError, match=r"is no \.csv, \.tsv or \.npz"):
            read_points(tmp_path / "a.xlsx", ("t",))
        with pytest.raises(FileNotFoundError, match="does not exist; expected a table with columns t"):
            read_points(tmp_path / "b.csv", ("t",))


def test_what_a_person_sees(tmp_path, capsys):
    hubel.solve("heat", tol=5e-2, out=tmp_path / "run")
    said = capsys.readouterr().err
    for part in (
        "To solve: Heat",
        "u_t = 0.4 u_xx",
        "a relative error of 0.05 within 5 min 45 s",
        "estimate",
        "without a network",
    ):
        assert part in said


def test_a_pressure_is_compared_up_to_a_function_of_time():
    equation = hubel.physics.equations.taylor_green()
    axes = {"t": np.linspace(0, 1, 3), "x": np.linspace(-1, 1, 9)[:-1], "y": np.linspace(-1, 1, 9)[:-1]}
    known = equation.reference.on(**axes).values
    shifted = known | {"p": known["p"] + np.array([1.0, -2.0, 5.0])[:, None, None], "u": known["u"] + 0.1}
    errors = errors_of(shifted, known, equation)
    assert errors["p"][0] < 1e-12 < errors["p"][1]
    assert abs(errors["u"][0] - 0.1) < 1e-12 and abs(errors["u"][2] - 0.1) < 1e-12
    assert errors["v"][0] == 0
    assert errors_of(shifted, known, equation, seen=("p",))["p"][0] > 1  # of which there are data
    relative = together(errors)
    assert abs(relative - 0.1 / errors["u"][1] / math.sqrt(3)) < 1e-12


def test_errors_are_of_the_points_that_were_found():
    known = {"u": np.array([3.0, 4.0, 5.0])}
    assert errors_of({"u": np.array([3.0, 4.1, np.nan])}, known, posing.named("heat").equation)[
        "u"
    ] == pytest.approx((0.1 / math.sqrt(2), 5 / math.sqrt(2), 0.1))
