"""Sanity checks: an explanation of what a network has learned must change when that is taken from it.

    model randomization    the map of the network against the map of the same network with randomized layers, from the output to the
                           input: more and more of them (cascading), or some at a time (independent)
    data randomization     the map of the network against the map of one that was fitted to shuffled labels

A map that stays alike shows the picture, not the network: an edge detector passes for an explanation to the eye. Deconvnet and guided
backpropagation fail.

Where we differ: Adebayo et al. draw initial weights anew; here the values of each tensor of parameters are put into a random order, so that
any module can be randomized and activations keep their size. Layers are taken in the order in which the network calls them, in at most
`steps` groups.

Source: J. Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018 (arXiv:1810.03292), sections 3 and 4.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.random import torch_generator
from hubel.explain.controls import CENTRE, RANDOM, random_values
from hubel.explain.question import Target, untouched
from hubel.explain.similarity import Similarity, similarity
from hubel.explain.trust import Explainer, Trust, asked, explained, judged

STEPS = 8


def model_randomization(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    mode: Literal["cascading", "independent"] = "cascading",
    kind: Similarity = "rank",
    steps: int = STEPS,
    seed: int = 0,
) -> Trust:
    """How alike the map stays when weights are randomized; lower is better, 0 is what two unrelated maps have.

    `each` is the similarity to the map of the wholly randomized network, or the mean over groups of layers (independent). `curve` [N, S + 1]
    begins with 1, the network itself; `at` is the share of the groups that are randomized (`layer_groups` has their layers).

    The random map is drawn anew for every network, the centre map is always the same: what a method must be unlike.

    Raises `ValueError` for a network without parameters.

    >>> from hubel.core.types import Attribution
    >>> net = nn.Sequential(nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 2))
    >>> def picture(net, x, target=None):
    ...     return Attribution(values=x, method="picture", target=("",) * len(x), score=net(x)[:, 0])
    >>> model_randomization(net, torch.rand(3, 40), picture).curve[0].tolist()
    [1.0, 1.0, 1.0]
    """
    if mode not in ("cascading", "independent"):
        raise ValueError(f"mode must be cascading or independent; received {mode!r}")
    told = asked(net, x, explain, target, seed=seed)
    x = told.question.x
    groups = layer_groups(net, x[:1], steps)
    changed = copy.deepcopy(net)
    weights = [parameter.detach().clone() for parameter in changed.parameters()]
    columns, random = [np.ones(len(x))], []
    for number, group in enumerate(groups):
        if mode == "independent":
            _restore(changed, weights)
        _shuffle(changed, group, seed)
        found = explained(changed, x, explain, told.question.target)
        columns.append(similarity(told.found.values, found.values, kind))
        random.append(similarity(random_values(x, seed), random_values(x, seed, step=number + 1), kind))
    curve = np.stack(columns, 1)
    own = curve[:, -1] if mode == "cascading" else curve[:, 1:].mean(1)
    scores = {"": own, RANDOM: random[-1] if mode == "cascading" else np.mean(random, 0)}
    if CENTRE in told.controls:
        scores[CENTRE] = np.ones(len(x))
    at = np.linspace(0, 1, len(groups) + 1)
    return judged(
        f"{mode} randomization of weights",
        told.found.method,
        "lower",
        scores,
        curve=curve,
        at=at,
        seed=seed,
    )


def data_randomization(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    shuffled: nn.Module,
    *,
    target: Target = None,
    kind: Similarity = "rank",
    seed: int = 0,
) -> Trust:
    """How alike the maps of `net` and of `shuffled` are, the same network fitted to labels in a random order; lower is better.

    >>> from hubel.core.types import Attribution
    >>> def slope(net, x, target=None):
    ...     return Attribution(values=net.weight[target], method="slope", target=("",) * len(x), score=net(x)[:, 0])
    >>> one, other = nn.Linear(500, 2), nn.Linear(500, 2)
    >>> bool(data_randomization(one, torch.rand(3, 500), slope, other, target=0).value.value < 0.3)
    True
    """
    told = asked(net, x, explain, target, seed=seed)
    x = told.question.x
    found = explained(shuffled, x, explain, told.question.target)
    scores = {
        "": similarity(told.found.values, found.values, kind),
        RANDOM: similarity(random_values(x, seed), random_values(x, seed, step=1), kind),
    }
    if CENTRE in told.controls:
        scores[CENTRE] = np.ones(len(x))
    return judged("randomization of labels", told.found.method, "lower", scores, seed=seed)


def layer_groups(net: nn.Module, x: Tensor, steps: int = STEPS) -> list[tuple[str, ...]]:
    """Names of the layers with parameters of their own, from the output to the input, in at most `steps` groups.

    >>> layer_groups(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), torch.ones(1, 2))
    [('2',), ('0',)]
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    names = [n for n, m in net.named_modules() if any(True for _ in m.parameters(recurse=False))]
    if not names:
        raise ValueError("the network has no parameters: there is nothing to randomize")
    with untouched(net), torch.no_grad(), captured(net, lambda name, module: name in names) as calls:
        net(x)
    called = list(dict.fromkeys(name for name, *_ in calls))
    order = [n for n in names if n not in called] + called
    parts = np.array_split(np.arange(len(order))[::-1], min(steps, len(order)))
    return [tuple(order[k] for k in part) for part in parts]


@torch.no_grad()
def _shuffle(net: nn.Module, names: tuple[str, ...], seed: int) -> None:
    """Put the values of every parameter of these layers into a random order."""
    modules = dict(net.named_modules())
    for name in names:
        for number, parameter in enumerate(modules[name].parameters(recurse=False)):
            order = torch.randperm(
                parameter.numel(), generator=torch_generator(seed, f"shuffle {name}", step=number)
            )
            parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))


@torch.no_grad()
def _restore(net: nn.Module, weights: list[Tensor]) -> None:
    for parameter, weight in zip(net.parameters(), weights, strict=True):
        parameter.copy_(weight)
