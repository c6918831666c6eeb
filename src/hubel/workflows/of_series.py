"""What is chosen for series, what a forecast is compared with, and what of them a run keeps to be shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from hubel import nets
from hubel.core.types import Batch, Interval, Prediction
from hubel.data.dataset import Dataset
from hubel.data.forecasting import NaiveForecast, naive_forecasts
from hubel.data.preprocessing import Scaling, scaling_of
from hubel.metrics import regression, skill
from hubel.objectives import AbsoluteError, GaussianLikelihood, Huber, Objective, SquaredError
from hubel.objectives.real_values import RealValues, mixed_units

NUM_EXAMPLES = 8
NUM_ENTERING = 16
MOST_VALUES = 2_000_000  # of series kept to be shown


def forecast_objective(train: Dataset, objective: Objective, why: str) -> tuple[Objective, str]:
    """`objective` for the next values, in the units in which the windows enter the network."""
    assert isinstance(objective, RealValues)
    scaling, reading = scaling_of(train), train.reading
    assert isinstance(scaling, Scaling)
    columns = list(reading["target_columns"]) * reading["horizon"]
    center, scale = (tuple(values[k] for k in columns) for values in (scaling.mean, scaling.std))
    return replace(objective, center=center, scale=scale), why


def net_of_series(train: Dataset, objective: Objective) -> tuple[nn.Module, str]:
    """The default network for series, films and forecasts; its weights follow from torch's global generator."""
    num = objective.num_outputs
    in_units_of_inputs = (
        isinstance(objective, (SquaredError, AbsoluteError, Huber)) and objective.scale is not None
    )
    if train.reading.get("kind") == "forecast" and in_units_of_inputs:
        columns = list(train.reading["target_columns"])
        net = nets.forecaster("gru", 64, columns=columns, inputs=train.shape, outputs=num)
        return (
            net,
            "a forecast: the last value, and what a linear map and 64 gated recurrent units say will change",
        )
    steps = f"up to {train.shape[0]:,} steps"
    if train.reading.get("kind") == "forecast":
        net = nets.recurrent("gru", 64, inputs=train.shape, outputs=num)
        bars = " with error bars" if isinstance(objective, GaussianLikelihood) else ""
        return net, f"a forecast{bars} from {train.shape[0]:,} steps: 64 gated recurrent units"
    if train.kind == "image series":
        net = nets.image_series("gru", 64, inputs=train.shape, outputs=num)
        return (
            net,
            f"series of {steps} of pictures: a small residual network for each, then 64 gated recurrent units",
        )
    net = nets.series_resnet(32, inputs=train.shape, outputs=num)
    return net, f"series of {steps}: a residual network of convolutions along time, 32 channels wide"


def naive_scores(
    train: Dataset, part: Dataset, prediction: Prediction
) -> tuple[dict[str, Any], NaiveForecast | None]:
    """Scores of the naive forecasts of `part`, the share of their squared error that the network saves (`skill`), and the one of them with
    the least error; nothing where no forecast was asked for.
    """
    if part.reading.get("kind") != "forecast" or not len(part):
        return {}, None
    targets = np.asarray(part.targets)
    found: dict[str, Any] = {}
    best: tuple[float, NaiveForecast] | None = None
    for naive in naive_forecasts(train, part):
        scores: dict[str, Interval] = dict(regression(targets, naive.values, part.groups))
        scores["skill"] = skill(targets, prediction.values, naive.values, groups=part.groups)
        found[naive.name] = {name: score.as_json() for name, score in scores.items()}
        error = 1 - scores["r2"].value if mixed_units(part.units) else scores["rmse"].value
        if best is None or error < best[0]:
            best = (error, naive)
    return found, None if best is None else best[1]


def series_shown(part: Dataset, worst: np.ndarray, naive: NaiveForecast | None) -> dict[str, np.ndarray]:
    """The arrays of `predictions.npz` that show series: some of the part, evenly chosen, and the worst; of forecasts the best naive ones."""
    if part.kind != "series":
        return {}
    most = max(2, MOST_VALUES // max(1, part.shape[0] * part.shape[1]))
    rows = np.unique(np.linspace(0, len(part) - 1, min(len(part), NUM_EXAMPLES, most)).astype(np.int64))
    content: dict[str, np.ndarray] = {"example_rows": rows}
    for name, chosen in (("example", rows), ("worst", worst[:most])):
        content[f"{name}_series"] = np.asarray(part.inputs[chosen])
        if part.lengths is not None:
            content[f"{name}_lengths"] = part.lengths[chosen]
    if naive is not None:
        content["naive_values"] = naive.values
        content["naive_season"] = np.array([naive.season])
    return content


def series_entering(batch: Batch) -> dict[str, np.ndarray]:
    """The first series of a batch [n, L, F] as they enter the network, with their lengths and targets."""
    most = max(1, MOST_VALUES // max(1, batch.inputs.shape[1] * batch.inputs.shape[2]))
    first = slice(0, min(NUM_ENTERING, most))
    content = {
        "entering_series": batch.inputs[first].float().cpu().numpy(),
        "entering_targets": batch.targets[first].cpu().numpy(),
    }
    if batch.lengths is not None:
        content["entering_lengths"] = batch.lengths[first].cpu().numpy()
    return content
