"""Refuse the wrong choice before the first step: network, objective and one real batch must agree.

Checked on the network as it is, the user's own module too: it answers with one tensor [N, K] of finite raw scores; no
softmax or sigmoid stands before a loss that applies its own; targets have the type and range that the objective asks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubel.core import random
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.objectives.binary_cross_entropy import BinaryCrossEntropy
from hubel.objectives.cross_entropy import CrossEntropy
from hubel.objectives.objective import Objective

REMEDY = "Remove it from the network: the objective applies it (in a numerically safer form), and its `read` gives probabilities."


def check(net: nn.Module, objective: Objective, batch: Batch) -> None:
    """Raise `ContractError` where `net`, `objective` and `batch` contradict each other.

    Runs the network once in evaluation mode; modes, buffers, gradients and random states are as they were afterwards.
    """
    objective.check_targets(batch.targets)
    _check_inputs(batch)
    outputs = _outputs(net, batch)
    expected = (len(batch), objective.num_outputs)
    if outputs.ndim == 1 and objective.num_outputs == 1:
        raise ContractError(
            f"the network returned shape {tuple(outputs.shape)}; expected {expected}: against targets [N] a lost axis would broadcast to [N, N]. "
            "Return outputs.unsqueeze(1), or end the network with Linear(..., 1)"
        )
    if tuple(outputs.shape) != expected:
        raise ContractError(
            f"the network returned shape {tuple(outputs.shape)}; expected {expected}: one row per example and one raw score per output. "
            + _size_remedy(outputs, objective)
        )
    if not outputs.is_floating_point():
        raise ContractError(
            f"the network returned {outputs.dtype} numbers; expected floating raw scores, not classes: remove the argmax"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise ContractError(
            "the network returns NaN or infinite values on a batch of finite inputs before any training: "
            "look for a division by zero, a logarithm of zero, or an initialization that is too large"
        )
    _check_activation(outputs, objective)


def _check_inputs(batch: Batch) -> None:
    finite = torch.isfinite(batch.inputs).flatten(1).all(1)
    if not bool(finite.all()):
        rows = [] if batch.ids is None else batch.ids[~finite.to(batch.ids.device)][:5].tolist()
        raise ContractError(
            f"{int((~finite).sum())} examples of the first batch hold NaN or infinite inputs (rows {rows}): remove or replace them"
        )


def _outputs(net: nn.Module, batch: Batch) -> Tensor:
    modes = [(module, module.training) for module in net.modules()]
    try:
        net.eval()
        with random.torch_seeded(0, "contract", device=batch.inputs.device), torch.enable_grad():
            outputs = net(batch.inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error):
            raise
        raise ContractError(
            f"the network failed on one real batch of shape {tuple(batch.inputs.shape)}: {error}"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(outputs, Tensor):
        raise ContractError(
            f"the network returned a {type(outputs).__name__}; expected one tensor of raw scores [N, K]. "
            "Wrap it in a module that returns the scores only"
        )
    return outputs


def _size_remedy(outputs: Tensor, objective: Objective) -> str:
    if outputs.ndim > 2:
        return "Average over positions and flatten before the last layer."
    if outputs.ndim == 2 and outputs.shape[1] == 1 and isinstance(objective, CrossEntropy):
        return f"For one node write BinaryCrossEntropy(1), or end the network with {objective.num_outputs} outputs."
    return f"End the network with {objective.num_outputs} outputs, or choose the objective for {tuple(outputs.shape)[-1]}."


def _check_activation(outputs: Tensor, objective: Objective) -> None:
    """Squashed outputs, by their graph and by their values (a custom softmax leaves no name in the graph)."""
    if not isinstance(objective, CrossEntropy | BinaryCrossEntropy):
        return
    last = _last_operation(outputs)
    values = outputs.detach().double()
    if isinstance(objective, CrossEntropy):
        sums_to_one = bool(((values.sum(1) - 1).abs() < 1e-3).all()) and bool((values >= 0).all())
        if last == "softmax" or (sums_to_one and len(values) > 1):
            raise ContractError(
                f"the network ends with a softmax, but cross-entropy expects raw scores: it would be applied twice. {REMEDY}"
            )
        if last == "sigmoid":
            raise ContractError(
                f"the network ends with a sigmoid, but cross-entropy of classes expects raw scores. {REMEDY}"
            )
        return
    if last == "softmax" and objective.num_outputs == 1:
        raise ContractError(f"the network ends with a softmax over one node, which is always 1. {REMEDY}")
    if last in ("sigmoid", "softmax"):
        raise ContractError(
            f"the network ends with a {last}, but binary cross-entropy expects raw scores: it would be squashed twice. {REMEDY}"
        )
    within = bool(((values > 0) & (values < 1)).all())
    if within and len(values) >= 8 and float(values.std()) > 0 and _looks_squashed(values):
        raise ContractError(
            f"all outputs lie between 0 and 1 and stop there, as after a sigmoid; binary cross-entropy expects raw scores. {REMEDY}"
        )


def _looks_squashed(values: Tensor) -> bool:
    """Outputs in (0, 1) about 0.5, as an untrained sigmoid gives; raw scores of an untrained network are about 0."""
    return 0.3 < float(values.mean()) < 0.7 and float(values.min()) > 0.02


def _last_operation(outputs: Tensor) -> str:
    """One of "softmax", "log_softmax", "sigmoid" or "": the operation that made `outputs`, looking through casts and views."""
    node = outputs.grad_fn
    for _ in range(6):
        if node is None:
            return ""
        name = type(node).__name__.lower()
        for word in ("logsoftmax", "softmax", "sigmoid"):
            if name.startswith(word):
                return "log_softmax" if word == "logsoftmax" else word
        if not name.startswith(("tocopy", "view", "reshape", "unsqueeze", "squeeze", "clone", "contiguous")):
            return ""
        node = node.next_functions[0][0]
    return ""
