"""A method of `hubel.explain` with what it asks for beside the question: other examples, which columns belong together, where the steps are."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution
from hubel.data import Dataset
from hubel.explain.trust import Explainer
from hubel.fitting import Ensemble, Run
from hubel.fitting.evaluation import own_part
from hubel.workflows.asked_networks import BestScores, over_members
from hubel.workflows.subject import Subject

MOST_OTHERS = 500
BACKGROUND = ("data", "background", "baselines")
"""What methods call the other examples that they draw from."""
NOTHING = ("fill", "erased")
"""What they call the symbol that stands for nothing; of a text that of what is unknown, which comes last."""


def suited(
    method: Explainer,
    subject: Subject,
    known: Run | Ensemble | nn.Module,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Explainer:
    """`method` as a function of network, inputs and target alone, under its own name; of an ensemble the mean over its members.

    What it must be given is taken from the run: examples of its training part, the columns of a table that were made from one, the symbol of
    what is unknown in place of those that are taken away.

    Raises `ValueError` for a method that must be given something else, or other examples where there are none.
    """
    wanted = inspect.signature(method).parameters
    given: dict[str, Any] = {}
    for name in BACKGROUND:
        if name in wanted and wanted[name].default is inspect.Parameter.empty:
            given[name] = other_examples(known, subject, method.__name__)
    if "groups" in wanted and subject.columns is not None:
        given["groups"] = _groups(subject.columns)
    if "steps_first" in wanted and subject.kind == "series":
        given["steps_first"] = True
    if subject.kind == "texts":
        given |= {name: len(subject.classes or ()) - 1 for name in NOTHING if name in wanted}
    if "layer" in wanted and isinstance(subject.net, BestScores) and subject.net.common_layer:
        given["layer"] = subject.net.common_layer
    if "progress" in wanted and progress is not None:
        given["progress"] = progress
    missing = [
        name
        for name, parameter in list(wanted.items())[2:]
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        and parameter.default is inspect.Parameter.empty
        and name not in given
    ]
    if missing:
        raise ValueError(
            f"{method.__name__} has to be given {', '.join(missing)}: use hubel.explain.{method.__name__} in Python"
        )

    def explain(net: nn.Module, x: Tensor, *, target: Any = None) -> Attribution:
        return method(net, x, target=target, **given)

    explain.__name__ = word_of(method)
    return over_members(explain)


def word_of(method: Explainer) -> str:
    """The name of a method."""
    return getattr(method, "__name__", type(method).__name__)


def other_examples(known: Run | Ensemble | nn.Module, subject: Subject, method: str) -> Tensor:
    """Examples of the run's training part [M, ...] as they enter the network, evenly many of them."""
    if isinstance(known, nn.Module):
        raise ValueError(
            f"{method} draws from other examples, which a network with published weights does not bring: use hubel.explain.{method} in Python"
        )
    run = known.members[0] if isinstance(known, Ensemble) else known
    part = own_part(run, "train")
    rows = np.linspace(0, len(part) - 1, min(MOST_OTHERS, len(part))).astype(np.int64)
    some: Dataset = part.view(rows)
    if some.lengths is not None:
        raise ValueError(f"{method} draws from other examples, which have to be of one length: these are not")
    found = run.scaling(torch.from_numpy(np.array(some.inputs)).to(run.device))
    if subject.kind == "films":
        found = found.transpose(1, 2)
    if found.shape[1:] != subject.x.shape[1:]:
        raise ValueError(
            f"{method} draws from other examples, which have to be of one shape: {list(found.shape[1:])} and {list(subject.x.shape[1:])}"
        )
    return found


def _groups(columns: tuple[int, ...]) -> list[list[int]]:
    """For each column of a table the places of what enters the network of it, where these are several."""
    together: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        together.setdefault(column, []).append(place)
    return [places for places in together.values() if len(places) > 1]
