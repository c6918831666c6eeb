"""The peers' side of P1, P2, P3 and P14: one process holds one framework in one setting. It runs in an environment without hubel.

Every class trains the same network on the same images [N, H, W, C] uint8: `train(images)` makes one pass over that many
(whole batches of a fresh shuffle) and answers seconds; `evaluate()` is the test accuracy. "default" is the form in which the
framework's own tutorial is written; the others are its documented means to be faster.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from protocol import clock, serve

warnings.filterwarnings("ignore")
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))


class Data:
    """The arrays that the parent wrote."""

    def __init__(self, folder: str):
        self.x = np.load(Path(folder) / "x.npy")
        self.y = np.load(Path(folder) / "y.npy").astype(np.int64)
        test = Path(folder) / "x_test.npy"
        self.x_test = np.load(test) if test.exists() else None
        self.y_test = np.load(Path(folder) / "y_test.npy").astype(np.int64) if test.exists() else None


# --- Keras on TensorFlow ---------------------------------------------------------------------------------------------------


class Keras:
    """`model.fit` on NumPy arrays, as in the Keras examples; or on a cached, prefetched tf.data pipeline with its options."""

    def __init__(
        self, network: str, data: Data, batch: int, seed: int, *, pipeline: bool, jit: bool, bfloat16: bool
    ):
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
        self.tf, self.batch, self.pipeline, self.data = tf, batch, pipeline, data
        keras.utils.set_random_seed(seed)
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if bfloat16 else "float32")
        shape = data.x.shape[1:]
        self.x = data.x.astype("float32") / 255
        self.y = keras.utils.to_categorical(data.y, 10)
        loss, metrics = "categorical_crossentropy", ["accuracy"]
        if network == "autoencoder":
            self.model, optimizer = keras_autoencoder(keras, shape), "adam"
            self.y, loss, metrics = self.x, "binary_crossentropy", []
        elif network == "mnist":
            self.model = keras_mnist(keras, shape)
            optimizer: Any = "adam"
        else:
            self.model = keras_resnet20(keras, shape)
            optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        more = {"steps_per_execution": 20, "jit_compile": jit} if pipeline else {}
        self.model.compile(loss=loss, optimizer=optimizer, metrics=metrics, **more)
        self._made: dict[int, Any] = {}

    def train(self, images: int) -> float:
        if not self.pipeline:
            x, y = self.x[:images], self.y[:images]
            start = clock()
            self.model.fit(x, y, batch_size=self.batch, epochs=1, verbose=0)
            return clock() - start
        data = self._pipeline(images)
        start = clock()
        self.model.fit(data, epochs=1, verbose=0)
        return clock() - start

    def _pipeline(self, images: int) -> Any:
        if images not in self._made:
            tf = self.tf
            rows = tf.data.Dataset.from_tensor_slices((self.x[:images], self.y[:images]))
            rows = rows.cache().shuffle(min(images, 10_000), reshuffle_each_iteration=True)
            whole = images % self.batch == 0
            self._made[images] = rows.batch(self.batch, drop_remainder=whole).prefetch(tf.data.AUTOTUNE)
        return self._made[images]

    def evaluate(self) -> float:
        scores = self.model.predict(self.data.x_test.astype("float32") / 255, batch_size=1000, verbose=0)
        return float((scores.argmax(1) == self.data.y_test).mean())


def keras_mnist(keras: Any, shape: tuple[int, ...]) -> Any:
    """The network of keras.io/examples/vision/mnist_convnet."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input(shape=shape),
        layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax", dtype="float32"),
    ])  # fmt: skip


def keras_autoencoder(keras: Any, shape: tuple[int, ...]) -> Any:
    """The convolutional autoencoder of blog.keras.io/building-autoencoders-in-keras.html."""
    layers = keras.layers
    return keras.Sequential([
        keras.Input(shape=shape),
        layers.Conv2D(16, (3, 3), activation="relu", padding="same"),
        layers.MaxPooling2D((2, 2), padding="same"),
        layers.Conv2D(8, (3, 3), activation="relu", padding="same"),
        layers.MaxPooling2D((2, 2), padding="same"),
        layers.Conv2D(8, (3, 3), activation="relu", padding="same"),
        layers.MaxPooling2D((2, 2), padding="same"),
        layers.Conv2D(8, (3, 3), activation="relu", padding="same"),
        layers.UpSampling2D((2, 2)),
        layers.Conv2D(8, (3, 3), activation="relu", padding="same"),
        layers.UpSampling2D((2, 2)),
        layers.Conv2D(16, (3, 3), activation="relu"),
        layers.UpSampling2D((2, 2)),
        layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same", dtype="float32"),
    ])  # fmt: skip


def keras_resnet20(keras: Any, shape: tuple[int, ...]) -> Any:
    """He et al. 2016, section 4.2, with parameter-free shortcuts."""
    layers, ops = keras.layers, keras.ops

    class Shortcut(layers.Layer):
        def call(self, x: Any) -> Any:
            kept = x[:, ::2, ::2, :]
            return ops.pad(kept, ((0, 0), (0, 0), (0, 0), (0, x.shape[-1])))

    def convolution(x: Any, channels: int, stride: int = 1) -> Any:
        x = layers.Conv2D(
            channels, 3, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)

    inputs = keras.Input(shape=shape)
    x = layers.ReLU()(convolution(inputs, 16))
    for channels in (16, 32, 64):
        for block in range(3):
            stride = 2 if channels > 16 and block == 0 else 1
            y = layers.ReLU()(convolution(x, channels, stride))
            y = convolution(y, channels)
            x = layers.ReLU()(layers.add([y, Shortcut()(x) if stride == 2 else x]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax", dtype="float32")(x))


# --- torch ------------------------------------------------------------------------------------------------------------------


def torch_mnist(shape: tuple[int, ...]) -> Any:
    """The same network in torch's own layers, in the usual order."""
    from torch import nn

    height, width, channels = shape
    side = ((height - 2) // 2 - 2) // 2, ((width - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(64 * side[0] * side[1], 10),
    )  # fmt: skip


def torch_resnet20(shape: tuple[int, ...]) -> Any:
    """He et al. 2016, section 4.2, with parameter-free shortcuts, in torch's own layers."""
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, channels: int, stride: int):
            super().__init__()
            self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.stride, self.more = stride, channels - before

        def forward(self, x: Any) -> Any:
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            y = self.bn2(self.conv2(y))
            if self.stride == 2:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))
            return F.relu(y + x, inplace=True)

    stages = [Block(before, channels, stride) for before, channels, stride in (
        (16, 16, 1), (16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1),
    )]  # fmt: skip
    head = (nn.Conv2d(shape[2], 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    return nn.Sequential(*head, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def torch_autoencoder() -> Any:
    """The same network in torch's own layers, in the usual order; the loss applies the sigmoid."""
    from torch import nn

    def relu(before: int, after: int, padding: int = 1) -> tuple[Any, Any]:
        return nn.Conv2d(before, after, 3, padding=padding), nn.ReLU()

    def pool() -> Any:
        return nn.MaxPool2d(2, ceil_mode=True)

    def double() -> Any:
        return nn.Upsample(scale_factor=2)

    return nn.Sequential(
        *relu(1, 16), pool(), *relu(16, 8), pool(), *relu(8, 8), pool(),
        *relu(8, 8), double(), *relu(8, 8), double(), *relu(8, 16, 0), double(), nn.Conv2d(16, 1, 3, padding=1),
    )  # fmt: skip


def torch_parts(network: str, data: Data, seed: int) -> tuple[Any, Any, Any]:
    """Network, and images and classes as tensors [N, C, H, W] float32, [N]."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    x = torch.from_numpy(np.ascontiguousarray(data.x.transpose(0, 3, 1, 2))).float().div_(255)
    if network == "autoencoder":
        return torch_autoencoder(), x, x
    net = torch_mnist(data.x.shape[1:]) if network == "mnist" else torch_resnet20(data.x.shape[1:])
    return net, x, torch.from_numpy(data.y)


def torch_optimizer(network: str, net: Any, *, fused: bool) -> Any:
    import torch

    more = {"fused": True} if fused else {}
    if network in ("mnist", "autoencoder"):
        return torch.optim.Adam(net.parameters(), lr=1e-3, **more)
    return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, **more)


class TorchLoop:
    """The tutorial's loop over a DataLoader; "tuned" adds channels_last, bf16 autocast, a fused optimizer and whole batches from
    the dataset (a BatchSampler, as the DataLoader's documentation proposes for data that are arrays); "resident" has no DataLoader."""

    def __init__(
        self, network: str, data: Data, batch: int, seed: int, *, tuned: bool, resident: bool, compiled: bool
    ):
        import torch

        self.torch, self.batch, self.tuned, self.resident = torch, batch, tuned, resident
        self.net, self.x, self.y = torch_parts(network, data, seed)
        if tuned:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch_optimizer(network, self.net, fused=tuned)
        self.model = torch.compile(self.net) if compiled else self.net
        self.loss = torch.nn.BCEWithLogitsLoss() if network == "autoencoder" else torch.nn.CrossEntropyLoss()

    def _batches(self, images: int) -> Any:
        from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

        if self.resident:
            order = self.torch.randperm(images)
            return ((self.x[rows], self.y[rows]) for rows in order.split(self.batch))
        dataset = TensorDataset(self.x[:images], self.y[:images])
        if self.tuned:
            sampler = BatchSampler(RandomSampler(dataset), self.batch, drop_last=False)
            return DataLoader(dataset, sampler=sampler, batch_size=None)
        return DataLoader(dataset, batch_size=self.batch, shuffle=True)

    def train(self, images: int) -> float:
        torch = self.torch
        self.net.train()
        start = clock()
        for x, y in self._batches(images):
            self.optimizer.zero_grad()
            if self.tuned:
                arranged = x.contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = self.loss(self.model(arranged), y)
            else:
                loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
        return clock() - start


class Lightning:
    """`Trainer.fit`; "lean" without logger, checkpoints, progress bar and model summary, and with bf16."""

    def __init__(self, network: str, data: Data, batch: int, seed: int, *, lean: bool):
        import logging

        import lightning
        import torch

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        net, self.x, self.y = torch_parts(network, data, seed)
        self.lightning, self.batch, self.lean = lightning, batch, lean

        class Model(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def training_step(self, batch: Any, number: int) -> Any:
                x, y = batch
                loss = torch.nn.functional.cross_entropy(self.net(x), y)
                self.log("train_loss", loss)
                return loss

            def configure_optimizers(self) -> Any:
                return torch_optimizer(network, self.net, fused=False)

        self.model = Model()

    def train(self, images: int) -> float:
        import tempfile

        from torch.utils.data import DataLoader, TensorDataset

        class Watch(self.lightning.Callback):  # type: ignore[name-defined, misc]
            def on_train_start(self, *_: Any) -> None:
                self.start = clock()

            def on_train_end(self, *_: Any) -> None:
                self.seconds = clock() - self.start

        loader = DataLoader(
            TensorDataset(self.x[:images], self.y[:images]), batch_size=self.batch, shuffle=True
        )
        watch = Watch()
        lean = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "precision": "bf16-mixed",
        }
        with tempfile.TemporaryDirectory() as folder:
            trainer = self.lightning.Trainer(
                max_epochs=1,
                accelerator="cpu",
                default_root_dir=folder,
                callbacks=[watch],
                **(lean if self.lean else {}),
            )
            trainer.fit(self.model, loader)
        return float(watch.seconds)


class Skorch:
    """`NeuralNetClassifier.partial_fit`, without its validation split (nobody else here has one)."""

    def __init__(self, network: str, data: Data, batch: int, seed: int):
        import torch
        from skorch import NeuralNetClassifier

        net, self.x, self.y = torch_parts(network, data, seed)
        adam = network == "mnist"
        more = {} if adam else {"optimizer__momentum": 0.9}
        self.net = NeuralNetClassifier(
            net,
            criterion=torch.nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam if adam else torch.optim.SGD,
            lr=1e-3 if adam else 0.01,
            batch_size=batch,
            max_epochs=1,
            train_split=None,
            iterator_train__shuffle=True,
            verbose=0,
            **more,
        )
        self.net.initialize()

    def train(self, images: int) -> float:
        x, y = self.x[:images], self.y[:images]
        start = clock()
        self.net.partial_fit(x, y)
        return clock() - start


class Fastai:
    """`Learner.fit` over fastai's own DataLoader."""

    def __init__(self, network: str, data: Data, batch: int, seed: int):
        net, self.x, self.y = torch_parts(network, data, seed)
        self.net, self.batch, self.network = net, batch, network

    def train(self, images: int) -> float:
        import torch
        from fastai.basics import DataLoader, DataLoaders, Learner
        from fastai.callback import progress  # noqa: F401 - gives Learner its `no_bar`
        from fastai.optimizer import SGD, Adam

        if images not in getattr(self, "made", {}):
            rows = list(zip(self.x[:images], self.y[:images], strict=True))
            loaders = DataLoaders(
                DataLoader(rows, bs=self.batch, shuffle=True, num_workers=0),
                DataLoader(rows[: self.batch], bs=self.batch),
            )
            optimizer = Adam if self.network == "mnist" else SGD
            learner = Learner(
                loaders, self.net, loss_func=torch.nn.CrossEntropyLoss(), opt_func=optimizer, lr=1e-3
            )
            self.made = {images: learner}
        learner = self.made[images]
        with learner.no_bar(), learner.no_logging():
            start = clock()
            learner.fit(1)
            return clock() - start


SETTINGS: dict[str, Any] = {
    "Keras/TF": lambda *a: Keras(*a, pipeline=False, jit=False, bfloat16=False),
    "Keras/TF, tf.data": lambda *a: Keras(*a, pipeline=True, jit=False, bfloat16=False),
    "Keras/TF, tf.data, XLA": lambda *a: Keras(*a, pipeline=True, jit=True, bfloat16=False),
    "Keras/TF, tf.data, bf16": lambda *a: Keras(*a, pipeline=True, jit=False, bfloat16=True),
    "torch + DataLoader": lambda *a: TorchLoop(*a, tuned=False, resident=False, compiled=False),
    "torch, tuned DataLoader": lambda *a: TorchLoop(*a, tuned=True, resident=False, compiled=False),
    "torch, tuned, resident": lambda *a: TorchLoop(*a, tuned=True, resident=True, compiled=False),
    "torch, tuned, compiled": lambda *a: TorchLoop(*a, tuned=True, resident=True, compiled=True),
    "Lightning": lambda *a: Lightning(*a, lean=False),
    "Lightning, lean, bf16": lambda *a: Lightning(*a, lean=True),
    "skorch": Skorch,
    "fastai": Fastai,
}
_state: dict[str, Any] = {}


def build(
    setting: str, network: str, folder: str, batch: int, seed: int = 0, warm: bool = True
) -> dict[str, Any]:
    """Import, read the data, make the network, and (`warm`) train ten batches; `warm_up_seconds` leave import and reading out."""
    data = Data(folder)
    framework = "keras" if setting.startswith("Keras") else "torch"
    if framework == "keras":
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    else:
        import torch  # noqa: F401
    start = clock()
    _state["side"] = SETTINGS[setting](network, data, batch, seed)
    if warm:
        _state["side"].train(10 * batch)
    return {"warm_up_seconds": clock() - start, "versions": versions(setting)}


def train(images: int) -> dict[str, Any]:
    return {"seconds": _state["side"].train(images)}


def evaluate() -> dict[str, Any]:
    return {"accuracy": _state["side"].evaluate()}


def versions(setting: str) -> dict[str, str]:
    """Of what decides this side's numbers."""
    from importlib.metadata import version

    packages = {"Keras": ("keras", "tensorflow-cpu"), "torch": ("torch",), "Light": ("lightning", "torch")}
    names = next(
        (value for start, value in packages.items() if setting.startswith(start)), (setting, "torch")
    )
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = version(name)
        except Exception:
            found[name] = "?"
    return found


if __name__ == "__main__":
    serve({"build": build, "train": train, "evaluate": evaluate})
