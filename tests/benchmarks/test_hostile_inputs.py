"""Two hundred hostile inputs: each ends in a clear error or succeeds, in bounded time and memory, and runs no code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hostile_inputs.py"

pytest.importorskip("h5py")


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits and memory are read as Linux has them"
)
def test_two_hundred_end_well():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--seed", "3106177"],  # by hand others, and ten thousand
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = json.loads(done.stdout[done.stdout.rindex("\n{\n") if "\n{\n" in done.stdout else 0 :])
    assert found["count"] == 200 == sum(sum(counts.values()) for counts in found["outcomes"].values())
    assert sum(counts.get("refused", 0) for counts in found["outcomes"].values()) > 80
