"""A stored state of an optimizer is taken only where the same optimizer could have made it."""

import pytest
import torch
from torch import nn

from hubel import fitting
from hubel.fitting.optimizer_state import refuse_other_states

CHOICES = [
    getattr(fitting, name)()
    for name in ("SGD", "Momentum", "Adam", "AdamW", "Adagrad", "Adadelta", "RMSProp", "Muon")
]


def stepped(choice):
    """Trained parameters of a small network, and the state of their optimizer."""
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    optimizer = choice.build(net)
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.randn(5, 4)).sum().backward()
        optimizer.step()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return parameters, {number: dict(values) for number, values in optimizer.state_dict()["state"].items()}


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_its_own_state_is_taken(choice):
    parameters, state = stepped(choice)
    refuse_other_states(choice, parameters, state)
    refuse_other_states(choice, parameters, {})  # before the first step


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: type(choice).__name__)
def test_another_state_is_refused(choice):
    parameters, state = stepped(choice)
    number = next(iter(state))
    name = next(
        name for name, value in state[number].items() if isinstance(value, torch.Tensor) and value.ndim
    )
    value = state[number][name]
    changes = [
        {**state[number], name: value.flatten()[:-1]},
        {**state[number], name: value.to(torch.complex64)},
        {**state[number], name: value.long()},
        {**state[number], name: "x"},
        {**state[number], "more": value},
        {key: other for key, other in state[number].items() if key != name},
        None,
    ]
    for change in changes:
        with pytest.raises(LookupError, match=f"optimizer's .*of parameter {number}"):
            refuse_other_states(choice, parameters, {**state, number: change})
    with pytest.raises(LookupError, match=rf"parameter 99, but {len(parameters)} were trained"):
        refuse_other_states(choice, parameters, {99: state[number]})
