"""The end of a fit: the test score with its interval, the predictions, the worst mistakes, what entered the network, the report."""

from __future__ import annotations

import math
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubel.core import files
from hubel.core.errors import is_out_of_memory
from hubel.core.types import Interval, Prediction
from hubel.data import Dataset
from hubel.data.encoding import Encoding
from hubel.data.forecasting import NaiveForecast
from hubel.fitting.evaluation import of_network
from hubel.fitting.run import examples_within, pieces_of
from hubel.nets.made import is_as_made
from hubel.objectives import Detection, NextSymbol, OwnTarget
from hubel.objectives.objective import Pieces, together
from hubel.workflows import folders
from hubel.workflows.display import Display
from hubel.workflows.given_back import DRAWN, baselines, ids_of, shown_of
from hubel.workflows.of_boxes import boxes_shown
from hubel.workflows.of_masks import masks_shown
from hubel.workflows.of_series import naive_scores, series_entering, series_shown
from hubel.workflows.write import start_of_a_text, written

if TYPE_CHECKING:
    from hubel.objectives import Objective
    from hubel.workflows.deciding import Setting
    from hubel.workflows.training import Training

NUM_WORST = 24
NUM_ENTERING = 16
NUM_WRITTEN = 600  # symbols
TO_CALIBRATE = 2**22  # raw scores


def conclude(folder: Path, setting: Setting, training: Training, stopped: str, display: Display) -> None:
    """Score the test part once with the chosen weights, and write `predictions.npz`, `run.json` and `report.html`."""
    from hubel.show import report

    objective = setting.objective = _calibrated(setting, training)
    name = "test" if len(setting.prepared.rows["test"]) else "validation"
    part = setting.prepared.part(name)
    scores: dict[str, Interval] = {}
    about: dict[str, Any] = {}
    if len(part):
        prediction = objective.answered(_pieces(setting, training, part))
        scores = objective.metrics(prediction, np.asarray(part.targets), part.groups)
        scores |= of_network(objective, training.net, setting.prepared.scaling, part, setting.device)
        if isinstance(objective, OwnTarget):
            shown = shown_of(
                training.net,
                objective,
                setting.prepared.scaling,
                part,
                prediction,
                precision=training.precision,
                seed=setting.recipe.seed,
                device=setting.device,
            )
            shown |= {
                name: middle_slices(shown[name]) for name in DRAWN if name in shown and shown[name].ndim == 5
            }
            about["baselines"] = baselines(training.net, objective, setting.prepared.part("train"), part)
            write_arrays(folder, shown | entering(training))
        elif part.has_boxes:
            assert isinstance(objective, Detection)
            shown, about["errors"] = boxes_shown(part, prediction, objective.threshold)
            write_arrays(folder, {"ids": ids_of(part)} | shown | entering(training))
        else:
            naive, best = naive_scores(setting.prepared.part("train"), part, prediction)
            about |= {"naive": naive} if naive else {}
            write_predictions(folder, part, prediction, entering(training), best)
        del prediction  # the page reads what was written
    if isinstance(objective, NextSymbol) and objective.alphabet is not None:
        about["written"] = text_of_its_own(setting, training, objective)
    folders.update(
        folder,
        status="finished",
        stopped=stopped,
        objective=objective,
        seconds=training.position.seconds,
        scored_part=name,
        test={metric: score.as_json() for metric, score in scores.items()},
        test_looks=1 if name == "test" and scores else 0,
        **about,
    )
    display.say(f"{stopped[0].upper()}{stopped[1:]}.")
    if scores:
        headline = setting.objective.headline
        told = score_text(headline, scores[headline], unit_of(setting.objective, headline))
        display.say(f"{name.capitalize()} {headline.replace('_', ' ')}: {told}")
        for words, found in about.get("naive", {}).items():
            display.say(f"  beside it: {words} {found[headline]['value']:.4g}{_saved(found['skill'])}")
    if "frechet_distance" in scores:
        samples, halves = scores["frechet_distance"], scores["frechet_of_halves"]
        display.say(
            f"Samples: Fréchet distance {samples} (between two halves of the data {halves.value:.3g})"
        )
    display.say(f"Run:    {folder}")
    try:
        files.write_text(folder / "report.html", report(folder))
    except OSError:
        raise  # a full disk: what to do is said by the caller
    except Exception as error:  # the run is whole and finished: a page that fails must not take it away
        warnings.warn(
            f"the report could not be made ({type(error).__name__}: {error}). The run is whole; try again with: "
            f"hubel report {shlex.quote(str(folder))}",
            RuntimeWarning,
            stacklevel=2,
        )
    else:
        display.say(f"Report: {folder / 'report.html'}")


def _calibrated(setting: Setting, training: Training) -> Objective:
    """The objective with its temperature found on the validation part."""
    part = setting.prepared.part("validation")
    if not len(part):
        return setting.objective
    part = part.view(_enough_to_calibrate(setting.objective, part))
    outputs, targets = together(_pieces(setting, training, part))
    return setting.objective.calibrated(outputs, targets)


def _enough_to_calibrate(objective: Objective, part: Dataset) -> np.ndarray:
    """Rows of a part, evenly over it, that have `TO_CALIBRATE` raw scores or all that there are: one number is found as well from these."""
    count = examples_within(objective, part, TO_CALIBRATE, most=len(part))
    return np.linspace(0, len(part) - 1, count).round().astype(np.int64)


def _pieces(setting: Setting, training: Training, part: Dataset) -> Pieces:
    """Raw scores and targets of a part with the chosen weights."""
    return pieces_of(
        training.net, setting.objective, setting.prepared.scaling, training.precision, part, setting.device
    )


def unit_of(objective: Objective, score: str) -> str:
    """The unit of a score that has the one of all targets; nothing for others."""
    units = set(getattr(objective, "units", None) or ())
    return units.pop() if score in ("rmse", "mae") and len(units) == 1 else ""


def score_text(name: str, score: Interval, unit: str = "") -> str:
    """A score with its interval and its unit for a reader."""
    form = ".2%" if name in ("accuracy", "balanced_accuracy", "f1_macro", "mean_iou") else ".4g"
    counted = {"bits_per_symbol": "windows", "mean_iou": "pictures", "AP50[all-point]": "pictures"}.get(
        name, "examples"
    )
    unit = f" {unit}" if unit else ""
    if math.isnan(score.low):
        return f"{score.value:{form}}{unit} ({score.method or 'no interval'})"
    text = f"{score.value:{form}} [{score.low:{form}}, {score.high:{form}}]{unit}"
    return text + (f" ({score.level:.0%} interval, {score.count:,} {counted})" if score.count else "")


def _saved(skill: dict[str, Any]) -> str:
    """The share of the squared error of a naive forecast that the network saves, in words; nothing where it makes no error."""
    if skill["value"] is None:
        return ""
    told = f", of whose squared error the network saves {skill['value']:.0%}"
    return told if skill["low"] is None else f"{told} [{skill['low']:.0%}, {skill['high']:.0%}]"


def write_predictions(
    folder: Path,
    part: Dataset,
    prediction: Prediction,
    more: dict[str, np.ndarray],
    naive: NaiveForecast | None = None,
) -> None:
    """`predictions.npz`: what was predicted for every example of the part, the pictures or series of the worst (of forecasts beside the
    `naive` one), and what `more` there is.
    """
    if part.has_masks:
        write_arrays(folder, {"ids": ids_of(part)} | masks_shown(part, prediction) | more)
        return
    targets = np.asarray(part.targets)
    content: dict[str, np.ndarray] = {
        "ids": ids_of(part),
        "targets": targets.argmax(1) if part.has_probabilities else targets,
        "values": prediction.values,
    }
    if part.has_probabilities:
        content["target_probabilities"] = targets
    if prediction.uncertainties is not None:
        content["uncertainties"] = prediction.uncertainties
    if prediction.probabilities is not None:
        content["probabilities"] = prediction.probabilities.astype(np.float32, copy=False)
        if targets.ndim == 1:
            content["values"] = prediction.values.astype(targets.dtype, copy=False)  # class numbers
    worst = worst_rows(part, prediction)
    content["worst_rows"] = worst
    if prediction.surprisals is not None:
        content["surprisals"] = prediction.surprisals.astype(np.float32)
        content["values"] = prediction.values.astype(targets.dtype)  # numbers of symbols, as they are stored
    if len(part.shape) in (3, 4):
        lengths = None if part.lengths is None else part.lengths[worst]
        content["worst_pictures"] = pictures_of(part, np.asarray(part.inputs[worst]), lengths)
    write_arrays(folder, content | series_shown(part, worst, naive) | more)


def write_arrays(folder: Path, content: dict[str, np.ndarray]) -> None:
    """`predictions.npz`, whole or not at all."""
    with files.replacing(folder / "predictions.npz") as file:
        np.savez_compressed(file, **content)  # type: ignore[arg-type]


def worst_rows(part: Dataset, prediction: Prediction) -> np.ndarray:
    """Rows of the examples with the greatest error, worst first: least probability of the truth, or largest deviation."""
    targets = np.asarray(part.targets)
    if prediction.surprisals is not None:
        return np.argsort(-prediction.surprisals.mean(1), kind="stable")[:NUM_WORST].astype(np.int64)
    rows = np.arange(len(part))
    if prediction.probabilities is None:
        wanted = targets.reshape(prediction.values.shape)
        spread = np.maximum(wanted.std(axis=0), 1e-300)  # units may differ
        error = (np.abs(prediction.values - wanted) / spread).max(1)
    elif targets.ndim == 2:
        error = np.abs(prediction.probabilities - targets).max(1)
    else:
        rows = np.flatnonzero(prediction.values != targets)
        error = 1 - prediction.probabilities[rows, targets[rows].astype(np.int64)]
    if part.spans is None and len(rows) > NUM_WORST:
        worst = np.flatnonzero(~(error < -np.partition(-error, NUM_WORST - 1)[NUM_WORST - 1]))
        rows, error = rows[worst], error[worst]
    order = rows[np.argsort(-error, kind="stable")]
    if part.spans is not None:
        order = _apart(order, np.asarray(part.spans)[:, 0], int(part.reading.get("horizon", 1)))
    return order[:NUM_WORST].astype(np.int64)


def _apart(order: np.ndarray, first: np.ndarray, least: int) -> np.ndarray:
    """Of rows in their order those whose windows begin at least so many steps from all before them: one event is shown once.

    >>> _apart(np.array([2, 1, 0, 3]), np.array([0, 4, 5, 9]), 3)
    array([2, 0, 3])
    """
    kept: list[int] = []
    for row in order.tolist():
        if all(abs(int(first[row]) - int(first[other])) >= least for other in kept):
            kept.append(row)
        if len(kept) == NUM_WORST:
            break
    return np.array(kept, np.int64)


def entering(training: Training) -> dict[str, np.ndarray]:
    """The first batch of the first epoch, exactly as it entered the network."""
    batch = next(training.batches.epoch(1))
    scaling = training.job.scaling
    if training.job.train.alphabet is not None:
        return {
            "entering_symbols": batch.inputs[:NUM_ENTERING].cpu().numpy(),
            "entering_targets": batch.targets[:NUM_ENTERING].cpu().numpy(),
        }
    if isinstance(scaling, Encoding):
        names = scaling.names(training.job.train.reading["columns"])
        return {"entering_pictures": batch.inputs.float().cpu().numpy(), "entering_names": np.array(names)}
    if training.job.train.reading.get("kind") == "table":
        names = [column["name"] for column in training.job.train.reading["columns"]]
        return {"entering_pictures": batch.inputs.float().cpu().numpy(), "entering_names": np.array(names)}
    if batch.inputs.ndim == 3 and not training.job.train.is_its_own_target:
        return series_entering(batch)
    if batch.inputs.ndim not in (4, 5):
        return {}
    train = training.job.train
    name = "masks" if train.has_masks else "boxes" if train.has_boxes else "targets"
    targets = {f"entering_{name}": batch.targets[:NUM_ENTERING].cpu().numpy()}
    lengths = None if batch.lengths is None else batch.lengths[:NUM_ENTERING].cpu().numpy()
    return {
        "entering_pictures": pictures_of(
            training.job.train, batch.inputs[:NUM_ENTERING].float().cpu().contiguous().numpy(), lengths
        ),
        **({} if training.job.train.is_its_own_target else targets),
    }


def text_of_its_own(setting: Setting, training: Training, objective: NextSymbol) -> dict[str, Any]:
    """A text that the network writes at the end of its fit, and what it was asked; nothing where a network of the user's own can not read
    texts as short as its beginning, which is said.
    """
    assert objective.alphabet is not None
    asked = {"length": NUM_WRITTEN, "temperature": 1.0, "seed": setting.recipe.seed}
    net = training.net.eval()
    start = start_of_a_text(objective.alphabet)
    symbols = written(net, objective, start, setting.device, context=setting.prepared.whole.shape[0], **asked)
    try:
        return {**asked, "text": "".join(symbols)}
    except Exception as error:  # the run is whole: what only shows it must not take it away
        if is_as_made(setting.net) or is_out_of_memory(error):
            raise
        warnings.warn(
            f"the network could not write a text ({type(error).__name__}: {error}): it has to answer windows of any length up to that of training",
            RuntimeWarning,
            stacklevel=2,
        )
        return {}


def pictures_of(data: Dataset, examples: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Examples of `data` as pictures: volumes by their middle slices, image series [m, T, C, H, W] by the first channel of each picture,
    with NaN (float32) in place of pictures beyond their `lengths` [m].
    """
    if data.kind != "image series":
        return middle_slices(examples)
    films = examples[:, :, 0]
    if lengths is None:
        return films
    beyond = np.arange(films.shape[1]) >= lengths[:, None]
    return np.where(beyond[:, :, None, None], np.float32(np.nan), films.astype(np.float32))


def middle_slices(examples: np.ndarray) -> np.ndarray:
    """Volumes [m, C, D, H, W] as pictures: their middle planes [H, W], [D, W] and [D, H] side by side, with NaN between and below them
    (float32); pictures [m, C, H, W] as they are.

    >>> middle_slices(np.zeros((2, 1, 3, 5, 4))).shape
    (2, 1, 5, 17)
    """
    if examples.ndim == 4:
        return examples
    depth, height, width = examples.shape[2:]
    planes = (
        examples[:, :, depth // 2],
        examples[:, :, :, height // 2],
        examples[:, :, :, :, width // 2],
    )
    gap = max(2, width // 16)
    whole = np.full(
        (*examples.shape[:2], max(height, depth), sum(p.shape[3] for p in planes) + 2 * gap),
        np.nan,
        np.float32,
    )
    left = 0
    for plane in planes:
        whole[:, :, : plane.shape[2], left : left + plane.shape[3]] = plane
        left += plane.shape[3] + gap
    return whole


def as_json(scores: dict[str, Interval]) -> dict[str, Any]:
    """Scores as plain values."""
    return {name: score.as_json() for name, score in scores.items()}
