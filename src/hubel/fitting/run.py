"""`Run`: a folder on disk, and the object that reads it.

    run.json           what was run: data, split, network, objective, scaling, resolved recipe with reasons, versions, scores
    split.npz          the rows of the training, validation and test parts, and the groups that were given for them
    curves.jsonl       a line an epoch
    checkpoints/       weights and optimizer, two generations, with checksums
    predictions.npz    the test part: ids, targets, probabilities, the worst mistakes, what entered the network
    report.html        all of it on one page

Reading one runs no code from it: networks, objectives and scalings are rebuilt by names that hubel itself knows.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core import files, names
from hubel.core.errors import DamagedRun, is_out_of_memory
from hubel.core.types import Batch, Interval, Prediction
from hubel.data import PARTS, Dataset, Series, read_like
from hubel.data.archives import opened_npz
from hubel.data.preprocessing import Preprocessing
from hubel.fitting import codec, evaluation, giants, machine
from hubel.fitting.about import read_about
from hubel.fitting.checkpoints import Checkpoints
from hubel.fitting.precision import Precision
from hubel.fitting.recipe import Recipe
from hubel.objectives import Objective

RESTORE = "Restore it from a copy, or fit again"
KILLED = "it ended without a word (killed, or the machine stopped)"
AT_ONCE = 2**24  # raw scores of a part of the data that are held at a time
FEW = 16  # pictures at a time where a network answers for every pixel, and keeps maps of that size


class Run:
    """A fitted (or interrupted) network with its evidence. Make one with `hubel.fit` or `hubel.open_run`.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(run.status, list(run.test)[0], run.predict(x[:2]).probabilities.shape)
    finished accuracy (2, 2)
    """

    def __init__(self, folder: Path | str, *, net: nn.Module | None = None, device: str = "auto"):
        self.folder = Path(folder)
        self._given_net = net
        self.device = machine.device_of(device)
        self.about = read_about(self.folder)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        headline = next(iter(self.about.get("test", {}).items()), None)
        score = (
            f", {self.about.get('scored_part', 'test')} {headline[0]} {headline[1]['value']:.4g}"
            if headline and headline[1]["value"] is not None
            else ""
        )
        return f"Run({str(self.folder)!r}: {self.status}{score})"

    @property
    def status(self) -> str:
        """One of running, finished, interrupted, failed. A run that was killed could not say so: no process holds it any more."""
        status = str(self.about.get("status", "unknown"))
        return "interrupted" if status == "running" and not files.is_locked(self.folder) else status

    @property
    def stopped(self) -> str:
        """Why the fit stopped, as a sentence."""
        if self.status == "interrupted" and self.about.get("status") == "running":
            return KILLED
        return str(self.about.get("stopped", ""))

    @property
    def test(self) -> dict[str, Any]:
        """Scores of the test part: name to value, low, high, level, count, method."""
        return dict(self.about.get("test", {}))

    @property
    def curves(self) -> list[dict[str, Any]]:
        """A dict an epoch: loss, validation_loss, validation scores, learning_rate, examples_per_second, seconds."""
        rows = {row["epoch"]: row for row in files.read_lines(self.folder / "curves.jsonl") if "epoch" in row}
        return [rows[epoch] for epoch in sorted(rows)]

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What was noticed, a dict a finding."""
        return files.read_lines(self.folder / "findings.jsonl")

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe that was run."""
        return self._rebuilt("recipe", Recipe)

    @cached_property
    def objective(self) -> Objective:
        """The question that was asked, as its reading was calibrated."""
        objective = self._rebuilt("objective", object)
        if not type(objective).__module__.startswith("hubel.objectives."):
            raise DamagedRun(f"{self.folder / 'run.json'} names no objective: {objective!r}. {RESTORE}")
        return objective

    @cached_property
    def scaling(self) -> Preprocessing:
        """From stored inputs to what enters the network."""
        return self._rebuilt("preprocessing", Preprocessing)

    @cached_property
    def split(self) -> dict[str, np.ndarray]:
        """Rows of "train", "validation" and "test"."""
        path = self.folder / "split.npz"
        rows = self._of_split(PARTS)
        if missing := [part for part in PARTS if part not in rows]:
            raise DamagedRun(f"{path} can not be read (it has no rows for {', '.join(missing)}): {RESTORE}")
        num = int(self.about["data"]["examples"])
        for name, part in rows.items():
            if (
                part.ndim != 1
                or part.dtype.kind not in "iu"
                or (len(part) and not 0 <= part.min() <= part.max() < num)
            ):
                raise DamagedRun(f"{path} has no rows of {num:,} examples for {name}: {RESTORE}")
        return rows

    @cached_property
    def groups(self) -> np.ndarray | None:
        """The groups [N] that `fit` was given beside the data; None where there were none, or the data have their own."""
        groups = self._of_split(("groups",)).get("groups")
        num = int(self.about["data"]["examples"])
        if groups is not None and (groups.shape != (num,) or groups.dtype.kind not in "biufU"):
            raise DamagedRun(
                f"{self.folder / 'split.npz'} has groups {list(groups.shape)} for {num:,} examples: {RESTORE}"
            )
        return groups

    def grouped(self, data: Dataset) -> Dataset:
        """`data` in the groups that this run was given, where these are as many; as they are otherwise."""
        return (
            data
            if self.groups is None or len(self.groups) != len(data)
            else replace(data, groups=self.groups)
        )

    def _of_split(self, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """What `split.npz` has of the arrays that are `wanted`."""
        path = self.folder / "split.npz"
        try:
            with opened_npz(path) as content:
                return {name: content[name] for name in wanted if name in content.files}
        except (OSError, ValueError) as error:
            raise DamagedRun(f"{path} can not be read ({error}): {RESTORE}") from error

    @cached_property
    def net(self) -> nn.Module:
        """The network with the chosen weights (best, averaged or last), in evaluation mode, on the device.

        Raises `DamagedRun` where the run has no such weights, and what `blank_net` raises.
        """
        found = self.checkpoints.read(("chosen",)) if self.checkpoints.has("chosen") else None
        if found is None or "chosen" not in found.trees:
            why = f"the run is {self.status}" if found is None else " ".join(found.notes)
            raise DamagedRun(
                f"{self.folder} has no chosen weights: {why}. Go on with: hubel resume {shlex.quote(str(self.folder))}"
            )
        net = self.blank_net()
        try:
            codec.assign(net.state_dict(), found.trees["chosen"], "network")
        except ValueError as error:
            if self._given_net is not None:
                raise
            raise DamagedRun(f"{self.folder}: {error} {RESTORE}") from error
        return net.eval()

    def _rebuilt(self, entry: str, kind: Any) -> Any:
        """The object that an entry of `run.json` describes. Raises `DamagedRun` where it describes none of this kind."""
        try:
            found = names.rebuild(self.about[entry])
        except ValueError as error:
            raise DamagedRun(f"{self.folder / 'run.json'}, {entry}: {error}. {RESTORE}") from error
        if not isinstance(found, kind):
            raise DamagedRun(f"{self.folder / 'run.json'} has no {entry}, but {found!r}. {RESTORE}")
        return found

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder)

    def blank_net(self) -> nn.Module:
        """The network of this run, with weights that are still to be loaded, placed on the device in its layout.

        Raises `ValueError` where it is a network of your own that was not passed to `open_run`.
        """
        if self._given_net is not None:
            net = self._given_net
        else:
            made = self.about["net"]
            if made.get("name") is None:
                raise ValueError(
                    f"{self.folder} was fitted with a network of your own ({made.get('class', 'unknown')}), which a folder can not rebuild: "
                    "pass it again, hubel.open_run(path, net=my_net)"
                )
            self.refuse_giant()
            net = self._named_net()
        if self.precision.dtype == "float64":
            net = net.double()
        return self.precision.place(net, self.device)

    def refuse_giant(self) -> None:
        """Raise `DamagedRun` where `run.json` asks for a network far larger than what the checkpoints hold: memory follows from
        what is on the disk, not from what a file says.
        """
        arguments = self.about["net"].get("arguments")
        giants.refuse_giant(self.folder / "run.json", arguments, self.checkpoints.folder, self._named_net)

    def _named_net(self) -> nn.Module:
        made = self.about["net"]
        try:
            return names.rebuild_net(made["name"], made.get("arguments"))
        except ValueError as error:
            raise DamagedRun(f"{self.folder / 'run.json'}, net: {error}. {RESTORE}") from error

    @property
    def precision(self) -> Precision:
        if self.recipe.precision is None or not self.recipe.is_resolved:
            raise DamagedRun(f"{self.folder / 'run.json'} has a recipe that is not resolved. {RESTORE}")
        return self.recipe.precision

    def outputs(
        self,
        stored: torch.Tensor | np.ndarray,
        *,
        lengths: torch.Tensor | np.ndarray | None = None,
        batch_size: int = 128,
    ) -> torch.Tensor:
        """Raw scores [N, K] on the CPU, in float32 (or the network's own float64), of inputs [N, ...] as they are stored (not scaled),
        with the `lengths` [N] of series.
        """
        return outputs_of(
            self.net,
            self.scaling,
            self.precision,
            stored,
            self.device,
            lengths=lengths,
            batch_size=batch_size,
        )

    def answers(self, part: Dataset) -> Prediction:
        """The reading of a part of the data whose targets are known, as `metrics` needs it."""
        return self.objective.answered(
            pieces_of(self.net, self.objective, self.scaling, self.precision, part, self.device)
        )

    def predict(self, inputs: Any, *, batch_size: int = 128) -> Prediction:
        """The reading of `inputs` [N, C, H, W] or [N, F], given as they were stored when the network was fitted; of series of
        different lengths, a list of arrays [L, F], or a `hubel.data.Series`.

        Raises `ValueError` where there are none, or where their shape or type is another; and what `net` raises.
        """
        stored = read_like(inputs, self.reading)
        lengths = None
        if isinstance(stored, Series):
            stored, lengths = stored.values, stored.lengths
        if len(stored) == 0:
            raise ValueError("received no examples: there is nothing to predict")
        if "masks" in self.reading:
            batch_size = min(batch_size, FEW)
        return self.objective.read(self.outputs(stored, lengths=lengths, batch_size=batch_size))

    @property
    def reading(self) -> Mapping[str, Any]:
        """How new inputs become rows like those of training."""
        recorded = self.about["data"].get("reading")
        if recorded:
            return recorded
        shape = list(self.scaling.shape)  # a Dataset that was made by hand
        if len(shape) == 2:
            ragged = bool(self.about["data"].get("ragged"))
            about = {"kind": "series", "channels": None, "time": None, "ragged": ragged}
            return {**about, "shape": shape, "dtype": self.scaling.dtype, "nan": "refuse"}
        layout = "NF" if len(shape) == 1 else "NCHW"
        return {
            "kind": "arrays",
            "shape": shape,
            "dtype": self.scaling.dtype,
            "layout": layout,
            "nan": "refuse",
            "channels": None,
            "convert": None,
            "size": shape[1:],
            "resize": "pad",
        }

    def evaluate(
        self, data: Any = None, y: Any = None, *, options: Mapping[str, Any] | None = None
    ) -> dict[str, Interval]:
        """All scores with their intervals: on the run's own test part (a look that is counted), or on labelled `data` (a path, a
        `Dataset`, or arrays `data, y`). `options` are those of `hubel.data.load` (or of `from_arrays`).

        Raises `ValueError` where the run's own data can not be read again or have changed, or where `data` are of another shape,
        type or class; `TypeError` for arrays without targets; and what `net` raises.
        """
        return evaluation.evaluate(self, data, y, options)

    def note(self, **changes: Any) -> None:
        """Replace entries of `run.json`. Raises `RunBusy` where another process writes the run."""
        self.change(lambda about: changes)

    def change(self, changes: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Replace entries of `run.json` by what follows from those that it has when nobody else writes it. Raises `RunBusy`."""
        with files.locked(self.folder):
            about = read_about(self.folder)
            self.about = about | names.describe(dict(changes(about)))
            files.write_json(self.folder / "run.json", self.about)


def outputs_of(
    net: nn.Module,
    scaling: Preprocessing,
    precision: Precision,
    stored: torch.Tensor | np.ndarray,
    device: torch.device,
    *,
    lengths: torch.Tensor | np.ndarray | None = None,
    batch_size: int = 128,
) -> torch.Tensor:
    """Raw scores [N, K] of stored inputs (with the `lengths` [N] of series), in order."""
    rows = list(_evaluated(net, scaling, precision, stored, device, lengths=lengths, batch_size=batch_size))
    return torch.cat(rows) if rows else torch.empty(0, 0)


def pieces_of(
    net: nn.Module,
    objective: Objective,
    scaling: Preprocessing,
    precision: Precision,
    part: Dataset,
    device: torch.device,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Raw scores and targets of a part of the data, some examples after others, as `Objective.scored` and `answered` take them."""
    done = 0
    for scores in _evaluated(
        net,
        scaling,
        precision,
        part.inputs,
        device,
        lengths=part.lengths,
        batch_size=examples_within(
            objective, part, AT_ONCE, most=FEW if part.has_masks or part.has_boxes else 128
        ),
    ):
        targets = torch.from_numpy(np.array(part.targets[done : done + len(scores)]))
        yield scores, targets.long() if targets.dtype == torch.int32 else targets
        done += len(scores)


def examples_within(objective: Objective, part: Dataset, num_scores: int, *, most: int) -> int:
    """How many examples have so many raw scores together: at least one, at most `most`."""
    one = Batch(
        inputs=torch.from_numpy(np.array(part.inputs[:1])),
        targets=torch.from_numpy(np.array(part.targets[:1])),
    )
    return min(most, max(1, num_scores // math.prod(map(abs, objective.scores_shape(one)))))


@torch.no_grad()
def _evaluated(
    net: nn.Module,
    scaling: Preprocessing,
    precision: Precision,
    stored: torch.Tensor | np.ndarray,
    device: torch.device,
    *,
    lengths: torch.Tensor | np.ndarray | None,
    batch_size: int,
) -> Iterator[torch.Tensor]:
    """Raw scores of some examples after others: the one place where networks are evaluated, so that evaluation and prediction
    do the same to every example. Where memory does not suffice, smaller batches are taken.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    done = 0
    try:
        while done < len(stored):
            part = stored[done : done + batch_size]
            part = torch.from_numpy(np.array(part)) if isinstance(part, np.ndarray) else part
            steps = None if lengths is None else torch.as_tensor(lengths[done : done + len(part)]).to(device)
            try:
                inputs = precision.arrange(scaling(part.to(device), steps))
                with precision.autocast(device):
                    outputs = net(inputs) if steps is None else net(inputs, steps)
            except (RuntimeError, MemoryError) as error:
                if len(part) == 1 or not is_out_of_memory(error):
                    raise
                batch_size = len(part) // 2
                continue
            yield (outputs if outputs.dtype == torch.float64 else outputs.float()).cpu()
            done += len(part)
    finally:
        for module, mode in modes:  # a part that the user froze in evaluation stays so
            module.training = mode


def open_run(folder: Path | str, *, net: nn.Module | None = None, device: str = "auto") -> Run:
    """The run in `folder`. A network of your own has to be passed again as `net`.

    Raises `FileNotFoundError` where there is none, `DamagedRun` where it can not be read, `ValueError` for an unknown format.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(open_run(run.folder).recipe.epochs)
    1
    """
    return Run(folder, net=net, device=device)
