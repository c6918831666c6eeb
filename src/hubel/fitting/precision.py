"""Which number format, memory layout and thread count is fastest *here*, for this network and batch, among those that are right.

Nothing is assumed: bf16 convolutions are twice as fast on some processors, sixteen times slower on others, and on a few shapes
wrong (pytorch issues 163347, 169688, 183815). Each candidate's forward and backward pass is compared with float32 on one real
batch (outputs within 2 % relative, cosine of the whole gradient at least 0.99), then timed; the fastest that passes is taken,
written down, and remembered in the user's cache by machine, torch, network and shapes.

A deep network that was just made amplifies any rounding. There bf16 passes where the network deviates as far when nothing but its
weights and inputs are rounded (within a factor of 8 in the square), and where every layer by itself is right (see `layerwise`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hubel.core import files, random
from hubel.core.layout import arrange_filters, arranged
from hubel.core.types import Batch
from hubel.fitting import layerwise, machine
from hubel.fitting.loop import ObjectiveCall
from hubel.fitting.machine import threads

OUTPUTS_WITHIN = 0.02
COSINE_AT_LEAST = 0.99
LAYERS_WITHIN = 0.02
AMPLIFIED = 8.0  # times the squared deviation that rounding weights and inputs makes: layers round their results and gradients too
DTYPES = ("float32", "bfloat16", "float64")
LAYOUTS = ("contiguous", "channels_last")
MOST_THREADS = 1024  # torch dies without a word of a hundred thousand
SHARE = 0.02  # of the predicted run, for probing


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How the arithmetic is done. Weights and optimizer keep float32 (or the network's own float64) whatever `dtype` is.

    `dtype` is the number format of the forward and backward pass.
    `layout` is the order of images [N, C, H, W] and volumes [N, C, D, H, W] in memory.
    `threads` is how many torch computes with on the CPU.

    Raises `ValueError` for an unknown word, or for threads that are not 1 to 1024.

    >>> print(Precision(dtype="bfloat16", threads=4))
    bfloat16, contiguous, 4 threads
    """

    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    layout: Literal["contiguous", "channels_last"] = "contiguous"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or self.layout not in LAYOUTS:
            raise ValueError(
                f"precision {self.dtype!r}, {self.layout!r} is not known; expected one of {', '.join(DTYPES)}, and {' or '.join(LAYOUTS)}"
            )
        if not isinstance(self.threads, int) or not 1 <= self.threads <= MOST_THREADS:
            raise ValueError(f"threads is {self.threads!r}; expected a whole number from 1 to {MOST_THREADS}")

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context of forward passes."""
        if self.dtype != "bfloat16":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def place(self, net: nn.Module, device: torch.device) -> nn.Module:
        """`net` on the device, in the layout."""
        net = net.to(device)
        return arrange_filters(net, self.layout) if self.layout == "channels_last" else net

    def arrange(self, inputs: Tensor) -> Tensor:
        """`inputs` in the layout."""
        return arranged(inputs, self.layout)

    def __str__(self) -> str:
        return f"{self.dtype}, {self.layout.replace('_', ' ')}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One candidate: seconds for one forward and backward pass, and how far from float32 (None where it is float32 itself)."""

    precision: Precision
    seconds: float
    output_error: float | None = None
    gradient_cosine: float | None = None
    refused: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "precision": str(self.precision),
            "milliseconds": None if (ms := _known(self.seconds)) is None else round(ms * 1e3, 3),
            "output_error": _known(self.output_error),
            "gradient_cosine": _known(self.gradient_cosine),
            "refused": self.refused,
            "note": self.note,
        }


def _known(value: float | None) -> float | None:
    """None where a format went so wrong that there is no number: JSON has none for it."""
    return value if value is not None and math.isfinite(value) else None


def all_threads(dtype: Literal["float32", "bfloat16", "float64"]) -> Precision:
    """`dtype` with all processors and the layout that images usually like."""
    return Precision(dtype=dtype, layout="channels_last", threads=_all_threads(torch.device("cpu")))


def probe(
    net: nn.Module, objective: ObjectiveCall, batch: Batch, *, seconds: float, device: torch.device
) -> tuple[Precision, list[Measured], str]:
    """The fastest right `Precision` for this work, all that was measured, and a sentence that says why.

    `seconds` bounds the probing itself; candidates for which no time is left are not tried. A remembered answer is not timed
    again, but compared with float32 again: the network may have other code or weights under the same name.
    """
    base = Precision(dtype=_own_dtype(net), threads=_all_threads(device))
    remembered = files.user_cache() / "precision" / f"{_key(net, batch, device)}.json"
    reference = _Trial(net, objective, batch, base, device)
    if (known := _recall(remembered)) is not None:
        again = (
            known == base or not _compared(_Trial(net, objective, batch, known, device), reference).refused
        )
        if again:
            return (
                known,
                [],
                f"{known}: measured before on this machine, for this network and batch ({remembered.name})",
            )
    began = time.perf_counter()
    measured = [Measured(precision=base, seconds=reference.time())]
    complete = True
    for candidate in _candidates(base, device, batch):
        if time.perf_counter() - began > seconds:
            complete = False
            break
        measured.append(_measure(net, objective, batch, candidate, device, reference))
    best = min((m for m in measured if not m.refused), key=lambda m: m.seconds)
    alone = Precision(dtype=best.precision.dtype, layout=best.precision.layout, threads=1)
    if base.threads > 1 and time.perf_counter() - began < seconds:
        measured.append(_measure(net, objective, batch, alone, device, reference))
        best = min((m for m in measured if not m.refused), key=lambda m: m.seconds)
    if complete:
        with suppress(OSError):
            remembered.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(remembered, vars(best.precision))
    return best.precision, measured, _why(best, measured[0], complete)


class _Trial:
    """A copy of the network under one candidate, with its outputs and gradient on the batch."""

    def __init__(
        self,
        net: nn.Module,
        objective: ObjectiveCall,
        batch: Batch,
        precision: Precision,
        device: torch.device,
    ):
        self.precision, self.objective, self.device = precision, objective, device
        self.net = precision.place(copy.deepcopy(net), device).train()
        self.batch = replace(batch, inputs=precision.arrange(batch.inputs))
        self._known: tuple[Tensor, Tensor] | None = None

    def gradient(self) -> tuple[Tensor, Tensor]:
        """Outputs, and the whole gradient as one vector; dropout modules rest, since layouts order their draws differently."""
        if self._known is None:
            self._known = self._gradient()
        return self._known

    def _gradient(self) -> tuple[Tensor, Tensor]:
        self._rest_dropout()
        kept: list[Tensor] = []
        handle = self.net.register_forward_hook(
            lambda module, inputs, output: kept.append(output.detach().double())
        )
        try:
            self._pass()
        finally:
            handle.remove()
            self.net.train()
        grads = [p.grad.double().flatten() for p in self.net.parameters() if p.grad is not None]
        return kept[-1], torch.cat(grads)

    @cached_property
    def rounded(self) -> tuple[float, float]:
        """Relative error of the outputs, and cosine of the gradient, where weights and inputs alone are rounded to bf16."""
        low = copy.deepcopy(self.net)
        with torch.no_grad():
            for p in low.parameters():
                p.copy_(p.bfloat16())
        inputs = self.batch.inputs  # numbers of symbols are not rounded
        batch = replace(
            self.batch, inputs=inputs.bfloat16().to(inputs.dtype) if inputs.is_floating_point() else inputs
        )
        other = _Trial(low, self.objective, batch, self.precision, self.device)
        return _deviation(other.gradient(), self.gradient())

    @cached_property
    def seen(self) -> list[layerwise.Seen]:
        """What every layer is given in the pass."""
        self._rest_dropout()
        try:
            return layerwise.watched(self.net, self._pass)
        finally:
            self.net.train()

    def _rest_dropout(self) -> None:
        for module in self.net.modules():
            if "Dropout" in type(module).__name__:
                module.eval()

    def time(self, repeats: int = 3) -> float:
        """The fastest of `repeats` passes, after one to warm up."""
        best = float("inf")
        for number in range(repeats + 1):
            self._wait()
            start = time.perf_counter()
            self._pass()
            self._wait()
            if number > 0:
                best = min(best, time.perf_counter() - start)
        return best

    def _pass(self) -> None:
        self.net.zero_grad(set_to_none=True)
        with threads(self.precision.threads), random.torch_seeded(0, "probe", device=self.device):
            with self.precision.autocast(self.device):
                loss = self.objective(self.net, self.batch)
            loss.total.backward()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _measure(
    net: nn.Module,
    objective: ObjectiveCall,
    batch: Batch,
    precision: Precision,
    device: torch.device,
    reference: _Trial,
) -> Measured:
    trial = _Trial(net, objective, batch, precision, device)
    found = _compared(trial, reference)
    return found if found.refused else replace(found, seconds=trial.time())


def _compared(trial: _Trial, reference: _Trial) -> Measured:
    """How far a candidate is from the reference, not timed."""
    untimed = Measured(precision=trial.precision, seconds=float("inf"))
    try:
        outputs, gradient = trial.gradient()
    except RuntimeError as failure:
        return replace(untimed, refused=str(failure).splitlines()[0][:200])
    error, cosine = _deviation((outputs, gradient), reference.gradient())
    refused = ""
    if not error <= OUTPUTS_WITHIN:
        refused = f"outputs differ from float32 by {error:.1%}"
    elif not cosine >= COSINE_AT_LEAST:
        refused = f"the gradient's cosine with float32 is {cosine:.4f}"
    found = replace(untimed, output_error=error, gradient_cosine=cosine, refused=refused)
    if refused and trial.precision.dtype == "bfloat16" and math.isfinite(error) and math.isfinite(cosine):
        return _amplified(found, trial, reference)
    return found


def _amplified(found: Measured, trial: _Trial, reference: _Trial) -> Measured:
    """`found` without its refusal, where the network amplifies all rounding and every layer by itself is right."""
    assert found.output_error is not None and found.gradient_cosine is not None
    error, cosine = reference.rounded
    further = found.output_error > max(OUTPUTS_WITHIN, AMPLIFIED**0.5 * error)
    turned = 1 - found.gradient_cosine > max(1 - COSINE_AT_LEAST, AMPLIFIED * (1 - cosine))
    if further or turned:
        return found
    layer_error, where = layerwise.worst(
        reference.net, reference.seen, reference.precision, trial.precision, trial.device
    )
    if not layer_error <= LAYERS_WITHIN:
        return replace(found, refused=f"{where} differs from float32 by {layer_error:.1%}, layer by layer")
    note = (
        f"outputs within {found.output_error:.1%} and gradient cosine {found.gradient_cosine:.3f}; rounding weights and inputs alone "
        f"gives {error:.1%} and {cosine:.3f}; every layer by itself is within {layer_error:.2%}"
    )
    return replace(found, refused="", note=note)


def _deviation(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Relative error of the outputs, and cosine of the gradient."""
    error = float((found[0] - wanted[0]).norm() / wanted[0].norm().clamp_min(1e-12))
    return error, float(torch.nn.functional.cosine_similarity(found[1], wanted[1], dim=0))


def _candidates(base: Precision, device: torch.device, batch: Batch) -> list[Precision]:
    images = batch.inputs.ndim in (4, 5)
    layouts: list[Literal["contiguous", "channels_last"]] = (
        ["channels_last", "contiguous"] if images else ["contiguous"]
    )
    if base.dtype == "float64":
        return [
            Precision(dtype="float64", layout=layout, threads=base.threads)
            for layout in layouts
            if layout != base.layout
        ]
    found = [
        Precision(dtype=dtype, layout=layout, threads=base.threads)
        for layout in layouts
        for dtype in ("bfloat16", "float32")
        if (dtype, layout) != (base.dtype, base.layout) and (dtype != "bfloat16" or device.type != "mps")
    ]
    return sorted(found, key=lambda p: (p.layout != "channels_last" and images, p.dtype != "bfloat16"))


def _own_dtype(net: nn.Module) -> Literal["float32", "float64"]:
    return "float64" if any(p.dtype == torch.float64 for p in net.parameters()) else "float32"


def _all_threads(device: torch.device) -> int:
    return min(machine.cores(), torch.get_num_threads()) if device.type == "cpu" else 1


def _why(best: Measured, base: Measured, complete: bool) -> str:
    ratio = base.seconds / best.seconds
    text = f"{best.precision}: {best.seconds * 1e3:.1f} ms forward and backward"
    text += f", {ratio:.1f} × as fast as {base.precision}" if best is not base else ", the fastest tried"
    if best.note:
        text += f" ({best.note})"
    elif best.gradient_cosine is not None:
        text += f" (outputs within {best.output_error:.2%}, gradient cosine {best.gradient_cosine:.4f})"
    return text + ("" if complete else "; not every candidate was tried, to keep the probe short")


def _key(net: nn.Module, batch: Batch, device: torch.device) -> str:
    shapes = [(name, tuple(p.shape), str(p.dtype)) for name, p in net.named_parameters()]
    text = json.dumps(
        [
            machine.describe(device),
            torch.__version__,
            torch.get_num_threads(),
            str(net),
            str(shapes),
            list(batch.inputs.shape),
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _recall(path: Any) -> Precision | None:
    try:
        return Precision(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
