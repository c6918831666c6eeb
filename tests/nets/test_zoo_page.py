"""The page of the networks says what the code does: every function is on it, with the parameters that it makes."""

import re
from pathlib import Path

import pytest
import torch

from hubel import nets

PAGE = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text("utf-8")
ROWS = re.findall(r"^\|[^|]+\| `([^`]+)` \| ([\d,]+) \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("call", "count"), ROWS, ids=[call for call, _ in ROWS])
def test_the_parameters_are_those_on_the_page(call, count):
    with torch.device("meta"):
        net = eval(f"nets.{call}", {"nets": nets})
    assert sum(p.numel() for p in net.parameters()) == int(count.replace(",", ""))


def test_every_network_is_on_the_page():
    named = {call.partition("(")[0] for call, _ in ROWS}
    assert set(nets.__all__) - {"symmetrized"} == named
