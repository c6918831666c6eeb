"""Which explanation to believe: known good, known bad, and none."""

import json

import pytest
import torch
from stand_ins import attribution, contribution, inputs, linear, picture, slope
from torch import nn

from hubel import explain


def two_layers():
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3)).double().eval()


def refusing(net, x, *, target=None):
    raise ValueError("no convolution to look at")


X = inputs(25, 1, 8, 8)


def test_the_good_come_first_and_the_picture_last():
    found = explain.compare(
        two_layers(), X, [picture, explain.random_map, contribution, refusing], samples=30
    )
    assert found.judgements[0].method == "contribution"
    ignoring = {j.method for j in found.judgements if j.ignores_the_network}
    assert ignoring == {j.method for j in found.judgements[-2:]} == {"picture", "random_map"}
    assert found.best is found.judgements[0]
    assert found.refused == {"refusing": "no convolution to look at"}
    assert "believe contribution first: better than maps that know nothing in" in found.verdict
    assert "it does not show what the network has learned" in str(found)
    assert "centre map" in str(found) and "refusing can not be used here" in str(found)


def test_a_good_map_that_ignores_the_network_comes_behind():
    net = two_layers()
    values = contribution(net, X).values

    def remembered(net, x, *, target=None):
        return attribution(values, net, x, target, "remembered")

    found = explain.compare(net, X, [remembered, contribution], samples=20)
    assert [j.method for j in found.judgements] == ["contribution", "remembered"]
    assert found.judgements[0].beaten == found.judgements[1].beaten
    assert found.judgements[1].ignores_the_network


def test_it_is_said_when_none_is_worth_it():
    def other_noise(net, x, *, target=None):
        return explain.random_map(net, x, target=target, seed=7)

    found = explain.compare(two_layers(), X, [explain.random_map, other_noise], samples=20)
    assert found.best is None
    assert found.verdict.startswith("none of these explanations beats maps that know nothing")


def test_the_measures_are_those_of_the_functions():
    net = linear(1, 8, 8)
    found = explain.compare(net, X, {"mine": contribution}, samples=20, randomize=False, target=1)
    (judged,) = found.judgements
    assert judged.method == "mine" and judged.randomized is None
    expected = explain.deletion(net, X, contribution, target=1)
    assert judged.measures["deletion"].value == expected.value
    assert judged.measures["sensitivity-n"].value.value == pytest.approx(1)
    assert judged.measures["infidelity"].value.value < 1e-20
    boxes = [[(0, 0, 4, 4)]] * 25
    pointed = explain.compare(net, X, [contribution], samples=5, randomize=False, where=boxes)
    assert list(pointed.judgements[0].measures)[-1] == "pointing game"


def test_ranks_are_places():
    found = explain.compare(linear(1, 8, 8), X, [slope, contribution], samples=20, randomize=False)
    assert {j.method for j in found.judgements} == {"slope", "contribution"}
    assert sum(j.rank for j in found.judgements) == pytest.approx(3)  # 1 and 2 in each measure


def test_json_and_progress():
    seen = []
    found = explain.compare(
        linear(1, 8, 8),
        X[:3],
        [contribution, slope],
        samples=5,
        randomize=False,
        progress=lambda *a: seen.append(a),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]  # each method, and the measures of all
    plain = json.loads(json.dumps(found.as_json()))
    assert plain["images"] == 3 and len(plain["methods"]) == 2


def test_nothing_to_compare_and_two_of_one_name():
    with pytest.raises(ValueError, match="no methods are given"):
        explain.compare(linear(4), inputs(3, 4), [])
    with pytest.raises(ValueError, match="several methods are called slope"):
        explain.compare(linear(4), inputs(3, 4), [slope, slope])
    found = explain.compare(linear(4), inputs(3, 4), [refusing])
    assert found.best is None and "no method could be used" in str(found)


def test_an_answer_that_is_no_attribution_is_told():
    def shapeless(net, x, *, target=None):
        return attribution(x[..., :2], net, x, target, "shapeless")

    found = explain.compare(linear(1, 8, 8), X[:3], [shapeless])
    assert "answered values" in found.refused["shapeless"]
