"""Networks as scikit-learn estimators, over the same loop, recipes, objectives and batches as `hubel.fit`."""

from hubel.sklearn.classifier import NetClassifier
from hubel.sklearn.regressor import NetRegressor

__all__ = ["NetClassifier", "NetRegressor"]
