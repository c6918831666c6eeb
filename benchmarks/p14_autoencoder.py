"""P14: training the convolutional autoencoder of the Keras blog on Fashion-MNIST, batch 128, Adam 1e-3: images a second.

python benchmarks/p14_autoencoder.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from p1_keras_mnist_net import fashion
from protocol import Machine, arguments, target, write
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
        rates = measure("autoencoder", folder, PEERS, given, images=images, batch=BATCH)
    targets = []
    for start, name in (("Keras/TF", "Keras/TF"), ("torch", "torch + DataLoader")):
        if (ratio := rates.ratio(name)) is None:
            continue
        wanted = "≥ 1.5 × Keras/TF" if start == "Keras/TF" else f"(beside it: {name}, 1.5 ×)"
        text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"
        targets.append(target(wanted, text, ratio.median >= 1.5))
        best, ratio = rates.best(start) or ("", ratio)
        text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}] ({best})"
        targets.append(
            target(f"(beside it: the fastest setting of {start}, 1.5 ×)", text, ratio.median >= 1.5)
        )
    result = {
        "id": "P14",
        "title": "Training a small convolutional autoencoder",
        "work": "the autoencoder of the Keras blog (4,385 parameters), Fashion-MNIST, batch 128, Adam 1e-3, binary cross-entropy, images/s of training",
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
    write("p14", result, given)


if __name__ == "__main__":
    main()
