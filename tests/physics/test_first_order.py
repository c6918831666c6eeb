"""Adam, SOAP and Muon against torch, against dense arithmetic, and by what must not matter to them; resumed bit for bit."""

import math

import numpy as np
import pytest
import torch

from hubel.fitting.uncompiled import uncompiled
from hubel.physics import SOAP, Adam, Muon, Problem, Solver, unknown
from hubel.physics.methods import METHODS, described, method_for, rebuilt

SHAPES = [torch.Size(shape) for shape in ((5, 2), (5,), (5, 5), (5,), (1, 5), (1,), ())]


class Given:
    """Gradients that are given, one after the other."""

    shapes = SHAPES

    def __init__(self, seed=0):
        self.generator = torch.Generator().manual_seed(seed)

    def gradient(self, theta):
        return torch.randn(len(theta), dtype=torch.float64, generator=self.generator), 1.0


SIZE = sum(shape.numel() for shape in SHAPES)


def walked(method, num, seed=0):
    theta, system = torch.zeros(SIZE, dtype=torch.float64), Given(seed)
    for _ in range(num):
        theta, loss, found = method.step(system, theta)
        assert (loss, found) == (1.0, True)
    return theta


def test_the_rate_rises_and_has_fallen_to_a_half():
    method = Adam(learning_rate=0.2, warm_up=4, half_life=10)
    rates = []
    for method.count in range(1, 25):
        rates.append(method.rate)
    assert rates[:4] == pytest.approx([0.05 * k / (1 + k / 10) for k in (1, 2, 3, 4)])
    assert rates[9] == pytest.approx(0.1) and rates[19] == pytest.approx(0.2 / 3)


def test_adam_as_torch_computes_it():
    theta, system = torch.nn.Parameter(torch.zeros(SIZE, dtype=torch.float64)), Given()
    method = Adam(learning_rate=0.01, betas=(0.8, 0.95), epsilon=1e-3, warm_up=3, half_life=50)
    theirs = uncompiled(torch.optim.Adam)([theta], lr=0.01, betas=(0.8, 0.95), eps=1e-3)
    for k in range(1, 13):
        theta.grad, _ = system.gradient(theta)
        theirs.param_groups[0]["lr"] = 0.01 * min(1, k / 3) / (1 + k / 50)
        theirs.step()
    torch.testing.assert_close(walked(method, 12), theta.detach(), rtol=1e-12, atol=1e-14)


def soap_by_dense_matrices(gradients, method):
    """The same for one matrix, written with the whole preconditioner Q_L x Q_R [m n, m n] of its entries in a row."""
    (b1, b2), (rows, columns) = method.betas, gradients[0].shape
    left, right = gradients[0] @ gradients[0].T, gradients[0].T @ gradients[0]
    bases = [np.linalg.eigh(product)[1][:, ::-1] for product in (left, right)]
    left, right = (1 - b2) * left, (1 - b2) * right
    theta, mean, square = np.zeros(rows * columns), np.zeros(rows * columns), np.zeros(rows * columns)
    for k, gradient in enumerate(gradients[1:], start=1):
        turn = np.kron(bases[0], bases[1])
        mean = b1 * mean + (1 - b1) * gradient.ravel()
        square = b2 * square + (1 - b2) * (turn.T @ gradient.ravel()) ** 2
        inner = (turn.T @ mean) / (1 - b1**k) / (np.sqrt(square / (1 - b2**k)) + method.epsilon)
        rate = method.learning_rate * min(1, (k + 1) / method.warm_up) / (1 + (k + 1) / method.half_life)
        theta -= rate * (turn @ inner)
        left = b2 * left + (1 - b2) * gradient @ gradient.T
        right = b2 * right + (1 - b2) * gradient.T @ gradient
        if k % method.refresh == 0:
            square = square.reshape(rows, columns)
            for axis, product in enumerate((left, right)):
                sizes = np.diag(bases[axis].T @ product @ bases[axis])
                order = np.argsort(-sizes)
                square = np.take(square, order, axis=axis)
                bases[axis] = np.linalg.qr(product @ bases[axis][:, order])[0]
            square = square.ravel()
    return theta.reshape(rows, columns)


class Matrix:
    """Gradients of one matrix."""

    def __init__(self, gradients):
        self.gradients, self.shapes = iter(gradients), [torch.Size(gradients[0].shape)]

    def gradient(self, theta):
        return torch.from_numpy(next(self.gradients)).flatten(), 1.0


def walked_along(method, gradients):
    theta, system = torch.zeros(gradients[0].size, dtype=torch.float64), Matrix(gradients)
    for _ in gradients:
        theta, _, _ = method.step(system, theta)
    return theta.view(gradients[0].shape).numpy()


def settings():
    return {"learning_rate": 0.02, "warm_up": 4, "half_life": 30, "refresh": 3, "betas": (0.9, 0.8)}


@pytest.mark.parametrize(
    "shape", [(3, 3), (2, 3), (2, 1)]
)  # of a null space of two dimensions rounding would choose the basis
def test_soap_as_dense_arithmetic_computes_it(shape):
    generator = np.random.default_rng(0)
    gradients = [generator.normal(size=shape) for _ in range(14)]
    method = SOAP(**settings(), epsilon=1e-6)
    expected = soap_by_dense_matrices(gradients, method)
    np.testing.assert_allclose(walked_along(method, gradients), expected, rtol=1e-10, atol=1e-13)


def test_soap_does_not_see_a_rotation_of_a_matrix_and_adam_does():
    generator = np.random.default_rng(1)
    gradients = [generator.normal(size=(4, 3)) for _ in range(12)]
    u, v = (np.linalg.qr(generator.normal(size=(n, n)))[0] for n in (4, 3))
    turned = [u @ gradient @ v.T for gradient in gradients]
    np.testing.assert_allclose(
        walked_along(SOAP(**settings()), turned),
        u @ walked_along(SOAP(**settings()), gradients) @ v.T,
        rtol=1e-9,
        atol=1e-12,
    )
    plain = [walked_along(Adam(), each) for each in (turned, gradients)]
    assert np.abs(plain[0] - u @ plain[1] @ v.T).max() > 0.1 * np.abs(plain[0]).max()


def test_muon_makes_steps_of_inner_matrices_orthogonal_and_others_those_of_adam():
    method = Muon(learning_rate=0.1, other_learning_rate=0.01, warm_up=1, half_life=10**9)
    found = walked(method, 1).split([shape.numel() for shape in SHAPES])
    others = walked(Adam(learning_rate=0.01, warm_up=1, half_life=10**9), 1).split(
        [shape.numel() for shape in SHAPES]
    )
    for place, (ours, theirs) in enumerate(zip(found, others, strict=True)):
        if place != 2:
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)
    sizes = torch.linalg.svdvals(found[2].view(5, 5))
    gradient = Given().gradient(torch.zeros(SIZE))[0].split([shape.numel() for shape in SHAPES])[2].view(5, 5)
    u, _, v = torch.linalg.svd(gradient)
    assert float(sizes[-2]) > 0.06 and float(sizes[0]) < 0.13
    assert float((found[2].view(5, 5) * -(u @ v)).sum()) > 0.9 * float(found[2].norm() * 5**0.5)


@pytest.mark.parametrize("kind", [Adam, SOAP, Muon])
def test_a_large_problem_goes_down_and_is_resumed_bit_for_bit(kind):
    heat = Problem(
        lambda u: u.t - 0.1 * u.xx,
        domain={"t": (0, 1), "x": (0, 1)},
        initial=lambda x: torch.sin(math.pi * x) + 0.5 * torch.sin(2 * math.pi * x),
        boundary={"x": 0.0},
    )

    def after(number, state=None):
        method = kind(learning_rate=5e-3, warm_up=5)
        solver = Solver(heat, tol=1e-12, width=12, depth=3, method=method, state=state)
        for record in solver.steps():
            if record.iteration == number:
                return solver
        raise AssertionError

    whole, again = after(50), after(50, after(20).state())
    assert torch.equal(whole.trial.theta, again.trial.theta)
    assert [r.loss for r in whole.history] == [r.loss for r in again.history]
    assert whole.history[-1].loss < 0.5 * whole.history[0].loss


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Adam(learning_rate=0), "learning_rate of Adam is 0; expected a positive number"),
        (lambda: SOAP(refresh=True), "refresh of SOAP is True"),
        (lambda: Muon(half_life=math.inf), "half_life of Muon is inf"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas of Adam are \(0.9, 1.0\)"),
        (lambda: rebuilt({"is": "Soap"}), r"there is no method 'Soap'"),
        (lambda: rebuilt({"is": "SOAP", "memory": []}), "SOAP can not be made of {'memory': "),
        (lambda: rebuilt({"is": "SOAP", "refresh": "2"}), "SOAP can not be made of {'refresh': '2'}"),
    ],
)
def test_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("given", "text"), [("soap", "method is 'soap'"), (SOAP, "method is SOAP; expected one of Lev")]
)
def test_what_is_no_method(given, text):
    with pytest.raises(TypeError, match=text):
        Solver(Problem(lambda u: u.t + u, domain={"t": (0, 1)}, initial=1.0), method=given)


def test_with_data_methods_that_never_rest_are_neither_taken_nor_chosen():
    decay = Problem(lambda u, k: u.t + k * u, domain={"t": (0, 1)}, k=unknown())
    data = {"t": torch.linspace(0, 1, 9), "u": torch.linspace(1, 0.5, 9)}
    with pytest.raises(ValueError, match=r"SOAP does not come to rest.*leave out method="):
        Solver(decay, data=data, method=SOAP())
    assert type(method_for(10_001, from_data=True)).__name__ == "LimitedMemory"
    chosen = [Solver(decay, data=data, width=102, depth=depth).trial.method for depth in (1, 2)]
    assert [type(method).__name__ for method in chosen] == ["LevenbergMarquardt", "LimitedMemory"]


def test_every_method_is_made_again_from_its_description():
    changed = [
        SOAP(refresh=7),
        Muon(momentum=0.5),
        Adam(betas=(0.5, 0.6)),
        METHODS["LimitedMemory"](memory=3),
    ]
    for method in (*changed, *(kind() for kind in METHODS.values())):
        assert rebuilt(described(method)) == method


def test_the_method_follows_the_size():
    assert [type(method_for(size)).__name__ for size in (3000, 3001, 10_000, 10_001)] == [
        "LevenbergMarquardt",
        "SelfScaledBroyden",
        "SelfScaledBroyden",
        "SOAP",
    ]
