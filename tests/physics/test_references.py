"""Known solutions against their own equations, other integrators, conservation laws, and each other."""

import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from hubel.physics import references
from hubel.physics.references import Reference, spectral
from hubel.physics.references.l_shape import largest_error
from hubel.physics.references.spectral import etdrk4

RANDOM = np.random.default_rng(0)


def slopes(function, points, step=1e-3):
    """Value, first and second derivatives by every coordinate, by central differences of order 4."""
    weights_1 = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    weights_2 = {-2: -1 / 12, -1: 4 / 3, 0: -5 / 2, 1: 4 / 3, 2: -1 / 12}

    def moved(place, by):
        return function(*[p + by * step * (k == place) for k, p in enumerate(points)])

    first = [sum(w * moved(k, by) for by, w in weights_1.items()) / step for k in range(len(points))]
    second = [sum(w * moved(k, by) for by, w in weights_2.items()) / step**2 for k in range(len(points))]
    return function(*points), first, second


def inside(*ranges, num=40):
    return [RANDOM.uniform(low, high, num) for low, high in ranges]


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


class TestBurgers:
    def test_solves_its_equation(self):
        nu = 0.05
        u, (ut, ux), (_, uxx) = slopes(
            lambda t, x: references.burgers(t, x, nu), inside((0.1, 1), (-0.9, 0.9)), 2e-3
        )
        assert np.abs(ut + u * ux - nu * uxx).max() < 1e-6
        assert np.abs(u).max() > 0.3

    def test_begins_and_ends_as_it_should(self):
        x = np.linspace(-1, 1, 21)
        np.testing.assert_allclose(references.burgers(np.zeros(21), x), -np.sin(np.pi * x), atol=1e-15)
        np.testing.assert_allclose(
            references.burgers(np.linspace(0, 1, 5)[:, None], [-1.0, 1.0]), 0, atol=1e-13
        )

    def test_a_hundred_nodes_are_enough(self):
        t, x = np.linspace(0.01, 1, 9)[:, None], np.linspace(-0.99, 0.99, 40)
        few, many = references.burgers(t, x), references.burgers(t, x, nodes=250)
        assert relative(few, many) < 1e-13
        assert relative(references.burgers(t, x, nodes=30), many) > 1e-6

    def test_the_integrals_by_adaptive_quadrature(self):
        t, x, nu = 0.4, -0.07, 0.01 / math.pi

        def weight(y):
            return math.exp(
                (-math.cos(math.pi * (x - y)) + 1) / (2 * math.pi * nu) - y**2 / (4 * nu * t) - 90
            )

        places = {"points": [-0.3, -0.1, 0, 0.1, 0.3], "limit": 500, "epsabs": 0, "epsrel": 1e-12}
        above = quad(lambda y: math.sin(math.pi * (x - y)) * weight(y), -1, 1, **places)[0]
        below = quad(weight, -1, 1, **places)[0]
        assert abs(references.burgers(np.array(t), np.array(x)) + above / below) < 1e-10

    def test_a_small_viscosity_does_not_overflow(self):
        x = np.linspace(0.1, 0.9, 5)
        u = references.burgers(np.array(0.2), x, 4e-4 / math.pi, nodes=300)
        assert np.isfinite(u).all()
        feet = x.copy()  # before the shock forms it is nearly what characteristics carry: x = y - sin(pi y) t
        for _ in range(60):
            feet -= (feet - np.sin(np.pi * feet) * 0.2 - x) / (1 - np.pi * np.cos(np.pi * feet) * 0.2)
        np.testing.assert_allclose(u, -np.sin(np.pi * feet), atol=2e-3)

    def test_the_spectral_method_agrees(self):
        t, x = np.linspace(0, 1, 6), np.linspace(-1, 1, 101)
        exact = references.burgers(t[:, None], x)
        assert relative(references.burgers_spectral(t, x), exact) < 3e-8

    @pytest.mark.parametrize(
        ("given", "said"), [({"nu": 0.0}, "nu is 0"), ({"t": np.array(-0.1)}, "begins at 0")]
    )
    def test_refuses(self, given, said):
        with pytest.raises(ValueError, match=said):
            references.burgers(**{"t": np.array(0.1), "x": np.array(0.0), **given})


def test_advection_heat_wave_and_helmholtz_solve_their_equations():
    def carried(t, x):
        return references.advection(t, x, 3.0, np.sin)

    _, (ut, ux), _ = slopes(carried, inside((0, 1), (0, 6)))
    assert np.abs(ut + 3 * ux).max() < 1e-9
    np.testing.assert_allclose(carried(0.0, np.arange(3.0)), np.sin(np.arange(3.0)))
    _, (ut, _), (_, uxx) = slopes(lambda t, x: references.heat(t, x, 0.4, 2), inside((0, 0.2), (0.1, 0.9)))
    assert np.abs(ut - 0.4 * uxx).max() < 1e-5 < np.abs(ut).max()
    _, _, (utt, uxx) = slopes(lambda t, x: references.wave(t, x, 2.0), inside((0, 1), (0, 1)))
    assert np.abs(utt - 4 * uxx).max() < 1e-3 < 1 < np.abs(utt).max()
    _, (at_rest, _), _ = slopes(references.wave, [np.zeros(5), np.linspace(0.1, 0.9, 5)])
    assert np.abs(at_rest).max() < 1e-9
    u, _, (uxx, uyy) = slopes(references.helmholtz, inside((-1, 1), (-1, 1)))
    assert np.abs(uxx + uyy + 17 * np.pi**2 * u).max() < 1e-5
    edge = np.linspace(-1, 1, 7)
    for function, ends in ((references.helmholtz, (-1, 1)), (lambda x, t: references.wave(t, x), (0, 1))):
        for end in ends:
            np.testing.assert_allclose(function(np.full(7, end), edge), 0, atol=1e-13)


@pytest.mark.parametrize("flow", ["taylor_green", "kovasznay"])
def test_flows_keep_momentum_and_volume(flow):
    nu = 0.03 if flow == "taylor_green" else 1 / 40

    def field(place):
        if flow == "kovasznay":
            return lambda t, x, y: references.kovasznay(x, y)[place] + 0 * t
        return lambda t, x, y: references.taylor_green(t, x, y, nu)[place]

    points = inside((0, 1), (-0.5, 1), (-0.5, 1.5))
    (u, (ut, ux, uy), (_, uxx, uyy)), (v, (vt, vx, vy), (_, vxx, vyy)), (_, (_, px, py), _) = (
        slopes(field(place), points) for place in range(3)
    )
    assert np.abs(ux + vy).max() < 1e-8
    assert np.abs(ut + u * ux + v * uy + px - nu * (uxx + uyy)).max() < 1e-6
    assert np.abs(vt + u * vx + v * vy + py - nu * (vxx + vyy)).max() < 1e-6
    assert np.abs(px).max() > 0.1


class TestSpectral:
    def test_exponential_runge_kutta_is_of_order_four(self):
        linear = np.array([-1.0, -20.0])

        def nonlinear(v):
            return np.array([np.sin(v[1]), v[0] ** 2])

        exact = solve_ivp(
            lambda t, v: linear * v + nonlinear(v), (0, 1), [1.0, 0.5], method="Radau", rtol=1e-12, atol=1e-14
        ).y[:, -1]
        errors = [
            np.abs(etdrk4(np.array([1.0, 0.5]), linear, nonlinear, np.array([1.0]), step)[0] - exact).max()
            for step in (1 / 20, 1 / 40)
        ]
        assert 11 < errors[0] / errors[1] < 22
        assert errors[1] < 1e-6

    def test_korteweg_de_vries_has_its_soliton(self):
        speed, dispersion = 0.8, 0.01
        width = 2 * math.sqrt(dispersion / speed)

        def soliton(x):
            return 3 * speed / np.cosh(x / width) ** 2

        t, x = np.array([0.0, 0.7]), np.linspace(-2, 2, 31)
        found = references.kdv(
            t, x, dispersion=dispersion, start=soliton, low=-6.0, period=12.0, modes=512, step=1 / 400
        )
        np.testing.assert_allclose(found[1], soliton(x - speed * t[1]), atol=3e-6)

    def test_korteweg_de_vries_keeps_what_it_must(self):
        t, x = np.array([0.0, 0.5, 1.0]), -1 + 2 * np.arange(512) / 512
        u = references.kdv(t, x, step=1 / 2000)
        ux = np.fft.irfft(np.pi * 1j * np.arange(257) * np.fft.rfft(u), 512)
        np.testing.assert_allclose(u.mean(1), 0, atol=1e-13)
        np.testing.assert_allclose((u**2).mean(1), 0.5, rtol=1e-6)
        energy = (u**3 / 6 - 0.022**2 / 2 * ux**2).mean(1)
        np.testing.assert_allclose(energy, energy[0], rtol=1e-4)
        assert u[2].max() > 2  # the solitons have come out of the cosine

    def test_allen_cahn_by_chebyshev_points_and_radau(self):
        """Even about 0 and 1: half of the period, with slope 0 at both ends, on points that crowd where the kink is."""
        num = 48
        k = np.arange(num + 1)
        s = np.cos(np.pi * k / num)
        c = np.where((k == 0) | (k == num), 2.0, 1.0) * (-1.0) ** k
        d = np.outer(c, 1 / c) / (s[:, None] - s + np.eye(num + 1))
        d = 2 * (d - np.diag(d.sum(1)))
        x = (s + 1) / 2

        def rate(t, u):
            slope = d @ u
            slope[[0, -1]] = 0
            return 1e-3 * (d @ slope) + 5 * u - 5 * u**3

        found = solve_ivp(
            rate, (0, 0.5), x**2 * np.cos(np.pi * x), method="BDF", rtol=1e-8, atol=1e-10, t_eval=[0.5]
        ).y[:, -1]
        mine = references.allen_cahn(np.array([0.5]), x[::-1], diffusivity=1e-3, modes=1024, step=1 / 100)[0]
        np.testing.assert_allclose(mine, found[::-1], atol=2e-5)
        assert np.abs(mine - x[::-1] ** 2 * np.cos(np.pi * x[::-1])).max() > 0.1

    @pytest.mark.parametrize(
        ("solve", "coarse", "fine", "accuracy"),
        [
            (references.allen_cahn, {"modes": 1024}, {"modes": 4096}, 6e-6),
            (references.kdv, {"step": 1 / 2000}, {"step": 1 / 4000}, 1e-6),
        ],
    )
    def test_converges(self, solve, coarse, fine, accuracy):
        t, x = np.array([0.0, 0.4]), np.linspace(-1, 1, 129)
        assert 0 < relative(solve(t, x, **coarse), solve(t, x, **fine)) < accuracy

    def test_schroedinger_repeats_two_solitons(self):
        """2 / cosh(x) is two bound solitons: |h(t, 0)| = 4 at a quarter of their period of pi / 2, and 2 again at the whole."""
        t = np.array([math.pi / 4, math.pi / 2])
        wide = {"low": -15.0, "period": 30.0, "modes": 512, "step": math.pi / 2 / 2000}
        found = references.schroedinger(t, np.array([0.0, 1.0]), **wide)
        np.testing.assert_allclose(np.abs(found[:, 0]), [4, 2], atol=1e-5)
        np.testing.assert_allclose(np.abs(found[1, 1]), 2 / np.cosh(1), atol=1e-5)

    def test_schroedinger_is_of_order_four_and_keeps_its_norm(self):
        t, x = np.array([0.8]), -5 + 10 * np.arange(128) / 128

        def smooth(places):
            return (1 + 0.3 * np.cos(np.pi * places / 5)) + 0j

        runs = [
            references.schroedinger(t, x, start=smooth, modes=128, step=0.8 / n)[0] for n in (40, 80, 640)
        ]
        errors = [relative(run, runs[2]) for run in runs[:2]]
        assert 12 < errors[0] / errors[1] < 20
        assert abs((np.abs(runs[0]) ** 2).mean() - (np.abs(smooth(x)) ** 2).mean()) < 1e-12

    def test_a_time_before_the_beginning_is_refused(self):
        with pytest.raises(ValueError, match=r"a time is -0\.1"):
            references.kdv(np.array([-0.1]), np.array([0.0]))

    def test_between_the_points_the_series_is_evaluated(self):
        x = np.array([0.123, -0.77])
        modes = -1 + 2 * np.arange(8) / 8
        series = np.fft.rfft(np.cos(np.pi * modes) + np.sin(2 * np.pi * modes))[None]
        np.testing.assert_allclose(
            spectral.evaluated(series, 8, x, -1.0, 2.0)[0], np.cos(np.pi * x) + np.sin(2 * np.pi * x)
        )


class TestLShape:
    def test_the_boundary_bounds_the_error(self):
        assert largest_error() < 1e-8

    def test_solves_poissons_equation(self):
        def value(x, y):
            return np.array([references.l_shape([a], [b])[0, 0] for a, b in zip(x, y, strict=True)])

        places = [np.array([-0.5, -0.6, 0.5, -0.3]), np.array([-0.5, 0.5, -0.4, -0.2])]
        _, _, (uxx, uyy) = slopes(value, places, 1e-2)
        np.testing.assert_allclose(uxx + uyy, -1, atol=1e-5)

    def test_finite_differences_come_close(self):
        num = 32
        axis = np.linspace(-1, 1, 2 * num + 1)[1:-1]
        grid = {
            (i, j) for i in range(len(axis)) for j in range(len(axis)) if not (axis[i] >= 0 and axis[j] >= 0)
        }
        order = {place: k for k, place in enumerate(sorted(grid))}
        from scipy.sparse import lil_matrix
        from scipy.sparse.linalg import spsolve

        matrix = lil_matrix((len(order), len(order)))
        for (i, j), row in order.items():
            matrix[row, row] = 4
            for other in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if other in order:
                    matrix[row, order[other]] = -1
        u = spsolve(matrix.tocsr(), np.full(len(order), 1 / num**2))
        known = references.l_shape(axis, axis)
        mine = np.array([known[place] for place in order])
        assert relative(u, mine) < 0.01

    def test_outside_is_nothing(self):
        assert np.isnan(references.l_shape(np.array([0.5, 2.0]), np.array([0.5]))).all()


BURGERS = {"flux": lambda u: u**2 / 2, "slope": lambda u: u}
BUCKLEY_LEVERETT = {  # neither convex nor concave: a shock with a fan behind it
    "flux": lambda u: u**2 / (u**2 + (1 - u) ** 2),
    "slope": lambda u: 2 * u * (1 - u) / (u**2 + (1 - u) ** 2) ** 2,
}


class TestRiemann:
    @pytest.mark.parametrize(
        ("law", "left", "right"), [("burgers", 1.2, 0.4), ("burgers", -0.5, 1.0), ("oil", 1.0, 0.0)]
    )
    def test_godunovs_scheme_converges_to_it(self, law, left, right):
        flux, slope = (BURGERS if law == "burgers" else BUCKLEY_LEVERETT).values()
        errors = []
        for num in (100, 400):
            x = -1 + 3 * (np.arange(num) + 0.5) / num
            u = np.where(x < 0, left, right).astype(float)
            steps = num
            for _ in range(steps):  # to t = 0.5
                a, b = np.concatenate([[left], u]), np.concatenate([u, [right]])
                between = a + (b - a) * np.linspace(0, 1, 41)[:, None]
                values = flux(between)
                through = np.where(a < b, values.min(0), values.max(0))
                u = u - 0.5 / steps * num / 3 * np.diff(through)
            exact = references.riemann(np.full(num, 0.5), x, left=left, right=right, flux=flux, slope=slope)
            errors.append(np.abs(u - exact).mean())
        assert errors[1] < 0.012
        assert errors[1] < 0.5 * errors[0]

    def test_rankine_hugoniot_and_welges_tangent(self):
        x = np.linspace(0, 2, 20_001)
        u = references.riemann(np.ones_like(x), x, left=1.0, right=0.0, **BUCKLEY_LEVERETT)
        front = np.flatnonzero(np.diff(u) < -0.1)
        assert len(front) == 1
        behind = u[front[0]]
        assert abs(behind - math.sqrt(0.5)) < 1e-3  # where the tangent from 0 touches the flux
        assert abs(x[front[0]] - BUCKLEY_LEVERETT["flux"](behind) / behind) < 2e-4

    def test_mass_is_what_flows_in(self):
        x = np.linspace(-1, 2, 30_001)
        u = references.riemann(np.full_like(x, 0.5), x, left=-0.5, right=1.0, **BURGERS)
        start = np.where(x < 0, -0.5, 1.0)
        gained = np.trapezoid(u - start, x)
        assert abs(gained - 0.5 * (0.125 - 0.5)) < 1e-4

    def test_refuses(self):
        with pytest.raises(ValueError, match="begins at 0"):
            references.riemann(np.array(-1.0), np.array(0.0), left=1, right=0, **BURGERS)
        with pytest.raises(ValueError, match="not finite everywhere between 0 and 1"):
            references.riemann(
                np.array(1.0), np.array(0.0), left=0, right=1, flux=lambda u: np.log(u - 2), slope=lambda u: u
            )


def test_a_reference_is_timed_on_a_grid():
    known = Reference(
        how="closed form", accuracy=1e-15, known_by="it", solve=lambda t, x: {"u": t[:, None] * x}
    ).on(t=np.array([1.0, 2.0]), x=np.arange(3.0))
    assert known.values["u"].tolist() == [[0, 1, 2], [0, 2, 4]]
    assert known.seconds > 0


@pytest.mark.parametrize("axis", [[1.0, 0.0], [[1.0]], [math.nan], []])
def test_an_axis_that_is_none_is_refused(axis):
    reference = Reference(how="", accuracy=0, known_by="", solve=lambda x: {"u": x})
    with pytest.raises(ValueError, match="the axis x has shape"):
        reference.on(x=np.array(axis))
