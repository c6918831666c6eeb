"""What is explained: a network and examples, read and scaled as the network's own were, with the names of all that it sees and says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.errors import nearest
from hubel.core.types import Prediction
from hubel.data import Series, read_like
from hubel.data.encoding import Encoding
from hubel.data.images import is_image
from hubel.data.text import cut_text, read_text, symbols_of
from hubel.explain import Unit
from hubel.explain.question import untouched
from hubel.fitting import Ensemble, Run
from hubel.fitting.ensemble import mean_prediction
from hubel.nets.made import Published
from hubel.objectives import Adversarial, Detection, LogLikelihood, NextSymbol, OwnTarget, PixelCrossEntropy
from hubel.objectives.real_values import RealValues
from hubel.objectives.reconstruction import GivesBack
from hubel.workflows.asked_networks import INSIDE, Members, asked_network
from hubel.workflows.layers import unit_in
from hubel.workflows.predict import files_of
from hubel.workflows.predict_boxes import finds_objects, pictures_in, tile_with
from hubel.workflows.recognize import published_input

Kind = Literal["pictures", "volumes", "films", "series", "rows", "texts"]
KINDS: dict[int, Kind] = {5: "volumes", 4: "pictures", 3: "series", 2: "rows"}
WORDS: dict[Kind, tuple[str, str]] = {
    "pictures": ("picture", "pictures"),
    "volumes": ("volume", "volumes"),
    "films": ("series of pictures", "series of pictures"),
    "series": ("series", "series"),
    "rows": ("row", "rows"),
    "texts": ("text", "texts"),
}
ONE_NUMBER: tuple[tuple[type[OwnTarget], str], ...] = (
    (GivesBack, "reconstruction error"),
    (LogLikelihood, "log likelihood"),
    (Adversarial, "discriminator's score"),
)
"""What is said of examples that are their own target."""
TargetWord = str | int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network `net` in evaluation mode and examples: `x` [N, ...] as they enter it, `shown` [N, ...] as they were stored, `ids` [N].

    `net` answers scores [N, K] (or masks), whatever the network of the run answers; that one lies in it under the name `inside` ("": it is
    itself). `classes` name its outputs, where they are classes or values with names; `features` those of rows and series. `answer` makes a
    `Prediction` of `x`, None where the network says neither classes nor values; `values` is how many values it says, 0 where it says classes.
    `columns` [E] say, of a table, to which feature each number that enters the network belongs; `written` [N][F] are its values in words.
    `symbols` [N][L] are those of texts.
    """

    net: nn.Module
    x: Tensor
    shown: np.ndarray
    ids: tuple[str, ...]
    kind: Kind
    classes: tuple[str, ...] | None
    answer: Callable[[Tensor], Prediction] | None
    features: tuple[str, ...] | None = None
    columns: tuple[int, ...] | None = None
    written: tuple[tuple[str, ...], ...] | None = None
    symbols: tuple[tuple[str, ...], ...] | None = None
    per_pixel: bool = False
    values: int = 0
    inside: str = ""

    @property
    def counted(self) -> str:
        """How many examples there are, in words."""
        num, (one, several) = len(self.x), WORDS[self.kind]
        return f"{num:,} {one if num == 1 else several}"

    @property
    def num_outputs(self) -> int:
        """How many scores the network answers."""
        with untouched(self.net), torch.no_grad():
            return int(self.net(self.x[:1]).shape[1])

    def rows(self, chosen: slice) -> Subject:
        """Some of the examples."""
        written = None if self.written is None else self.written[chosen]
        return replace(
            self, x=self.x[chosen], shown=self.shown[chosen], ids=self.ids[chosen], written=written
        )


def subjects(
    known: Run | Ensemble | nn.Module,
    paths: Sequence[Path | str],
    *,
    most: int | None = None,
    target: TargetWord = None,
) -> Iterator[Subject]:
    """The examples in files, at most `most` (evenly many of them), for a run, an ensemble (the mean of its members' scores) or a network with
    published weights. Series and texts come one by one, each at its own length; of a text the last symbols, as many as a window had in training.
    Of a picture that is larger than those to which a detector was fitted the tile with its surest object comes (of the class `target`, if it is one).

    Raises `FileNotFoundError`, `UnreadableData` or `ValueError` where files can not be read as those of the network were.
    """
    if not paths:
        raise ValueError("no files are named: there is nothing to explain")
    if isinstance(known, nn.Module):
        yield _of_published(known, paths, most)
        return
    runs = known.finished_members() if isinstance(known, Ensemble) else (known,)
    if any(run.scaling != runs[0].scaling for run in runs):
        raise ValueError(
            f"the members of {known.folder} scale their inputs differently, so that there is no map of their mean: name the folder of one"
        )
    if runs[0].reading["kind"] == "text":
        yield from _of_texts(runs, paths, most)
        return
    whole, lengths = _of_runs(runs, paths, most, target)
    if lengths is None:
        yield _laid(whole)
        return
    for row in range(len(whole.x)):  # without padding, and so without lengths
        one, steps = whole.rows(slice(row, row + 1)), int(lengths[row])
        yield _laid(replace(one, x=one.x[:, :steps], shown=one.shown[:, :steps]))


def target_of(subject: Subject, word: TargetWord) -> Any:
    """The target that a word means: a class or value by its name, an output by its number, a unit as LAYER:CHANNEL, or None for what the
    network answers.

    Of a network with a class for every pixel it is the mean score of the class over the picture, of a text the symbol that follows it.

    Raises `ValueError` with the nearest names where there is no such output or layer, and where a network says several values and none is named.
    """
    names = subject.classes or ()
    if word is None:
        return _own_answer(subject)
    if str(word) not in names and (unit := _unit(subject, str(word))) is not None:
        return unit
    if str(word) in names:
        number = names.index(str(word))
    else:
        try:
            number = int(word)
        except ValueError:
            kind = "value" if subject.values else "class"
            raise ValueError(f"there is no {kind} {word!r}.{nearest(str(word), names)}") from None
        if names and not 0 <= number < len(names):
            raise ValueError(
                f"target {number} is out of range: the network has {len(names)} outputs, 0 to {len(names) - 1} ({', '.join(names[:20])})"
            )
    if not subject.per_pixel:
        return number

    def mean_score(outputs: Tensor) -> Tensor:
        return outputs[:, number].flatten(1).mean(1)

    mean_score.__name__ = f"mean score of {names[number] if number < len(names) else number}"
    return mean_score


@torch.no_grad()
def answered(subject: Subject) -> Prediction | None:
    """What the network answers to the examples; None where that is neither a class nor a value."""
    if subject.answer is None or subject.per_pixel:
        return None
    with untouched(subject.net):
        return subject.answer(subject.x)


def _own_answer(subject: Subject) -> Any:
    """What is explained where nothing is named."""
    names = subject.classes or ()
    if subject.per_pixel:
        raise ValueError(
            f"this network answers a class for every pixel: say which one is to be explained, one of {', '.join(names[:20])}"
        )
    if subject.values > 1:
        known = ", ".join(names[:20]) if names else f"0 to {subject.values - 1}"
        raise ValueError(
            f"this network answers {subject.values} values: say which one is to be explained, one of {known}"
        )
    if subject.values == 1:  # where an uncertainty is said as well, it is another output
        return 0
    if isinstance(subject.net, Members) and (said := answered(subject)) is not None:
        shares = said.probabilities
        if shares is not None and shares.ndim == 2 and shares.shape[1] == subject.num_outputs:
            return torch.from_numpy(shares.argmax(1)).to(subject.x.device)
    return None


def _unit(subject: Subject, word: str) -> Unit | None:
    """The unit LAYER:CHANNEL of the network itself, by its name in the one that asks it."""
    if ":" not in word:
        return None
    if isinstance(subject.net, Members):
        raise ValueError(
            f"target {word!r} names a unit, and every member has its own: name the folder of one member"
        )
    unit = unit_in(subject.net.get_submodule(subject.inside), word)
    if unit is None:
        return None
    layer = f"{subject.inside}.{unit.layer}" if subject.inside else unit.layer
    return replace(unit, layer=layer, steps_first=_has_steps_first(subject, layer))


@torch.no_grad()
def _has_steps_first(subject: Subject, layer: str) -> bool:
    """Whether a layer of a network of series or texts answers steps before channels, [N, L, C], as recurrent layers do."""
    if subject.kind not in ("series", "texts"):
        return False
    with untouched(subject.net), captured(subject.net, lambda name, module: name == layer) as calls:
        subject.net(subject.x[:1])
    answered = [found[0] if isinstance(found, tuple) else found for *_, found in calls]
    steps, module = subject.x.shape[1], subject.net.get_submodule(layer)
    if not answered or not isinstance(answered[-1], Tensor) or answered[-1].ndim != 3:
        return False
    return answered[-1].shape[1] == steps and not isinstance(module, nn.Conv1d)


def as_rows(subject: Subject, values: Tensor) -> Tensor:
    """Values [N, E] of what enters the network as values [N, F] of the columns of the table: what belongs to one column is added up."""
    if subject.columns is None:
        return values
    found = torch.zeros(len(values), subject.shown.shape[1], dtype=values.dtype, device=values.device)
    return found.index_add_(1, torch.tensor(subject.columns, device=values.device), values)


def _of_runs(
    runs: Sequence[Run], paths: Sequence[Path | str], most: int | None, target: TargetWord
) -> tuple[Subject, np.ndarray | None]:
    """The examples of files as the first of runs reads them, and the lengths of series."""
    run, lengths = runs[0], None
    reading = run.reading
    of_table = reading["kind"] == "table"
    found: list[Path] = [Path(p) for p in paths] if of_table else files_of(paths, reading)
    if all(is_image(path) for path in found):
        found = [found[k] for k in _evenly(len(found), most)]
    if finds_objects(run):
        stored, ids = _tiles(run, found, target)
    else:
        stored, ids = read_like(found, reading), [str(path) for path in found]
    if isinstance(stored, Series):
        stored, lengths = stored.values, stored.lengths
    if len(stored) == 0:
        raise ValueError(f"{found[0]} has no examples: there is nothing to explain")
    if len(ids) != len(stored):
        ids = [f"{found[0]}[{row}]" for row in range(len(stored))]
    some = _evenly(len(stored), most)
    stored, ids = stored[some], [ids[row] for row in some]
    lengths = None if lengths is None else lengths[some]
    steps = None if lengths is None else torch.from_numpy(np.array(lengths)).to(run.device)
    x = run.scaling(torch.from_numpy(np.array(stored)).to(run.device), steps)
    if x.ndim not in KINDS:
        raise ValueError(
            f"examples of shape {list(x.shape[1:])} can not be explained from files: use hubel.explain in Python, on what enters the network"
        )
    columns = reading.get("columns") if of_table else None
    features = None if columns is None else tuple(str(column["header"]) for column in columns)
    if features is None and reading["kind"] in ("series", "forecast") and reading.get("channels"):
        features = tuple(map(str, reading["channels"]))
    subject = Subject(
        **_asked(runs),
        x=x,
        shown=np.asarray(stored),
        ids=tuple(ids),
        kind="films" if reading["kind"] == "image series" else KINDS[x.ndim],
        features=features,
        columns=_columns_of(run.scaling),
        written=None if columns is None else _written(stored, columns),
    )
    return subject, lengths


def _tiles(run: Run, paths: Sequence[Path], target: TargetWord) -> tuple[np.ndarray, list[str]]:
    """What a detector looks at in each picture [n, C, H, W], in the size of the fit; and how it is called: a tile by its rows and columns."""
    reading = run.reading
    if (reading.get("boxes") or {}).get("resized"):
        return read_like(list(paths), reading), [str(path) for path in paths]  # type: ignore[return-value]
    names = (*(getattr(run.objective, "classes", None) or ()),)
    numbers = tuple(map(str, range(run.objective.num_outputs)))
    kind = next((words.index(str(target)) for words in (names, numbers) if str(target) in words), None)
    tiles, ids = [], []
    for path in paths:
        pictures = pictures_in(path, reading)
        for row, pixels in enumerate(pictures):
            name = str(path) if len(pictures) == 1 else f"{path}[{row}]"
            try:
                tile, (y, x) = tile_with(run, pixels, reading, kind)
            except ValueError as error:
                raise ValueError(
                    f"{name} is larger than what the network was fitted to, and {error}"
                ) from error
            tiles.append(tile)
            large = pixels.shape[1] > tile.shape[1] or pixels.shape[2] > tile.shape[2]
            ids.append(f"{name} [{y}:{y + tile.shape[1]}, {x}:{x + tile.shape[2]}]" if large else name)
    return np.stack(tiles), ids


def _of_texts(runs: Sequence[Run], paths: Sequence[Path | str], most: int | None) -> Iterator[Subject]:
    """The last window of each text."""
    run = runs[0]
    tokens, alphabet = run.reading["tokens"], run.reading["alphabet"]
    if tokens == "own":
        raise ValueError(
            f"the text of {run.folder} was cut into symbols by a function of your own: use hubel.explain in Python, on the numbers of symbols"
        )
    for path in [paths[k] for k in _evenly(len(paths), most)]:
        symbols = list(cut_text(read_text(path), tokens))[-int(run.reading["shape"][0]) :]
        if not symbols:
            raise ValueError(f"{path} is empty: there is nothing to explain")
        numbers = symbols_of(symbols, alphabet).astype(np.int64)[None]
        yield Subject(
            **_asked(runs),
            x=torch.from_numpy(numbers).to(run.device),
            shown=numbers,
            ids=(str(path),),
            kind="texts",
            symbols=(tuple(symbols),),
        )


def _asked(runs: Sequence[Run]) -> dict[str, Any]:
    """The network that is asked, of one run or of several, and what its answers mean."""
    objective = runs[0].objective
    nets = [asked_network(run) for run in runs]
    names = runs[0].about["data"].get("classes") or getattr(objective, "target_names", None)
    if isinstance(objective, NextSymbol):
        names = objective.alphabet
    elif isinstance(objective, OwnTarget):
        names = (next((name for kind, name in ONE_NUMBER if isinstance(objective, kind)), "score"),)

    def answer(x: Tensor) -> Prediction:
        said = [_said_by(run, net(x)) for run, net in zip(runs, nets, strict=True)]
        return said[0] if len(said) == 1 else mean_prediction(said)

    return {
        "net": nets[0] if len(nets) == 1 else Members(nets).eval(),
        "inside": INSIDE if len(nets) == 1 and nets[0] is not runs[0].net else "",
        "classes": None if names is None else tuple(map(str, names)),
        "answer": None if isinstance(objective, OwnTarget) else answer,
        "per_pixel": isinstance(objective, PixelCrossEntropy),
        "values": objective.num_values if isinstance(objective, RealValues) else 0,
    }


def _said_by(run: Run, scores: Tensor) -> Prediction:
    objective = run.objective
    if isinstance(objective, Detection):
        shares = scores.float().cpu().sigmoid().numpy()
        return Prediction(values=shares.argmax(1), probabilities=shares, classes=objective.classes)
    if not isinstance(objective, NextSymbol):
        return objective.read(scores.float().cpu())
    shares = (scores.float().cpu() / objective.temperature).softmax(dim=1).numpy()
    return Prediction(values=shares.argmax(1), probabilities=shares, classes=objective.alphabet)


def _laid(subject: Subject) -> Subject:
    """Films [N, T, C, H, W] as volumes [N, C, T, H, W]; all else as it is."""
    if subject.kind != "films":
        return subject
    return replace(subject, x=subject.x.transpose(1, 2).contiguous(), shown=np.swapaxes(subject.shown, 1, 2))


def _of_published(net: nn.Module, paths: Sequence[Path | str], most: int | None) -> Subject:
    """Photographs for a network with published weights."""
    published: Published | None = getattr(net, "published", None)
    if published is None or published.mean is None or published.std is None:
        raise ValueError(
            "this network has no published weights that say how pictures enter it: name a run, or pass tensors to hubel.explain in Python"
        )
    found = [Path(p) for p in paths]
    if absent := [str(p) for p in found if not os.path.exists(p)]:
        raise FileNotFoundError(f"{absent[0]} does not exist")
    found = files_of(found, {"kind": "images"})
    found = [found[k] for k in _evenly(len(found), most)]
    where = next(net.parameters()).device
    x = torch.stack([published_input(path, published) for path in found])
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (published.mean, published.std))
    shown = ((x * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return Subject(
        net=net.eval(),
        x=x.to(where),
        shown=shown,
        ids=tuple(map(str, found)),
        kind="pictures",
        classes=published.classes,
        answer=lambda x: _as_classes(net(x), published.classes),
    )


def _evenly(num: int, most: int | None) -> list[int]:
    """At most so many of `num` places, evenly from the first to the last."""
    if most is None or num <= most:
        return list(range(num))
    return np.linspace(0, num - 1, most).astype(int).tolist()


def _as_classes(outputs: Tensor, classes: tuple[str, ...] | None) -> Prediction:
    shares = outputs.detach().float().softmax(dim=1).cpu().numpy()
    return Prediction(values=shares.argmax(1), probabilities=shares, classes=classes)


def _columns_of(scaling: Any) -> tuple[int, ...] | None:
    """For each number that enters the network the column of the table that it was made from."""
    if not isinstance(scaling, Encoding):
        return None
    gaps = [place for place, share in zip(scaling.numbers, scaling.gaps, strict=True) if share >= 0]
    return (*scaling.numbers, *gaps, *(c.place for c in scaling.categories for _ in range(c.columns)))


def _written(stored: np.ndarray, columns: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    """The values of a table in words: numbers, levels, or "missing"."""

    def word(value: float, column: Any) -> str:
        if np.isnan(value):
            return "missing"
        if column["kind"] != "category":
            return f"{value:.4g}"
        levels = column["levels"]
        return str(levels[int(value)]) if 0 <= int(value) < len(levels) else "another"

    return tuple(tuple(word(float(v), c) for v, c in zip(row, columns, strict=True)) for row in stored)
