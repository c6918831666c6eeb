"""Batch normalization of sequences that counts only the steps that there are.

    y = γ (x - μ) / √(σ² + ε) + β,   μ and σ² of each channel over the valid steps of the whole batch

In evaluation μ and σ² are the stored ones, as in every batch normalization (S. Ioffe, C. Szegedy, ICML 2015, arXiv:1502.03167). Padding
counted among the values would shrink both, by a share that differs from batch to batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StepNorm(nn.Module):
    """Batch norm of `channels` [N, C, L]; `mask` [N, L] is True where there is a step. Parameters are named as in `nn.BatchNorm1d`.

    >>> norm, x = StepNorm(1), torch.tensor([[[1.0, 3.0, 100.0]]])
    >>> norm(x, torch.tensor([[True, True, False]]))[0, 0, :2]
    tensor([-1.0000,  1.0000], grad_fn=<SliceBackward0>)
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The same shape; what stands beyond the valid steps means nothing."""
        if mask is None or not self.training:
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=self.training,
                momentum=self.momentum,
                eps=self.eps,
            )
        values = x if x.dtype == torch.float64 else x.float()
        valid = mask.unsqueeze(1).to(values.dtype)
        count = valid.sum()
        mean = (values * valid).sum(dim=(0, 2)) / count
        centred = values - mean.view(1, -1, 1)
        variance = (centred.square() * valid).sum(dim=(0, 2)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean.detach(), self.momentum)
            unbiased = variance.detach() * (count / (count - 1).clamp_min(1))
            self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(1, -1, 1) + self.bias.view(1, -1, 1)).to(x.dtype)

    def extra_repr(self) -> str:
        """For `print(net)`."""
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"
