"""Which steps of a sequence count, and which steps may look at which.

A batch of sequences of different lengths is one tensor [N, L, F]: each is filled up to L steps, and what stands there must not
change any answer. Every layer here takes `valid`: lengths [N], or a mask [N, L] that is True where there is a step (steps may be
missing in the middle too). The content of the other steps, NaN included, is never read.
"""

from __future__ import annotations

import torch
from torch import Tensor


def valid_steps(valid: Tensor, x: Tensor) -> Tensor:
    """The mask [N, L] of `valid`, which is a mask already or lengths [N] of sequences that begin at step 0.

    Raises `ValueError` where it is neither for the sequences `x` [N, L, ...], or leaves one of them without a step.

    >>> valid_steps(torch.tensor([1, 3]), torch.zeros(2, 3, 5))
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    num, length = x.shape[:2]
    valid = valid.to(x.device)
    if valid.dtype == torch.bool and valid.shape == (num, length):
        counts = valid.sum(dim=1)
    elif valid.shape == (num,) and valid.dtype != torch.bool and not valid.is_floating_point():
        counts = valid
        valid = torch.arange(length, device=x.device) < counts.unsqueeze(1)
    else:
        raise ValueError(
            f"valid has shape {list(valid.shape)} and type {str(valid.dtype).removeprefix('torch.')}; expected whole-number lengths "
            f"[{num}] or a yes/no mask [{num}, {length}] for sequences {list(x.shape)}"
        )
    if not values_can_be_seen():
        return valid
    wrong = ((counts < 1) | (counts > length)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"sequence {row} of the batch has {int(counts[row])} valid steps; expected 1 to {length}. Leave empty sequences out"
        )
    return valid


def values_can_be_seen() -> bool:
    """Whether code may ask what a tensor holds: not while it is compiled or exported, nor under `vmap` and the like."""
    return not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())


def without_padding(x: Tensor, mask: Tensor) -> Tensor:
    """`x` [N, L, F] with zeros where `mask` [N, L] is False."""
    return x.masked_fill(~mask.unsqueeze(-1), 0)


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """[L, L], True where step i (row) may look at step j (column): j ≤ i.

    >>> causal_mask(3)
    tensor([[ True, False, False],
            [ True,  True, False],
            [ True,  True,  True]])
    """
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def allowed_pairs(mask: Tensor, *, causal: bool = False) -> Tensor:
    """Which step i may look at which step j, for every sequence and head: [N, 1, 1 or L, L], True where it may.

    No step looks at one that `mask` [N, L] leaves out, but a step that is left out may look at itself, so that no row is empty
    (a softmax over nothing is NaN).

    >>> allowed_pairs(torch.tensor([[True, False]])).shape, allowed_pairs(torch.tensor([[True, False]]), causal=True)[0, 0]
    (torch.Size([1, 1, 1, 2]), tensor([[ True, False],
            [ True,  True]]))
    """
    columns = mask[:, None, None, :]
    if not causal:
        return columns
    length = mask.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=mask.device)
    return (columns & causal_mask(length, mask.device)) | itself


def at_last(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The last valid step [N, F] of `x` [N, L, F].

    >>> at_last(torch.arange(3.0).view(1, 3, 1), torch.tensor([[True, True, False]]))
    tensor([[1.]])
    """
    if mask is None:
        return x[:, -1]
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = (steps * mask).amax(dim=1)
    return x[torch.arange(len(x), device=x.device), last]


def mean_of_valid(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean [N, F] over the valid steps of `x` [N, L, F].

    >>> mean_of_valid(torch.arange(3.0).view(1, 3, 1), torch.tensor([[True, True, False]]))
    tensor([[0.5000]])
    """
    if mask is None:
        return x.mean(dim=1)
    return without_padding(x, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True)
