"""What is read, kept and written of many examples: in pieces, and the same as at once."""

import json
import tracemalloc

import numpy as np
import pytest
import torch

from hubel.cli import answers
from hubel.core.types import Prediction
from hubel.data import Dataset
from hubel.objectives import BinaryCrossEntropy, CrossEntropy, GaussianLikelihood, SquaredError, objective
from hubel.show.evidence import Evidence
from hubel.workflows.conclude import NUM_WORST, worst_rows, write_arrays


def most_of(work):
    """The bytes that NumPy and Python take for `work()` at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "asked",
    [
        CrossEntropy(3, classes=("a", "b", "c"), temperature=1.7),
        BinaryCrossEntropy(2, classes=("u", "v")),
        SquaredError(2, center=(1.0, 2.0), scale=(3.0, 4.0), units=("m", "m")),
        GaussianLikelihood(2),
    ],
)
def test_scores_in_pieces_are_read_as_all_at_once(asked, monkeypatch):
    monkeypatch.setattr(objective, "LARGER", 500)
    scores = torch.randn(693, asked.num_outputs, generator=torch.Generator().manual_seed(0))
    pieces = [(some, torch.zeros(len(some))) for some in scores.split(128)]
    found, whole = asked.answered(iter(pieces)), asked.read(scores)
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(getattr(found, name), value) and getattr(found, name).dtype == value.dtype
        else:
            assert getattr(found, name) == value
    assert max(len(some) for some, _ in objective.in_larger(pieces)) <= 256


@pytest.mark.parametrize("real", [True, False])
def test_the_worst_rows_are_those_of_a_sort_of_all(real):
    generator = np.random.default_rng(0)
    p = np.round(generator.dirichlet([1, 1, 1], 300), 1)  # rounded, so that many are equally wrong
    y = generator.integers(0, 3, 300).astype(np.int32)
    values = p[:, :1].astype(np.float64)
    data = Dataset(
        inputs=p, targets=np.zeros((300, 1)) if real else y, classes=None if real else ("a", "b", "c")
    )
    prediction = Prediction(values=values) if real else Prediction(values=p.argmax(1), probabilities=p)
    error = values[:, 0] if real else 1 - p[np.arange(300), y]
    order = np.argsort(-error, kind="stable")
    order = order if real else order[(prediction.values != y)[order]]
    assert worst_rows(data, prediction).tolist() == order[:NUM_WORST].tolist()


def test_few_mistakes_are_all_shown():
    y = np.array([0, 1] * 20)
    values = np.where(np.arange(40) < 3, 1 - y, y)
    p = np.eye(2)[values] * 0.6 + 0.2
    prediction = Prediction(values=values, probabilities=p)
    assert worst_rows(Dataset(inputs=p, targets=y, classes=("a", "b")), prediction).tolist() == [0, 1, 2]


def test_answers_are_written_to_a_file_as_they_come(tmp_path):
    def rows(num):
        return ({"file": f"é.csv[{k}]", "class": "yes", "probability": 0.5} for k in range(num))

    few, many = (
        most_of(lambda num=num: answers.write(rows(num), as_json=True, out=tmp_path / f"{num}.jsonl"))
        for num in (500, 10_000)
    )
    assert many < 2 * few < (tmp_path / "10000.jsonl").stat().st_size
    assert [json.loads(line) for line in (tmp_path / "500.jsonl").read_text("utf-8").splitlines()] == list(
        rows(500)
    )
    answers.write(rows(2), as_json=False, out=tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().startswith(b"file,class,probability")


def test_answers_that_end_in_an_error_leave_no_file(tmp_path):
    def rows():
        yield {"file": "a", "class": "yes"}
        raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        answers.write(rows(), as_json=True, out=tmp_path / "a.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("kind", "first"), [("table", "row 3"), ("arrays", "3")])
def test_names_of_rows_are_made_where_they_are_shown(tmp_path, kind, first):
    many = 50_000
    numbers = np.arange(3, many + 3, dtype=np.int32)
    write_arrays(tmp_path, {"ids": numbers, "targets": numbers % 2, "values": numbers % 2})
    about = {"format": 1, "data": {"classes": ["a", "b"], "reading": {"kind": kind}}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    evidence = Evidence.read(tmp_path)
    assert evidence.predicted is not None and evidence.name_of(many) == ""
    assert most_of(lambda: evidence.ids[0]) < 5_000
    assert (evidence.ids[0], len(evidence.ids), len(evidence.ids[-2:])) == (first, many, 2)
