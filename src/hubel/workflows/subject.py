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

from hubel.core.errors import nearest
from hubel.core.types import Prediction
from hubel.data import Series, read_like
from hubel.data.encoding import Encoding
from hubel.data.images import is_image
from hubel.fitting import Run
from hubel.nets.made import Published
from hubel.objectives import OwnTarget, PixelCrossEntropy
from hubel.workflows.predict import files_of
from hubel.workflows.recognize import published_input

Kind = Literal["pictures", "volumes", "series", "rows"]
KINDS: dict[int, Kind] = {5: "volumes", 4: "pictures", 3: "series", 2: "rows"}
TargetWord = str | int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network `net` in evaluation mode and examples: `x` [N, ...] as they enter it, `shown` [N, ...] as they were stored, `ids` [N].

    `classes` name its outputs, where they are classes or values with names; `features` those of rows and series. `read` makes a
    `Prediction` of raw scores. `columns` [E] say, of a table, to which feature each number that enters the network belongs; `written`
    [N][F] are its values in words.
    """

    net: nn.Module
    x: Tensor
    shown: np.ndarray
    ids: tuple[str, ...]
    classes: tuple[str, ...] | None
    read: Callable[[Tensor], Prediction]
    features: tuple[str, ...] | None = None
    columns: tuple[int, ...] | None = None
    written: tuple[tuple[str, ...], ...] | None = None
    per_pixel: bool = False

    @property
    def kind(self) -> Kind:
        """What the examples are."""
        if self.x.ndim not in KINDS:
            raise ValueError(
                f"examples of shape {list(self.x.shape[1:])} can not be explained from files: use hubel.explain in Python, on what enters the network"
            )
        return KINDS[self.x.ndim]

    def rows(self, chosen: slice) -> Subject:
        """Some of the examples."""
        written = None if self.written is None else self.written[chosen]
        return replace(
            self, x=self.x[chosen], shown=self.shown[chosen], ids=self.ids[chosen], written=written
        )


def subjects(
    known: Run | nn.Module, paths: Sequence[Path | str], *, most: int | None = None
) -> Iterator[Subject]:
    """The examples in files, at most `most` (evenly many of them), for a run or a network with published weights; series one by one, each at its own length.

    Raises `FileNotFoundError`, `UnreadableData` or `ValueError` where files can not be read as those of the network were, and `ValueError`
    for a network whose answers are not scores of classes or values.
    """
    if not paths:
        raise ValueError("no files are named: there is nothing to explain")
    if isinstance(known, Run):
        _refuse_other_questions(known)
        whole, lengths = _of_run(known, paths, most)
    else:
        whole, lengths = _of_published(known, paths, most), None
    if lengths is None:
        yield whole
        return
    for row in range(len(whole.x)):  # without padding, and so without lengths
        one, steps = whole.rows(slice(row, row + 1)), int(lengths[row])
        yield replace(one, x=one.x[:, :steps], shown=one.shown[:, :steps])


def target_of(subject: Subject, word: TargetWord) -> Any:
    """The target that a word means: a class or value by its name, an output by its number, or None for what the network answers.

    Of a network with a class for every pixel it is the mean score of the class over the picture.

    Raises `ValueError` with the nearest names where there is no such output.
    """
    names = subject.classes or ()
    if word is None:
        if subject.per_pixel:
            raise ValueError(
                f"this network answers a class for every pixel: say which one is to be explained, one of {', '.join(names[:20])}"
            )
        return None
    if str(word) in names:
        number = names.index(str(word))
    else:
        try:
            number = int(word)
        except ValueError:
            raise ValueError(f"there is no class {word!r}.{nearest(str(word), names)}") from None
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


def as_rows(subject: Subject, values: Tensor) -> Tensor:
    """Values [N, E] of what enters the network as values [N, F] of the columns of the table: what belongs to one column is added up."""
    if subject.columns is None:
        return values
    found = torch.zeros(len(values), subject.shown.shape[1], dtype=values.dtype, device=values.device)
    return found.index_add_(1, torch.tensor(subject.columns, device=values.device), values)


def _refuse_other_questions(run: Run) -> None:
    if isinstance(run.objective, OwnTarget):
        raise ValueError(
            f"{run.folder} was fitted to give its input back, so there is no class or value to explain: use hubel.explain in Python with "
            "target=lambda outputs: ..., one number an example"
        )
    if run.reading["kind"] == "image series":
        raise ValueError(
            f"{run.folder} was fitted to series of pictures, of which there is no figure: use hubel.explain in Python"
        )
    if run.reading["kind"] == "text":
        raise ValueError(
            f"{run.folder} was fitted to foretell a text: see what its units do with hubel explain {run.folder} --text FILE"
        )


def _of_run(run: Run, paths: Sequence[Path | str], most: int | None) -> tuple[Subject, np.ndarray | None]:
    """The examples of files as a run reads them, and the lengths of series."""
    reading, lengths = run.reading, None
    of_table = reading["kind"] == "table"
    found: list[Path] = [Path(p) for p in paths] if of_table else files_of(paths, reading)
    if all(is_image(path) for path in found):
        found = [found[k] for k in _evenly(len(found), most)]
    stored = read_like(found, reading)
    if isinstance(stored, Series):
        stored, lengths = stored.values, stored.lengths
    if len(stored) == 0:
        raise ValueError(f"{found[0]} has no examples: there is nothing to explain")
    ids = [str(path) for path in found]
    if len(ids) != len(stored):
        ids = [f"{found[0]}[{row}]" for row in range(len(stored))]
    some = _evenly(len(stored), most)
    stored, ids = stored[some], [ids[row] for row in some]
    lengths = None if lengths is None else lengths[some]
    steps = None if lengths is None else torch.from_numpy(np.array(lengths)).to(run.device)
    x = run.scaling(torch.from_numpy(np.array(stored)).to(run.device), steps)
    columns = reading.get("columns") if of_table else None
    data = run.about["data"]
    names = data.get("classes") or getattr(run.objective, "target_names", None)
    features = None if columns is None else tuple(str(column["header"]) for column in columns)
    if features is None and reading["kind"] == "series" and reading.get("channels"):
        features = tuple(map(str, reading["channels"]))
    subject = Subject(
        net=run.net,
        x=x,
        shown=np.asarray(stored),
        ids=tuple(ids),
        classes=None if names is None else tuple(map(str, names)),
        read=run.objective.read,
        features=features,
        columns=_columns_of(run.scaling),
        written=None if columns is None else _written(stored, columns),
        per_pixel=isinstance(run.objective, PixelCrossEntropy),
    )
    return subject, lengths


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
        classes=published.classes,
        read=lambda outputs: _as_classes(outputs, published.classes),
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
