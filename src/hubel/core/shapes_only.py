"""Networks made for their shapes alone, on torch's meta device, where tensors have no values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, what is made has shapes and no values.

    >>> with shapes_only():
    ...     layer = torch.nn.init.normal_(torch.nn.Linear(2, 3).weight)
    >>> layer.device.type, tuple(layer.shape)
    ('meta', (3, 2))
    """
    with torch.device("meta"), _NoNormal():
        yield


class _NoNormal(TorchFunctionMode):
    """Filling with normal numbers is left out: on the meta device torch takes its compiler in for it, which needs two seconds and more."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)
