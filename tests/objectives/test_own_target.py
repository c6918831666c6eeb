"""Questions about the examples themselves: losses, scores in stored units, noise, bounds, adversaries, densities."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import norm
from torch import nn

from hubel import nets
from hubel.core import names
from hubel.core.errors import ContractError
from hubel.core.types import Batch
from hubel.data import Dataset
from hubel.data.preprocessing import Scaling, scaling_of
from hubel.layers.auxiliary import auxiliary_scores
from hubel.layers.gaussian_code import GaussianCode, kl_from_standard_normal
from hubel.metrics import frechet_distance, reconstruction
from hubel.objectives import Adversarial, LogLikelihood, OwnTarget, Reconstruction, Variational, check
from hubel.objectives.generated import log_scale, scores_of_samples


def stored(shape=(2, 8, 9), num=12, seed=0, dtype="uint8"):
    values = np.random.default_rng(seed).integers(0, 200, (num, *shape))
    return Dataset(
        inputs=values.astype(dtype), targets=np.arange(num) % 2, classes=("a", "b")
    ).as_its_own_target()


def batch_of(data, scaling):
    raw = torch.from_numpy(np.asarray(data.inputs))
    return Batch(inputs=scaling(raw), targets=raw)


class Halves(nn.Module):
    """Gives back half of what it is shown, and keeps what that was."""

    def forward(self, x):
        self.shown = x
        return 0.5 * x


class TestReconstruction:
    def test_the_loss_is_the_mean_square_of_what_the_network_sees(self):
        data = stored()
        batch = batch_of(data, scaling_of(data))
        expected = float(0.25 * batch.inputs.square().mean())
        assert Reconstruction()(Halves().eval(), batch).total.item() == pytest.approx(expected, rel=1e-6)

    def test_augmented_inputs_are_what_is_asked_for(self):
        data = stored()
        batch = batch_of(data, scaling_of(data))
        flipped = Batch(inputs=batch.inputs.flip(-1), targets=batch.targets)
        assert Reconstruction()(nn.Identity().train(), flipped).total.item() == 0.0

    @pytest.mark.parametrize("binary", [False, True])
    def test_score_is_the_loss_and_the_error_in_stored_units(self, binary):
        data = stored()
        scaling = scaling_of(data)
        objective = Reconstruction(scaling=scaling, loss="binary" if binary else "squared")
        batch = batch_of(data, scaling)
        outputs = torch.randn(batch.inputs.shape)
        score = objective.score(outputs, batch.targets)
        fixed = nn.Module()
        fixed.forward = lambda x: outputs
        assert score["loss"] == pytest.approx(objective(fixed.eval(), batch).total.item(), rel=1e-5)
        std, mean = (np.array(v)[None, :, None, None] for v in (scaling.std, scaling.mean))
        said = outputs.numpy() * std + mean if not binary else 255 / (1 + np.exp(-outputs.numpy()))
        errors = said - np.asarray(data.inputs, float)
        expected = np.sqrt((errors**2).mean(axis=(0, 2, 3))).mean()
        assert score["rmse"] == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(objective.read(outputs).values, said, rtol=1e-4, atol=1e-3)
        found = objective.metrics(objective.read(outputs), np.asarray(data.inputs))
        assert next(iter(found)) == objective.headline == "rmse"
        assert found["rmse"].value == pytest.approx(expected, rel=1e-5)
        assert found["psnr"].value == pytest.approx(
            20 * math.log10(255) - 10 * math.log10((errors**2).mean()), abs=1e-4
        )
        np.testing.assert_allclose(
            objective.surprise(objective.read(outputs), np.asarray(data.inputs)),
            np.sqrt((errors**2).mean(axis=(1, 2, 3))),
            rtol=1e-5,
        )

    def test_binary_loss_is_that_of_torch(self):
        data = stored()
        scaling = scaling_of(data)
        batch = batch_of(data, scaling)
        objective = Reconstruction(scaling=scaling, loss="binary")
        outputs = torch.randn(batch.inputs.shape)
        expected = nn.functional.binary_cross_entropy_with_logits(outputs, batch.targets / 255)
        assert float(objective.losses(outputs, batch.inputs).mean()) == pytest.approx(
            expected.item(), rel=1e-5
        )

    def test_a_network_that_knows_nothing(self):
        data = stored(num=200)
        scaling = scaling_of(data)
        targets = torch.from_numpy(np.asarray(data.inputs))
        assert Reconstruction(scaling=scaling).expected_initial_loss(targets) == pytest.approx(1, abs=1e-5)
        binary = Reconstruction(scaling=scaling, loss="binary").expected_initial_loss(targets)
        assert binary == pytest.approx(math.log(2))

    def test_noise_is_shown_in_training_only_and_follows_from_the_seed(self):
        x = torch.randn(400, 50)
        objective, net = Reconstruction(noise=0.5, hidden=0.25), Halves().train()

        def shown(seed):
            torch.manual_seed(seed)
            objective(net, Batch(inputs=x, targets=x))
            return net.shown

        first = shown(1)
        assert torch.equal(first, shown(1))
        assert not torch.equal(first, shown(2))
        hidden = first == 0
        assert hidden.float().mean().item() == pytest.approx(0.25, abs=0.01)
        assert (first - x)[~hidden].std().item() == pytest.approx(0.5, abs=0.01)
        torch.manual_seed(1)
        loss = objective(net, Batch(inputs=x, targets=x)).total
        assert loss.item() == pytest.approx(
            (0.5 * first - x).square().mean().item()
        )  # the clean one is asked for
        objective(net.eval(), Batch(inputs=x, targets=x))
        assert torch.equal(net.shown, x)

    def test_noise_does_not_depend_on_the_layout_of_memory(self):
        x = torch.randn(3, 4, 5, 6)
        objective = Reconstruction(noise=1.0, hidden=0.5)
        torch.manual_seed(0)
        one = objective.spoiled(x)
        torch.manual_seed(0)
        assert torch.equal(one, objective.spoiled(x.to(memory_format=torch.channels_last)))

    def test_weights_count_examples(self):
        x = torch.randn(3, 4)
        weighted = Batch(inputs=x, targets=x, weights=torch.tensor([2.0, 0.0, 1.0]))
        twice = x[[0, 0, 2]]
        expected = Reconstruction()(Halves(), Batch(inputs=twice, targets=twice)).total
        assert Reconstruction()(Halves(), weighted).total.item() == pytest.approx(expected.item())

    def test_pictures_without_their_background_are_compared_without_it(self):
        from dataclasses import replace

        data = replace(stored(), symmetries=frozenset({"background"}))
        scaling = scaling_of(data)
        assert scaling.background == "subtracted"
        objective, batch = Reconstruction(scaling=scaling), batch_of(data, scaling)
        perfect = objective.read(batch.inputs)
        assert objective.score(batch.inputs, batch.targets)["rmse"] == pytest.approx(0, abs=1e-3)
        assert objective.metrics(perfect, np.asarray(data.inputs))["rmse"].value == pytest.approx(0, abs=1e-3)
        assert objective.surprise(perfect, np.asarray(data.inputs)).max() < 1e-3

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"noise": -1.0}, "noise is -1.0"),
            ({"hidden": 1.0}, "hidden is 1.0"),
            ({"loss": "cubic"}, "loss is 'cubic'"),
            ({"loss": "binary", "low": 3.0, "high": 1.0}, "low below high"),
        ],
    )
    def test_what_can_not_be_is_refused(self, changes, match):
        with pytest.raises(ContractError, match=match):
            Reconstruction(scaling=scaling_of(stored()), **changes)


def test_metrics_of_reconstructions_against_numpy_and_principal_components():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    mean = x.mean(0)
    _, sizes, axes = np.linalg.svd(x - mean, full_matrices=False)
    given_back = (x - mean) @ axes[:2].T @ axes[:2] + mean
    found = reconstruction(x, given_back)
    assert found["explained_variance"].value == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    assert (
        found["explained_variance"].low < found["explained_variance"].value < found["explained_variance"].high
    )
    assert reconstruction(x, np.broadcast_to(mean, x.shape))["explained_variance"].value == pytest.approx(
        0, abs=1e-9
    )
    assert math.isnan(reconstruction(np.ones((4, 2)), np.ones((4, 2)))["explained_variance"].value)
    with pytest.raises(
        ValueError, match=r"examples of shape \(300, 6\) and reconstructions of shape \(300, 5\)"
    ):
        reconstruction(x, x[:, :5])


class TestFrechet:
    def test_of_gaussians_in_closed_form(self):
        """Diagonal covariances: |Δμ|² + Σ (σ₁ − σ₂)²."""
        rng = np.random.default_rng(0)
        one = rng.normal(size=(40_000, 3)) * [1.0, 2.0, 0.5]
        other = rng.normal(size=(40_000, 3)) * [1.5, 2.0, 1.0] + [0.0, 1.0, 0.0]
        found = frechet_distance(one, other)
        assert found.value == pytest.approx(1 + 0.25 + 0.25, rel=0.03)
        assert found.low < 1.5 < found.high

    def test_agrees_with_scipys_square_root(self):
        from scipy.linalg import sqrtm

        rng = np.random.default_rng(1)
        one, other = (
            rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5) for _ in range(2)
        )
        root = sqrtm(np.cov(one.T) @ np.cov(other.T)).real
        expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(
            np.cov(one.T) + np.cov(other.T) - 2 * root
        )
        assert frechet_distance(one, other).value == pytest.approx(expected, rel=1e-6)

    def test_of_points_with_themselves(self):
        points = np.random.default_rng(0).normal(size=(100, 4))
        assert frechet_distance(points, points).value == pytest.approx(0, abs=1e-6)

    def test_of_too_few_points(self):
        assert math.isnan(frechet_distance(np.zeros((3, 4)), np.zeros((9, 4))).value)
        with pytest.raises(ValueError, match="with the same F"):
            frechet_distance(np.zeros((9, 4)), np.zeros((9, 3)))

    def test_samples_of_the_right_distribution_are_near_and_others_far(self):
        class Draws(nn.Module):
            def __init__(self, scale):
                super().__init__()
                self.scale = scale

            def sample(self, n, seed=0):
                return self.scale * torch.randn(n, 6, generator=torch.Generator().manual_seed(seed + 1))

        real = torch.randn(2000, 6)
        near, far = (scores_of_samples(Draws(s), real)["frechet_distance"].value for s in (1.0, 2.0))
        assert near < 0.02
        assert far == pytest.approx(1, abs=0.1)  # (2 − 1)² in units of the variance
        assert scores_of_samples(nn.Identity(), real) == {}


class TestVariational:
    def test_divergence_against_torch(self):
        mean, log_variance = torch.randn(7, 4), torch.randn(7, 4)
        q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
        torch.testing.assert_close(kl_from_standard_normal(mean, log_variance), expected)

    def test_divergence_against_numerical_integration(self):
        mean, spread = 0.8, 0.6
        q = norm(mean, spread)
        expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - norm.logpdf(z)), -8, 8)
        found = kl_from_standard_normal(torch.tensor([[mean]]), torch.tensor([[2 * math.log(spread)]]))
        assert found.item() == pytest.approx(expected, abs=1e-6)

    def linear(self, slope, offset, mean_of, spread):
        """x = slope · z + offset + noise; the encoder says mean_of · x and a spread of its own."""
        net = nets.variational_autoencoder(1, hidden=(), inputs=1).double()
        encoder, decoder = net.encoder[1][0], net.decoder[0][0]
        with torch.no_grad():
            encoder.weight.copy_(torch.tensor([[mean_of], [0.0]]))
            encoder.bias.copy_(torch.tensor([0.0, 2 * math.log(spread)]))
            decoder.weight.fill_(slope)
            decoder.bias.fill_(offset)
        return net

    def test_bound_against_numerical_integration(self):
        """E_q[ln p(x | z) + ln p(z) − ln q(z)], integrated; ours is the mean over many draws."""
        slope, offset, noise, x, spread = 1.3, 0.4, 0.7, 0.9, 0.5
        net = self.linear(slope, offset, 0.6, spread)
        q = norm(0.6 * x, spread)

        def inside(z):
            return q.pdf(z) * (norm(slope * z + offset, noise).logpdf(x) + norm.logpdf(z) - q.logpdf(z))

        expected, _ = integrate.quad(inside, -6, 6)
        many = torch.full((400_000, 1), x, dtype=torch.float64)
        torch.manual_seed(0)
        loss = Variational(spread=noise)(net.train(), Batch(inputs=many, targets=many))
        assert -loss.total.item() == pytest.approx(expected, abs=0.01)
        evidence = norm(offset, math.hypot(slope, noise)).logpdf(x)
        assert expected < evidence

    def test_the_bound_is_the_evidence_where_the_encoder_is_the_posterior(self):
        slope, noise = 1.3, 0.7
        gain = slope / (slope**2 + noise**2)
        net = self.linear(slope, 0.0, gain, noise / math.hypot(slope, noise))
        x = torch.linspace(-2, 2, 41, dtype=torch.float64).repeat_interleave(5_000)[:, None]
        torch.manual_seed(0)
        loss = Variational(spread=noise)(net.train(), Batch(inputs=x, targets=x))
        expected = norm(0, math.hypot(slope, noise)).logpdf(x.numpy()).mean()
        assert -loss.total.item() == pytest.approx(expected, abs=0.01)

    def test_scores_of_the_network_are_in_stored_units(self):
        slope, noise = 1.3, 0.7
        gain = slope / (slope**2 + noise**2)
        net = self.linear(slope, 0.0, gain, noise / math.hypot(slope, noise)).eval()
        scaling = Scaling(mean=(5.0,), std=(4.0,), dtype="float64", shape=(1,), precision="float64")
        x = torch.linspace(-2, 2, 20_000, dtype=torch.float64)[:, None]
        with torch.no_grad():
            found = Variational(spread=noise, scaling=scaling).of_network(net, x)
        expected = norm(5, 4 * math.hypot(slope, noise)).logpdf(5 + 4 * x.numpy()).mean()
        assert found["elbo"].value == pytest.approx(expected, abs=0.02)

    def test_parts_add_up_and_beta_weighs(self):
        net, x = nets.variational_autoencoder(2, inputs=5), torch.randn(6, 5)
        torch.manual_seed(0)
        loss = Variational(beta=3.0)(net, Batch(inputs=x, targets=x))
        assert loss.total.item() == pytest.approx(
            (loss.parts["plain"] + 3 * loss.parts["kl"]).item(), rel=1e-6
        )

    def test_codes_are_drawn_in_training_and_means_otherwise(self):
        code, said = (
            GaussianCode(),
            torch.cat([torch.ones(20_000, 1), torch.full((20_000, 1), 2 * math.log(0.3))], 1),
        )
        torch.manual_seed(0)
        drawn = code.train().codes(said)
        assert drawn.mean().item() == pytest.approx(1, abs=0.01)
        assert drawn.std().item() == pytest.approx(0.3, abs=0.01)
        assert torch.equal(code.eval().codes(said), torch.ones(20_000, 1))
        with auxiliary_scores(code) as left:
            code.codes(torch.tensor([[0.0, 1e6]], dtype=torch.float16))
        assert left[0].tolist() == [[0.0, 10.0]]
        assert left[0].dtype == torch.float32

    def test_a_network_without_a_gaussian_code_is_refused(self):
        x = torch.zeros(2, 5)
        objective = Variational(scaling=Scaling(mean=(0.0,) * 5, std=(1.0,) * 5, dtype="float32", shape=(5,)))
        with pytest.raises(ContractError, match=r"Autoencoder has 0 Gaussian codes.*variational_autoencoder"):
            check(nets.autoencoder(2, inputs=5), objective, Batch(inputs=x, targets=x))


class Dot(nn.Module):
    """Discriminator D(x) = w · x, generator G(z) = a z."""

    def __init__(self):
        super().__init__()
        self.latent = 3
        self.discriminator = nn.Linear(3, 1, bias=False)
        self.scale = nn.Parameter(torch.tensor([0.5, 1.0, 2.0]))

    def generate(self, z):
        return self.scale * z

    def forward(self, x):
        return self.discriminator(x)


class TestAdversarial:
    def test_one_gradient_is_that_of_both_losses(self):
        net, x = Dot().double(), torch.randn(16, 3, dtype=torch.float64)
        torch.manual_seed(5)
        loss = Adversarial(penalty=0.0)(net, Batch(inputs=x, targets=x))
        loss.total.backward()
        torch.manual_seed(5)
        z = torch.randn(16, 3).double()
        weight, scale = net.discriminator.weight.detach().clone(), net.scale.detach().clone()
        weight.requires_grad_()
        scale.requires_grad_()
        softplus = nn.functional.softplus
        (of_weight,) = torch.autograd.grad(
            (softplus(-x @ weight.T) + softplus((scale.detach() * z) @ weight.T)).mean(), weight
        )
        (of_scale,) = torch.autograd.grad(softplus(-(scale * z) @ weight.detach().T).mean(), scale)
        torch.testing.assert_close(net.discriminator.weight.grad, of_weight)
        torch.testing.assert_close(net.scale.grad, of_scale)

    def test_the_penalty_is_half_the_squared_slope(self):
        net, x = Dot().double(), torch.randn(16, 3, dtype=torch.float64)
        values = []
        for penalty in (0.0, 3.0):
            torch.manual_seed(1)
            values.append(
                Adversarial(penalty=penalty)(net, Batch(inputs=x, targets=x)).parts["discriminator"].item()
            )
        expected = 1.5 * net.discriminator.weight.square().sum().item()
        assert values[1] - values[0] == pytest.approx(expected, rel=1e-9)

    def test_scores(self):
        objective = Adversarial()
        outputs = torch.tensor([[1.0], [-1.0], [2.0], [0.5]])
        assert objective.score(outputs, outputs)["called_real"] == 0.75
        found = objective.metrics(objective.read(outputs), np.zeros(4))
        assert found["called_real"].value == 0.75

    def test_a_network_without_adversaries_is_refused(self):
        with pytest.raises(ContractError, match=r"`discriminator`, `generate` and `latent`.*received Linear"):
            Adversarial().check_net(nn.Linear(2, 1))


class TestLogLikelihood:
    scaling = Scaling(mean=(5.0, -1.0), std=(4.0, 0.5), dtype="float32", shape=(2,))

    def test_a_gaussian_has_its_density_in_stored_units(self):
        net = nets.realnvp(2, inputs=2).eval()  # at the start the standard normal of the scaled values
        x = np.random.default_rng(0).normal([5, -1], [4, 0.5], (100, 2)).astype("float32")
        objective = LogLikelihood(scaling=self.scaling)
        with torch.no_grad():
            outputs = net(self.scaling(torch.from_numpy(x)))
        expected = norm(5, 4).logpdf(x[:, 0]) + norm(-1, 0.5).logpdf(x[:, 1])
        np.testing.assert_allclose(objective.read(outputs).values[:, 0], expected, rtol=1e-4)
        found = objective.metrics(objective.read(outputs), x)
        assert found["log_likelihood"].value == pytest.approx(expected.mean(), rel=1e-4)
        assert found["bits_per_value"].value == pytest.approx(-expected.mean() / (2 * math.log(2)), rel=1e-4)
        assert objective.score(outputs, torch.from_numpy(x))["log_likelihood"] == pytest.approx(
            expected.mean(), rel=1e-4
        )
        initial = objective.expected_initial_loss(torch.from_numpy(x))
        assert initial == pytest.approx(objective.score(outputs, outputs)["loss"], rel=1e-5)

    def test_the_scale_counts_every_value_of_a_channel(self):
        scaling = Scaling(mean=(0.0,), std=(2.0,), dtype="float32", shape=(1, 3, 4))
        assert log_scale(scaling) == pytest.approx(12 * math.log(2))

    def test_whole_numbers_are_spread_over_their_unit_in_training(self):
        data = stored(shape=(3,), num=5000)
        scaling = scaling_of(data)
        objective, inputs = LogLikelihood(scaling=scaling), batch_of(data, scaling).inputs
        torch.manual_seed(0)
        spread = objective.spread_out(inputs)
        moved = (scaling.invert(spread) - scaling.invert(inputs)).numpy()
        assert -0.501 < moved.min() < -0.49
        assert 0.49 < moved.max() < 0.501
        assert moved.std() == pytest.approx(math.sqrt(1 / 12), abs=0.01)
        real = LogLikelihood(scaling=self.scaling)
        x = torch.randn(4, 2)
        assert real.spread_out(x) is x

    def test_dequantization_bounds_the_probability_of_whole_numbers(self):
        """A density that is constant over every whole number's unit: the bound is the probability itself."""
        data = Dataset(
            inputs=np.arange(8, dtype=np.uint8)[:, None], targets=np.zeros((8, 1))
        ).as_its_own_target()
        scaling = scaling_of(data)

        class Uniform(nn.Module):
            def forward(self, x):
                stored_value = scaling.invert(x)
                inside = (stored_value > -0.5) & (stored_value < 7.5)
                return torch.where(inside, -math.log(8) + math.log(scaling.std[0]), -1e9)

        found = LogLikelihood(scaling=scaling).of_network(Uniform(), batch_of(data, scaling).inputs)
        assert found["log_likelihood"].value == pytest.approx(-math.log(8), rel=1e-6)
        assert found["bits_per_value"].value == pytest.approx(3, rel=1e-6)


class TestContract:
    scaling = Scaling(mean=(0.0,) * 4, std=(1.0,) * 4, dtype="float32", shape=(4,))
    x = torch.randn(6, 4)

    def check(self, net, objective, targets=None):
        check(net, objective, Batch(inputs=self.x, targets=self.x if targets is None else targets))

    def test_what_fits_passes(self):
        self.check(nets.autoencoder(2, inputs=4), Reconstruction(scaling=self.scaling))
        self.check(nets.variational_autoencoder(2, inputs=4), Variational(scaling=self.scaling))
        self.check(nets.realnvp(inputs=4), LogLikelihood(scaling=self.scaling))
        self.check(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), Reconstruction(scaling=self.scaling)
        )

    @pytest.mark.parametrize(
        ("net", "objective", "match"),
        [
            (
                nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()),
                {},
                "ends with a sigmoid.*inputs after scaling.*run from",
            ),
            (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), {}, "ends with a relu"),
            (nn.Linear(4, 3), {}, r"returned shape \(6, 3\); expected \(6, 4\)"),
        ],
    )
    def test_an_ending_that_can_not_reach_the_example_is_refused(self, net, objective, match):
        with pytest.raises(ContractError, match=match):
            self.check(net, Reconstruction(scaling=self.scaling, **objective))

    def test_a_sigmoid_before_the_binary_loss_is_refused(self):
        net = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid())
        shares = torch.rand(6, 4)
        with pytest.raises(ContractError, match="applies a sigmoid itself"):
            self.check(net, Reconstruction(scaling=self.scaling, loss="binary"), shares)
        with pytest.raises(ContractError, match="values from 0 to 1, but the examples run from"):
            self.check(nn.Linear(4, 4), Reconstruction(scaling=self.scaling, loss="binary"), shares + 1)

    def test_labels_are_refused(self):
        with pytest.raises(ContractError, match=r"asks about the examples themselves.*--target self"):
            self.check(
                nn.Linear(4, 4), Reconstruction(scaling=self.scaling), torch.zeros(6, dtype=torch.int64)
            )

    def test_without_its_scaling_it_says_where_to_take_it(self):
        with pytest.raises(ContractError, match=r"does not know yet how its data are scaled.*scaling_of"):
            self.check(nn.Linear(4, 4), Reconstruction())

    @pytest.mark.parametrize(
        "objective", [Reconstruction(noise=0.5), Variational(beta=2.0), Adversarial(), LogLikelihood()]
    )
    def test_a_run_folder_can_name_it(self, objective):
        from dataclasses import replace

        known = replace(objective, scaling=self.scaling)
        assert names.rebuild(names.describe(known)) == known
        assert isinstance(known, OwnTarget)
