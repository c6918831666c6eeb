"""Target × loss × last activation × size × data: what contradicts itself is refused before the first step, with what was received, what
was expected and the remedy; what is right is not refused. Through `hubel.objectives.check` on a batch, and through `hubel.fit` on tiny data.

More endings of networks (written by hand, cast, viewed, detached …) stand in tests/objectives/test_check.py.
"""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import hubel
from hubel import nets
from hubel.core.types import Batch
from hubel.data import Dataset
from hubel.data.augmentation import Brightness, Flip, Mixup, Noise, RotateQuarter, Shift
from hubel.fitting import L1, L2, Activity, MaxNorm, Precision, Recipe
from hubel.objectives import (
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    GaussianLikelihood,
    Hinge,
    Huber,
    SquaredError,
    SquaredLogError,
    WithAuxiliary,
    check,
)

N, D = 12, 6
INPUTS = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
REAL = torch.randn(N, generator=torch.Generator().manual_seed(1)) * 3
K3, K2 = torch.arange(N) % 3, torch.arange(N) % 2
ONE_HOT = nn.functional.one_hot(K3, 3)
LABELS = torch.stack([K2, 1 - K2, K3 % 2], 1)
PICTURES = torch.randn(N, 3, 32, 32, generator=torch.Generator().manual_seed(2))
SERIES = torch.randn(N, 9, 2, generator=torch.Generator().manual_seed(3))
SYMBOLS = torch.arange(N * 7).view(N, 7) % 5


def dense(outputs, end=None, inputs=D):
    """A small network, ending as it is told."""
    return lambda: nn.Sequential(
        nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs), *([end] if end else [])
    )


def checked(make, objective, targets, inputs=INPUTS, **more):
    """What `check` says of this combination."""

    def run(folder):
        torch.manual_seed(0)
        batch = Batch(inputs=inputs, targets=targets, ids=torch.arange(len(inputs)), **more)
        check(
            make(),
            objective() if callable(objective) and not hasattr(objective, "read") else objective,
            batch,
        )

    return run


def table(num=80, **changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, D)).astype("float32")
    return Dataset(
        **{"inputs": x, "targets": np.arange(num) % 3, "classes": ("a", "b", "c"), "name": "made", **changes}
    )


def pictures(num=80, side=8, **changes):
    x = np.random.default_rng(0).normal(size=(num, 1, side, side)).astype("float32")
    return Dataset(
        **{"inputs": x, "targets": np.arange(num) % 2, "classes": ("no", "yes"), "name": "made", **changes}
    )


def late(num=80, first=2, then=5):
    """Class numbers of which the highest comes late: the first batch does not show it."""
    targets = np.arange(num) % first
    targets[60:] = then
    return targets


QUICK = Recipe(epochs=1, batch_size=16, precision=Precision())


def fitted(data, y=None, *, recipe=QUICK, make=None, **more):
    """What `hubel.fit` says of it, on a handful of examples and for one epoch."""

    def run(folder):
        torch.manual_seed(0)
        given = more if make is None else {"net": make(), **more}
        hubel.fit(data, y, recipe=recipe, out=folder / "run", quiet=True, **given)

    return run


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


class Spoken(nn.Module):
    """A network with a part that is not trained, or not there."""

    def __init__(self, how):
        super().__init__()
        self.body, self.how = nn.Linear(D, 3), how
        if how == "frozen":
            self.requires_grad_(False)

    def forward(self, x):
        return self.body(x).detach() if self.how == "detached" else self.body(x)


def series_net(outputs):
    return lambda: nets.recurrent("gru", 4, inputs=2, outputs=outputs)


LENGTHS = torch.arange(N) % 5 + 5
FLIPS = replace(QUICK, augmentation=(Flip(),))

# name: (the attempt, what was received, what was expected, the remedy): regular expressions, all found in the one message
REFUSED = {
    # a loss that has its activation already, after another one
    "hinge, sigmoid on one node": (
        checked(dense(1, nn.Sigmoid()), Hinge(1), K2),
        "ends with a sigmoid",
        "expects raw scores",
        "Remove it from the network",
    ),
    "hinge, relu on one node": (
        checked(dense(1, nn.ReLU()), Hinge(1), K2),
        "ends with a relu, whose values lie between 0 and inf",
        "-1 for no and 1 for yes",
        "Remove it",
    ),
    "hinge, softmax of three": (
        checked(dense(3, nn.Softmax(1)), Hinge(3), K3),
        "ends with a softmax",
        "difference of 1 between two scores",
        "Remove it",
    ),
    "hinge, softmax of one": (
        checked(dense(1, nn.Softmax(1)), Hinge(1), K2),
        "a softmax",
        "expects raw scores",
        "Remove it",
    ),
    "hinge, sigmoids of three": (
        checked(dense(3, nn.Sigmoid()), Hinge(3), K3),
        "a sigmoid",
        "expects raw scores",
        "Remove it",
    ),
    "hinge, log-softmax of one": (
        checked(dense(1, nn.LogSoftmax(1)), Hinge(1), K2),
        "a log_softmax",
        "expects raw scores",
        "Remove it",
    ),
    "cross-entropy, softmax": (
        checked(dense(3, nn.Softmax(1)), CrossEntropy(3), K3),
        "a softmax",
        "expects raw scores",
        "Remove it",
    ),
    "cross-entropy, softmax, focal": (
        checked(dense(3, nn.Softmax(1)), CrossEntropy(3, focus=2.0), K3),
        "a softmax",
        "expects raw scores",
        "Remove it",
    ),
    "cross-entropy of probabilities, sigmoids": (
        checked(dense(3, nn.Sigmoid()), CrossEntropy(3), ONE_HOT.float()),
        "a sigmoid",
        "expects raw scores",
        "Remove it",
    ),
    "yes or no, sigmoid": (
        checked(dense(1, nn.Sigmoid()), BinaryCrossEntropy(1), K2),
        "a sigmoid",
        "expects raw scores",
        "Remove it",
    ),
    "yes or no, softplus": (
        checked(dense(1, nn.Softplus()), BinaryCrossEntropy(1), K2),
        "a softplus",
        "never fall below one half",
        "Remove it",
    ),
    "labels, softmax": (
        checked(dense(3, nn.Softmax(1)), BinaryCrossEntropy(3), LABELS),
        "a softmax",
        "expects raw scores",
        "Remove it",
    ),
    # an activation that can not say what the targets are
    "absolute error, sigmoid": (
        checked(dense(1, nn.Sigmoid()), AbsoluteError(1), REAL),
        "between 0 and 1",
        "the targets run from -",
        "linear layer",
    ),
    "Huber, tanh": (
        checked(dense(1, nn.Tanh()), Huber(1), REAL),
        "between -1 and 1",
        "targets run from",
        "linear layer",
    ),
    "squared logarithm, sigmoid": (
        checked(dense(1, nn.Sigmoid()), SquaredLogError(1), REAL.abs() * 100),
        "between 0 and 1",
        "can not reach",
        "linear layer",
    ),
    "likelihood, relu": (
        checked(dense(2, nn.ReLU()), GaussianLikelihood(2), REAL.abs()),
        "a relu",
        "logarithms of variances",
        "linear layer",
    ),
    "likelihood, softplus": (
        checked(dense(2, nn.Softplus()), GaussianLikelihood(2), REAL.abs()),
        "a softplus",
        "may be any number",
        "linear layer",
    ),
    "likelihood, tanh": (
        checked(dense(2, nn.Tanh()), GaussianLikelihood(2), REAL.tanh()),
        "a tanh",
        "means and logarithms of variances",
        "linear layer",
    ),
    # sizes
    "likelihood without variances": (
        checked(dense(1), GaussianLikelihood(2), REAL),
        r"shape \(12, 1\)",
        r"expected \(12, 2\)",
        "End the network with 2 outputs",
    ),
    "an odd likelihood": (
        checked(dense(3), lambda: GaussianLikelihood(3), REAL),
        "num_outputs is 3",
        "expected 2 for every value",
        "its mean, and the logarithm",
    ),
    "hinge, three nodes for two classes": (
        checked(dense(3), Hinge(1), K2),
        r"shape \(12, 3\)",
        r"expected \(12, 1\)",
        "End the network with 1 outputs",
    ),
    "two values, one node": (
        checked(dense(1), AbsoluteError(2), REAL.view(-1, 1).expand(-1, 2)),
        r"\(12, 1\)",
        r"expected \(12, 2\)",
        "End the network with 2",
    ),
    "a softmax over one class": (
        checked(dense(1), lambda: CrossEntropy(1), K2),
        "cross-entropy of 1 class",
        "at least 2 outputs",
        r"write BinaryCrossEntropy\(1\)",
    ),
    "names of three classes for two": (
        checked(dense(2), lambda: CrossEntropy(2, classes=("a", "b", "c")), K2),
        "3 class names",
        "2 outputs",
        "give one name per output",
    ),
    "a map in place of scores": (
        checked(lambda: nn.Conv2d(3, 3, 1), CrossEntropy(3), K3, PICTURES),
        r"\(12, 3, 32, 32\)",
        r"expected \(12, 3\)",
        "Average over positions",
    ),
    "symbols, one answer for all": (
        checked(
            lambda: nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(28, 3)),
            CrossEntropy(2),
            K2,
            SYMBOLS,
        ),
        r"\(12, 3\)",
        r"expected \(12, 2\)",
        "End the network with 2 outputs",
    ),
    # targets
    "hinge of probabilities": (
        checked(dense(3), Hinge(3), ONE_HOT.float()),
        "float32 targets",
        "expected class numbers",
        "write CrossEntropy",
    ),
    "hinge of -1 and 1": (
        checked(dense(1), Hinge(1), 2 * K2 - 1),
        "from -1 to 1",
        r"2 classes \(0 to 1\)",
        "renumber the classes",
    ),
    "hinge of three classes on one node": (
        checked(dense(1), Hinge(1), K3),
        "from 0 to 2",
        "there are 2 classes",
        r"write Hinge\(3\)",
    ),
    "class numbers for an absolute error": (
        checked(dense(1), AbsoluteError(1), K3),
        "received int64 targets",
        "look like class numbers",
        r"write CrossEntropy\(K\)",
    ),
    "class numbers for a likelihood": (
        checked(dense(2), GaussianLikelihood(2), K3),
        "received int64 targets",
        "class numbers or counts",
        r"CrossEntropy\(K\)",
    ),
    "negative values for logarithms": (
        checked(dense(1), SquaredLogError(1), REAL),
        "targets go down to -",
        r"logarithm of 1 \+ y",
        "write SquaredError",
    ),
    "a value that is missing": (
        checked(dense(1), Huber(1), torch.where(K2 == 1, REAL, torch.nan)),
        "NaN or infinite values",
        "targets hold",
        "remove these examples",
    ),
    "yes and no as halves": (
        checked(dense(1), BinaryCrossEntropy(1), K2 * 0.5 + 0.25),
        "hold 0.25",
        r"expected 0 \(no\) and 1",
        r"write CrossEntropy\(2\)",
    ),
    "two labels for three": (
        checked(dense(3), BinaryCrossEntropy(3), LABELS[:, :2]),
        r"shape \(12, 2\)",
        r"expected \[N, 3\]",
        r"write CrossEntropy\(K\)",
    ),
    # numbers of the loss itself
    "weights of classes below zero": (
        checked(dense(2), lambda: CrossEntropy(2, class_weights=(1.0, -1.0)), K2),
        r"class_weights is \(1.0, -1.0\)",
        "at least 0",
        "above 0",
    ),
    "weights of no class": (
        checked(dense(3), lambda: BinaryCrossEntropy(3, positive_weights=(0.0, 0.0, 0.0)), LABELS),
        "positive_weights",
        "at least 0",
        "above 0",
    ),
    "a scale that is no number": (
        checked(dense(1), lambda: SquaredError(1, scale=(math.nan,)), REAL),
        "scale is",
        "nan",
        "expected positive numbers",
    ),
    "a centre without end": (
        checked(dense(1), lambda: Huber(1, center=(math.inf,)), REAL),
        "center is",
        "inf",
        "expected finite numbers",
    ),
    "weights of examples below zero": (
        checked(dense(3), CrossEntropy(3), K3, weights=torch.linspace(-1, 1, N)),
        "weights of examples run from -1 to 1",
        "at least 0",
        "weight 0",
    ),
    # data and network
    "five features into six": (
        checked(dense(3, inputs=5), CrossEntropy(3), K3),
        r"shape \(12, 6\), float32",
        r"inputs \[N, 6\]",
        "make it with inputs=6",
    ),
    "pictures into a table's network": (
        checked(dense(3), CrossEntropy(3), K3, PICTURES),
        r"\(12, 3, 32, 32\)",
        r"\[N, 3, 32, 32\]",
        r"inputs=\(3, 32, 32\)",
    ),
    "symbols into a linear layer": (
        checked(dense(3, inputs=7), CrossEntropy(3), K3, SYMBOLS),
        r"\(12, 7\), int64",
        "numbers of symbols",
        "embedding",
    ),
    "lengths that the network does not take": (
        checked(nn.Flatten, CrossEntropy(3), K3, SERIES, lengths=LENGTHS),
        r"\(12, 9, 2\)",
        r"net\(inputs \[N, L, F\], lengths",
        "let forward take both",
    ),
    "inputs that are no numbers": (
        checked(dense(3), CrossEntropy(3), K3, INPUTS / 0),
        "12 examples of the first batch hold NaN",
        "rows",
        "remove or replace",
    ),
    "nothing that is trained": (
        checked(lambda: Spoken("frozen"), CrossEntropy(3), K3),
        "all are frozen",
        "expected at least one",
        r"requires_grad_\(True\)",
    ),
    "scores that were detached": (
        checked(lambda: Spoken("detached"), CrossEntropy(3), K3),
        "detached on the way",
        "expected at least one",
        "what should learn",
    ),
    "auxiliary losses without heads": (
        checked(dense(3), WithAuxiliary(CrossEntropy(3)), K3),
        "auxiliary losses were asked for",
        "auxiliary=True",
        "or pass CrossEntropy",
    ),
    # what one batch does not show
    "a class that comes late": (
        fitted(table(targets=late(), classes=None), make=dense(2), objective=CrossEntropy(2)),
        "run from 0 to 5",
        "2 outputs",
        "renumber the classes",
    ),
    "a value that is missing late": (
        fitted(
            table(targets=np.where(np.arange(80) < 78, 1.0, np.nan).astype("float32"), classes=None),
            make=dense(1),
            objective=SquaredError(1),
        ),
        "part: targets hold NaN",
        "rows",
        "remove these examples",
    ),
    "two nodes for three classes": (
        fitted(table(), make=dense(2), objective=CrossEntropy(2)),
        r"run from 0 to 2|CrossEntropy\(2\)",
        "2 outputs|2 classes",
        r"CrossEntropy\(3\)",
    ),
    "five nodes for three classes": (
        fitted(table(), make=dense(5), objective=CrossEntropy(5)),
        r"CrossEntropy\(5\) is for 5 classes",
        "made has 3: a, b, c",
        r"Write CrossEntropy\(3\)",
    ),
    "names in another order": (
        fitted(table(), make=dense(3), objective=CrossEntropy(3, classes=("b", "a", "c"))),
        "names the classes b, a, c",
        "has a, b, c",
        "classes=",
    ),
    "names of yes and no, exchanged": (
        fitted(
            pictures(),
            make=flat,
            objective=BinaryCrossEntropy(1, classes=("yes", "no")),
        ),
        "names the classes yes, no",
        "has no, yes",
        "leave the names out",
    ),
    "class numbers under a squared error": (
        fitted(table(), make=dense(1), objective=SquaredError(1)),
        "received int64 targets",
        "class numbers",
        r"write CrossEntropy\(K\)",
    ),
    "values under a cross-entropy": (
        fitted(
            table(targets=np.random.default_rng(0).normal(size=(80, 1)).astype("float32"), classes=None),
            make=dense(3),
            objective=CrossEntropy(3),
        ),
        r"floating targets of shape",
        "expected class probabilities",
        "write SquaredError",
    ),
    "a class of networks in place of a network": (
        fitted(table(), net=nn.Linear, objective=CrossEntropy(3)),
        "Linear can not be called with inputs and outputs",
        "expected a torch.nn.Module",
        "or a function of inputs and outputs",
    ),
    "a table that is mirrored": (
        fitted(table(), recipe=FLIPS),
        r"made holds features of shape \(8, 6\)",
        r"Flip changes pictures \[N, C, H, W\]",
        "leave it out",
    ),
    "a table that is moved": (
        fitted(table(), recipe=replace(QUICK, augmentation=(Shift(),))),
        "holds features",
        "Shift changes pictures",
        "leave it out",
    ),
    "a table that is brightened": (
        fitted(table(), recipe=replace(QUICK, augmentation=(Brightness(),))),
        "holds features",
        "Brightness changes pictures",
        "leave it out",
    ),
    "series that are mirrored": (
        fitted(
            table(inputs=np.random.default_rng(0).normal(size=(80, 9, 2)).astype("float32")), recipe=FLIPS
        ),
        r"holds series of shape \(8, 9, 2\)",
        "Flip changes pictures",
        "leave it out",
    ),
    "a change that makes another shape": (
        fitted(table(), recipe=replace(QUICK, augmentation=(lambda inputs, draw: inputs[:, :3],))),
        r"shape \(8, 3\)",
        "expected the same shape and type",
        "leave it out",
    ),
    "a change that breaks": (
        fitted(table(), recipe=replace(QUICK, augmentation=(lambda inputs, draw: inputs @ inputs,))),
        r"can not change features of shape \(8, 6\)",
        "expected inputs that it was made for",
        "leave it out",
    ),
    "quarter turns of what is not square": (
        fitted(
            pictures(inputs=np.random.default_rng(0).normal(size=(80, 1, 6, 8)).astype("float32")),
            recipe=replace(QUICK, augmentation=(RotateQuarter(),)),
        ),
        r"received \(6, 8\)",
        "need square images",
        "resize",
    ),
    "blended classes under a hinge": (
        fitted(table(), make=dense(3), objective=Hinge(3), recipe=replace(QUICK, augmentation=(Mixup(),))),
        "Mixup blends class numbers",
        "Hinge expects class numbers",
        "leave Mixup out",
    ),
    "blended yes and no on one node": (
        fitted(
            pictures(),
            make=flat,
            objective=BinaryCrossEntropy(1),
            recipe=replace(QUICK, augmentation=(Mixup(),)),
        ),
        "Mixup blends",
        "BinaryCrossEntropy expects class numbers",
        r"CrossEntropy\(2\)",
    ),
    "a penalty on what is not there": (
        fitted(table(), recipe=replace(QUICK, penalties=(L2(strength=1.0, layers=("nothing",)),))),
        "finds no trained parameter",
        "there are",
        "leave the penalty out",
    ),
    "a penalty on activities of nothing": (
        fitted(table(), recipe=replace(QUICK, penalties=(Activity(strength=1.0, layers=("nothing",)),))),
        "no module of the network",
        "there are",
        "leave the penalty out",
    ),
}
PASSED = {
    # every question with its right last layer
    "three classes": checked(dense(3), CrossEntropy(3), K3),
    "three classes as bytes": checked(dense(3), CrossEntropy(3), K3.byte()),
    "class probabilities": checked(dense(3), CrossEntropy(3), torch.full((N, 3), 1 / 3)),
    "two classes on two nodes": checked(dense(2), CrossEntropy(2), K2),
    "two classes, true and false": checked(dense(2), CrossEntropy(2), K2.bool()),
    "focal, smoothed, weighted": checked(
        dense(3), CrossEntropy(3, focus=2.0, label_smoothing=0.1, class_weights=(1.0, 0.0, 2.0)), K3
    ),
    "log-probabilities": checked(dense(3, nn.LogSoftmax(1)), CrossEntropy(3), K3),
    "yes or no": checked(dense(1), BinaryCrossEntropy(1), K2),
    "yes or no as floating numbers": checked(dense(1), BinaryCrossEntropy(1), K2.double()),
    "labels": checked(dense(3), BinaryCrossEntropy(3, positive_weights=(1.0, 2.0, 0.5)), LABELS),
    "labels by squared error on sigmoids": checked(dense(3, nn.Sigmoid()), SquaredError(3), LABELS.float()),
    "probabilities by squared error on a softmax": checked(
        dense(3, nn.Softmax(1)), SquaredError(3), ONE_HOT.float()
    ),
    "hinge on one node": checked(dense(1), Hinge(1), K2),
    "hinge on one node, tanh": checked(dense(1, nn.Tanh()), Hinge(1), K2),
    "hinge of three": checked(dense(3), Hinge(3), K3),
    "hinge of three, log-softmax": checked(dense(3, nn.LogSoftmax(1)), Hinge(3), K3),
    "hinge of three, rectified": checked(dense(3, nn.ReLU()), Hinge(3), K3),
    "a value": checked(dense(1), SquaredError(1), REAL),
    "a value as a column": checked(dense(1), AbsoluteError(1), REAL[:, None]),
    "values with outliers": checked(dense(2), Huber(2, delta=0.5), REAL.view(-1, 1).expand(-1, 2)),
    "standardized values": checked(dense(1), SquaredError(1, center=(3.0,), scale=(2.0,)), REAL),
    "positive values, rectified": checked(dense(1, nn.ReLU()), AbsoluteError(1), REAL.abs()),
    "powers of ten": checked(dense(1), SquaredLogError(1), REAL.abs() * 1e6),
    "powers of ten, softplus": checked(dense(1, nn.Softplus()), SquaredLogError(1), REAL.abs() * 1e6),
    "shares, sigmoid": checked(dense(1, nn.Sigmoid()), Huber(1), REAL.sigmoid()),
    "a value with its uncertainty": checked(dense(2), GaussianLikelihood(2), REAL),
    "two values with their uncertainties": checked(
        dense(4), GaussianLikelihood(4), REAL.view(-1, 1).expand(-1, 2)
    ),
    "values in double precision": checked(
        lambda: dense(1)().double(), SquaredError(1), REAL.double(), INPUTS.double()
    ),
    # data of every kind
    "pictures": checked(
        lambda: nets.simple_cnn(inputs=(3, 32, 32), outputs=3), CrossEntropy(3), K3, PICTURES
    ),
    "auxiliary heads": checked(
        lambda: nets.googlenet(inputs=(3, 32, 32), outputs=3, auxiliary=True),
        WithAuxiliary(CrossEntropy(3)),
        K3,
        PICTURES,
    ),
    "series": checked(series_net(3), CrossEntropy(3), K3, SERIES),
    "series with lengths": checked(series_net(1), SquaredError(1), REAL, SERIES, lengths=LENGTHS),
    "symbols": checked(
        lambda: nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(28, 3)),
        CrossEntropy(3),
        K3,
        SYMBOLS,
    ),
    "weights of examples, some zero": checked(dense(3), CrossEntropy(3), K3, weights=K2.float()),
    "one example": checked(dense(3), CrossEntropy(3), K3[:1], INPUTS[:1]),
    "only the last layer is trained": checked(
        lambda: nn.Sequential(nn.Linear(D, 8).requires_grad_(False), nn.ReLU(), nn.Linear(8, 3)),
        CrossEntropy(3),
        K3,
    ),
    # through the whole road
    "classes, no names in the objective": fitted(table(), make=dense(3), objective=CrossEntropy(3)),
    "classes, the same names": fitted(
        table(), make=dense(3), objective=CrossEntropy(3, classes=("a", "b", "c"))
    ),
    "classes under a hinge": fitted(table(), make=dense(3), objective=Hinge(3)),
    "yes or no on one node of a picture": fitted(
        pictures(),
        make=flat,
        objective=BinaryCrossEntropy(1),
    ),
    "a table with noise and blends": fitted(table(), recipe=replace(QUICK, augmentation=(Noise(), Mixup()))),
    "blended labels": fitted(
        table(
            targets=np.stack([np.arange(80) % 2, np.arange(80) % 3 == 0], 1).astype("uint8"),
            classes=("u", "v"),
        ),
        recipe=replace(QUICK, augmentation=(Mixup(),)),
    ),
    "mirrored pictures": fitted(
        pictures(),
        recipe=FLIPS,
        make=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)),
    ),
    "class probabilities as targets": fitted(
        table(targets=np.full((80, 3), 1 / 3, "float32"), classes=None),
        make=dense(3),
        objective=CrossEntropy(3),
    ),
    "penalties on what is there": fitted(
        table(),
        make=dense(3),
        recipe=replace(QUICK, penalties=(L1(strength=0.1), MaxNorm(), Activity(strength=0.1, layers=("1",)))),
    ),
    "counts as values": fitted(np.zeros((40, 3), "float32"), np.arange(40).astype("float32")),
}


def test_the_tables_are_long():
    assert len(REFUSED) >= 40 and len(PASSED) >= 40


@pytest.mark.parametrize(("attempt", "received", "expected", "remedy"), REFUSED.values(), ids=REFUSED)
def test_refused_with_received_expected_and_remedy(attempt, received, expected, remedy, tmp_path):
    with pytest.raises((ValueError, TypeError)) as refusal:
        attempt(tmp_path)
    for said in (received, expected, remedy):
        assert re.search(said, str(refusal.value)), f"{said!r} is not in: {refusal.value}"
    assert not (tmp_path / "run").exists(), "refused after the run was begun"


@pytest.mark.parametrize("attempt", PASSED.values(), ids=PASSED)
def test_not_refused(attempt, tmp_path, monkeypatch):
    monkeypatch.setattr(hubel.show, "report", lambda folder: "")
    attempt(tmp_path)
