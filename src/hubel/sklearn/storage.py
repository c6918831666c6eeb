"""A fitted estimator as one safetensors file: weights, and beside them as plain values everything that says what they mean.

Networks, objectives and scalings are rebuilt by the names that a run folder may use, so that a file from a stranger can not name code.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch import nn

from hubel.core import files, names
from hubel.core.version import VERSION
from hubel.fitting import codec
from hubel.fitting import machine as machines

if TYPE_CHECKING:
    from hubel.sklearn.estimator import NetEstimator

FORMAT = 1
PLAIN = ("epochs", "batch_size", "learning_rate", "recipe", "objective", "validation")
DESCRIBED = ("objective_", "recipe_", "scaling_")
FITTED = (
    "n_features_in_",
    "n_iter_",
    "loss_curve_",
    "validation_curve_",
    "_steps",
    "_is_vector",
    "_is_multilabel",
)

Estimator = TypeVar("Estimator", bound="NetEstimator")


def write(estimator: NetEstimator, path: Path | str) -> None:
    """Write the fitted `estimator` to `path`, atomically."""
    known = vars(estimator)
    made = getattr(estimator.net_, "made_by", None)
    seed = estimator.random_state
    labels = known.get("class_weight")
    tree = {
        "estimator_format": FORMAT,
        "hubel": VERSION,
        "estimator": type(estimator).__name__,
        "parameters": {name: names.describe(known[name]) for name in PLAIN}
        | {
            "random_state": int(seed) if isinstance(seed, Integral) else None,
            "net": known["net"] is not None,
        },
        "class_weight": [[_plain(key), float(value)] for key, value in labels.items()]
        if isinstance(labels, Mapping)
        else labels,
        "made_by": None
        if made is None
        else {"name": made.name, "arguments": names.describe(dict(made.arguments))},
        "described": {name: names.describe(known[name]) for name in DESCRIBED},
        "fitted": {name: names.describe(known[name]) for name in FITTED if name in known},
        "labels": {
            name: _described(known[name]) for name in ("classes_", "feature_names_in_") if name in known
        },
        "weights": {name: value.detach() for name, value in estimator.net_.state_dict().items()},
    }
    files.write_bytes(path, codec.encode(tree))


def read(kind: type[Estimator], path: Path | str, *, net: Any = None, device: str = "auto") -> Estimator:
    """The estimator in `path`; `net` is a network of the user's own, or the function that makes it."""
    tree = codec.decode(path)
    if not isinstance(tree, dict) or tree.get("estimator_format") != FORMAT:
        raise ValueError(
            f"{path} holds no estimator of format {FORMAT}; expected a file that {kind.__name__}.save wrote"
        )
    if tree["estimator"] != kind.__name__:
        raise ValueError(f"{path} holds a {tree['estimator']}: read it with {tree['estimator']}.load")
    try:
        return _estimator(kind, tree, path, net, device)
    except (LookupError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not whole, or not what {kind.__name__}.save wrote: {error!r}") from error


def _estimator(
    kind: type[Estimator], tree: dict[str, Any], path: Path | str, net: Any, device: str
) -> Estimator:
    parameters = {name: names.rebuild(tree["parameters"][name]) for name in (*PLAIN, "random_state")}
    if tree["class_weight"] is not None:
        weight = tree["class_weight"]
        parameters["class_weight"] = weight if isinstance(weight, str) else dict(weight)
    estimator = kind(net, device=device, **parameters)
    described = {name: names.rebuild(tree["described"][name]) for name in DESCRIBED}
    fitted = _rebuilt(tree, path, net, described)
    codec.assign(fitted.state_dict(), tree["weights"], "network")
    precision = described["recipe_"].precision
    estimator._keep(
        precision.place(fitted, machines.device_of(device)).eval(),
        described["objective_"],
        described["recipe_"],
        described["scaling_"],
    )
    if net is None and tree["parameters"]["net"]:
        estimator.net = _parameter(tree["made_by"], fitted)
    for name in FITTED:
        if name in tree["fitted"]:
            value = tree["fitted"][name]
            setattr(estimator, name, list(value) if isinstance(value, (list, tuple)) else value)
    for name, labels in tree["labels"].items():
        setattr(estimator, name, _array(labels))
    return estimator


def _rebuilt(tree: dict[str, Any], path: Path | str, net: Any, described: dict[str, Any]) -> nn.Module:
    """The network with weights that are still to be loaded."""
    made = tree["made_by"]
    if isinstance(net, nn.Module):
        found = copy.deepcopy(net)
    elif net is not None:
        shape = described["scaling_"].shape
        found = net(
            inputs=shape[0] if len(shape) == 1 else shape, outputs=described["objective_"].num_outputs
        )
    elif made is None:
        raise ValueError(
            f"{path} was fitted with a network of your own, which a file can not rebuild: pass it again, load(path, net=my_net)"
        )
    else:
        found = names.rebuild_net(made["name"], made["arguments"])
    return found.double() if described["recipe_"].precision.dtype == "float64" else found


def _parameter(made: dict[str, Any], fitted: nn.Module) -> Any:
    """What the parameter `net` was: a function that makes such a network again; the network itself where that is more than one function."""
    arguments = names.rebuild(made["arguments"])
    if "inputs" not in arguments or "outputs" not in arguments:
        return copy.deepcopy(fitted)
    rest = {name: value for name, value in arguments.items() if name not in ("inputs", "outputs")}
    return partial(names.find(made["name"]), **rest)


def _described(labels: np.ndarray) -> dict[str, Any]:
    """Labels [K] as plain values with their type."""
    if labels.dtype.kind not in "biufUO" or not all(
        isinstance(label, (bool, int, float, str)) for label in labels.tolist()
    ):
        raise TypeError(
            f"labels of type {labels.dtype} can not be written into a file; expected numbers, yes/no values or text"
        )
    return {"kind": labels.dtype.kind, "size": labels.dtype.itemsize, "values": labels.tolist()}


def _array(labels: dict[str, Any]) -> np.ndarray:
    kind = labels["kind"]
    sized = f"{kind}{labels['size']}" if kind in "iuf" else {"U": str, "b": bool, "O": object}[kind]
    return np.array(labels["values"], dtype=sized)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
