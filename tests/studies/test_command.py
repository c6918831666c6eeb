"""`hubel study`: the list, a study by its name, and words that are wrong."""

import json
import sys

import pytest

from hubel import studies
from hubel.cli.main import main


def run(arguments, monkeypatch):
    """Exit code of `hubel ARGUMENTS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["hubel", *map(str, arguments)])
    with pytest.raises(SystemExit) as leaving:
        main()
    return leaving.value.code or 0


def test_lists_all_with_what_they_show(monkeypatch, capsys):
    assert run(["study"], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(studies.__all__)
    assert all(len(line.split()) > 6 and line.endswith(".") for line in lines)
    assert run(["study", "--json"], monkeypatch) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(studies.__all__)


def test_writes_where_told(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(["study", "symmetry-breaking", "--quick", "--seed", "5"], monkeypatch) == 0
    assert capsys.readouterr().out.strip() == "studies/symmetry_breaking/study.html"
    stored = json.loads((tmp_path / "studies/symmetry_breaking/numbers.json").read_text("utf-8"))
    assert stored["study"]["seed"] == 5
    assert (
        "hubel study symmetry_breaking --quick --seed 5"
        in (tmp_path / "studies/symmetry_breaking/study.html").read_text()
    )
    assert (
        run(["study", "symmetry_breaking", "--quick", "--seed", "5", "--out", "there", "--json"], monkeypatch)
        == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert answer["folder"] == "there" and answer["numbers"] == stored["numbers"]


def test_wrong_words(monkeypatch, capsys, tmp_path):
    assert run(["study", "groking"], monkeypatch) == 2
    assert "there is no study 'groking'. Did you mean \"grokking\"?" in capsys.readouterr().err
    (tmp_path / "taken").write_text("")
    assert run(["study", "perceptron", "--quick", "--out", tmp_path / "taken"], monkeypatch) == 1
    assert "taken" in capsys.readouterr().err
