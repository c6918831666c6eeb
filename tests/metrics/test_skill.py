import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from hubel.metrics import skill


def test_against_scikit_learn_and_its_meaning():
    generator = np.random.default_rng(0)
    y = generator.normal(size=(200, 3)) * [1, 10, 100]
    naive, ours = y + generator.normal(size=y.shape), y + 0.5 * generator.normal(size=y.shape)
    errors = [mean_squared_error(y, values, multioutput="raw_values") for values in (ours, naive)]
    found = skill(y, ours, naive)
    assert found.value == pytest.approx(np.mean(1 - errors[0] / errors[1]))
    assert found.low < 0.75 < found.high
    assert skill(y, y, naive).value == 1
    assert skill(y, naive, naive).value == pytest.approx(0)
    assert skill(y, naive, ours).value < 0


def test_the_interval_is_that_of_the_difference():
    """Errors that both share cancel: the interval is far narrower than that of one error alone."""
    generator = np.random.default_rng(1)
    y, shared = np.zeros(300), generator.standard_t(3, size=300)
    found = skill(y, 0.9 * shared, shared)
    assert found.value == pytest.approx(0.19)
    assert found.high - found.low < 1e-9


def test_a_reference_without_error_has_no_skill():
    found = skill([1.0, 2.0], [1.0, 3.0], [1.0, 2.0])
    assert np.isnan(found.value)
    assert "makes no error" in found.method
