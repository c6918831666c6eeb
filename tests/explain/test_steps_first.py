"""Methods that take parts away see series [N, L, F] as a network of maps [N, F, L] would."""

import pytest
import torch
from torch import nn

from hubel import explain

FEW = {
    "occlusion": {"patch": 2, "stride": 1},
    "rise": {"masks": 50},
    "lime": {"samples": 60},
    "meaningful_perturbation": {"steps": 4},
    "prediction_difference": {"patch": 2},
    "shapley_exact": {},
    "shapley_sampling": {"permutations": 4},
}


class Turned(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.transpose(1, 2))


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("fill", ["default", "mean"])
def test_steps_first_is_the_same_as_turning_the_input(name, fill):
    method, more = getattr(explain, name), dict(FEW[name])
    net = Turned(nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3))).eval()
    maps, data = torch.randn(2, 2, 12), torch.randn(40, 2, 12)
    if name == "prediction_difference":
        more["data"] = data
    elif fill != "default":
        more["fill"] = fill
    same = method(net.net, maps, target=1, **more)
    if "data" in more:
        more["data"] = data.transpose(1, 2)
    found = method(net, maps.transpose(1, 2), target=1, steps_first=True, **more)
    assert float(same.values.abs().max()) > 0
    torch.testing.assert_close(found.values, same.values.transpose(1, 2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.coarse, same.coarse, atol=1e-5, rtol=1e-4) if name != "lime" else None
    if same.baseline is not None:
        torch.testing.assert_close(found.baseline, same.baseline.transpose(1, 2))


@pytest.mark.parametrize("name", FEW)
def test_steps_first_of_what_has_no_steps_is_refused(name):
    more = {"data": torch.zeros(3, 4)} if name == "prediction_difference" else {}
    with pytest.raises(ValueError, match=r"steps_first is for"):
        getattr(explain, name)(nn.Linear(4, 2).eval(), torch.zeros(2, 4), target=1, steps_first=True, **more)


def test_a_fill_of_the_user_lies_as_the_input_does():
    net, x = Turned(nn.Sequential(nn.Flatten(), nn.Linear(6, 1))).eval(), torch.zeros(1, 3, 2)
    mine = torch.arange(6.0).view(3, 2)
    for given in (mine, mine[0]):
        found = explain.shapley_exact(net, x, target=0, fill=given, steps_first=True, parts=3)
        torch.testing.assert_close(found.baseline[0], given.expand(3, 2))
