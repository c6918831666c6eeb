"""Refuse the wrong choice before the first step: network, objective and one real batch must agree.

Checked on the network as it is, the user's own module too: it answers with one tensor [N, K] of finite raw scores; no
activation stands before a loss that applies its own, or keeps the outputs from values that the targets or the margin have; targets
have the type and range that the objective asks; and at least one trained parameter changes the scores. A log_softmax before cross-entropy passes: log_softmax(log_softmax(z)) = log_softmax(z).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core import random
from hubel.core.buffers import places_of, put_back
from hubel.core.capture import entered
from hubel.core.errors import ContractError, is_out_of_memory
from hubel.core.types import Batch
from hubel.objectives.around import Around
from hubel.objectives.binary_cross_entropy import BinaryCrossEntropy
from hubel.objectives.cross_entropy import CrossEntropy
from hubel.objectives.detection import ANY, Detection
from hubel.objectives.ending import BOUNDS, ending
from hubel.objectives.gaussian import GaussianLikelihood
from hubel.objectives.hinge import Hinge
from hubel.objectives.next_symbol import NextSymbol
from hubel.objectives.objective import Objective
from hubel.objectives.own_target import OwnTarget
from hubel.objectives.pixel_cross_entropy import PixelCrossEntropy
from hubel.objectives.real_values import RealValues
from hubel.objectives.reconstruction import Reconstruction

REMEDY = "Remove it from the network: the objective applies it (in a numerically safer form), and its `read` gives probabilities."
ANSWERED = {
    "softmax": "it would be applied twice",
    "sigmoid": "the scores would be squashed twice",
    "hard sigmoid": "the scores would be squashed twice",
    "squashing": "the scores would be squashed twice",
    "tanh": "scores between -1 and 1 can not express a sure answer",
    "log-sigmoid": "the scores would be squashed twice",
}
"""What each ending does to a loss that has an activation of its own."""


def check(net: nn.Module, objective: Objective, batch: Batch) -> None:
    """Raise `ContractError` where `net`, `objective` and `batch` contradict each other.

    Runs the network in evaluation mode; modes, buffers, gradients and random states are as they were afterwards.

    >>> batch = Batch(inputs=torch.zeros(2, 4), targets=torch.tensor([0, 2]))
    >>> check(nn.Linear(4, 3), CrossEntropy(3), batch)
    >>> check(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), CrossEntropy(3), batch)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    hubel.core.errors.ContractError: the network ends with a softmax, but cross-entropy expects raw scores: ...
    """
    if isinstance(objective, Around):
        objective.check_net(net)
        objective = objective.objective
    _check_batch(batch)
    objective.check_targets(batch.targets)
    if isinstance(objective, OwnTarget):
        objective.check_net(net)
    modes = [(module, module.training) for module in net.modules()]
    places = places_of(net)
    before = [buffer.clone() for *_, buffer in places]
    try:
        net.eval()
        outputs = _outputs(net, batch)
        _check_outputs(outputs, objective, objective.scores_shape(batch))
        last = ending(net, batch.arguments, outputs)
    finally:
        for module, training in modes:
            module.training = training
        put_back(places, before)
    if isinstance(objective, GaussianLikelihood):
        _check_likelihood(last)
    elif isinstance(objective, RealValues):
        _check_reach(last, objective, batch)
    elif isinstance(objective, Reconstruction):
        _check_reconstruction(last, objective, batch)
    elif isinstance(objective, CrossEntropy | BinaryCrossEntropy | NextSymbol | PixelCrossEntropy):
        _check_twice(last, objective)
    elif isinstance(objective, Hinge):
        _check_margin(last, objective)
    _check_trained(outputs)


def _check_batch(batch: Batch) -> None:
    if len(batch) == 0 or len(batch.targets) != len(batch):
        raise ContractError(
            f"the first batch has {len(batch)} inputs and {len(batch.targets)} targets: there must be one target per example, and at least one"
        )
    finite = torch.isfinite(batch.inputs).reshape(len(batch), -1).all(1)
    if not bool(finite.all()):
        rows = [] if batch.ids is None else batch.ids[~finite.to(batch.ids.device)][:5].tolist()
        raise ContractError(
            f"{int((~finite).sum())} examples of the first batch hold NaN or infinite inputs (rows {rows}): remove or replace them"
        )
    weights = batch.weights
    if weights is not None and not bool((torch.isfinite(weights) & (weights >= 0)).all()):
        raise ContractError(
            f"weights of examples run from {float(weights.min()):g} to {float(weights.max()):g}; expected finite numbers of at least 0: "
            "give an example that should not count the weight 0"
        )


def _outputs(net: nn.Module, batch: Batch) -> Tensor:
    try:
        with (
            random.torch_seeded(0, "contract", device=batch.inputs.device),
            torch.enable_grad(),
            entered(net) as under_way,
        ):
            outputs = net(*batch.arguments)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        asked = ""
        if batch.lengths is not None and isinstance(error, TypeError):
            asked = (
                ". Sequences of different lengths are given as net(inputs [N, L, F], lengths [N]): let forward take both, or cut the "
                "sequences to one length"
            )
        kind = str(batch.inputs.dtype).removeprefix("torch.")
        raise ContractError(
            f"the network failed on one real batch of shape {tuple(batch.inputs.shape)}, {kind}: {type(error).__name__}: {error}"
            f"{_place(under_way)}{asked or _input_remedy(batch)}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise ContractError(
            f"the network returned a {type(outputs).__name__}; expected one tensor of raw scores [N, K]. "
            "Wrap it in a module that returns the scores only"
        )
    return outputs


def _place(under_way: list[tuple[str, nn.Module, tuple[Any, ...]]]) -> str:
    """The layer in which it failed, and what it was given."""
    if not under_way or not under_way[-1][0]:
        return ""
    name, layer, inputs = under_way[-1]
    shapes = ", ".join(str(list(value.shape)) for value in inputs if isinstance(value, Tensor))
    return f" (in layer {name}, {type(layer).__name__}, which received {shapes})"


def _input_remedy(batch: Batch) -> str:
    if not batch.inputs.is_floating_point():
        return ". These are numbers of symbols: expected a network that begins with an embedding (torch.nn.Embedding, hubel.nets.character_lm)"
    shape = tuple(batch.inputs.shape[1:])
    size = shape[0] if len(shape) == 1 else shape
    return f". Expected a network of inputs {['N', *shape]}: make it with inputs={size}, or reshape in its forward".replace(
        "'", ""
    )


def _check_outputs(outputs: Tensor, objective: Objective, expected: tuple[int, ...]) -> None:
    shape = tuple(outputs.shape)
    if not outputs.is_floating_point():
        raise ContractError(
            f"the network returned {str(outputs.dtype).removeprefix('torch.')} numbers; expected floating raw scores, not classes: remove the argmax"
        )
    if outputs.ndim == 1 and expected == (len(outputs), 1):
        raise ContractError(
            f"the network returned shape {shape}; expected {expected}: against targets [N] a lost axis would broadcast to [N, N]. "
            "Return outputs.unsqueeze(1), or end the network with Linear(..., 1)"
        )
    expected = (
        tuple(size if wanted == ANY else wanted for size, wanted in zip(shape, expected, strict=False))
        + expected[len(shape) :]
    )
    if shape != expected and len(expected) > 2:
        raise ContractError(
            f"the network returned shape {shape}; expected {expected}, which {type(objective).__name__} compares with its targets "
            "entry by entry"
            + (
                ": take one that answers for every pixel, hubel.nets.unet or hubel.nets.enet"
                if isinstance(objective, PixelCrossEntropy)
                else ": take a detector, hubel.nets.anchor_free"
                if isinstance(objective, Detection)
                else ""
            )
        )
    if shape != expected:
        raise ContractError(
            f"the network returned shape {shape}; expected {expected}: one row per example and one raw score per output. "
            + _size_remedy(outputs, objective)
        )
    if not bool(torch.isfinite(outputs).all()):
        raise ContractError(
            "the network returns NaN or infinite values on a batch of finite inputs before any training: "
            "look for a division by zero, a logarithm of zero, or an initialization that is too large"
        )


def _size_remedy(outputs: Tensor, objective: Objective) -> str:
    if outputs.ndim != 2:
        return (
            "Average over positions and flatten before the last layer."
            if outputs.ndim > 2
            else "Do not reduce the scores."
        )
    if outputs.shape[1] == 1 and isinstance(objective, CrossEntropy):
        return f"For one node write BinaryCrossEntropy(1), or end the network with {objective.num_outputs} outputs."
    return f"End the network with {objective.num_outputs} outputs, or choose the objective for {outputs.shape[1]}."


def _check_twice(
    last: str, objective: CrossEntropy | BinaryCrossEntropy | NextSymbol | PixelCrossEntropy
) -> None:
    """An activation before a loss that applies softmax or sigmoid itself."""
    binary = isinstance(objective, BinaryCrossEntropy)
    loss = "binary cross-entropy" if binary else "cross-entropy"
    if last == "softmax" and objective.num_outputs == 1:
        raise ContractError(f"the network ends with a softmax over one node, which is always 1. {REMEDY}")
    if last in ANSWERED:
        raise ContractError(
            f"the network ends with {_worded(last)}, but {loss} expects raw scores: {ANSWERED[last]}. {REMEDY}"
        )
    if binary and last in BOUNDS:
        half = "never be above" if last == "log_softmax" else "never fall below"
        raise ContractError(
            f"the network ends with a {last}, so that no probability could {half} one half. {REMEDY}"
        )


def _check_reach(last: str, objective: RealValues, batch: Batch) -> None:
    """An activation before a loss of real values, which must be able to reach the targets."""
    if last == "softmax" and objective.num_outputs == 1:
        raise ContractError(
            "the network ends with a softmax over one node, which is always 1: remove it from the network"
        )
    scaled = objective.center is not None or objective.scale is not None
    _check_bounds(
        last,
        objective.standardized(batch.targets.double()),
        ", in the units of center and scale," if scaled else "",
    )


def _check_reconstruction(last: str, objective: Reconstruction, batch: Batch) -> None:
    """An activation before the loss of a reconstruction: as for real values, or as for probabilities."""
    if objective.loss == "squared":
        _check_bounds(last, batch.inputs, ", which are the inputs after scaling,")
    elif last in BOUNDS:
        raise ContractError(
            f"the network ends with a {last}, but the binary loss expects raw scores, to which it applies a sigmoid itself. {REMEDY}"
        )


def _check_bounds(last: str, wanted: Tensor, scaled: str) -> None:
    if last not in BOUNDS:
        return
    low, high = BOUNDS[last]
    least, greatest = float(wanted.min()), float(wanted.max())
    if least < low or greatest > high:
        raise ContractError(
            f"the network ends with {_worded(last)}, whose values lie between {low:g} and {high:g}, but the targets{scaled} run from {least:.4g} "
            f"to {greatest:.4g}, which it can not reach: end the network with a linear layer"
        )


def _check_likelihood(last: str) -> None:
    """An activation before means and log variances, which have no bounds."""
    if last in BOUNDS:
        low, high = BOUNDS[last]
        raise ContractError(
            f"the network ends with {_worded(last)}, whose values lie between {low:g} and {high:g}, but the Gaussian likelihood expects means "
            "and logarithms of variances, which may be any number: end the network with a linear layer"
        )


def _check_margin(last: str, objective: Hinge) -> None:
    """An activation before margins: with one node "no" needs scores below -1 and "yes" above 1; with several, differences above 1."""
    low, high = BOUNDS.get(last, (-math.inf, math.inf))
    far_enough = (low <= -1 and high >= 1) if objective.num_outputs == 1 else high - low > 1
    if not far_enough:
        reach = (
            "-1 for no and 1 for yes"
            if objective.num_outputs == 1
            else "a difference of 1 between two scores"
        )
        raise ContractError(
            f"the network ends with {_worded(last)}, whose values lie between {low:g} and {high:g}, but the hinge loss expects raw scores: "
            f"its margin, {reach}, would never be passed. {REMEDY}"
        )


def _check_trained(outputs: Tensor) -> None:
    """Scores that no trained parameter changes."""
    if not outputs.requires_grad:
        raise ContractError(
            "no trained parameter changes the scores: all are frozen (requires_grad is False), or the scores were detached on the way "
            "(detach, no_grad, .data); expected at least one. Set requires_grad_(True) on what should learn"
        )


def _worded(last: str) -> str:
    return "something that keeps every output between 0 and 1" if last == "squashing" else f"a {last}"
