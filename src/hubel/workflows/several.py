"""Several runs in one folder: fitted one after the other, and gone on with where that was interrupted.

    FOLDER/ensemble.json (or folds.json)   what was asked for, and the scores of each run and of all
    FOLDER/member-1, member-2, …           ordinary run folders
    FOLDER/predictions.npz, report.html    of all together

The same call with the same `out` goes on: finished runs are kept, an interrupted one is resumed, the others are begun.
"""

from __future__ import annotations

import copy
import datetime
import json
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hubel.core import files, names
from hubel.core.version import VERSION
from hubel.data import Dataset
from hubel.fitting import Recipe, Run
from hubel.fitting.ensemble import ENSEMBLE, FOLDS, FORMAT, read_several
from hubel.nets.made import is_as_made
from hubel.objectives import Objective
from hubel.workflows import choices, folders, ranks
from hubel.workflows.deciding import NetMaker
from hubel.workflows.display import Display
from hubel.workflows.fit import _command, _place

KINDS = {ENSEMBLE: "ensemble", FOLDS: "cross-validation"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The words of a call, as far as they can be written down: those that another call has to repeat to go on."""

    number: int
    data: str
    seed: int
    net: Any
    objective: Objective | None
    recipe: Recipe
    more: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """Plain JSON."""
        made = folders.about_net(self.net) if isinstance(self.net, nn.Module) else None
        words = {**vars(self), "net": made} | {
            "more": {k: v for k, v in self.more.items() if k != "like" and v is not None}
        }
        return json.loads(json.dumps({name: names.describe(value) for name, value in words.items()}))


def begin(
    out: Path | str | None,
    file: str,
    *,
    name: str,
    asked: dict[str, Any],
    source: Any,
    options: Mapping[str, Any] | None,
) -> Path:
    """The folder of several runs: a new one, or one that was begun with the same words.

    Raises `ValueError` where it was begun with others, `FileExistsError` where it holds something else.
    """
    if ranks.number_of_processes() > 1:
        raise ValueError(f"{_an(KINDS[file])} is fitted by one process: start it without torchrun")
    if out is not None and (Path(out) / file).exists() and not any(Path(out).glob("*/run.json")):
        _abandon(Path(out), file)  # killed before anything began
    if out is not None and (Path(out) / file).exists():
        known, asked = (_flat(words) for words in (read_several(Path(out) / file)["asked"], asked))
        other = [word for word in {**known, **asked} if asked.get(word) != known.get(word)]
        if other:
            told = "; ".join(
                f"{word} was {_short(known.get(word))}, now {_short(asked.get(word))}" for word in other[:5]
            )
            raise ValueError(
                f"{out} holds {_an(KINDS[file])} that was begun with other words ({told}): repeat them to go on, or name another folder"
            )
        return Path(out)
    folder = folders.new_folder(out, name)
    about = {
        "format": FORMAT,
        "kind": KINDS[file],
        "name": folder.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "hubel": VERSION,
        "status": "running",
        "stopped": "",
        "asked": asked,
        "loading": names.describe({"source": _place(source), "options": dict(options or {})}),
        "runs": [],
    }
    files.write_json(folder / file, about)
    return folder


def fit_each(
    folder: Path,
    file: str,
    tasks: Mapping[str, Callable[[Path, Sequence[Run]], Run]],
    *,
    go_on: Callable[[Path], Run],
    display: Display,
) -> list[Run]:
    """Every run of `tasks` (the name of its folder, and what fits it, given the runs before it) in order, up to the first that did not finish."""
    runs: list[Run] = []
    for number, (name, fit_one) in enumerate(tasks.items(), start=1):
        place = folder / name
        display.say(f"{name.partition('-')[0].capitalize()} {number} of {len(tasks)}")
        if (place / "run.json").exists():
            run = go_on(place)
        else:
            _clear(place)
            try:
                run = fit_one(place, runs)
            except BaseException:
                if (
                    not runs and not (place / "run.json").exists()
                ):  # refused before the first step: nothing was begun
                    _abandon(folder, file)
                raise
        runs.append(run)
        update(folder, file, runs=[_row(run) for run in runs], stopped="")
        if run.status != "finished":
            stopped = f"{run.stopped}, in {name}"
            update(folder, file, stopped=stopped)
            display.say(
                f"All {len(tasks)} runs are gone on with by:\n  hubel resume {shlex.quote(str(folder))}"
            )
            break
    return runs


def update(folder: Path, file: str, **changes: Any) -> None:
    """Replace some entries of `ensemble.json` or `folds.json`."""
    files.write_json(folder / file, read_several(folder / file) | names.describe(changes))


def write_report(folder: Path, display: Display) -> None:
    """`report.html` of all runs together."""
    from hubel.show import report

    files.write_text(folder / "report.html", report(folder))
    display.say(f"Runs:   {folder}\nReport: {folder / 'report.html'}")


def own_net(place: Path, net: nn.Module | NetMaker | None, data: Dataset) -> nn.Module | None:
    """The user's own network for the run in this folder, which only the user's `net` can make; none where hubel makes it."""
    known = Run(place, device="cpu")
    if known.about["net"].get("name") is not None or net is None:
        return None
    return (
        copy.deepcopy(net)
        if isinstance(net, nn.Module)
        else choices.made_net(net, data, known.objective.num_outputs, 0)
    )


def is_own(net: nn.Module | NetMaker | None) -> bool:
    """Whether `net` is a module that hubel can not make again."""
    return isinstance(net, nn.Module) and not is_as_made(net)


def _row(run: Run) -> dict[str, Any]:
    return {
        "folder": run.folder.name,
        "seed": run.recipe.seed,
        "status": run.status,
        "stopped": run.stopped,
        "sizes": run.about["data"]["sizes"],
        "seconds": run.about.get("seconds"),
        "test": run.test,
    }


def _clear(place: Path) -> None:
    """Remove what a run left that was killed before it began: initial weights and a split, and nothing else."""
    if not place.exists():
        return
    held = {entry.name for entry in place.iterdir()}
    if not held <= {".lock", "checkpoints", "split.npz"}:
        raise FileExistsError(
            f"{place} holds {', '.join(sorted(held)[:5])}, but no run: name another folder, or remove it"
        )
    shutil.rmtree(place)


def _abandon(folder: Path, file: str) -> None:
    """Remove a folder in which nothing was begun."""
    for place in folder.iterdir():
        if place.is_dir():
            _clear(place)
    for name in (file, ".lock"):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _flat(words: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested words by their dotted names.

    >>> _flat({"seed": 1, "recipe": {"epochs": 2}})
    {'seed': 1, 'recipe.epochs': 2}
    """
    found: dict[str, Any] = {}
    for name, value in words.items():
        found |= (
            _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
        )
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _an(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
