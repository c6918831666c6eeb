"""Our side of P1, P2, P13 and the overhead: a process that trains through `hubel.fitting.steps`, as a user's own loop would.

Precision, layout and threads are what hubel's probe chooses on this machine; its memory is emptied first, so that the time of
the probe stands in the warm-up.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from protocol import clock, serve

_state: dict[str, Any] = {}


def build(network: str, folder: str, batch: int, seed: int = 0, setting: str = "hubel") -> dict[str, Any]:
    """Read the data, make the network, probe, and train the first ten batches; `warm_up_seconds` leave import and reading out."""
    os.environ["HUBEL_CACHE"] = tempfile.mkdtemp()
    import torch

    from hubel import fitting, nets, objectives
    from hubel.data import Dataset, from_arrays
    from hubel.data.batches import Batches
    from hubel.data.preprocessing import scaling_of

    itself = network == "autoencoder"
    x = np.load(Path(folder) / "x.npy")
    y = "self" if itself else np.load(Path(folder) / "y.npy")
    if network == "text":
        size = int(x.max()) + 1
        data = Dataset(inputs=x, targets=y, alphabet=tuple(chr(32 + k) for k in range(size)))
    else:
        data = from_arrays(x, y if itself else y.astype(np.int64), symmetries=())
    start = clock()
    torch.manual_seed(seed)
    scaling = scaling_of(data)
    objective: Any = objectives.CrossEntropy(10)
    if itself:
        net, choice = small_autoencoder(), fitting.AdamW(learning_rate=1e-3, weight_decay=0.0)
        objective = objectives.Reconstruction(scaling=scaling, loss="binary")
    elif network == "mnist":
        net, choice = nets.simple_cnn(inputs=data.shape), fitting.AdamW(learning_rate=1e-3, weight_decay=0.0)
    elif network == "text":
        net = nets.character_lm("lstm", 256, layers=1, dropout=0.0, inputs=size)
        choice = fitting.AdamW(learning_rate=1e-3, weight_decay=0.0)
        objective = objectives.NextSymbol(size)
    else:
        net, choice = (
            nets.resnet(20, inputs=data.shape),
            fitting.SGD(learning_rate=0.01, nesterov=False, weight_decay=0.0),
        )
    first = next(Batches(data=data, scaling=scaling, batch_size=batch).epoch(1))
    precision, _, why = fitting.probe(net, objective, first, seconds=60, device=torch.device("cpu"))
    torch.set_num_threads(precision.threads)
    net = precision.place(net, torch.device("cpu"))
    _state.update(
        net=net,
        objective=objective,
        data=data,
        scaling=scaling,
        batch=batch,
        precision=precision,
        epoch=0,
        step=0,
    )
    _state["rule"] = fitting.Backprop(choice.build(net), autocast=precision.autocast(torch.device("cpu")))
    _state["batches"] = Batches(
        data=data, scaling=scaling, batch_size=batch, seed=seed, layout=precision.layout
    )
    train(10 * batch)
    warm_up = clock() - start
    return {
        "warm_up_seconds": warm_up,
        "versions": fitting.machine.versions(),
        "precision": str(precision),
        "why": why,
    }


def train(images: int) -> dict[str, Any]:
    """One pass over that many images of a fresh shuffle."""
    from hubel import fitting

    s = _state
    s["epoch"] += 1
    steps = -(-images // s["batch"])
    start = clock()
    for record in fitting.steps(
        s["net"],
        s["objective"],
        s["batches"].epoch(s["epoch"]),
        rule=s["rule"],
        epoch=s["epoch"],
        first_step=s["step"],
    ):
        if record.step - s["step"] == steps:
            break
    s["step"] = record.step
    return {"seconds": clock() - start, "loss": record.loss}


def small_autoencoder() -> Any:
    """The convolutional autoencoder of the Keras blog (blog.keras.io/building-autoencoders-in-keras.html), 4,385 parameters; pooled before
    the ReLU (`MaxPoolReLU`), which is the same function with a quarter of the work, and without the sigmoid, which the loss applies.
    """
    from torch import nn

    from hubel.layers.pooling import MaxPoolReLU

    def halved(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, padding=1), MaxPoolReLU(ceil_mode=True)]

    def doubled(before: int, after: int, padding: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(before, after, 3, padding=padding),
            nn.ReLU(inplace=True),
            nn.Upsample(scale_factor=2),
        ]

    return nn.Sequential(
        *halved(1, 16), *halved(16, 8), *halved(8, 8),
        *doubled(8, 8), *doubled(8, 8), *doubled(8, 16, padding=0), nn.Conv2d(16, 1, 3, padding=1),
    )  # fmt: skip


def operations() -> dict[str, Any]:
    """Floating-point operations of forward and backward pass, an image: matrix products and convolutions, 2 a multiply-add."""
    import copy

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    s = _state
    batch = next(s["batches"].in_order(s["batch"]))
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        s["objective"](copy.deepcopy(s["net"]).train(), batch).total.backward()
    return {"operations": counter.get_total_flops() / len(batch)}


def matrix_peak(size: int = 2048, seconds: float = 1.0) -> dict[str, Any]:
    """The best rate of a bf16 matrix product of two size × size matrices here, in operations a second."""
    import torch

    a, b = torch.randn(2, size, size).to(torch.bfloat16)
    out = torch.empty_like(a)
    best, start = 0.0, clock()
    while clock() - start < seconds:
        begun = clock()
        torch.mm(a, b, out=out)
        best = max(best, 2 * size**3 / (clock() - begun))
    return {"rate": best}


if __name__ == "__main__":
    serve({"build": build, "train": train, "operations": operations, "matrix_peak": matrix_peak})
