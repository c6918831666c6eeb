"""A network made for its shapes alone costs no more than making it."""

import subprocess
import sys

CODE = """
import sys
import torch
from hubel import nets
from hubel.core.shapes_only import shapes_only

def made():
    return nets.compact(8, inputs=(1, 28, 28), outputs=10)

with shapes_only():
    net = made()
    kept = torch.zeros(3, device="cpu").normal_()
assert all(p.is_meta for p in net.parameters()) and kept.any()
assert {n: v.shape for n, v in net.state_dict().items()} == {n: v.shape for n, v in made().state_dict().items()}
assert "torch._dynamo" not in sys.modules, "the compiler was imported"
"""


def test_the_compiler_is_not_imported():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
