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
