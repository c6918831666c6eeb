"""Completeness: do the values of the map add up to what they are to explain?

    residual = |sum of values + absorbed - (f(x) - f(baseline))| / max(|f(x) - f(baseline)|, greatest |value|)

Reckoned from the network itself, whatever the method says of its own residual. It is a promise of some methods only (integrated gradients,
DeepLIFT, LRP, Shapley values), and it says nothing of where the values lie: a map whose values are shuffled is as complete.

Source: M. Sundararajan, A. Taly, Q. Yan, "Axiomatic attribution for deep networks", ICML 2017 (arXiv:1703.01365), section 3.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from hubel.explain.completeness import completeness_residual
from hubel.explain.question import Scale, Target
from hubel.explain.trust import Explainer, Trust, asked, baseline_for, evaluated, judged


def completeness(
    net: nn.Module,
    x: Tensor | np.ndarray,
    explain: Explainer,
    *,
    target: Target = None,
    baseline: float | Tensor | None = None,
    of: Scale = "score",
    batch_size: int = 256,
    seed: int = 0,
) -> Trust:
    """The relative residual an image, for `baseline` (default: that of the method, else 0); lower is better.

    The maps that know nothing are brought to the same sum of absolute values as the map.

    >>> net = nn.Linear(3, 2).double()
    >>> from hubel.core.types import Attribution
    >>> def exact(net, x, target=None):
    ...     return Attribution(values=x * net.weight[target], method="exact", target=("",) * len(x), score=net(x)[:, 0])
    >>> bool(completeness(net, np.ones((2, 3)), exact, target=0).value.value < 1e-12)
    True
    """
    told = asked(net, x, explain, target, of=of, seed=seed)
    x, found = told.question.x, told.found
    zero = baseline_for(x, baseline, found)
    difference = (told.question.score - evaluated(told.question, [zero], batch_size)[0]).double()
    size = found.values.double().abs().flatten(1).sum(1)
    own = completeness_residual(found.values, difference, found.absorbed)
    scores = {"": own.cpu().numpy()}
    for name, values in told.controls.items():
        flat = values.double()
        scale = size / flat.abs().flatten(1).sum(1)
        scaled = flat * scale.view(-1, *(1,) * (flat.ndim - 1))
        scores[name] = completeness_residual(scaled, difference).cpu().numpy()
    notes = () if found.residual is not None else (f"{found.method} promises no completeness",)
    return judged("completeness", found.method, "lower", scores, notes=notes, seed=seed)
