"""Run folders: where they go, what `run.json` says, and what of it is shown on the screen."""

from __future__ import annotations

import copy
import datetime
import json
import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hubel.core import files, names, random
from hubel.core.version import VERSION
from hubel.data import Dataset
from hubel.data.boxes import CLASS, NO_OBJECT
from hubel.data.forecasting import words_of_forecast
from hubel.fitting import EarlyStopping, Run, codec, machine
from hubel.fitting.about import FORMAT, read_about
from hubel.nets.made import is_as_made
from hubel.workflows.display import Display
from hubel.workflows.prepare import Prepared

if TYPE_CHECKING:
    from hubel.workflows.deciding import Setting

ENOUGH = 1_000  # examples from which the loss before learning is known well, where they are their own target


def new_folder(out: Path | str | None, name: str) -> Path:
    """A new run folder: `out`, or runs/DATE-NAME-N with the next free N.

    Raises `FileExistsError` where `out` holds something already, `OSError` where it can not be made or written.
    """
    if out is not None:
        refuse_taken(out)
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    word = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "data"
    day = datetime.date.today().isoformat()
    for number in range(1, 10_000):
        folder = Path("runs") / f"{day}-{word}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"runs/{day}-{word}-1 to -9999 all exist: name another folder with --out")


def refuse_taken(out: Path | str) -> None:
    """Raise `FileExistsError` where `out` holds something already."""
    folder = Path(out)
    if (folder / "run.json").exists():
        if files.is_locked(folder):
            raise FileExistsError(
                f"{folder} is a run that another process writes at this moment: name another folder"
            )
        raise FileExistsError(
            f"{folder} is a run already: go on with hubel resume {shlex.quote(str(folder))}, or name another folder"
        )
    if (folder / ".lock").exists() and (folder / "checkpoints" / "manifest.json").exists():
        began = "is beginning in another process" if files.is_locked(folder) else "was killed before it began"
        raise FileExistsError(
            f"{folder} holds a run that {began} (it has no run.json): remove it, or name another folder"
        )
    if folder.exists() and (
        not folder.is_dir() or any(entry.name not in (".lock", ".lock.owner") for entry in folder.iterdir())
    ):
        raise FileExistsError(f"{folder} exists and is not empty: name another folder")


def write_start(
    folder: Path, setting: Setting, *, loading: dict[str, Any], command: str, groups: np.ndarray | None = None
) -> None:
    """`split.npz`, then `run.json` with everything that was decided. `groups` [N] are those that the data do not have themselves."""
    prepared = setting.prepared
    content = {name: np.asarray(rows) for name, rows in prepared.rows.items()}
    if groups is not None:
        content["groups"] = groups if groups.dtype.kind in "biufU" else groups.astype(np.str_)
    with files.replacing(folder / "split.npz") as file:
        np.savez_compressed(file, **content)  # type: ignore[arg-type]
    about = {
        "format": FORMAT,
        "name": folder.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "hubel": VERSION,
        "versions": machine.versions(),
        "machine": machine.describe(setting.device),
        "device": str(setting.device),
        "status": "running",
        "stopped": "",
        "loading": names.describe(loading),
        "data": about_data(prepared),
        "split": {"how": prepared.how, "seed": setting.recipe.seed, "sha256": prepared.split_sha256},
        "net": about_net(setting.net),
        "objective": names.describe(setting.objective),
        "expected_initial_loss": _expected_initial_loss(setting),
        "preprocessing": names.describe(prepared.scaling),
        "recipe": names.describe(setting.recipe),
        "reasons": setting.reasons,
        "precision": setting.measured,
        "resumed": 0,
        "test_looks": 0,
    }
    files.write_json(folder / "run.json", about)


def update(folder: Path, **changes: Any) -> None:
    """Replace some entries of `run.json`."""
    about = read_about(folder)
    files.write_json(folder / "run.json", about | names.describe(changes))


def keep_curves(folder: Path, *, before_epoch: int) -> None:
    """Drop the lines of epochs that will be run again."""
    rows = [row for row in files.read_lines(folder / "curves.jsonl") if row.get("epoch", 0) < before_epoch]
    files.write_text(folder / "curves.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def about_data(prepared: Prepared) -> dict[str, Any]:
    """The data card."""
    whole = prepared.whole
    return {
        "name": whole.name,
        "source": whole.source,
        "examples": len(whole),
        "shape": list(whole.shape),
        "dtype": str(whole.inputs.dtype),
        "ragged": whole.lengths is not None,
        "classes": None if whole.classes is None else list(whole.classes),
        "own_target": whole.is_its_own_target,
        "masks": whole.has_masks,
        "boxes": whole.has_boxes,
        "target_names": names.describe(whole.target_names),
        "units": names.describe(whole.units),
        "channels": names.describe(whole.channels),
        "counts": {name: prepared.part(name).class_counts() for name in prepared.rows},
        "sizes": {name: len(rows) for name, rows in prepared.rows.items()},
        "fingerprint": whole.fingerprint,
        "notes": list(whole.notes),
        "symmetries": sorted(whole.symmetries),
        "duplicates": dict(prepared.duplicates),
        "reading": names.describe(dict(whole.reading)),
        "memory_mapped": isinstance(whole.inputs, np.memmap),
    }


def about_net(net: nn.Module) -> dict[str, Any]:
    """How the network was made, or what it is where that is not ours to know."""
    parameters = sum(p.numel() for p in net.parameters())
    made: Any = getattr(net, "made_by", None) if is_as_made(net) else None
    if made is None:
        return {
            "name": None,
            "class": f"{type(net).__module__}.{type(net).__qualname__}",
            "parameters": parameters,
        }
    about = {"name": made.name, "arguments": names.describe(dict(made.arguments)), "parameters": parameters}
    published = getattr(net, "published", None)
    if published is not None:
        about["weights"] = {
            "name": published.name,
            "title": published.title,
            "file": published.file,
            "notes": names.describe(published.notes),
        }
    return about


def fresh_net(run: Run, seed: int) -> nn.Module:
    """The network of `run` with the initial weights that follow from the seed, or that an installed package holds; those that the run
    began with where neither gives them (a network of the user's own, a fitted backbone, or weights from a file).
    """
    made = run.about["net"]
    published = (made.get("weights") or {}).get("name")
    fitted = (made.get("arguments") or {}).get("backbone") is not None
    if made.get("name") is None or fitted or ("weights" in made and published != "imagenet"):
        net = copy.deepcopy(
            run.blank_net()
        )  # raises where a network of the user's own was not passed, with the remedy
        codec.assign(net.state_dict(), run.checkpoints.read(("start",)).trees["start"], "network")
        return net
    run.refuse_giant()
    with random.torch_seeded(seed, "initial weights"):
        net = names.rebuild_net(made["name"], made["arguments"])
    weights = made.get("weights") or {}
    if weights.get("name") == "imagenet":  # the word for an installed package, never a path from a file
        make = names.find(made["name"])
        with random.torch_seeded(seed, "initial weights"):
            net = make(**names.rebuild(made["arguments"]), weights="imagenet")
    return net.double() if run.precision.dtype == "float64" else net


def show_data(display: Display, prepared: Prepared) -> None:
    """What was found."""
    whole = prepared.whole
    rows = {"examples": f"{len(whole):,} of {_shape(whole)}, {_depth(whole.inputs.dtype)}"}
    if whole.alphabet is not None:
        rows["examples"] = f"{len(whole):,} windows of {_shape(whole)} symbols"
        rows["symbols"] = f"{len(whole.alphabet):,}: {_symbols(whole.alphabet)}"
    rows |= _columns(whole)
    if whole.has_masks:
        counts = whole.class_counts()
        labelled = sum(counts.values()) / math.prod(whole.targets.shape)
        rows["classes"] = f"{len(counts)}, by pixels: {_counts(counts)}"
        if labelled < 1:
            rows["classes"] += f"; {1 - labelled:.1%} of the pixels are not labelled"
    elif whole.has_boxes:
        counts = whole.class_counts()
        empty = int((np.asarray(whole.targets)[:, :, CLASS] == NO_OBJECT).all(axis=1).sum())
        rows["objects"] = (
            f"{sum(counts.values()):,} of {len(counts)} class{'' if len(counts) == 1 else 'es'}: {_counts(counts)}"
        )
        if empty:
            rows["objects"] += f"; {empty:,} pictures without any"
    elif whole.classes is not None:
        rows["classes"] = f"{len(whole.classes)}: {_counts(whole.class_counts())}"
    elif whole.is_its_own_target:
        rows["targets"] = "the examples themselves" + (
            "" if whole.labels is None else " (labels are only shown)"
        )
    elif whole.alphabet is not None and whole.targets.ndim == 2:
        rows["targets"] = "at every position the symbol that follows"
    else:
        targets = np.asarray(whole.targets, np.float64).reshape(len(whole), -1)
        names = whole.target_names or ("",) * targets.shape[1]
        units = whole.units or ("",) * targets.shape[1]
        if (forecast := words_of_forecast(whole)) is not None:  # one range for all steps ahead
            num = len(whole.reading["target_columns"])
            targets, units = targets.reshape(-1, num), units[:num]
            names = [name.rpartition(" +")[0] for name in names[:num]]
        told = [
            f"{name} from {low:.4g} to {high:.4g} {unit}".strip()
            for name, unit, low, high in zip(names, units, targets.min(0), targets.max(0), strict=True)
        ]
        what = "real values" if forecast is None else forecast.rpartition(" of ")[0]
        rows["targets"] = f"{what}: {', '.join(told[:10])}{', …' if len(told) > 10 else ''}"
    sizes = ", ".join(f"{len(r):,} {name}" for name, r in prepared.rows.items())
    rows["parts"] = f"{sizes} ({prepared.how})"
    for number, note in enumerate(whole.notes):
        rows["notes" if number == 0 else " " * (number + 1)] = note
    if prepared.duplicates.get("sentence"):
        rows["duplicates"] = str(prepared.duplicates["sentence"])
    display.facts(f"Found: {whole.name}", rows)


def _shape(data: Dataset) -> str:
    """The size of one example in words."""
    if data.kind not in ("series", "image series"):
        return " × ".join(map(str, data.shape))
    least = data.shape[0] if data.lengths is None else int(data.lengths.min())
    steps = f"{least:,} to {data.shape[0]:,}" if least < data.shape[0] else f"{least:,}"
    features = f"{data.shape[1]} feature{'' if data.shape[1] == 1 else 's'}"
    each = features if len(data.shape) == 2 else f"pictures of {' × '.join(map(str, data.shape[1:]))}"
    return f"{steps} steps, {each}"


def _columns(whole: Dataset) -> dict[str, str]:
    """The columns of a table."""
    if whole.reading.get("kind") != "table":
        return {}
    kinds: dict[str, list[str]] = {}
    for column in whole.reading["columns"]:
        kinds.setdefault(column["kind"], []).append(column["name"])
    words = {
        "number": ("number", "numbers"),
        "yes/no": ("yes/no", "yes/no"),
        "category": ("category", "categories"),
    }
    told = [
        f"{len(names):,} {words[kind][len(names) > 1]} ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})"
        for kind, names in kinds.items()
    ]
    return {"columns": "; ".join(told)}


def show_choices(display: Display, setting: Setting) -> None:
    """What was chosen, and why."""
    recipe, why = setting.recipe, setting.reasons
    made = about_net(setting.net)
    rows = {
        "network": f"{names.net_word(made)}, {made['parameters']:,} parameters" + _because(why.get("net")),
        "objective": type(setting.objective).__name__ + _because(why.get("objective")),
    }
    for name in (
        "epochs",
        "batch_size",
        "optimizer",
        "schedule",
        "max_grad_norm",
        "augmentation",
        "average",
        "early_stopping",
        "precision",
    ):
        if name in ("max_grad_norm", "early_stopping") and getattr(recipe, name) is False:
            continue
        value = getattr(recipe, name)
        text = ", ".join(type(v).__name__ for v in value) if isinstance(value, tuple) else str(value)
        text = type(value).__name__ if name in ("optimizer", "schedule") else text
        reason = why.get(name, "")
        if isinstance(value, EarlyStopping):
            text = f"after {value.patience} epochs that are no better"
        text = "none" if value is False else text
        rows[name.replace("_", " ")] = (
            reason
            if name == "precision" and reason not in ("", "given")
            else (text or "none") + _because(reason)
        )
    display.facts("Chosen:", rows)


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason and reason != "default" else ""


def _depth(dtype: np.dtype) -> str:
    kinds = {"u": "unsigned whole numbers", "i": "whole numbers", "f": "floating numbers"}
    return f"{8 * dtype.itemsize}-bit {kinds.get(dtype.kind, str(dtype))}"


def _symbols(alphabet: tuple[str, ...], most: int = 60) -> str:
    """The symbols in order, as Python writes what can not be seen."""
    shown = [
        repr(s)[1:-1] if not s.isprintable() or s.isspace() or len(s) > 1 else s for s in alphabet[:most]
    ]
    return " ".join(shown) + (" …" if len(alphabet) > most else "")


def _counts(counts: dict[str, int]) -> str:
    if len(set(counts.values())) == 1 and len(counts) > 2:
        return f"{', '.join(list(counts)[:12])}{', …' if len(counts) > 12 else ''} ({next(iter(counts.values())):,} each)"
    shown = [f"{name} {n:,}" for name, n in list(counts.items())[:12]]
    return ", ".join(shown) + (", …" if len(counts) > 12 else "")


def _expected_initial_loss(setting: Setting) -> float | None:
    train = setting.prepared.part("train")
    targets = np.array(train.targets[:ENOUGH] if train.is_its_own_target else train.targets)
    value = setting.objective.expected_initial_loss(torch.from_numpy(targets))
    return float(value) if np.isfinite(value) else None
