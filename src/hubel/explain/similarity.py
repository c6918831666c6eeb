"""How alike two maps are: rank correlation, and the structural similarity of pictures.

    rank correlation    Pearson's of the ranks (Spearman), over all positions of an example; 0 where a map does not vary
    SSIM                mean over windows of (2 m n + c₁)(2 s_mn + c₂) / ((m² + n² + c₁)(s_m² + s_n² + c₂)), of maps scaled to [0, 1]

Source of SSIM: Z. Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861, equation 13, with windows of 7
pixels that count alike, as in scikit-image.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from hubel.explain.trust import over_positions

Similarity = Literal["rank", "absolute rank", "ssim"]
WINDOW, K1, K2 = 7, 0.01, 0.03


def similarity(one: Tensor, other: Tensor, kind: Similarity = "rank") -> np.ndarray:
    """How alike the maps of values [N, ...] are, one number [N] an example, 1 for equal maps.

    Raises `ValueError` for another word, and for SSIM of what is no picture.

    >>> import torch
    >>> a = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    >>> similarity(a, a[[0, 0]]).tolist()
    [1.0, -1.0]
    """
    if kind == "ssim":
        if one.ndim not in (4, 5):
            raise ValueError(f"ssim compares pictures and volumes; received values {list(one.shape)}")
        a, b = (v.sum(1).double().cpu().numpy() for v in (one, other))
        return np.array([ssim(_unit(p), _unit(q)) for p, q in zip(a, b, strict=True)])
    if kind not in ("rank", "absolute rank"):
        raise ValueError(f"similarity must be rank, absolute rank or ssim; received {kind!r}")
    a, b = (over_positions(v).double().cpu().numpy() for v in (one, other))
    return rank_correlation(*((abs(a), abs(b)) if kind == "absolute rank" else (a, b)))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation [N] of the rows of `a` and `b` [N, P]; 0 where one of them does not vary."""
    from scipy.stats import rankdata

    ranks = [rankdata(v, axis=1) for v in (a, b)]
    a, b = (r - r.mean(axis=1, keepdims=True) for r in ranks)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(size > 0, (a * b).sum(axis=1) / np.where(size > 0, size, 1.0), 0.0)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two maps [H, W] or [D, H, W] with values in [0, 1].

    >>> picture = np.arange(64.0).reshape(8, 8) / 63
    >>> ssim(picture, picture)
    1.0
    """
    from scipy.ndimage import uniform_filter

    window = min(WINDOW, *(side if side % 2 else side - 1 for side in a.shape))
    count = window**a.ndim
    if count < 2:
        raise ValueError(f"maps of {' × '.join(map(str, a.shape))} are too small for windows")
    m, n = uniform_filter(a, window), uniform_filter(b, window)
    unbiased = count / (count - 1)
    va = unbiased * (uniform_filter(a * a, window) - m * m)
    vb = unbiased * (uniform_filter(b * b, window) - n * n)
    vab = unbiased * (uniform_filter(a * b, window) - m * n)
    values = (2 * m * n + K1**2) * (2 * vab + K2**2) / ((m * m + n * n + K1**2) * (va + vb + K2**2))
    border = (window - 1) // 2
    return float(values[tuple(slice(border, side - border) for side in a.shape)].mean())


def _unit(a: np.ndarray) -> np.ndarray:
    """A map scaled to [0, 1]; one that does not vary is 0."""
    low, high = a.min(), a.max()
    return (a - low) / (high - low) if high > low else np.zeros_like(a)
