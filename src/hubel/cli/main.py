"""`hubel VERB …`: parse words, call the workflow of the same name, turn what happened into an exit code.

0 success · 1 the work failed · 2 the words are wrong · 130 interrupted (a run is saved). Answers go to stdout, progress and
errors to stderr. Nothing heavy is imported before a verb needs it, so that --help answers at once.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from hubel.cli import dreaming, explaining, solving, words
from hubel.cli.data_options import (
    Category,
    Channels,
    Columns,
    Download,
    Forecast,
    Ignore,
    Kind,
    Least,
    Length,
    Missing,
    Nan,
    Overlap,
    Resize,
    Season,
    Size,
    Skip,
    Step,
    Symmetry,
    Target,
    Task,
    Tile,
    Time,
    Tokens,
    Unlabelled,
    VocOffset,
)
from hubel.cli.options import Device, Json, Quiet, RunFolder

app = typer.Typer(
    name="hubel",
    help="From labelled data to a network that can be trusted: fit it, see whether the fit is sound, take it away.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Run folder to make (default: runs/DATE-NAME-N).")
]
DeviceAgain = Annotated[
    str,
    typer.Option(
        help='"auto" is the device on which the run began; another one changes the last bits of the weights.'
    ),
]


@app.callback(invoke_without_command=True)
def hubel(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """From labelled data to a network that can be trusted."""
    if version:
        from hubel.core.version import VERSION

        print(f"hubel {VERSION}")
        raise typer.Exit


@app.command(short_help="Fit a network to labelled data; a run folder with its report.")
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders (or of images and masks), a table (.csv, .tsv, .parquet, .xlsx), an array file, a text, a long series (--forecast), or built-in data (digits, opticks, fashion-mnist, mnist, cifar-10, cifar-100).",
        ),
    ],
    out: Out = None,
    net: Annotated[
        str | None, typer.Option(help="Network: " + ", ".join(words.NETS) + " (default: chosen).")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help='Published weights for --net: a .safetensors or .pth file, or "hf:OWNER/REPO" (fetched with --download).'
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="What a detector is to see with: the folder of a run on pictures (a classifier, an autoencoder), or a network with published weights (--weights)."
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help='A layer that keeps its weights, by name, or "all-but-last"; several times for several.'
        ),
    ] = None,
    latent: Annotated[
        int | None, typer.Option(help="Values of the code, with --target self (default: 32 for pictures).")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training part (default: what the budget allows).")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help='Training time: "90s", "20m", "2h" (default: 345s; 570s where objects are to be found).'
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step.")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="Optimizer: " + ", ".join(words.OPTIMIZERS) + ".")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Learning-rate schedule: " + ", ".join(words.SCHEDULES) + ".")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop early after so many epochs without improvement, and keep the best weights."),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16 (default: measured).")] = None,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    validation: Annotated[
        float | None, typer.Option(help="Share for validation, or a whole number of examples.")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share for the test, or a whole number of examples.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="Take network, objective and resolved recipe from this run.")
    ] = None,
    members: Annotated[
        int | None, typer.Option(help="Fit an ensemble of so many seeds (--budget is the time of each).")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate in so many folds (--budget is the time of each).")
    ] = None,
    target: Target = None,
    columns: Columns = None,
    ignore: Ignore = None,
    category: Category = None,
    missing: Missing = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Real values with error bars, one standard deviation each.")
    ] = False,
    balance: Annotated[
        bool, typer.Option("--balance", help="Every class counts alike, however rare it is.")
    ] = False,
    focus: Annotated[
        float,
        typer.Option(
            help="Exponent of the focal loss, which counts less what is right already (2 is usual)."
        ),
    ] = 0.0,
    size: Size = None,
    resize: Resize = "pad",
    channels: Channels = None,
    nan: Nan = "refuse",
    task: Task = None,
    skip_unreadable: Skip = False,
    symmetry: Symmetry = None,
    kind: Kind = None,
    time: Time = None,
    forecast: Forecast = None,
    season: Season = None,
    unlabelled: Unlabelled = None,
    tile: Tile = None,
    overlap: Overlap = None,
    voc_offset: VocOffset = None,
    download: Download = False,
    length: Length = None,
    step: Step = None,
    tokens: Tokens = None,
    least: Least = None,
    device: Device = "auto",
    checkpoint_seconds: Annotated[float, typer.Option(min=0.0, help="Seconds between checkpoints.")] = 30.0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a network to labelled data, and write a run folder with its report."""
    run = words.work(members, folds)(
        data,
        net=words.net_of(
            net, weights=weights, download=download, latent=_for_itself(latent, target), backbone=backbone
        ),
        recipe=words.recipe(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            patience=patience,
            precision=precision,
            seed=seed,
            frozen=freeze,
        ),
        out=out,
        like=like,
        options=words.load_options(
            target, size, resize, channels, kind, nan, task, skip_unreadable, symmetry, download
        )
        | words.series_options(time=time, forecast=forecast, length=length, season=season)
        | words.table_options(columns, ignore, category, missing)
        | words.mask_options(unlabelled)
        | words.box_options(tile, overlap, voc_offset)
        | words.text_options(step, tokens, least),
        validation=validation,
        test=test,
        uncertainty=uncertainty,
        balance=balance,
        focus=focus,
        budget=None if budget is None else words.seconds(budget),
        device=device,
        quiet=quiet,
        checkpoint_seconds=checkpoint_seconds,
    )
    _end(run, as_json, quiet)


@app.command(short_help="Go on with an interrupted run.")
def resume(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Option(help="Where the data lie now, if they have been moved (of a single run).")
    ] = None,
    equation: Annotated[
        Path | None,
        typer.Option(help="The file of an equation of your own (of the run of one), which is executed."),
    ] = None,
    device: DeviceAgain = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run (or with several in one folder), to the weights that it would have had without the interruption."""
    more = {} if data is None else {"data": data}
    resumer = words.resumer(run)
    if resumer.__name__ == "resume_solution":
        solving.resume(
            run,
            equation=equation,
            others={"--data": data, "--device": device != "auto"},
            quiet=quiet,
            as_json=as_json,
        )
        return
    if equation is not None:
        raise words.WrongWords(f"--equation is for the run of an equation; {run} is another run")
    if more and resumer.__name__ != "resume":
        raise words.WrongWords(
            "--data is for a single run; the folders of several are gone on with one by one"
        )
    _end(resumer(run, device=device, quiet=quiet, **more), as_json, quiet)


@app.command(short_help="Fit 1,797 embedded digits: all of it in half a minute.")
def demo(out: Out = None, quiet: Quiet = False, as_json: Json = False) -> None:
    """Fit 1,797 handwritten digits that come with the installation: the whole road in half a minute."""
    from hubel import workflows

    _end(workflows.demo(out, quiet=quiet), as_json, quiet)


@app.command(short_help="What the network says of new files, a line a file.")
def predict(
    run: RunFolder,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES", help="Pictures, series, folders of them, tables, array files, or texts."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines in place of CSV.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write to this file in place of stdout; of a network fitted to masks, the folder for its masks; of a detector, its boxes (--format).",
        ),
    ] = None,
    skip_unreadable: Annotated[
        bool,
        typer.Option(
            "--skip-unreadable", help="Say in its line that a file can not be read, and end with 0."
        ),
    ] = False,
    channels: Annotated[
        str | None,
        typer.Option(
            help='"rgb" or "grey": convert pictures that have other channels than the training data.'
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Of a detector: the least score of an object (default: found on the validation part)."
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Of a detector, with --out: coco, yolo, voc, csv or label-studio (default: .json is coco, .csv a table).",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Of a detector: a folder for the pictures with their boxes, as PNG."),
    ] = None,
    device: Device = "auto",
) -> None:
    """What the network says of new files: class, probability, top five, or values with their units; a line a file or a row. Of a text, the bits a symbol; of masks, the share of each class; of a detector, the objects."""
    from hubel import workflows
    from hubel.cli import answers
    from hubel.fitting import open_fitted
    from hubel.workflows.predict_boxes import finds_objects
    from hubel.workflows.predict_masks import answers_masks
    from hubel.workflows.unanswered import Unanswered

    known = open_fitted(run, device=device)
    masks = out if answers_masks(known) else None  # a folder for these, a file for all other answers
    asked = {"threshold": threshold, "format": form, "pictures": pictures}
    boxes = {name: value for name, value in asked.items() if value is not None}
    if finds_objects(known):
        if as_json and form is not None:
            raise words.WrongWords(
                f"--json writes lines of JSON, --format {form} another format: say one of them"
            )
        if as_json and out is not None and out.exists():
            raise FileExistsError(f"{out} is there already: name another file, or remove it")
        boxes |= {} if out is None or as_json else {"out": out}
    elif out is not None and masks is None:
        answers.refuse_unwritable(out)
    found = workflows.predict_files(
        known,
        files,
        skip_unreadable=True,
        masks=masks,
        channels=words.conversion(channels),
        boxes=boxes,
    )
    unanswered = Unanswered()
    if not skip_unreadable:
        found = unanswered.apart(found)
    if finds_objects(known) and not as_json:
        found = answers.objects(found)
    answers.write(found, as_json=as_json, out=None if masks is not None or "out" in boxes else out)
    unanswered.refuse(" (--skip-unreadable says so in a line of each, and counts it as no failure)")


@app.command(short_help="New examples, made by a generative network.")
def sample(
    run: RunFolder,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Where to: .png (a sheet of pictures), .npz or .npy.")
    ],
    number: Annotated[int, typer.Option("--number", "-n", help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    device: Device = "auto",
) -> None:
    """New examples, made by a generative network (fitted with --target self)."""
    from hubel import workflows

    workflows.write_samples(workflows.sample(run, number, seed=seed, device=device), out)
    print(out)


@app.command(short_help="All scores with their intervals.")
def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Labelled data (default: the run's own test part).")
    ] = None,
    target: Target = None,
    channels: Channels = None,
    nan: Nan = "refuse",
    skip_unreadable: Skip = False,
    unlabelled: Unlabelled = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """All scores with their intervals. Other data are read as those of the run were, where no option says otherwise."""
    from hubel import workflows
    from hubel.cli import answers

    options = words.load_options(target, None, "pad", channels, None, nan, None, skip_unreadable, None, False)
    options |= words.mask_options(unlabelled)
    if options and data is None:
        raise words.WrongWords(
            f"--{next(iter(options)).replace('_', '-')} is for other data: name them, or leave it out"
        )
    answers.scores(workflows.evaluate(run, data, options=options, device=device), as_json=as_json)


app.command(short_help="Solve an equation by a network, to a tolerance; a run folder with its report.")(
    solving.solve
)
app.command(short_help="What the network saw: figures and maps of files, filters, units, codes.")(
    explaining.explain
)
app.command(short_help="A photograph that shows more and more of what a layer looks for.")(dreaming.dream)


@app.command()
def write(
    run: RunFolder,
    prompt: Annotated[str, typer.Option(help="What the network goes on from.")] = "",
    length: Annotated[int, typer.Option(help="How many symbols it writes.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 it keeps to what is likeliest (0: always), above it dares more.")
    ] = 1.0,
    top: Annotated[
        int | None, typer.Option(help="Draw from so many of the likeliest symbols (default: all).")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Let a network that was fitted to a text write one, on stdout as it comes."""
    from hubel import workflows
    from hubel.cli import answers

    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        symbols = workflows.write(  # pyright: ignore[reportCallIssue] - the function, not the file
            run, prompt, length=length, temperature=temperature, top=top, seed=seed, device=device
        )
    for note in noticed:
        print(f"hubel: {note.message}", file=sys.stderr)
    answers.stream(symbols, prompt=prompt, as_json=as_json)


@app.command()
def report(run: RunFolder) -> None:
    """Write the report of a run again."""
    from hubel import workflows

    print(workflows.report(run))


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the runs are.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """The runs that there are, newest first."""
    from hubel import workflows
    from hubel.cli import answers

    answers.runs(workflows.list_runs(folder), as_json=as_json)


@app.command()
def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A study (default: list them).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few seconds: fewer and smaller fits.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the page (default: studies/NAME).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    as_json: Json = False,
) -> None:
    """What networks do and why, shown on small fits: a page with figures, numbers and sources."""
    from hubel.cli import answers

    if name is None:
        answers.studies(as_json=as_json)
        return
    found = words.study(name)(quick=quick, seed=seed, out=out)
    answers.study(found, as_json=as_json)


def main() -> None:
    """The entry point: run the command, and say errors in one line (all of it with HUBEL_TRACEBACK=1)."""
    if not os.environ.get("HUBEL_TRACEBACK"):
        warnings.showwarning = _noticed
    try:
        code = app(
            standalone_mode=False
        )  # typer answers the code of an Exit, or of a Ctrl-C, instead of raising it
        if code == 130:
            print("interrupted", file=sys.stderr)
        sys.exit(code)
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("HUBEL_TRACEBACK"):
            raise
        sys.exit(_said(error))


def _noticed(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    """A warning for a person: what it says, not where it stands."""
    print(f"hubel: {message}", file=sys.stderr)


def _for_itself(latent: int | None, target: list[str] | None) -> int | None:
    """`latent`, refused where the target is not the example itself."""
    if latent is not None and target != ["self"]:
        raise words.WrongWords(
            "--latent is the size of a code, which networks for --target self have: say both"
        )
    return latent


def _said(error: Exception) -> int:
    """Print the error for a person, and answer its exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
        return 2
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's: the words are wrong
        print(f"hubel: {error.format_message()}", file=sys.stderr)  # type: ignore[attr-defined]
        return 2
    expected = isinstance(error, (ValueError, TypeError, OSError, RuntimeError, ImportError))
    kind = "" if expected else f"{type(error).__name__}: "
    said = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        said = f"{error.filename}: {error.strerror}"  # without the number of the error
    print(f"hubel: {kind}{said}", file=sys.stderr)
    if not expected or isinstance(error, TypeError):
        print("  (set HUBEL_TRACEBACK=1 to see where)", file=sys.stderr)
    return 2 if isinstance(error, words.WrongWords) else 1


def _end(run: Any, as_json: bool, quiet: bool) -> None:
    """How a run ended: on stdout JSON where asked, or its folder where nothing else was said; and the exit code."""
    if quiet and not as_json:
        print(run.folder)
    if as_json:
        about = run.about
        print(
            json.dumps(
                {
                    "run": str(run.folder),
                    "status": run.status,
                    "stopped": run.stopped,
                    "test": run.test,
                    "seconds": about.get("seconds"),
                }
            )
        )
    if run.status == "interrupted":  # which the display has said
        sys.exit(130)
