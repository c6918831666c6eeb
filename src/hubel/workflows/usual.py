"""Which method explains where none is named, by what was measured (the numbers are in docs/explain.md), and how long it will take.

pictures of 96² positions and more    by regions: HiResCAM where the network is linear behind its last maps (a mean over positions and
                                      one layer), so that the map adds up to the answer; else occlusion
all else                              by single values: DeepLIFT; integrated gradients where it has no rule for an operation
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from hubel import explain
from hubel.core.errors import NoRule
from hubel.core.types import Attribution
from hubel.explain.question import Target, Unit
from hubel.explain.trust import Explainer
from hubel.fitting import Ensemble, Run
from hubel.workflows.asked_networks import Members
from hubel.workflows.display import Display
from hubel.workflows.subject import Subject
from hubel.workflows.suited import suited, word_of

LARGE = 96 * 96
"""Positions from which on a picture is explained by regions. Measured are 28² and 32², where single pixels tell more, and 224², where
they look like noise; where between these it changes is a guess.
"""
LONG = 2.0
"""Seconds from which on it is said how long occlusion will take."""
COMPLETE = 1e-3
"""Relative residual up to which maps are said to add up to the answer."""


def regions(net: nn.Module, x: Tensor, *, target: Target = None, layer: str | None = None) -> Attribution:
    """HiResCAM, refused with `NotImplementedError` where there are no maps, or where they have no part in the answer or do not add up to it."""
    try:
        found = explain.hires_cam(net, x, target=target, layer=layer)
    except ValueError as error:
        raise NotImplementedError(str(error)) from error
    if found.residual is None or not bool((found.residual <= COMPLETE).all()):
        raise NotImplementedError(
            "behind its last maps it is not linear, so that these do not add up to the answer"
        )
    if not bool(found.values.flatten(1).any(1).all()):
        raise NotImplementedError("its last maps have no part in the answer")
    return found


regions.__name__ = explain.hires_cam.__name__
VALUES: tuple[Explainer, ...] = (explain.deeplift, explain.integrated_gradients, explain.occlusion)
REGIONS: tuple[Explainer, ...] = (regions, explain.occlusion)


def usual_methods(subject: Subject, target: Any) -> tuple[tuple[Explainer, ...], str]:
    """The methods that are tried in turn where none is named, and why (a sentence; "" where there is nothing special to say).

    A unit inside may lie before the last maps, which then say nothing of it: it is explained without them.
    """
    if subject.kind != "pictures" or subject.per_pixel:
        return VALUES, ""
    height, width = subject.x.shape[2:]
    if height * width < LARGE:
        return VALUES, ""
    return (
        REGIONS[1:] if isinstance(target, Unit) else REGIONS,
        f"pictures of {height} × {width} are explained by regions, single pixels of them tell little (--method for others)",
    )


def explained_by(
    method: Explainer | None,
    subject: Subject,
    known: Run | Ensemble | nn.Module,
    target: Any,
    display: Display,
) -> tuple[Explainer, Attribution, str]:
    """What `method`, or the first of the usual ones that suits the network, finds; with that method, and why it was taken."""
    tried, why = usual_methods(subject, target) if method is None else ((method,), "")
    for place, chosen in enumerate(tried, start=1):
        name = word_of(chosen)
        display.say(f"explaining {subject.counted} by {name}{f': {why}' if why and place == 1 else ''}")
        try:
            explainer = suited(chosen, subject, known, progress=display.counting(name))
            if chosen is explain.occlusion:
                _announce(subject, target, display)
            return chosen, explainer(subject.net, subject.x, target=target), why
        except (NoRule, TypeError, NotImplementedError) as error:
            if place == len(tried):
                raise
            following = word_of(tried[place])
            warnings.warn(
                f"{name} does not suit this network ({error}): {following} instead", UserWarning, stacklevel=2
            )
    raise AssertionError("a method was tried")


def _announce(subject: Subject, target: Any, display: Display) -> None:
    """Say how long occlusion will take, where that is long."""
    nets = list(subject.net.nets) if isinstance(subject.net, Members) else [subject.net]
    first = target[:1] if isinstance(target, torch.Tensor) else target
    cost = explain.occlusion_cost(nets[0], subject.x[:1], target=first, steps_first=subject.kind == "series")
    times = len(subject.x) * len(nets)
    if times * cost.seconds >= LONG:
        each = "" if times == 1 else f" for each of {subject.counted}"
        networks = "" if len(nets) == 1 else f" and {len(nets)} networks"
        display.say(f"  {cost}{each}{networks}")
