"""What every network whose target is its own input promises; what a coupling, an encoder and a sampler promise beside it."""

import copy
import io
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from hubel import nets
from hubel.core import names
from hubel.core.types import Batch
from hubel.nets.latent import Encoder, Generator
from hubel.objectives import Adversarial, LogLikelihood, Reconstruction, Variational

PICTURES = (2, 17, 22)
CASES = [
    ("autoencoder", {"latent": 3, "hidden": ()}, (5,)),
    ("autoencoder", {"latent": 4, "hidden": (9,), "activation": "tanh"}, (6, 2)),
    ("conv_autoencoder", {"latent": 5, "width": 4}, PICTURES),
    ("conv_autoencoder", {"latent": 2, "width": 4}, (1, 8, 8)),
    ("variational_autoencoder", {"latent": 3, "width": 4}, PICTURES),
    ("variational_autoencoder", {"latent": 2, "hidden": (8,)}, (5,)),
    ("dcgan", {"latent": 6, "width": 4}, PICTURES),
    ("realnvp", {"couplings": 4, "hidden": (8,)}, (5,)),
    ("realnvp", {"couplings": 3, "hidden": (8,)}, (1, 4, 4)),
]
QUESTIONS = {
    "variational_autoencoder": Variational(),
    "dcgan": Adversarial(penalty=0.5),
    "realnvp": LogLikelihood(),
}
every_net = pytest.mark.parametrize(
    ("name", "arguments", "inputs"), CASES, ids=[f"{name}{inputs}" for name, _, inputs in CASES]
)


def make(name, arguments, inputs, seed=0):
    torch.manual_seed(seed)
    return getattr(nets, name)(**arguments, inputs=inputs)


def examples(inputs, count=4, seed=1):
    return torch.randn(count, *inputs, generator=torch.Generator().manual_seed(seed))


def stirred(net):
    """A network whose fresh weights are moved, so that nothing is the identity or zero."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def test_every_network_of_this_kind_is_here():
    made = {name for name in nets.__all__ if name in nets.OF_THEMSELVES}
    assert made == {name for name, _, _ in CASES}


@every_net
def test_shapes(name, arguments, inputs):
    net = make(name, arguments, inputs).eval()
    x = examples(inputs)
    answers_itself = name.endswith("autoencoder")
    assert net(x).shape == (x.shape if answers_itself else (4, 1))
    if isinstance(net, Encoder):
        assert net.encode(x).shape == (4, net.latent)
        assert torch.equal(net.features(x), net.encode(x))
    if answers_itself:
        assert torch.equal(net.decode(net.encode(x)), net(x))
    if isinstance(net, Generator):
        assert net.sample(3).shape == (3, *inputs)


@every_net
def test_the_gradient_reaches_every_parameter(name, arguments, inputs):
    net = stirred(make(name, arguments, inputs)).train()
    x = examples(inputs, 8)
    objective = QUESTIONS.get(name, Reconstruction(noise=0.1))
    objective(net, Batch(inputs=x, targets=x)).total.backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@every_net
def test_examples_do_not_see_each_other_in_eval_and_nothing_is_random(name, arguments, inputs):
    net = stirred(make(name, arguments, inputs)).eval()
    x = examples(inputs, 5)
    state = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        together = net(x)
        assert torch.equal(together, net(x))
        torch.testing.assert_close(
            together, torch.cat([net(x[i : i + 1]) for i in range(5)]), rtol=1e-4, atol=1e-5
        )
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())


@every_net
def test_saved_weights_and_made_by_give_the_same_network_again(name, arguments, inputs):
    net = stirred(make(name, arguments, inputs))
    net(examples(inputs))
    stored = json.loads(json.dumps({"name": net.made_by.name, "arguments": net.made_by.arguments}))
    again = names.rebuild_net(stored["name"], stored["arguments"])
    assert again.made_by == net.made_by
    assert repr(again) == repr(net)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(net.eval()(examples(inputs)), again.eval()(examples(inputs)))


@every_net
def test_initial_weights_depend_on_the_global_generator_alone(name, arguments, inputs):
    first, second, third = (make(name, arguments, inputs, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)


@every_net
def test_channels_last_and_bfloat16_are_close(name, arguments, inputs):
    net, x = make(name, arguments, inputs).eval(), examples(inputs, 8)
    with torch.no_grad():
        expected = net(x)
        if len(inputs) == 3 and name != "realnvp":
            net.to(memory_format=torch.channels_last)
            received = net(x.to(memory_format=torch.channels_last))
            torch.testing.assert_close(received, expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            received = net(x).float()
    similar = torch.nn.functional.cosine_similarity(received.flatten(), expected.flatten(), dim=0)
    assert similar > 0.99


@every_net
def test_wrong_examples_and_wrong_sizes_are_refused(name, arguments, inputs):
    net = make(name, arguments, inputs)
    with pytest.raises(ValueError, match=rf"{name} expects .*received \[2, 3, 40, 5\]"):
        net(torch.zeros(2, 3, 40, 5))
    function = getattr(nets, name)
    with pytest.raises(ValueError, match=r"outputs must be .* \(--target self\), not from labels"):
        function(**arguments, inputs=inputs, outputs=10)
    function(**arguments, inputs=inputs, outputs=math.prod(inputs))
    with pytest.raises(ValueError, match="positive"):
        function(**arguments, inputs=(0, *inputs[1:]))
    if "latent" in arguments:
        with pytest.raises(ValueError, match="latent must be a positive whole number; received 0"):
            function(**(arguments | {"latent": 0}), inputs=inputs)


@pytest.mark.parametrize("name", ["conv_autoencoder", "variational_autoencoder", "dcgan"])
@pytest.mark.parametrize("side", [8, 9, 15, 28, 33])
def test_pictures_of_any_size_come_back_in_their_size(name, side):
    shape = (3, side, side + 3)
    net = getattr(nets, name)(2, 2, inputs=shape)
    z = torch.randn(2, 2)
    made = net.generate(z) if isinstance(net, Generator) else net.decode(z)
    assert made.shape == (2, *shape)
    with pytest.raises(ValueError, match="at least 8×8"):
        getattr(nets, name)(2, 2, inputs=(1, 7, 12))


def test_the_autoencoder_of_the_lecture():
    """R⁵ → R³ → R⁵: 5·3 + 3 and 3·5 + 5 parameters."""
    net = nets.autoencoder(3, (), inputs=5)
    assert sum(p.numel() for p in net.parameters()) == 38
    assert nets.autoencoder(2, (7,), inputs=5).encode(torch.zeros(1, 5)).shape == (1, 2)


def test_samples_are_those_of_the_seed_whatever_the_batch_and_leave_the_mode():
    net = make("dcgan", {"latent": 6, "width": 4}, PICTURES).train()
    one, other = net.sample(7, seed=3), net.sample(7, seed=3, batch_size=2)
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(one, net.sample(7, seed=4))
    assert net.training
    with pytest.raises(ValueError, match="0 examples were asked for"):
        net.sample(0)


class TestRealNVP:
    def net(self, size, seed=0, couplings=4):
        torch.manual_seed(seed)
        return stirred(nets.realnvp(couplings, (16,), inputs=size).double())

    @pytest.mark.parametrize("size", [2, 3, 7])
    def test_it_is_inverted(self, size):
        net, x = self.net(size), 3 * torch.randn(50, size, dtype=torch.float64)
        with torch.no_grad():
            z = net.encode(x)
            assert not torch.allclose(z, x, atol=0.1)
            torch.testing.assert_close(net.generate(z), x, rtol=0, atol=1e-9)

    @pytest.mark.parametrize("size", [2, 5])
    def test_its_determinant_is_that_of_the_jacobian(self, size):
        net = self.net(size)
        for row in torch.randn(5, size, dtype=torch.float64):
            jacobian = torch.autograd.functional.jacobian(lambda x: net.encode(x[None])[0], row)
            expected = torch.linalg.slogdet(jacobian).logabsdet
            torch.testing.assert_close(net.flow(row[None])[1][0], expected, rtol=0, atol=1e-9)

    def test_its_density_integrates_to_one(self):
        net = self.net(2, seed=1)
        line = torch.linspace(-14, 14, 701, dtype=torch.float64)
        grid = torch.cartesian_prod(line, line)
        with torch.no_grad():
            density = net(grid).exp().sum() * (line[1] - line[0]) ** 2
        assert density.item() == pytest.approx(1, abs=2e-3)

    def test_a_gaussian_by_hand_has_its_density(self):
        """One coupling that shifts the second value by a times the first, then scales: x ~ N(0, A Aᵀ) in closed form."""
        torch.manual_seed(0)
        net = nets.realnvp(2, (), inputs=2).double()
        slope, spread = 0.7, torch.tensor([2.0, 0.5], dtype=torch.float64)
        with torch.no_grad():
            for coupling in net.couplings:
                nn.init.zeros_(coupling.net[0].weight)
                nn.init.zeros_(coupling.net[0].bias)
            first = net.couplings[0]
            first.net[0].weight[0] = slope  # shift of the changed value by the kept one
            net.log_scale.copy_(spread.log())
        kept, changed = first.order.tolist()
        sheared = np.eye(2)
        sheared[changed, kept] = slope
        matrix = sheared @ np.diag(spread.numpy())
        x = np.random.default_rng(0).normal(size=(20, 2))
        expected = multivariate_normal([0, 0], matrix @ matrix.T).logpdf(x)
        with torch.no_grad():
            received = net(torch.tensor(x))[:, 0].numpy()
        np.testing.assert_allclose(received, expected, atol=1e-10)

    def test_at_the_start_it_is_the_standard_normal(self):
        net, x = nets.realnvp(inputs=3), torch.randn(6, 3)
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
        torch.testing.assert_close(net(x)[:, 0], expected)

    def test_one_value_and_one_coupling_are_refused(self):
        with pytest.raises(ValueError, match="two values an example at least; received one"):
            nets.realnvp(inputs=1)
        with pytest.raises(ValueError, match="at least 2, so that every value is changed; received 1"):
            nets.realnvp(1, inputs=4)
