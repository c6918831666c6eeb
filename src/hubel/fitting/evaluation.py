"""How well a fitted network does on labelled data: its own test part, or other data with the same classes."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hubel.core.errors import RunBusy
from hubel.core.types import Interval
from hubel.data import Dataset
from hubel.data.boxes import CLASS, NO_OBJECT
from hubel.data.masks import UNLABELLED, classes_of_reading, has_planes
from hubel.data.preprocessing import Preprocessing
from hubel.data.source import dataset_of
from hubel.data.text import UNKNOWN, in_alphabet
from hubel.fitting.alike import options_like, recorded_options
from hubel.objectives import Detection, NextSymbol, Objective, OwnTarget, PixelCrossEntropy

if TYPE_CHECKING:
    from hubel.fitting.ensemble import Ensemble
    from hubel.fitting.run import Run

MOST_VALUES = 2**25  # of the examples on which a network itself is asked
WAITS, WAIT = 20, 0.1  # how often, and for how many seconds, another process is waited for


def evaluate(run: Run, data: Any, y: Any, options: Mapping[str, Any] | None) -> dict[str, Interval]:
    """All scores with intervals. Without `data`, on the run's own test part, and the look is counted in `run.json`."""
    part = part_of(run, data, y, options)
    if data is None:
        count_look(run)
    scores = run.objective.metrics(run.answers(part), np.asarray(part.targets), part.groups)
    return scores | of_network(run.objective, run.net, run.scaling, part, run.device)


@torch.no_grad()
def of_network(
    objective: Objective, net: nn.Module, scaling: Preprocessing, part: Dataset, device: torch.device
) -> dict[str, Interval]:
    """Scores that need the network beside its answers: bounds, densities and samples, for examples that are their own target; on
    evenly many of them where they are many.
    """
    if not isinstance(objective, OwnTarget):
        return {}
    most = max(1_000, MOST_VALUES // max(1, objective.num_outputs))
    rows = np.linspace(0, len(part) - 1, min(most, len(part))).astype(np.int64)
    inputs = scaling(torch.from_numpy(np.array(part.inputs[rows])).to(device))
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        return objective.of_network(net, inputs, None if part.groups is None else part.groups[rows])
    finally:
        for module, mode in modes:
            module.training = mode


def part_of(run: Run, data: Any, y: Any, options: Mapping[str, Any] | None) -> Dataset:
    """The examples to evaluate on, with class numbers as the run counts them: `data`, or the run's own test part."""
    if data is None:
        return own_test(run)
    if y is not None and classes_of_reading(run.reading) is not None and not has_planes(y):
        raise ValueError(
            f"this network was fitted to masks [N, H, W], but y has shape {np.shape(y)}: nothing can be compared"
        )
    whole = dataset_of(data, y, options=options_like(run, data, options))
    if whole.fingerprint == run.about["data"]["fingerprint"]:
        learned = len(run.split["train"]) + len(run.split["validation"])
        warnings.warn(
            f"{learned:,} of these {len(whole):,} examples are those that the network was fitted to: the scores tell how well it remembers "
            "them; evaluated without data, the run scores its own test part",
            UserWarning,
            stacklevel=4,
        )
    if run.about["data"].get("own_target") and not whole.is_its_own_target:
        whole = whole.as_its_own_target()
    return with_classes_of(run, whole)


def count_look(run: Run | Ensemble) -> None:
    """One more look at the test part. Where the folder can only be read, the scores are answered all the same, and that is said.

    Raises `RunBusy` where another process writes the run for longer than another look would take.
    """
    for patience in range(WAITS, -1, -1):
        try:
            run.change(lambda about: {"test_looks": int(about.get("test_looks", 0)) + 1})
        except RunBusy:
            if not patience:
                raise
            time.sleep(WAIT)
        except OSError as error:
            warnings.warn(
                f"this look at the test part could not be counted in {run.folder}: {error.strerror or error}",
                RuntimeWarning,
                stacklevel=3,
            )
            return
        else:
            return


def own_test(run: Run) -> Dataset:
    """The test part of the run, read again from where it came."""
    return own_part(run, "test")


def own_part(run: Run, name: str) -> Dataset:
    """A part of the run's data ("train", "validation" or "test"), read again from where it came."""
    loading = run.about["loading"]
    if loading.get("source") is None:
        raise ValueError(
            f"{run.folder} was fitted to arrays, which a folder does not hold: pass labelled data, run.evaluate(x, y)"
        )
    whole = run.grouped(dataset_of(loading["source"], options=recorded_options(run)))
    if whole.fingerprint != run.about["data"]["fingerprint"]:
        raise ValueError(
            f"the data at {loading['source']} have changed since {run.folder} was fitted: its {name} part can not be found again"
        )
    rows = run.split[name]
    if len(rows) == 0:
        raise ValueError(f"{run.folder} has no {name} part: pass labelled data")
    return whole.view(rows)


def _fits(run: Run, data: Dataset) -> bool:
    """Whether examples are of the shape that the network was fitted on; series may be of any length."""
    shape, wanted = tuple(data.shape), tuple(run.scaling.shape)
    of_series = run.reading["kind"] in ("series", "image series")
    return shape == wanted or (of_series and len(shape) == len(wanted) and shape[1:] == wanted[1:])


def with_classes_of(run: Run, data: Dataset) -> Dataset:
    """`data` with class numbers as the run counts them. Raises `ValueError` where shape, type or classes do not fit."""
    wanted = run.about["data"]["classes"]
    if isinstance(run.objective, NextSymbol):
        return _in_alphabet_of(run, run.objective, data)
    if not _fits(run, data) or str(data.inputs.dtype) != run.scaling.dtype:
        raise ValueError(
            f"{data.name} holds {'×'.join(map(str, data.shape))} {data.inputs.dtype}; this network was fitted on "
            f"{'×'.join(map(str, run.scaling.shape))} {run.scaling.dtype}: bring the arrays to that shape and type, as the training data "
            "were (pictures in files are resized by themselves)"
        )
    if (wanted is None) != (data.classes is None):
        asked, held = ("real values", "classes") if wanted is None else ("classes", "real values")
        raise ValueError(
            f"this network was fitted to {asked}, but the targets of {data.name} are {held}: nothing can be compared"
        )
    masks = classes_of_reading(run.reading) is not None or isinstance(run.objective, PixelCrossEntropy)
    boxes = isinstance(run.objective, Detection)
    if boxes != data.has_boxes:
        asked, held = ("boxes", "none") if boxes else ("one target a picture", "boxes")
        raise ValueError(
            f"this network was fitted to {asked}, but {data.name} has {held}: nothing can be compared"
        )
    if masks != data.has_masks:
        asked, held = ("masks", "one target a picture") if masks else ("one target an example", "masks")
        raise ValueError(
            f"this network was fitted to {asked}, but {data.name} has {held}: nothing can be compared"
        )
    if wanted is None or list(data.classes or ()) == wanted:
        return data
    assert data.classes is not None
    unknown = sorted(set(data.classes) - set(wanted))
    if unknown:
        raise ValueError(
            f"{data.name} has classes that this network does not know: {unknown[:5]}; it knows {wanted[:10]}"
        )
    if data.targets.ndim == 2:
        order = [data.classes.index(name) if name in data.classes else -1 for name in wanted]
        targets = np.stack(
            [data.targets[:, k] if k >= 0 else np.zeros(len(data), data.targets.dtype) for k in order], axis=1
        )
        return replace(data, targets=targets, classes=tuple(wanted))
    number = np.array([wanted.index(name) for name in data.classes])
    if data.has_boxes:
        targets = np.array(data.targets)
        numbers = targets[..., CLASS]
        targets[..., CLASS] = np.where(
            numbers == NO_OBJECT, NO_OBJECT, number[np.maximum(numbers, 0).astype(np.int64)]
        )
        return replace(data, targets=targets, classes=tuple(wanted))
    if data.has_masks:
        table = np.full(256, UNLABELLED, np.uint8)
        table[: len(number)] = number
        number = table
    return replace(data, targets=number[np.asarray(data.targets)], classes=tuple(wanted))


def _warn_of_lost(data: Dataset, alphabet: Sequence[str]) -> None:
    """Symbols that were read as unknown when their text was cut can not be found again, though the network may know them."""
    assert data.alphabet is not None
    lost = int((np.asarray(data.targets) == len(data.alphabet) - 1).sum())
    if lost and data.alphabet != tuple(alphabet):
        warnings.warn(
            f"{lost:,} symbols of {data.name} are {UNKNOWN}: those that its own training part has not, or seldom, were read so when it was cut, and "
            "count as unknown here though the network may know them. Cut a new text with from_text(text, validation=0, test=0, least=1)",
            UserWarning,
            stacklevel=5,
        )


def _in_alphabet_of(run: Run, objective: NextSymbol, data: Dataset) -> Dataset:
    """Windows of text with the numbers of symbols as the run counts them; their length may be another."""
    if data.alphabet is None or data.targets.ndim != 2:
        raise ValueError(
            f"this network was fitted to foretell the next symbol of a text, but {data.name} holds {data.kind}: pass a text, or windows "
            "of hubel.data.from_text"
        )
    if objective.alphabet is not None:
        _warn_of_lost(data, objective.alphabet)
        return in_alphabet(data, objective.alphabet)
    if len(data.alphabet) != objective.num_outputs:
        raise ValueError(
            f"{data.name} has {len(data.alphabet)} symbols, the network {objective.num_outputs}, and its objective does not name them: "
            "pass NextSymbol with its alphabet when you fit"
        )
    return data
