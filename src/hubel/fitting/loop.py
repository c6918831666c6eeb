"""The training loop: one generator, no hooks.

What the caller wants to happen between steps (logging, evaluation, checkpoints, early stopping by `break`) stands in the
body of his own `for`, in the order in which he writes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from torch import Tensor, nn

from hubel.core import random
from hubel.core.types import Batch, Loss, Record

ObjectiveCall = Callable[[nn.Module, Batch], Loss]


class StepRule(Protocol):
    """How one batch becomes an update of the network."""

    def update(
        self, net: nn.Module, objective: ObjectiveCall, batch: Batch, factor: float
    ) -> dict[str, Tensor]:
        """Change `net` once, at `factor` times the highest learning rate; answer detached scalars, `loss` among them.

        Raises `FloatingPointError` and leaves weights, buffers and optimizer as they were, where the loss or its gradient is not
        finite.
        """
        ...

    @property
    def learning_rate(self) -> float:
        """Of the update just made."""
        ...


class steps:
    """Fit `net` in place: one `Record` a batch, until `batches` ends.

    `schedule` gives the factor on the learning rate of global step number s (from 0). `epoch` and `first_step` (steps already
    made) continue a run. The random numbers of a step (dropout) are a pure function of (seed, epoch, step).

    Raises `NonFiniteLoss` from the iteration; the network is then as before that step.

    >>> import torch
    >>> from hubel.fitting import Backprop
    >>> from hubel.objectives import SquaredError
    >>> net, x = nn.Linear(1, 1), torch.linspace(-1, 1, 8).unsqueeze(1)
    >>> rule = Backprop(torch.optim.SGD(net.parameters(), lr=0.5))
    >>> batch = Batch(inputs=x, targets=3 * x)
    >>> for record in steps(net, SquaredError(1), [batch] * 50, rule=rule):
    ...     if record.loss < 1e-6:
    ...         break
    >>> round(net.weight.item(), 2)
    3.0
    """

    def __init__(
        self,
        net: nn.Module,
        objective: ObjectiveCall,
        batches: Iterable[Batch],
        *,
        rule: StepRule,
        schedule: Callable[[int], float] | None = None,
        seed: int = 0,
        epoch: int = 1,
        first_step: int = 0,
    ):
        self._started = False
        self._records = _generate(net, objective, batches, rule, schedule, seed, epoch, first_step)

    def __iter__(self) -> Iterator[Record]:
        self._started = True
        return self._records

    def __del__(self) -> None:
        if not getattr(self, "_started", True):
            warnings.warn(
                "hubel.fitting.steps(...) was made but never iterated, so nothing was fitted: write `for record in steps(...): ...`",
                ResourceWarning,
                stacklevel=2,
            )


def _generate(
    net: nn.Module,
    objective: ObjectiveCall,
    batches: Iterable[Batch],
    rule: StepRule,
    schedule: Callable[[int], float] | None,
    seed: int,
    epoch: int,
    first_step: int,
) -> Iterator[Record]:
    from hubel.core.errors import NonFiniteLoss

    members = int(getattr(net, "members", 1))  # of a committee
    for done, batch in enumerate(batches, start=first_step):
        if not net.training or done == first_step:  # the caller's body may have called net.eval()
            net.train()
        factor = 1.0 if schedule is None else schedule(done)
        shown = batch if members == 1 else batch.repeated(members)
        try:
            with random.torch_seeded(seed, "forward", epoch, done, device=batch.inputs.device):
                scalars = rule.update(net, objective, shown, factor)
        except FloatingPointError as error:
            ids = () if batch.ids is None else tuple(batch.ids.tolist())
            raise NonFiniteLoss(
                f"{error} at step {done + 1} (epoch {epoch}). The network is as it was before this step. "
                "Lower the learning rate, clip the gradient, or look at the examples of this batch "
                f"(rows {', '.join(map(str, ids[:8]))}{', …' if len(ids) > 8 else ''}).",
                step=done + 1,
                epoch=epoch,
                ids=ids,
            ) from None
        yield Record(
            step=done + 1, epoch=epoch, examples=len(batch), learning_rate=rule.learning_rate, scalars=scalars
        )
