"""Every objective keeps its contract: gradients, minimum, extremes, initial loss, reading; formulas against torch and scikit-learn."""

import dataclasses
import inspect
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import nn

from hubel import objectives
from hubel.core.types import Batch
from hubel.objectives import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianLikelihood,
    Hinge,
    Huber,
    NextSymbol,
    PixelCrossEntropy,
    SquaredError,
    SquaredLogError,
)
from hubel.objectives.real_values import RealValues

N = 12


def classes(num, generator):
    return torch.randint(num, (N,), generator=generator)


def symbols(num, generator):
    return torch.randint(num, (N, 7), generator=generator)


def masks(num, generator):
    return torch.randint(num, (N, 4, 5), generator=generator)


def partly_labelled(num, generator):
    found = masks(num, generator)
    return torch.where(torch.rand(found.shape, generator=generator) < 0.3, 255, found)


def distributions(num, generator):
    return torch.rand(N, num, generator=generator, dtype=torch.float64).softmax(1)


def yes_no(num, generator):
    return torch.randint(2, (N, num), generator=generator)


def reals(num, generator):
    return torch.randn(N, num, generator=generator, dtype=torch.float64)


def positive(num, generator):
    return 3 * torch.rand(N, num, generator=generator, dtype=torch.float64)


def two_classes(num, generator):
    return torch.randint(2, (N,), generator=generator)


CASES = {
    "classes": (CrossEntropy(4), classes),
    "two classes": (CrossEntropy(2), classes),
    "distributions": (CrossEntropy(3), distributions),
    "class weights": (CrossEntropy(3, class_weights=(1.0, 2.0, 0.5)), classes),
    "weighted distributions": (CrossEntropy(3, class_weights=(1.0, 2.0, 0.5)), distributions),
    "smoothed": (CrossEntropy(4, label_smoothing=0.2), classes),
    "one node": (BinaryCrossEntropy(1), yes_no),
    "several labels": (BinaryCrossEntropy(3), yes_no),
    "positive weights": (BinaryCrossEntropy(3, positive_weights=(1.0, 4.0, 0.5)), yes_no),
    "a value": (SquaredError(1), reals),
    "values": (SquaredError(2, center=(3.0, -1.0), scale=(2.0, 0.5)), reals),
    "focused": (CrossEntropy(4, focus=2.0), classes),
    "focused and smoothed": (CrossEntropy(4, focus=1.5, label_smoothing=0.1), classes),
    "absolute": (AbsoluteError(2, center=(3.0, -1.0), scale=(2.0, 0.5)), reals),
    "Huber": (Huber(2, delta=0.7, scale=(2.0, 0.5)), reals),
    "logarithms": (SquaredLogError(2, center=(0.5, 0.2)), positive),
    "with uncertainty": (GaussianLikelihood(4, center=(3.0, -1.0), scale=(2.0, 0.5)), reals),
    "hinge": (Hinge(1), two_classes),
    "hinge of classes": (Hinge(4), classes),
    "symbols": (NextSymbol(5), symbols),
    "pixels": (PixelCrossEntropy(4), masks),
    "pixels without labels": (PixelCrossEntropy(3, class_weights=(1.0, 2.0, 0.5)), partly_labelled),
    "pixels with Dice": (PixelCrossEntropy(3, dice=1.0), partly_labelled),
}


def case(name, seed=0):
    objective, targets = CASES[name]
    generator = torch.Generator().manual_seed(seed)
    wanted = targets(getattr(objective, "num_values", objective.num_outputs), generator)
    shape = objective.scores_shape(Batch(inputs=wanted, targets=wanted))
    return objective, torch.randn(shape, generator=generator, dtype=torch.float64), wanted


def loss_of(objective, scores, targets, weights=None, training=True):
    return objective(
        nn.Identity().train(training), Batch(inputs=scores, targets=targets, weights=weights)
    ).total


def test_every_objective_is_here():
    found = {
        getattr(objectives, name)
        for name in objectives.__all__
        if inspect.isclass(getattr(objectives, name)) and dataclasses.is_dataclass(getattr(objectives, name))
    }
    found.remove(objectives.WithAuxiliary)  # one of these, asked of several heads: test_auxiliary.py
    found.remove(
        objectives.SparseExplanation
    )  # one of these, with a price on a mask: test_sparse_explanation.py
    found = {
        kind for kind in found if not issubclass(kind, (objectives.OwnTarget, objectives.Detection))
    }  # test_own_target.py, and the files of the detectors
    assert found == {type(objective) for objective, _ in CASES.values()}


@pytest.mark.parametrize("name", CASES)
class TestEvery:
    def test_gradient(self, name):
        objective, scores, targets = case(name)
        weights = torch.rand(N, dtype=torch.float64)
        for given in (None, weights):
            assert torch.autograd.gradcheck(
                lambda z, w=given: loss_of(objective, z, targets, w), scores.requires_grad_()
            )

    def test_minimum_is_at_the_truth(self, name):
        objective, _, targets = case(name)
        if name == "focused and smoothed":
            pytest.skip("focusing bends what smoothing asks for: no closed form")
        if isinstance(objective, RealValues):
            truth = objective.standardized(targets)
            if isinstance(objective, GaussianLikelihood):
                truth = torch.cat([truth, torch.full_like(truth, -20.0)], 1)
        elif isinstance(objective, Hinge):
            truth = 5 * (2.0 * targets[:, None] - 1)
            if objective.num_outputs > 1:
                truth = 5 * F.one_hot(targets, objective.num_outputs).double()
        elif isinstance(objective, BinaryCrossEntropy):
            truth = (2.0 * targets - 1) * 20
        elif targets.is_floating_point():
            truth = targets.log()
        elif isinstance(objective, PixelCrossEntropy):
            sure = F.one_hot(targets.where(targets != 255, 0), objective.num_outputs).movedim(-1, 1)
            truth = sure.double().clamp_min(1e-9).log()
        else:
            sure = F.one_hot(targets, objective.num_outputs).double()
            smooth = getattr(objective, "label_smoothing", 0.0)
            truth = ((1 - smooth) * sure + smooth / objective.num_outputs).clamp_min(1e-9).log()
        least = loss_of(objective, truth, targets)
        for _ in range(20):
            assert least <= loss_of(objective, truth + 0.1 * torch.randn_like(truth), targets) + 1e-9

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_extreme_scores(self, name, dtype):
        objective, scores, targets = case(name)
        for size in (1e4, -1e4, 0.0):
            extreme = torch.where(scores > 0, size, -size).to(dtype).requires_grad_()
            loss = loss_of(objective, extreme, targets)
            loss.backward()
            assert loss.dtype == torch.float32
            assert torch.isfinite(loss)
            if not (dtype == torch.float16 and isinstance(objective, GaussianLikelihood)):
                assert torch.isfinite(
                    extreme.grad
                ).all()  # a residual of 1e4 over a variance of e^-20 is beyond float16
            prediction = objective.read(extreme)
            assert np.isfinite(prediction.values).all()
            if prediction.probabilities is not None:
                assert np.isfinite(prediction.probabilities).all()

    def test_expected_initial_loss(self, name):
        objective, scores, targets = case(name)
        bent = getattr(objective, "focus", 0) or getattr(objective, "dice", 0)
        for training in (False,) if bent else (True, False):
            zero = loss_of(objective, torch.zeros_like(scores), targets, training=training)
            assert objective.expected_initial_loss(targets) == pytest.approx(zero.item(), rel=1e-6)

    def test_score_is_the_plain_loss(self, name):
        objective, scores, targets = case(name)
        plain = dataclasses.replace(objective, **{k: v for k, v in PLAIN.items() if hasattr(objective, k)})
        found = objective.score(scores, targets)
        assert found["loss"] == pytest.approx(
            loss_of(plain, scores, targets, training=False).item(), rel=1e-6
        )
        assert next(iter(found)) == objective.headline

    def test_metrics_begin_with_the_headline(self, name):
        objective, scores, targets = case(name)
        found = objective.metrics(objective.read(scores), targets.numpy())
        assert next(iter(found)) == objective.headline
        assert found[objective.headline].value == pytest.approx(
            objective.score(scores, targets)[objective.headline], abs=1e-6
        )

    def test_pieces_are_the_whole(self, name):
        """What is scored and read piece by piece is what is scored and read at once."""
        objective, scores, targets = case(name)
        pieces = [(scores[a:b], targets[a:b]) for a, b in ((0, 5), (5, 6), (6, N))]
        assert objective.scored(iter(pieces)) == pytest.approx(objective.score(scores, targets), rel=1e-6)
        found = objective.metrics(objective.answered(iter(pieces)), targets.numpy())
        whole = objective.metrics(objective.read(scores), targets.numpy())
        assert list(found) == list(whole)
        for metric, score in whole.items():
            for end in ("value", "low", "high"):
                assert getattr(found[metric], end) == pytest.approx(
                    getattr(score, end), rel=1e-5, nan_ok=True
                )

    def test_order_of_examples_does_not_matter(self, name):
        objective, scores, targets = case(name)
        order = torch.randperm(N)
        assert loss_of(objective, scores[order], targets[order]).item() == pytest.approx(
            loss_of(objective, scores, targets).item()
        )

    def test_weights_count_examples(self, name):
        """A weight of two is the example twice; the scale of all weights does not matter; weight zero leaves out."""
        objective, scores, targets = case(name)
        weights = torch.ones(N, dtype=torch.float64)
        weights[0], weights[1] = 2, 0
        rows = [0, 0, *range(2, N)]
        expected = loss_of(objective, scores[rows], targets[rows]).item()
        assert loss_of(objective, scores, targets, weights).item() == pytest.approx(expected)
        assert loss_of(objective, scores, targets, 7 * weights).item() == pytest.approx(expected)

    def test_reading_does_not_need_detached_scores(self, name):
        objective, scores, _ = case(name)
        assert len(objective.read(scores.requires_grad_())) == N


PLAIN = {"focus": 0.0, "dice": 0.0, "label_smoothing": 0.0, "class_weights": None, "positive_weights": None}


# formulas


def test_cross_entropy_is_torchs():
    for name in ("classes", "two classes", "distributions"):
        objective, scores, targets = case(name)
        assert loss_of(objective, scores, targets).item() == pytest.approx(
            F.cross_entropy(scores, targets).item()
        )
    objective, scores, targets = case("class weights")
    expected = F.cross_entropy(scores, targets, weight=scores.new_tensor(objective.class_weights))
    assert loss_of(objective, scores, targets).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["classes", "distributions"])
def test_label_smoothing_is_torchs_in_training_only(name, smoothing):
    objective, scores, targets = case(name)
    objective = dataclasses.replace(objective, label_smoothing=smoothing)
    expected = F.cross_entropy(scores, targets, label_smoothing=smoothing).item()
    assert loss_of(objective, scores, targets).item() == pytest.approx(expected)
    assert loss_of(objective, scores, targets, training=False).item() == pytest.approx(
        F.cross_entropy(scores, targets).item()
    )


def test_weights_are_scikit_learns():
    objective, scores, targets = case("class weights")
    weights = torch.rand(N, dtype=torch.float64) + 0.1
    by_class = np.asarray(objective.class_weights)[targets.numpy()]
    expected = sklearn.metrics.log_loss(
        targets.numpy(),
        scipy.special.softmax(scores.numpy(), 1),
        sample_weight=weights.numpy() * by_class,
        labels=range(3),
    )
    assert loss_of(objective, scores, targets, weights).item() == pytest.approx(expected)


def test_binary_cross_entropy_is_scikit_learns():
    objective, scores, targets = case("one node")
    weights = torch.rand(N, dtype=torch.float64) + 0.1
    probabilities = scipy.special.expit(scores.numpy()[:, 0])
    expected = sklearn.metrics.log_loss(targets.numpy()[:, 0], probabilities, sample_weight=weights.numpy())
    assert loss_of(objective, scores, targets, weights).item() == pytest.approx(expected)
    assert loss_of(objective, scores, targets[:, 0], weights).item() == pytest.approx(
        expected
    )  # [N] or [N, 1]


def test_several_labels_are_the_mean_of_one_each():
    objective, scores, targets = case("several labels")
    each = [loss_of(BinaryCrossEntropy(1), scores[:, [k]], targets[:, k]).item() for k in range(3)]
    assert loss_of(objective, scores, targets).item() == pytest.approx(np.mean(each))


def test_positive_weights_are_torchs():
    objective, scores, targets = case("positive weights")
    weight = scores.new_tensor(objective.positive_weights)
    expected = F.binary_cross_entropy_with_logits(scores, targets.double(), pos_weight=weight)
    assert loss_of(objective, scores, targets).item() == pytest.approx(expected.item())


def test_the_focal_loss_is_its_formula():
    objective, scores, targets = case("focused")
    q = scipy.special.softmax(scores.numpy(), 1)[np.arange(N), targets.numpy()]
    expected = np.mean((1 - q) ** 2 * -np.log(q))
    assert loss_of(objective, scores, targets).item() == pytest.approx(expected)
    plain = loss_of(objective, scores, targets, training=False).item()
    assert plain == pytest.approx(np.mean(-np.log(q)))


def test_sure_and_right_is_no_loss_and_no_nan_when_focused():
    scores = torch.tensor([[80.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = loss_of(CrossEntropy(2, focus=0.5), scores, torch.tensor([0, 0]))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(scores.grad).all()
    assert scores.grad[0].abs().max() < 1e-9


def test_absolute_error_is_scikit_learns():
    scores, targets = torch.randn(N, 1, dtype=torch.float64), torch.randn(N, dtype=torch.float64)
    expected = sklearn.metrics.mean_absolute_error(targets, scores[:, 0])
    assert loss_of(AbsoluteError(1), scores, targets).item() == pytest.approx(expected)


def test_huber_is_squared_near_and_absolute_far():
    huber = Huber(1, delta=2.0)
    for far, expected in ((1.0, 0.5), (2.0, 2.0), (5.0, 2 * (5 - 1.0))):
        assert loss_of(huber, torch.zeros(1, 1), torch.tensor([far])).item() == pytest.approx(expected)
        assert loss_of(huber, torch.zeros(1, 1), torch.tensor([-far])).item() == pytest.approx(expected)


def test_squared_log_error_of_the_reading_is_scikit_learns():
    scores = torch.rand(N, 1, dtype=torch.float64)
    targets = 5 * torch.rand(N, dtype=torch.float64)
    read = SquaredLogError(1).read(scores).values[:, 0]
    expected = sklearn.metrics.mean_squared_log_error(targets.numpy(), read)
    assert loss_of(SquaredLogError(1), scores, targets).item() == pytest.approx(expected)


def test_the_likelihood_is_scipys():
    objective, scores, targets = case("with uncertainty")
    wanted = objective.standardized(targets).numpy()
    logs = scipy.stats.norm.logpdf(wanted, loc=scores[:, :2].numpy(), scale=np.exp(scores[:, 2:].numpy() / 2))
    assert loss_of(objective, scores, targets).item() == pytest.approx(-logs.sum(1).mean())


def test_uncertainties_are_in_the_users_units_and_calibrated():
    rng = np.random.default_rng(0)
    truth = rng.normal(10.0, 3.0, size=4000)
    objective = GaussianLikelihood(2, center=(10.0,), scale=(2.0,))
    scores = torch.zeros(4000, 2)  # says 10 ± 2, where 3 is true
    assert objective.read(scores).uncertainties[0, 0] == pytest.approx(2.0)
    found = objective.calibrated(scores, torch.from_numpy(truth))
    assert found.read(scores).uncertainties[0, 0] == pytest.approx(np.sqrt(np.square(truth - 10).mean()))


def test_hinge_is_scikit_learns():
    for name in ("hinge", "hinge of classes"):
        objective, scores, targets = case(name)
        given = scores[:, 0] if objective.num_outputs == 1 else scores
        expected = sklearn.metrics.hinge_loss(targets, given, labels=range(objective.num_classes))
        assert loss_of(objective, scores, targets).item() == pytest.approx(expected)


def test_margins_become_probabilities():
    objective, scores, targets = case("hinge")
    found = objective.calibrated(scores, targets)
    both = torch.cat([torch.zeros_like(scores), scores], 1)
    assert found.temperature == pytest.approx(CrossEntropy(2).calibrated(both, targets).temperature)
    read = found.read(scores)
    assert np.allclose(
        read.probabilities[:, 1], scipy.special.expit(scores[:, 0].numpy() / found.temperature), atol=1e-6
    )
    assert np.array_equal(read.values, scores[:, 0].numpy() > 0)


def test_two_nodes_say_the_same_as_one():
    _, scores, targets = case("one node")
    both = torch.cat([torch.zeros_like(scores), scores], 1)
    one, two = BinaryCrossEntropy(1), CrossEntropy(2)
    assert loss_of(one, scores, targets).item() == pytest.approx(loss_of(two, both, targets[:, 0]).item())
    assert np.allclose(one.read(scores).probabilities, two.read(both).probabilities)


def test_readings():
    objective, scores, _ = case("classes")
    read = objective.read(scores)
    assert np.allclose(read.probabilities, scipy.special.softmax(scores.numpy(), 1), atol=1e-6)
    assert np.array_equal(read.values, scores.numpy().argmax(1))
    objective, scores, _ = case("several labels")
    read = objective.read(scores)
    assert np.allclose(read.probabilities, scipy.special.expit(scores.numpy()), atol=1e-6)
    assert np.array_equal(read.values, scores.numpy() > 0)
    objective, scores, _ = case("values")
    assert np.allclose(objective.read(scores).values, scores.numpy() * [2.0, 0.5] + [3.0, -1.0])


def test_named_classes():
    read = CrossEntropy(2, classes=("star", "galaxy")).read(torch.tensor([[1.0, 0], [0, 1]]))
    assert read.labels == ["star", "galaxy"]
    read = BinaryCrossEntropy(2, classes=("red", "round")).read(torch.tensor([[1.0, 1], [-1, 1]]))
    assert read.labels == ["red|round", "round"]


# worked numbers (CATALOGUE, part B)


def test_mean_squared_error_of_the_catalogue():
    zeros = torch.tensor([[0.0], [0], [1], [1]])
    assert loss_of(SquaredError(1), zeros, torch.tensor([1.0, 1, 1, 0])).item() == 0.75


def test_sum_of_squares_of_the_catalogue():
    assert loss_of(SquaredError(5), torch.zeros(3, 5), torch.ones(3, 5)).item() == 5


def test_sparse_cross_entropy_of_the_catalogue():
    """Rows are normalised to sum 1 by Keras, by the softmax of their logarithms here: 0.32397. Without it: 0.0946."""
    rows = torch.tensor([[0.9, 0.05, 0.05], [0.5, 0.89, 0.6], [0.05, 0.01, 0.94]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])
    assert loss_of(CrossEntropy(3), rows.log(), labels).item() == pytest.approx(0.32397, abs=5e-6)
    assert -rows[range(3), labels].log().mean().item() == pytest.approx(0.0946, abs=5e-5)


def test_a_network_that_knows_nothing():
    assert CrossEntropy(10).expected_initial_loss(torch.zeros(1)) == pytest.approx(math.log(10))
    assert BinaryCrossEntropy(1).expected_initial_loss(torch.zeros(1)) == pytest.approx(math.log(2))


# choices that contradict themselves


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: CrossEntropy(1), r"softmax over one node is always 1.*BinaryCrossEntropy\(1\)"),
        (lambda: CrossEntropy(0), "at least 2"),
        (lambda: CrossEntropy(3, classes=("a", "b")), "2 class names for 3 outputs"),
        (lambda: CrossEntropy(3, label_smoothing=1.0), "label_smoothing is 1.0"),
        (lambda: CrossEntropy(3, label_smoothing=-0.1), "label_smoothing is -0.1"),
        (lambda: CrossEntropy(3, class_weights=(1.0,)), "1 class weights for 3 outputs"),
        (lambda: BinaryCrossEntropy(0), "at least 1"),
        (lambda: BinaryCrossEntropy(1, classes=("yes",)), "expected 2"),
        (lambda: BinaryCrossEntropy(3, positive_weights=(1.0,)), "one per output"),
        (lambda: SquaredError(0), "at least 1"),
        (lambda: SquaredError(2, center=(1.0,)), "center has 1 entries for 2 values"),
        (lambda: CrossEntropy(3, focus=-1.0), "focus is -1.0"),
        (lambda: Huber(1, delta=0.0), "delta is 0.0"),
        (lambda: GaussianLikelihood(3), "2 for every value"),
        (lambda: GaussianLikelihood(2, scale=(1.0, 1.0)), "scale has 2 entries for 1 value"),
        (lambda: GaussianLikelihood(2, widened=0.0), "widened is 0.0"),
        (lambda: Hinge(0), "at least 1"),
        (lambda: Hinge(1, classes=("a",)), "expected 2"),
        (lambda: Hinge(3, temperature=-1.0), "temperature is -1.0"),
        (lambda: SquaredError(1, scale=(0.0,)), "positive"),
    ],
)
def test_refused_when_made(make, match):
    with pytest.raises(objectives.contract.ContractError, match=match):
        make()


def test_what_is_not_a_choice_is_no_argument():
    with pytest.raises(TypeError):
        CrossEntropy(3, better="lower")


@pytest.mark.parametrize(
    "make", [SquaredError, AbsoluteError, lambda n, **more: GaussianLikelihood(2 * n, **more)]
)
def test_values_in_different_units_are_judged_without_mixing_them(make):
    from sklearn.metrics import r2_score

    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(50, 2, generator=generator) * torch.tensor([1.0, 1000.0])
    outputs = torch.cat([targets + 0.3 * torch.randn(50, 2, generator=generator), torch.zeros(50, 2)], dim=1)
    found = {}
    for units, factor in ((("m", "kg"), 1.0), (("m", "g"), 1000.0)):
        objective = make(2, units=units, target_names=("size", "mass"))
        shown = outputs[:, : objective.num_outputs].clone()
        shown[:, 1] *= factor
        wanted = targets * torch.tensor([1.0, factor])
        epoch = objective.score(shown, wanted)
        scores = objective.metrics(objective.read(shown), wanted.numpy())
        assert (objective.headline, objective.better) == ("r2", "higher") == (next(iter(epoch)), "higher")
        assert list(scores)[:3] == ["r2", "rmse_size", "rmse_mass"]
        expected = r2_score(wanted, shown[:, :2])
        assert epoch["r2"] == pytest.approx(expected, abs=1e-6) and scores["r2"].value == pytest.approx(
            expected, abs=1e-6
        )
        found[units] = epoch["r2"]
    assert len({round(value, 6) for value in found.values()}) == 1
    alike = make(2, units=("m", "m"))
    assert (alike.headline, alike.better) == ("rmse", "lower")
    constant = make(2, units=("m", "kg"), scale=(2.0, 4.0), center=(0.0, 0.0))
    still = torch.zeros(8, 2)
    assert constant.score(torch.ones(8, constant.num_outputs), still)["r2"] == pytest.approx(0.0)
