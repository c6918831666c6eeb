"""What the run amounts to: the score, what it is worth, and how often the test part was looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hubel.core import files
from hubel.core.types import Interval
from hubel.metrics import accuracy, chance_level, f1_over_labels, rmse
from hubel.show import charts, wording
from hubel.show.evidence import Evidence, as_interval, as_number

FIRST = (
    "bits_per_symbol",
    "mean_iou",
    "accuracy",
    "micro_f1",
    "f1_micro",
    "subset_accuracy",
    "rmse",
    "log_likelihood",
    "frechet_distance",
)


def verdict(evidence: Evidence) -> dict[str, Any]:
    """The page's first section: score, interval, baselines, a sentence on each, and all other scores."""
    scores = dict(evidence.scores)
    counted_here = not scores
    if counted_here:
        scores = _scores_from_predictions(evidence)
    chosen = next((name for name in FIRST if name in scores), next(iter(scores), None))
    unit = target_unit(evidence)
    found: dict[str, Any] = {
        "name": None,
        "status": _status(evidence),
        "looks": _looks(evidence),
        "remarks": ["The scores were computed from predictions.npz; run.json records none."]
        if counted_here and scores
        else [],
        "rows": [
            {
                "name": wording.metric_name(name),
                "value": wording.score_value(name, score, unit),
                "interval": wording.score_interval(name, score) or "–",
                "count": "–" if score.count is None else wording.number(score.count),
                "method": score.method or "–",
            }
            for name, score in scores.items()
            if not (
                (evidence.kind == "masks" and name.startswith(("iou_", "dice_")))
                or (evidence.kind == "boxes" and " of " in name)
            )  # these have a table of their own
        ],
    }
    if chosen is None:
        return found
    score = scores[chosen]
    baselines = _baselines(evidence)
    found |= {
        "name": wording.metric_name(chosen),
        "value": wording.score_value(chosen, score, unit),
        "interval": wording.score_interval(chosen, score),
        "level": f"{100 * score.level:g} %",
        "sentence": _sentence(evidence, chosen, score),
        "comparison": _comparison(evidence, chosen, score, baselines, unit),
        "picture": "",
    }
    if wording.is_share(chosen) and not math.isnan(score.low):
        marks = _marks(baselines)
        alt = f"{found['name']} {found['value']} {found['interval']} on a line from 0 to 100 %; " + ", ".join(
            label for _, label in marks
        )
        found["picture"] = charts.score_line(score.low, score.value, score.high, marks, alt=alt)
    return found


def target_unit(evidence: Evidence) -> str:
    """The unit of a real target, where there is one unit for all."""
    units = evidence.part("data").get("units")
    units = [units] if isinstance(units, str) else units if isinstance(units, list) else []
    return str(units[0]) if units and all(u == units[0] for u in units) and units[0] else ""


def class_counts(evidence: Evidence, part: str) -> dict[str, int]:
    """How many examples of each class a part has, as recorded; empty where it is not."""
    found = {}
    for name, count in evidence.part("data", "counts", part).items():
        if (value := as_number(count)) is not None and value >= 0:
            found[str(name)] = int(value)
    return found


def _scores_from_predictions(evidence: Evidence) -> dict[str, Interval]:
    if (predicted := evidence.predicted) is None:
        return {}
    if evidence.kind == "classes":
        return {"accuracy": accuracy(*predicted)}
    if evidence.kind == "labels":
        return {"micro_f1": f1_over_labels(*predicted)["micro"]}
    return {"rmse": rmse(*predicted)}


def _baselines(evidence: Evidence) -> dict[str, float]:
    """Scores without learning: the share of the scored part that the majority answer and random guesses find."""
    if evidence.kind == "values":
        predicted = evidence.predicted
        if naive := naive_scores(evidence):
            return {name: scores["rmse"].value for name, scores in naive.items()}
        return (
            {} if predicted is None else {"mean of the targets": float(np.mean(np.std(predicted[0], axis=0)))}
        )
    if evidence.kind == "itself":
        rows = {name: row for name, row in evidence.part("baselines").items() if isinstance(row, dict)}
        return {
            str(name): rmse for name, row in rows.items() if (rmse := as_number(row.get("rmse"))) is not None
        }
    if evidence.kind == "labels":
        return {}
    if evidence.kind == "symbols":
        return _baselines_of_text(evidence)
    if evidence.kind == "masks":
        return _baselines_of_masks(evidence)
    test, train = class_counts(evidence, evidence.scored), class_counts(evidence, "train")
    if not test and evidence.predicted is not None:
        counts = np.bincount(evidence.predicted[0], minlength=len(evidence.classes))
        test = dict(zip(evidence.classes, counts.tolist(), strict=True))
    if not sum(test.values()):
        return {}
    train = train if sum(train.values()) else test
    majority = max(train, key=lambda name: train[name])
    total = sum(test.values())
    guess = (
        sum(train[name] * count for name, count in test.items() if name in train)
        / total
        / sum(train.values())
    )
    if train is test:
        guess = chance_level(list(test.values()))
    return {"guessing": guess, "most frequent class": test.get(majority, 0) / total}


def _baselines_of_text(evidence: Evidence) -> dict[str, float]:
    """Bits per symbol without looking at what came before: all symbols alike, and each as frequent as it is in the scored text."""
    found = {"all alike": math.log2(len(evidence.alphabet))}
    if evidence.foretold is not None:
        counts = np.bincount(evidence.foretold[0].ravel()).astype(np.float64)
        shares = counts[counts > 0] / counts.sum()
        found["frequencies"] = float(-(shares * np.log2(shares)).sum())
    return found


def _baselines_of_masks(evidence: Evidence) -> dict[str, float]:
    """Mean intersection over union of calling every pixel what most training pixels are."""
    test, train = class_counts(evidence, evidence.scored), class_counts(evidence, "train")
    present = [name for name, count in test.items() if count]
    if not present or not sum(train.values()):
        return {}
    majority = max(train, key=lambda name: train[name])
    overlap = test.get(majority, 0) / sum(test.values())
    return {"most frequent class": overlap / len({*present, majority})}


def _marks(baselines: dict[str, float]) -> list[tuple[float, str]]:
    """Baselines with their labels; those that read the same share one."""
    names: dict[str, list[str]] = {}
    shares: dict[str, float] = {}
    for name, share in baselines.items():
        text = wording.percent(share)
        names.setdefault(text, []).append(name)
        shares[text] = share
    return [(shares[text], f"{', '.join(found)}: {text} %") for text, found in names.items()]


def _sentence(evidence: Evidence, name: str, score: Interval) -> str:
    count = score.count or (len(evidence.predicted[0]) if evidence.predicted else None)
    where = (
        f"on {wording.number(count)} {evidence.scored} examples"
        if count
        else f"on the {evidence.scored} part"
    )
    if name == "accuracy":
        of = (
            f"of {wording.number(count)} {evidence.scored} examples"
            if count
            else f"of the {evidence.scored} examples"
        )
        return f"{of} are classified correctly (accuracy)"
    if name == "mean_iou":
        of = (
            f"{wording.number(count)} {evidence.scored} pictures"
            if count
            else f"the {evidence.scored} pictures"
        )
        return f"mean intersection over union of {len(evidence.classes)} classes, over all pixels of {of}"
    if name == "bits_per_symbol":
        windows = (
            f"{wording.number(count)} windows of the {evidence.scored} text"
            if count
            else f"the {evidence.scored} text"
        )
        return f"bits for each symbol of {windows}, foretold from those before it"
    return f"{wording.metric_name(name)} {where}"


def naive_scores(evidence: Evidence) -> dict[str, dict[str, Interval]]:
    """The scores of the naive forecasts, by their names; empty where no forecast was asked for."""
    found = {}
    for name, scores in evidence.part("naive").items():
        read = {key: as_interval(row) for key, row in scores.items()} if isinstance(scores, Mapping) else {}
        kept = {key: score for key, score in read.items() if score is not None}
        if "rmse" in kept:
            found[str(name)] = kept
    return found


def _beside_naive(naive: dict[str, dict[str, Interval]], score: str, unit: str) -> str:
    """What forecasts that need no learning give (`score` is rmse, or r2 where units differ), and whether the network is worth it."""
    found = {name: scores[score].value for name, scores in naive.items()}
    before, after = ("an R² of ", "") if score == "r2" else ("", f" {unit}" if unit else "")
    told = "; ".join(
        f"{name} would give {before}{wording.number(float(f'{value:.4g}'))}{after}"
        for name, value in found.items()
    )
    best = max(found, key=lambda name: found[name] if score == "r2" else -found[name])
    saved = naive[best].get("skill")
    if saved is None or math.isnan(saved.low):
        return f"As a forecast, {told}."
    which = "the better one" if len(naive) > 1 else "it"
    worth = f"Of the squared error of {which} the network saves {wording.percent(saved.value)} % [{wording.percent(saved.low)}, {wording.percent(saved.high)}]"
    if saved.low > 0:
        return f"As a forecast, {told}. {worth}: it is worth its cost."
    return f"As a forecast, {told}. {worth}: nothing shows yet that it is better than that."


def _comparison(
    evidence: Evidence, name: str, score: Interval, baselines: dict[str, float], unit: str
) -> str:
    if "most frequent class" in baselines and name == "accuracy":
        best = max(baselines.values())
        told = (
            f"Always naming the most frequent class would give {wording.percent(baselines['most frequent class'])} %, "
            f"guessing with the classes’ frequencies {wording.percent(baselines['guessing'])} %."
        )
        if math.isnan(score.low):
            return told
        if score.low > best:
            return f"{told} The whole interval lies above both."
        return f"{told} The interval does not lie above both: nothing shows yet that the network has learned."
    if "most frequent class" in baselines and name == "mean_iou":
        best = baselines["most frequent class"]
        told = f"Calling every pixel the most frequent class would give {wording.percent(best)} %."
        if math.isnan(score.low):
            return told
        if score.low > best:
            return f"{told} The whole interval lies above."
        return f"{told} The interval does not lie above: nothing shows yet that the network has learned."
    if "all alike" in baselines and name == "bits_per_symbol":
        bits = {key: wording.number(float(f"{value:.3g}")) for key, value in baselines.items()}
        told = f"Holding all symbols for equally likely would take {bits['all alike']} bits"
        if "frequencies" in bits:
            told += f", knowing how frequent each is {bits['frequencies']}"
        if math.isnan(score.high):
            return f"{told}."
        if score.high < min(baselines.values()):
            return f"{told}. The whole interval lies below."
        return f"{told}. The interval does not lie below: nothing shows yet that the network has learned what follows what."
    if naive := {of: scores for of, scores in naive_scores(evidence).items() if name in scores}:
        return _beside_naive(naive, name, unit)
    if name == "r2":
        told = "Always answering the mean of these targets would give 0."
        if math.isnan(score.low):
            return told
        if score.low > 0:
            return f"{told} The whole interval lies above."
        return f"{told} The interval does not lie above it: nothing shows yet that the network has learned."
    if "mean of the targets" in baselines and name == "rmse":
        best = baselines["mean of the targets"]
        told = f"Always answering the mean of these targets would give {wording.number(float(f'{best:.4g}'))}{' ' + unit if unit else ''}."
        if math.isnan(score.high):
            return told
        if score.high < best:
            return f"{told} The whole interval lies below."
        return f"{told} The interval does not lie below it: nothing shows yet that the network has learned."
    if "mean of the training examples" in baselines and name == "rmse":
        told = ", ".join(
            f"{wording.number(float(f'{value:.4g}'))} by the {of}" for of, value in baselines.items()
        )
        best = min(baselines.values())
        told = f"Without a network the error would be {told}."
        if math.isnan(score.high):
            return told
        if score.high < best:
            return f"{told} The whole interval lies below."
        return f"{told} The interval does not lie below: nothing shows yet that a network is needed."
    return ""


def _status(evidence: Evidence) -> dict[str, str] | None:
    """What to say first where the run did not finish."""
    status = str(evidence.about.get("status") or "")
    if status in ("finished", ""):
        return None
    ended = not files.is_locked(evidence.folder)
    said = {
        "running": "This run ended without a word (killed, or the machine stopped); hubel resume goes on with it"
        if ended
        else "This run is still going",
        "interrupted": "This run was interrupted",
        "failed": "This run failed",
    }.get(status, f"This run has the status “{status}”")
    stopped = evidence.about.get("stopped")
    return {"kind": status, "text": f"{said}: {stopped}" if stopped else f"{said}."}


def _looks(evidence: Evidence) -> str:
    looks = as_number(evidence.about.get("test_looks"))
    if looks is None:
        return "How often the test part was looked at is not recorded."
    if looks == 0:
        return "The test part was not looked at yet."
    if looks == 1:
        return "The test part was looked at once."
    return f"The test part was looked at {looks:.0f} times; each choice made after a look makes this score a little too good."
