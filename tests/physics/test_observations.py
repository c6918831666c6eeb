"""Tables of measured values: what is read, and what is refused."""

import numpy as np
import pytest
import torch

from hubel.physics import Problem, unknown
from hubel.physics.observations import Observations

PROBLEM = Problem(lambda u, a: u.t + a * u.x, domain={"t": (0, 1), "x": (0, 2)}, a=unknown())
GOOD = {"t": np.array([0.1, 0.2]), "x": np.array([1.0, 2.0]), "u": np.array([3.0, -4.0])}


def test_columns_become_points_and_values():
    found = Observations.of(GOOD, PROBLEM)
    assert found.points.tolist() == [[0.1, 1.0], [0.2, 2.0]] and found.values["u"].tolist() == [3.0, -4.0]
    assert found.scales["u"] == pytest.approx(12.5**0.5)


def test_a_data_frame_and_tensors_are_tables_too():
    pandas = pytest.importorskip("pandas")
    for table in (pandas.DataFrame(GOOD), {name: torch.tensor(column) for name, column in GOOD.items()}):
        assert torch.equal(Observations.of(table, PROBLEM).points, Observations.of(GOOD, PROBLEM).points)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"x": None}, ValueError, "no column 'x'"),
        ({"u": None}, ValueError, "no column of a field"),
        ({"x": np.array([1.0, 2.5])}, ValueError, "1 of 2 rows .* x = 2.5 in row 1"),
        ({"u": np.array([np.nan, 1.0])}, ValueError, "1 missing .* row 0"),
        ({"u": np.array([1.0])}, ValueError, "one length"),
        ({"u": np.array(["a", "b"])}, TypeError, "expected real numbers"),
        ({"u": np.ones((2, 1))}, ValueError, r"\[2, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(change, kind, text):
    table = {name: column for name, column in {**GOOD, **change}.items() if column is not None}
    with pytest.raises(kind, match=text):
        Observations.of(table, PROBLEM)


def test_no_table_at_all():
    with pytest.raises(TypeError, match="must be a table"):
        Observations.of([1, 2, 3], PROBLEM)
