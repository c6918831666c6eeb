import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import digits_run
from test_report import Page

from hubel.show import Evidence, report

FILES = ("run.json", "curves.jsonl", "predictions.npz", "findings.jsonl")


def test_an_empty_folder_gives_a_page_that_says_what_is_not_recorded(tmp_path):
    text = Page(report(tmp_path)).text
    assert "run.json is missing." in text
    for what in (
        "The test score is",
        "The learning curves are",
        "The recipe is",
        "What entered the network is",
    ):
        assert f"{what} not recorded." in text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe\x00{[", b"[1, 2]\n", b"null", b'{"epoch": 1e400}\n']
)
def test_a_missing_or_damaged_file_is_no_error(tmp_path, digits, name, content):
    folder = shutil.copytree(digits, tmp_path / "run")
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    assert "Reproduce" in Page(report(folder)).text


def test_half_an_archive_is_no_error(tmp_path, digits):
    folder = shutil.copytree(digits, tmp_path / "run")
    content = (folder / "predictions.npz").read_bytes()
    (folder / "predictions.npz").write_bytes(content[: len(content) // 2])
    assert "predictions.npz could not be read" in Page(report(folder)).text
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    (folder / "predictions.npz").write_bytes(bytes(damaged))
    Page(report(folder))


def test_pickles_are_not_opened(tmp_path, digits):
    folder = shutil.copytree(digits, tmp_path / "run")
    np.savez(folder / "predictions.npz", targets=np.array([print], dtype=object), values=np.zeros(1))
    evidence = Evidence.read(folder)
    assert "targets" not in evidence.arrays
    assert any("targets could not be read" in problem for problem in evidence.problems)


@pytest.mark.parametrize(
    "arrays",
    [
        {"targets": np.zeros(5), "values": np.zeros(4)},
        {"targets": np.full(5, 10), "values": np.zeros(5)},
        {"targets": np.full(5, -1), "values": np.zeros(5)},
        {"targets": np.full(5, np.nan), "values": np.zeros(5)},
        {"targets": np.zeros((5, 2)), "values": np.zeros((5, 2))},
        {"targets": np.array(["a"]), "values": np.array(["b"])},
        {"targets": np.zeros(3, int), "values": np.ones(3, int), "probabilities": np.full((3, 10), np.nan)},
        {
            "targets": np.zeros(3, int),
            "values": np.ones(3, int),
            "probabilities": np.ones((3, 10), np.float32),
        },
        {"targets": np.zeros(3, int), "values": np.ones(3, int), "worst_rows": np.array([7, 8])},
        {
            "targets": np.zeros(3, int),
            "values": np.ones(3, int),
            "worst_pictures": np.zeros((3, 4)),
            "worst_rows": np.arange(3),
        },
        {"entering_pictures": np.zeros((0, 3, 4, 4)), "entering_targets": np.zeros(0)},
        {"entering_pictures": np.full((2, 3, 4, 4), np.nan), "entering_targets": np.zeros(9)},
        {"entering_pictures": np.ones((2, 7)), "entering_low": np.array(["x"]), "entering_high": np.zeros(2)},
    ],
)
def test_arrays_of_another_shape_are_no_error(tmp_path, digits, arrays):
    folder = shutil.copytree(digits, tmp_path / "run")
    np.savez(folder / "predictions.npz", **arrays)
    Page(report(folder))


def test_the_last_line_of_an_epoch_wins_after_a_resume(tmp_path):
    lines = [
        {"epoch": 1, "loss": 3},
        {"epoch": 2, "loss": 2},
        {"epoch": 2, "loss": 1.5},
        {"epoch": 3, "loss": None},
    ]
    (tmp_path / "curves.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"epoch": 4, "lo')
    assert [row["loss"] for row in Evidence.read(tmp_path).epochs] == [3, 1.5, None]


def test_an_unknown_format_and_a_missing_folder_are_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="has format 2; this version of hubel reads format 1"):
        Evidence.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        Evidence.read(tmp_path / "none")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("name", "created", "data", "split", "net", "objective", "recipe", "reasons", "precision", "test")
MORE = (
    "test_looks",
    "seconds",
    "resumed",
    "machine",
    "versions",
    "status",
    "stopped",
    "preprocessing",
    "command",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return digits_run(tmp_path_factory.mktemp("runs") / "small", epochs=2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(replaced=st.dictionaries(st.sampled_from(KEYS + MORE), anything, max_size=4), inside=anything)
def test_any_json_in_any_place_is_no_error(small, replaced, inside):
    evidence = Evidence.read(small)
    data = {**evidence.about["data"], "counts": inside, "sizes": inside, "units": inside, "shape": inside}
    about = {**evidence.about, "data": data, **replaced}
    Page(report(Evidence(folder=small, about=about, epochs=evidence.epochs, findings=evidence.findings)))
