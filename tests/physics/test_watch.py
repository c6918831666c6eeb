"""When a network rests, and what follows."""

from hubel.physics.watch import BEGINNINGS, LAST, PATIENCE, PLATEAU, Watch


def test_far_from_a_solution_another_network_begins_and_the_last_one_grows():
    watch = Watch(first=1.0)
    verdicts = [watch.next(0.6, 0.36) for _ in range((PLATEAU + 1) * BEGINNINGS)]
    assert verdicts.count("again") == BEGINNINGS - 1 and verdicts[-1] == "wider"
    assert verdicts[: PLATEAU + 1] == ["on"] * PLATEAU + ["again"]


def test_on_a_plateau_a_network_is_given_time_and_grows_and_is_not_lost():
    watch = Watch(first=1.0)
    assert [watch.next(0.2, 0.04) for _ in range(PLATEAU + 1)] == ["on"] * PLATEAU + ["wider"]
    assert watch.beginning == 0 and watch.best == 0.2


def test_near_to_one_a_network_that_rests_grows_after_less_patience():
    watch = Watch(first=1.0)
    assert [watch.next(0.01, 1e-4) for _ in range(PATIENCE + 1)] == ["on"] * PATIENCE + ["wider"]
    assert watch.next(0.01, 1e-4) == "on"


def test_the_largest_network_is_given_more_time():
    watch = Watch(first=1.0, largest=True)
    assert [watch.next(0.01, 1e-4) for _ in range(LAST + 1)] == ["on"] * LAST + ["wider"]


def test_one_network_is_never_exchanged_and_has_the_longest_patience():
    watch = Watch.of_one_network()
    assert [watch.next(0.5, 0.25) for _ in range(LAST + 1)] == ["on"] * LAST + ["wider"]


def test_a_falling_residual_goes_on_and_points_are_counted_as_too_few():
    watch = Watch()
    assert all(watch.next(0.8**k, 0.64**k) == "on" for k in range(40)) and not watch.too_few_points
    watch.next(0.01, 1e-6)
    assert watch.too_few_points
