"""What is chosen for text: the question, and the network.

Measured on the embedded text (830 training windows of 100 characters, bits per symbol of the validation part, one seed, one thread of an AMD
EPYC (Zen 4) shared with others, processor time; batches of 16 windows, highest learning rate 0.01):

    some 20 s   LSTM of 128 units 1.93, of 256 units 1.98, of 384 units 2.08, two layers of 256 units 2.16; GRU of 256 units 2.05 (29 s);
                transformer of width 128, two layers, rate 0.003: 3.31 (14 s)
    some 50 s   LSTM of 256 units 1.82 (rate 0.005: 1.86)
    some 100 s  LSTM of 256 units, batches of 32, rate 0.005: 1.84; rate 0.002: 1.93. Of 128 units, rate 0.005: 1.97 after 29 s and the
                same 40 epochs

So one layer of 256 units is what uses the default time well: narrower ones stop earlier, wider and deeper ones get too few steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from hubel import nets
from hubel.core import random
from hubel.data.dataset import Dataset
from hubel.fitting import Run
from hubel.objectives import NextSymbol, Objective
from hubel.workflows.asking import Wishes


def next_symbol_of(train: Dataset, wishes: Wishes) -> tuple[NextSymbol, str]:
    """The question that windows of text ask.

    Raises `ValueError` where there is only one symbol to foretell, and for wishes that mean nothing for a text.
    """
    assert train.alphabet is not None
    if wishes:
        raise ValueError(
            f"{wishes.named} was asked for, but {train.name} is a text, whose target is the symbol that follows: leave it out"
        )
    if len(train.alphabet) < 3:  # one symbol, and the one that stands for all others
        only = "".join(train.alphabet[:1])
        raise ValueError(
            f"the training part of {train.name} has one symbol only, {only!r}: there is nothing to foretell. Expected a text"
        )
    num = len(train.alphabet)
    why = f"at every position the next of {num:,} symbols: softmax and cross-entropy"
    return NextSymbol(num, alphabet=train.alphabet), why


def text_net(train: Dataset, objective: Objective) -> tuple[nn.Module, str]:
    """The default network for symbols.

    Raises `ValueError` where something else than the next symbol is asked of them.
    """
    assert train.alphabet is not None
    if not isinstance(objective, NextSymbol):
        raise ValueError(
            f"{train.name} holds symbols with targets {list(train.targets.shape)}: hubel has a default network for the next symbol only "
            f"(targets [N, L]). Pass a network, net=..., that takes their numbers [N, L] and answers [N, {objective.num_outputs}]"
        )
    net = nets.character_lm("lstm", 256, layers=1, dropout=0.3, inputs=len(train.alphabet))
    return net, "text: one layer of 256 long short-term memory units, with dropout around it"


def useful_passes(train: Dataset, steps_per_epoch: int) -> int | None:
    """How many passes a text can use: 20, and more where these are fewer than 1,000 steps; None for everything else.

    On the embedded text (52 steps an epoch) 20 epochs came to 1.82 bits per symbol of the validation part, 50 to 1.93: it is learned by
    heart. That shorter texts can use more is judged, not measured.
    """
    if train.alphabet is None:
        return None
    return min(100, max(20, 1000 // steps_per_epoch))


def net_like(run: Run, train: Dataset, seed: int) -> nn.Module | None:
    """The language model of `run` made anew for an alphabet of another size; None for every other network, and for one of its size."""
    made = run.about["net"]
    if train.alphabet is None or made.get("name") != "hubel.nets.character_lm":
        return None
    if made["arguments"]["inputs"] == len(train.alphabet):
        return None
    arguments: dict[str, Any] = made["arguments"] | {
        "inputs": len(train.alphabet),
        "outputs": len(train.alphabet),
    }
    with random.torch_seeded(seed, "initial weights"):
        return nets.character_lm(**arguments)


def asked_of_text(train: Dataset, objective: NextSymbol) -> NextSymbol:
    """The question of another run, asked of this alphabet."""
    assert train.alphabet is not None
    return replace(objective, num_outputs=len(train.alphabet), alphabet=train.alphabet, temperature=1.0)
