import numpy as np
import pytest

from hubel.data import assign_parts, load
from hubel.data.boxes import objects_of
from hubel.data.light_echoes import _blurred, _light_curve, simulate_light_echoes

COUNTS = {"train": (6, 0), "validation": (2, 1), "test": (3, 4)}


@pytest.fixture(scope="module")
def data():
    return simulate_light_echoes(counts=COUNTS)


def test_nineteen_fields_train_and_some_that_test_have_no_echo():
    data = load("light-echoes")
    rows = assign_parts(data, seed=0)
    has_echo = (data.targets[:, :, 4] == 0).any(1)
    assert len(rows.train) == 19 and has_echo[rows.train].all()
    assert has_echo[rows.test].sum() == 40 and (~has_echo[rows.test]).sum() == 20
    assert 0 < has_echo[rows.validation].sum() < len(rows.validation)
    assert len(set(data.groups.tolist())) == len(data)
    assert data.inputs.shape == (88, 1, 192, 192) and data.inputs.dtype == np.float32
    assert np.abs(data.inputs).max() == 10
    assert data.symmetries == {"flip_horizontal", "flip_vertical", "rotate_90"}


def test_fields_follow_from_the_seed(data):
    assert simulate_light_echoes(counts=COUNTS).fingerprint == data.fingerprint
    assert simulate_light_echoes(counts=COUNTS, seed=1).fingerprint != data.fingerprint
    few = simulate_light_echoes(counts={"test": (3, 0)})
    assert np.array_equal(few.inputs, data.inputs[data.part == "test"][:3])


def test_outside_of_the_boxes_there_is_noise_and_inside_there_are_signals(data):
    echoes, dipoles = [], []
    for field, boxes in zip(data.inputs[:, 0], data.targets, strict=True):
        outside = np.ones(field.shape, bool)
        for x0, y0, x1, y1, kind, _ in objects_of(boxes).astype(int):
            inside = field[y0:y1, x0:x1]
            outside[y0:y1, x0:x1] = False
            if kind == 0:
                echoes.append((inside**2).mean())
            else:
                assert np.abs(inside).max() > 2.5
                dipoles.append(min(inside.max(), -inside.min()))
        assert field[outside].std() == pytest.approx(1.0, abs=0.1)
        assert np.abs(field[outside]).max() < 6
    assert len(echoes) > 15 and np.median(echoes) > 1.5 and min(echoes) > 1.0
    assert np.mean(np.array(dipoles) > 2) > 0.8, "a star is bright on one side and dark on the other"


def test_the_light_curve_and_the_seeing():
    s = np.linspace(-1, 40, 400_001)
    assert np.trapezoid(_light_curve(s), s) == pytest.approx(1 - 0.3 / 1.3, abs=1e-6)
    point = np.zeros((65, 65))
    point[32, 32] = 1
    seen = _blurred(point, 3.0)
    assert seen.sum() == pytest.approx(1)
    x = np.arange(65) - 32
    deviation = np.sqrt((seen.sum(0) * x**2).sum())
    assert deviation == pytest.approx(3 / np.sqrt(8 * np.log(2)), rel=1e-3)
