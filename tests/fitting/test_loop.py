"""The loop is what one would write by hand, and what goes wrong in a step is undone."""

import gc
import warnings

import pytest
import torch
from torch import nn

from hubel.core import random
from hubel.core.errors import NonFiniteLoss
from hubel.core.types import Batch, Loss
from hubel.fitting import Backprop, Closure, MovingAverage, steps
from hubel.objectives import CrossEntropy, SquaredError


def net_of(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def batches_of(num=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        Batch(
            inputs=torch.randn(16, 6, generator=generator),
            targets=torch.randint(3, (16,), generator=generator),
            ids=torch.arange(16) + 100 * k,
        )
        for k in range(num)
    ]


def adamw(net):
    return torch.optim.AdamW(net.parameters(), lr=0.01)


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def factor(step):
    return 1 / (1 + step)


def by_hand(net, batches, max_grad_norm=None, stop=None):
    optimizer = adamw(net)
    losses = []
    for number, batch in enumerate(batches):
        net.train()
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * factor(number)
        optimizer.zero_grad()
        with random.torch_seeded(5, "forward", 2, number):
            loss = nn.functional.cross_entropy(net(batch.inputs), batch.targets)
            loss.backward()
        if max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(net.parameters(), max_grad_norm)
        optimizer.step()
        losses.append(loss.item())
        if number + 1 == stop:
            break
    return losses


@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
def test_the_loop_written_by_hand(max_grad_norm):
    ours, theirs = net_of(), net_of()
    expected = by_hand(theirs, batches_of(), max_grad_norm)
    rule = Backprop(adamw(ours), max_grad_norm=max_grad_norm)
    records = list(steps(ours, CrossEntropy(3), batches_of(), rule=rule, schedule=factor, seed=5, epoch=2))
    assert [record.loss for record in records] == pytest.approx(expected, rel=1e-6)
    assert same(ours, theirs)
    assert [record.step for record in records] == list(range(1, 13))
    assert all(record.epoch == 2 and record.examples == 16 for record in records)
    assert [record.learning_rate for record in records] == pytest.approx(
        [0.01 * factor(s) for s in range(12)]
    )


def test_break_is_early_stopping():
    ours, theirs = net_of(), net_of()
    by_hand(theirs, batches_of(), stop=7)
    for record in steps(
        ours, CrossEntropy(3), batches_of(), rule=Backprop(adamw(ours)), schedule=factor, seed=5, epoch=2
    ):
        if record.step == 7:
            break
    assert same(ours, theirs)


def test_what_stands_in_the_body_changes_nothing():
    plain, watched = net_of(), net_of()
    for _ in steps(plain, CrossEntropy(3), batches_of(), rule=Backprop(adamw(plain)), seed=5):
        pass
    for _ in steps(watched, CrossEntropy(3), batches_of(), rule=Backprop(adamw(watched)), seed=5):
        watched.eval()
        with torch.no_grad():
            watched(torch.randn(9, 6))
        torch.manual_seed(0)
    assert same(plain, watched)


def test_a_run_in_two_parts():
    whole, parts = net_of(), net_of()
    for _ in steps(
        whole, CrossEntropy(3), batches_of(), rule=Backprop(adamw(whole)), schedule=factor, seed=5
    ):
        pass
    rule = Backprop(adamw(parts))
    for first, last in ((0, 5), (5, 12)):
        for _ in steps(
            parts,
            CrossEntropy(3),
            batches_of()[first:last],
            rule=rule,
            schedule=factor,
            seed=5,
            first_step=first,
        ):
            pass
    assert same(whole, parts)


def test_a_discarded_loop_warns():
    net = net_of()
    with pytest.warns(ResourceWarning, match="never iterated, so nothing was fitted"):  # noqa: PT031
        steps(net, CrossEntropy(3), batches_of(), rule=Backprop(adamw(net)))
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in steps(net, CrossEntropy(3), batches_of(2), rule=Backprop(adamw(net))):
            break
        gc.collect()


def test_random_numbers_outside_do_not_matter_and_are_not_touched():
    one, other = net_of(), net_of()
    for _ in steps(one, CrossEntropy(3), batches_of(3), rule=Backprop(adamw(one)), seed=5):
        torch.rand(7)
    before = torch.get_rng_state()
    for _ in steps(other, CrossEntropy(3), batches_of(3), rule=Backprop(adamw(other)), seed=5):
        pass
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, other)


# what is not finite


class Counting(nn.Module):
    """Replaces its buffer at every pass."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, x):
        self.passes = self.passes + 1
        return x


class RootAtZero(nn.Module):
    """Adds sqrt(|x w|) where asked: at w = 0 the value is finite, and the gradient is not."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + (self.weight * x.abs().sum()).sqrt()


def broken_by_input(net, batches):
    batches[4].inputs[3, 2] = float("nan")
    return net, batches, r"the loss became nan at step 5 \(epoch 3\)"


def broken_by_gradient(net, batches):
    return (
        nn.Sequential(net, RootAtZero()),
        batches,
        r"the gradient became non-finite \(norm (nan|inf)\) while the loss was .* at step 1",
    )


def broken_by_overflow(net, batches):
    batches[2].inputs.mul_(1e38)
    return net[:1].append(nn.Linear(8, 3)), batches, "at step 3"


@pytest.mark.parametrize("breaking", [broken_by_input, broken_by_gradient, broken_by_overflow])
@pytest.mark.parametrize(
    "make", [adamw, lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)], ids=["adamw", "sgd"]
)
def test_a_step_that_is_not_finite_is_undone(breaking, make):
    net, batches, message = breaking(nn.Sequential(*net_of(), Counting()), batches_of())
    optimizer = make(net)
    good = None
    with pytest.raises(NonFiniteLoss, match=message) as caught:  # noqa: PT012
        good = snapshot(net, optimizer)
        for _ in steps(net, CrossEntropy(3), batches, rule=Backprop(optimizer), epoch=3):
            good = snapshot(net, optimizer)
    assert_as(good, snapshot(net, optimizer))
    error = caught.value
    assert error.epoch == 3
    assert error.ids == tuple(batches[error.step - 1].ids.tolist())
    assert f"rows {error.ids[0]}, " in str(error) and "Lower the learning rate" in str(error)
    assert all(p.grad is None for p in net.parameters())
    healthy = batches_of(30)[20:]  # and one can go on
    if breaking is not broken_by_gradient:
        assert len(list(steps(net, CrossEntropy(3), healthy, rule=Backprop(optimizer)))) == 10


def snapshot(net, optimizer):
    clone = {name: value.detach().clone() for name, value in net.state_dict().items()}
    state = {
        k: {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in s.items()}
        for k, s in optimizer.state_dict()["state"].items()
    }
    return clone, state


def assert_as(one, other):
    for name in one[0]:
        assert torch.equal(one[0][name], other[0][name]), name
    for key, values in one[1].items():
        for name, value in values.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(other[1][key][name])), (key, name)


def test_the_bad_part_is_named():
    class TwoParts:
        def __call__(self, net, batch):
            plain = net(batch.inputs).square().mean()
            return Loss(
                total=plain + float("inf"),
                parts={"data": plain.detach(), "penalty": torch.tensor(float("inf"))},
            )

    net = net_of()
    with pytest.raises(NonFiniteLoss, match=r"became inf \(its part penalty\)"):
        list(steps(net, TwoParts(), batches_of(1), rule=Backprop(adamw(net))))


def test_a_loss_without_gradient():
    net, other = net_of(), net_of()
    with pytest.raises(RuntimeError, match="no parameter received a gradient"):
        list(steps(net, CrossEntropy(3), batches_of(1), rule=Backprop(adamw(other))))


def test_the_norm_of_the_gradient_is_that_before_clipping():
    net = net_of()
    (record,) = steps(net, CrossEntropy(3), batches_of(1), rule=Backprop(adamw(net), max_grad_norm=1e-3))
    assert record.grad_norm > 0.01
    clipped = torch.nn.utils.get_total_norm([p.grad for p in net.parameters()])
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)


# closures


def linear_problem():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    return Batch(inputs=x, targets=x @ torch.tensor([1.0, -2, 3]) + 0.5)


def test_lbfgs_solves_a_linear_problem():
    net = nn.Linear(3, 1)
    rule = Closure(torch.optim.LBFGS(net.parameters(), lr=1.0, line_search_fn="strong_wolfe"))
    records = list(steps(net, SquaredError(1), [linear_problem()] * 5, rule=rule))
    assert records[-1].loss < 1e-9
    assert torch.allclose(net.weight, torch.tensor([[1.0, -2, 3]]), atol=1e-4)


def test_a_closure_step_that_is_not_finite_is_undone():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=1.0, max_iter=3)
    good = linear_problem()
    bad = Batch(inputs=good.inputs.clone(), targets=good.targets)
    bad.inputs[0, 0] = float("nan")
    before = None
    with pytest.raises(NonFiniteLoss, match="at step 3"):  # noqa: PT012
        for _ in steps(net, SquaredError(1), [good, good, bad], rule=Closure(optimizer)):
            before = (
                {k: v.clone() for k, v in net.state_dict().items()},
                optimizer.state_dict()["state"][0]["n_iter"],
            )
    assert all(torch.equal(v, before[0][k]) for k, v in net.state_dict().items())
    assert optimizer.state_dict()["state"][0]["n_iter"] == before[1]


# averages


def test_the_moving_average_is_the_formula():
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), Counting(), nn.Linear(4, 3))
    average = MovingAverage(net, 0.9)
    expected = {name: value.double() for name, value in net.state_dict().items()}
    for number, _ in enumerate(
        steps(net, CrossEntropy(3), batches_of(20), rule=Backprop(adamw(net))), start=1
    ):
        average.update()
        decay = min(0.9, (1 + number) / (10 + number))
        for name, value in net.state_dict().items():
            expected[name] = (
                decay * expected[name] + (1 - decay) * value.double() if value.is_floating_point() else value
            )
    assert average.steps == 20
    for name, value in average.values.items():
        assert torch.allclose(value.double(), expected[name].double(), atol=1e-5), name
    assert torch.equal(average.values["1.num_batches_tracked"], torch.tensor(20))
    assert average.values["2.passes"] > 5  # a buffer that is replaced, not changed
