"""Measures of trust on networks whose right explanation is known."""

import itertools
import json

import numpy as np
import pytest
import torch
from stand_ins import attribution, contribution, inputs, linear, picture, slope
from torch import nn

from hubel import explain
from hubel.core.types import Attribution
from hubel.explain.deletion_insertion import blurred, ranks
from hubel.explain.randomization import layer_groups
from hubel.explain.similarity import rank_correlation, similarity, ssim
from hubel.explain.trust import mean_interval

NET, X = linear(1, 6, 6), inputs(5, 1, 6, 6)


def wrong(net, x, *, target=None):
    """Contributions of other positions."""
    found = contribution(net, x, target=target)
    return attribution(found.values.flip(-1), net, x, target, "wrong")


class TestSensitivityN:
    def test_it_is_one_for_every_n_on_a_linear_network(self):
        found = explain.sensitivity_n(NET, X, contribution, target=1, subsets=20)
        assert found.curve.shape == (5, len(found.at))
        np.testing.assert_allclose(found.curve, 1, atol=1e-12)
        assert found.at[0] == 1 / 36 and found.at[-1] == pytest.approx(28 / 36)

    def test_a_map_that_knows_nothing_is_near_zero_and_beaten(self):
        found = explain.sensitivity_n(NET, X, contribution, subsets=40)
        assert all(abs(control.value) < 0.3 for control in found.controls.values())
        assert found.beats == ("random map", "centre map") and found.beats_all
        assert not explain.sensitivity_n(NET, X, explain.centre_map, subsets=40).beats_all

    def test_the_baseline_is_what_is_taken_away_to(self):
        baseline = torch.full((1, 1, 6, 6), 2.0, dtype=torch.float64)

        def exact(net, x, *, target=None):
            values = slope(net, x, target=target).values * (x - baseline)
            return attribution(values, net, x, target, "exact", baseline=baseline)

        np.testing.assert_allclose(explain.sensitivity_n(NET, X, exact, subsets=10).curve, 1, atol=1e-10)
        moved = explain.sensitivity_n(NET, X, exact, subsets=10, baseline=0.0)
        assert moved.value.value < 0.9

    def test_an_answer_that_never_changes_is_refused(self):
        dead = linear(1, 6, 6)
        with torch.no_grad():
            dead[1].weight.zero_()
        with pytest.raises(ValueError, match="does not change whatever is taken away"):
            explain.sensitivity_n(dead, X, picture)

    def test_a_constant_map_foretells_nothing(self):
        def flat(net, x, *, target=None):
            return attribution(torch.ones_like(x), net, x, target, "flat")

        assert explain.sensitivity_n(NET, X, flat, subsets=10).value.value == 0

    def test_wrong_sizes(self):
        with pytest.raises(ValueError, match="expected numbers from 1 to 35"):
            explain.sensitivity_n(NET, X, contribution, sizes=[36])


class TestInfidelity:
    @pytest.mark.parametrize("scaled", [True, False])
    def test_it_is_zero_where_the_map_foretells_all(self, scaled):
        noise = explain.infidelity(NET, X, slope, target=0, perturbation="noise", scaled=scaled, samples=20)
        patches = explain.infidelity(NET, X, contribution, target=0, scaled=scaled, samples=20)
        assert max(noise.value.value, patches.value.value) < 1e-20
        assert noise.better == "lower" and patches.beats_all

    def test_a_map_of_another_scale_is_as_good_where_scaled(self):
        def thrice(net, x, *, target=None):
            return attribution(3 * contribution(net, x, target=target).values, net, x, target, "thrice")

        def nothing(net, x, *, target=None):
            return attribution(0 * x, net, x, target, "nothing")

        assert explain.infidelity(NET, X, thrice, samples=20).value.value < 1e-20
        raw, zero = (explain.infidelity(NET, X, m, samples=20, scaled=False).each for m in (thrice, nothing))
        np.testing.assert_allclose(raw, 4 * zero)  # (3 a - a)² against a²
        np.testing.assert_allclose(explain.infidelity(NET, X, nothing, samples=20).each, 1)

    def test_the_opposite_map_is_as_bad_as_none(self):
        def opposite(net, x, *, target=None):
            return attribution(-contribution(net, x, target=target).values, net, x, target, "opposite")

        np.testing.assert_allclose(explain.infidelity(NET, X, opposite, samples=20).each, 1)

    def test_features_lose_random_sets(self):
        net, x = linear(8), inputs(4, 8)
        assert explain.infidelity(net, x, contribution, samples=20).value.value < 1e-20


class TestMaxSensitivity:
    def test_of_slopes_that_are_the_input_it_is_the_relative_change(self):
        class Half(nn.Module):
            def forward(self, x):
                return (x**2).flatten(1).sum(1, keepdim=True) / 2  # whose slope is x

        found = explain.max_sensitivity(Half(), X, slope, target=0, radius=0.1, samples=200)
        greatest = 0.1 * 6 / X.flatten(1).norm(dim=1).numpy()  # all 36 values moved by the radius
        assert (found.each < greatest).all() and (found.each > 0.6 * greatest).all()

    def test_controls_are_what_they_say(self):
        found = explain.max_sensitivity(NET, X, slope, target=0)
        assert found.value.value < 1e-12
        assert found.controls["centre map"].value == 0 and found.controls["random map"].value > 1
        assert found.beats == ("random map",)


class TestDeletionAndInsertion:
    def test_exact_contributions_are_the_best_of_all_orders(self):
        net, x = linear(5, outputs=1), inputs(1, 5, seed=4)

        def area(order, measure):
            def fixed(net, x, *, target=None):
                values = torch.empty_like(x)
                values[0, list(order)] = torch.arange(5, 0, -1, dtype=x.dtype)
                return attribution(values, net, x, target, "fixed")

            return measure(net, x, fixed, target=0, of="score", step=1).value.value

        orders = list(itertools.permutations(range(5)))
        exact = tuple(torch.argsort(-contribution(net, x, target=0).values[0]).tolist())
        for measure, best in ((explain.deletion, min), (explain.insertion, max)):
            areas = {order: area(order, measure) for order in orders}
            assert areas[exact] == pytest.approx(best(areas.values()), abs=1e-12)
            assert len(set(np.round(list(areas.values()), 9))) > 20

    def test_the_curve_is_that_of_the_network_and_the_area_its_trapezoids(self):
        net, x = linear(4), inputs(3, 4)
        found = explain.deletion(net, x, contribution, target=2, step=1)
        order = contribution(net, x, target=2).values.argsort(1, descending=True)
        for row in range(3):
            gone, values = x[row].clone(), []
            for place in [None, *order[row].tolist()]:
                if place is not None:
                    gone[place] = 0
                values.append(net(gone[None]).softmax(1)[0, 2].item())
            np.testing.assert_allclose(found.curve[row], values)
            trapezoids = [(a + b) / 2 / 4 for a, b in itertools.pairwise(values)]
            assert found.each[row] == pytest.approx(sum(trapezoids))

    def test_insertion_ends_where_deletion_begins(self):
        down = explain.deletion(NET, X, contribution, target=0)
        up = explain.insertion(NET, X, contribution, target=0, substrate="zero")
        np.testing.assert_allclose(up.curve[:, -1], down.curve[:, 0])
        np.testing.assert_allclose(up.curve[:, 0], down.curve[:, -1])

    def test_twenty_eight_steps_as_in_rise(self):
        net, x = linear(3, 56, 56), inputs(1, 3, 56, 56)
        found = explain.deletion(net, x, contribution)
        assert found.curve.shape == (1, 29)
        np.testing.assert_allclose(np.diff(found.at), 1 / 28)

    def test_the_blur_is_that_of_rises_code(self):
        scipy_signal = pytest.importorskip("scipy.signal")
        from scipy.ndimage import gaussian_filter

        spike = np.zeros((11, 11))
        spike[5, 5] = 1
        kernel = gaussian_filter(spike, 5.0)
        x = inputs(1, 2, 20, 23)
        received = blurred(x)
        for channel in range(2):
            expected = scipy_signal.convolve2d(x[0, channel].numpy(), kernel, mode="same")
            np.testing.assert_allclose(received[0, channel], expected, atol=1e-12)

    def test_equal_positions_come_in_a_random_order(self):
        places = ranks(torch.zeros(1, 50), 0)[0]
        assert sorted(places.tolist()) == list(range(50)) and places.tolist() != list(range(50))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"step": 0}, "step is 0; expected 1 to 36"),
            ({"substrate": "grey"}, "substrate must be zero, blur"),
        ],
    )
    def test_refused(self, options, said):
        with pytest.raises(ValueError, match=said):
            explain.deletion(NET, X, contribution, **options)


class TestPointingGame:
    def planted(self):
        """A bright square somewhere, and a network that reads brightness."""
        generator = torch.Generator().manual_seed(0)
        x = 0.1 * torch.rand(40, 1, 12, 12, generator=generator, dtype=torch.float64)
        boxes = []
        for row in range(40):
            top, left = torch.randint(0, 9, (2,), generator=generator).tolist()
            x[row, 0, top : top + 3, left : left + 3] += 1
            boxes.append([(top, left, top + 3, left + 3)])
        net = linear(1, 12, 12, outputs=2)
        with torch.no_grad():
            net[1].weight.copy_(torch.stack([torch.ones(144), -torch.ones(144)]))
        return net, x, boxes

    def test_the_planted_square_is_found(self):
        net, x, boxes = self.planted()
        found = explain.pointing_game(net, x, contribution, boxes, target=0)
        assert found.value.value == 1 and found.value.low > 0.9 and found.value.method == "Wilson"
        assert found.beats_all
        assert found.controls["random map"].value == pytest.approx(9 / 144)
        against = explain.pointing_game(net, x, contribution, boxes, target=1)  # speaks against it everywhere
        assert against.value.value == 0

    def test_masks_are_boxes(self):
        net, x, boxes = self.planted()
        masks = torch.zeros(40, 12, 12, dtype=torch.bool)
        for row, [(top, left, bottom, right)] in enumerate(boxes):
            masks[row, top:bottom, left:right] = True
        by_masks, by_boxes = (
            explain.pointing_game(net, x, explain.centre_map, w, target=0).each for w in (masks, boxes)
        )
        assert (by_masks == by_boxes).all() and 0 < by_boxes.mean() < 1

    def test_tolerance_is_a_distance(self):
        def corner(net, x, *, target=None):
            values = torch.zeros_like(x)
            values[:, 0, 0, 0] = 1
            return attribution(values, net, x, target, "corner")

        net, x = linear(1, 20, 20), inputs(5, 1, 20, 20)
        for tolerance, hits in ((4.9, 0.0), (5, 1.0)):  # from (0, 0) to (3, 4)
            found = explain.pointing_game(net, x, corner, [[(3, 4, 6, 6)]] * 5, target=0, tolerance=tolerance)
            assert found.value.value == hits

    def test_ties_count_by_their_share(self):
        def flat(net, x, *, target=None):
            return attribution(torch.ones_like(x), net, x, target, "flat")

        assert explain.pointing_game(NET, X, flat, [[(0, 0, 3, 6)]] * 5).each.tolist() == [0.5] * 5

    @pytest.mark.parametrize(
        ("where", "said"),
        [
            ([[(0, 0, 6, 6)]] * 5, "100% of the positions would be a hit"),
            ([[]] * 5, "0% of the positions"),
            ([[(0, 0, 9, 2)]] * 5, r"inside 6 × 6 pixels"),
            (np.zeros((5, 4, 4)), r"expected masks \[5, 6, 6\]"),
            ([[(0, 0, 1, 1)]], "1 lists of boxes for 5 images"),
        ],
    )
    def test_refused(self, where, said):
        with pytest.raises(ValueError, match=said):
            explain.pointing_game(NET, X, contribution, where)


class TestCompleteness:
    def test_contributions_of_a_linear_network_are_complete(self):
        found = explain.completeness(NET, X, contribution, target=1)
        assert found.value.value < 1e-12
        assert all(control.value > 0.1 for control in found.controls.values())
        assert "promises no completeness" in found.notes[0]

    def test_what_is_missing_is_what_was_left_out(self):
        def half(net, x, *, target=None):
            return attribution(contribution(net, x, target=target).values / 2, net, x, target, "half")

        found = explain.completeness(NET, X, half, target=1)
        whole = contribution(NET, X, target=1).values.flatten(1)
        expected = whole.sum(1).abs() / 2 / whole.sum(1).abs().maximum(whole.abs().amax(1) / 2)
        np.testing.assert_allclose(found.each, expected)

    def test_what_biases_absorb_counts(self):
        def with_bias(net, x, *, target=None):
            found = contribution(net, x, target=target)
            wanted = found.score - net(torch.zeros_like(x))[:, 1].detach()
            values = found.values * 0
            return attribution(values, net, x, target, "b", absorbed=wanted, residual=wanted * 0)

        found = explain.completeness(NET, X, with_bias, target=1)
        assert found.value.value < 1e-12 and not found.notes


class TestRandomization:
    def test_a_map_that_shows_the_picture_stays_and_one_of_the_weights_goes(self):
        net = nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 3)).double().eval()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        stays = explain.model_randomization(net, X, picture, target=0)
        goes = explain.model_randomization(net, X, slope, target=0)
        assert (stays.curve == 1).all() and not stays.beats
        assert (goes.curve[:, 0] == 1).all() and abs(goes.value.value) < 0.4
        assert goes.curve.shape == (5, 3) and goes.at.tolist() == [0, 0.5, 1]
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert goes.controls["centre map"].value == 1

    @pytest.mark.parametrize("mode", ["cascading", "independent"])
    def test_which_layers_are_randomized(self, mode):
        net = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 7), nn.Linear(7, 2)).double().eval()
        seen = []

        def watching(copied, x, *, target=None):
            seen.append([torch.equal(copied[k].weight, net[k].weight) for k in (0, 2, 3)])
            for k in (0, 2, 3):  # the same numbers, in another order
                assert torch.equal(copied[k].weight.flatten().sort()[0], net[k].weight.flatten().sort()[0])
            return picture(copied, x, target=target)

        explain.model_randomization(net, inputs(3, 9), watching, target=0, mode=mode)
        changed = [tuple(not same for same in row) for row in seen[1:]]
        one_by_one = [(False, False, True), (False, True, False), (True, False, False)]
        more_and_more = [(False, False, True), (False, True, True), (True, True, True)]
        assert changed == (more_and_more if mode == "cascading" else one_by_one)

    def test_groups_follow_the_calls_not_the_registration(self):
        class Crossed(nn.Module):
            def __init__(self):
                super().__init__()
                self.second, self.first = nn.Linear(3, 2), nn.Linear(4, 3)

            def forward(self, x):
                return self.second(self.first(x))

        assert layer_groups(Crossed(), torch.ones(1, 4)) == [("second",), ("first",)]
        deep = nn.Sequential(*(nn.Linear(4, 4) for _ in range(20)))
        groups = layer_groups(deep, torch.ones(1, 4), steps=3)
        assert [len(group) for group in groups] == [7, 7, 6] and groups[0][0] == "19"

    def test_labels_in_a_random_order(self):
        one, other = linear(40, seed=0), linear(40, seed=1)
        x = inputs(4, 40)
        assert explain.data_randomization(one, x, slope, one, target=0).value.value == pytest.approx(1)
        found = explain.data_randomization(one, x, slope, other, target=0)
        expected = rank_correlation(*(n[1].weight[:1].detach().numpy() for n in (one, other)))
        np.testing.assert_allclose(found.each, expected[0])

    def test_a_network_without_weights_is_refused(self):
        with pytest.raises(ValueError, match="nothing to randomize"):
            explain.model_randomization(nn.Flatten(), inputs(2, 3), picture)


class TestSimilarity:
    def test_rank_correlation_is_scipys(self):
        from scipy.stats import spearmanr

        a, b = np.random.default_rng(0).integers(0, 9, (2, 6, 40)).astype(float)  # with ties
        expected = [spearmanr(p, q).statistic for p, q in zip(a, b, strict=True)]
        np.testing.assert_allclose(rank_correlation(a, b), expected)
        assert rank_correlation(np.ones((1, 4)), a[:1, :4]).tolist() == [0.0]

    def test_ssim_is_that_of_scikit_image(self):
        metrics = pytest.importorskip("skimage.metrics")
        a, b = np.random.default_rng(0).random((2, 17, 20))
        assert ssim(a, b) == pytest.approx(metrics.structural_similarity(a, b, data_range=1.0), abs=1e-12)

    def test_signs_do_not_count_in_the_absolute_one(self):
        x = inputs(2, 1, 5, 5)
        assert similarity(x, -x, "rank") == pytest.approx([-1, -1])
        assert similarity(x, -x, "absolute rank") == pytest.approx([1, 1])
        with pytest.raises(ValueError, match="rank, absolute rank or ssim"):
            similarity(x, x, "cosine")


class TestWhatIsAsked:
    def test_the_target_is_settled_once(self):
        asked = []

        def watching(net, x, *, target=None):
            asked.append(target.tolist())
            return contribution(net, x, target=target)

        explain.max_sensitivity(NET, X, watching, samples=2)
        assert asked == [NET(X).argmax(1).tolist()] * 3

    @pytest.mark.parametrize(
        ("answer", "kind", "said"),
        [
            (lambda net, x: x, TypeError, "answered Tensor; expected a hubel Attribution"),
            (
                lambda net, x: Attribution(values=x[:, :, :3], method="", target=(), score=x),
                ValueError,
                "answered values",
            ),
            (
                lambda net, x: Attribution(values=x / 0, method="", target=(), score=x),
                ValueError,
                "NaN or infinite",
            ),
        ],
    )
    def test_answers_that_are_none(self, answer, kind, said):
        with pytest.raises(kind, match=said):
            explain.deletion(NET, X, lambda net, x, target=None: answer(net, x))

    def test_symbols_are_refused(self):
        net = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
        with pytest.raises(TypeError, match="behind the embedding"):
            explain.deletion(net, torch.ones(2, 3, dtype=torch.int64), picture)

    def test_volumes_and_series_have_both_controls_and_features_one(self):
        for shape, count in (((2, 4, 4, 4), 2), ((7, 2), 2), ((6,), 1)):
            found = explain.sensitivity_n(linear(*shape), inputs(3, *shape), contribution, subsets=5)
            assert len(found.controls) == count
            np.testing.assert_allclose(found.curve, 1, atol=1e-10)

    def test_one_image_has_no_interval_and_beats_nothing(self):
        found = explain.deletion(NET, X[:1], contribution)
        assert np.isnan(found.value.low) and found.beats == ()

    def test_images_without_a_score_do_not_count(self):
        interval = mean_interval(np.array([1.0, np.nan, 3.0]))
        assert interval.value == 2 and interval.count == 2
        assert np.isnan(mean_interval(np.array([np.nan])).value)

    def test_controls_beaten_only_by_more_than_the_interval(self):
        found = explain.insertion(NET, X, explain.random_map)
        assert found.gains["random map"].value == 0 and "random map" not in found.beats
        json.dumps(found.value.as_json())
