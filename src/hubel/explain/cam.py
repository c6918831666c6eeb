"""Class activation mapping: where the last maps of a network speak for a class.

    M_k(i, j) = Σ_c w_kc A_c(i, j),   mean over positions + b_k = score of class k

For networks that end in maps A, their mean over all positions, and one linear layer w, b; and for those whose last maps are the classes' own,
of which the mean is the score. Whether a network is of this kind is checked by numbers, not by names.

Source: B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba, "Learning Deep Features for Discriminative Localization", CVPR 2016
(arXiv:1512.04150), eq. 2.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.maps import Seen, seen_maps, spread
from hubel.explain.question import Target, untouched


def cam(
    net: nn.Module,
    x: Tensor | np.ndarray,
    *,
    target: Target = None,
    also: tuple[Tensor, ...] = (),
) -> Attribution:
    """The class activation map of each example: `coarse` [N, h, w] as above, `values` [N, C, H, W] spread over the input.

    >>> from hubel import nets
    >>> net = nets.resnet(20, inputs=(3, 16, 16), outputs=4).eval()
    >>> cam(net, torch.rand(1, 3, 16, 16), target=2).coarse.shape
    torch.Size([1, 4, 4])

    Raises `ValueError` for networks that do not end so (grad_cam takes any), for targets that are no class, and as `Question` does.
    """
    start = time.perf_counter()
    with untouched(net):
        seen = seen_maps(net, x, target, layer=None, of="score", also=also)
        question = seen.question
        if not isinstance(question.target, Tensor):
            raise ValueError("cam explains the score of a class: pass its number as target, or use grad_cam")
        coarse = _class_maps(seen, question.target).detach()
        values = spread(coarse, question.x, steps_first=seen.steps_first)
    return Attribution(
        values=values,
        method="class activation map",
        target=question.names,
        score=question.score,
        coarse=coarse,
        passes=question.calls,
        seconds=time.perf_counter() - start,
    )


def _class_maps(seen: Seen, target: Tensor) -> Tensor:
    maps, score = seen.as_maps(seen.source.detach()), seen.question.score
    rows = torch.arange(len(maps), device=maps.device)
    mean = maps.flatten(2).mean(2)
    if int(target.max()) < maps.shape[1] and _same(mean[rows, target], score):
        return maps[rows, target]
    if seen.linear is not None:
        read, weight, _, answer = (None if t is None else t.detach() for t in seen.linear)
        assert read is not None and weight is not None and answer is not None
        fits = read.shape == mean.shape and answer.ndim == 2 and int(target.max()) < answer.shape[1]
        if fits and _same(read, mean) and _same(answer[rows, target], score):
            return torch.einsum("nc,nc...->n...", weight[target], maps)
    raise ValueError(
        "cam needs a network that ends in maps, their mean over all positions and one linear layer, with nothing between; this one ends "
        "otherwise. grad_cam takes any network with convolutions"
    )


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
