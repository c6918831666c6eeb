"""Kill -9 at random moments, resume: the weights, curves and scores are those of the run that nobody killed, bit by bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_resume.py"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_five_kills_change_nothing(tmp_path):
    memory = Path("/dev/shm")
    scratch = memory if os.access(memory, os.W_OK) else tmp_path
    seed = str(
        int.from_bytes(os.urandom(3), "little")
    )  # another five moments every time; the seed is printed
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "5", "--seed", seed],
        env={**os.environ, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].endswith("5 kills, 0 ended otherwise than the run that nobody killed")
