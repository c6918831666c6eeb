"""Examples that are their own target: which network, which question, and what of a recipe makes no sense for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from hubel import nets
from hubel.core import random
from hubel.core.errors import ContractError
from hubel.data import Dataset
from hubel.data.augmentation import Mixup
from hubel.data.preprocessing import Preprocessing
from hubel.fitting import Recipe
from hubel.objectives import (
    Adversarial,
    LogLikelihood,
    Objective,
    OwnTarget,
    Reconstruction,
    Variational,
)
from hubel.workflows.choices import made_net

LATENT = 32  # of pictures
MOST_FEATURES = 16  # of the code of a table
SMALLEST = 8  # pixels of a side for which there are convolutions

QUESTIONS: dict[str, tuple[type[OwnTarget], str]] = {
    "hubel.nets.variational_autoencoder": (
        Variational,
        "codes near a standard normal, from which new examples can be drawn: the evidence lower bound",
    ),
    "hubel.nets.dcgan": (Adversarial, "a generator and a discriminator against each other"),
    "hubel.nets.realnvp": (LogLikelihood, "the network says how likely an example is: its log likelihood"),
}
SomeObjective = TypeVar("SomeObjective", bound=Objective)


def choose(
    train: Dataset,
    net: nn.Module | Callable[..., nn.Module] | None,
    objective: Objective | None,
    recipe: Recipe,
) -> tuple[nn.Module, OwnTarget, dict[str, str]]:
    """Network and question for examples that are their own target, and the reasons; each follows from the other where one is given.

    Raises `ContractError` where data, question and recipe do not go together.
    """
    _refuse_kinds(train)
    if objective is not None:
        _refuse_mixture(train, objective)
    reasons: dict[str, str] = {}
    if net is None:
        net, reasons["net"] = _default_net(train, objective, recipe.seed)
    elif not isinstance(net, nn.Module):
        net = made_net(net, train, math.prod(train.shape), recipe.seed)
    if objective is None:
        name = getattr(getattr(net, "made_by", None), "name", "")
        kind, reasons["objective"] = QUESTIONS.get(
            name,
            (
                Reconstruction,
                "the example itself: squared error, in units of the spread of the training data",
            ),
        )
        objective = kind()
    assert isinstance(objective, OwnTarget)
    _refuse_recipe(recipe, objective)
    return net, objective, reasons


def with_scaling(objective: SomeObjective, scaling: Preprocessing) -> SomeObjective:
    """A question about the examples themselves has to know how they are scaled; any other is as it is."""
    if isinstance(objective, OwnTarget) and objective.scaling != scaling:
        return replace(objective, scaling=scaling)
    return objective


def default_autoencoder(inputs: Any, outputs: Any = None, *, latent: int | None = None) -> nn.Module:
    """The convolutional autoencoder for pictures of 8×8 pixels or more, the dense one for everything else."""
    shape = (int(inputs),) if isinstance(inputs, int) else tuple(inputs)
    if _are_pictures(shape):
        return nets.conv_autoencoder(LATENT if latent is None else latent, inputs=shape, outputs=outputs)
    return nets.autoencoder(_features(shape) if latent is None else latent, inputs=shape, outputs=outputs)


def _default_net(train: Dataset, objective: Objective | None, seed: int) -> tuple[nn.Module, str]:
    shape = train.shape
    pictures = _are_pictures(shape)
    with random.torch_seeded(seed, "initial weights"):
        if isinstance(objective, LogLikelihood):
            return nets.realnvp(inputs=shape), "a chain of invertible couplings, which knows the density"
        if isinstance(objective, Adversarial):
            if not pictures:
                raise ContractError(
                    f"{train.name} holds examples of shape {list(shape)}, but the generator and discriminator here are for pictures of 8×8 "
                    "pixels or more: take hubel.nets.realnvp or variational_autoencoder, or pass a network of your own"
                )
            return nets.dcgan(inputs=shape), "pictures: a small generator and discriminator of convolutions"
        if isinstance(objective, Variational):
            latent = 16 if pictures else _features(shape)
            net = nets.variational_autoencoder(latent, inputs=shape)
            return net, f"a variational autoencoder with a code of {latent} values"
        net = default_autoencoder(shape)
    size, latent = math.prod(shape), net.made_by.arguments["latent"]  # type: ignore[union-attr]
    kind = (
        "pictures: convolutions down to a code and back"
        if pictures
        else "no pictures: dense layers down to a code and back"
    )
    return net, f"{kind}, {latent} values for {size:,} (--latent)"


def _are_pictures(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and min(shape[1:]) >= SMALLEST


def _features(shape: tuple[int, ...]) -> int:
    """Half of the values, as 5 → 3 in lecture 004, and few at most."""
    return min((math.prod(shape) + 1) // 2, MOST_FEATURES)


def _refuse_kinds(train: Dataset) -> None:
    if train.alphabet is not None:
        raise ContractError(
            f"{train.name} holds symbols: a text is learned by its next symbol, not given back as it is. Leave the target self out"
        )
    if train.lengths is not None:
        raise ContractError(
            f"{train.name} holds series of different lengths, which have no code of one size here: cut them to one length"
        )


def _refuse_mixture(train: Dataset, objective: Objective) -> None:
    asked = type(objective).__name__
    if not isinstance(objective, OwnTarget):
        raise ContractError(
            f"{asked} compares with labels (as do label smoothing, class weights and mixup), but the examples of {train.name} are their own "
            "target: take Reconstruction, Variational, Adversarial or LogLikelihood, or leave the target self out"
        )
    if not train.is_its_own_target:
        raise ContractError(
            f"{asked} asks about the examples themselves, but {train.name} has targets: say so with --target self, "
            'hubel.fit(x, "self") or data.as_its_own_target()'
        )


def _refuse_recipe(recipe: Recipe, objective: OwnTarget) -> None:
    if any(isinstance(change, Mixup) for change in recipe.augmentation or ()):
        raise ContractError(
            "mixup blends the labels of two examples, and these are their own target: a blend of two examples is no example, and would be "
            "learned as one. Leave it out; to make the task harder take Reconstruction(noise=0.5) or Reconstruction(hidden=0.3)"
        )
    if isinstance(objective, Adversarial) and recipe.early_stopping:
        raise ContractError(
            "early stopping watches a loss, but that of two adversaries does not say how good the samples are: leave it out"
        )
