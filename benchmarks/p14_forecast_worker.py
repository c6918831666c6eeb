"""All sides of the forecasting part of P14: one process holds one framework in one setting. Peers run without hubel.

Every side trains the same network on the same series [T, F] float32: windows of `length` steps, the next `horizon` values of column 0.
`train(windows)` makes one pass over that many (whole batches of a fresh shuffle) and answers seconds.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from protocol import clock, serve

warnings.filterwarnings("ignore")
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


def cut(series: np.ndarray, length: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """All windows [N, L, F] and what follows them [N, H], scaled, as arrays of their own."""
    series = (series - series.mean(0)) / series.std(0)
    view = np.lib.stride_tricks.sliding_window_view
    x = view(series[:-horizon], length, axis=0).swapaxes(1, 2)
    return np.ascontiguousarray(x), np.ascontiguousarray(view(series[length:, 0], horizon))


class Ours:
    """`hubel.fitting.steps` over the windows of `hubel.data.forecasting`, as a user's own loop would."""

    def __init__(self, series: np.ndarray, length: int, horizon: int, hidden: int, batch: int):
        os.environ["HUBEL_CACHE"] = tempfile.mkdtemp()
        import torch

        from hubel import data, fitting, nets
        from hubel.data.batches import Batches
        from hubel.data.preprocessing import scaling_of
        from hubel.workflows.choices import choose_objective

        windows = data.forecasting(series, horizon, length=length, target=0)
        torch.manual_seed(0)
        net: Any = nets.recurrent("lstm", hidden, inputs=windows.shape, outputs=horizon)
        objective, scaling, device = choose_objective(windows)[0], scaling_of(windows), torch.device("cpu")
        first = next(Batches(data=windows, scaling=scaling, batch_size=batch).epoch(1))
        precision, _, self.why = fitting.probe(net, objective, first, seconds=60, device=device)
        torch.set_num_threads(precision.threads)
        net = precision.place(net, device)
        choice = fitting.AdamW(learning_rate=1e-3, weight_decay=0.0)
        self.fitting, self.net, self.objective, self.batch = fitting, net, objective, batch
        self.precision, self.epoch, self.step = str(precision), 0, 0
        self.rule = fitting.Backprop(choice.build(net), autocast=precision.autocast(device))
        self.batches = Batches(data=windows, scaling=scaling, batch_size=batch)

    def train(self, windows: int) -> float:
        self.epoch += 1
        steps, first = -(-windows // self.batch), self.step
        start = clock()
        for record in self.fitting.steps(
            self.net,
            self.objective,
            self.batches.epoch(self.epoch),
            rule=self.rule,
            epoch=self.epoch,
            first_step=first,
        ):
            self.step = record.step
            if record.step - first == steps:
                break
        return clock() - start


class Keras:
    """`model.fit` on arrays, as in the Keras forecasting examples; or on a cached, prefetched tf.data pipeline with its options."""

    def __init__(
        self,
        series: np.ndarray,
        length: int,
        horizon: int,
        hidden: int,
        batch: int,
        *,
        pipeline: bool,
        jit: bool,
    ):
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
        keras.utils.set_random_seed(0)
        self.tf, self.batch, self.pipeline = tf, batch, pipeline
        self.x, self.y = cut(series, length, horizon)
        self.model = keras.Sequential(
            [keras.Input(shape=self.x.shape[1:]), keras.layers.LSTM(hidden), keras.layers.Dense(horizon)]
        )
        more = {"steps_per_execution": 20, "jit_compile": jit} if pipeline else {}
        self.model.compile(loss="mse", optimizer=keras.optimizers.Adam(1e-3), **more)
        self._made: dict[int, Any] = {}

    def train(self, windows: int) -> float:
        if not self.pipeline:
            x, y = self.x[:windows], self.y[:windows]
            start = clock()
            self.model.fit(x, y, batch_size=self.batch, epochs=1, verbose=0)
            return clock() - start
        if windows not in self._made:
            rows = self.tf.data.Dataset.from_tensor_slices((self.x[:windows], self.y[:windows]))
            rows = rows.cache().shuffle(min(windows, 10_000), reshuffle_each_iteration=True)
            self._made[windows] = rows.batch(self.batch, drop_remainder=windows % self.batch == 0).prefetch(
                self.tf.data.AUTOTUNE
            )
        start = clock()
        self.model.fit(self._made[windows], epochs=1, verbose=0)
        return clock() - start


class Torch:
    """The tutorial's loop over a DataLoader; "resident" cuts each batch out of the series and has a fused optimizer."""

    def __init__(
        self,
        series: np.ndarray,
        length: int,
        horizon: int,
        hidden: int,
        batch: int,
        *,
        resident: bool,
        compiled: bool,
    ):
        import torch

        torch.set_num_threads(THREADS)
        torch.manual_seed(0)

        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lstm = torch.nn.LSTM(series.shape[1], hidden, batch_first=True)
                self.dense = torch.nn.Linear(hidden, horizon)

            def forward(self, x: Any) -> Any:
                return self.dense(self.lstm(x)[0][:, -1])

        self.torch, self.batch, self.resident = torch, batch, resident
        self.net = Net()
        self.model = torch.compile(self.net) if compiled else self.net
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=resident)
        if resident:
            scaled = torch.from_numpy((series - series.mean(0)) / series.std(0))
            self.x = scaled[:-horizon].unfold(0, length, 1).transpose(1, 2)
            self.y = scaled[length:, 0].unfold(0, horizon, 1)
        else:
            self.x, self.y = (torch.from_numpy(part) for part in cut(series, length, horizon))

    def train(self, windows: int) -> float:
        from torch.utils.data import DataLoader, TensorDataset

        loss_of = self.torch.nn.MSELoss()
        self.net.train()
        if self.resident:
            order = self.torch.randperm(windows)
            batches: Any = ((self.x[rows], self.y[rows]) for rows in order.split(self.batch))
        else:
            rows = TensorDataset(self.x[:windows], self.y[:windows])
            batches = DataLoader(rows, batch_size=self.batch, shuffle=True)
        start = clock()
        for x, y in batches:
            self.optimizer.zero_grad()
            loss_of(self.model(x), y).backward()
            self.optimizer.step()
        return clock() - start


SETTINGS: dict[str, Any] = {
    "hubel": Ours,
    "Keras/TF": lambda *a: Keras(*a, pipeline=False, jit=False),
    "Keras/TF, tf.data": lambda *a: Keras(*a, pipeline=True, jit=False),
    "Keras/TF, tf.data, XLA": lambda *a: Keras(*a, pipeline=True, jit=True),
    "torch + DataLoader": lambda *a: Torch(*a, resident=False, compiled=False),
    "torch, resident": lambda *a: Torch(*a, resident=True, compiled=False),
    "torch, resident, compiled": lambda *a: Torch(*a, resident=True, compiled=True),
}
_state: dict[str, Any] = {}


def build(setting: str, folder: str, length: int, horizon: int, hidden: int, batch: int) -> dict[str, Any]:
    """Import, read the series, make the network, and train ten batches; `warm_up_seconds` leave import and reading out."""
    series = np.load(Path(folder) / "series.npy")
    if setting.startswith("Keras"):
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    else:
        import torch  # noqa: F401
    start = clock()
    side = _state["side"] = SETTINGS[setting](series, length, horizon, hidden, batch)
    side.train(10 * batch)
    seconds = clock() - start
    more = {"why": side.why, "precision": side.precision} if setting == "hubel" else {}
    return {"warm_up_seconds": seconds, "versions": versions(setting), **more}


def train(windows: int) -> dict[str, Any]:
    return {"seconds": _state["side"].train(windows)}


def versions(setting: str) -> dict[str, str]:
    """Of what decides this side's numbers."""
    from importlib.metadata import version

    names = ("keras", "tensorflow-cpu") if setting.startswith("Keras") else ("torch",)
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except Exception:
            found[name] = "?"
    return found


if __name__ == "__main__":
    serve({"build": build, "train": train})
