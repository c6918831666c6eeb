"""Both sides of P12: one process holds one way to fit an MLP (100, 100) to a table, and fits it anew whenever it is asked.

A fit begins with the arrays in memory and ends with trained weights: scaling, the making of the network, our precision probe (with
nothing remembered), Keras' tracing and the epochs are inside; imports are outside. All use Adam, 1e-3 (our whole run: what a recipe
that says nothing takes), and the same batch.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from protocol import clock, serve

warnings.filterwarnings("ignore")
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
_state: dict[str, Any] = {}
Fitted = Callable[[np.ndarray], np.ndarray]


def build(setting: str, folder: str, batch: int, epochs: int) -> dict[str, Any]:
    """Read the arrays, and import what the setting needs."""
    for name in ("x", "y", "x_test", "y_test"):
        _state[name] = np.load(Path(folder) / f"{name}.npy")
    _state.update(batch=batch, epochs=epochs, fit=SETTINGS[setting])
    return {"versions": VERSIONS[setting.partition(",")[0]]()}


def fit(seed: int) -> dict[str, Any]:
    """Seconds of a whole fit, and the accuracy on the test rows."""
    x, y = _state["x"], _state["y"]
    start = clock()
    predict = _state["fit"](x, y, seed, _state["batch"], _state["epochs"])
    seconds = clock() - start
    return {"seconds": seconds, "accuracy": float((predict(_state["x_test"]) == _state["y_test"]).mean())}


def ours(x: np.ndarray, y: np.ndarray, seed: int, batch: int, epochs: int) -> Fitted:
    """The loop of `hubel.fitting.steps`, after the probe."""
    os.environ["HUBEL_CACHE"] = tempfile.mkdtemp()
    import torch

    from hubel import fitting, nets, objectives
    from hubel.core import random
    from hubel.data import from_arrays
    from hubel.data.batches import Batches
    from hubel.data.preprocessing import scaling_of
    from hubel.fitting.run import outputs_of

    data = from_arrays(x, y)
    scaling, cpu = scaling_of(data), torch.device("cpu")
    with random.torch_seeded(seed, "initial weights"):
        net = nets.mlp((100, 100), inputs=x.shape[1], outputs=2)
    objective = objectives.CrossEntropy(2)
    batches = Batches(data=data, scaling=scaling, batch_size=batch, seed=seed)
    precision, _, _ = fitting.probe(net, objective, next(batches.epoch(1)), seconds=0.05, device=cpu)
    rule = fitting.Backprop(
        fitting.AdamW(learning_rate=1e-3, weight_decay=0.0).build(net), autocast=precision.autocast(cpu)
    )
    step = 0
    with fitting.machine.threads(precision.threads):
        for epoch in range(1, epochs + 1):
            for record in fitting.steps(
                net, objective, batches.epoch(epoch), rule=rule, seed=seed, epoch=epoch, first_step=step
            ):
                step = record.step

    def predict(new: np.ndarray) -> np.ndarray:
        return outputs_of(net, scaling, precision, new, cpu, batch_size=4096).argmax(1).numpy()

    return predict


def ours_whole(x: np.ndarray, y: np.ndarray, seed: int, batch: int, epochs: int) -> Fitted:
    """`hubel.fit`, its own network and optimizer: with validation and test part, duplicates, checkpoints, scores, predictions and report."""
    os.environ["HUBEL_CACHE"] = tempfile.mkdtemp()
    import hubel

    recipe = hubel.Recipe(epochs=epochs, batch_size=batch, seed=seed)
    run = hubel.fit(x, y, recipe=recipe, out=tempfile.mkdtemp() + "/run", quiet=True)
    return lambda new: run.predict(new).values


def scikit_learn(x: np.ndarray, y: np.ndarray, seed: int, batch: int, epochs: int) -> Fitted:
    """MLPClassifier on standardized columns."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    net = MLPClassifier((100, 100), batch_size=batch, max_iter=epochs, random_state=seed)
    return make_pipeline(StandardScaler(), net).fit(x, y).predict


def torch_loop(x: np.ndarray, y: np.ndarray, seed: int, batch: int, epochs: int) -> Fitted:
    """The loop of the tutorials: a DataLoader over tensors, Adam."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    net, mean, std = _torch_net(x, seed)
    inputs = torch.from_numpy((x - mean) / std)
    loader = DataLoader(TensorDataset(inputs, torch.from_numpy(y)), batch_size=batch, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for rows, targets in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(rows), targets).backward()
            optimizer.step()
    return _torch_predict(net, mean, std)


def torch_resident(x: np.ndarray, y: np.ndarray, seed: int, batch: int, epochs: int) -> Fitted:
    """The leanest loop that torch allows: one permutation, one gather a batch, fused Adam, nothing recorded."""
    import torch

    net, mean, std = _torch_net(x, seed)
    inputs, targets = torch.from_numpy((x - mean) / std), torch.from_numpy(y)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    return _torch_predict(net, mean, std)


def keras_fit(x: np.ndarray, y: np.ndarray, seed: int, batch: int, epochs: int, *, tuned: bool) -> Fitted:
    """`model.fit` on NumPy arrays; tuned: twenty steps an execution, on a cached pipeline."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    mean, std = x.mean(0), x.std(0)
    rows = (x - mean) / std
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input((x.shape[1],)), dense(100, "relu"), dense(100, "relu"), dense(2, "softmax")]
    )
    more = {"steps_per_execution": 20} if tuned else {}
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", **more)
    if tuned:
        data = tf.data.Dataset.from_tensor_slices((rows, y)).cache().shuffle(10_000).batch(batch)
        model.fit(data.prefetch(tf.data.AUTOTUNE), epochs=epochs, verbose=0)
    else:
        model.fit(rows, y, batch_size=batch, epochs=epochs, verbose=0)
    return lambda new: model.predict((new - mean) / std, batch_size=4096, verbose=0).argmax(1)


def _torch_net(x: np.ndarray, seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    import torch
    from torch import nn

    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(x.shape[1], 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 2)
    )
    return net, x.mean(0), x.std(0)


def _torch_predict(net: Any, mean: np.ndarray, std: np.ndarray) -> Fitted:
    import torch

    def predict(new: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy((new - mean) / std)).argmax(1).numpy()

    return predict


def _of(*names: str) -> Callable[[], dict[str, str]]:
    def versions() -> dict[str, str]:
        import importlib

        return {name: str(importlib.import_module(name).__version__) for name in names}

    return versions


def _ours_versions() -> dict[str, str]:
    from hubel.fitting import machine

    return machine.versions()


SETTINGS: dict[str, Callable[..., Fitted]] = {
    "hubel": ours,
    "hubel, whole run": ours_whole,
    "scikit-learn": scikit_learn,
    "torch": torch_loop,
    "torch, lean": torch_resident,
    "Keras/TF": lambda *given: keras_fit(*given, tuned=False),
    "Keras/TF, tuned": lambda *given: keras_fit(*given, tuned=True),
}
VERSIONS = {
    "hubel": _ours_versions,
    "scikit-learn": _of("sklearn"),
    "torch": _of("torch"),
    "Keras/TF": _of("keras", "tensorflow"),
}

if __name__ == "__main__":
    serve({"build": build, "fit": fit})
