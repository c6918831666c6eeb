"""A code that is a Gaussian: the encoder says mean μ and log variance ln σ² of every entry, and the code is drawn from it.

    z = μ + σ ε,   ε ~ N(0, 1)

so that the gradient passes through the draw into μ and σ. In evaluation z = μ: the same input then has the same code. Mean and
log variance are left for whoever opened `auxiliary_scores`, and are never kept.

Source: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014 (arXiv:1312.6114), section 2.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hubel.layers.auxiliary import AuxiliaryHead

LEAST, GREATEST = (
    -20.0,
    10.0,
)  # of the log variance: beyond, exp would lose all digits or overflow half precision


class GaussianCode(AuxiliaryHead):
    """What an encoder said [N, 2 Z] (means, then log variances) to codes [N, Z]; drawn in training, the means in evaluation.

    >>> from hubel.layers.auxiliary import auxiliary_scores
    >>> code = GaussianCode().eval()
    >>> with auxiliary_scores(code) as left:
    ...     z = code.codes(torch.tensor([[1.0, 2.0, 0.0, 0.0]]))
    >>> z, left
    (tensor([[1., 2.]]), [tensor([[1., 2., 0., 0.]])])
    """

    def forward(self, said: Tensor) -> Tensor:
        """Means and log variances [N, 2 Z], the latter within limits that exp can bear, in at least float32."""
        said = said.float() if said.dtype.itemsize < 4 else said
        mean, log_variance = said.chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(LEAST, GREATEST)], dim=1)

    def codes(self, said: Tensor) -> Tensor:
        """Codes [N, Z], and mean and log variance to whoever asked for them."""
        self.offer(said)
        return self.drawn(said) if self.training else said.chunk(2, dim=1)[0]

    def drawn(self, said: Tensor) -> Tensor:
        """Codes [N, Z], drawn with torch's global generator whatever the mode."""
        mean, log_variance = self(said).chunk(2, dim=1)
        return mean + (0.5 * log_variance).exp() * torch.randn(
            mean.shape, dtype=mean.dtype, device=mean.device
        )


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − ln σ² − 1) over the entries of every row, in nats: [N, Z] and [N, Z] to [N].

    Source: Kingma and Welling 2014, appendix B.

    >>> kl_from_standard_normal(torch.zeros(1, 3), torch.zeros(1, 3))
    tensor([0.])
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1)
