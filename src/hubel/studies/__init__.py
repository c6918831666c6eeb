"""Studies: what the lectures say about networks, done once more with figures, numbers and sources.

Every name in `__all__` is a function `hubel.studies.NAME(quick=False, seed=0, out=None)`. It writes `study.html`, one page that needs no
network, and `numbers.json` into `out` (`studies/NAME` unless told), and answers the `Study`: its `numbers` are what is on the page.
`quick=True` takes a few seconds and shows the point with fewer, smaller fits.
"""

from hubel.studies.batch_size import batch_size
from hubel.studies.bias_and_variance import bias_and_variance
from hubel.studies.clustering import clustering
from hubel.studies.decision_regions import decision_regions
from hubel.studies.depth_and_width import depth_and_width
from hubel.studies.finite_differences import finite_differences
from hubel.studies.grokking import grokking
from hubel.studies.loss_landscapes import loss_landscapes
from hubel.studies.perceptron import perceptron
from hubel.studies.recurrent_memory import recurrent_memory
from hubel.studies.sparsity_and_shrinkage import sparsity_and_shrinkage
from hubel.studies.structural_risk import structural_risk
from hubel.studies.symmetry_breaking import symmetry_breaking
from hubel.studies.universal_approximation import universal_approximation
from hubel.studies.vanishing_gradient import vanishing_gradient

__all__ = [
    "batch_size",
    "bias_and_variance",
    "clustering",
    "decision_regions",
    "depth_and_width",
    "finite_differences",
    "grokking",
    "loss_landscapes",
    "perceptron",
    "recurrent_memory",
    "sparsity_and_shrinkage",
    "structural_risk",
    "symmetry_breaking",
    "universal_approximation",
    "vanishing_gradient",
]
