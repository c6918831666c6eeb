"""Which method explains where none is named, and how long it will take: by what was measured, whose numbers are in docs/explain.md."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import nn

from hubel import explain
from hubel.core.types import Attribution
from hubel.explain.trust import Explainer
from hubel.fitting import Ensemble, Run
from hubel.workflows.asked_networks import Members
from hubel.workflows.display import Display
from hubel.workflows.subject import Subject
from hubel.workflows.suited import suited, word_of

LARGE = 96 * 96
"""Positions of a picture from which on single pixels say little of a network: measured are 28² and 32² below, 224² above."""
EXACT: tuple[Explainer, ...] = (explain.deeplift, explain.integrated_gradients, explain.occlusion)


def usual_methods(subject: Subject) -> tuple[tuple[Explainer, ...], str]:
    """The methods that are tried in turn where none is named, and why (a sentence; "" where there is nothing special to say)."""
    positions = math.prod(subject.x.shape[2:]) if subject.kind == "pictures" else 0
    if positions < LARGE or subject.per_pixel:
        return EXACT, ""
    return (explain.occlusion,), "TODO"


def explained_by(
    method: Explainer | None,
    subject: Subject,
    known: Run | Ensemble | nn.Module,
    target: Any,
    display: Display,
) -> tuple[Explainer, Attribution, str]:
    """What `method`, or the first of the usual ones that suits the network, finds; with that method, and why it was taken."""
    tried, why = usual_methods(subject) if method is None else ((method,), "")
    for place, chosen in enumerate(tried, start=1):
        name = word_of(chosen)
        display.say(f"explaining {subject.counted} by {name}{f': {why}' if why and place == 1 else ''}")
        try:
            explainer = suited(chosen, subject, known, progress=display.counting(name))
            if chosen is explain.occlusion:
                display.say(f"  {_estimated(subject, target)}")
            return chosen, explainer(subject.net, subject.x, target=target), why if place == 1 else ""
        except (TypeError, NotImplementedError) as error:  # an operation without a rule
            if place == len(tried):
                raise
            following = word_of(tried[place])
            warnings.warn(
                f"{name} does not suit this network ({error}): {following} instead", UserWarning, stacklevel=2
            )
    raise AssertionError("a method was tried")


def _estimated(subject: Subject, target: Any) -> str:
    """How long occlusion will take."""
    net = subject.net.nets[0] if isinstance(subject.net, Members) else subject.net
    first = target[:1] if isinstance(target, torch.Tensor) else target
    steps = {"steps_first": True} if subject.kind == "series" else {}
    cost = explain.occlusion_cost(net, subject.x[:1], target=first, **steps)  # pyright: ignore[reportArgumentType]
    networks = f", each of {len(subject.net.nets)} networks" if isinstance(subject.net, Members) else ""
    return f"{cost}; each of {subject.counted}{networks}"
