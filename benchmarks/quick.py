"""Every benchmark in its short form, one after another: proves that the scripts work, not how fast anything is.

python benchmarks/quick.py
"""

from __future__ import annotations

import subprocess
import sys
import time

from protocol import HERE

SCRIPTS = (
    "p1_keras_mnist_net",
    "p2_resnet20",
    "p3_time_to_accuracy",
    "p4_occlusion",
    "p5_gradient_explanations",
    "p8_first_answer",
    "p9_memory",
    "p12_table_mlp",
    "p13_character_lstm",
    "p14_autoencoder",
    "p14_forecast",
    "p6_burgers",
    "discovery",
    "equations",
    "overhead",
    "small_data",
    "generated_examples",
    "zoo",
    "dream",
    "explain_zoo",
    "detection",
    "detectors",
    "faster_rcnn_step",
)


def main() -> int:
    failed = []
    for name in SCRIPTS:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), "--quick"], capture_output=True, text=True, check=False
        )
        print(
            f"{'ok    ' if done.returncode == 0 else 'FAILED'}  {name}  {time.perf_counter() - start:.1f} s",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print(done.stdout[-2000:], done.stderr[-4000:], sep="\n")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
