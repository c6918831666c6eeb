"""Scores on what a network was fitted to tell how well it remembers: that is said."""

import warnings

import numpy as np
import pytest

import hubel


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    x = np.random.default_rng(0).normal(size=(80, 4))
    y = (x[:, 0] > 0).astype(int)
    np.savez(tmp_path_factory.mktemp("remembered") / "d.npz", x=x, y=y)
    run = hubel.fit(
        x, y, recipe=hubel.Recipe(epochs=1), out=tmp_path_factory.mktemp("runs") / "r", quiet=True
    )
    return run, x, y


def test_the_data_of_the_fit_are_known_again(fitted):
    run, x, y = fitted
    learned = len(run.split["train"]) + len(run.split["validation"])
    with pytest.warns(
        UserWarning, match=rf"{learned} of these 80 examples are those that the network was fitted to"
    ):
        run.evaluate(x, y)


def test_other_data_are_not_warned_of(fitted):
    run, x, y = fitted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.evaluate(x + 0.1, y)
        run.evaluate(x[run.split["test"]], y[run.split["test"]])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: hubel.Recipe(optimizer="adam"), "optimizer is 'adam'; expected a choice such as"),  # type: ignore[arg-type]
        (lambda: hubel.Recipe(schedule=hubel.fitting.Cosine), "schedule is <class"),  # type: ignore[arg-type]
    ],
)
def test_words_in_place_of_choices(made, said):
    with pytest.raises(TypeError, match=said):
        made()


@pytest.mark.parametrize("budget", ["10s", 0, -1.0, float("nan")])
def test_a_budget_is_seconds(budget):
    with pytest.raises(ValueError, match="expected a positive number of seconds"):
        hubel.fit("digits", budget=budget)


def test_the_unit_stands_beside_the_score():
    from hubel.core.types import Interval
    from hubel.objectives import SquaredError
    from hubel.workflows.conclude import score_text, unit_of

    score = Interval(value=0.5, low=0.25, high=1.0, level=0.95, count=9, method="bootstrap")
    both, one = SquaredError(2, units=("K", "Jy")), SquaredError(2, units=("K", "K"))
    assert score_text("rmse", score, unit_of(one, "rmse")) == "0.5 [0.25, 1] K (95% interval, 9 examples)"
    assert unit_of(both, "rmse") == unit_of(one, "r2") == unit_of(SquaredError(1), "rmse") == ""


def test_targets_of_another_number_than_the_examples():
    with pytest.raises(ValueError, match="x has 100 examples, but y has 99"):
        hubel.fit(np.zeros((100, 3)), np.arange(99))
