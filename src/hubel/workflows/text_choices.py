"""What is chosen for text: the question, and the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from hubel import nets
from hubel.core import random
from hubel.data.dataset import Dataset
from hubel.fitting import Run
from hubel.objectives import NextSymbol, Objective


def next_symbol_of(train: Dataset) -> tuple[NextSymbol, str]:
    """The question that windows of text ask.

    Raises `ValueError` where there is only one symbol to foretell.
    """
    assert train.alphabet is not None
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
    net = nets.character_lm("lstm", 256, layers=2, dropout=0.2, inputs=len(train.alphabet))
    return net, "text: two layers of 256 long short-term memory units"


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
