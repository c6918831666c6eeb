"""Recurrent units over a text: every character coloured by what one unit answers there, with the characters that the network expects next.

    activation_l = h_l[unit]  (or tanh c_l[unit], the cell of an LSTM),        next_l = the likeliest of softmax(scores_l / T)

Some units can be read: they are on between quotation marks or brackets, or count the position in a line. `find_units` looks for those that
go with a property of the text, by their correlation with it, and says how large the largest correlation of as many units with a property
that has nothing to do with them would be: the property is moved along the text, round its end, by amounts that are drawn.

Source: A. Karpathy, J. Johnson, L. Fei-Fei, "Visualizing and understanding recurrent networks" (2015), arXiv:1506.02078, figure 2;
A. Karpathy, "The unreasonable effectiveness of recurrent neural networks" (2015), karpathy.github.io/2015/05/21/rnn-effectiveness.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.errors import nearest
from hubel.core.random import numpy_generator
from hubel.data.text import Tokens, cut_text, symbols_of
from hubel.explain.layer import check_channels, ready
from hubel.explain.question import layer_named, untouched
from hubel.fitting import Run
from hubel.layers.peephole_lstm import PeepholeLSTM
from hubel.layers.recurrent import Recurrent
from hubel.nets.character_lm import CharacterLM
from hubel.objectives import NextSymbol

Of = Literal["output", "cell"]
Property = Callable[[Sequence[str]], "np.ndarray"] | Sequence[float] | np.ndarray
PIECE = 4096  # symbols that a recurrent network reads at a time
SHIFTS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class TextUnits:
    """`symbols` [L] of a text, `activations` [L, U] of the `units` [U] of `layer` behind each of them, and the likeliest symbols that the
    network expects next, `expected` [L, top] with their `probabilities` [L, top].
    """

    symbols: tuple[str, ...]
    activations: np.ndarray
    units: tuple[int, ...]
    layer: str
    of: Of
    expected: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.symbols)

    def __str__(self) -> str:
        number = ", ".join(map(str, self.units[:5])) + (", …" if len(self.units) > 5 else "")
        right = np.mean([e[0] == s for e, s in zip(self.expected[:-1], self.symbols[1:], strict=True)])
        return (
            f"{self.of} of unit {number} of {self.layer} over {len(self):,} symbols, from {self.activations.min():.2f} to "
            f"{self.activations.max():.2f}; the likeliest next symbol came in {100 * right:.0f} % of places"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitSearch:
    """Units that go with a property of a text: `units` [n], numbers in `layers` [n], with their `correlations` [n], the strongest first.

    `chance` is the absolute correlation that the best of all `searched` units reaches with a shifted property in one of twenty cases;
    `correlations` beyond it are not chance. `property` [L] is what was looked for.
    """

    units: tuple[int, ...]
    layers: tuple[str, ...]
    correlations: np.ndarray
    chance: float
    searched: int
    of: Of
    name: str
    property: np.ndarray

    def __str__(self) -> str:
        shown = ", ".join(
            f"unit {unit} of {layer} ({r:+.2f})"
            for unit, layer, r in zip(self.units, self.layers, self.correlations.tolist(), strict=True)
        )
        return f"{self.name}: {shown}; the best of {self.searched} units reaches {self.chance:.2f} by chance (one time in twenty)"


def units_over_text(
    net: nn.Module | Run,
    text: str | Sequence[str],
    units: int | Sequence[int],
    *,
    layer: str | None = None,
    of: Of = "output",
    alphabet: Sequence[str] | None = None,
    tokens: Tokens = "characters",
    top: int = 5,
) -> TextUnits:
    """What `units` of a recurrent `layer` (the last one, unless given) answer behind every symbol of `text`, which is read from its start.

    `net` is a run that was fitted to a text, or a network [N, L] → [N, L, K] with its `alphabet` of K symbols and the way that they are cut.
    `of` is the "output" h, or the "cell" of an LSTM, tanh c, which shows more clearly what is remembered (networks of `character_lm` only).

    Raises `ValueError` for a layer or unit that the network does not have, a text that is empty, and a run that was not fitted to a text.

    >>> from hubel.nets import character_lm
    >>> net = character_lm("lstm", 8, layers=1, inputs=4).eval()
    >>> found = units_over_text(net, "abba", [0, 3], alphabet=("a", "b", "c", "�"), top=2)
    >>> found.activations.shape, found.expected.shape, found.layer
    ((4, 2), (4, 2), 'body.layers.0.0')
    """
    if top < 1:
        raise ValueError(f"top is {top}; expected at least 1 symbol")
    reading = _read(net, text, alphabet, tokens, of)
    name = _layer(reading.net, layer)
    with untouched(reading.net):
        found, scores = _answers(reading, [name], of)
    values = found[name]
    chosen = check_channels(name, values.shape[1], [units] if isinstance(units, int) else list(units))
    if not chosen:
        raise ValueError(f"there are no units to look at: pass some of 0 to {values.shape[1] - 1}")
    probabilities = (scores.double() / reading.temperature).softmax(1)
    best = probabilities.topk(min(top, scores.shape[1]), dim=1)
    return TextUnits(
        symbols=reading.symbols,
        activations=values[:, chosen].double().numpy(),
        units=tuple(chosen),
        layer=name,
        of=of,
        expected=np.array(reading.alphabet, dtype=object)[best.indices.numpy()],
        probabilities=best.values.numpy(),
    )


def find_units(
    net: nn.Module | Run,
    text: str | Sequence[str],
    property: Property,
    *,
    layer: str | None = None,
    of: Of = "output",
    count: int = 5,
    alphabet: Sequence[str] | None = None,
    tokens: Tokens = "characters",
    seed: int = 0,
) -> UnitSearch:
    """The `count` units, of all recurrent layers or of `layer`, that go best with a property of the text: numbers [L], or a function from its
    symbols to them, such as `inside_brackets()` or `position_in_line`.

    Raises `ValueError` for a property that is not one finite number a symbol or is the same everywhere, and what `units_over_text` raises.

    >>> from hubel.nets import character_lm
    >>> net = character_lm("gru", 8, layers=1, inputs=3).eval()
    >>> found = find_units(net, "ab" * 20, lambda symbols: [s == "a" for s in symbols], alphabet=("a", "b", "�"), count=2)
    >>> len(found.units), found.searched
    (2, 8)
    """
    if count < 1:
        raise ValueError(f"count is {count}; expected at least 1 unit")
    reading = _read(net, text, alphabet, tokens, of)
    name = (
        getattr(property, "__name__", "a function of the text") if callable(property) else "a given property"
    )
    wanted = np.asarray(property(reading.symbols) if callable(property) else property, np.float64)
    if wanted.shape != (len(reading.symbols),) or not np.isfinite(wanted).all():
        raise ValueError(
            f"the property has shape {list(wanted.shape)}; expected one finite number for each of the {len(reading.symbols)} symbols"
        )
    if np.ptp(wanted) == 0:
        raise ValueError(f"{name} is {wanted[0]:g} at every symbol: take a text in which it changes")
    names = _recurrent(reading.net) if layer is None else [_layer(reading.net, layer)]
    with untouched(reading.net):
        found, _ = _answers(reading, names, of)
    values = np.concatenate([found[n].double().numpy() for n in names], axis=1)
    places = [(n, unit) for n in names for unit in range(found[n].shape[1])]
    scores = _correlations(values, wanted)
    order = np.argsort(-np.abs(scores), kind="stable")[:count]
    return UnitSearch(
        units=tuple(places[i][1] for i in order),
        layers=tuple(places[i][0] for i in order),
        correlations=scores[order],
        chance=_by_chance(values, wanted, seed),
        searched=len(places),
        of=of,
        name=name,
        property=wanted,
    )


def inside_brackets(opening: str = "[[", closing: str = "]]") -> Callable[[Sequence[str]], np.ndarray]:
    """The property of being between `opening` and `closing`, as a function from symbols [L] to 0 and 1: 1 from the last character of the
    opening on, until the closing is complete.

    >>> inside_brackets()("a[[bc]]d").tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    if not opening or not closing:
        raise ValueError("an opening and a closing are one character or more")

    def inside(symbols: Sequence[str]) -> np.ndarray:
        found, depth, seen = np.zeros(len(symbols)), 0, ""
        longest = max(len(opening), len(closing))
        for place, symbol in enumerate(symbols):
            for character in symbol:
                seen = (seen + character)[-longest:]
                if depth and seen.endswith(closing):
                    depth, seen = depth - 1, ""
                elif seen.endswith(opening):
                    depth, seen = depth + 1 if opening != closing else 1, ""
            found[place] = depth > 0
        return found

    inside.__name__ = f"inside {opening} {closing}"
    return inside


def position_in_line(symbols: Sequence[str]) -> np.ndarray:
    r"""How many symbols of its line stand before each.

    >>> position_in_line("ab\ncd").tolist()
    [0.0, 1.0, 2.0, 0.0, 1.0]
    """
    found, place = np.zeros(len(symbols)), 0
    for number, symbol in enumerate(symbols):
        found[number] = place
        place = 0 if "\n" in symbol else place + 1
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Reading:
    net: nn.Module
    symbols: tuple[str, ...]
    numbers: Tensor
    alphabet: tuple[str, ...]
    temperature: float


def _read(net: Any, text: Any, alphabet: Any, tokens: Tokens, of: str) -> _Reading:
    temperature = 1.0
    if of not in ("output", "cell"):
        raise ValueError(f'of is {of!r}; expected "output" or "cell"')
    if isinstance(net, Run):
        objective = net.objective
        if not isinstance(objective, NextSymbol) or objective.alphabet is None:
            raise ValueError(f"{net.folder} was not fitted to a text: its units can not be shown over one")
        alphabet, temperature = objective.alphabet, objective.temperature
        said = str(net.reading.get("tokens", "characters"))
        if said == "own" and isinstance(text, str):
            raise ValueError(
                "the text of this run was cut into symbols by a function of your own: pass the text as a list of symbols"
            )
        tokens, net = said if said in ("characters", "words") else "characters", net.net  # type: ignore[assignment]
    if alphabet is None:
        raise ValueError(
            "pass the alphabet of the network, alphabet=..., or the run that was fitted to a text"
        )
    ready(net)
    symbols = tuple(cut_text(text, tokens) if isinstance(text, str) else text)
    if not symbols:
        raise ValueError("the text is empty: there is nothing to read")
    where = next((p.device for p in net.parameters()), torch.device("cpu"))
    numbers = torch.from_numpy(symbols_of(list(symbols), alphabet).astype(np.int64))[None].to(where)
    return _Reading(
        net=net, symbols=symbols, numbers=numbers, alphabet=tuple(alphabet), temperature=temperature
    )


def _recurrent(net: nn.Module) -> list[str]:
    """The layers that carry a state, in order."""
    found = [name for name, module in net.named_modules() if isinstance(module, (nn.RNNBase, PeepholeLSTM))]
    if not found:
        raise ValueError("the network has no recurrent layer: name the layer whose units are to be shown")
    return found


def _layer(net: nn.Module, layer: str | None) -> str:
    if layer is None:
        return _recurrent(net)[-1]
    layer_named(net, layer)
    return layer


@torch.no_grad()
def _answers(reading: _Reading, names: list[str], of: str) -> tuple[dict[str, Tensor], Tensor]:
    """What each layer answers [L, H], and scores [L, K], on the CPU."""
    net, numbers = reading.net, reading.numbers
    body = net.body if isinstance(net, CharacterLM) else None
    if of == "cell":
        return _cells(net, body, numbers, names)
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    scores = []
    state: Any = None
    pieces = (
        numbers.split(PIECE, dim=1) if isinstance(body, Recurrent) and not body.bidirectional else [numbers]
    )
    for piece in pieces:
        with captured(net, lambda name, module: name in found) as calls:
            if len(pieces) == 1:
                scores.append(net(piece))
            else:
                assert isinstance(net, CharacterLM) and isinstance(body, Recurrent)
                h, state = body.advance(net.embed(piece), state)
                scores.append(net.head(h))
        _keep(found, calls, piece.shape[1])
    together = torch.cat(scores, dim=1)
    if (
        together.ndim != 3
        or together.shape[1] != numbers.shape[1]
        or together.shape[2] != len(reading.alphabet)
    ):
        raise ValueError(
            f"the network answers {list(together.shape)} to [1, {numbers.shape[1]}] symbols; expected a score for each of the "
            f"{len(reading.alphabet)} symbols of the alphabet at every position"
        )
    return {name: torch.cat(parts).float().cpu() for name, parts in found.items()}, together[0].float().cpu()


def _keep(found: dict[str, list[Tensor]], calls: list[Any], steps: int) -> None:
    last = {name: answered for name, _, _, answered in calls}
    for name, parts in found.items():
        if name not in last:
            raise ValueError(f"layer {name} is not called when the network answers: choose another one")
        value = last[name][0] if isinstance(last[name], tuple) else last[name]
        if not isinstance(value, Tensor) or value.ndim != 3 or steps not in value.shape[:2]:
            raise ValueError(
                f"layer {name} does not answer with one row a symbol, [1, L, H]: choose another one"
            )
        parts.append(value[0] if value.shape[0] == 1 else value[:, 0])


def _cells(net: nn.Module, body: Any, numbers: Tensor, names: list[str]) -> tuple[dict[str, Tensor], Tensor]:
    """The cells, through a tanh [L, H], read one symbol at a time."""
    if not isinstance(body, Recurrent) or body.bidirectional or not isinstance(net, CharacterLM):
        raise ValueError(
            "cells are shown of networks of character_lm with recurrent layers; of others take the output"
        )
    layers = [f"body.layers.{number}.0" for number in range(len(body.layers))]
    if missing := [name for name in names if name not in layers]:
        raise ValueError(f"layer {missing[0]} has no cell.{nearest(missing[0], layers)}")
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    scores, state = [], None
    for number in numbers.split(1, dim=1):
        h, state = body.advance(net.embed(number), state)
        scores.append(net.head(h))
        for name in names:
            left = state[layers.index(name)]
            if not isinstance(left, tuple):
                raise ValueError(f"layer {name} is no LSTM, so that it has no cell: take the output")
            found[name].append(left[1].reshape(1, -1).tanh())
    return {name: torch.cat(parts).float().cpu() for name, parts in found.items()}, torch.cat(scores, 1)[
        0
    ].float().cpu()


def _correlations(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Pearson's correlation [U] of each unit [L, U] with a property [L]; 0 for a unit that never changes."""
    centred, property = values - values.mean(axis=0), wanted - wanted.mean()
    spread = np.sqrt((centred**2).sum(axis=0) * (property**2).sum())
    return np.divide(property @ centred, spread, out=np.zeros(values.shape[1]), where=spread > 1e-12)


def _by_chance(values: np.ndarray, wanted: np.ndarray, seed: int) -> float:
    """The 95 % quantile, over shifts along the text, of the greatest absolute correlation."""
    generator = numpy_generator(seed, "find units")
    least = min(len(wanted) // 10, 100)
    shifts = generator.integers(least, max(len(wanted) - least, least + 1), SHIFTS)
    greatest = [np.abs(_correlations(values, np.roll(wanted, int(shift)))).max() for shift in shifts]
    return float(np.quantile(greatest, 0.95))
