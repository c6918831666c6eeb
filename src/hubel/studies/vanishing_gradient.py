"""Why the first layers of a deep network learn slowly, and what helps: ReLU, batch norm, residual connections.

By the chain rule the gradient at layer l is that at layer l + 1 times the slope of the activation times the weights:
|delta_l| <= max|a'| |W_{l+1}| |delta_{l+1}|. The slope of the sigmoid is at most 1/4, so that every layer with weights of norm below 4
makes the gradient smaller: it falls exponentially towards the input.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.random import torch_seeded
from hubel.core.types import Batch
from hubel.data import load_builtin
from hubel.fitting import AdamW
from hubel.objectives import CrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, run_study, smoothed

WIDTH = 64  # as many as inputs, so that the first layer too has an identity
KINDS = {"sigmoid": "two", "ReLU": "one", "batch norm": "three", "residual": "four"}


def vanishing_gradient(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """Gradients by layer in deep networks of sigmoids, of ReLU, with batch norm and with residual connections."""
    return run_study(_vanishing_gradient, quick=quick, seed=seed, out=out)


def _vanishing_gradient(quick: bool, seed: int) -> Study:
    depth, num_steps = (12, 60) if quick else (24, 500)
    data = load_builtin("digits")
    x, y = torch.tensor(data.inputs, dtype=torch.float32).flatten(1) / 16, torch.tensor(data.targets)
    x = x - x.mean(dim=0)
    batches = [Batch(inputs=x[rows], targets=y[rows]) for rows in torch.randperm(len(x)).split(128)]
    norms, losses, accuracies = {}, {}, {}
    bound_holds = True
    for kind in KINDS:
        net = deep(kind, depth, seed)
        norms[kind] = gradient_norms(net, Batch(inputs=x[:256], targets=y[:256]))
        if kind == "sigmoid":
            factors = sigmoid_factors(net, Batch(inputs=x[:256], targets=y[:256]))
            bound_holds = all(ratio <= bound * (1 + 1e-5) for ratio, bound in factors)
        losses[kind] = descend(
            net,
            CrossEntropy(10),
            batches,
            optimizer=AdamW(learning_rate=1e-3),
            num_steps=num_steps,
            seed=seed,
        )
        with torch.no_grad():
            accuracies[kind] = float((net.eval()(x).argmax(1) == y).float().mean())
    first_to_last = {kind: float(values[0] / values[-1]) for kind, values in norms.items()}
    layers = list(range(1, depth + 1))
    return Study(
        name="vanishing_gradient",
        title="The vanishing gradient, layer by layer",
        question=f"How large is the gradient at each of {depth} hidden layers, before the first step, and which networks learn?",
        seen=f"""Through sigmoids the gradient falls by about the same factor a layer: at the first of {depth} layers it is
        {first_to_last["sigmoid"]:.0e} times that at the last. The factor is at most |W| / 4 at every layer, which was
        {"found to hold" if bound_holds else "VIOLATED"}. ReLU, whose slope is 1 where it is not 0, with He's initial weights keeps it within
        a factor of {max(first_to_last["ReLU"], 1 / first_to_last["ReLU"]):.2g}. With batch norm before each sigmoid the gradient at the first layer is
        {first_to_last["batch norm"]:.2g} times that at the last, with residual connections, which add the identity,
        {first_to_last["residual"]:.2g} times.

        After {num_steps} steps of the same optimizer the training accuracy is {_percent(accuracies)}; guessing gives about 10 %. That the
        gradient is what holds the sigmoid network back is the explanation of Hochreiter (1991); only the two numbers are measured here.""",
        figures=(
            StudyFigure(
                picture=plot(
                    [Curve(name=k, x=layers, y=norms[k], kind=c, marks="both") for k, c in KINDS.items()],
                    x_name="hidden layer, from the input",
                    y_name="norm of the gradient of its weights, before the first step",
                    alt="Through sigmoids the gradient falls exponentially towards the input; the others keep it",
                    log_y=True,
                ),
                caption=f"Width {WIDTH}; Glorot's initial weights for sigmoids, He's for ReLU; the mean loss of 256 digits.",
            ),
            StudyFigure(
                picture=plot(
                    [
                        Curve(name=k, x=range(1, num_steps + 1), y=smoothed(losses[k]), kind=c)
                        for k, c in KINDS.items()
                    ],
                    x_name="step",
                    y_name="training loss (nats), mean of 15 steps",
                    alt="The training losses of the four networks, and that of guessing",
                    level=(float(np.log(10)), "guessing"),
                ),
                caption="The same optimizer, batches and number of steps for all.",
            ),
        ),
        tables=(
            StudyTable(
                caption="Gradient and success",
                columns=(
                    "network",
                    "gradient, first over last layer",
                    "training accuracy",
                    "last loss (nats)",
                ),
                rows=tuple((k, first_to_last[k], accuracies[k], smoothed(losses[k])[-1]) for k in KINDS),
            ),
        ),
        numbers={
            "depth": depth,
            "norms": norms,
            "first_to_last": first_to_last,
            "bound_holds": bound_holds,
            "sigmoid_ratios_and_bounds": factors,
            "losses": losses,
            "accuracies": accuracies,
        },
        sources=(
            "S. Hochreiter, Untersuchungen zu dynamischen neuronalen Netzen, TU München (1991); Int. J. Uncertain. Fuzz. 6, 107 (1998), doi:10.1142/S0218488598000094",
            "X. Glorot, Y. Bengio, AISTATS 2010, PMLR 9, 249: sigmoids and initial weights",
            "S. Ioffe, C. Szegedy, Batch normalization, ICML 2015, arXiv:1502.03167",
            "K. He et al., Deep residual learning, CVPR 2016, arXiv:1512.03385; initial weights: arXiv:1502.01852",
        ),
    )


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, f: nn.Module):
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        return x + self.f(x)


def deep(kind: str, depth: int, seed: int) -> nn.Sequential:
    """`depth` hidden layers of one kind between 64 inputs and 10 scores."""
    with torch_seeded(seed, "deep"):
        layers = [module for _ in range(depth) for module in _hidden(kind, depth)]
        head = nn.Linear(WIDTH, 10)
        nn.init.xavier_normal_(head.weight)
        nn.init.zeros_(head.bias)
    return nn.Sequential(*layers, head)


@torch.no_grad()
def _hidden(kind: str, depth: int) -> list[nn.Module]:
    """One hidden layer; residual branches begin at 1 / sqrt(depth) of their size, so that their sum does not grow with the depth."""
    linear = nn.Linear(WIDTH, WIDTH)
    nn.init.zeros_(linear.bias)
    if kind in ("sigmoid", "batch norm"):
        nn.init.xavier_normal_(linear.weight)
        return [linear, *([nn.BatchNorm1d(WIDTH)] if kind == "batch norm" else []), nn.Sigmoid()]
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    if kind == "ReLU":
        return [linear, nn.ReLU()]
    linear.weight.mul_(depth**-0.5)
    return [Residual(nn.Sequential(linear, nn.ReLU()))]


def gradient_norms(net: nn.Module, batch: Batch) -> list[float]:
    """The norm of the gradient of every hidden layer's weights, from the input on."""
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Linear)][:-1]
    gradients = torch.autograd.grad(CrossEntropy(10)(net.train(), batch).total, weights)
    return [float(g.norm()) for g in gradients]


def sigmoid_factors(net: nn.Module, batch: Batch) -> list[tuple[float, float]]:
    """For each pair of neighbouring hidden layers |delta_l| / |delta_{l+1}|, and its bound |W_{l+1}| / 4 (spectral norm).

    delta_l is the gradient of the loss by what layer l gives to its sigmoid.
    """
    with captured(net, lambda name, module: isinstance(module, nn.Linear)) as calls:
        loss = CrossEntropy(10)(net, batch).total
    outputs = [output for _, _, _, output in calls[:-1]]
    deltas = [float(g.norm()) for g in torch.autograd.grad(loss, outputs)]
    following = [m.weight for m in net.modules() if isinstance(m, nn.Linear)][1:-1]
    bounds = [float(torch.linalg.matrix_norm(w.detach(), 2)) / 4 for w in following]
    return [
        (before / after, bound) for before, after, bound in zip(deltas[:-1], deltas[1:], bounds, strict=True)
    ]


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.1%} ({name})" for name, share in shares.items())
