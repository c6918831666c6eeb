"""LIME: a linear model that answers like the network in the neighbourhood of one example.

    minimize over w   Σ_i π(z_i) (f(x(z_i)) - w₀ - w · z_i)² + penalty(w),   π(z) = exp(-D(z, 1)² / width²)

z says which parts of the example are kept (superpixels of an image, features of a table), each with probability 1/2; x(z) shows `fill` in
the place of the others; D is the cosine distance from the example itself, for which z is 1 everywhere. A part's weight w is what keeping it
adds. How well the linear model answers for samples that it was not fitted to (the fidelity, weighted R²) is told: without that, the weights
mean little.

Source: M. T. Ribeiro, S. Singh, C. Guestrin, "Why should I trust you? Explaining the predictions of any classifier", KDD 2016
(arXiv:1602.04938, doi:10.1145/2939672.2939778), equations 1 and 2. Superpixels: R. Achanta et al., "SLIC superpixels compared to
state-of-the-art superpixel methods", IEEE Trans. Pattern Anal. Mach. Intell. 34, 2274 (2012), doi:10.1109/TPAMI.2012.120.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.errors import missing_extra
from hubel.core.random import numpy_generator
from hubel.core.types import Attribution
from hubel.explain.filling import Fill
from hubel.explain.parts import Parts, parts_of
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.explain.versions import BUDGET, Progress, rows_at_once, scores_of

HELD_OUT = 0.2
"""Share of the samples on which the fidelity is measured."""


def lime(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    of: Scale = "probability",
    parts: int | np.ndarray | Tensor | None = None,
    samples: int = 1000,
    width: float = 0.25,
    surrogate: Literal["ridge", "lasso"] = "ridge",
    penalty: float = 1e-3,
    fill: Fill = None,
    steps_first: bool = False,
    seed: int = 0,
    budget: int = BUDGET,
    progress: Progress = None,
) -> Attribution:
    """The weights of the parts of each example in a linear model of the network near it.

    Of images and volumes [N, C, ...] the parts are about `parts` superpixels (50 unless told), of signals [N, C, L] as many equal pieces (20
    unless told; with `steps_first` of steps [N, L, F]), of [N, F] and [N, L] every feature or symbol; or an array of whole numbers, one a position. `surrogate` "ridge" shrinks the
    weights, "lasso" leaves few; `penalty` is their strength, relative to the mean squared error. `values` share a part's weight among its
    positions and channels; `notes` have the fidelity of every example.

    Raises `MissingExtra` where superpixels are asked for and scikit-image is not installed, and `ValueError` for fewer than 20 samples.

    >>> net = nn.Linear(3, 1)
    >>> found = lime(net, torch.ones(1, 3), target=0, of="score", samples=200, penalty=1e-9)
    >>> bool(torch.allclose(found.values, net.weight, atol=1e-4)), found.notes[0][:24]
    (True, 'local fidelity R² 1.000 ')
    """
    start = time.perf_counter()
    if samples < 20 or width <= 0 or penalty < 0 or surrogate not in ("ridge", "lasso"):
        raise ValueError(
            f'expected at least 20 samples, a width above 0, a penalty of at least 0 and surrogate "ridge" or "lasso"; received '
            f"{samples}, {width}, {penalty} and {surrogate!r}"
        )
    with untouched(net):
        question = Question(net, x, target, of=of, steps_first=steps_first)
        empty = question.emptied(fill)
        at_once = rows_at_once(question, budget)
        values, notes = [], []
        for row, example in enumerate(question.x):
            found = superpixels(example, parts)
            blank = empty[row]
            generator = numpy_generator(seed, "LIME", row)
            kept = generator.random((samples, found.count)) < 0.5
            kept[0] = True
            scores = scores_of(
                question,
                row,
                found.maker(example, blank, torch.from_numpy(kept)),
                samples,
                at_once=at_once,
                progress=progress,
            )
            answered = scores.double().cpu().numpy()
            near = np.exp(-(((1 - np.sqrt(kept.mean(axis=1))) / width) ** 2))
            weights, intercept, fidelity = _fitted(kept, answered, near, surrogate, penalty)
            values.append(found.spread(torch.from_numpy(weights).to(example.device, question.score.dtype)))
            notes.append(
                f"local fidelity R² {fidelity:.3f} on {int(HELD_OUT * samples)} held-out samples, {found.count} parts, intercept {intercept:.3g}"
            )
    return Attribution(
        values=question.as_given(torch.stack(values)),
        method=f"LIME ({surrogate})",
        target=question.names,
        score=question.score,
        baseline=question.as_given(empty),
        passes=question.calls,
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


def superpixels(example: Tensor, parts: int | np.ndarray | Tensor | None = None) -> Parts:
    """About `parts` superpixels (SLIC) of an image [C, H, W] or volume [C, D, H, W]; equal pieces of a signal [C, L]; features as they are.

    >>> superpixels(torch.zeros(1, 40), 4).count
    4
    """
    if isinstance(parts, (np.ndarray, Tensor)) or example.ndim < 3:
        usual = min(20, example.shape[-1]) if parts is None and example.ndim == 2 else parts
        return parts_of(example, usual)
    if parts is not None and (not isinstance(parts, int) or isinstance(parts, bool) or parts < 2):
        raise ValueError(
            f"parts must be a number of superpixels, at least 2, or an array; received {parts!r}"
        )
    try:
        from skimage.segmentation import slic
    except ImportError:
        raise missing_extra(
            "scikit-image", "science", "LIME on superpixels (parts can also be an array of your own)"
        ) from None
    channels: Any = example.detach().double().cpu().numpy()
    low = channels.min(axis=tuple(range(1, channels.ndim)), keepdims=True)
    span = channels.max(axis=tuple(range(1, channels.ndim)), keepdims=True) - low
    scaled = (channels - low) / np.where(span > 0, span, 1.0)
    labels = slic(
        np.moveaxis(scaled, 0, -1),
        n_segments=50 if parts is None else parts,
        compactness=10 if len(channels) == 3 else 0.1,
        start_label=0,
        channel_axis=-1,
    )
    return parts_of(example, np.asarray(labels, np.int64))


def _fitted(
    kept: np.ndarray, scores: np.ndarray, near: np.ndarray, surrogate: str, penalty: float
) -> tuple[np.ndarray, float, float]:
    """Weights [parts] and intercept from all samples; the fidelity from a model fitted to four fifths and asked about the rest."""
    from sklearn.linear_model import Lasso, Ridge

    def model(total: float) -> Any:
        if surrogate == "ridge":
            return Ridge(alpha=penalty * total)
        return Lasso(alpha=penalty, max_iter=10_000)

    z = kept.astype(np.float64)
    own = len(z) - int(HELD_OUT * len(z))
    part = model(float(near[:own].sum())).fit(z[:own], scores[:own], sample_weight=near[:own])
    spread = np.average(
        (scores[own:] - np.average(scores[own:], weights=near[own:])) ** 2, weights=near[own:]
    )
    missed = np.average((scores[own:] - part.predict(z[own:])) ** 2, weights=near[own:])
    fidelity = 1.0 - float(missed / spread) if spread > 0 else 1.0
    whole = model(float(near.sum())).fit(z, scores, sample_weight=near)
    return np.asarray(whole.coef_, np.float64), float(whole.intercept_), fidelity
