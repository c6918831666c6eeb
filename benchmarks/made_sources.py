"""Made pictures of faint sources whose best possible accuracy is known: 16 bits, 4 channels, low signal-to-noise.

A picture [C, H, W] of a star, a galaxy or a close pair is, in channel c,

    bias + sky_c + b_c + a_c T_c(theta) + noise,     b_c ~ N(0, tau^2),     a_c ~ N(F r_kc, (s F r_kc)^2),     noise ~ N(0, sigma_c^2)

rounded to whole numbers. T is the unit-flux profile, seen through the seeing of the channel, at a position, an angle and a shape
theta; F is the brightness, r_k the colour of class k, which scatters by the fraction s from source to source. Sky and amplitude are
Gaussian, so they are integrated in closed form; theta and F are drawn from finite grids, so that the sum over them is exact:

    p(x | k) = sum over theta, F of p(theta, F | k) prod over c of N(x_c; bias + sky_c + F r_kc T_c, sigma_c^2 I + tau^2 11' + (s F r_kc)^2 T_c T_c').

The class with the greatest p(x | k) is the best answer that there is, and the mean over pictures of the posterior of that class
is the accuracy of the best classifier, without knowing a single label. Rounding is left out of the likelihood: with sigma of 20
and more it changes it by less than 1 part in 1000 (Sheppard's correction, 1/12 of a variance of 400 and more).
The grids are symmetric under quarter turns and reflections, so those are true symmetries of the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from scipy.special import logsumexp

CLASSES = ("star", "galaxy", "pair")
BIAS = 1000.0
SYMMETRIES = ("flip_horizontal", "flip_vertical", "rotate_90", "shift", "background", "colour")


@dataclass(frozen=True, kw_only=True)
class Sky:
    """The instrument and the population. Lengths in pixels, brightness in counts over all pixels of a channel of ratio 1.

    `colours` [K][C] are the ratios of the channels for each class; `psf` and `sky` have one entry a channel.
    """

    side: int = 32
    sky: tuple[float, ...] = (400.0, 600.0, 800.0, 1000.0)
    psf: tuple[float, ...] = (1.6, 1.5, 1.4, 1.3)
    read_noise: float = 8.0
    sky_scatter: float = 30.0
    colours: tuple[tuple[float, ...], ...] = (
        (0.9, 1.0, 1.05, 1.0),
        (0.7, 1.0, 1.2, 1.25),
        (0.9, 1.0, 1.05, 1.0),
    )
    colour_scatter: float = 0.25
    offsets: tuple[float, ...] = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
    num_angles: int = 12
    sizes: tuple[float, ...] = (1.2, 1.7, 2.4)
    axis_ratios: tuple[float, ...] = (0.4, 0.7)
    separations: tuple[float, ...] = (3.0, 4.0, 5.0)
    flux_ratios: tuple[float, ...] = (0.5, 0.9)
    brightness: tuple[float, ...] = (1000.0, 1300.0, 1700.0, 2200.0, 3000.0, 4000.0)
    brightness_slope: float = -1.0

    @cached_property
    def sigma(self) -> np.ndarray:
        """Standard deviation of the noise of a pixel [C]: photons of the sky, and the reading."""
        return np.sqrt(np.array(self.sky) + self.read_noise**2)

    @cached_property
    def brightness_weights(self) -> np.ndarray:
        """Probability of each brightness: faint ones are more frequent."""
        weights = np.array(self.brightness) ** self.brightness_slope
        return weights / weights.sum()

    @cached_property
    def profiles(self) -> list[np.ndarray]:
        """For each class all T(theta) [M, C, side*side], float32, all alike probable."""
        places = list(product(self.offsets, self.offsets))
        angles = np.arange(self.num_angles) * np.pi / self.num_angles
        star = [self._spots([(x, y, 1.0)]) for x, y in places]
        galaxy = [
            self._ellipse(x, y, size, size * ratio, angle)
            for (x, y), size, ratio, angle in product(places, self.sizes, self.axis_ratios, angles)
        ]
        # a pair has a brighter star, so its angles go all the way round
        around = np.concatenate([angles, angles + np.pi])
        pair = [
            self._spots(_two_stars(x, y, separation, ratio, angle))
            for (x, y), separation, ratio, angle in product(
                places, self.separations, self.flux_ratios, around
            )
        ]
        return [np.stack(kind).astype(np.float32) for kind in (star, galaxy, pair)]

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        line = np.arange(self.side) - (self.side - 1) / 2
        return line[None, :], line[:, None]

    def _spots(self, spots: list[tuple[float, float, float]]) -> np.ndarray:
        x, y = self._grid
        out = [
            sum(
                f * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * p * p)) / (2 * np.pi * p * p)
                for u, v, f in spots
            )
            for p in self.psf
        ]
        return np.stack(out).reshape(len(self.psf), -1)

    def _ellipse(self, u: float, v: float, long: float, short: float, angle: float) -> np.ndarray:
        x, y = self._grid
        along = (x - u) * np.cos(angle) + (y - v) * np.sin(angle)
        across = -(x - u) * np.sin(angle) + (y - v) * np.cos(angle)
        out = []
        for p in self.psf:
            a, b = long**2 + p * p, short**2 + p * p
            out.append(np.exp(-(along**2) / (2 * a) - across**2 / (2 * b)) / (2 * np.pi * np.sqrt(a * b)))
        return np.stack(out).reshape(len(self.psf), -1)


def _two_stars(
    x: float, y: float, separation: float, ratio: float, angle: float
) -> list[tuple[float, float, float]]:
    """Two stars about their middle; `ratio` is the fainter over the brighter one."""
    dx, dy = separation / 2 * np.cos(angle), separation / 2 * np.sin(angle)
    first = 1 / (1 + ratio)
    return [(x + dx, y + dy, first), (x - dx, y - dy, 1 - first)]


def make(num: int, seed: int, sky: Sky | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`num` pictures [N, C, H, W], uint16, and class numbers [N], all classes alike frequent."""
    sky = Sky() if sky is None else sky
    rng = np.random.default_rng(seed)
    channels = len(sky.sky)
    targets = rng.permutation(np.arange(num) % len(sky.colours))
    brightness = rng.choice(sky.brightness, size=num, p=sky.brightness_weights)
    pictures = np.empty((num, channels, sky.side**2))
    level = BIAS + np.array(sky.sky)
    for kind, colour in enumerate(sky.colours):
        rows = np.flatnonzero(targets == kind)
        profiles = sky.profiles[kind][rng.integers(len(sky.profiles[kind]), size=len(rows))]
        mean = brightness[rows, None] * np.array(colour)
        amplitude = mean * (1 + sky.colour_scatter * rng.normal(size=mean.shape))
        background = level + sky.sky_scatter * rng.normal(size=mean.shape)
        noise = sky.sigma[:, None] * rng.normal(size=profiles.shape)
        pictures[rows] = background[..., None] + amplitude[..., None] * profiles + noise
    whole = np.clip(np.rint(pictures), 0, 65535).astype(np.uint16)
    return whole.reshape(num, channels, sky.side, sky.side), targets


def posterior(pictures: np.ndarray, sky: Sky | None = None, *, block: int = 200) -> np.ndarray:
    """Probability of each class [N, K] given the picture, with all classes alike frequent beforehand: exact but for the rounding."""
    sky = Sky() if sky is None else sky
    evidence = [_evidence(pictures, kind, sky, block) for kind in range(len(sky.colours))]
    log = np.stack(evidence, axis=1)
    return np.exp(log - logsumexp(log, axis=1, keepdims=True))


def best_accuracy(probabilities: np.ndarray) -> tuple[float, float]:
    """Accuracy of the best classifier, the mean of the greatest posterior, and its Monte-Carlo standard error."""
    top = probabilities.max(axis=1)
    return float(top.mean()), float(top.std(ddof=1) / np.sqrt(len(top)))


def _evidence(pictures: np.ndarray, kind: int, sky: Sky, block: int) -> np.ndarray:
    """log p(x | k) [N], up to a constant that is the same for all classes."""
    num, channels = pictures.shape[:2]
    profiles = sky.profiles[kind]  # [M, C, P]
    pixels = profiles.shape[2]
    variance = sky.sigma**2
    shrink = sky.sky_scatter**2 / (
        variance + pixels * sky.sky_scatter**2
    )  # of the covariance's inverse (Sherman and Morrison)
    level = (BIAS + np.array(sky.sky))[None, :, None]
    data = (pictures.reshape(num, channels, pixels) - level).astype(np.float32)
    whitened = [
        (profiles[:, c] - shrink[c] * profiles[:, c].sum(1, keepdims=True)) / variance[c]
        for c in range(channels)
    ]
    energy = [np.einsum("mp,mp->m", whitened[c], profiles[:, c], dtype=np.float64) for c in range(channels)]
    out = np.empty(num)
    for first in range(0, num, block):
        rows = slice(first, first + block)
        overlap = [data[rows, c] @ whitened[c].T for c in range(channels)]  # [n, M] each
        terms = []
        for weight, flux in zip(sky.brightness_weights, sky.brightness, strict=True):
            total = np.full(overlap[0].shape, np.log(weight / len(profiles)), np.float32)
            for c in range(channels):
                mean = flux * sky.colours[kind][c]
                spread = max((sky.colour_scatter * mean) ** 2, 1e-12)
                gain = 1 / (energy[c] + 1 / spread)
                # the amplitude integrated out: (t + mean/spread)^2 gain / 2 - mean^2/(2 spread) - log(1 + spread e) / 2
                offset = (-(mean**2) / spread - np.log1p(spread * energy[c])) / 2
                shifted = overlap[c] + np.float32(mean / spread)
                total += shifted * shifted * (gain / 2).astype(np.float32) + offset.astype(np.float32)
            terms.append(logsumexp(total, axis=1))
        out[rows] = logsumexp(np.stack(terms), axis=0)
    return out
