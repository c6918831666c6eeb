"""What reaches the first steps of a sequence: the gradient through time in an RNN, a GRU and an LSTM, and who remembers.

In an RNN the gradient over k steps is a product of k Jacobians diag(1 - h²) U. At rest (h = 0) with U = g Q, Q orthogonal, its norm is
exactly g^k: it vanishes for g < 1 and explodes for g > 1. Through the cell of an LSTM with gates that do not depend on the state it is
the product of the forget gates, f^k with f = sigmoid(b).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.random import torch_generator, torch_seeded
from hubel.core.types import Batch
from hubel.fitting import AdamW
from hubel.nets import recurrent
from hubel.objectives import CrossEntropy
from hubel.show.plot import Curve, plot
from hubel.show.study import Study, StudyFigure, StudyTable
from hubel.studies.running import descend, run_study

HIDDEN = 32
KINDS = {"RNN": ("rnn", "two"), "GRU": ("gru", "three"), "LSTM": ("lstm", "one")}
SYMBOLS = 4


def recurrent_memory(*, quick: bool = False, seed: int = 0, out: Path | str | None = None) -> Study:
    """The gradient of a loss at the last step by the inputs at each step, RNN against GRU and LSTM, and which learn to remember."""
    return run_study(_recurrent_memory, quick=quick, seed=seed, out=out)


def _recurrent_memory(quick: bool, seed: int) -> Study:
    length, num_steps, draws = (40, 200, 1) if quick else (100, 800, 3)
    ago = list(range(length))
    gains = {gain: at_rest(gain, length) for gain in (0.8, 1.0, 1.2)}
    forget_bias = 5.0
    cell = cell_gradient(forget_bias, length)
    before: dict[str, list[float]] = {}
    after: dict[str, list[float]] = {}
    accuracies: dict[str, list[float]] = {name: [] for name in KINDS}
    for name, (kind, _) in KINDS.items():
        for draw in range(draws):
            net = _made(kind, length, seed, draw)
            before.setdefault(name, by_step(net, length, seed))
            accuracies[name].append(_learned(net, length, num_steps, seed, draw))
            after.setdefault(name, by_step(net, length, seed))
    reach = {name: values[-1] / values[0] for name, values in before.items()}
    return Study(
        name="recurrent_memory",
        title="Memory over time: RNN, GRU and LSTM",
        question=f"How much of the loss at step {length} is felt at step 1, and which network learns to name the first symbol at the end?",
        seen=f"""At rest, an RNN whose recurrent matrix is g times an orthogonal one has a gradient of exactly g^k over k steps: it vanishes,
        stays, or explodes (wherever the state is not 0 the slope of tanh is below 1). In the networks as they begin the first of {length} inputs has {reach["RNN"]:.0e} times the weight of the last in the RNN, {reach["GRU"]:.0e} in the GRU and {reach["LSTM"]:.0e} in the
        LSTM. The path through the LSTM's cell multiplies by the forget gate only: with a bias of {forget_bias:.0f} that is
        {float(torch.sigmoid(torch.tensor(forget_bias))):.4f} a step, and {cell[-1]:.2f} of the gradient is left after {length - 1} steps.

        On the task ({length} random symbols of {SYMBOLS}, then: which was the first?) they reach {_percent(accuracies)}; guessing
        gives {1 / SYMBOLS:.0%}. These are {draws} initial weights of each kind and {num_steps} steps; what more steps would do was not
        tried. Gates of GRU and LSTM began with biases to remember for times of every scale up to the length of the sequence (Tallec and
        Ollivier 2018).""",
        figures=(
            StudyFigure(
                picture=plot(
                    [
                        *(
                            Curve(name=f"g = {gain}", x=ago, y=values, kind=kind)
                            for kind, (gain, values) in zip(
                                ("two", "five", "three"), gains.items(), strict=True
                            )
                        ),
                        Curve(name="LSTM's cell", x=ago, y=cell, kind="one"),
                    ],
                    x_name="steps back k",
                    y_name="gradient over k steps, at rest",
                    alt="Powers of the gain for the RNN, powers of the forget gate for the LSTM",
                    log_y=True,
                ),
                caption="RNN: g^k, with the recurrent matrix g times orthogonal. LSTM: the product of the forget gates.",
            ),
            *(
                StudyFigure(
                    picture=plot(
                        [Curve(name=k, x=ago, y=values[k], kind=c) for k, (_, c) in KINDS.items()],
                        x_name="steps back from the last",
                        y_name="norm of the gradient by the input of that step",
                        alt=f"Gradients through time {when} training",
                        log_y=True,
                    ),
                    caption=f"{when.capitalize()} training, on {length} random symbols; over 64 sequences.",
                )
                for when, values in (("before", before), ("after", after))
            ),
        ),
        tables=(
            StudyTable(
                caption=f"Naming the first of {length} symbols",
                columns=(
                    "network",
                    "first over last gradient, before",
                    "after",
                    "test accuracy, least",
                    "greatest",
                ),
                rows=tuple(
                    (k, reach[k], after[k][-1] / after[k][0], min(accuracies[k]), max(accuracies[k]))
                    for k in KINDS
                ),
            ),
        ),
        numbers={
            "length": length,
            "at_rest": gains,
            "forget_bias": forget_bias,
            "cell": cell,
            "before": before,
            "after": after,
            "accuracies": accuracies,
        },
        sources=(
            "S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Comput. 9, 1735 (1997), doi:10.1162/neco.1997.9.8.1735",
            "Y. Bengio, P. Simard, P. Frasconi, IEEE Trans. Neural Netw. 5, 157 (1994), doi:10.1109/72.279181",
            "R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013, arXiv:1211.5063: the norm of the product of Jacobians",
            "K. Cho et al., EMNLP 2014, arXiv:1406.1078: the GRU",
            "C. Tallec, Y. Ollivier, Can recurrent neural networks warp time?, ICLR 2018, arXiv:1804.11188: biases of the gates",
        ),
    )


def at_rest(gain: float, length: int) -> list[float]:
    """|dh_T / dh_{T-k}| / sqrt(H) (Frobenius) for k = 0, 1, … in an RNN at h = 0 whose recurrent matrix is `gain` times orthogonal."""
    layer: Any = nn.RNN(1, HIDDEN, batch_first=True).double()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    nn.init.orthogonal_(layer.weight_hh_l0, gain=gain, generator=torch_generator(0, "at rest"))
    return _through(lambda x, state: layer(x, state)[1], length)


def cell_gradient(bias: float, length: int) -> list[float]:
    """The same of |dc_T / dc_{T-k}| in an LSTM whose gates see nothing but their bias."""
    layer: Any = nn.LSTM(1, HIDDEN, batch_first=True).double()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = bias
    return _through(lambda x, state: layer(x, (torch.zeros_like(state), state))[1][1], length)


def _through(last: Callable[[Tensor, Tensor], Tensor], length: int) -> list[float]:
    """The size of the derivative of the last state by the first; a copy of the state a row of the Jacobian."""
    found = [1.0]
    for steps in range(1, length):
        state = torch.zeros(1, HIDDEN, HIDDEN, dtype=torch.float64, requires_grad=True)
        still = torch.zeros(HIDDEN, steps, 1, dtype=torch.float64)
        (jacobian,) = torch.autograd.grad(last(still, state), state, torch.eye(HIDDEN).double()[None])
        found.append(float(jacobian.norm() / HIDDEN**0.5))
    return found


def by_step(net: nn.Module, length: int, seed: int) -> list[float]:
    """The norm of the gradient of the loss at the end by the input k steps before it, for k = 0, 1, …"""
    batch = _sequences(length, 64, seed, 0)
    inputs = batch.inputs.clone().requires_grad_()
    loss = CrossEntropy(SYMBOLS)(net, Batch(inputs=inputs, targets=batch.targets)).total
    (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient.norm(dim=(0, 2)).flip(0).tolist()


def _made(kind: str, length: int, seed: int, draw: int) -> Any:
    """A recurrent network; gates begin with biases log u, u from 1 to `length`, so that units remember for times of every scale."""
    with torch_seeded(seed, f"memory, {kind}", draw):
        net = recurrent(kind, HIDDEN, inputs=SYMBOLS + 1, outputs=SYMBOLS)
        times = torch.log(1 + (length - 2) * torch.rand(HIDDEN))
    bias = net.body.layers[0][0].bias_ih_l0  # type: ignore[index, union-attr]
    with torch.no_grad():
        if kind == "lstm":  # gates in the order input, forget, cell, output
            bias[:HIDDEN], bias[HIDDEN : 2 * HIDDEN] = -times, times
        elif kind == "gru":  # reset, update, new; the update gate keeps the old state
            bias[HIDDEN : 2 * HIDDEN] = times
    return net


def _learned(net: Any, length: int, num_steps: int, seed: int, draw: int) -> float:
    """Fit a network to fresh sequences; the accuracy on a thousand others."""
    batches = [_sequences(length, 32, seed, number) for number in range(1, num_steps + 1)]
    optimizer = AdamW(learning_rate=1e-2)
    descend(net, CrossEntropy(SYMBOLS), batches, optimizer=optimizer, num_steps=num_steps, seed=seed + draw)
    test = _sequences(length, 1000, seed, 0)
    with torch.no_grad():
        return float((net.eval()(test.inputs).argmax(1) == test.targets).float().mean())


def _sequences(length: int, count: int, seed: int, number: int) -> Batch:
    """Random symbols, one-hot, and a mark at the first step, whose symbol is the target."""
    symbols = torch.randint(SYMBOLS, (count, length), generator=torch_generator(seed, "sequences", number))
    mark = torch.zeros(count, length, 1)
    mark[:, 0] = 1
    inputs = torch.cat([nn.functional.one_hot(symbols, SYMBOLS).float(), mark], dim=2)
    return Batch(inputs=inputs, targets=symbols[:, 0])


def _percent(shares: dict[str, list[float]]) -> str:
    return ", ".join(
        f"{' and '.join(f'{share:.0%}' for share in found)} ({name})" for name, found in shares.items()
    )
