"""`fit`: from labelled data to a run folder with its evidence. `resume`: go on where a run was interrupted."""

from __future__ import annotations

import copy
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core import files, names
from hubel.core.errors import DamagedRun, MemoryRanOut, NonFiniteLoss, is_out_of_memory
from hubel.data import PARTS, Dataset, SplitRows
from hubel.data.batches import Batches
from hubel.data.builtin import BUILTIN
from hubel.data.itself import says_self
from hubel.data.source import dataset_of
from hubel.data.texts import text_file, with_shares
from hubel.fitting import Checkpoints, Recipe, Run, codec, open_run
from hubel.fitting import machine as machines
from hubel.fitting.alike import options_like, recorded_options
from hubel.nets.made import is_as_made
from hubel.objectives import Objective, check
from hubel.workflows import choices, conclude, folders, ranks
from hubel.workflows.deciding import NetMaker, Setting, decide, halved
from hubel.workflows.display import Display
from hubel.workflows.memory import within_memory
from hubel.workflows.prepare import Prepared
from hubel.workflows.training import CHECKPOINT_SECONDS, INTERRUPTED, Job, Replanned, Training


def fit(
    source: Any,
    y: Any = None,
    *,
    net: nn.Module | NetMaker | None = None,
    objective: Objective | None = None,
    recipe: Recipe | None = None,
    out: Path | str | None = None,
    like: Run | Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    validation: float | None = None,
    test: float | None = None,
    groups: Sequence[Any] | np.ndarray | None = None,
    target: str | Sequence[str] | None = None,
    uncertainty: bool = False,
    balance: bool = False,
    focus: float = 0.0,
    split: SplitRows | None = None,
    budget: float | None = None,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Run:
    """Fit a network to labelled data and write a run folder with its evidence.

    `source` is a path (a folder of class folders, a table of features or of pictures, `.npz`, HDF5, FITS, IDX, a text), the name of built-in
    data ("digits", "opticks", "fashion-mnist", …), a `Dataset`, a pandas DataFrame, or an array `x` [N, ...] with targets `y` [N] or [N, K]; the
    targets decide the objective. `target` names the column or columns of the targets; `uncertainty` asks for real values with error
    bars, `balance` lets every class count alike however rare it is, `focus` is the exponent of the focal loss. With `y="self"` the
    examples are their own target: an autoencoder is fitted, or the generative network that `net` names. `options` are those of
    `hubel.data.load` (or of `from_arrays`, `from_table`). Everything left out is chosen and written
    down with its reason. `like` takes network, objective and resolved recipe from another run, reads the data as its data were read (size,
    channels, columns, target, NaN, declared symmetries, where `options` say nothing else), and takes its parts where the data are the same
    and none are asked for. `validation`, `test` are
    fractions; `groups` [N] tie examples that must stay in one part (the run folder keeps them, so that `resume`, `evaluate` and `like` know
    them); `split` are the rows of each part, instead of all these;
    `budget` is the training time in seconds (345; 570 where objects are to be found).

    `out` is the folder of the run, new or empty (runs/DATE-NAME-1 where none is given). `device` is "cpu", "cuda", "cuda:1", "mps",
    or "auto" for the GPU where there is one. `quiet` shows nothing on stderr. Between two checkpoints at least
    `checkpoint_seconds` pass, more where writing one takes over 1 % of them.

    Returns the run; `run.stopped` says why the training ended (an interruption is saved, and `resume` goes on).

    Raises `ValueError` or `TypeError` where data, network and objective do not fit together, before the first step;
    `NonFiniteLoss` where the training breaks down.

    >>> import hubel, numpy as np, tempfile
    >>> x = np.random.default_rng(0).normal(size=(80, 3)).astype("float32")
    >>> run = hubel.fit(x, (x[:, 0] > 0).astype(int), recipe=hubel.Recipe(epochs=2), out=tempfile.mkdtemp() + "/run", quiet=True)
    >>> run.stopped
    'all 2 epochs done'
    """
    if budget is not None and not (isinstance(budget, (int, float)) and 0 < budget < math.inf):
        raise ValueError(
            f"budget is {budget!r}; expected a positive number of seconds, such as 90 or 20 * 60"
        )
    made: list[Run] = []
    wishes = choices.Wishes(uncertainty=uncertainty, balance=balance, focus=focus)
    if target is not None:
        if "target" in (options or {}):
            raise TypeError("received target= and options with a target: leave one of them out")
        options = {**dict(options or {}), "target": target if isinstance(target, str) else list(target)}
    if says_self(y) and isinstance(source, (str, os.PathLike)):
        y, options = None, {**dict(options or {}), "target": y}  # what a resumed run reads again

    def alone() -> Path:
        if out is not None:
            folders.refuse_taken(out)  # now, not after minutes of reading and measuring
        files.refuse_unwritable("runs" if out is None else out)
        with Display(quiet=quiet) as display:
            _refuse_arrays(options or {})  # now, not after measuring
            alike = None if like is None else opened(like)
            reading, shares = reading_of(source, options, alike, {"validation": validation, "test": test})
            data = dataset_of(source, y, options=reading, progress=display.counting("reading"))
            setting = decide(
                data,
                net=net,
                objective=objective,
                recipe=recipe or Recipe(),
                like=alike,
                **shares,
                groups=groups,
                split=split,
                budget=choices.default_budget(data) if budget is None else budget,
                device=machines.device_of(device),
                display=display,
                wishes=wishes,
            )
            folder = folders.new_folder(out, data.name)
            with files.locked(folder):
                loading = {"source": _place(source), "options": reading}
                write_initial(folder, setting.net)  # before run.json: what is a run can be gone on with
                folders.write_start(
                    folder, setting, loading=loading, command=_command(), groups=setting.groups
                )
                made.append(_train(folder, setting, display, checkpoint_seconds))
        return made[0].folder

    folder = ranks.first_works(alone)
    return (
        made[0] if made else open_run(folder, net=net if isinstance(net, nn.Module) else None, device=device)
    )


def resume(
    run: Run | Path | str,
    *,
    data: Any = None,
    y: Any = None,
    net: nn.Module | None = None,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Run:
    """Go on with an interrupted run, to the weights that it would have had without the interruption, bit by bit.

    That holds on the device on which the run began, which "auto" means here. Where it is not there, another one has to be named as `device`;
    that the weights will then be other ones, though as good, is said and recorded.
    The data are read again from their source (arrays have to be passed again as `data, y`) and must be the same, which their
    fingerprint shows. A finished run is returned as it is. A network of your own has to be passed again as `net`; `quiet`
    and `checkpoint_seconds` are those of `fit`.

    Raises `FileNotFoundError` where there is no run, `DamagedRun` where it can not be read, `RunBusy` where another process writes
    it, `ValueError` where data, network or a device are needed or the data have changed, `NonFiniteLoss` where the training breaks down.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> y, recipe = (x[:, 0] > 0).astype(int), hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, y, recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(hubel.resume(run.folder, data=x, y=y, quiet=True).status)
    finished
    """
    known = run if isinstance(run, Run) else open_run(run, net=net, device="cpu")
    with Display(quiet=quiet) as display, files.locked(known.folder):
        files.sweep_temporaries(known.folder)
        known = open_run(known.folder, net=net if net is not None else known._given_net, device="cpu")
        if known.status == "finished" and known.checkpoints.has("chosen"):
            chosen = known.checkpoints.read(("chosen",))
            if "chosen" in chosen.trees:
                display.say(f"{known.folder} is finished: {known.stopped}")
                known.device = machines.device_of(device)
                return known
            for note in chosen.notes:
                display.say(note)
        known.device, other = machines.device_again(known.about, device)
        setting = _setting_again(known, data, y, display)
        if other:
            display.say(other)
        folders.update(
            known.folder,
            status="running",
            stopped="",
            resumed=int(known.about.get("resumed", 0)) + 1,
            moved=[*known.about.get("moved", []), *([other] if other else [])],
        )
        return _train(known.folder, setting, display, checkpoint_seconds, resumed=True)


def _train(
    folder: Path, setting: Setting, display: Display, checkpoint_seconds: float, *, resumed: bool = False
) -> Run:
    """Train (or go on), conclude, and answer the run."""
    try:
        training, stopped = _trained(folder, setting, display, checkpoint_seconds, resumed=resumed)
        if stopped == INTERRUPTED:
            at = training.position
            where = f"{INTERRUPTED} in epoch {at.epoch}, after step {at.step}"
            folders.update(folder, status="interrupted", stopped=where)
            again = f"hubel resume {shlex.quote(str(folder))}"
            display.say(f"Stopped and saved after step {at.step:,}. Go on with:\n  {again}")
            return Run(folder, net=setting.net, device=str(setting.device))
        conclude.conclude(folder, setting, training, stopped, display)
    except OSError as error:
        raise _still_intact(folder, error) from error
    except KeyboardInterrupt:
        display.say(
            f"Stopped at once. Go on from the last checkpoint with:\n  hubel resume {shlex.quote(str(folder))}"
        )
        raise
    return Run(
        folder, net=copy.deepcopy(_given(setting)), device=str(setting.device)
    )  # a later fit must not change this run


def _trained(
    folder: Path, setting: Setting, display: Display, checkpoint_seconds: float, *, resumed: bool
) -> tuple[Training, str]:
    """The training when it has ended, and why. Where memory does not suffice, the batch is halved, and where epochs take another time than was foretold,
    there are more or fewer of them; this is said and written into the recipe, and the training begins again: so `resume` and `like` repeat what was run.
    """
    whole = setting.recipe.batch_size
    assert whole is not None

    def attempt(batch_size: int) -> tuple[Training, str]:
        if batch_size < whole:
            display.say(f"Batch size {halved(whole, batch_size)}; the training begins again.")
            setting.recipe = replace(setting.recipe, batch_size=batch_size)
            setting.reasons["batch_size"] = halved(whole, batch_size)
            _begin_again(folder, setting)
            training = Training(_job(folder, setting, checkpoint_seconds))
        else:
            job = _job(folder, setting, checkpoint_seconds)
            training = _go_back(job, display) if resumed else Training(job)
        try:
            while True:
                try:
                    return training, training.run(display)
                except Replanned as better:
                    _plan_again(setting, better, training.position.seconds, display)
                del training  # with its optimizer and averages, before there are others
                _begin_again(folder, setting)
                training = Training(_job(folder, setting, checkpoint_seconds))
        except NonFiniteLoss as error:
            training.save()
            folders.update(folder, status="failed", stopped=str(error))
            raise
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not training.checkpoints.has("state"):
                raise
            # it did fit for long: something else took the memory, and smaller batches would throw the run away
            said = f"memory did not suffice any more after step {training.position.step:,}"
            folders.update(folder, status="failed", stopped=said)
            raise MemoryRanOut(
                f"{said} of {folder}: free memory, then go on from the last checkpoint with hubel resume {shlex.quote(str(folder))}"
            ) from error

    return within_memory(attempt, whole)[0]


def _job(folder: Path, setting: Setting, checkpoint_seconds: float) -> Job:
    prepared = setting.prepared
    return Job(
        net=setting.net,
        objective=setting.objective,
        recipe=setting.recipe,
        scaling=prepared.scaling,
        train=prepared.part("train"),
        validation=prepared.part("validation"),
        folder=folder,
        device=setting.device,
        checkpoint_seconds=checkpoint_seconds,
        plan=setting.plan,
    )


def _plan_again(setting: Setting, better: Replanned, spent: float, display: Display) -> None:
    """Another number of epochs, for what is left of the time."""
    assert setting.plan is not None
    was = setting.recipe.epochs
    why = f"{better.last:.3g} s an epoch, once it ran; {was} had been foretold to fit into the time"
    display.say(
        f"An epoch takes {better.last:.3g} s, which was foretold otherwise: the training begins again, with {better.epochs} epochs in place of {was}."
    )
    setting.with_epochs(better.epochs, why)
    setting.plan = replace(setting.plan, seconds=setting.plan.seconds - spent)


def _begin_again(folder: Path, setting: Setting) -> None:
    """Back to the initial weights, with another recipe. Killed at any line of this, a resume begins again too."""
    codec.assign(setting.net.state_dict(), Checkpoints(folder).read(("start",)).trees["start"], "network")
    write_initial(folder, setting.net)
    files.write_text(folder / "curves.jsonl", "")
    folders.update(folder, recipe=setting.recipe, reasons=setting.reasons)


def write_initial(folder: Path, net: nn.Module) -> None:
    """The first checkpoint, alone: the initial weights (role "start"), which nothing else could give back for a network of the
    user's own.
    """
    start = {name: value.detach() for name, value in net.state_dict().items()}
    Checkpoints(folder).write(0, {"start": start}, alone=True)


def _still_intact(folder: Path, error: OSError) -> OSError:
    """`error` with what is left and how to go on; `run.json` says it too, where that can still be written."""
    said = f"{error.strerror or error}. What was saved before is intact: make room, then go on with hubel resume {shlex.quote(str(folder))}"
    with suppress(OSError, ValueError, RuntimeError):
        folders.update(
            folder, status="failed", stopped=f"{error.strerror or error}: {error.filename or folder}"
        )
    return OSError(error.errno, said, error.filename or str(folder))


def _go_back(job: Job, display: Display) -> Training:
    """The training at its newest whole checkpoint, or at the initial weights where it was killed before any other."""
    checkpoints = Checkpoints(job.folder)
    found = checkpoints.read(("state", "best"))
    for note in found.notes:
        display.say(note)
    try:
        if "state" in found.trees:
            training = Training(job)
            training.load(found.trees["state"], found.trees.get("best"))
        else:
            start = checkpoints.read(("start",)).trees["start"]
            codec.assign(job.net.state_dict(), start, "network")
            training = Training(job)
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if isinstance(error, DamagedRun) or is_out_of_memory(error):
            raise
        if isinstance(error, ValueError) and not is_as_made(
            job.net
        ):  # the network that was passed is another one
            raise
        raise DamagedRun(
            f"the checkpoint of step {found.step} in {job.folder} is not one of this training ({error}): fit again"
        ) from error
    checkpoints.forget(len(found.notes))
    at = training.position
    folders.keep_curves(job.folder, before_epoch=at.epoch)
    display.say(f"Going on in epoch {at.epoch} of {training.epochs}, after step {at.step:,}.")
    return training


def _setting_again(run: Run, data: Any, y: Any, display: Display) -> Setting:
    """What was decided when `run` was started, with its data read again and compared."""
    loading = run.about.get("loading", {})
    if data is None:
        if loading.get("source") is None:
            raise ValueError(
                f"{run.folder} was fitted to arrays, which a folder does not hold: pass them again, hubel.resume(path, data=x, y=y)"
            )
        data = loading["source"]
        if text_file(data) is None and data.lower() not in BUILTIN and not Path(data).exists():
            raise FileNotFoundError(
                f"{data}, where the data of {run.folder} lay, does not exist: if they were moved, say where they lie now, "
                f"hubel resume {shlex.quote(str(run.folder))} --data PLACE"
            )
    options = recorded_options(run)
    whole = run.grouped(dataset_of(data, y, options=options, progress=display.counting("reading")))
    if whole.fingerprint != run.about["data"]["fingerprint"]:
        raise ValueError(
            f"the data of {run.folder} have changed since it was started (fingerprint {whole.fingerprint[:12]}…, then "
            f"{run.about['data']['fingerprint'][:12]}…): a resumed run would not be the run that was begun. Restore the data, or fit again"
        )
    try:
        rows = run.split
    except (OSError, ValueError) as error:
        raise DamagedRun(
            f"{run.folder / 'split.npz'} can not be read ({error}): restore it from a copy, or fit again"
        ) from error
    if set(rows) != set(PARTS) or SplitRows(**rows, how="").sha256 != run.about["split"]["sha256"]:
        raise DamagedRun(
            f"{run.folder / 'split.npz'} is not the split that was begun with: restore it from a copy, or fit again"
        )
    prepared = Prepared(
        whole=whole,
        rows=rows,
        how=run.about["split"]["how"],
        split_sha256=run.about["split"]["sha256"],
        scaling=run.scaling,
        duplicates=run.about["data"].get("duplicates", {}),
    )
    net = folders.fresh_net(run, run.recipe.seed) if run._given_net is None else run._given_net
    batches = Batches(
        data=prepared.part("train"), scaling=prepared.scaling, batch_size=2, seed=0, device=run.device
    )
    check(net.to(run.device), run.objective, next(batches.in_order(2)))  # as before the first step
    return Setting(
        prepared=prepared,
        net=net,
        objective=run.objective,
        recipe=run.recipe,
        reasons=dict(run.about.get("reasons", {})),
        measured=[],
        device=run.device,
    )


def reading_of(
    source: Any,
    options: Mapping[str, Any] | None,
    like: Run | Path | str | None,
    shares: Mapping[str, float | None],
) -> tuple[dict[str, Any], dict[str, float | None]]:
    """The options under which a fit reads its data, and the shares of the parts that are left for the split."""
    reading = dict(options or {}) if like is None else _read_like(opened(like), source, options)
    return with_shares(source, reading, shares)


def _read_like(like: Run, source: Any, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options under which `source` is read as the data of `like` were, with the symmetries that were declared for those."""
    if like.reading["kind"] == "text" and text_file(source) is not None:
        return recorded_options(like) | dict(options or {})
    if (
        text_file(source) is not None
        and "forecast" not in (options or {})
        and like.reading["kind"] != "forecast"
    ):
        raise ValueError(
            f"{source} is a text, but {like.folder} was fitted to something else ({like.reading['kind']}): leave like= out, or name a run of a text"
        )
    found = options_like(like, source, options)
    if isinstance(source, Dataset) or (isinstance(source, str) and source.lower() in BUILTIN):
        return found  # they declare their own
    if like.reading["kind"] == "table":
        return found  # nothing can be declared of tables
    return {"symmetries": list(like.about["data"].get("symmetries", ())), **found}


def _refuse_arrays(options: Mapping[str, Any]) -> None:
    """Raise `TypeError` for options that `run.json` could not hold."""
    for name, value in options.items():
        if isinstance(value, (np.ndarray, torch.Tensor)) or hasattr(value, "to_numpy"):
            raise TypeError(
                f"options has {name} as {type(value).__name__} of {len(value):,} rows, which a run folder does not hold: give the data with them, "
                f"hubel.fit(hubel.data.from_arrays(x, y, {name}=…)), or a list"
            )
    names.describe({"options": dict(options)})


def opened(run: Run | Path | str) -> Run:
    """The run, or the one in this folder."""
    return run if isinstance(run, Run) else open_run(run)


def _given(setting: Setting) -> nn.Module | None:
    """The user's own network, which a folder can not rebuild."""
    return None if is_as_made(setting.net) else setting.net


def _place(source: Any) -> str | None:
    """Where the data can be read again: a path made absolute, a built-in name as it is; nothing for arrays."""
    if not isinstance(source, (str, os.PathLike)):
        return None
    text = os.fspath(source)
    return (
        str(Path(text).expanduser().resolve())
        if Path(text).expanduser().exists() and text.lower() not in BUILTIN
        else text
    )


def _command() -> str:
    """What was typed, where something was."""
    program = Path(sys.argv[0]).name
    if program == "hubel" or Path(sys.argv[0]).parts[-2:] == ("hubel", "__main__.py"):
        return shlex.join(["hubel", *sys.argv[1:]])
    return f"hubel.fit(...) in {program}" if program else "hubel.fit(...)"


__all__ = ["Setting", "decide", "fit", "resume"]
