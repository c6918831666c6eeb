"""The layers of a run or network by name: what they are, what they answer, and the units in them."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from hubel.core.capture import captured
from hubel.core.errors import nearest
from hubel.explain import Unit
from hubel.explain.question import untouched
from hubel.fitting import Run


def layers(known: Run | nn.Module) -> list[dict[str, Any]]:
    """A dict a layer: its name, kind, parameters of its own and below it, and the shape of what it answers for one example, where it is called."""
    net = known.net if isinstance(known, Run) else known
    shapes: dict[str, list[int]] = {}
    example = example_of(known)
    if example is not None:
        with untouched(net), torch.no_grad(), captured(net) as calls:
            net(example)
        for name, _, _, answered in calls:
            value = answered[0] if isinstance(answered, tuple) and answered else answered
            if isinstance(value, Tensor):
                shapes[name] = list(value.shape[1:])
    return [
        {
            "layer": name,
            "kind": type(module).__name__,
            "parameters": sum(p.numel() for p in module.parameters()),
            "answers": shapes.get(name),
        }
        for name, module in net.named_modules()
        if name
    ]


def tree(known: Run | nn.Module, most: int = 80) -> str:
    """The layers as a tree, a line each."""
    rows = layers(known)
    lines = []
    for row in rows[:most]:
        depth = row["layer"].count(".")
        shape = "" if row["answers"] is None else "  → " + " × ".join(map(str, row["answers"]))
        counted = f"  {row['parameters']:,}" if row["parameters"] else ""
        lines.append(f"{'  ' * depth}{row['layer']}  {row['kind']}{counted}{shape}")
    if len(rows) > most:
        lines.append(f"… and {len(rows) - most} more (hubel explain RUN --layers)")
    return "\n".join(lines)


def layer_of(known: Run | nn.Module, word: str) -> str:
    """The layer of this name; raises `ValueError` with the nearest names and the tree of layers."""
    net = known.net if isinstance(known, Run) else known
    names = [name for name, _ in net.named_modules() if name]
    if word not in names:
        close = nearest(word, names).split(" There are:")[0]
        raise ValueError(f"the network has no layer {word!r}.{close} Its layers:\n{tree(known)}")
    return word


def unit_of(known: Run | nn.Module, word: str) -> Any:
    """The target that a word means: "LAYER:CHANNEL" or "LAYER:CHANNEL:ROW,COLUMN" a unit; else a class by name, or an output by number.

    Raises `ValueError` where it means nothing.
    """
    unit = unit_in(known, word)
    if unit is not None:
        return unit
    names = classes_of(known)
    if word in names:
        return names.index(word)
    if not word.isdigit():
        raise ValueError(
            f"unit {word!r} is not understood; expected LAYER:CHANNEL such as conv2:5, a class, or an output's number.{nearest(word, names)}"
        )
    return int(word)


def unit_in(known: Run | nn.Module, word: str) -> Unit | None:
    """The unit that "LAYER:CHANNEL" or "LAYER:CHANNEL:ROW,COLUMN" names; None for words that do not look like that.

    Raises `ValueError` for a layer that does not exist.
    """
    match = re.fullmatch(r"(?P<layer>[^:]+):(?P<channel>\d+)(?::(?P<position>\d+(?:,\d+)*))?", word)
    if match is None:
        return None
    at = None if match["position"] is None else tuple(map(int, match["position"].split(",")))
    return Unit(layer=layer_of(known, match["layer"]), channel=int(match["channel"]), position=at)


def example_of(known: Run | nn.Module) -> Tensor | None:
    """Two examples of zeros as they would enter the network; None where their shape is not known."""
    if isinstance(known, Run):
        stored = torch.zeros(
            2, *known.scaling.shape, dtype=getattr(torch, known.scaling.dtype, torch.float32)
        )
        return known.scaling(stored.to(known.device))
    shape = inputs_of(known)
    where = next(known.parameters())
    return None if shape is None else torch.zeros(2, *shape, device=where.device, dtype=where.dtype)


def inputs_of(known: Run | nn.Module) -> tuple[int, ...] | None:
    """The shape of one example as it enters the network."""
    if isinstance(known, Run):
        found = example_of(known)
        assert found is not None
        return tuple(found.shape[1:])
    shape = getattr(known, "inputs", None)
    made = getattr(known, "made_by", None)
    if shape is None and made is not None:
        shape = made.arguments.get("inputs")
    return tuple(shape) if isinstance(shape, (tuple, list)) else None


def has_steps_first(run: Run) -> bool:
    """Whether examples enter the network as steps [L, F]."""
    return run.reading["kind"] in ("series", "forecast")


def classes_of(known: Run | nn.Module) -> tuple[str, ...]:
    """The names of the outputs, where these are classes, or values with names."""
    if isinstance(known, Run):
        return tuple(
            known.about["data"].get("classes") or getattr(known.objective, "target_names", None) or ()
        )
    return getattr(getattr(known, "published", None), "classes", None) or ()
