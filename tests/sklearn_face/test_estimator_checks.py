"""scikit-learn's own checks of an estimator: all that its SGDClassifier and SGDRegressor pass, and the one that they do not pass either."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from hubel.sklearn import NetClassifier, NetRegressor

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "an example of weight 2 is not two examples: the shuffled batches of the two fits hold other examples "
        "(SGDClassifier and SGDRegressor fail it for the same reason; weight 0 is the same as leaving an example out)"
    ),
}


@parametrize_with_checks(
    [
        NetClassifier(epochs=60, learning_rate=0.01, device="cpu"),
        NetRegressor(epochs=60, learning_rate=0.01, device="cpu"),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
    xfail_strict=True,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_estimator_checks(estimator, check):
    check(estimator)
