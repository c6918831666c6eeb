"""Nested values with tensors, as one safetensors file, and back: layouts, ties, lists and tuples kept; nothing is unpickled.

The tensors stand in the file under running numbers; the tree around them is JSON in the file's metadata. A tensor that is
channels-last (or any other dense permutation) is stored in its memory order with the permutation, so that it comes back in
the same layout. Two names of one tensor are stored once and come back as one tensor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

FORMAT = "hubel-tree-1"


def encode(tree: Any) -> bytes:
    """`tree` (dicts with text keys, lists, tuples, tensors, numbers, text, booleans, None) as the bytes of a safetensors file.

    Equal trees give equal bytes (hence a single entry of metadata: safetensors writes several in any order).
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _skeleton(tree, tensors, {}, set())
    return safetensors.torch.save(tensors, metadata={FORMAT: json.dumps(skeleton)})


def decode(path: Path | str) -> Any:
    """The tree in the file at `path`. Raises `ValueError` where it is not one of ours, or not whole."""
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            ours = FORMAT in metadata
            # copied: what is mapped would change with the file
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()} if ours else {}  # noqa: SIM118 - not a dict
        if ours:
            return _tree(json.loads(metadata[FORMAT]), tensors, {})
    except NOT_WHOLE as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}") from error
    raise ValueError(f"{path} is a safetensors file, but not a checkpoint of format {FORMAT}")


NOT_WHOLE = (safetensors.SafetensorError, LookupError, AttributeError, TypeError, ValueError, RuntimeError)
"""What a file that was cut, changed or made up can raise on its way to a tree."""


def _skeleton(
    value: Any, tensors: dict[str, Tensor], known: dict[tuple[Any, ...], str], storages: set[int]
) -> Any:
    if isinstance(value, Tensor):
        return _tensor_entry(value.detach(), tensors, known, storages)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(
                f"a checkpoint's keys must be text; received {[k for k in value if not isinstance(k, str)][:3]}"
            )
        return {"dict": {key: _skeleton(item, tensors, known, storages) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_skeleton(item, tensors, known, storages) for item in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise TypeError(f"a checkpoint can not hold a {type(value).__name__}")


def _tensor_entry(
    value: Tensor, tensors: dict[str, Tensor], known: dict[tuple[Any, ...], str], storages: set[int]
) -> Any:
    tie = (value.device, value.data_ptr(), tuple(value.shape), value.stride(), value.dtype)
    if tie in known and value.numel():
        return {"tensor": known[tie], "order": _memory_order(value)}
    name = str(len(tensors))
    known[tie] = name
    order = _memory_order(value)
    stored = value if order is None else value.permute(order)
    stored = stored.cpu().contiguous()
    if stored.untyped_storage().data_ptr() in storages and stored.numel():
        stored = stored.clone()  # another view of the same memory: safetensors wants each its own
    storages.add(stored.untyped_storage().data_ptr())
    tensors[name] = stored
    return {"tensor": name, "order": order}


def _memory_order(value: Tensor) -> list[int] | None:
    """The permutation that makes a dense tensor contiguous; None where it is contiguous, or not dense."""
    if value.is_contiguous():
        return None
    order = sorted(range(value.ndim), key=lambda axis: (-value.stride(axis), value.shape[axis] == 1, axis))
    return order if value.permute(order).is_contiguous() else None


def _tree(skeleton: Any, tensors: dict[str, Tensor], made: dict[tuple[Any, ...], Tensor]) -> Any:
    ((kind, content),) = ((k, v) for k, v in skeleton.items() if k != "order")
    if kind == "value":
        return content
    if kind == "dict":
        return {key: _tree(item, tensors, made) for key, item in content.items()}
    if kind in ("list", "tuple"):
        items = [_tree(item, tensors, made) for item in content]
        return items if kind == "list" else tuple(items)
    order = skeleton["order"]
    key = (content, None if order is None else tuple(order))
    if key not in made:
        stored = tensors[content]
        made[key] = (
            stored if order is None else stored.permute([order.index(axis) for axis in range(len(order))])
        )
    return made[key]


def assign(target: Mapping[str, Tensor], source: Mapping[str, Tensor], what: str) -> None:
    """Copy `source` into the tensors of `target` in place, keeping their layout; names and shapes must agree.

    Raises `ValueError` where they do not, or where `source` holds something other than real numbers.
    """
    if not isinstance(source, Mapping) or not all(
        isinstance(v, Tensor) and not v.is_complex() for v in source.values()
    ):
        raise ValueError(
            f"the stored {what} is no set of tensors of real numbers: it was damaged, or written by something else"
        )
    missing, extra = sorted(set(target) - set(source)), sorted(set(source) - set(target))
    wrong = [n for n in target if n in source and target[n].shape != source[n].shape]
    if missing or extra or wrong:
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for kind, names in (("missing", missing), ("unknown", extra), ("of another shape", wrong))
            if names
        ]
        raise ValueError(
            f"the stored {what} does not fit this network: {'; '.join(parts)}. Pass the network that was fitted."
        )
    with torch.no_grad():
        for name, value in target.items():
            value.copy_(source[name])
