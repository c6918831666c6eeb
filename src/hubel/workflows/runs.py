"""`report`: the page of a run. `list_runs`: what runs there are. `demo`: the whole road in half a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubel.core import files, names
from hubel.fitting import Ensemble, Recipe, Run, open_run
from hubel.fitting.about import is_equation, read_equation
from hubel.fitting.ensemble import ENSEMBLE, FOLDS, read_several
from hubel.physics import Solution
from hubel.workflows.crossval import CrossValidation
from hubel.workflows.fit import fit


def report(run: Run | Ensemble | CrossValidation | Solution | Path | str) -> Path:
    """Write `report.html` of a run (or of an ensemble, a cross-validation, the solution of an equation) again, and answer its path.

    Raises `FileNotFoundError` where there is no run, `DamagedRun` or `ValueError` where its `run.json` can not be read, `OSError`
    where the page can not be written.

    >>> import hubel, numpy as np, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(report(run).name)
    report.html
    """
    from hubel.show import equation
    from hubel.show import report as page

    place = run if isinstance(run, (str, Path)) else run.folder
    if place is None:
        raise ValueError(
            "this solution lies in no folder: hubel.solve writes one, hubel.physics.solve does not"
        )
    if is_equation(place):
        path = Path(place) / "report.html"
        files.write_text(path, equation.report(place))
        return path
    if isinstance(run, (str, Path)):
        folder = Path(run)
        files_of_several = [folder / name for name in (ENSEMBLE, FOLDS) if (folder / name).exists()]
        for path in files_of_several:
            read_several(path)
        folder = folder if files_of_several else open_run(folder).folder
    else:
        folder = Path(place)
    files.write_text(folder / "report.html", page(folder))
    return folder / "report.html"


def list_runs(folder: Path | str = "runs") -> list[dict[str, Any]]:
    """A dict a run below `folder`, newest first: name, status and why it stopped, data, network, headline score, seconds. Damaged ones say so.

    Raises `FileNotFoundError` where `folder` is no folder.

    >>> import hubel, numpy as np, tempfile
    >>> x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    >>> recipe = Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = fit(x, (x[:, 0] > 0).astype(int), recipe=recipe, out=folder + "/run", quiet=True)
    ...     print([(row["status"], row["examples"]) for row in list_runs(folder)])
    [('finished', 40)]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: name the folder that holds your runs, or make one with hubel fit"
        )
    rows = []
    for path in sorted(folder.rglob("run.json")):
        try:
            known = is_equation(path.parent)
            rows.append(_row_of_equation(path.parent) if known else _row(open_run(path.parent, device="cpu")))
        except (ValueError, RuntimeError, KeyError) as error:
            rows.append({"run": str(path.parent), "status": "damaged", "why": str(error), "created": ""})
    for path in sorted([*folder.rglob(ENSEMBLE), *folder.rglob(FOLDS)]):
        try:
            rows.append(_row_of_several(path))
        except (ValueError, RuntimeError, KeyError) as error:
            rows.append({"run": str(path.parent), "status": "damaged", "why": str(error), "created": ""})
    return sorted(rows, key=lambda row: row["created"], reverse=True)


def _row_of_several(path: Path) -> dict[str, Any]:
    about = read_several(path)
    names = [row["folder"] for row in about["runs"]]
    first = open_run(path.parent / names[0], device="cpu") if names else None
    headline, score = _headline(about.get("test", {}))
    status = str(about["status"])
    return {
        "run": str(path.parent),
        "status": "interrupted" if status == "running" and not files.is_locked(path.parent) else status,
        "stopped": str(about.get("stopped", "")),
        "created": about["created"],
        "data": None if first is None else first.about["data"]["name"],
        "examples": None if first is None else first.about["data"]["examples"],
        "net": f"{about['kind']} of {about['asked']['number']}",
        "parameters": 0 if first is None else first.about["net"]["parameters"] * len(names),
        "score": None if score is None else {"name": headline, **score},
        "seconds": about.get("seconds"),
    }


def _row_of_equation(folder: Path) -> dict[str, Any]:
    about = read_equation(folder)
    headline, score = _headline(about["test"])
    status = str(about["status"])
    return {
        "run": str(folder),
        "status": "interrupted" if status == "running" and not files.is_locked(folder) else status,
        "stopped": str(about.get("stopped", "")),
        "created": about["created"],
        "data": about["problem"]["title"],
        "examples": 0,
        "net": "equation",
        "parameters": about.get("weights") or 0,
        "score": None if score is None else {"name": headline, **score},
        "seconds": about.get("seconds"),
    }


def _headline(scores: dict[str, Any]) -> tuple[str | None, Any]:
    """The score that stands for a run: of samples how far they are from the data, of other networks the first."""
    name = "frechet_distance" if "frechet_distance" in scores else next(iter(scores), None)
    return name, None if name is None else scores[name]


def _row(run: Run) -> dict[str, Any]:
    about = run.about
    headline, score = _headline(run.test)
    return {
        "run": str(run.folder),
        "status": run.status,
        "stopped": run.stopped,
        "created": about["created"],
        "data": about["data"]["name"],
        "examples": about["data"]["examples"],
        "net": names.net_word(about["net"]),
        "parameters": about["net"]["parameters"],
        "score": None if score is None else {"name": headline, **score},
        "seconds": about.get("seconds"),
    }


def demo(out: Path | str | None = None, *, quiet: bool = False) -> Run:
    """Fit scikit-learn's 1,797 handwritten digits (8 × 8), which are part of the installation, and write the report."""
    return fit("digits", out=out, recipe=Recipe(seed=0), budget=15.0, quiet=quiet)
