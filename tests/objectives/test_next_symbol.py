"""The next symbol: loss, bits, ranks, intervals over windows and calibration, against torch and scikit-learn."""

import weakref

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import nn

from hubel import metrics, nets
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.objectives import CrossEntropy, NextSymbol, check

N, L, K = 40, 9, 8


def scored(seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(N, L, K, generator=generator, dtype=torch.float64)
    return scores, torch.randint(K, (N, L), generator=generator)


def test_the_loss_is_torchs_and_the_bits_are_scikit_learns():
    scores, targets = scored()
    batch = Batch(inputs=scores, targets=targets.to(torch.uint8))
    expected = F.cross_entropy(scores.transpose(1, 2), targets).item()
    assert NextSymbol(K)(nn.Identity(), batch).total.item() == pytest.approx(expected)
    probabilities = scipy.special.softmax(scores.numpy(), 2).reshape(-1, K)
    nats = sklearn.metrics.log_loss(targets.ravel(), probabilities, labels=range(K))
    found = NextSymbol(K).metrics(NextSymbol(K).answered([(scores, targets)]), targets.numpy())
    assert found["bits_per_symbol"].value == pytest.approx(nats / np.log(2), rel=1e-6)
    assert found["perplexity"].value == pytest.approx(np.exp(nats), rel=1e-6)
    assert found["accuracy"].value == sklearn.metrics.accuracy_score(targets.ravel(), probabilities.argmax(1))
    top = sklearn.metrics.top_k_accuracy_score(targets.ravel(), probabilities, k=5, labels=range(K))
    assert found["top_5_accuracy"].value == pytest.approx(top)


def test_of_equal_scores_the_first_is_the_likeliest_in_values_and_in_ranks():
    targets = torch.arange(K).view(1, K)
    answers = NextSymbol(K).answered([(torch.zeros(1, K, K), targets)])
    assert answers.ranks.tolist() == [list(range(K))]
    assert ((answers.values == targets.numpy()) == (answers.ranks == 0)).all()


def test_windows_are_what_is_independent():
    """More symbols of the same kind in every window do not make an interval narrower; groups are windows put together."""
    bits, ranks = np.abs(np.random.default_rng(0).normal(2, 1, (N, L))), np.zeros((N, L), int)
    one = metrics.next_symbol(bits, ranks)["bits_per_symbol"]
    assert one.count == N
    again = metrics.next_symbol(np.tile(bits, 10), np.tile(ranks, 10))["bits_per_symbol"]
    assert (again.low, again.high) == pytest.approx((one.low, one.high))
    grouped = metrics.next_symbol(bits, ranks, np.arange(N) // 2)["bits_per_symbol"]
    wide = metrics.next_symbol(bits.reshape(N // 2, -1), ranks.reshape(N // 2, -1))["bits_per_symbol"]
    assert (grouped.low, grouped.high) == pytest.approx((wide.low, wide.high))
    spread = bits.mean(1).std() / np.sqrt(N)
    assert one.high - one.low == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_calibration_is_that_of_all_positions():
    scores, targets = scored()
    expected = CrossEntropy(K).calibrated(scores.flatten(0, 1), targets.flatten()).temperature
    found = NextSymbol(K, alphabet=tuple("abcdefgh")).calibrated(scores, targets)
    assert found.temperature == pytest.approx(expected)
    assert expected > 1.5  # scores that know nothing are too sure
    assert found.alphabet == tuple("abcdefgh")
    read = found.read(scores).probabilities
    assert np.allclose(read, scipy.special.softmax(scores.numpy() / expected, 2), atol=1e-6)
    bits = found.metrics(found.answered([(scores, targets)]), targets.numpy())["bits_per_symbol"].value
    wanted = F.cross_entropy(scores.flatten(0, 1) / expected, targets.flatten()).item() / np.log(2)
    assert bits == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("read", ["scored", "answered"])
def test_scores_are_not_kept(read):
    """While one piece is made, at most the one before is still there."""
    alive, most = [], [0]

    def pieces():
        for seed in range(12):
            scores, targets = scored(seed)
            alive.append(weakref.ref(scores))
            yield scores, targets
            del scores
            most.append(sum(ref() is not None for ref in alive))

    getattr(NextSymbol(K), read)(pieces())
    assert max(most) <= 1


def test_predicted_texts_are_labels():
    objective = NextSymbol(3, alphabet=("a", "b ", "�"))
    scores = torch.eye(3)[torch.tensor([[0, 1, 1], [1, 0, 2]])]
    assert objective.read(scores).labels == ["ab b ", "b a�"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NextSymbol(1), "the next of 1 symbol: nothing can be predicted"),
        (lambda: NextSymbol(3, alphabet=("a", "b")), "an alphabet of 2 symbols for 3 outputs"),
        (lambda: NextSymbol(3, temperature=0.0), "temperature is 0.0; expected a positive"),
        (
            lambda: NextSymbol(3).check_targets(torch.zeros(4, dtype=torch.int64)),
            r"int64 targets of shape \(4,\).*numbers of symbols \[N, L\].*CrossEntropy\(K\)",
        ),
        (lambda: NextSymbol(3).check_targets(torch.zeros(4, 5)), "received float32 targets"),
        (
            lambda: NextSymbol(3).check_targets(torch.full((4, 5), 3)),
            r"run from 3 to 3, but there are 3 outputs \(0 to 2\)",
        ),
        (lambda: metrics.next_symbol([[1.0]], [[0, 1]]), "expected one of each a symbol"),
        (lambda: metrics.next_symbol([[-1.0]], [[0]]), "is not negative"),
        (lambda: metrics.next_symbol([[np.nan]], [[0]]), "NaN or infinite"),
    ],
)
def test_refusals(make, said):
    with pytest.raises((ContractError, ValueError), match=said):
        make()


def test_the_contract_of_a_language_model():
    symbols = torch.randint(6, (4, 10), generator=torch.Generator().manual_seed(0))
    batch = Batch(inputs=symbols, targets=symbols)
    net = nets.character_lm(width=8, layers=1, inputs=6)
    check(net, NextSymbol(6), batch)
    with pytest.raises(ContractError, match=r"returned shape \(4, 10, 6\); expected \(4, 10, 7\)"):
        check(net, NextSymbol(7), batch)
    with pytest.raises(ContractError, match="ends with a softmax, but cross-entropy expects raw scores"):
        check(nn.Sequential(net, nn.Softmax(2)), NextSymbol(6), batch)
    with pytest.raises(ContractError, match=r"one row per example|entry by entry"):
        check(nn.Sequential(net, nn.Flatten(1)), NextSymbol(6), batch)
