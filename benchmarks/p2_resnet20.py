"""P2: training ResNet-20 on 32 × 32 × 3, batch 128, SGD with momentum: images a second, and the share of the machine's peak.

python benchmarks/p2_resnet20.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from protocol import Machine, Spread, Worker, arguments, rounded, row, target, write
from training_rate import made_images, measure, write_arrays

PEERS = (
    "Keras/TF",
    "Keras/TF, tf.data",
    "Keras/TF, tf.data, XLA",
    "Keras/TF, tf.data, bf16",
    "torch + DataLoader",
    "torch, tuned DataLoader",
    "torch, tuned, compiled",
)
BATCH = 128


def main() -> None:
    given = arguments(__doc__)
    machine = Machine()
    if given.quick:
        given.pairs = 1
    found: dict[str, Any] = {"peaks": []}
    batch = 16 if given.quick else BATCH

    def after(ours: Worker) -> None:
        found["operations"] = ours.ask("operations")["operations"]
        sizes = (256,) if given.quick else (1024, 2048, 4096)
        found["peaks"] = [
            ours.ask("matrix_peak", size=size, seconds=0.1 if given.quick else 3.0)["rate"] for size in sizes
        ]

    with tempfile.TemporaryDirectory() as folder:
        images = batch if given.quick else 30 * BATCH
        x, y = made_images(20 * batch if given.quick else 50 * BATCH, (32, 32, 3))
        write_arrays(Path(folder), x=x, y=y)
        rates = measure("resnet20", folder, PEERS, given, images=images, batch=batch, after=after)
    peak, done = max(found["peaks"]), found["operations"]
    ours = rates.ours
    arithmetic = Spread.of([v * done / 1e9 for v in (ours.low, ours.median, ours.high)])
    share = ours.median * done / peak
    targets = []
    if (ratio := rates.ratio("Keras/TF")) is not None:
        targets.append(
            target(
                "≥ 2 × Keras/TF",
                f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]",
                ratio.median >= 2,
            )
        )
        best, ratio = rates.best("Keras/TF") or ("", ratio)
        text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}] ({best})"
        targets.append(target("(beside it: its fastest setting, 2 ×)", text, ratio.median >= 2))
    if not given.quick:
        text = f"{share:.0%}: {arithmetic.median:.0f} of {peak / 1e9:.0f} GFLOP/s"
        targets.append(target("≥ 55 % of the machine's own bf16 matrix peak", text, share >= 0.55))
    result = {
        "id": "P2",
        "title": "Training a residual network",
        "work": "ResNet-20 (He et al. 2016, 269,722 parameters), made images of 32 × 32 × 3, batch 128, SGD with momentum, images/s of training",
        "machine": machine.as_json(given.threads),
        "versions": rates.versions,
        "rows": [
            *rates.rows(),
            row(
                "hubel, arithmetic",
                arithmetic,
                "GFLOP/s",
                note=f"{done / 1e6:.1f} MFLOP an image, forward and backward",
            ),
        ],
        "targets": targets,
        "bf16_matrix_peak_gflops": rounded(peak / 1e9),
        "notes": [
            f"Precision probe: {rates.why}.",
            "Arithmetic counts convolutions and matrix products only (2 operations a multiply-add); batch norm, ReLU and optimizer are not counted.",
            f"Peak: the best single product of two bf16 matrices in the same process (sizes 1024, 2048, 4096): {peak / 1e9:.0f} GFLOP/s.",
        ],
    }
    write("p2", result, given)


if __name__ == "__main__":
    main()
