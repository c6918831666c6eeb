"""Networks that answer with something else than a row of scores, or that are several, made to answer one: [N, K], what all methods take apart.

    a text            what follows its last symbol              K symbols
    a film            the scores of the film, with time as the depth of a volume
    an autoencoder    how badly it gives its input back         one number, the loss of its own question
    a detector        the score of the best box of each class   K classes
    an ensemble       the mean of the members' scores

Layers keep their names, below the name under which the network lies in what asks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.explain.question import Question, untouched
from hubel.explain.trust import Explainer
from hubel.fitting import Run
from hubel.nets.backbones import ClassifierBody
from hubel.nets.detector_parts import Body
from hubel.nets.symmetrized import one_view
from hubel.objectives import Detection, NextSymbol
from hubel.objectives.detection import SCORES
from hubel.objectives.reconstruction import GivesBack


class NextScores(nn.Module):
    """The scores [N, K] of what follows symbols [N, L], of a `net` that scores what follows each of them [N, L, K]."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the symbol after the last one."""
        return self.net(x)[:, -1]


class FilmScores(nn.Module):
    """What a `net` of series of pictures [N, T, C, H, W] answers to films [N, C, T, H, W], which lie as volumes do."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Scores of films."""
        return self.net(x.transpose(1, 2))


class GivenBack(nn.Module):
    """How badly a `net` gives back each example: the loss [N, 1] of its own question, 0 where it does so exactly.

    >>> from hubel.objectives import Reconstruction
    >>> GivenBack(nn.Identity(), Reconstruction())(torch.ones(2, 3)).tolist()
    [[0.0], [0.0]]
    """

    def __init__(self, net: nn.Module, objective: GivesBack):
        super().__init__()
        self.net, self.objective = net, objective

    def forward(self, x: Tensor) -> Tensor:
        """The loss of every example."""
        return self.objective.losses(self.net(x), x)[:, None]


class BestScores(nn.Module):
    """The greatest raw score [N, K] that a detector, candidates [N, R, 8 + K], gives to a box of each class anywhere in a picture.

    >>> BestScores(nn.Identity())(torch.arange(20.0).view(1, 2, 10)).tolist()
    [[18.0, 19.0]]
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    @property
    def common_layer(self) -> str | None:
        """The name of the coarsest maps of the body, on which all boxes depend (the last maps of a detector are those of one tower), if it has some."""
        body = getattr(self.net, "body", None)
        if isinstance(body, ClassifierBody):
            return f"{INSIDE}.body.net.{body.layers[-1]}"
        return f"{INSIDE}.body.stages.{len(body.stages) - 1}" if isinstance(body, Body) else None

    def forward(self, x: Tensor) -> Tensor:
        """The scores of the best boxes."""
        return self.net(x)[:, :, SCORES].amax(1)


class Members(nn.Module):
    """The mean of what several networks answer."""

    def __init__(self, nets: Sequence[nn.Module]):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> Tensor:
        """Mean scores [N, K]."""
        return torch.stack([net(x) for net in self.nets]).mean(0)


INSIDE = "net"
"""Under what name a network lies in those that ask it."""


def asked_network(run: Run) -> nn.Module:
    """The network of a run as one that answers scores [N, K] (or masks): itself, where it does."""
    if isinstance(run.objective, GivesBack):
        return GivenBack(run.net, run.objective).eval()
    if isinstance(run.objective, Detection):
        return BestScores(one_view(run.net)).eval()
    if isinstance(run.objective, NextSymbol):
        return NextScores(run.net).eval()
    return FilmScores(run.net).eval() if run.reading["kind"] == "image series" else run.net


def over_members(method: Explainer) -> Explainer:
    """`method`, which of `Members` explains each by itself, all about the same target, and answers the mean of what was found.

    The mean of the maps is the map of the mean for every method that is linear in the network, and the only one for those that look at a layer.

    >>> from hubel.explain import gradient_times_input
    >>> x = torch.ones(1, 2)
    >>> both = Members([nn.Linear(2, 1, bias=False), nn.Linear(2, 1, bias=False)])
    >>> torch.allclose(over_members(gradient_times_input)(both, x).values.sum(1), both(x)[:, 0])
    True
    """

    def explain(net: nn.Module, x: Tensor, *, target: Any = None) -> Attribution:
        if not isinstance(net, Members):
            return method(net, x, target=target)
        with untouched(net):
            question = Question(net, x, target)
        return _mean([method(one, question.x, target=question.target) for one in net.nets])

    explain.__name__ = getattr(method, "__name__", type(method).__name__)
    return explain


def _mean(found: Sequence[Attribution]) -> Attribution:
    """The mean of the members' maps; the residual is the worst of theirs, and a note says how alike they are."""

    def mean(name: str) -> Tensor | None:
        parts = [getattr(one, name) for one in found]
        if any(part is None or part.shape != parts[0].shape for part in parts):
            return None
        return torch.stack(parts).mean(0)

    first = found[0]
    residuals = [one.residual for one in found if one.residual is not None]
    values = mean("values")
    assert values is not None
    alike = torch.corrcoef(torch.stack([one.values.flatten().double() for one in found]))
    pairs = alike[tuple(torch.triu_indices(len(found), len(found), 1))]
    told = f"mean of {len(found)} members, whose maps correlate by {float(pairs.nan_to_num().mean()):.2f} (mean of all pairs)"
    return replace(
        first,
        values=values,
        score=torch.stack([one.score for one in found]).mean(0),
        residual=torch.stack(residuals).amax(0) if len(residuals) == len(found) else None,
        absorbed=mean("absorbed"),
        coarse=mean("coarse"),
        passes=sum(one.passes for one in found),
        seconds=sum(one.seconds for one in found),
        notes=(told, *dict.fromkeys(note for one in found for note in one.notes)),
    )
