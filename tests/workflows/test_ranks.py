"""Under torchrun the first process works and the others open its run."""

import json
import os
import subprocess
import sys
import textwrap

SCRIPT = """
    import os, sys, json, numpy as np, hubel
    x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=hubel.Recipe(epochs=1), out=sys.argv[1], quiet=True, device="cpu")
    with open(sys.argv[1] + f".rank{os.environ['RANK']}.json", "w") as file:
        json.dump([str(run.folder), run.status, run.test["accuracy"]["value"]], file)
"""


def test_two_processes_make_one_run(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29417",
        str(script),
        str(out),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HUBEL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"run.rank{k}.json").read_text()) for k in (0, 1))
    assert first == second
    assert first[1] == "finished"
    assert not (tmp_path / "runs").exists()
