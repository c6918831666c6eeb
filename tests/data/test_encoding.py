"""What enters the network: against scikit-learn's encoders, with missing values and levels that training did not see."""

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from hubel.core import names
from hubel.data import from_table
from hubel.data.encoding import Category, encoding_of
from hubel.data.preprocessing import scaling_of

NUM = 200


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    a = generator.normal(5, 3, NUM)
    a[::7] = np.nan
    colour = generator.choice(["red", "green", "blue"], NUM).astype(object)
    colour[::11] = None
    return from_table(
        {
            "a": a,
            "b": generator.exponential(size=NUM),
            "colour": colour.tolist(),
            "label": generator.integers(0, 2, NUM),
        }
    )


def test_it_is_what_scikit_learn_makes_of_the_training_part(table):
    train, new = np.arange(0, 150), np.arange(150, NUM)
    encoding = scaling_of(table.view(train))
    found = encoding(torch.from_numpy(table.inputs[new])).numpy()
    numbers = table.inputs[:, :2].astype(np.float64)
    filled = SimpleImputer().fit(numbers[train])
    scaler = StandardScaler().fit(numbers[train])
    np.testing.assert_allclose(found[:, :2], scaler.transform(filled.transform(numbers[new])), atol=1e-5)
    gaps = np.isnan(numbers[:, 0])
    np.testing.assert_allclose(found[:, 2], gaps[new] - gaps[train].mean(), atol=1e-6)
    codes = np.nan_to_num(table.inputs[:, 2:], nan=9)
    onehot = OneHotEncoder(sparse_output=False).fit(codes[train])
    expected = onehot.transform(codes[new]) - onehot.transform(codes[train]).mean(0)
    np.testing.assert_allclose(found[:, [3, 4, 5, 7]], expected, atol=1e-6)
    assert (found[:, 6] == 0).all()
    assert found.shape[1] == table.entering[0] == 8
    assert encoding.names(table.reading["columns"]) == [
        "a", "b", "a missing", "colour = blue", "colour = green", "colour = red", "colour other", "colour missing",
    ]  # fmt: skip


def test_the_mean_of_what_enters_is_zero(table):
    entering = encoding_of(table)(torch.from_numpy(table.inputs))
    assert entering.mean(0).abs().max() < 1e-5


def test_levels_that_training_did_not_see_are_the_mean(table):
    train = np.flatnonzero(table.inputs[:, 2] != 0)  # no blue
    encoding = scaling_of(table.view(train))
    rows = torch.tensor([[5.0, 1.0, 0.0], [5.0, 1.0, -1.0]])
    assert (encoding(rows)[:, 3:] == 0).all()


def test_rare_levels_share_one_which_new_levels_take():
    words = [f"w{k % 70:02d}" if k < 700 else "w00" for k in range(800)]
    words[0:0] = [f"r{k}" for k in range(10)]
    data = from_table({"word": words, "label": [0, 1] * 405})
    encoding = encoding_of(data)
    rows = encoding(torch.from_numpy(np.concatenate([data.inputs, [[-1.0]]]).astype(np.float32)))
    assert rows.shape[1] == 66
    levels = data.reading["columns"][0]["levels"]
    rare = [k for k in range(80) if k not in encoding.categories[0].kept]
    assert len(rare) == 16 and all(f"r{k}" in [levels[r] for r in rare] for k in range(10))
    first = int(np.flatnonzero(np.isin(data.inputs[:, 0], rare))[0])
    assert torch.equal(rows[-1], rows[first])
    assert rows[-1, 64] > 0.8


def test_a_number_that_does_not_vary_in_training_is_nothing_elsewhere():
    data = from_table({"a": [1.0, 1.0, 1.0, 50.0], "b": [1.0, 2.0, 3.0, 4.0], "label": [0, 1, 0, 1]})
    encoding = scaling_of(data.view(np.arange(3)))
    assert encoding(torch.from_numpy(data.inputs))[:, 0].tolist() == [0, 0, 0, 0]


def test_it_is_written_into_a_run_and_made_again(table):
    encoding = encoding_of(table)
    again = names.rebuild(names.describe(encoding))
    assert again == encoding
    x = torch.from_numpy(table.inputs)
    assert torch.equal(again(x), encoding(x))
    with pytest.raises(ValueError, match="this network was fitted on"):
        again(x[:, :2])


def test_heavy_tails_become_normal_and_others_stay():
    generator = np.random.default_rng(0)
    z = generator.normal(size=2000)
    data = from_table(
        {"tail": np.exp(2 * z), "same": z, "flat": generator.random(2000), "label": (z > 0).astype(int)}
    )
    encoding = encoding_of(data)
    assert [tail.which for tail in encoding.tails] == [0]
    found = encoding(torch.from_numpy(data.inputs)).numpy()
    middle = np.abs(z) < 2
    expected = QuantileTransformer(output_distribution="normal", n_quantiles=2000).fit_transform(
        data.inputs[:, :1]
    )[:, 0]
    assert np.abs(found[:, 0] - expected)[middle].max() < 0.1
    np.testing.assert_allclose(found[:, 1], (z - z.mean()) / z.std(), atol=1e-5)
    beyond = encoding(torch.tensor([[1e30, 0.0, 0.0], [-1e30, 0.0, 0.0], [float("nan"), 0.0, 0.0]]))[
        :, 0
    ].tolist()
    assert (
        beyond[0] == pytest.approx(2.42, abs=0.01)
        and beyond[1] == pytest.approx(-2.42, abs=0.01)
        and beyond[2] == 0
    )
    again = names.rebuild(names.describe(encoding))
    assert again == encoding


def test_a_category_can_not_have_more_columns_than_levels():
    """A run folder from a stranger could ask for all memory by it."""
    assert Category(place=0, counts=(3, 1), columns=4).matrix().shape == (4, 4)
    with pytest.raises(ValueError, match="2 levels enters by 1,000,000,000 columns; expected 4 at most"):
        Category(place=0, counts=(3, 1), columns=10**9)
