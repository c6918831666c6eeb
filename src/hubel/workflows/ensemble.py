"""`ensemble`: the same fit with several seeds, whose networks answer together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from hubel.core import files
from hubel.data import Dataset, SplitRows
from hubel.data.source import dataset_of
from hubel.fitting import Recipe, Run
from hubel.fitting.ensemble import ENSEMBLE, Ensemble, read_several
from hubel.objectives import Objective
from hubel.workflows import conclude, several
from hubel.workflows.deciding import NetMaker, with_groups
from hubel.workflows.display import Display
from hubel.workflows.fit import fit, reading_of, resume
from hubel.workflows.of_series import naive_scores
from hubel.workflows.training import CHECKPOINT_SECONDS


def ensemble(
    source: Any,
    y: Any = None,
    *,
    members: int = 5,
    net: nn.Module | NetMaker | None = None,
    objective: Objective | None = None,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    **more: Any,
) -> Ensemble:
    """Fit `members` networks that differ in their seed alone, into the run folders `out`/member-1, …, and score their mean.

    All have the parts, the kind of network and the resolved recipe of the first; initial weights, order of the examples and
    augmentation follow from the seeds recipe.seed, recipe.seed + 1, …. `more` are further arguments of `fit`, for the first member
    (`validation`, `test`, `like`, …; `budget` is the time of each).

    The mean of the members is what `predict` and `evaluate` answer, in Python and on the command line; of real values their
    spread is the uncertainty (see `hubel.Ensemble`). After an interruption the same call with the same `out` goes on.

    Raises `ValueError` for fewer than 2 members, for a module of your own (all members would begin alike: pass a function of
    `inputs` and `outputs` that makes it), for examples that are their own target, for an `out` that was begun with other words; and what `fit` raises.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    >>> y, recipe = (x[:, 0] > 0).astype(int), hubel.Recipe(epochs=2, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = hubel.ensemble(x, y, members=3, recipe=recipe, out=folder + "/e", quiet=True)
    ...     print([run.recipe.seed for run in found.members], list(found.test)[0])
    [0, 1, 2] accuracy
    """
    if isinstance(members, bool) or not isinstance(members, int) or members < 2:
        raise ValueError(f"members is {members!r}; expected a whole number of at least 2 (5 is usual)")
    if several.is_own(net):
        raise ValueError(
            f"received a {type(net).__name__} for {members} members, which would all begin with its weights: pass a function of inputs and "
            "outputs that makes it, net=lambda inputs, outputs: …"
        )
    options, shares = reading_of(
        source, options, more.get("like"), {part: more.get(part) for part in ("validation", "test")}
    )
    with Display(quiet=quiet) as display:
        whole = dataset_of(source, y, options=options, progress=display.counting("reading"))
        if whole.is_its_own_target:
            raise ValueError(
                f"{whole.name} is its own target: what its members encode can not be averaged, since each has a code of its own. Fit one "
                "network, or cross-validate"
            )
        if whole.has_boxes:
            raise ValueError(
                f"{whole.name} has boxes: what its members find are different boxes, which have no mean. Fit one network, or cross-validate"
            )
        if groups is not None:
            whole = source = with_groups(whole, groups)
            y, options = None, None
        recipe = recipe or Recipe()
        asked = several.Asked(
            number=members,
            data=whole.fingerprint,
            seed=recipe.seed,
            net=net,
            objective=objective,
            recipe=recipe,
            more=more,
        )
        folder = several.begin(
            out, ENSEMBLE, name=whole.name, asked=asked.plain(), source=source, options=options
        )

        def first(place: Path) -> Run:
            return fit(
                source,
                y,
                net=net,
                objective=objective,
                recipe=recipe,
                out=place,
                options=options,
                device=device,
                quiet=quiet,
                checkpoint_seconds=checkpoint_seconds,
                **{**more, **shares},
            )

        return _fitted(
            folder,
            whole,
            first,
            source=source,
            y=y,
            options=options,
            make=net if net is not None and not isinstance(net, nn.Module) else None,
            objective=objective,
            device=device,
            quiet=quiet,
            checkpoint_seconds=checkpoint_seconds,
            display=display,
        )


def resume_ensemble(
    folder: Path | str,
    *,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Ensemble:
    """Go on with the ensemble in `folder`, whose data are read again from their source.

    Raises `ValueError` where they can not be, or have changed, or where nothing but the call itself knows how the first member
    is fitted.
    """
    folder = Path(folder)
    about = read_several(folder / ENSEMBLE)
    source, options = about["loading"].get("source"), about["loading"].get("options")
    if source is None:
        raise ValueError(
            f"{folder} was fitted to arrays, which a folder does not hold: repeat the call, hubel.ensemble(x, y, …, out={str(folder)!r})"
        )

    def first(place: Path) -> Run:
        raise ValueError(f"{place} was never begun: repeat what began {folder}: {about.get('command')}")

    with Display(quiet=quiet) as display:
        whole = dataset_of(source, options=options, progress=display.counting("reading"))
        return _fitted(
            folder,
            whole,
            first,
            source=source,
            y=None,
            options=options,
            make=None,
            objective=None,
            device=device,
            quiet=quiet,
            checkpoint_seconds=checkpoint_seconds,
            display=display,
        )


def _fitted(
    folder: Path,
    whole: Dataset,
    first: Callable[[Path], Run],
    *,
    source: Any,
    y: Any,
    options: Mapping[str, Any] | None,
    make: NetMaker | None,
    objective: Objective | None,
    device: str,
    quiet: bool,
    checkpoint_seconds: float,
    display: Display,
) -> Ensemble:
    """All members, fitted or gone on with, and what is said of their mean."""

    def own_net(place: Path) -> nn.Module | None:
        return several.own_net(place, make, whole)

    known = read_several(folder / ENSEMBLE)
    asked = known["asked"]
    if asked["data"] != whole.fingerprint:
        raise ValueError(
            f"the data of {folder} have changed since it was begun: its members would not have seen the same. Restore the data, or fit again"
        )
    if known["status"] == "finished":
        display.say(f"{folder} is finished: {known['stopped']}")
        return Ensemble(folder, net=own_net(folder / known["runs"][0]["folder"]), device=device)
    again: dict[str, Any] = {"device": device, "quiet": quiet, "checkpoint_seconds": checkpoint_seconds}

    def member(seed: int) -> Callable[[Path, Sequence[Run]], Run]:
        def fit_one(place: Path, before: Sequence[Run]) -> Run:
            if not before:
                return first(place)
            split = SplitRows(**before[0].split, how=before[0].about["split"]["how"])
            return fit(
                source,
                y,
                net=make,
                objective=objective,
                recipe=Recipe(seed=seed),
                out=place,
                like=before[0],
                options=options,
                split=split,
                **again,
            )

        return fit_one

    def go_on(place: Path) -> Run:
        given = {} if isinstance(source, (str, os.PathLike)) else {"data": source, "y": y}
        return resume(place, net=own_net(place), **given, **again)

    step = 1 if asked["seed"] >= 0 else -1  # away from 0, which is no seed of its own but the default
    tasks = {f"member-{k + 1}": member(asked["seed"] + step * k) for k in range(asked["number"])}
    with files.locked(folder):
        runs = several.fit_each(folder, ENSEMBLE, tasks, go_on=go_on, display=display)
        if all(run.status == "finished" for run in runs) and len(runs) == len(tasks):
            _conclude(folder, whole, runs, display)
    return Ensemble(folder, net=runs[0]._given_net, device=device)


def _conclude(folder: Path, whole: Dataset, runs: Sequence[Run], display: Display) -> None:
    """The score of the mean on the part that every member was scored on, its predictions, and the page."""
    name = str(runs[0].about.get("scored_part", "test"))
    part = whole.view(runs[0].split[name])
    together = Ensemble(folder, net=runs[0]._given_net, device=str(runs[0].device))
    changes: dict[str, Any] = {
        "status": "finished",
        "stopped": f"all {len(runs)} members are fitted",
        "seconds": sum(float(run.about.get("seconds") or 0.0) for run in runs),
        "scored_part": name,
    }
    if len(part):
        prediction = together.prediction_of(part)
        scores = together.objective.metrics(prediction, np.asarray(part.targets), part.groups)
        naive, best = naive_scores(whole.view(runs[0].split["train"]), part, prediction)
        conclude.write_predictions(folder, part, prediction, {}, best)
        changes |= {"test": conclude.as_json(scores), "test_looks": 1 if name == "test" else 0}
        changes |= {"naive": naive} if naive else {}
        headline = together.objective.headline
        one = [float(run.test[headline]["value"]) for run in runs]
        unit = conclude.unit_of(together.objective, headline)
        display.say(
            f"{name.capitalize()} {headline} of the mean of {len(runs)} members: {conclude.score_text(headline, scores[headline], unit)}; "
            f"of single members {min(one):.4g} to {max(one):.4g}"
        )
    several.update(folder, ENSEMBLE, **changes)
    several.write_report(folder, display)
