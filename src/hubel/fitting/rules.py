"""Step rules: how one batch becomes an update."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from hubel.core.buffers import places_of, put_back
from hubel.core.types import Batch, Loss
from hubel.fitting.loop import ObjectiveCall
from hubel.fitting.penalties import Penalty, watched


class Backprop:
    """The gradient of the mean loss of a batch, given to a torch optimizer.

    `max_grad_norm` clips the whole gradient. `autocast` makes the context of the forward pass (lower precision). `penalties` are added
    to the loss (and answered as `penalty`), and act on the weights after the step. `still` modules are in evaluation mode throughout.
    The gradient's norm is always computed: it is what shows that a step is finite.

    `update` raises `FloatingPointError` where the loss or its gradient is not finite (weights, buffers and optimizer are then as
    before), and `RuntimeError` where no parameter receives a gradient.

    >>> from hubel.objectives import SquaredError
    >>> net, x = nn.Linear(1, 1), torch.linspace(-1, 1, 8).unsqueeze(1)
    >>> rule = Backprop(torch.optim.SGD(net.parameters(), lr=0.5))
    >>> scalars = rule.update(net, SquaredError(1), Batch(inputs=x, targets=3 * x), 0.1)
    >>> sorted(scalars), rule.learning_rate
    (['grad_norm', 'loss'], 0.05)
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        max_grad_norm: float | None = None,
        autocast: AbstractContextManager[object] | None = None,
        penalties: Sequence[Penalty] = (),
        still: Sequence[nn.Module] = (),
    ):
        self.optimizer = optimizer
        self.max_grad_norm = max_grad_norm
        self.autocast = nullcontext() if autocast is None else autocast
        self.highest = [float(group["lr"]) for group in optimizer.param_groups]
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.penalties = tuple(penalties)
        self.still = tuple(still)
        self._copies: list[Tensor] = []

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def update(
        self, net: nn.Module, objective: ObjectiveCall, batch: Batch, factor: float
    ) -> dict[str, Tensor]:
        places = places_of(net)
        before = self._kept([buffer for *_, buffer in places])
        self._forget_gradients()
        for module in self.still:
            module.eval()
        with self.autocast, watched(net, self.penalties) as activities:
            loss = objective(net, batch)
        values = [penalty.of_outputs(outputs) for penalty, outputs in activities]
        loss = self._with_penalties(loss, net, values)
        loss.total.backward()
        norm = self._grad_norm()
        if not _finite(norm, loss.total.detach()):
            put_back(places, before)
            self._forget_gradients()
            raise FloatingPointError(_what_is_not_finite(loss.total.detach(), loss.parts.items(), norm))
        if self.max_grad_norm is not None:
            self._clip(norm)
        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = highest * factor
        self.optimizer.step()
        for penalty in self.penalties:
            penalty.after_step(net, self.learning_rate)
        return {
            "loss": loss.total.detach(),
            "grad_norm": norm,
            **{name: part.detach() for name, part in loss.parts.items()},
        }

    def _with_penalties(self, loss: Loss, net: nn.Module, values: list[Tensor]) -> Loss:
        values = values + [value for penalty in self.penalties if (value := penalty.value(net)) is not None]
        if not values:
            return loss
        added = torch.stack(values).sum()
        parts = {"plain": loss.total.detach(), **loss.parts, "penalty": added.detach()}
        return Loss(total=loss.total + added, parts=parts)

    def _forget_gradients(self) -> None:
        """`optimizer.zero_grad()`, which would import torch's compiler at its first call (1.1 s, 80 MB)."""
        for parameter in self.parameters:
            parameter.grad = None

    def _kept(self, buffers: list[Tensor]) -> list[Tensor]:
        """Copies of the buffers, in memory that is kept from step to step (a clone of each costs seven times as much)."""
        shapes = [(b.shape, b.dtype, b.device) for b in buffers]
        if [(b.shape, b.dtype, b.device) for b in self._copies] != shapes:
            self._copies = [buffer.detach().clone() for buffer in buffers]
        elif buffers:
            with torch.no_grad():
                torch._foreach_copy_(self._copies, buffers)
        return self._copies

    def _grad_norm(self) -> Tensor:
        grads = [p.grad for p in self.parameters if p.grad is not None]
        if not grads:
            raise RuntimeError(
                "no parameter received a gradient: the loss does not depend on the optimizer's parameters "
                "(detached, frozen, or another network's)"
            )
        if len({(grad.dtype, grad.device) for grad in grads}) == 1 and grads[0].device.type in (
            "cpu",
            "cuda",
        ):
            return torch.linalg.vector_norm(
                torch.stack(torch._foreach_norm(grads))
            )  # as get_total_norm, for one kind
        return torch.nn.utils.get_total_norm(grads, foreach=grads[0].device.type in ("cpu", "cuda"))

    def _clip(self, norm: Tensor) -> None:
        assert self.max_grad_norm is not None
        torch.nn.utils.clip_grads_with_norm_(
            self.parameters, self.max_grad_norm, norm, foreach=norm.device.type in ("cpu", "cuda")
        )


class Closure:
    """An optimizer that evaluates the loss several times a step, as L-BFGS does; meant for the whole data as one batch.

    `update` raises `FloatingPointError` where the loss or the weights become non-finite (weights, buffers and optimizer are then
    as before), and `RuntimeError` where the loss depends on no parameter.
    """

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        self.highest = [float(group["lr"]) for group in optimizer.param_groups]

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def update(
        self, net: nn.Module, objective: ObjectiveCall, batch: Batch, factor: float
    ) -> dict[str, Tensor]:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in parameters]
        places = places_of(net)
        buffers = [buffer.clone() for *_, buffer in places]
        state = copy.deepcopy(self.optimizer.state_dict())
        losses: list[Tensor] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            loss = objective(net, batch)
            loss.total.backward()
            losses.append(loss.total.detach())
            return loss.total

        for group, highest in zip(self.optimizer.param_groups, self.highest, strict=True):
            group["lr"] = highest * factor
        self.optimizer.step(closure)  # type: ignore[arg-type]
        finite = torch.stack([torch.isfinite(p.detach()).all() for p in parameters]).all()
        if not bool(finite & torch.isfinite(losses[0])):
            with torch.no_grad():
                for p, old in zip(parameters, before, strict=True):
                    p.copy_(old)
            put_back(places, buffers)
            self.optimizer.load_state_dict(state)
            self.optimizer.zero_grad(set_to_none=True)
            raise FloatingPointError("the loss or the weights became non-finite")
        return {"loss": losses[0]}


def _finite(norm: Tensor, total: Tensor) -> bool:
    """Whether both are; a GPU is waited for once."""
    if norm.device.type == "cpu":
        return math.isfinite(norm.item()) and math.isfinite(total.item())
    return bool(torch.isfinite(norm) & torch.isfinite(total))


def _what_is_not_finite(total: Tensor, parts: object, norm: Tensor) -> str:
    if bool(torch.isfinite(total)):
        return f"the gradient became non-finite (norm {float(norm)}) while the loss was {float(total):.4g}"
    bad = [name for name, part in parts if not bool(torch.isfinite(part))]  # type: ignore[attr-defined]
    return f"the loss became {float(total)}" + (f" (its part {', '.join(bad)})" if bad else "")
