"""Numbers and names as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hubel.core.types import Interval

SHARES = ("accuracy", "precision", "recall", "f1", "sensitivity", "specificity", "coverage")
OVERLAPS = ("mean_iou", "mean_dice", "iou_", "dice_")  # of masks


def is_share(name: str) -> bool:
    """Whether a metric of this name is a share of 1, written in percent.

    >>> is_share("balanced_accuracy"), is_share("rmse")
    (True, False)
    """
    return any(word in name.lower() for word in SHARES) or name.startswith(OVERLAPS)


def metric_name(name: str) -> str:
    """A metric's key as words.

    >>> metric_name("balanced_accuracy"), metric_name("rmse"), metric_name("roc_auc")
    ('balanced accuracy', 'root mean squared error', 'ROC AUC')
    """
    known = {
        "rmse": "root mean squared error",
        "mae": "mean absolute error",
        "r2": "R²",
        "psnr": "peak signal-to-noise ratio (dB)",
        "elbo": "evidence lower bound (nats)",
        "kl": "divergence of the codes (nats)",
        "log_likelihood": "log likelihood (nats)",
        "bits_per_value": "bits a value",
        "frechet_distance": "Fréchet distance of samples",
        "frechet_of_halves": "Fréchet distance of two halves of the data",
        "called_real": "share called real by the discriminator",
        "coverage_68": "truth within 1 sd (68.3 % expected)",
        "coverage_95": "truth within 1.96 sd (95 % expected)",
        "roc_auc": "ROC AUC",
        "log_loss": "log loss",
        "f1": "F1",
        "f1_micro": "F1 over all decisions",
        "f1_macro": "mean F1 of the labels",
        "brier": "Brier score",
        "mean_iou": "mean intersection over union",
        "pixel_accuracy": "share of pixels that are right",
        "mean_dice": "mean Dice",
        "expected_calibration_error": "expected calibration error",
    }
    if name.startswith(("iou_", "dice_")):
        what, _, of = name.partition("_")
        return f"{'IoU' if what == 'iou' else 'Dice'} of {of}"
    if name.startswith("rmse_"):
        return f"root mean squared error of {name.removeprefix('rmse_')}"
    return known.get(name, name.replace("_", " "))


def begun(words: str) -> str:
    """Words at the beginning of a sentence; the other letters stay as they are.

    >>> begun("validation of AP50")
    'Validation of AP50'
    """
    return words[:1].upper() + words[1:]


def score_value(name: str, score: Interval, unit: str = "") -> str:
    """The value of a score: `94.1 %` for shares, four digits and the unit for others."""
    if is_share(name):
        return f"{percent(score.value, score.count)} %"
    return f"{number(score.value)} {unit if name in ('rmse', 'mae') else ''}".strip()


def score_interval(name: str, score: Interval) -> str:
    """The interval of a score in the same digits: `[93.6, 94.6]`; empty where there is none."""
    if math.isnan(score.low) or math.isnan(score.high):
        return ""
    if is_share(name):
        return f"[{percent(score.low, score.count)}, {percent(score.high, score.count)}]"
    return f"[{number(score.low)}, {number(score.high)}]"


def score(name: str, value: Interval, unit: str = "") -> str:
    """A score with its interval.

    >>> score("accuracy", Interval(value=0.941, low=0.936, high=0.946))
    '94.1 % [93.6, 94.6]'
    """
    return f"{score_value(name, value, unit)} {score_interval(name, value)}".strip()


def percent(share: float, count: int | None = None) -> str:
    """A share of 1 in percent, without the sign: one decimal, two from 20,000 examples.

    >>> percent(0.9412), percent(1.0), percent(float("nan"))
    ('94.1', '100', '–')
    """
    if math.isnan(share):
        return "–"
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}"
    return f"{100 * share:.{2 if count and count >= 20_000 else 1}f}"


def number(value: Any) -> str:
    """A number in at most four digits; whole numbers whole, with thin spaces between thousands.

    >>> number(0.012345), number(1234567), number(3.0), number(1e-9)
    ('0.01235', '1\u202f234\u202f567', '3', '1e-09')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f").replace("-", "−")
    return f"{value:.4g}".replace("-", "−", 1) if value < 0 else f"{value:.4g}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "epoch"), plural(2, "class", "classes")
    ('1 epoch', '2 classes')
    """
    return f"{number(count)} {noun if count == 1 else nouns or noun + 's'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(4.21), duration(372), duration(8040)
    ('4.2 s', '6 min 12 s', '2 h 14 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(num_bytes: float) -> str:
    """Bytes in the largest unit that keeps them above one.

    >>> size(8_231_000_000), size(512)
    ('7.67 GiB', '512 B')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024 or unit == "GiB":
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return ""


def shape(lengths: Any) -> str:
    """A shape as `3 × 32 × 32`."""
    return " × ".join(number(length) for length in lengths) if isinstance(lengths, list) else str(lengths)


def title(key: str) -> str:
    """A field's name as words: `batch_size` is `batch size`."""
    return str(key).replace("_", " ")


def value_text(value: Any, depth: int = 0) -> str:
    """Any value of run.json as one line: `SGD(momentum 0.9, weight decay 0.0005)`.

    >>> value_text({"is": "hubel.fitting.SGD", "momentum": 0.9, "nesterov": True})
    'SGD(momentum 0.9, nesterov yes)'
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value) if isinstance(value, int) and abs(value) < 10_000 else number(value)
    if depth > 6:
        return "…"
    if isinstance(value, Mapping):
        made = value.get("is") or value.get("name")
        rest = ", ".join(
            f"{title(k)} {value_text(v, depth + 1)}" for k, v in value.items() if k not in ("is", "name")
        )
        if made:
            short = str(made).rpartition(".")[2]
            return f"{short}({rest})" if rest else short
        return rest or "none"
    if isinstance(value, (list, tuple)):
        texts = [value_text(item, depth + 1) for item in value[:40]]
        return ", ".join(texts + (["…"] if len(value) > 40 else [])) or "none"
    return str(value)
