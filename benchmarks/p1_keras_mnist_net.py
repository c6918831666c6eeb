"""P1: training the Keras MNIST example network on Fashion-MNIST, batch 128, Adam 1e-3: images a second.

python benchmarks/p1_keras_mnist_net.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from protocol import Machine, arguments, find_data, say, target, write
from training_rate import made_images, measure, write_arrays

PEERS = (
    "Keras/TF",
    "Keras/TF, tf.data",
    "Keras/TF, tf.data, XLA",
    "Keras/TF, tf.data, bf16",
    "torch + DataLoader",
    "torch, tuned DataLoader",
    "torch, tuned, resident",
    "torch, tuned, compiled",
    "Lightning",
    "Lightning, lean, bf16",
    "skorch",
    "fastai",
)
BATCH = 128


def main() -> None:
    given = arguments(__doc__)
    machine = Machine()
    with tempfile.TemporaryDirectory() as folder:
        images = 2 * BATCH if given.quick else 200 * BATCH
        if given.quick:
            given.pairs = 1
            x, y = made_images(10 * BATCH, (28, 28, 1))
        else:
            found = fashion()
            if found is None:
                return
            x, y = found
        write_arrays(Path(folder), x=x, y=y)
        rates = measure("mnist", folder, PEERS, given, images=images, batch=BATCH)
    targets = []
    for start, name, wanted in (("Keras/TF", "Keras/TF", 1.6), ("torch", "torch + DataLoader", 2.5)):
        if (ratio := rates.ratio(name)) is not None:
            text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"
            targets.append(target(f"≥ {wanted} × {name}", text, ratio.median >= wanted))
            best, ratio = rates.best(start) or ("", ratio)
            text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}] ({best})"
            targets.append(
                target(f"(beside it: its fastest setting, {wanted} ×)", text, ratio.median >= wanted)
            )
    if not given.quick:
        targets.append(
            target(
                "15,000 images/s if the profile allows",
                f"{rates.ours.median:,.0f}",
                rates.ours.median >= 15_000,
            )
        )
    result = {
        "id": "P1",
        "title": "Training a small convolutional network",
        "work": "the Keras MNIST example network (34,826 parameters), Fashion-MNIST, batch 128, Adam 1e-3, images/s of training",
        "machine": machine.as_json(given.threads),
        "versions": rates.versions,
        "rows": rates.rows(),
        "targets": targets,
        "notes": [
            f"Precision probe: {rates.why}.",
            f"Each measurement trains {images:,} images. Warm-up (construction, probe or compilation, ten batches) is outside images/s; "
            "the column of the first epoch has it inside (60,000 images; import of the library and reading the data are outside both).",
        ],
    }
    write("p1", result, given)


def fashion(part: str = "train") -> tuple[np.ndarray, np.ndarray] | None:
    """The images [N, 28, 28, 1] of a part, and their classes; None, said with the reason, where they are not here."""
    from hubel import data

    find_data()
    try:
        whole = data.load("fashion-mnist")
    except FileNotFoundError as error:
        say(f"skipped: {error}")
        return None
    rows = whole.part == part
    return np.ascontiguousarray(whole.inputs[rows].transpose(0, 2, 3, 1)), whole.targets[rows]


if __name__ == "__main__":
    main()
