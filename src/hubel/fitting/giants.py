"""A network as large as its checkpoints at most: a run folder from a stranger can ask for any size, memory follows from what is on the disk.

Nothing is allocated before: numbers and lists are looked at as they stand in `run.json`, the network is then made on torch's meta device,
which has shapes but no numbers, and how many layers it gets there is counted while they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from hubel.core.errors import DamagedRun
from hubel.core.shapes_only import shapes_only

LEAST = 2**16  # of anything, which the smallest run may ask for
FEW = 2_048  # layers and their weights
BYTES_EACH = 64  # of a checkpoint, at the least, for a layer or a weight: it names each, in several places


def refuse_giant(about: Path, arguments: Any, checkpoints: Path, make: Callable[[], nn.Module]) -> None:
    """Raise `DamagedRun` where the file `about` asks, by the `arguments` with which `make` makes a network, for one far larger than what
    the folder `checkpoints` holds.
    """
    held = sum(path.stat().st_size for path in checkpoints.glob("*") if path.is_file())
    changed = f"but the checkpoints hold {held:,} bytes: it was changed, or belongs to another run"
    largest, entries = _largest(arguments), _entries(arguments)
    if largest > max(held, LEAST):
        raise DamagedRun(f"{about} asks for a network with {largest:,} of something, {changed}")
    most = FEW + held // BYTES_EACH
    if entries > most:
        raise DamagedRun(f"{about} asks for a network by {entries:,} numbers, {changed}")
    with (
        shapes_only(),
        _at_most(most, f"{about} asks for a network of more than {most:,} layers, {changed}"),
    ):
        asked = make().state_dict().values()
    size = sum(value.numel() * value.element_size() for value in asked)
    if size > 2 * held + 2**20:
        raise DamagedRun(
            f"{about} asks for a network of {size / 1e6:,.0f} MB, but the checkpoints hold {held / 1e6:,.1f} MB: "
            "it was changed, or belongs to another run"
        )


@contextmanager
def _at_most(most: int, otherwise: str) -> Iterator[None]:
    """Inside, modules may be given so many layers and weights; with one more, `DamagedRun` says `otherwise`."""
    left = most

    def count(module: nn.Module, name: str, given: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise DamagedRun(otherwise)

    hooks = (
        register_module_module_registration_hook(count),
        register_module_parameter_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _largest(value: Any) -> int:
    """The largest whole number in the arguments of a network."""
    return max((one for one in _leaves(value) if isinstance(one, int)), default=0)


def _entries(value: Any) -> int:
    """How many numbers and words the arguments of a network have."""
    return sum(1 for _ in _leaves(value))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield value
