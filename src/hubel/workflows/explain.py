"""`explain_files`: what a network saw in files, as a figure and as numbers. `compare_methods`: which explanation of them to believe."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from hubel.core import files
from hubel.core.types import Attribution, Prediction
from hubel.explain.compare import Comparison, compare
from hubel.explain.trust import Explainer
from hubel.fitting import Ensemble, Run, open_fitted
from hubel.workflows.display import Display
from hubel.workflows.subject import Kind, Subject, TargetWord, answered, as_rows, subjects, target_of
from hubel.workflows.suited import suited, word_of
from hubel.workflows.usual import explained_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST, MOST_COMPARED = 8, 40
FOLDER = "explained"


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainedFiles:
    """What was found (`attribution`, of a table by its columns), and the figure and the numbers on disk; `why` this method, where none was named."""

    attribution: Attribution
    figure: Path
    numbers: Path
    answers: tuple[dict[str, Any], ...]
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found = self.attribution
        return {
            "method": found.method,
            "figure": str(self.figure),
            "map": str(self.numbers),
            "passes": found.passes,
            "seconds": round(found.seconds, 4),
            "notes": list(found.notes),
            "why": self.why,
            "examples": list(self.answers),
        }


def explain_files(
    run: Run | Ensemble | Path | str | nn.Module,
    paths: Sequence[Path | str],
    method: Explainer | None = None,
    *,
    target: TargetWord = None,
    out: Path | str | None = None,
    most: int = MOST,
    device: str = "auto",
    quiet: bool = True,
) -> tuple[ExplainedFiles, ...]:
    """Explain what `run` (an ensemble, or a network with published weights) says of the examples in files, by `method` of `hubel.explain`.

    Without a method it is chosen by what is explained (`hubel.workflows.usual`). `target` is a class or value by name, an output by number, or
    a unit as LAYER:CHANNEL; by default what the network answers, for each example. Of an autoencoder the reconstruction error is explained,
    of a text what follows it, of an ensemble the mean of its members' scores. The figure `NAME-METHOD.png` and the raw map `NAME-METHOD.npz` are
    written into `out` (default: the folder `explained` of the run, or the present one).
    At most `most` examples are explained, all together; texts and series of different lengths one by one, with an answer each.

    Raises what `subjects` and `target_of` raise, `OSError` where nothing can be written, and what the method raises.

    >>> import hubel, tempfile
    >>> from hubel.explain import random_map
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     np.save(folder + "/new.npy", x[:2])
    ...     (found,) = explain_files(run, [folder + "/new.npy"], random_map)
    ...     print(found.figure.name, found.figure.exists(), found.attribution.values.shape)
    new-random_map.png True torch.Size([2, 3])
    """
    known = opened(run, device)
    folder = folder_for(known, out)
    written = []
    with Display(quiet=quiet) as display:
        parts = list(subjects(known, paths, most=most, target=target))
        for number, subject in enumerate(parts):
            wanted = target_of(subject, target)
            chosen, found, why = explained_by(method, subject, known, wanted, display)
            which = f"-{number}" if len(parts) > 1 else ""
            name = _safe(f"{_stem(subject.ids)}{which}-{word_of(chosen)}")
            written.append(_write(subject, found, folder, name, why))
    return tuple(written)


def compare_methods(
    run: Run | Ensemble | Path | str | nn.Module,
    paths: Sequence[Path | str],
    methods: Mapping[str, Explainer],
    *,
    target: TargetWord = None,
    out: Path | str | None = None,
    most: int = MOST_COMPARED,
    samples: int = 50,
    device: str = "auto",
    quiet: bool = True,
) -> tuple[Comparison, Path, Path | None]:
    """Judge several methods on the same examples (see `hubel.explain.compare`); the comparison, the path of its numbers (JSON), and that of
    a figure with the maps side by side, of pictures.

    Raises what `explain_files` raises, and `ValueError` for texts and for series of different lengths.
    """
    known = opened(run, device)
    folder = folder_for(known, out)
    parts = list(subjects(known, paths, most=most, target=target))
    subject = parts[0]
    if len(parts) > 1 and subject.kind != "texts":
        raise ValueError(
            "methods are compared on examples of one shape: these are series of different lengths, name one of them"
        )
    if subject.kind == "texts":
        raise ValueError(
            "methods are compared by changing values of the input a little, and a text has symbols: explain it by several methods instead, "
            "one after the other"
        )
    wanted = target_of(subject, target)
    with Display(quiet=quiet) as display:
        display.say(
            f"comparing {len(methods)} method{'' if len(methods) == 1 else 's'} on {subject.counted}{'' if len(subject.x) >= 20 else ': intervals need more, 20 or so'}"
        )
        began = time.monotonic()
        usable, unusable = {}, {}
        for name, method in methods.items():
            try:
                usable[name] = suited(method, subject, known)
            except ValueError as error:
                unusable[name] = str(error)

        def progress(done: int, total: int) -> None:
            what = "all measured" if done == total else f"{done} of {total - 1} methods asked"
            display.say(f"  {what}, {time.monotonic() - began:.0f} s")

        found = compare(
            subject.net,
            subject.x,
            usable,
            target=wanted,
            of="probability" if _has_probabilities(subject) else "score",
            samples=samples,
            progress=progress,
        )
    found = replace(found, refused={**found.refused, **unusable})
    name = _safe(f"{_stem(subject.ids)}-compared")
    numbers = folder / f"{name}.json"
    files.write_json(numbers, _finite(found.as_json()))
    drawn = None
    if subject.kind == "pictures" and found.judgements:
        from hubel.show.attribution import side_by_side

        titles = [_title(row, subject.kind) for row in _answers(subject, found.judgements[0].attribution)]
        ordered = {f"{k}. {j.method}": j.attribution for k, j in enumerate(found.judgements, 1)}
        drawn = folder / f"{name}.png"
        write_figure(side_by_side(ordered, subject.shown, titles=titles), drawn)
    return found, numbers, drawn


def opened(run: Run | Ensemble | Path | str | nn.Module, device: str = "auto") -> Run | Ensemble | nn.Module:
    """The run or ensemble in a folder; what is none of these as it is."""
    return open_fitted(run, device=device) if isinstance(run, (str, Path)) else run


def write_figure(figure: Figure, path: Path) -> None:
    """The figure as a PNG, whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    files.write_bytes(path, content.getvalue())


def write_numbers(path: Path, subject: Subject, found: Attribution) -> None:
    """`values`, `map`, `score`, `target` and what else an attribution has, with the names of the files, as `.npz`; of a table the values
    by column as `by_column`.
    """
    arrays: dict[str, Any] = {
        "values": _array(found.values),
        "map": _array(found.map),
        "score": _array(found.score),
        "target": np.array(found.target),
        "method": np.array(found.method),
        "files": np.array(subject.ids),
    }
    for name in ("baseline", "residual", "absorbed", "coarse"):
        value = getattr(found, name)
        if value is not None:
            arrays[name] = _array(value)
    if subject.symbols is not None:
        arrays["symbols"] = np.array(subject.symbols)
    if subject.columns is not None:
        arrays["by_column"] = _array(as_rows(subject, found.values))
        arrays["columns"] = np.array(subject.features or ())
    with files.replacing(path) as file:
        np.savez_compressed(file, **arrays)


def _write(subject: Subject, found: Attribution, folder: Path, name: str, why: str) -> ExplainedFiles:
    """The figure and the numbers of one attribution."""
    from hubel.show.attribution import attribution

    answers = _answers(subject, found)
    shown = _by_column(subject, found)
    figure = attribution(
        shown,
        subject.shown,
        titles=[_title(row, subject.kind) for row in answers],
        names=subject.features,
        values=subject.written,
        symbols=subject.symbols,
        planes="picture" if subject.kind == "films" else "plane",
        most=len(found),
    )
    drawn, numbers = folder / f"{name}.png", folder / f"{name}.npz"
    write_figure(figure, drawn)
    write_numbers(numbers, subject, found)
    return ExplainedFiles(attribution=shown, figure=drawn, numbers=numbers, answers=tuple(answers), why=why)


def _by_column(subject: Subject, found: Attribution) -> Attribution:
    """Of a table, what the numbers that enter the network did for the columns that they were made from."""
    if subject.columns is None:
        return found
    return replace(found, values=as_rows(subject, found.values), baseline=None)


def _has_probabilities(subject: Subject) -> bool:
    said = answered(subject)
    return said is not None and said.probabilities is not None


def _title(row: Mapping[str, Any], kind: Kind) -> str:
    """What is explained, and what else was answered."""
    follows = kind == "texts" and "probability" in row
    what = f"what follows: {row['target']}" if follows else str(row["target"])
    if "probability" in row:
        what = f"{what}, {_share(row['probability'])}"
    elif "value" in row:
        what = f"{what} = {row['value']:.4g}"
    else:
        what = f"{what}: {row['score']:.4g}"
    if row.get("class") not in (None, row["target"]):
        what += f" (answer: {row['class']})"
    return what


def _answers(subject: Subject, found: Attribution) -> list[dict[str, Any]]:
    """For each example the file, what is explained by its name, its score, its probability or value, and what the network answers."""
    prediction = answered(subject)
    rows = []
    targets = found.target
    if subject.inside:  # a unit, by the name that its layer has in the network itself
        targets = tuple(name.replace(f" of {subject.inside}.", " of ", 1) for name in targets)
    for k, (file, name) in enumerate(zip(subject.ids, targets, strict=True)):
        row: dict[str, Any] = {"file": file, "target": name, "score": float(found.score[k])}
        number = re.fullmatch(r"(?:\S+ of )?output (\d+)", name)
        if number is not None:
            row |= _said(subject, prediction, k, int(number[1]))
        if found.residual is not None:
            row["residual"] = float(found.residual[k])
        rows.append(row)
    return rows


def _said(subject: Subject, prediction: Prediction | None, k: int, number: int) -> dict[str, Any]:
    """What output `number` is called, its probability or value for example `k`, and the class that is answered."""
    names = subject.classes or ()
    shares = None if prediction is None else prediction.probabilities
    if prediction is None or shares is None:
        found: dict[str, Any] = {"target": names[number]} if number < len(names) else {}
        if prediction is None:
            return found
        value = np.atleast_2d(prediction.values.reshape(len(subject.x), -1))[k]
        return found | ({"value": float(value[number])} if number < len(value) else {})
    one_score = prediction.values.ndim == 1 and shares.shape[1] == 2 and subject.num_outputs == 1
    column = 1 if one_score and number == 0 else number  # a single score speaks for the second class
    found = {"target": names[column]} if column < len(names) else {}
    found["probability"] = float(shares[k, column])
    if prediction.values.ndim == 1:
        answer = int(prediction.values[k])
        found["class"] = names[answer] if names else str(answer)
    return found


def folder_for(known: Run | Ensemble | nn.Module, out: Path | str | None) -> Path:
    """Where to; made where it is not there yet, and refused at once where it can not be written into."""
    folder = Path() if isinstance(known, nn.Module) else known.folder / FOLDER
    folder = folder if out is None else Path(out)
    files.refuse_unwritable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _stem(ids: Sequence[str]) -> str:
    """A name for the files: that of the first example, and how many others there are."""
    names = [
        re.sub(r" ?\[[\d:, ]+\]$", "", str(one)) for one in ids
    ]  # without the row of an array, or the place of a tile
    first, others = names[0], len(set(names)) - 1
    return f"{Path(first).stem}{f'-and-{others}-more' if others else ''}"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "explained"


def _share(value: float) -> str:
    percent = 100 * value
    return (
        f"{percent:.1f} %" if 0.1 <= percent <= 99.9 else f"{percent:.2g} %" if percent < 0.1 else "> 99.9 %"
    )


def _array(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()


def _finite(value: Any) -> Any:
    """`value` with null for what JSON has no number for."""
    return json.loads(json.dumps(value), parse_constant=lambda word: None)
