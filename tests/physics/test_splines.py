"""Functions by B-splines: derivatives, periods and roughness against formulas and quadrature."""

import math

import numpy as np
import pytest
import torch

from hubel.physics.jets import Jet
from hubel.physics.splines import Spline

RANGES = ((-1.0, 2.0), (0.0, 0.5), (3.0, 4.0))


def spline(dims=1, periodic=False, orders=4):
    jet = Jet.of([(orders, *(0,) * (dims - 1)), (1,) * dims])
    names = ("x", "y", "z")[:dims]
    return Spline(
        names=names,
        places=tuple(range(dims, 0, -1)),
        ranges=RANGES[:dims],
        periodic=(periodic,) * dims,
        jet=jet,
    )


def points(made, num=200):
    """Points of a domain whose first coordinate is none of the spline's, the others in another order."""
    share = torch.rand(num, len(made.names), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = torch.full((num, len(made.names) + 1), 99.0, dtype=torch.float64)
    for axis, (place, (low, high)) in enumerate(zip(made.places, made.ranges, strict=True)):
        found[:, place] = low + (high - low) * share[:, axis]
    return found


def fitted(made, function):
    """The numbers of the spline that is nearest to a function."""
    axes = [
        torch.linspace(*ends, {1: 60, 2: 24, 3: 10}[len(made.names)], dtype=torch.float64)
        for ends in made.ranges
    ]
    own = torch.cartesian_prod(*axes).view(-1, len(axes))
    return torch.linalg.lstsq(made.values(own).t(), function(*own.t())[:, None], driver="gelsd").solution[
        :, 0
    ]


def test_derivatives_are_those_of_the_function_that_was_fitted():
    made = spline()
    at = points(made)
    found = fitted(made, torch.sin) @ made.series(at)
    x = at[:, 1]
    expected = [torch.sin(x), torch.cos(x), -torch.sin(x) / 2, -torch.cos(x) / 6, torch.sin(x) / 24]
    for order, (own, truth) in enumerate(zip(found, expected, strict=True)):
        torch.testing.assert_close(own, truth, atol=1e-8 * 30**order, rtol=0)


def test_mixed_derivatives_of_two_coordinates():
    made = spline(dims=2, orders=2)
    at = points(made)
    x, y = at[:, 2], at[:, 1]
    found = fitted(made, lambda x, y: x**3 * y**2 + y) @ made.series(at)
    expected = {(0, 0): x**3 * y**2 + y, (1, 0): 3 * x**2 * y**2, (2, 0): 3 * x * y**2, (1, 1): 6 * x**2 * y}
    for index, truth in expected.items():
        torch.testing.assert_close(found[made.jet.places[index]], truth, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_periodic_splines_go_on_smoothly_at_the_end(dims):
    made = spline(dims, periodic=True, orders=3)
    at = points(made, 5)
    low, high = at.clone(), at.clone()
    low[:, made.places[0]], high[:, made.places[0]] = made.ranges[0]
    torch.testing.assert_close(made.series(low), made.series(high))
    torch.testing.assert_close(made.series(at)[0].sum(0), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize(("periodic", "flat"), [(False, 4), (True, 1)])
def test_what_is_not_rough_are_planes(periodic, flat):
    made = spline(3, periodic)
    assert len(made.roughness) == made.size - flat
    if not periodic:
        plane = fitted(made, lambda x, y, z: 2 * x - y + 3 * z - 1)
        assert float((made.roughness @ plane).norm()) < 1e-6


def test_roughness_is_the_mean_square_of_the_second_derivatives():
    made = spline()
    rough = made.roughness @ fitted(made, torch.sin)
    x = np.linspace(-1, 2, 100_001)
    assert float(rough @ rough) == pytest.approx(np.mean((1.5**2 * np.sin(x)) ** 2), rel=1e-4)
    made = spline(2)
    rough = made.roughness @ fitted(made, lambda x, y: x**2 * y)
    x, y = (side.ravel() for side in np.meshgrid(np.linspace(-1, 2, 601), np.linspace(0, 0.5, 601)))
    expected = np.mean((1.5**2 * 2 * y) ** 2 + 2 * (1.5 * 0.25 * 2 * x) ** 2)
    assert float(rough @ rough) == pytest.approx(expected, rel=5e-3)


def test_typical_coefficients_are_in_units_of_half_the_range():
    assert spline(orders=2).typical(3.0) == pytest.approx([3 / 1.5, 3 / 1.5**2])
    assert math.prod(spline(2).typical(1.0)) > 0
