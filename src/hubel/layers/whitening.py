"""Whitening: features of mean 0 and variance 1 that do not go together, by numbers taken from the training part.

    y = (x - m) C^(-1/2),   m and C the mean and the covariance of the training examples

C^(-1/2) is symmetric ("ZCA"), so that each new feature stays as near as possible to the old one of its place. Scaling alone gives
mean 0 and variance 1; whitening takes the correlations away too, which makes the valleys of the loss round.

A. Kessy, A. Lewin and K. Strimmer, Am. Stat. 72, 309 (2018), doi:10.1080/00031305.2016.1277159.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    """`(x - mean) @ matrix` of features [N, F]; make one with `whitening_of`. Nothing in it is learned; both are stored with the weights."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("matrix", torch.eye(features))

    def forward(self, x: Tensor) -> Tensor:
        """White features [N, F]."""
        return (x - self.mean) @ self.matrix


def whitening_of(train: np.ndarray | Tensor, *, smallest: float = 1e-6) -> Whitening:
    """The whitening of features [N, F] of the training part (`train`), for a network that begins with it.

    Directions in which the examples hardly differ (variance below `smallest` times the largest) are only centred: dividing by their
    spread would blow up rounding errors.

    Raises `ValueError` for another shape, fewer than two examples, or values that are not finite.

    >>> x = np.random.default_rng(0).normal(size=(500, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]])
    >>> white = whitening_of(x)(torch.tensor(x, dtype=torch.float32))
    >>> bool(np.allclose(np.cov(white.numpy().T), np.eye(2), atol=1e-5))
    True
    """
    values = np.asarray(train, np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(
            f"received shape {values.shape}; expected the features [N, F] of at least two examples"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "the features hold NaN or infinite values: remove these examples, or replace the values"
        )
    mean = values.mean(axis=0)
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(values.T)))
    kept = variances > smallest * max(variances.max(), 1e-300)
    factors = np.where(kept, 1 / np.sqrt(np.where(kept, variances, 1.0)), 1.0)
    made = Whitening(values.shape[1])
    made.mean.copy_(torch.from_numpy(mean))
    made.matrix.copy_(torch.from_numpy((directions * factors) @ directions.T))
    return made
