"""`features`: what a network makes of examples before its last layer, as numbers for another method (a linear SVM, a map, neighbours).

A network that has seen many photographs knows edges, textures and parts; a linear model on its features often needs a few dozen examples
where a network from nothing needs thousands (A. S. Razavian et al. 2014, arXiv:1403.6382).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.errors import nearest
from hubel.data import Series, read_like
from hubel.data.preprocessing import Scaling
from hubel.data.targets import as_numpy
from hubel.fitting import Precision, Run, open_run
from hubel.fitting.run import outputs_of
from hubel.layers.masks import mean_of_valid, valid_steps
from hubel.layers.step_norm import StepNorm
from hubel.nets.made import Net
from hubel.nets.series_resnet import ConvNorm


def features(
    net: nn.Module | Run | Path | str,
    x: Any,
    *,
    layer: str | None = None,
    batch_size: int = 128,
    device: str = "auto",
) -> np.ndarray:
    """Features [N, F] (float32) of examples `x`: what the last linear layer reads, or the output of `layer`, a name in the network.

    `net` is a run (or its folder), whose examples are given as they were stored; or a network. To a network with published weights
    pictures [N, C, H, W] may be given as bytes, which are then scaled as the weights expect; any other input enters as it is. Maps
    [N, F, H, W] of a layer (or [N, F, D, H, W]) are averaged over positions, steps [N, L, F] (of a convolution along time [N, F, L]) over the
    steps that there are: so of a text the features of a window are the mean over its symbols.

    Raises `ValueError` for a layer that the network does not have or that answers otherwise, and for bytes where no scaling is known.

    >>> from hubel.nets import simple_cnn
    >>> net, x = simple_cnn((1, 28, 28), 10), np.zeros((3, 1, 28, 28), "float32")
    >>> features(net, x).shape, features(net, x, layer="conv2").shape
    ((3, 1600), (3, 64))
    """
    if isinstance(net, nn.Module):
        stored = as_numpy(x, "x")
        where = next((p.device for p in net.parameters()), torch.device("cpu"))
        double = any(p.dtype == torch.float64 for p in net.parameters())
        precision = Precision(dtype="float64" if double else "float32", threads=torch.get_num_threads())
        scaling = _scaling_for(net, stored, precision.dtype)
        found = outputs_of(_Codes(net, layer), scaling, precision, stored, where, batch_size=batch_size)
        return found.float().numpy()
    run = net if isinstance(net, Run) else open_run(net, device=device)
    rows, lengths = read_like(x, run.reading), None
    if isinstance(rows, Series):
        rows, lengths = rows.values, rows.lengths
    codes = _Codes(run.net, layer)
    found = outputs_of(
        codes, run.scaling, run.precision, rows, run.device, lengths=lengths, batch_size=batch_size
    )
    return found.float().numpy()


class _Codes(nn.Module):
    """Answers with the features of `net` in place of its scores."""

    def __init__(self, net: nn.Module, layer: str | None):
        super().__init__()
        self.net, self.layer = net, layer
        names = [name for name, _ in net.named_modules() if name]
        if layer is not None and layer not in names:
            raise ValueError(f"the network has no layer {layer!r}.{nearest(layer, names)}")

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.layer is None and isinstance(self.net, Net):
            found = self.net.features(*inputs)
            return found.mean(dim=1) if found.ndim == 3 else found  # those of every symbol of a text
        last = self.layer or _last_linear(self.net)
        with captured(self.net, lambda name, module: name == last) as calls:
            self.net(*inputs)
        if not calls:
            raise ValueError(f"layer {last} is not called when the network answers: choose another one")
        _, module, received, answered = calls[-1]
        value = answered if self.layer is not None else received[0]
        if not isinstance(value, Tensor) or value.ndim < 2:
            raise ValueError(f"layer {last} does not answer with a tensor [N, F, ...]: choose another one")
        return _of_examples(value, f"layer {last}", isinstance(module, ALONG_TIME), inputs)


ALONG_TIME = (nn.Conv1d, nn.BatchNorm1d, StepNorm, ConvNorm)
"""Layers that answer [N, F, L], with the steps last."""


def _of_examples(value: Tensor, name: str, steps_last: bool, inputs: tuple[Tensor, ...]) -> Tensor:
    """One row [N, F] an example of what a layer answers, [N, F], [N, L, F] or [N, F, ...]: means over steps that there are, or positions.

    Raises `ValueError` where the rows are not those of the examples, or it is not known which steps count.
    """
    x = inputs[0]
    if len(value) != len(x):
        raise ValueError(
            f"{name} answers with {len(value)} rows for {len(x)} examples: choose a layer that sees a whole example at once"
        )
    if value.ndim == 2:
        return value
    if value.ndim > 3:
        return value.mean(dim=tuple(range(2, value.ndim)))
    if steps_last or (x.ndim == 3 and value.shape[1] != x.shape[1]):
        value = value.transpose(1, 2)
    if len(inputs) == 1:
        return value.mean(dim=1)
    mask = valid_steps(inputs[1], x)
    while mask.shape[1] > value.shape[1]:
        mask = mask[:, ::2]  # as a convolution of stride 2 takes them
    if mask.shape[1] != value.shape[1]:
        raise ValueError(
            f"{name} answers with {value.shape[1]} steps for {x.shape[1]}, so that it is not known which of them count in series of different "
            "lengths: choose another layer"
        )
    return mean_of_valid(value, mask)


def _last_linear(net: nn.Module) -> str:
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise ValueError(
            "the network has no linear layer whose input could be taken: name a layer, features(net, x, layer=...)"
        )
    return names[-1]


def _scaling_for(net: nn.Module, stored: np.ndarray, precision: str) -> Scaling:
    """As the published weights expect, for bytes; floating numbers enter as they are."""
    num = stored.shape[2] if stored.ndim == 3 else stored.shape[1]
    mean, std = (0.0,) * num, (1.0,) * num
    if stored.dtype.kind != "f":
        published = getattr(net, "published", None)
        given = None if published is None else (published.mean, published.std)
        if given is None or None in given or stored.dtype != np.uint8 or len(given[0]) != num:
            raise ValueError(
                f"x has {stored.dtype} values of shape {list(stored.shape)}, and it is not known how they are to be scaled for this network: "
                "pass a run in its place, bytes [N, C, H, W] for a network with published weights, or floating numbers as they enter it"
            )
        mean, std = (tuple(255.0 * v for v in values) for values in given)
    return Scaling(
        mean=mean,
        std=std,
        dtype=str(stored.dtype),
        shape=stored.shape[1:],
        source="as given",
        precision=precision,
    )
