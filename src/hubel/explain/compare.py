"""Which explanation to believe: several methods on the same images, held to the same measures, beside maps that know nothing.

Every method is scored by deletion, insertion, sensitivity-n and infidelity (and the pointing game, where it is known what is to be seen),
all with the same perturbations and the same baseline, and checked by randomizing the weights. The order is:

    1.  methods whose maps change when the weights are randomized, before those whose maps stay alike (rank correlation above 1/2)
    2.  by the number of measures in which they beat every map that knows nothing, by the interval of the paired difference
    3.  by their mean rank over the measures

No measure is the truth (they disagree, and put unnatural pictures before the network): a method that beats the controls in all of them
is worth more than one that wins a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.types import Attribution, Interval
from hubel.explain.controls import CONTROLS, controls
from hubel.explain.deletion_insertion import areas, deletion_curves, insertion_curves
from hubel.explain.infidelity import missed
from hubel.explain.pointing_game import pointing_game
from hubel.explain.question import Question, Scale, Target, untouched
from hubel.explain.randomization import model_randomization
from hubel.explain.sensitivity_n import correlations, mean_correlation
from hubel.explain.trust import Explainer, Trust, explained, judged

Progress = Callable[[int, int], None]
ALIKE = 0.5  # rank correlation with the map of a randomized network from which on a method is said not to show the network
REFUSALS = (ValueError, TypeError, NotImplementedError)
"""What a method raises that does not suit a network."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """One method: its measures by name, the check by randomization, and its mean rank."""

    method: str
    attribution: Attribution
    measures: Mapping[str, Trust]
    randomized: Trust | None
    rank: float

    @property
    def beaten(self) -> tuple[str, ...]:
        """The measures in which it beats every map that knows nothing."""
        return tuple(name for name, trust in self.measures.items() if trust.beats_all)

    @property
    def ignores_the_network(self) -> bool:
        """Whether its map hardly changes when the weights are randomized."""
        return self.randomized is not None and self.randomized.value.value > ALIKE

    @property
    def why(self) -> str:
        """In words."""
        num = len(self.measures)
        if self.ignores_the_network and self.randomized is not None:
            return (
                f"its map stays when the weights are randomized (rank correlation {self.randomized.value.value:.2f}): "
                "it does not show what the network has learned"
            )
        if not self.beaten:
            return f"no better than a map that knows nothing in any of {num} measures"
        left = [name for name in self.measures if name not in self.beaten]
        return f"better than maps that know nothing in {', '.join(self.beaten)}" + (
            f"; not in {', '.join(left)}" if left else ""
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Methods in the order in which they are to be believed; `refused` says why a method could not be used on this network."""

    judgements: tuple[Judgement, ...]
    refused: Mapping[str, str]
    images: int
    target: tuple[str, ...]

    @property
    def best(self) -> Judgement | None:
        """The method to believe first; None where none beats the controls in half of the measures."""
        for judgement in self.judgements:
            if not judgement.ignores_the_network and 2 * len(judgement.beaten) >= len(judgement.measures):
                return judgement
        return None

    @property
    def verdict(self) -> str:
        """What follows, in one sentence."""
        if self.best is not None:
            return f"believe {self.best.method} first: {self.best.why}"
        few = " More examples may tell." if self.images < 20 else ""
        return (
            f"none of these explanations beats maps that know nothing in half of the measures on {self._counted}: "
            f"believe none of them yet.{few}"
        )

    def __str__(self) -> str:
        if not self.judgements:
            lines = ["no method could be used on this network"]
            return "\n".join([*lines, *(f"{name}: {why}" for name, why in self.refused.items())])
        names = list(self.judgements[0].measures)
        columns = [*names, "alike, randomized", "seconds"]
        rows = [[j.method, *self._cells(j)] for j in self.judgements]
        first = self.judgements[0].measures[names[0]]
        for control in first.controls:
            rows.append(
                [control, *(_told(trust_of(self, name).controls.get(control)) for name in names), "", ""]
            )
        table = [["method", *(self._headed(name) for name in names), *columns[len(names) :]], *rows]
        widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        lines += ["", *(f"{place}. {j.method}: {j.why}" for place, j in enumerate(self.judgements, 1))]
        lines += [f"-  {name} can not be used here: {why}" for name, why in self.refused.items()]
        note = "* better than every map that knows nothing, by the 95 % interval of the paired difference"
        return "\n".join([*lines, "", f"{self._counted}. {note}", self.verdict])

    @property
    def _counted(self) -> str:
        return f"{self.images} example{'' if self.images == 1 else 's'}"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": self.images,
            "verdict": self.verdict,
            "believe": None if self.best is None else self.best.method,
            "methods": [
                {
                    "method": j.method,
                    "why": j.why,
                    "seconds": j.attribution.seconds,
                    "passes": j.attribution.passes,
                    "measures": {
                        name: {
                            "better": trust.better,
                            "value": trust.value.as_json(),
                            "controls": {c: v.as_json() for c, v in trust.controls.items()},
                            "gains": {c: v.as_json() for c, v in trust.gains.items()},
                        }
                        for name, trust in j.measures.items()
                    },
                    "randomized": None if j.randomized is None else j.randomized.value.as_json(),
                }
                for j in self.judgements
            ],
            "refused": dict(self.refused),
        }

    def _headed(self, name: str) -> str:
        return f"{name} {'↑' if trust_of(self, name).better == 'higher' else '↓'}"

    def _cells(self, judgement: Judgement) -> list[str]:
        cells = [f"{_told(t.value)}{'*' if t.beats_all else ''}" for t in judgement.measures.values()]
        alike = "" if judgement.randomized is None else _told(judgement.randomized.value)
        return [*cells, alike, f"{judgement.attribution.seconds:.2g}"]


def compare(
    net: nn.Module,
    x: Tensor | np.ndarray,
    methods: Mapping[str, Explainer] | Sequence[Explainer],
    *,
    target: Target = None,
    where: Any = None,
    of: Scale = "probability",
    baseline: float | Tensor = 0.0,
    samples: int = 50,
    randomize: bool = True,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Judge `methods` (functions, or names to functions) on inputs [N, ...] in network units. Print the answer.

    `of` is what deletion and insertion watch; sensitivity-n and infidelity, with `samples` perturbations, watch the score. `where` is what
    the pointing game needs. `randomize=False` leaves out the check by randomization, which explains each image once more.
    A method that refuses the network is listed with its reason.

    Raises `ValueError` where no methods are given, two have one name, or the question is wrong (see `Question`).

    >>> from hubel.core.types import Attribution
    >>> from hubel.explain.controls import centre_map
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).double()
    >>> def exact(net, x, target=None):
    ...     weights = net[1].weight[target].view(x.shape)
    ...     return Attribution(values=x * weights, method="exact", target=("",) * len(x), score=net(x)[:, 0])
    >>> found = compare(net, torch.randn(12, 1, 6, 6).double(), [exact, centre_map], samples=20)
    >>> found.judgements[0].method
    'exact'
    """
    named = named_methods(methods)
    with untouched(net):
        question = Question(net, x, target)
    x, target = question.x, question.target
    if not x.is_floating_point():
        raise TypeError(
            "methods are compared by changing values of the input, and x holds symbol numbers: pass the part of the network that begins behind "
            "the embedding, and the embedded symbols"
        )
    found: dict[str, tuple[Attribution, Trust | None]] = {}
    refused: dict[str, str] = {}
    for number, (name, method) in enumerate(named.items(), start=1):
        try:
            attribution = explained(net, x, method, target)
            randomized = None
            if randomize:  # all weights at once: where a cascade ends
                randomized = model_randomization(net, x, method, target=target, steps=1, seed=seed)
            found[name] = attribution, randomized
        except REFUSALS as error:
            refused[name] = str(error)
        if progress is not None:
            progress(number, len(named) + 1)
    maps = {name: attribution.values for name, (attribution, _) in found.items()}
    measures = _measured(net, x, target, maps, of, baseline, samples, where, batch_size, seed) if maps else {}
    if progress is not None:
        progress(len(named) + 1, len(named) + 1)
    mean_ranks = _mean_ranks(measures)
    judgements = [
        Judgement(method=name, attribution=a, measures=measures[name], randomized=r, rank=mean_ranks[name])
        for name, (a, r) in found.items()
    ]
    judgements.sort(key=lambda j: (j.ignores_the_network, -len(j.beaten), j.rank))
    return Comparison(
        judgements=tuple(judgements), refused=refused, images=len(x), target=tuple(question.names)
    )


def _measured(
    net: nn.Module,
    x: Tensor,
    target: Target,
    maps: Mapping[str, Tensor],
    of: Scale,
    baseline: float | Tensor,
    samples: int,
    where: Any,
    batch_size: int,
    seed: int,
) -> dict[str, dict[str, Trust]]:
    """Every measure of every method. All are held to the same perturbations, so these are made once, for the maps that know nothing too."""
    with untouched(net):
        watched, scored = Question(net, x, target, of=of), Question(net, x, target)
    zero = torch.as_tensor(baseline, dtype=x.dtype, device=x.device).expand(x.shape)
    all_maps = {**maps, **controls(x, seed=seed)}
    common: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    down, up = deletion_curves(watched, all_maps, **common), insertion_curves(watched, all_maps, **common)
    sums = correlations(scored, all_maps, zero, subsets=max(3, samples), **common)
    errors = missed(scored, all_maps, zero, samples=samples, **common)
    found: dict[str, dict[str, Trust]] = {}
    for name, values in maps.items():
        own_errors = {"": errors[name], **{c: errors[c] for c in CONTROLS if c in errors}}
        trusts = [
            areas("deletion", name, down, own=name, seed=seed),
            areas("insertion", name, up, own=name, seed=seed),
            mean_correlation(name, sums, own=name, seed=seed),
            judged("infidelity", name, "lower", own_errors, seed=seed),
        ]
        if where is not None:
            trusts.append(pointing_game(net, x, _Settled(name, values), where, target=target, seed=seed))
        found[name] = {trust.measure: trust for trust in trusts}
    return found


def named_methods(methods: Mapping[str, Explainer] | Sequence[Explainer]) -> dict[str, Explainer]:
    """Names to functions; raises `ValueError` where there are none, or two of one name."""
    if isinstance(methods, Mapping):
        named = dict(methods)
    else:
        words = [getattr(method, "__name__", type(method).__name__) for method in methods]
        if doubled := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(
                f"several methods are called {', '.join(doubled)}: pass a mapping of names to functions"
            )
        named = dict(zip(words, methods, strict=True))
    if not named:
        raise ValueError(
            "no methods are given: pass functions of hubel.explain, such as [saliency, occlusion]"
        )
    return named


def trust_of(comparison: Comparison, measure: str) -> Trust:
    """The first method's answer to a measure, whose controls are those of all."""
    return comparison.judgements[0].measures[measure]


class _Settled:
    """A map that was made already, as a function."""

    def __init__(self, name: str, values: Tensor):
        self.__name__, self.values = name, values

    def __call__(self, net: nn.Module, x: Tensor, *, target: Target = None) -> Attribution:
        score = torch.zeros(len(x), dtype=x.dtype)
        return Attribution(values=self.values, method=self.__name__, target=("",) * len(x), score=score)


def _mean_ranks(found: Mapping[str, Mapping[str, Trust]]) -> dict[str, float]:
    """Each method's mean place, 1 the best, over the measures."""
    names = list(found)
    if not names:
        return {}
    places = []
    for measure in found[names[0]]:
        trusts = [found[name][measure] for name in names]
        values = torch.tensor([t.value.value if t.better == "lower" else -t.value.value for t in trusts])
        places.append((values[:, None] > values).sum(1) + 1.0)
    mean = torch.stack(places).mean(0)
    return {name: float(place) for name, place in zip(names, mean, strict=True)}


def _told(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if np.isnan(interval.low):
        return f"{interval.value:.3g}"
    return f"{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]"
