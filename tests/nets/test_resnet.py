"""ResNets against torchvision 0.29.1: names and shapes by hash, outputs with weights from a formula."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hubel import nets

TORCHVISION = json.loads(Path(__file__).with_name("torchvision_resnets.json").read_text())


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_names_and_shapes_are_those_of_torchvision_in_order(depth):
    with torch.device("meta"):
        state = nets.resnet(depth).state_dict()
    text = json.dumps([[name, list(value.shape)] for name, value in state.items()])
    assert len(state) == TORCHVISION[str(depth)]["keys"]
    assert hashlib.sha256(text.encode()).hexdigest() == TORCHVISION[str(depth)]["sha256"]


def weights_from_a_formula(state):
    """The same waves that torchvision's network was filled with."""
    for index, (name, value) in enumerate(state.items()):
        if value.dtype == torch.float32:
            wave = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 12.9898 + index * 78.233)
            if name.endswith("running_var"):
                wave = 1 + 0.5 * wave
            elif value.ndim > 1:
                wave = wave * (3.0 / (value.numel() / value.shape[0])) ** 0.5
            elif name.endswith("weight"):
                wave = 1 + 0.2 * wave
            else:
                wave = 0.1 * wave
            state[name] = wave.reshape(value.shape).float()
    return state


@pytest.mark.parametrize("depth", [18, 50])
def test_outputs_are_those_of_torchvision_and_backward_reaches_all(depth):
    net = nets.resnet(depth)
    net.load_state_dict(weights_from_a_formula(net.state_dict()))
    x = torch.sin(torch.arange(2 * 3 * 64 * 64, dtype=torch.float64) * 0.37).reshape(2, 3, 64, 64).float()
    golden = TORCHVISION[str(depth)]
    with torch.no_grad():
        received = net.eval()(x)[:, :6].flatten()
    torch.testing.assert_close(
        received, torch.tensor(golden["eval"]), rtol=1e-4, atol=1e-4 * golden["eval_scale"]
    )
    scores = net.train()(torch.randn(4, 3, 64, 64))
    F.cross_entropy(scores, torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
