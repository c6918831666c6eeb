"""The page of a run on text: colours, worst passages, confusions and costs as they are stored; nothing in a text is markup."""

import json

import numpy as np
import pytest
from made_runs import about_run, write_run
from test_report import Page, changed, downloads

from hubel.show import Evidence, figures, report
from hubel.show.text import coloured, symbol_name, text

ALPHABET = ("\n", " ", "<", "a", "b", "�")
N, L = 30, 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 5, (N, L)).astype(np.uint8)
    bits = generator.exponential(2.0, (N, L)).astype(np.float32)
    bits[7] += 3
    about = about_run(
        name="poem",
        data={"name": "poem", "examples": N, "shape": [L], "dtype": "uint8", "classes": None},
        test={
            "bits_per_symbol": {"value": 2.1, "low": 2.0, "high": 2.2, "level": 0.95, "count": N, "method": "bootstrap"},
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "level": 0.95, "count": N, "method": "bootstrap"},
        },
        initial_loss=float(np.log(6)),
        network={"name": "hubel.nets.character_lm", "arguments": {"inputs": 6}, "parameters": 1234},
    )  # fmt: skip
    about["objective"] = {"is": "hubel.objectives.NextSymbol", "num_outputs": 6, "alphabet": list(ALPHABET)}
    about["written"] = {
        "text": "ab<script>alert(1)</script>\nab",
        "temperature": 1.0,
        "seed": 3,
        "length": 30,
    }
    folder = tmp_path_factory.mktemp("runs") / "poem"
    lines = [(1.7, 1.6, {"bits_per_symbol": 2.4, "accuracy": 0.4}, 0.1), (1.5, 1.5, {"bits_per_symbol": 2.2, "accuracy": 0.5}, 0.0)]  # fmt: skip
    write_run(
        folder, about, lines,
        ids=np.array([str(100 + L * k) for k in range(N)]),
        targets=targets,
        values=np.where(generator.random((N, L)) < 0.5, targets, 3).astype(np.int64),
        surprisals=bits,
        worst_rows=np.array([7]),
        entering_symbols=targets[:16].astype(np.int64),
        entering_targets=targets[:16],
    )  # fmt: skip
    return folder


def test_the_page_says_bits_and_shows_the_text(run):
    source = report(run)
    page = Page(source)
    assert "2.1" in page.text and "bits for each symbol of 30 windows of the test text" in page.text
    assert "Holding all symbols for equally likely would take 2.58 bits" in page.text  # log2 6
    assert "The whole interval lies below." in page.text
    assert "loss (nats per symbol)" in page.text and "bits per symbol" in page.text
    assert "What it writes" in page.text and "temperature 1, seed 3" in page.text
    assert "The worst passages" in page.text and "at symbol 240" in page.text  # row 7
    assert "What enters the network" in page.text and "Windows of 20 symbols" in page.text
    assert "<script>" not in source and "&lt;script&gt;alert(1)" in source
    assert not [a for a in page.all("img") if not a.get("src", "").startswith("data:")]
    assert "are not recorded." not in page.text and "is not recorded." not in page.text


def test_the_numbers_are_those_stored(run):
    evidence = Evidence.read(run)
    targets, values, bits = evidence.foretold
    found = text(evidence)
    (first,) = found["passage"]  # windows that follow one another are one paragraph
    shown = "".join(piece["text"] for piece in first)
    assert shown == "".join(ALPHABET[k] for k in targets.ravel())
    shades = np.concatenate([[piece["shade"]] * len(piece["text"]) for piece in first])
    assert np.array_equal(shades, np.minimum(np.round(bits.ravel()), 8))
    top = found["confusions"][0]
    pairs = [(t, v) for t, v in zip(targets.ravel(), values.ravel(), strict=True) if t != v]
    most = max(set(pairs), key=pairs.count)
    assert (top["came"], top["said"]) == (symbol_name(ALPHABET[most[0]]), symbol_name(ALPHABET[most[1]]))
    assert top["count"] == str(pairs.count(most))
    page = Page(report(run))
    rows = [line.split(",") for line in downloads(page)["symbols.csv"].splitlines()]
    assert rows[0] == ["symbol", "count", "bits", "share", "right"]
    assert sum(int(row[1]) for row in rows[1:]) == N * L
    assert sum(float(row[3].removesuffix(" %")) for row in rows[1:]) == pytest.approx(100, abs=0.5)
    by_symbol = {row[0]: float(row[2]) for row in rows[1:]}
    assert by_symbol["↵"] == pytest.approx(bits[targets == 0].mean(), rel=0.01)


def test_windows_apart_are_paragraphs(run, tmp_path):
    folder = changed(run, tmp_path / "apart", lambda about: None)
    with np.load(folder / "predictions.npz") as stored:
        arrays = dict(stored)
    arrays["ids"] = np.array([str(50 * k) for k in range(N)])
    np.savez(folder / "predictions.npz", **arrays)
    assert len(text(Evidence.read(folder))["passage"]) == N


def test_what_is_damaged_is_left_out(run, tmp_path):
    for name, wrong in (
        ("surprisals", np.full((N, L), np.nan, np.float32)),
        ("surprisals", np.zeros((N, L + 1), np.float32)),
        ("targets", np.full((N, L), 6, np.uint8)),
        ("values", np.zeros((N, 3), np.int64)),
        ("entering_symbols", np.full((4, L), 99)),
    ):
        folder = tmp_path / f"{name}-{wrong.shape}-{wrong.flat[0]}"
        folder = changed(run, folder, lambda about: about.update(written={"text": 3}))
        with np.load(folder / "predictions.npz") as stored:
            arrays = dict(stored) | {name: wrong}
        np.savez(folder / "predictions.npz", **arrays)
        page = Page(report(folder))
        assert "What it writes" not in page.text
        expected = (
            "What entered the network is"
            if name == "entering_symbols"
            else "The predictions of single symbols are"
        )
        assert f"{expected} not recorded." in page.text
    (folder / "predictions.npz").unlink()
    about = json.loads((folder / "run.json").read_text())
    assert "2.1" in Page(report(folder)).text
    assert about["test"]["bits_per_symbol"]["value"] == 2.1


def test_figures_of_a_text(run):
    assert len(figures.curves(run).axes) == 2
    with pytest.raises(ValueError, match="holds no class predictions"):
        figures.confusion(run)
    with pytest.raises(ValueError, match="holds no pictures"):
        figures.mistakes(run)
    with pytest.raises(ValueError, match="holds no predictions of real values"):
        figures.predicted(run)


def test_pieces_of_one_shade_are_put_together():
    found = coloured(np.array([3, 4, 1, 3]), np.array([0.4, 0.3, 20.0, 7.6]), ALPHABET)
    assert found == [{"text": "ab", "shade": 0}, {"text": " a", "shade": 8}]
    assert symbol_name("\x07\r") == r"U+0007\r"


def test_line_ends_of_two_symbols_are_one(tmp_path):
    alphabet = ("\n", "\r", "a", "�")
    pieces = coloured(np.array([2, 1, 0, 1, 0, 2]), np.array([0.0, 5.0, 0.0, 0.0, 3.0, 0.0]), alphabet)
    assert "".join(piece["text"] for piece in pieces) == "a\n\na"
