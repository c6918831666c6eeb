"""The class of every pixel: loss, soft Dice, overlap and calibration, against torch, NumPy and scikit-learn."""

import weakref

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import nn

from hubel import nets
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.objectives import CrossEntropy, PixelCrossEntropy, check

N, K, H, W = 6, 4, 5, 7


def case(seed=0, unlabelled=0.2):
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(N, K, H, W, generator=generator, dtype=torch.float64)
    targets = torch.randint(K, (N, H, W), generator=generator)
    return scores, targets.where(torch.rand(N, H, W, generator=generator) >= unlabelled, 255)


def loss_of(objective, scores, targets, weights=None, training=True):
    batch = Batch(inputs=scores, targets=targets, weights=weights)
    return objective(nn.Identity().train(training), batch).total


def test_the_loss_is_torchs():
    scores, targets = case()
    expected = F.cross_entropy(scores, targets, ignore_index=255)
    assert loss_of(PixelCrossEntropy(K), scores, targets.to(torch.uint8)).item() == pytest.approx(
        expected.item()
    )
    weights = (1.0, 3.0, 0.0, 0.5)
    expected = F.cross_entropy(scores, targets, weight=scores.new_tensor(weights), ignore_index=255)
    found = loss_of(PixelCrossEntropy(K, class_weights=weights), scores, targets)
    assert found.item() == pytest.approx(expected.item())


def test_a_batch_without_labels_is_no_loss():
    scores, targets = case(unlabelled=1.0)
    scores.requires_grad_()
    loss = loss_of(PixelCrossEntropy(K, dice=1.0), scores, targets)
    loss.backward()
    assert loss.item() == 0 and (scores.grad == 0).all()
    assert PixelCrossEntropy(K).calibrated(scores, targets).temperature == 1


def test_soft_dice_is_its_formula():
    scores, targets = case()
    weights = torch.rand(N, dtype=torch.float64)
    said = scipy.special.softmax(scores.numpy(), 1)
    y, w = targets.numpy(), weights.numpy()
    missed = []
    for k in range(K):
        both = said_squared = true_squared = 0.0
        for n, i, j in np.ndindex(N, H, W):
            if y[n, i, j] != 255:
                t = float(y[n, i, j] == k)
                both += w[n] * said[n, k, i, j] * t
                said_squared += w[n] * said[n, k, i, j] ** 2
                true_squared += w[n] * t**2
        missed.append(1 - 2 * both / (said_squared + true_squared))
    plain = loss_of(PixelCrossEntropy(K), scores, targets, weights).item()
    found = loss_of(PixelCrossEntropy(K, dice=0.7), scores, targets, weights).item()
    assert found - plain == pytest.approx(0.7 * np.mean(missed))
    in_evaluation = loss_of(PixelCrossEntropy(K, dice=0.7), scores, targets, weights, training=False).item()
    assert in_evaluation == pytest.approx(plain)


def test_a_class_that_the_batch_does_not_have_is_not_asked_for():
    _, targets = case()
    few = targets.where(targets != 3, 255)
    sure = F.one_hot(few.where(few != 255, 0), K).movedim(-1, 1) * 60.0
    assert loss_of(PixelCrossEntropy(K, dice=1.0), sure, few).item() == pytest.approx(0, abs=1e-9)


def test_scores_are_scikit_learns():
    scores, targets = case()
    there = targets.numpy() != 255
    y, z = targets.numpy()[there], scores.argmax(1).numpy()[there]
    found = PixelCrossEntropy(K).score(scores, targets)
    assert found["mean_iou"] == pytest.approx(sklearn.metrics.jaccard_score(y, z, average="macro"))
    assert found["pixel_accuracy"] == sklearn.metrics.accuracy_score(y, z)
    nats = sklearn.metrics.log_loss(
        y, scipy.special.softmax(scores.numpy(), 1).transpose(0, 2, 3, 1)[there], labels=range(K)
    )
    assert found["loss"] == pytest.approx(nats)
    objective = PixelCrossEntropy(K, classes=("a", "b", "c", "d"))
    measured = objective.metrics(objective.answered([(scores, targets)]), targets.numpy())
    each = sklearn.metrics.jaccard_score(y, z, average=None)
    f1 = sklearn.metrics.f1_score(y, z, average=None)
    for k, name in enumerate("abcd"):
        assert measured[f"iou_{name}"].value == pytest.approx(each[k])
        assert measured[f"dice_{name}"].value == pytest.approx(f1[k])
    assert measured["mean_dice"].value == pytest.approx(f1.mean())


def test_calibration_is_that_of_all_labelled_pixels():
    scores, targets = case()
    there = targets != 255
    flat = scores.movedim(1, 3)[there]
    expected = CrossEntropy(K).calibrated(flat, targets[there]).temperature
    found = PixelCrossEntropy(K, classes=tuple("abcd")).calibrated(scores, targets)
    assert found.temperature == pytest.approx(expected) and expected > 1.5
    read = found.read(scores)
    assert np.allclose(read.probabilities, scipy.special.softmax(scores.numpy() / expected, 1), atol=1e-6)
    assert np.array_equal(read.values, scores.argmax(1)) and read.values.shape == (N, H, W)
    with pytest.raises(ValueError, match="class for every pixel: write"):
        assert read.labels


@pytest.mark.parametrize("read", ["scored", "answered"])
def test_scores_are_not_kept(read):
    """While one piece is made, at most the one before is still there."""
    alive, most = [], [0]

    def pieces():
        for seed in range(8):
            scores, targets = case(seed)
            alive.append(weakref.ref(scores))
            yield scores, targets
            del scores
            most.append(sum(ref() is not None for ref in alive))

    getattr(PixelCrossEntropy(K), read)(pieces())
    assert max(most) <= 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PixelCrossEntropy(1), "expected 2 to 255"),
        (lambda: PixelCrossEntropy(256), "255 in a mask means not labelled"),
        (lambda: PixelCrossEntropy(3, classes=("a",)), "1 class names for 3 outputs"),
        (lambda: PixelCrossEntropy(3, class_weights=(1.0,)), "1 class weights for 3 outputs"),
        (lambda: PixelCrossEntropy(3, dice=-1.0), "dice is -1.0"),
        (lambda: PixelCrossEntropy(3, temperature=0.0), "temperature is 0.0"),
        (
            lambda: PixelCrossEntropy(3).check_targets(torch.zeros(4, dtype=torch.int64)),
            r"int64 of shape \(4,\); expected masks.*CrossEntropy\(K\)",
        ),
        (lambda: PixelCrossEntropy(3).check_targets(torch.zeros(4, 5, 5)), "targets are float32"),
        (
            lambda: PixelCrossEntropy(3).check_targets(torch.full((4, 5, 5), 3)),
            r"run from 3 to 3, but there are 3 outputs \(0 to 2\).*PixelCrossEntropy\(4\)",
        ),
    ],
)
def test_refusals(make, said):
    with pytest.raises(ContractError, match=said):
        make()


def test_the_contract_of_a_network_for_pixels():
    targets = torch.randint(3, (4, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    batch = Batch(inputs=torch.randn(4, 2, 16, 16), targets=targets)
    net = nets.unet(4, levels=2, inputs=(2, 16, 16), outputs=3)
    check(net, PixelCrossEntropy(3), batch)
    with pytest.raises(
        ContractError, match=r"shape \(4, 3, 16, 16\); expected \(4, 5, 16, 16\).*hubel.nets.unet"
    ):
        check(net, PixelCrossEntropy(5), batch)
    with pytest.raises(
        ContractError, match=r"shape \(4, 3\); expected \(4, 3, 16, 16\).*answers for every pixel"
    ):
        check(nets.simple_cnn(inputs=(2, 16, 16), outputs=3), PixelCrossEntropy(3), batch)
    with pytest.raises(ContractError, match="ends with a softmax, but cross-entropy expects raw scores"):
        check(nn.Sequential(net, nn.Softmax(1)), PixelCrossEntropy(3), batch)
    with pytest.raises(ContractError, match=r"integer targets of shape \(4, 16, 16\)"):
        check(net, CrossEntropy(3), batch)


class ByHand(nn.Module):
    """A softmax over the classes of each pixel, by hand, which leaves no name in the graph."""

    def forward(self, x):
        powers = torch.exp(x - x.amax(1, keepdim=True))
        return powers / powers.sum(1, keepdim=True)


def test_a_softmax_written_by_hand_is_found():
    targets = torch.zeros(2, 16, 16, dtype=torch.uint8)
    net = nn.Sequential(nets.unet(4, levels=1, inputs=(1, 16, 16), outputs=3), ByHand())
    with pytest.raises(ContractError, match="ends with a softmax"):
        check(net, PixelCrossEntropy(3), Batch(inputs=torch.randn(2, 1, 16, 16), targets=targets))
