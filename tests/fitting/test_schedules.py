"""Schedules are the published formulas, and torch's where torch has them."""

import math

import pytest
import torch

from hubel.fitting import Constant, Cosine, Exponential, Linear, OneCycle, Piecewise, Plateau, Progress, Step

TOTAL = 200


def curve(schedule, total=TOTAL, validation=()):
    return [schedule.factor(Progress(step=s, total=total, validation=validation)) for s in range(total)]


def torchs(make, total=TOTAL):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimizer)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_cosine_is_torchs():
    assert curve(Cosine(end=0.1)) == pytest.approx(
        torchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL, eta_min=0.1))
    )


def test_linear_is_torchs():
    assert curve(Linear(end=0.2)) == pytest.approx(
        torchs(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.2, TOTAL))
    )


def test_one_cycle_is_torchs_up_to_where_its_ends_lie():
    """torch places the top at step rise * total - 1 and the end at total - 1; ours at rise * total and total."""
    ours = OneCycle(rise=0.3, start=1 / 25, end=1e-4)
    theirs = torchs(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 1.0, total_steps=TOTAL + 1, pct_start=(0.3 * TOTAL + 1) / (TOTAL + 1), final_div_factor=400
        )
    )
    assert curve(ours) == pytest.approx(theirs, abs=1e-9)


def test_piecewise_of_the_lectures():
    """0.1 to step 100000, 0.01 to step 200000, then 0.001."""
    drops = Piecewise(boundaries=(100_000, 200_000), factors=(1.0, 0.1, 0.01))
    for step, rate in (
        (0, 0.1),
        (99_999, 0.1),
        (100_000, 0.1),
        (100_001, 0.01),
        (200_000, 0.01),
        (200_001, 0.001),
        (10**9, 0.001),
    ):
        assert 0.1 * drops.factor(Progress(step=step, total=300_000)) == pytest.approx(rate)


@pytest.mark.parametrize(("boundaries", "factors"), [((1,), (1.0,)), ((2, 1), (1.0, 0.5, 0.1))])
def test_piecewise_refuses(boundaries, factors):
    with pytest.raises(ValueError, match="boundaries"):
        Piecewise(boundaries=boundaries, factors=factors)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("reduce", "patience", "threshold"), [(0.1, 0, 1e-4), (0.5, 2, 0.01), (0.3, 5, 0.0)])
def test_plateau_is_torchs(seed, reduce, patience, threshold):
    generator = torch.Generator().manual_seed(seed)
    losses = (torch.rand(60, generator=generator) * 0.2 + torch.linspace(1, 0.5, 60)).tolist()
    losses[7] = float("nan")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=reduce, patience=patience, threshold=threshold, eps=0.0
    )
    ours = Plateau(reduce=reduce, patience=patience, threshold=threshold)
    for epoch in range(len(losses)):
        assert ours.factor(Progress(step=1, total=1, validation=tuple(losses[:epoch]))) == pytest.approx(
            optimizer.param_groups[0]["lr"]
        )
        theirs.step(losses[epoch])


@pytest.mark.parametrize("every", [1, 3, 50])
def test_step_is_torchs(every):
    expected = torchs(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, every, gamma=0.3))
    assert curve(Step(every=every, reduce=0.3)) == pytest.approx(expected)


def test_exponential_is_torchs():
    expected = torchs(
        lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.02 ** (1 / TOTAL))
    )
    assert curve(Exponential(end=0.02)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Step(every=0), "every is 0"),
        (lambda: Step(every=2, reduce=0.0), "reduce is 0.0"),
        (lambda: Exponential(end=0.0), "end is 0.0"),
    ],
)
def test_wrong_numbers_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_plateau_of_negative_losses():
    improving = tuple(-1.0 - 0.1 * e for e in range(20))
    assert Plateau(patience=1).factor(Progress(step=1, total=1, validation=improving)) == 1.0


@pytest.mark.parametrize(
    "schedule", [Linear(warmup=0.1), Cosine(warmup=0.1), Plateau(warmup=0.1), Exponential(warmup=0.1)]
)
def test_warm_up(schedule):
    rates = curve(schedule)
    assert rates[0] == pytest.approx(1 / 20) and rates[19] == pytest.approx(1.0)
    assert rates[:20] == pytest.approx([(s + 1) / 20 for s in range(20)])


@pytest.mark.parametrize("total", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "schedule",
    [
        Constant(),
        OneCycle(),
        OneCycle(rise=0.0),
        OneCycle(rise=1.0),
        Cosine(),
        Cosine(warmup=1.0),
        Linear(),
        Linear(warmup=0.5),
        Plateau(warmup=0.2),
        Step(every=3),
        Exponential(),
        Exponential(warmup=0.5),
    ],
)
def test_factors_are_between_0_and_1(schedule, total):
    rates = [schedule.factor(Progress(step=s, total=total, validation=(1.0, 1.0))) for s in range(total + 1)]
    assert all(0 <= rate <= 1 and math.isfinite(rate) for rate in rates)
    assert rates[0] > 0


def test_an_empty_run():
    assert Progress(step=0, total=0).fraction == 0
