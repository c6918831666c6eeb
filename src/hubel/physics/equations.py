"""Equations with a name: each a problem, what is known of its solution, and who posed it.

Every public function here answers an `Equation`; `hubel solve NAME` solves it. The contract tests find them by themselves: the reference must
fulfil the equation and its conditions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, cos, pi, sin

from hubel.physics import references, shapes
from hubel.physics.problem import Problem
from hubel.physics.references import Reference
from hubel.physics.unknown import unknown

__all__ = [
    "Equation",
    "advection",
    "allen_cahn",
    "burgers",
    "burgers_discovery",
    "diffusion_discovery",
    "heat",
    "helmholtz",
    "kdv",
    "kovasznay",
    "poisson",
    "schroedinger",
    "taylor_green",
    "wave",
]

CLOSED = "the formula is exact: only rounding is left"


@dataclass(frozen=True, kw_only=True)
class Equation:
    """A problem with what is known of it.

    `formula` and `source` are for a reader. `reference` is its solution, `classical` what a method without networks needs for it (the reference
    itself where there is no other). `sizes` are the points of the grid on which errors are measured, by coordinate. `measured(seed,
    noise)` makes the data of a problem with unknowns, and `truth` are their values; of unknown functions functions of arrays.
    """

    title: str
    formula: str
    source: str
    problem: Problem
    reference: Reference | None
    sizes: Mapping[str, int]
    classical: Reference | None = None
    truth: Mapping[str, float | Callable[..., np.ndarray]] = field(default_factory=dict)
    measured: Callable[[int, float], Mapping[str, np.ndarray]] | None = None

    def axes(self) -> dict[str, np.ndarray]:
        """The axes of the grid on which errors are measured: equal steps from end to end."""
        return {name: np.linspace(*self.problem.ranges[name], size) for name, size in self.sizes.items()}


def burgers(nu: float = 0.01 / math.pi) -> Equation:
    """Burgers' equation, whose sine steepens to a front of the width of its viscosity `nu`.

    >>> burgers().problem.parameters["nu"] == 0.01 / math.pi
    True
    """

    def burgers(u, nu):
        return u.t + u * u.x - nu * u.xx

    problem = Problem(
        burgers,
        domain={"t": (0, 1), "x": (-1, 1)},
        nu=nu,
        initial=lambda x: -sin(pi * x),
        boundary={"x": 0.0},
    )
    return Equation(
        title="Burgers",
        formula=f"u_t + u u_x = {nu:.6g} u_xx,  u(0, x) = −sin πx,  u(t, ±1) = 0",
        source="M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686, doi:10.1016/j.jcp.2018.10.045",
        problem=problem,
        reference=_cole_hopf(nu),
        classical=Reference(
            how="1,024 Fourier modes, exponential Runge–Kutta of order 4, 1,000 steps",
            accuracy=2e-8,
            known_by="compared with the exact solution, at nu = 0.01 / pi",
            solve=lambda t, x: {"u": references.burgers_spectral(t, x, nu=nu)},
        ),
        sizes={"t": 100, "x": 256},
    )


def burgers_discovery(nu: float = 0.01 / math.pi) -> Equation:
    """The coefficients of Burgers' equation from 2,000 of the 25,600 values of its solution on a grid, as Raissi et al. drew them.

    `measured(seed, noise)` draws the points by the seed, and the noise by the seed and its share of the standard deviation.

    >>> sorted(burgers_discovery().measured(0, 0.0))
    ['t', 'u', 'x']
    """

    def burgers(u, a, nu):
        return u.t + a * u * u.x - nu * u.xx

    problem = Problem(
        burgers, domain={"t": (0, 1), "x": (-1, 1)}, a=unknown(), nu=unknown(0.01, positive=True)
    )

    def measured(seed: int, noise: float) -> Mapping[str, np.ndarray]:
        generator = np.random.default_rng(seed)
        t, x = (
            part.ravel()
            for part in np.meshgrid(np.linspace(0, 0.99, 100), np.linspace(-1, 1, 256), indexing="ij")
        )
        chosen = generator.choice(t.size, 2_000, replace=False)
        u = references.burgers(t[chosen], x[chosen], nu)
        spread = references.burgers(t, x, nu).std()
        drawn = np.random.default_rng([seed, round(1e9 * noise)]).normal(size=u.size)
        return {"t": t[chosen], "x": x[chosen], "u": u + noise * spread * drawn}

    return Equation(
        title="Burgers, its coefficients from data",
        formula="u_t + a u u_x = nu u_xx with a and nu unknown, 2,000 values of u",
        source="M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686, doi:10.1016/j.jcp.2018.10.045",
        problem=problem,
        reference=_cole_hopf(nu),
        sizes={"t": 100, "x": 256},
        truth={"a": 1.0, "nu": nu},
        measured=measured,
    )


def diffusion_discovery(strength: float = 0.2) -> Equation:
    """A diffusivity that depends on the place, from 600 values of what diffuses: heat on a sphere that depends on the latitude alone, whose
    sine is x. The modes are Legendre's polynomials.

    >>> diffusion_discovery().problem.functions, float(diffusion_discovery().truth["k"](x=0.0))
    (('k',), 0.2)
    """

    def diffusion(u, k):
        return u.t - (k * u.xx + k.x * u.x)

    def exactly(t: np.ndarray, x: np.ndarray) -> np.ndarray:
        modes = ((2, 0.5, x), (6, -0.5, 3 * x**2 - 1), (12, 0.15, 5 * x**3 - 3 * x))
        return np.sum([size * np.exp(-rate * strength * t) * mode for rate, size, mode in modes], axis=0)

    def measured(seed: int, noise: float) -> Mapping[str, np.ndarray]:
        generator = np.random.default_rng(seed)
        t, x = generator.uniform(0, 1, 600), generator.uniform(-0.9, 0.9, 600)
        u = exactly(t, x)
        drawn = np.random.default_rng([seed, round(1e9 * noise)]).normal(size=u.size)
        return {"t": t, "x": x, "u": u + noise * u.std() * drawn}

    return Equation(
        title="Diffusion, its diffusivity from data",
        formula="u_t = (k u_x)_x with the function k(x) unknown, 600 values of u",
        source="G. R. North, J. Atmos. Sci. 32 (1975) 2033, doi:10.1175/1520-0469(1975)032<2033:TOEBCM>2.0.CO;2",
        problem=Problem(diffusion, domain={"t": (0, 1), "x": (-0.9, 0.9)}, k=unknown(0.1, of="x")),
        reference=Reference(
            how="closed form: three modes of Legendre",
            accuracy=1e-15,
            known_by=CLOSED,
            solve=lambda t, x: {"u": exactly(t[:, None], x)},
        ),
        sizes={"t": 101, "x": 101},
        truth={"k": lambda x: strength * (1 - x**2)},
        measured=measured,
    )


def advection(speed: float = 1.0) -> Equation:
    """A wave that is carried around a circle, `speed` radians in a unit of time.

    >>> advection(3.0).formula[:14]
    'u_t + 3 u_x = '
    """

    def advection(u, c):
        return u.t + c * u.x

    return Equation(
        title="Advection",
        formula=f"u_t + {speed:g} u_x = 0,  u(0, x) = sin x, periodic",
        source="A. Krishnapriyan, A. Gholami, S. Zhe, R. Kirby, M. Mahoney, NeurIPS 2021, arXiv:2109.01050, where speed is up to 40",
        problem=Problem(
            advection,
            domain={"t": (0, 1), "x": (0, 2 * math.pi)},
            c=speed,
            initial=sin,
            boundary={"x": "periodic"},
        ),
        reference=Reference(
            how="closed form: the beginning, moved along",
            accuracy=1e-15,
            known_by=CLOSED,
            solve=lambda t, x: {"u": references.advection(t[:, None], x, speed, np.sin)},
        ),
        sizes={"t": 101, "x": 128},
    )


def heat(diffusivity: float = 0.4) -> Equation:
    """Heat in a rod whose ends are kept at 0.

    >>> heat().problem.coordinates
    ('t', 'x')
    """

    def heat(u, k):
        return u.t - k * u.xx

    return Equation(
        title="Heat",
        formula=f"u_t = {diffusivity:g} u_xx,  u(0, x) = sin πx,  u(t, 0) = u(t, 1) = 0",
        source="J. Fourier, Théorie analytique de la chaleur (1822), chapter III",
        problem=Problem(
            heat,
            domain={"t": (0, 1), "x": (0, 1)},
            k=diffusivity,
            initial=lambda x: sin(pi * x),
            boundary={"x": 0.0},
        ),
        reference=Reference(
            how="closed form: one decaying sine",
            accuracy=1e-15,
            known_by=CLOSED,
            solve=lambda t, x: {"u": references.heat(t[:, None], x, diffusivity)},
        ),
        sizes={"t": 101, "x": 101},
    )


def wave(speed: float = 2.0) -> Equation:
    """A string with two of its tones.

    >>> wave().problem.conditions.initial["u"][1](torch.zeros(1)).item()
    0.0
    """

    def wave(u, c):
        return u.tt - c**2 * u.xx

    return Equation(
        title="Wave",
        formula=f"u_tt = {speed:g}² u_xx,  u(0, x) = sin πx + sin(4πx) / 2,  u_t(0, x) = 0,  u(t, 0) = u(t, 1) = 0",
        source="S. Wang, X. Yu, P. Perdikaris, J. Comput. Phys. 449 (2022) 110768, doi:10.1016/j.jcp.2021.110768",
        problem=Problem(
            wave,
            domain={"t": (0, 1), "x": (0, 1)},
            c=speed,
            initial={"u": lambda x: sin(pi * x) + sin(4 * pi * x) / 2, "u.t": 0.0},
            boundary={"x": 0.0},
        ),
        reference=Reference(
            how="closed form: two standing waves",
            accuracy=1e-15,
            known_by=CLOSED,
            solve=lambda t, x: {"u": references.wave(t[:, None], x, speed)},
        ),
        sizes={"t": 101, "x": 101},
    )


def helmholtz(k: float = 1.0) -> Equation:
    """Waves of one frequency in a square, driven so that the solution is known.

    >>> helmholtz().problem.takes
    ('u', 'x', 'y', 'k')
    """
    a, b = 1, 4

    def helmholtz(u, x, y, k):
        drive = (k**2 - (a * pi) ** 2 - (b * pi) ** 2) * sin(a * pi * x) * sin(b * pi * y)
        return u.xx + u.yy + k**2 * u - drive

    return Equation(
        title="Helmholtz",
        formula=f"u_xx + u_yy + {k:g}² u = q(x, y),  u = 0 around (−1, 1)²,  u = sin πx sin 4πy",
        source="S. Wang, Y. Teng, P. Perdikaris, SIAM J. Sci. Comput. 43 (2021) A3055, doi:10.1137/20M1318043",
        problem=Problem(helmholtz, domain={"x": (-1, 1), "y": (-1, 1)}, k=k, boundary={"x": 0.0, "y": 0.0}),
        reference=Reference(
            how="closed form, from which q was made",
            accuracy=1e-15,
            known_by=CLOSED,
            solve=lambda x, y: {"u": references.helmholtz(x[:, None], y)},
        ),
        sizes={"x": 101, "y": 101},
    )


def allen_cahn(diffusivity: float = 1e-4) -> Equation:
    """Two phases that part from each other, with fronts between them.

    >>> allen_cahn().problem.conditions.periodic
    ('x',)
    """

    def allen_cahn(u, D):
        return u.t - D * u.xx + 5 * u**3 - 5 * u

    return Equation(
        title="Allen–Cahn",
        formula=f"u_t = {diffusivity:g} u_xx + 5u − 5u³,  u(0, x) = x² cos πx, periodic",
        source="M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686, doi:10.1016/j.jcp.2018.10.045",
        problem=Problem(
            allen_cahn,
            domain={"t": (0, 1), "x": (-1, 1)},
            D=diffusivity,
            initial=lambda x: x**2 * cos(pi * x),
            boundary={"x": "periodic"},
        ),
        reference=Reference(
            how="8,192 Fourier modes, exponential Runge–Kutta of order 4, 200 steps",
            accuracy=1e-7,
            known_by="compared with 16,384 modes and with twice as many steps; nearly all of it is at the kink of the beginning at x = ±1",
            solve=lambda t, x: {"u": references.allen_cahn(t, x, diffusivity=diffusivity)},
        ),
        sizes={"t": 101, "x": 257},
    )


def kdv(dispersion: float = 0.022**2) -> Equation:
    """A cosine that breaks up into solitons.

    >>> kdv().problem.jet.indices
    ((0, 0), (0, 1), (1, 0), (0, 2), (0, 3))
    """

    def kdv(u, d):
        return u.t + u * u.x + d * u.xxx

    return Equation(
        title="Korteweg–de Vries",
        formula=f"u_t + u u_x + {dispersion:.6g} u_xxx = 0,  u(0, x) = cos πx, periodic",
        source="N. J. Zabusky, M. D. Kruskal, Phys. Rev. Lett. 15 (1965) 240, doi:10.1103/PhysRevLett.15.240",
        problem=Problem(
            kdv,
            domain={"t": (0, 1), "x": (-1, 1)},
            d=dispersion,
            initial=lambda x: cos(pi * x),
            boundary={"x": "periodic"},
        ),
        reference=Reference(
            how="512 Fourier modes, exponential Runge–Kutta of order 4, 4,000 steps",
            accuracy=1e-8,
            known_by="compared with twice as many steps (7e-9) and half the modes (2e-10)",
            solve=lambda t, x: {"u": references.kdv(t, x, dispersion=dispersion)},
        ),
        sizes={"t": 101, "x": 256},
    )


def poisson() -> Equation:
    """A membrane under even load, held around an L: at the inner corner its slope is infinite, which no smooth function follows.

    >>> bool(poisson().problem.conditions.within.shape.inside(torch.tensor([0.5]), torch.tensor([0.5])))
    False
    """

    def poisson(u):
        return u.xx + u.yy + 1

    corners = [(0, 0), (1, 0), (1, -1), (-1, -1), (-1, 1), (0, 1)]
    return Equation(
        title="Poisson on an L",
        formula="−(u_xx + u_yy) = 1 on (−1, 1)² without [0, 1)²,  u = 0 around it",
        source="A. Gopal, L. N. Trefethen, SIAM J. Numer. Anal. 57 (2019) 2074, doi:10.1137/19M125947X",
        problem=Problem(poisson, domain={("x", "y"): shapes.polygon(corners)}, boundary={"around": 0.0}),
        reference=Reference(
            how="a polynomial and 64 poles at each corner, by least squares on the boundary",
            accuracy=1e-8,
            known_by="its values on the boundary bound its error, by the maximum principle",
            solve=lambda x, y: {"u": references.l_shape(x, y)},
        ),
        sizes={"x": 101, "y": 101},
    )


def schroedinger(modes: int = 24) -> Equation:
    """The focusing nonlinear Schrödinger equation: two solitons that breathe together.

    Raissi et al. begin with 2 / cosh x. Continued periodically that has a kink at the ends, which the equation would take away at once and a
    network with exact initial values can not; so this begins with its first Fourier modes (24 of them differ from it by 1.1e-4, relative).

    >>> schroedinger().problem.components
    ('h.real', 'h.imag')
    """
    low, period = -5.0, 10.0
    places = low + period * np.arange(4096) / 4096
    series = torch.from_numpy(
        np.fft.rfft(2 / np.cosh(places))[: modes + 1].real / 4096
    )  # even about 0, and so about the ends
    series[1:] *= 2

    def begin(x: Tensor) -> Tensor:
        k = torch.arange(modes + 1, dtype=torch.float64) * (2 * pi / period)
        return torch.cos((x[..., None] - low) * k) @ series

    def schroedinger(h):
        return 1j * h.t + h.xx / 2 + abs(h) ** 2 * h

    def known(t: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "h": references.schroedinger(
                t, x, start=lambda at: begin(torch.from_numpy(at)).numpy(), modes=256, step=math.pi / 2 / 4000
            )
        }

    return Equation(
        title="Schrödinger, nonlinear",
        formula=f"i h_t + h_xx / 2 + |h|² h = 0,  h(0, x) = 2 / cosh x (its first {modes} Fourier modes), periodic on (−5, 5)",
        source="M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019) 686, doi:10.1016/j.jcp.2018.10.045",
        problem=Problem(
            schroedinger,
            domain={"t": (0, math.pi / 2), "x": (low, low + period)},
            complex="h",
            initial=begin,
            boundary={"x": "periodic"},
        ),
        reference=Reference(
            how="256 Fourier modes, split steps of order 4, 4,000 steps",
            accuracy=1e-8,
            known_by="compared with four times as many modes (1e-12) and steps (4e-9)",
            solve=known,
        ),
        sizes={"t": 101, "x": 256},
    )


def taylor_green(nu: float = 0.01) -> Equation:
    """Decaying vortices in a periodic square: the Navier–Stokes equations with density 1.

    >>> taylor_green().problem.fields
    ('u', 'v', 'p')
    """

    def taylor_green(u, v, p, nu):
        return (
            u.t + u * u.x + v * u.y + p.x - nu * (u.xx + u.yy),
            v.t + u * v.x + v * v.y + p.y - nu * (v.xx + v.yy),
            u.x + v.y,
        )

    def known(t: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        fields = references.taylor_green(t[:, None, None], x[:, None], y, nu)
        return dict(zip("uvp", fields, strict=True))

    return Equation(
        title="Taylor–Green vortices",
        formula=f"u_t + u·∇u + ∇p = {nu:g} Δu,  ∇·u = 0,  periodic on (−1, 1)²",
        source="G. I. Taylor, A. E. Green, Proc. R. Soc. A 158 (1937) 499, doi:10.1098/rspa.1937.0036",
        problem=Problem(
            taylor_green,
            domain={"t": (0, 1), "x": (-1, 1), "y": (-1, 1)},
            nu=nu,
            initial={
                "u": lambda x, y: -cos(pi * x) * sin(pi * y),
                "v": lambda x, y: sin(pi * x) * cos(pi * y),
            },
            boundary={"x": "periodic", "y": "periodic"},
        ),
        reference=Reference(
            how="closed form: vortices that decay alike", accuracy=1e-15, known_by=CLOSED, solve=known
        ),
        sizes={"t": 11, "x": 41, "y": 41},
    )


def kovasznay(reynolds: float = 40.0) -> Equation:
    """Steady flow behind a grid: the Navier–Stokes equations without time, with density 1.

    >>> sorted(kovasznay().problem.conditions.ends["p"])
    ['x']
    """
    a = reynolds / 2 - math.sqrt(reynolds**2 / 4 + 4 * math.pi**2)

    def kovasznay(u, v, p, nu):
        return (
            u * u.x + v * u.y + p.x - nu * (u.xx + u.yy),
            u * v.x + v * v.y + p.y - nu * (v.xx + v.yy),
            u.x + v.y,
        )

    def side(x: float) -> dict[str, Callable[[Tensor], Tensor]]:
        e = math.exp(a * x)
        return {
            "u": lambda y: 1 - e * cos(2 * pi * y),
            "v": lambda y: a / (2 * pi) * e * sin(2 * pi * y),
        }

    def known(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip("uvp", references.kovasznay(x[:, None], y, reynolds), strict=True))

    low, high = -0.5, 1.0
    return Equation(
        title="Kovasznay flow",
        formula=f"u·∇u + ∇p = Δu / {reynolds:g},  ∇·u = 0,  the velocity given around (−0.5, 1) × (−0.5, 1.5)",
        source="L. I. G. Kovasznay, Proc. Camb. Philos. Soc. 44 (1948) 58, doi:10.1017/S0305004100023999",
        problem=Problem(
            kovasznay,
            domain={"x": (low, high), "y": (-0.5, 1.5)},
            nu=1 / reynolds,
            boundary={
                f"x={low}": side(low),
                f"x={high}": {**side(high), "p": (1 - math.exp(2 * a * high)) / 2},
                "y": {"u": lambda x: 1 + torch.exp(a * x), "v": 0.0},
            },
        ),
        reference=Reference(how="closed form", accuracy=1e-15, known_by=CLOSED, solve=known),
        sizes={"x": 61, "y": 81},
    )


def _cole_hopf(nu: float) -> Reference:
    return Reference(
        how="the exact solution of Cole and Hopf, by 100 Gauss–Hermite nodes",
        accuracy=1e-14,
        known_by="compared with 300 nodes, and with another quadrature",
        solve=lambda t, x: {"u": references.burgers(t[:, None], x, nu)},
    )
