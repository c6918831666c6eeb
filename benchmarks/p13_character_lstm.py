"""P13: training a character LSTM of 256 units, windows of 100 characters, batch 64, Adam 1e-3: characters a second.

python benchmarks/p13_character_lstm.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from protocol import Machine, arguments, target, write
from training_rate import measure, write_arrays

PEERS = (
    "Keras/TF",
    "Keras/TF, tf.data",
    "Keras/TF, tf.data, XLA",
    "Keras/TF, tf.data, bf16",
    "torch + DataLoader",
    "torch, tuned DataLoader",
    "torch, tuned, resident",
)
BATCH, LENGTH = 64, 100


def main() -> None:
    from hubel.data import load

    given = arguments(__doc__)
    machine = Machine()
    batch = 4 if given.quick else BATCH
    if given.quick:
        given.pairs = 1
    data = load("opticks", length=LENGTH, step=500 if given.quick else 8, validation=0, test=0)
    windows = 2 * batch if given.quick else 40 * BATCH
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder), x=data.inputs, y=data.targets)
        rates = measure(
            "text", folder, PEERS, given, images=windows, batch=batch, unit="characters/s", each=LENGTH
        )
    targets = []
    if (ratio := rates.ratio("Keras/TF")) is not None:
        text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"
        targets.append(target("≥ 2 × Keras/TF", text, ratio.median >= 2))
        best, ratio = rates.best("Keras/TF") or ("", ratio)
        text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}] ({best})"
        targets.append(target("(beside it: its fastest setting, 2 ×)", text, ratio.median >= 2))
    result = {
        "id": "P13",
        "title": "Training a character LSTM",
        "work": f"embedding, one layer of 256 LSTM units and a linear layer over {int(data.inputs.max()) + 1} characters, windows of "
        f"{LENGTH}, batch {BATCH}, Adam 1e-3, characters/s of training",
        "machine": machine.as_json(given.threads),
        "versions": rates.versions,
        "rows": rates.rows(),
        "targets": targets,
        "notes": [
            f"Precision probe: {rates.why}.",
            f"Each measurement trains {windows * LENGTH:,} characters. Warm-up (construction, probe or compilation, ten batches) is "
            "outside characters/s; the column of the first epoch has it inside (6,000,000 characters).",
            "“Tuned” torch is bf16 autocast, a fused optimizer and whole batches from the dataset; Keras' LSTM has no fused kernel on a "
            "processor, and XLA compiles its loop.",
        ],
    }
    write("p13", result, given)


if __name__ == "__main__":
    main()
