"""`write`: a network that foretells the next symbol writes a text, symbol by symbol, by drawing from what it foretells.

    P(next = k) ∝ exp(z_k / (t T)),   z raw scores, t the temperature found on held-out text, T that of the writer

T = 1 writes as the network believes; below, it keeps to what is likeliest (0: always the likeliest), above, it dares more.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core import random
from hubel.data.text import UNKNOWN, cut_text, symbols_of
from hubel.fitting import Run, open_run
from hubel.nets.character_lm import CharacterLM
from hubel.objectives import NextSymbol


def write(
    run: Run | Path | str,
    prompt: str | Sequence[str] = "",
    *,
    length: int = 500,
    temperature: float = 1.0,
    top: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Iterator[str]:
    """The `length` symbols that a network writes after `prompt`, as they come: `"".join(write(run))` is the text.

    `temperature` as above; with `top` only that many of the likeliest symbols are drawn from. The same `seed` writes the same text on the
    same machine. The prompt is a text, or a list of symbols where a function of the user's own cut the text. A recurrent network keeps
    its state from symbol to symbol; any other reads the last symbols again, as many as a window of its training had.

    Warns where the prompt has symbols that the alphabet has not (they are read as �, which is never written).

    Raises `ValueError` where the run was not fitted to a text, and for numbers out of their range; and what `open_run` and `Run.net`
    raise.

    >>> import hubel, tempfile
    >>> data = hubel.data.from_text("to be or not to be, " * 40, length=10)
    >>> recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(data, recipe=recipe, out=folder + "/run", quiet=True)
    ...     len("".join(write(run, "to ", length=20)))
    20
    """
    known = run if isinstance(run, Run) else open_run(run, device=device)
    objective = known.objective
    if not isinstance(objective, NextSymbol) or objective.alphabet is None:
        raise ValueError(
            f"{known.folder} was not fitted to a text, so it can not write one: fit a text first, such as hubel fit opticks"
        )
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"length is {length!r}; expected a whole number of symbols, at least 1")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}; expected 0 (always the likeliest symbol) or more")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise ValueError(f"top is {top!r}; expected a whole number of symbols, at least 1")
    symbols = _prompted(prompt, objective.alphabet, str(known.reading.get("tokens", "characters")))
    return written(
        known.net,
        objective,
        symbols,
        known.device,
        context=known.scaling.shape[0],
        length=length,
        temperature=temperature,
        top=top,
        seed=seed,
    )


@torch.no_grad()
def written(
    net: nn.Module,
    objective: NextSymbol,
    prompt: np.ndarray,
    device: torch.device,
    *,
    context: int,
    length: int,
    temperature: float = 1.0,
    top: int | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """Symbols that `net`, in evaluation mode, writes after the numbers `prompt` [L]."""
    alphabet = objective.alphabet
    assert alphabet is not None and len(prompt)
    follow = net.following if isinstance(net, CharacterLM) else _reading_again(net)
    generator = random.torch_generator(seed, "write")
    x, state = torch.from_numpy(prompt.astype(np.int64))[None].to(device), None
    for _ in range(length):
        scores, state = follow(x, state, context=context)
        number = _drawn(scores[0].double().cpu() / objective.temperature, temperature, top, generator)
        yield alphabet[number]
        x = torch.tensor([[number]], device=device)


def start_of_a_text(alphabet: Sequence[str]) -> np.ndarray:
    """What is read before a text that has no prompt: a line's end, else a space, else the first symbol."""
    first = next((symbol for symbol in ("\n", " ") if symbol in alphabet), alphabet[0])
    return np.array([list(alphabet).index(first)])


def _prompted(prompt: str | Sequence[str], alphabet: Sequence[str], tokens: str) -> np.ndarray:
    if not len(prompt):
        return start_of_a_text(alphabet)
    if isinstance(prompt, str) and tokens == "own":
        raise ValueError(
            "the text of this run was cut into symbols by a function of your own: pass the prompt as a list of symbols"
        )
    cut = list(cut_text(prompt, tokens) if isinstance(prompt, str) else prompt)  # type: ignore[arg-type]
    if tokens == "words" and cut[0] not in alphabet and f" {cut[0]}" in alphabet:
        cut[0] = f" {cut[0]}"  # as in the middle of a text
    if strange := sorted({symbol for symbol in cut if symbol not in alphabet}):
        warnings.warn(
            f"the prompt has {', '.join(map(repr, strange[:10]))}{', …' if len(strange) > 10 else ''}, which the alphabet of this network has "
            f"not: read as {UNKNOWN}",
            UserWarning,
            stacklevel=3,
        )
    return symbols_of(cut, alphabet)


def _reading_again(net: nn.Module) -> Callable[..., tuple[Tensor, Any]]:
    """`CharacterLM.following` for a network that keeps no state: the last symbols are read again each time."""

    def following(x: Tensor, state: Tensor | None, *, context: int) -> tuple[Tensor, Tensor]:
        seen = (x if state is None else torch.cat([state, x], dim=1))[:, -context:]
        return net(seen)[:, -1], seen

    return following


def _drawn(scores: Tensor, temperature: float, top: int | None, generator: torch.Generator) -> int:
    """The number of a symbol, drawn from scores [K]; never that of the last one, which stands for all that are not known."""
    scores = scores[:-1]
    if temperature == 0:
        return int(scores.argmax())
    if top is not None and top < len(scores):
        scores = scores.masked_fill(scores < scores.topk(top).values[-1], float("-inf"))
    return int(torch.multinomial((scores / temperature).softmax(0), 1, generator=generator))
