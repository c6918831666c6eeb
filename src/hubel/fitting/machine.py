"""What this machine is: for records, for the key of measured settings, and for limits."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hubel.core.version import VERSION


def device_of(device: str | torch.device) -> torch.device:
    """The word auto means the CUDA GPU where there is one, else the CPU; Apple's, on which nothing was tried yet, has to be asked for.

    Raises `ValueError` for a word that is not known, and for a device that is not here.
    """
    if str(device) != "auto":
        try:
            found = torch.device(device)
        except RuntimeError:
            found = None
        if found is None or found.type not in KINDS:
            raise ValueError(
                f'device {str(device)!r} is not known; expected "auto", "cpu", "cuda", "cuda:1" or "mps"'
            )
        if not is_here(found):
            raise ValueError(f"device {str(device)!r} is not here: {_devices_here()}")
        return found
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


KINDS = ("cpu", "cuda", "mps", "xpu")


def is_here(device: torch.device) -> bool:
    """Whether this machine, with this torch, has the device."""
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        return False
    return True


def _devices_here() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count:
        return f"there are cpu and {', '.join(f'cuda:{k}' for k in range(count))}"
    built = "" if torch.backends.cuda.is_built() else " (this torch was built without CUDA)"
    return f"torch finds no GPU{built}. Say cpu, or leave the device out"


def device_again(about: Mapping[str, Any], asked: str) -> tuple[torch.device, str]:
    """The device on which the run of `about` (its `run.json`) goes on, and a sentence where its bits will not be those of an uninterrupted run.

    The word auto means the device on which it began. Raises `ValueError` where that is not here: the user decides whether to go on elsewhere.
    """
    began, name = str(about.get("device") or "auto"), str(about.get("machine", {}).get("device", ""))
    if asked != "auto" or began == "auto":
        device = device_of(asked)
    else:
        try:
            device = device_of(began)
        except ValueError as error:
            raise ValueError(
                f"the run {about.get('name', '')} began on {began} ({name}), which is not here. On another device its weights would not be, bit by bit, those of "
                f'an uninterrupted run; to go on all the same, say which: device="cpu" (--device cpu)'
            ) from error
    here, other = describe(device), []
    then = about.get("machine", {})
    if then.get("device") not in (None, here["device"]):
        other.append(f"on {then['device']}, and goes on on {here['device']}")
    elif device.type == "cpu" and then.get("processor") not in (None, here["processor"]):
        other.append(f"on a {then['processor']}, and goes on on a {here['processor']}")
    if (torch_then := about.get("versions", {}).get("torch")) not in (None, torch.__version__):
        other.append(f"with torch {torch_then}, and goes on with {torch.__version__}")
    if not other:
        return device, ""
    return device, (
        f"The run began {'; '.join(other)}: it ends with weights like those of an uninterrupted run, but not the same bit by bit."
    )


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's own name, as far as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Physical memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def describe(device: torch.device) -> dict[str, Any]:
    """The machine for `run.json`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "device": name,
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    return {
        "hubel": VERSION,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Torch computes with `count` threads inside, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
