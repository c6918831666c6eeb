"""Forecasters and networks of image series: shapes, padding, what they begin as, what they learn."""

import json

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.core import names

KINDS = ["gru", "lstm", "transformer"]


def films(num=4, steps=6, seed=0):
    return torch.randn(num, steps, 2, 9, 11, generator=torch.Generator().manual_seed(seed))


def film_net(kind, **more):
    torch.manual_seed(0)
    return nets.image_series(kind, 16, width=8, inputs=(2, 9, 11), outputs=5, **more)


def rebuilt(net):
    stored = json.loads(json.dumps({"name": net.made_by.name, "arguments": net.made_by.arguments}))
    return names.rebuild_net(stored["name"], stored["arguments"])


@pytest.mark.parametrize("kind", KINDS)
def test_films_of_any_length(kind):
    net = film_net(kind).eval()
    with torch.no_grad():
        assert net(films()).shape == (4, 5)
        assert net(films(steps=1)).shape == (4, 5)
        scores, features = net(films()), net.features(films())
    torch.testing.assert_close(net.over_time.head(features), scores)
    again = rebuilt(net)
    assert again.made_by == net.made_by
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(films()), scores)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_beyond_the_length_are_not_looked_at(kind):
    net = film_net(kind).eval()
    x, lengths = films(), torch.tensor([6, 1, 3, 5])
    padding = torch.arange(6) >= lengths[:, None]
    with torch.no_grad():
        scores = net(x, lengths)
        alone = torch.cat([net(x[i : i + 1, :n]) for i, n in enumerate(lengths)])
        torch.testing.assert_close(scores, alone, rtol=1e-4, atol=1e-5)
        x[padding] = 1e6
        assert torch.equal(net(x, lengths), scores)
    net.train()
    statistics = net.look.stem.norm.running_mean.clone()
    F.cross_entropy(net(x, lengths), torch.arange(4)).backward()
    assert (net.look.stem.norm.running_mean - statistics).abs().max() < 10
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_film_net_learns_the_order_of_pictures():
    """Of the same two pictures in either order; a mean over pictures could not tell them apart."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 1, 8, 8)
    y = torch.arange(32) % 2
    x = torch.stack([torch.stack([first, second] if label else [second, first]) for label in y])
    x = x + 0.1 * torch.randn(x.shape)
    net = nets.image_series("gru", 16, width=8, dropout=0.0, inputs=(1, 8, 8), outputs=2)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize("linear", [True, False])
def test_a_forecaster_is_the_last_value_and_changes_and_rebuilds(linear):
    net = nets.forecaster("lstm", 8, linear=linear, columns=[2, 0], inputs=(7, 3), outputs=6)
    x = torch.randn(5, 7, 3)
    with torch.no_grad():
        changes = net.head(net.features(x))
        assert changes.abs().max() > 0.01
        torch.testing.assert_close(net(x), x[:, -1, [2, 0]].repeat(1, 3) + changes)
    again = rebuilt(net)
    assert again.made_by == net.made_by
    assert repr(again) == repr(net)
    assert net.features(x).shape == (5, 8)


def test_without_its_recurrent_part_a_forecaster_is_an_autoregression():
    torch.manual_seed(0)
    net = nets.forecaster("gru", 8, columns=[1], inputs=(3, 2), outputs=2).double()
    with torch.no_grad():
        net.head.weight.zero_()
        net.linear.weight.copy_(torch.arange(12.0).view(2, 6))
        x = torch.randn(4, 3, 2).double()
        weights = torch.arange(12.0).double().view(2, 3, 2)
        expected = torch.einsum("hlf,nlf->nh", weights, x) + x[:, -1, 1:2]
        torch.testing.assert_close(net(x), expected)


def test_a_forecaster_learns_an_autoregression():
    """y(t + 1) = 0.5 y(t) - 0.3 y(t - 1): the linear map finds it."""
    torch.manual_seed(0)
    y = torch.zeros(600)
    for t in range(2, 600):
        y[t] = 0.5 * y[t - 1] - 0.3 * y[t - 2] + torch.randn(())
    x, wanted = y.unfold(0, 5, 1)[:-1].unsqueeze(2), y[5:].unsqueeze(1)
    net = nets.forecaster("gru", 4, inputs=(5, 1), outputs=1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), wanted)
        loss.backward()
        optimizer.step()
    best = F.mse_loss(0.5 * x[:, 4] - 0.3 * x[:, 3], wanted)
    assert loss < 1.03 * best < F.mse_loss(x[:, 4], wanted)


def test_gradients_reach_every_parameter_after_the_first_step():
    net = nets.forecaster("gru", 8, inputs=(7, 3), outputs=6)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        F.mse_loss(net(torch.randn(16, 7, 3)), torch.randn(16, 6)).backward()
        optimizer.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nets.forecaster(inputs=5, outputs=2), r"inputs must be \(L, F\), both positive; received \(5,\)"),
        (lambda: nets.forecaster(inputs=(5, 0), outputs=2), r"inputs must be \(L, F\), both positive; received \(5, 0\)"),
        (lambda: nets.forecaster(inputs=(5, 2), outputs=3), "a multiple of 2; received 3"),
        (lambda: nets.forecaster(columns=[2], inputs=(5, 2), outputs=3), r"columns must be numbers from 0 to 1; received \[2\]"),
        (lambda: nets.forecaster("gruu", inputs=(5, 2), outputs=2), "is not a recurrent cell"),
        (lambda: nets.forecaster(inputs=(5, 2), outputs=2)(torch.zeros(1, 4, 2)), r"expects windows \[N, 5, 2\]; received \[1, 4, 2\]"),
        (lambda: nets.image_series(inputs=(8, 8), outputs=2), r"inputs must be \(channels, height, width\)"),
        (lambda: nets.image_series(inputs=(1, 3, 8), outputs=2), "images must be at least 4×4 pixels"),
        (lambda: nets.image_series(inputs=(1, 8, 8), outputs=0), "outputs must be a positive whole number"),
        (lambda: nets.image_series("gr", inputs=(1, 8, 8), outputs=2), "is not a recurrent cell"),
        (lambda: nets.image_series(inputs=(1, 8, 8), outputs=2)(torch.zeros(1, 1, 8, 8)), r"expects series of pictures \[N, T, 1, 8, 8\]"),
        (lambda: nets.series_resnet(0, inputs=3, outputs=2), "width must be positive; received 0"),
    ],
)  # fmt: skip
def test_refusals(make, said):
    with pytest.raises(ValueError, match=said):
        make()
