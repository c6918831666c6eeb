"""`decide`: everything that stands before the first step, said on the display with its reason, and checked on one real batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.data import Dataset, SplitRows
from hubel.data.batches import Batches
from hubel.fitting import Plateau, Precision, Recipe, Run, probe
from hubel.fitting.precision import SHARE
from hubel.fitting.recipe import batch_size_of
from hubel.objectives import GaussianLikelihood, NextSymbol, Objective, OwnTarget, SquaredError, check
from hubel.workflows import choices, folders, itself
from hubel.workflows.contradictions import refuse_contradictions
from hubel.workflows.display import Display
from hubel.workflows.memory import within_memory
from hubel.workflows.of_boxes import passes_over, question_of, suited
from hubel.workflows.prepare import Prepared, prepare
from hubel.workflows.pretrained import published_scaling, useful_epochs
from hubel.workflows.text_choices import asked_of_text, net_like, useful_passes

NetMaker = Callable[..., nn.Module]
"""A function of `inputs` and `outputs` that makes a network, such as those of `hubel.nets`."""


@dataclass(kw_only=True)
class Setting:
    """What was decided before the first step."""

    prepared: Prepared
    net: nn.Module
    objective: Objective
    recipe: Recipe
    reasons: dict[str, str]
    measured: list[dict[str, Any]]
    device: torch.device
    groups: np.ndarray | None = None
    """Those that were given beside the data."""
    plan: choices.Plan | None = None
    """What the epochs were chosen by, where they were."""
    asked: Recipe | None = None
    """What was given of the recipe, where something was chosen."""

    def with_epochs(self, epochs: int, why: str) -> None:
        """Take so many epochs, and what follows from them; what was measured stays."""
        assert self.asked is not None
        known = replace(
            self.asked,
            epochs=epochs,
            batch_size=self.recipe.batch_size,
            precision=self.recipe.precision,
            optimizer=self.recipe.optimizer,
        )
        train, nothing = self.prepared.part("train"), _measured_already
        self.recipe, reasons = known.resolve(
            train,
            self.net,
            choose_precision=nothing,
            choose_epochs=nothing,
            validation=len(self.prepared.rows["validation"]) > 0,
        )
        self.reasons |= {name: reason for name, reason in reasons.items() if getattr(known, name) is None}
        self.reasons["epochs"] = why


def _measured_already(*_: Any) -> Any:
    raise AssertionError("nothing is measured again")


def decide(
    data: Dataset,
    *,
    net: nn.Module | NetMaker | None,
    objective: Objective | None,
    recipe: Recipe,
    like: Run | None,
    validation: float | None,
    test: float | None,
    groups: Sequence[Any] | np.ndarray | None,
    budget: float,
    device: torch.device,
    display: Display,
    wishes: choices.Wishes = choices.NO_WISHES,
    split: SplitRows | None = None,
) -> Setting:
    """All choices, said on the display, with network, objective and one real batch checked against each other."""
    if split is not None and not (validation is None and test is None and groups is None):
        raise ValueError(
            "received a split, and validation, test or groups as well: the split says it all, leave the others out"
        )
    if split is not None:
        split.check(len(data), data.groups)
    if like is not None:
        given = {f.name for f in fields(recipe) if getattr(recipe, f.name) != f.default}
        seed = recipe.seed if "seed" in given else like.recipe.seed
        if net is None:
            net = net_like(like, data, seed) or folders.fresh_net(like, seed)
        recipe = _merged(like.recipe, recipe)
    if groups is not None:
        data = with_groups(data, groups)
    elif like is not None and (grouped := like.grouped(data)) is not data and _is_that_of(like, grouped):
        data, groups = grouped, like.groups
    own64 = isinstance(net, nn.Module) and any(p.dtype == torch.float64 for p in net.parameters())
    prepared = prepare(
        data,
        seed=recipe.seed,
        validation=validation,
        test=test,
        groups=groups,
        precision="float64" if own64 else "float32",
        given=split
        if split is not None or not (validation is None and test is None)
        else _split_of(like, data),
    )
    train = prepared.part("train")
    folders.show_data(display, prepared)
    reasons: dict[str, str] = {}
    if wishes and train.is_its_own_target:
        raise ValueError(
            f"{wishes.named} was asked for, but the examples of {data.name} are their own target, without classes or values to ask about: leave it out"
        )
    if wishes and (objective is not None or like is not None):
        taken = (
            "objective was given"
            if objective is not None
            else f"objective is that of {like.folder}"
            if like
            else ""
        )
        raise ValueError(f"{wishes.named} was asked for, but the {taken}: leave one of them out")
    chosen = objective is None
    if objective is None and like is not None:
        objective = _asked_of(train, like.objective)
    if objective is None and not train.is_its_own_target:
        objective, reasons["objective"] = choices.choose_objective(train, wishes)
    ours = net is None
    if train.is_its_own_target or isinstance(objective, OwnTarget):
        net, objective, why = itself.choose(train, net, objective, recipe)
        reasons |= why
    assert objective is not None
    if net is None:
        net, reasons["net"] = choices.choose_net(train, objective, recipe.seed, budget)
    elif not isinstance(net, nn.Module):
        make, why_so = suited(net, train) if train.has_boxes else (net, None)
        if why_so is not None:
            reasons["net"] = why_so
        net = choices.made_net(make, train, objective.num_outputs, recipe.seed)
    if train.has_boxes:
        own = question_of(net, objective, chosen=chosen)
        if own is not objective:
            objective, reasons["objective"] = (
                own,
                "the targets are boxes, and this is what such a detector is asked",
            )
    prepared = replace(prepared, scaling=published_scaling(net, prepared.scaling))
    objective = itself.with_scaling(objective, prepared.scaling)
    fitted = net.to(device)
    if recipe.precision is not None and (recipe.precision.dtype == "float64") != own64:
        has, asks = ("float64", recipe.precision.dtype) if own64 else ("float32", "float64")
        raise ValueError(
            f"the network's weights are {has}, but the recipe's precision asks for {asks}: write net.{'float' if own64 else 'double'}(), "
            "or leave the precision out"
        )
    _refuse_blind_stopping(recipe, prepared)
    looked_at = batch_size_of(train)[0] if train.has_masks or train.has_boxes else 32
    first = Batches(
        data=train, scaling=prepared.scaling, batch_size=looked_at, seed=recipe.seed, device=device
    )
    within_memory(lambda size: check(fitted, objective, next(first.in_order(size))), first.batch_size)
    refuse_contradictions(prepared, objective, recipe, fitted, next(first.in_order(min(8, len(train)))))
    wanted = recipe.batch_size or batch_size_of(train)[0]

    def resolved(net: nn.Module) -> tuple[tuple[Recipe, dict[str, str], list[dict[str, Any]]], int]:
        return within_memory(
            lambda size: _resolve(
                recipe if size == wanted else replace(recipe, batch_size=size),
                prepared,
                train,
                net,
                objective,
                device,
                budget,
            ),
            wanted,
        )

    (found, why, measured), size = resolved(fitted)
    tried = {_size(fitted)}
    while ours and recipe.epochs is None and found.epochs is not None:
        other = choices.other_width(fitted, found.epochs, train, objective, recipe.seed)
        if (
            other is None or _size(other[0]) in tried
        ):  # too few epochs for one width and too many for the next: stay
            break
        tried.add(_size(other[0]))
        fitted, reasons["net"] = other[0].to(device), other[1]
        (found, why, measured), size = resolved(fitted)
    asked, recipe = recipe, found
    reasons |= why
    if size < wanted:
        reasons["batch_size"] = halved(wanted, size)
    setting = Setting(
        prepared=prepared,
        net=fitted,
        objective=objective,
        recipe=recipe,
        reasons=reasons,
        measured=measured,
        device=device,
        groups=None if groups is None else np.asarray(data.groups),
        plan=choices.Plan(
            seconds=budget, useful=_useful(train, fitted, -(-len(train) // (recipe.batch_size or wanted)))
        )
        if asked.epochs is None
        else None,
        asked=asked,
    )
    folders.show_choices(display, setting)
    return setting


def _useful(train: Dataset, net: nn.Module, steps_per_epoch: int) -> int:
    """The epochs that such a network can use on such data."""
    return (
        useful_epochs(net, len(train))
        or useful_passes(train, steps_per_epoch)
        or passes_over(train, steps_per_epoch)
        or choices.most_useful(len(train))
    )


def _size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def halved(wanted: int | None, size: int) -> str:
    """What became of a batch that was too large, in words."""
    return f"halved from {wanted} to {size}, because memory did not suffice"


def _resolve(
    recipe: Recipe,
    prepared: Prepared,
    train: Dataset,
    net: nn.Module,
    objective: Objective,
    device: torch.device,
    budget: float,
) -> tuple[Recipe, dict[str, str], list[dict[str, Any]]]:
    if recipe.is_resolved:
        return recipe, {}, []
    measured: list[dict[str, Any]] = []

    def batches(batch_size: int, layout: str) -> Batches:
        from hubel.fitting.recipe import default_augmentation

        changes = default_augmentation(train, 1)[0] if recipe.augmentation is None else recipe.augmentation
        return Batches(
            data=train,
            scaling=prepared.scaling,
            batch_size=batch_size,
            seed=recipe.seed,
            augmentation=changes,
            device=device,
            layout=layout,
        )

    def choose_precision(batch_size: int) -> tuple[Precision, str]:
        batch = next(batches(batch_size, "contiguous").epoch(1))
        chosen, tried, why = probe(net, objective, batch, seconds=max(0.5, SHARE * budget), device=device)
        measured.extend(m.as_json() for m in tried)
        return chosen, why

    def choose_epochs(batch_size: int, precision: Precision) -> tuple[int, str]:
        from hubel.fitting.recipe import default_optimizer

        optimizer = recipe.optimizer or default_optimizer(net, batch_size)[0]
        made = batches(batch_size, precision.layout)
        pace = choices.measure_pace(net, objective, made, optimizer, precision, device, SHARE * budget)
        return choices.choose_epochs(
            pace,
            made.steps_per_epoch,
            len(train),
            len(prepared.rows["validation"]),
            budget,
            useful=_useful(train, net, made.steps_per_epoch),
        )

    with recipe.frozen(net):
        resolved, why = recipe.resolve(
            train,
            net,
            choose_precision=choose_precision,
            choose_epochs=choose_epochs,
            validation=len(prepared.rows["validation"]) > 0,
        )
    return resolved, why, measured


def with_groups(data: Dataset, groups: Sequence[Any] | np.ndarray) -> Dataset:
    """`data` whose examples belong to `groups` [N]: for the split, and for the intervals of the scores."""
    found = np.asarray(groups)
    if found.ndim != 1 or len(found) != len(data):
        raise ValueError(
            f"groups has {len(found):,} entries{'' if found.ndim == 1 else f' of shape {list(found.shape[1:])}'}, but there are {len(data):,} "
            "examples: there must be one per example"
        )
    return replace(data, groups=found)


def _merged(known: Recipe, given: Recipe) -> Recipe:
    """The recipe of another run, with what was given in its place."""
    changes = {f.name: getattr(given, f.name) for f in fields(given) if getattr(given, f.name) != f.default}
    return replace(known, **changes)


def _asked_of(train: Dataset, objective: Objective) -> Objective:
    """The question of another run, asked of these data: their class names, their centre and scale, and not calibrated yet."""
    if isinstance(objective, NextSymbol) and train.alphabet is not None:
        return asked_of_text(train, objective)
    changes: dict[str, Any] = {}
    if train.classes is not None and getattr(objective, "classes", None) is not None:
        asked = objective.classes  # type: ignore[attr-defined]
        if len(asked) != len(train.classes):
            raise ValueError(
                f"{train.name} has {len(train.classes)} classes, but the run to be like has {len(asked)}: pass an objective and a network"
            )
        changes["classes"] = train.classes
    if (
        isinstance(objective, (SquaredError, GaussianLikelihood))
        and train.classes is None
        and objective.center is not None
    ):
        fresh = choices.choose_objective(train)[0]
        if isinstance(fresh, SquaredError) and fresh.num_outputs == objective.num_values:
            changes |= {"center": fresh.center, "scale": fresh.scale}
    for name, plain in (("temperature", 1.0), ("widened", 1.0)):
        if hasattr(objective, name):
            changes[name] = plain
    return replace(objective, **changes) if changes else objective  # type: ignore[type-var]


def _split_of(like: Run | None, data: Dataset) -> SplitRows | None:
    """The parts of `like`, where its data and groups are the same."""
    if like is None or not _is_that_of(like, data):
        return None
    return SplitRows(**like.split, how=like.about["split"]["how"])


def _is_that_of(run: Run, data: Dataset) -> bool:
    return run.about["data"].get("fingerprint") == data.fingerprint


def _refuse_blind_stopping(recipe: Recipe, prepared: Prepared) -> None:
    """Early stopping and plateaus look at a validation loss."""
    if len(prepared.rows["validation"]):
        return
    blind = "early stopping" if recipe.early_stopping else "the plateau schedule"
    if recipe.early_stopping or isinstance(recipe.schedule, Plateau):
        raise ValueError(
            f"{blind} watches the validation loss, but the validation part is empty: leave a part for it (validation=0.1), "
            "or fit without it"
        )
