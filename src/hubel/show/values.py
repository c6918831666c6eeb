"""Real values in the report: predicted against true, residuals, and whether the error bars hold what they promise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hubel.metrics import coverage
from hubel.show import charts, wording
from hubel.show.downloads import csv_text
from hubel.show.evidence import Evidence

MOST_OUTPUTS = 4
ONE_SIGMA = math.erf(math.sqrt(0.5))  # 0.6827
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, ONE_SIGMA, 0.8, 0.9, 0.95, 0.99)


def outputs(evidence: Evidence) -> list[dict[str, Any]]:
    """For each real target: predicted against true, residuals, and the coverage of its error bars where it has some."""
    assert evidence.predicted is not None
    targets, values = evidence.predicted
    found = []
    names = named(evidence)
    for k in _shown(len(names)):
        name, unit = names[k]
        axis = f"{name} ({unit})" if unit else name
        bars = None if evidence.uncertainties is None else evidence.uncertainties[:, k]
        error = values[:, k] - targets[:, k]
        told = f"Mean residual {error.mean():.3g}, standard deviation {error.std():.3g}{' ' + unit if unit else ''}"
        alt = f"Predicted against true {axis}, {len(error)} examples. {told}."
        drawn = " The bars are one standard deviation, as the network says it." if bars is not None else ""
        found.append(
            {
                "name": axis,
                "true": charts.predicted_against_true(
                    targets[:, k], values[:, k], name=axis, alt=alt, bars=bars
                ),
                "residuals": charts.residuals(
                    targets[:, k],
                    values[:, k],
                    name=axis,
                    unit=unit,
                    alt=f"Residuals of {axis}. {told}.",
                    bars=bars,
                ),
                "caption": f"{told}. Points on the dashed line are predicted exactly; a bend or a fan in the residuals is structure "
                f"that the network missed.{drawn}",
                "coverage": None
                if bars is None
                else _coverage(targets[:, k], values[:, k], bars, axis, unit),
            }
        )
    return found


def hidden_outputs(evidence: Evidence) -> str:
    """How many of the values are drawn; nothing where all are."""
    count = len(named(evidence))
    return f"{MOST_OUTPUTS} of {count} values, evenly chosen." if count > MOST_OUTPUTS else ""


def _shown(count: int) -> list[int]:
    """Of many values, such as the steps ahead of a forecast, the first, the last and some between.

    >>> _shown(3), _shown(14)
    ([0, 1, 2], [0, 4, 9, 13])
    """
    return np.unique(np.linspace(0, count - 1, min(count, MOST_OUTPUTS)).round().astype(int)).tolist()


def named(evidence: Evidence) -> list[tuple[str, str]]:
    """Name and unit of every real target."""
    assert evidence.predicted is not None
    count = evidence.predicted[0].shape[1]
    names, units = (evidence.part("data").get(key) for key in ("target_names", "units"))
    units = [units] * count if isinstance(units, str) else units
    names = [str(n) for n in names] if isinstance(names, list) and len(names) == count else _numbered(count)
    units = [str(u or "") for u in units] if isinstance(units, list) and len(units) == count else [""] * count
    return list(zip(names, units, strict=True))


def predictions_csv(evidence: Evidence, most: int = 2000) -> str:
    """Targets, predictions and their standard deviations, a row an example."""
    assert evidence.predicted is not None
    parts = {"true": evidence.predicted[0], "predicted": evidence.predicted[1], "sd": evidence.uncertainties}
    shown = {what: part[:most, :20] for what, part in parts.items() if part is not None}
    names = [f"{name} [{unit}]" if unit else name for name, unit in named(evidence)[:20]]
    header = ["id"] + [f"{what} {name}" for what in shown for name in names]
    rows = np.concatenate(list(shown.values()), axis=1).tolist()
    return csv_text(header, ([i, *row] for i, row in zip(evidence.ids, rows, strict=False)))


def _coverage(
    targets: np.ndarray, values: np.ndarray, bars: np.ndarray, axis: str, unit: str
) -> dict[str, str]:
    scores = [coverage(targets, values, bars, share=share) for share in SHARES]
    one, two = scores[SHARES.index(ONE_SIGMA)], scores[SHARES.index(0.95)]
    told = [
        f"{wording.percent(s.value)} % [{wording.percent(s.low)}, {wording.percent(s.high)}] within {within} standard deviation{plural} "
        f"({expected} % expected)"
        for s, within, plural, expected in ((one, "1", "", "68.3"), (two, "1.96", "s", "95"))
    ]
    narrow = one.high < ONE_SIGMA or two.high < 0.95
    wide = one.low > ONE_SIGMA or two.low > 0.95
    lean = (
        "The errors are not distributed as a normal law is"
        if narrow and wide
        else f"The error bars {'are too narrow' if narrow else 'are too wide' if wide else 'hold what they promise'}"
    )
    typical = f"{float(np.median(bars)):.3g}{' ' + unit if unit else ''}"
    return {
        "picture": charts.coverage_diagram(
            SHARES, scores, alt=f"Coverage of the error bars of {axis}: {'; '.join(told)}."
        ),
        "caption": f"{lean}: the truth lies {' and '.join(told)}. The median error bar is {typical}. Whiskers are 95 % intervals.",
    }


def _numbered(count: int) -> list[str]:
    return ["value"] if count == 1 else [f"output {k}" for k in range(count)]
