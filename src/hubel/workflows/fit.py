"""`fit`: from labelled data to a run folder with its evidence. `resume`: go on where a run was interrupted."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hubel.core import files
from hubel.core.errors import DamagedRun, NonFiniteLoss
from hubel.data import PARTS, Dataset, SplitRows
from hubel.data.batches import Batches
from hubel.data.builtin import BUILTIN
from hubel.data.source import dataset_of
from hubel.fitting import Checkpoints, Plateau, Precision, Recipe, Run, codec, open_run, probe
from hubel.fitting import machine as machines
from hubel.fitting.precision import SHARE
from hubel.fitting.recipe import default_batch_size
from hubel.objectives import Objective, check
from hubel.workflows import choices, conclude, folders, ranks
from hubel.workflows.display import Display
from hubel.workflows.memory import within_memory
from hubel.workflows.prepare import Prepared, prepare
from hubel.workflows.pretrained import published_scaling, useful_epochs
from hubel.workflows.training import CHECKPOINT_SECONDS, INTERRUPTED, Job, Training

NetMaker = Callable[..., nn.Module]
"""A function of `inputs` and `outputs` that makes a network, such as those of `hubel.nets`."""


@dataclass(kw_only=True)
class Setting:
    """What was decided before the first step."""

    prepared: Prepared
    net: nn.Module
    objective: Objective
    recipe: Recipe
    reasons: dict[str, str]
    measured: list[dict[str, Any]]
    device: torch.device


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
    budget: float | None = None,
    device: str = "auto",
    quiet: bool = False,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Run:
    """Fit a network to labelled data and write a run folder with its evidence.

    `source` is a path (a folder of class folders, a table of paths and labels, `.npz`, HDF5, FITS, IDX), the name of built-in
    data ("digits", "fashion-mnist", …), a `Dataset`, or an array `x` [N, ...] with targets `y` [N] or [N, K]; the targets decide
    the objective. `options` are those of `hubel.data.load` (or of `from_arrays`). Everything left out is chosen and written
    down with its reason. `like` takes network, objective and resolved recipe from another run. `validation`, `test` are
    fractions; `groups` [N] tie examples that must stay in one part; `budget` is the training time in seconds (300).

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
    made: list[Run] = []

    def alone() -> Path:
        if out is not None:
            folders.refuse_taken(out)  # now, not after minutes of reading and measuring
        with Display(quiet=quiet) as display:
            data = dataset_of(source, y, options=options, progress=display.counting("reading"))
            setting = decide(
                data,
                net=net,
                objective=objective,
                recipe=recipe or Recipe(),
                like=None if like is None else _opened(like),
                validation=validation,
                test=test,
                groups=groups,
                budget=choices.DEFAULT_BUDGET if budget is None else budget,
                device=machines.device_of(device),
                display=display,
            )
            folder = folders.new_folder(out, data.name)
            with files.locked(folder):
                loading = {"source": _place(source), "options": dict(options or {})}
                write_initial(folder, setting.net)  # before run.json: what is a run can be gone on with
                folders.write_start(folder, setting, loading=loading, command=_command())
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

    The data are read again from their source (arrays have to be passed again as `data, y`) and must be the same, which their
    fingerprint shows. A finished run is returned as it is. A network of your own has to be passed again as `net`; `device`, `quiet`
    and `checkpoint_seconds` are those of `fit`.

    Raises `FileNotFoundError` where there is no run, `DamagedRun` where it can not be read, `RunBusy` where another process writes
    it, `ValueError` where data or network are needed again or the data have changed, `NonFiniteLoss` where the training breaks down.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> y, recipe = (x[:, 0] > 0).astype(int), hubel.Recipe(epochs=1, precision=Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, y, recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(hubel.resume(run.folder, data=x, y=y, quiet=True).status)
    finished
    """
    known = run if isinstance(run, Run) else open_run(run, net=net, device=device)
    with Display(quiet=quiet) as display, files.locked(known.folder):
        files.sweep_temporaries(known.folder)
        known = open_run(known.folder, net=net if net is not None else known._given_net, device=device)
        if known.status == "finished" and known.checkpoints.has("chosen"):
            chosen = known.checkpoints.read(("chosen",))
            if "chosen" in chosen.trees:
                display.say(f"{known.folder} is finished: {known.stopped}")
                return known
            for note in chosen.notes:
                display.say(note)
        setting = _setting_again(known, data, y, display)
        folders.update(
            known.folder, status="running", stopped="", resumed=int(known.about.get("resumed", 0)) + 1
        )
        return _train(known.folder, setting, display, checkpoint_seconds, resumed=True)


def decide(
    data: Dataset,
    *,
    net: nn.Module | NetMaker | None,
    objective: Objective | None,
    recipe: Recipe,
    like: Run | None,
    validation: float | None,
    test: float | None,
    groups: Sequence[Any] | np.ndarray | None,
    budget: float,
    device: torch.device,
    display: Display,
) -> Setting:
    """All choices, said on the display, with network, objective and one real batch checked against each other."""
    if like is not None:
        net = folders.fresh_net(like, like.recipe.seed) if net is None else net
        objective = like.objective if objective is None else objective
        recipe = like.recipe
    own64 = isinstance(net, nn.Module) and any(p.dtype == torch.float64 for p in net.parameters())
    prepared = prepare(
        data,
        seed=recipe.seed,
        validation=validation,
        test=test,
        groups=groups,
        precision="float64" if own64 else "float32",
    )
    train = prepared.part("train")
    folders.show_data(display, prepared)
    reasons: dict[str, str] = {}
    if objective is None:
        objective, reasons["objective"] = choices.choose_objective(train)
    ours = net is None
    if net is None:
        net, reasons["net"] = choices.choose_net(train, objective, recipe.seed, budget)
    elif not isinstance(net, nn.Module):
        net = choices.made_net(net, train, objective, recipe.seed)
    prepared = replace(prepared, scaling=published_scaling(net, prepared.scaling))
    fitted = net.to(device)
    _refuse_blind_stopping(recipe, prepared)
    first = Batches(data=train, scaling=prepared.scaling, batch_size=32, seed=recipe.seed, device=device)
    within_memory(lambda size: check(fitted, objective, next(first.in_order(size))), first.batch_size)
    wanted = recipe.batch_size or default_batch_size(len(train))[0]

    def resolved(net: nn.Module) -> tuple[tuple[Recipe, dict[str, str], list[dict[str, Any]]], int]:
        return within_memory(
            lambda size: _resolve(
                recipe if size == wanted else replace(recipe, batch_size=size),
                prepared,
                train,
                net,
                objective,
                device,
                budget,
            ),
            wanted,
        )

    (found, why, measured), size = resolved(fitted)
    while ours and recipe.epochs is None and found.epochs is not None:
        other = choices.other_width(fitted, found.epochs, train, objective, recipe.seed)
        if other is None:
            break
        fitted, reasons["net"] = other[0].to(device), other[1]
        (found, why, measured), size = resolved(fitted)
    recipe = found
    reasons |= why
    if size < wanted:
        reasons["batch_size"] = _halved(wanted, size)
    setting = Setting(
        prepared=prepared,
        net=fitted,
        objective=objective,
        recipe=recipe,
        reasons=reasons,
        measured=measured,
        device=device,
    )
    folders.show_choices(display, setting)
    return setting


def _resolve(
    recipe: Recipe,
    prepared: Prepared,
    train: Dataset,
    net: nn.Module,
    objective: Objective,
    device: torch.device,
    budget: float,
) -> tuple[Recipe, dict[str, str], list[dict[str, Any]]]:
    if recipe.is_resolved:
        return recipe, {}, []
    measured: list[dict[str, Any]] = []

    def batches(batch_size: int, layout: str) -> Batches:
        from hubel.fitting.recipe import default_augmentation

        changes = default_augmentation(train, 1)[0] if recipe.augmentation is None else recipe.augmentation
        return Batches(
            data=train,
            scaling=prepared.scaling,
            batch_size=batch_size,
            seed=recipe.seed,
            augmentation=changes,
            device=device,
            layout=layout,
        )

    def choose_precision(batch_size: int) -> tuple[Precision, str]:
        batch = next(batches(batch_size, "contiguous").epoch(1))
        chosen, tried, why = probe(net, objective, batch, seconds=max(0.5, SHARE * budget), device=device)
        measured.extend(m.as_json() for m in tried)
        return chosen, why

    def choose_epochs(batch_size: int, precision: Precision) -> tuple[int, str]:
        from hubel.fitting.recipe import default_optimizer

        optimizer = recipe.optimizer or default_optimizer(net, batch_size)[0]
        made = batches(batch_size, precision.layout)
        pace = choices.measure_pace(
            net, objective, made, optimizer, precision, device, min(2.0, SHARE * budget)
        )
        return choices.choose_epochs(
            pace,
            made.steps_per_epoch,
            len(train),
            len(prepared.rows["validation"]),
            budget,
            useful=useful_epochs(net, len(train)),
        )

    resolved, why = recipe.resolve(train, net, choose_precision=choose_precision, choose_epochs=choose_epochs)
    return resolved, why, measured


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
    return Run(folder, net=_given(setting), device=str(setting.device))


def _trained(
    folder: Path, setting: Setting, display: Display, checkpoint_seconds: float, *, resumed: bool
) -> tuple[Training, str]:
    """The training when it has ended, and why. Where memory does not suffice, the batch is halved, which is said and written
    into the recipe, and the training begins again: so `resume` and `like` repeat what was run.
    """
    whole = setting.recipe.batch_size
    assert whole is not None

    def attempt(batch_size: int) -> tuple[Training, str]:
        if batch_size < whole:
            display.say(f"Batch size {_halved(whole, batch_size)}; the training begins again.")
            _begin_again(folder, setting, batch_size, _halved(whole, batch_size))
            training = Training(_job(folder, setting, checkpoint_seconds))
        else:
            job = _job(folder, setting, checkpoint_seconds)
            training = _go_back(job, display) if resumed else Training(job)
        try:
            return training, training.run(display)
        except NonFiniteLoss as error:
            training.save()
            folders.update(folder, status="failed", stopped=str(error))
            raise

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
    )


def _begin_again(folder: Path, setting: Setting, batch_size: int, why: str) -> None:
    """Back to the initial weights, with smaller batches. Killed at any line of this, a resume begins again too."""
    codec.assign(setting.net.state_dict(), Checkpoints(folder).read(("start",)).trees["start"], "network")
    write_initial(folder, setting.net)
    files.write_text(folder / "curves.jsonl", "")
    setting.recipe = replace(setting.recipe, batch_size=batch_size)
    setting.reasons["batch_size"] = why
    folders.update(folder, recipe=setting.recipe, reasons=setting.reasons)


def write_initial(folder: Path, net: nn.Module) -> None:
    """The first checkpoint, alone: the initial weights (role "start"), which nothing else could give back for a network of the
    user's own.
    """
    start = {name: value.detach() for name, value in net.state_dict().items()}
    Checkpoints(folder).write(0, {"start": start}, alone=True)


def _halved(wanted: int | None, size: int) -> str:
    return f"halved from {wanted} to {size}, because memory did not suffice"


def _still_intact(folder: Path, error: OSError) -> OSError:
    """`error` with what is left and how to go on; `run.json` says it too, where that can still be written."""
    said = f"{error.strerror or error}. What was saved before is intact: make room, then go on with hubel resume {folder}"
    with suppress(OSError, ValueError, RuntimeError):
        folders.update(
            folder, status="failed", stopped=f"{error.strerror or error}: {error.filename or folder}"
        )
    return OSError(error.errno, said, error.filename or str(folder))


def _refuse_blind_stopping(recipe: Recipe, prepared: Prepared) -> None:
    """Early stopping and plateaus look at a validation loss."""
    if len(prepared.rows["validation"]):
        return
    blind = "early stopping" if recipe.early_stopping else "the plateau schedule"
    if recipe.early_stopping or isinstance(recipe.schedule, Plateau):
        raise ValueError(
            f"{blind} watches the validation loss, but the validation part is empty: leave a part for it (validation=0.1), "
            "or fit without it"
        )


def _go_back(job: Job, display: Display) -> Training:
    """The training at its newest whole checkpoint, or at the initial weights where it was killed before any other."""
    checkpoints = Checkpoints(job.folder)
    found = checkpoints.read(("state", "best", "start"))
    for note in found.notes:
        display.say(note)
    try:
        if "state" in found.trees:
            training = Training(job)
            training.load(found.trees["state"], found.trees.get("best"))
        else:
            codec.assign(job.net.state_dict(), found.trees["start"], "network")
            training = Training(job)
    except (LookupError, TypeError, AttributeError) as error:
        raise DamagedRun(
            f"the checkpoint of step {found.step} in {job.folder} is not one of this training ({error!r}): fit again"
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
    whole = dataset_of(data, y, options=loading.get("options"), progress=display.counting("reading"))
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
    return Setting(
        prepared=prepared,
        net=net,
        objective=run.objective,
        recipe=run.recipe,
        reasons=dict(run.about.get("reasons", {})),
        measured=[],
        device=run.device,
    )


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else open_run(run)


def _given(setting: Setting) -> nn.Module | None:
    """The user's own network, which a folder can not rebuild."""
    return None if hasattr(setting.net, "made_by") else setting.net


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
    if program == "hubel":
        return shlex.join(["hubel", *sys.argv[1:]])
    return f"hubel.fit(...) in {program}" if program else "hubel.fit(...)"


__all__ = ["Setting", "decide", "fit", "resume"]
