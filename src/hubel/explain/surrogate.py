"""A white box that mimics the network: a small decision tree or a sparse linear model, and how often it says the same.

    fidelity = share of held-out examples on which both name the same class        (classes)
             = 1 - Σ (network - surrogate)² / Σ (network - its mean)²              (real values)

The surrogate learns from the network's answers, not from the labels, and only what is held out judges it. Its rules explain the network
as far as the fidelity goes, and no further: `chance` is the fidelity of a surrogate that always says the same.

Pictures have no named features: there the surrogate reads the means of patches, all pictures by the same grid (superpixels differ from
picture to picture, so no rule could be said about them), or features of the caller's (`on=`), such as measured sizes.

Source: M. W. Craven, J. W. Shavlik, "Extracting tree-structured representations of trained networks", NeurIPS 1995 (fidelity, section 3);
the sparse linear model is orthogonal matching pursuit, Y. C. Pati et al., Asilomar 1993, doi:10.1109/ACSSC.1993.342465.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hubel.core.random import numpy_generator
from hubel.core.types import Interval
from hubel.data import Dataset, Series, read_like
from hubel.explain.question import as_input, untouched
from hubel.fitting import Run
from hubel.metrics.intervals import bootstrap, wilson
from hubel.objectives import SquaredLogError
from hubel.objectives.real_values import RealValues

Kind = Literal["tree", "linear"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Surrogate:
    """The model (scikit-learn's), its rules as text, and its fidelity on `held_out` examples that it has not seen.

    `features` are the names of what it reads, `used` those that occur in it, `outputs` the names of what it foretells.
    """

    kind: Kind
    model: Any
    rules: str
    features: tuple[str, ...]
    used: tuple[str, ...]
    outputs: tuple[str, ...]
    fidelity: Interval
    chance: float
    learned_from: int
    held_out: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = "agrees with the network on" if self.fidelity.method.startswith("Wilson") else "explains"
        of = "of the" if what.startswith("agrees") else "of the variance of the network's answers on"
        head = (
            f"a {'decision tree' if self.kind == 'tree' else 'sparse linear model'} of {len(self.used)} of {len(self.features)} features, "
            f"learned from {self.learned_from:,} answers of the network: {what} {_percent(self.fidelity)} {of} {self.held_out:,} held-out "
            f"examples (always the same answer: {100 * self.chance:.1f} %)"
        )
        return "\n".join([head, *self.notes, "", self.rules])


def surrogate(
    net: nn.Module | Run,
    x: Any,
    kind: Kind = "tree",
    *,
    on: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    depth: int = 4,
    terms: int = 5,
    patches: int = 7,
    held_out: float = 0.3,
    batch_size: int = 256,
    seed: int = 0,
) -> Surrogate:
    """A tree of at most `depth`, or a linear model of at most `terms` features an output, that says what the network says.

    `x` [N, ...] are examples as they enter `net`, or, for a run, as they were stored (arrays, files, tables, a `Dataset`). The surrogate reads features
    `on` [N, F] with their `names`; by default the features of rows, of pictures and series the means of at most `patches` parts a side.
    A `held_out` share of the examples judges it. Of a run that answers values, rules speak of these in their own units.

    Raises `ValueError` for fewer than 20 examples, another kind, or features that are not one row an example.

    >>> net = nn.Linear(3, 2)
    >>> with torch.no_grad():
    ...     _ = net.weight.copy_(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])), net.bias.zero_()
    >>> x = np.random.default_rng(0).normal(size=(400, 3)).astype("float32")
    >>> found = surrogate(net, x, names=("length", "width", "height"), outputs=("wide", "narrow"))
    >>> found.used, found.fidelity.value > 0.95
    (('width',), True)
    """
    if kind not in ("tree", "linear"):
        raise ValueError(f"kind must be tree or linear; received {kind!r}")
    if depth < 1 or terms < 1 or patches < 1 or not 0 < held_out < 1:
        raise ValueError(
            f"depth {depth}, terms {terms} and patches {patches} must be at least 1, held_out {held_out} between 0 and 1"
        )
    stored, scores, known = _answers(net, x, batch_size)
    features, found, notes = _features(stored, on, names, known.get("columns"), patches)
    num = len(scores)
    if num < 20:
        raise ValueError(
            f"{num} examples are too few to learn what a network does and to judge it: give at least 20"
        )
    order = numpy_generator(seed, "surrogate").permutation(num)
    judged = max(5, round(held_out * num))
    test, train = order[:judged], order[judged:]
    classes = bool(known.get("classes", scores.shape[1] > 1))
    told = tuple(outputs or known.get("outputs") or (f"output {k}" for k in range(scores.shape[1])))
    if classes and scores.shape[1] == 1:  # one score: yes or no
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
        told = told if len(told) == 2 else (f"not {told[0]}", told[0])
    if len(told) != scores.shape[1]:
        raise ValueError(f"outputs has {len(told)} names for {scores.shape[1]} outputs of the network")
    mimic = _tree if kind == "tree" else _linear
    model, rules, used, said = mimic(
        features[train],
        scores[train],
        features[test],
        found,
        told,
        classes,
        depth if kind == "tree" else terms,
        known.get("values"),
    )
    fidelity, chance = _fidelity(scores[test], said, scores[train], classes)
    return Surrogate(
        kind=kind,
        model=model,
        rules=rules,
        features=found,
        used=used,
        outputs=told,
        fidelity=fidelity,
        chance=chance,
        learned_from=len(train),
        held_out=len(test),
        notes=notes,
    )


def _answers(net: nn.Module | Run, x: Any, batch_size: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Examples as a reader knows them, the network's raw scores [N, K], and what is known of both."""
    if isinstance(net, Run):
        stored = x.inputs if isinstance(x, Dataset) else read_like(x, net.reading)
        if isinstance(stored, Series) or (isinstance(x, Dataset) and x.lengths is not None):
            raise ValueError(
                "a surrogate reads series of one length: pass features of them (on=), or cut them to one length"
            )
        stored = np.asarray(stored)
        outputs = net.outputs(stored, batch_size=batch_size)
        known = _known(net, outputs)
        values: RealValues | None = known.get("values")
        outputs = outputs if values is None else outputs[:, : values.num_values]
        return stored, _checked(outputs.double().numpy(), len(stored)), known
    inputs = as_input(net, x)
    was = [(module, module.training) for module in net.modules()]
    with untouched(net), torch.no_grad():
        net.eval()
        parts = [net(inputs[k : k + batch_size]) for k in range(0, len(inputs), batch_size)]
    assert all(module.training == mode for module, mode in was)
    if not all(isinstance(part, Tensor) for part in parts):
        raise ValueError(f"the network answers {type(parts[0]).__name__}; expected one tensor [N, K]")
    scores = torch.cat(parts).double().cpu().numpy()
    return inputs.cpu().numpy(), _checked(scores, len(inputs)), {}


def _checked(scores: np.ndarray, num: int) -> np.ndarray:
    if scores.ndim != 2 or len(scores) != num:
        raise ValueError(f"the network answers {list(scores.shape)} for {num} examples; expected [N, K]")
    return scores


def _known(run: Run, outputs: Tensor) -> dict[str, Any]:
    """Names of features and outputs that a run has, and whether it answers one class an example."""
    reading, about = run.reading, run.about["data"]
    columns = reading.get("columns") if reading.get("kind") == "table" else None
    classes = about.get("classes")
    names = getattr(run.objective, "target_names", None)
    return {
        "values": run.objective if isinstance(run.objective, RealValues) else None,
        "columns": columns,
        "outputs": tuple(classes or names or ()) or None,
        "classes": classes is not None and run.objective.read(outputs[:2]).values.ndim == 1,
    }


def _features(
    stored: np.ndarray,
    on: np.ndarray | None,
    names: Sequence[str] | None,
    columns: Sequence[Mapping[str, Any]] | None,
    patches: int,
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """What the surrogate reads [N, F], the names, and what is to be said of it."""
    if on is not None:
        values = np.asarray(on, np.float64)
        if values.ndim != 2 or len(values) != len(stored):
            raise ValueError(f"on has shape {values.shape}; expected [N, F] with {len(stored)} rows")
        found = names or [f"feature {k}" for k in range(values.shape[1])]
        notes: tuple[str, ...] = ()
    elif stored.ndim == 2:
        if stored.dtype.kind not in "fiub":
            raise ValueError(f"examples of {stored.dtype} are no numbers: pass features of them, on=")
        values, notes = stored.astype(np.float64), ()
        found = names or [f"feature {k}" for k in range(values.shape[1])]
        if columns is not None:
            values, found = _of_columns(values, columns)
    else:
        values, found = patch_means(stored, patches)
        found = names or found
        notes = ("It reads the means of patches, by the same grid in every example.",)
    if len(found) != values.shape[1]:
        raise ValueError(f"there are {len(found)} names for {values.shape[1]} features")
    missing = np.isnan(values)
    if missing.any():  # neither model asks for what is missing; the mean is what a scaled table has there
        means = np.nanmean(values, axis=0)
        values = np.where(missing, np.where(np.isfinite(means), means, 0.0), values)
        notes = (*notes, f"{int(missing.sum()):,} missing values were read as the mean of their column.")
    return values, tuple(map(str, found)), notes


def _of_columns(values: np.ndarray, columns: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, list[str]]:
    """Numbers of a table as they are, categories as yes or no a level, with the names of both."""
    found, names = [], []
    for k, column in enumerate(columns):
        if column["kind"] != "category":
            found.append(values[:, k])
            names.append(str(column["header"]))
            continue
        for number, level in enumerate(column["levels"]):
            found.append((values[:, k] == number).astype(np.float64))
            names.append(f"{column['name']} = {level}")
    return np.stack(found, axis=1), names


def patch_means(x: np.ndarray, patches: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Means [N, F] of each channel of pictures [N, C, H, W] (of series [N, L, F], volumes) over a grid of at most `patches` parts a side.

    >>> patch_means(np.arange(16.0).reshape(1, 1, 4, 4), 2)[1][:2]
    ('rows 0-1, columns 0-1', 'rows 0-1, columns 2-3')
    """
    if x.ndim == 3:  # steps first
        x, words = np.moveaxis(x, 2, 1), ("steps",)
    else:
        words = ("rows", "columns") if x.ndim == 4 else ("planes", "rows", "columns")
    grids = [np.array_split(np.arange(side), min(patches, side)) for side in x.shape[2:]]
    means, names = [], []
    for channel in range(x.shape[1]):
        for cell in np.ndindex(*(len(grid) for grid in grids)):
            parts = [grids[axis][k] for axis, k in enumerate(cell)]
            box = (slice(None), channel, *(slice(part[0], part[-1] + 1) for part in parts))
            means.append(x[box].reshape(len(x), -1).mean(axis=1, dtype=np.float64))
            place = ", ".join(f"{word} {part[0]}-{part[-1]}" for word, part in zip(words, parts, strict=True))
            names.append(place if x.shape[1] == 1 else f"channel {channel}, {place}")
    return np.stack(means, axis=1), tuple(names)


def _tree(
    x: np.ndarray,
    scores: np.ndarray,
    new: np.ndarray,
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    classes: bool,
    depth: int,
    values: RealValues | None,
) -> tuple[Any, str, tuple[str, ...], np.ndarray]:
    """A tree, its rules, the features in it, and what it says of `new` in the network's own numbers."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    least = max(1, len(x) // 200)
    middle, size = x.mean(axis=0), _sizes(x)  # scikit-learn takes differences below 1e-7 for none
    if classes:
        model = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=least, random_state=0)
        model.fit((x - middle) / size, scores.argmax(axis=1))
        _joined(model.tree_)
        _unscaled(model.tree_, middle, size)
        said = np.asarray(model.predict(new))
        told = [f"class: {outputs[int(k)]}" for k in model.classes_[model.tree_.value[:, 0].argmax(axis=1)]]
    else:
        model = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=least, random_state=0)
        unit = _sizes(scores)
        model.fit((x - middle) / size, scores / unit)
        _unscaled(model.tree_, middle, size)
        model.tree_.value[:, :, 0] *= unit
        said = np.asarray(model.predict(new)).reshape(len(new), -1)
        if values is not None:
            model.tree_.value[:, :, 0] = values.in_units(model.tree_.value[:, :, 0])
        told = [f"value: {_listed(row, outputs)}" for row in model.tree_.value[:, :, 0]]
    used = sorted({int(k) for k in _reached(model.tree_)})
    return model, "\n".join(_written(model.tree_, names, told)), tuple(names[k] for k in used), said


def _sizes(x: np.ndarray) -> np.ndarray:
    """The standard deviations of columns; 1 of those that never differ."""
    sizes = x.std(axis=0)
    return np.where(sizes > 0, sizes, 1.0)


def _unscaled(tree: Any, middle: np.ndarray, size: np.ndarray) -> None:
    """Thresholds in units of the features."""
    inner = tree.feature >= 0
    tree.threshold[inner] = tree.threshold[inner] * size[tree.feature[inner]] + middle[tree.feature[inner]]


def _written(
    tree: Any, names: tuple[str, ...], told: list[str], node: int = 0, depth: int = 0
) -> Iterator[str]:
    """A line a split, and a line a leaf: what it says stands in `told` [nodes]."""
    ahead = "|   " * depth + "|--- "
    if tree.children_left[node] < 0:
        yield ahead + told[node]
        return
    limit, name = f"{tree.threshold[node]:.4g}", names[tree.feature[node]]
    for sign, child in (("<=", tree.children_left[node]), (">", tree.children_right[node])):
        yield f"{ahead}{name} {sign} {limit}"
        yield from _written(tree, names, told, child, depth + 1)


def _listed(values: np.ndarray, outputs: tuple[str, ...]) -> str:
    """Values in four digits, with their names where they are several."""
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(outputs, values, strict=True))


def _joined(tree: Any) -> None:
    """Take away splits both of whose sides answer the same: no answer changes."""
    for node in reversed(range(tree.node_count)):  # children have greater numbers
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left < 0 or tree.children_left[left] >= 0 or tree.children_left[right] >= 0:
            continue
        if tree.value[left, 0].argmax() == tree.value[right, 0].argmax() == tree.value[node, 0].argmax():
            tree.children_left[node] = tree.children_right[node] = -1
            tree.feature[node] = -2


def _reached(tree: Any) -> Iterator[int]:
    """The features by which the tree splits."""
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if tree.children_left[node] >= 0:
            yield tree.feature[node]
            waiting += [tree.children_left[node], tree.children_right[node]]


def _linear(
    x: np.ndarray,
    scores: np.ndarray,
    new: np.ndarray,
    names: tuple[str, ...],
    outputs: tuple[str, ...],
    classes: bool,
    terms: int,
    values: RealValues | None,
) -> tuple[Any, str, tuple[str, ...], np.ndarray]:
    """A linear model of few features an output, its formulas in units of the features, those in it, and what it says of `new` in the
    network's own numbers.
    """
    from sklearn.linear_model import OrthogonalMatchingPursuit
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pursuit = OrthogonalMatchingPursuit(n_nonzero_coefs=min(terms, x.shape[1]))
    model = make_pipeline(StandardScaler(), MultiOutputRegressor(pursuit))
    with (
        warnings.catch_warnings()
    ):  # features that depend on each other end the pursuit early, with what was found
        warnings.filterwarnings("ignore", message="\\s*Orthogonal matching pursuit ended prematurely")
        model.fit(x, scores)
    scaler: Any = model[0]
    fitted: Any = model[1]
    said = np.asarray(model.predict(new)).reshape(len(new), -1)
    used: set[int] = set()
    lines = []
    for place, (name, one) in enumerate(zip(outputs, fitted.estimators_, strict=True)):
        if values is not None:
            size = 1.0 if values.scale is None else values.scale[place]
            middle = 0.0 if values.center is None else values.center[place]
            one.coef_, one.intercept_ = one.coef_ * size, one.intercept_ * size + middle
        told = f"ln(1 + {name})" if isinstance(values, SquaredLogError) else name
        weights = np.ravel(one.coef_) / scaler.scale_
        constant = float(np.ravel(one.intercept_)[0] - weights @ scaler.mean_)
        chosen = [int(k) for k in np.argsort(-abs(np.ravel(one.coef_)), kind="stable") if weights[k] != 0]
        used |= set(chosen)
        parts = [f"{'+' if weights[k] >= 0 else '-'} {abs(weights[k]):.4g} × {names[k]}" for k in chosen]
        lines.append(f"{told} = {constant:.4g} {' '.join(parts)}".rstrip())
    return (
        model,
        "\n".join(lines),
        tuple(names[k] for k in sorted(used)),
        said.argmax(axis=1) if classes else said,
    )


def _fidelity(
    scores: np.ndarray, said: np.ndarray, learned: np.ndarray, classes: bool
) -> tuple[Interval, float]:
    """How far the surrogate says what the network says on held-out examples, and how far a constant does."""
    if classes:
        answers = scores.argmax(axis=1)
        usual = np.bincount(learned.argmax(axis=1)).argmax()
        return wilson(float((answers == said).sum()), len(said)), float((answers == usual).mean())
    mean = learned.mean(axis=0)
    columns = np.stack([((scores - said) ** 2).sum(axis=1), ((scores - mean) ** 2).sum(axis=1)], axis=1)
    return bootstrap(columns, lambda sums: 1 - sums[:, :1] / sums[:, 1:])[0], 0.0


def _percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
