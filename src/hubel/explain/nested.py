"""What torch's functions receive and answer: tensors within tuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Every tensor in a tree of tuples, lists and dicts.

    >>> [len(t) for t in tensors_in((torch.ones(2), {"weight": [torch.ones(3), None]}))]
    [2, 3]
    """
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for part in tree:
            yield from tensors_in(part)
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from tensors_in(part)


def mapped(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """`tree` (tuples, lists, dicts) with every leaf of `kind` changed.

    >>> mapped([1, ("a", 2)], int, lambda number: number * 10)
    [10, ('a', 20)]
    """
    if isinstance(tree, kind):
        return change(tree)
    if isinstance(tree, tuple) and type(tree) is not torch.Size:
        parts = [mapped(part, kind, change) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [mapped(part, kind, change) for part in tree]
    if type(tree) is dict:
        return {name: mapped(part, kind, change) for name, part in tree.items()}
    return tree
