"""What a run file may name: every choice comes back as it was, and nothing else is ever looked up."""

import dataclasses
import inspect
import json

import numpy as np
import pytest
import torch

from hubel import fitting, nets, objectives
from hubel.core import names
from hubel.data import augmentation
from hubel.data.preprocessing import Scaling


def choices_of(module):
    """Public frozen values of a room."""
    found = [getattr(module, name) for name in module.__all__]
    return [kind for kind in found if inspect.isclass(kind) and dataclasses.is_dataclass(kind)]


GIVEN = {
    "Piecewise": lambda: fitting.Piecewise(boundaries=(10, 20), factors=(1.0, 0.1, 0.01)),
    "Progress": lambda: fitting.Progress(step=3, total=9, validation=(0.5, 0.25)),
    "CrossEntropy": lambda: objectives.CrossEntropy(
        3, classes=("a", "b", "ü"), label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5)
    ),
    "BinaryCrossEntropy": lambda: objectives.BinaryCrossEntropy(
        2, classes=("x", "y"), positive_weights=(1.0, 3.0)
    ),
    "SquaredError": lambda: objectives.SquaredError(
        2, center=(1.0, 1 / 3), scale=(0.1, 1e300), units=("K", "Jy")
    ),
    "L1": lambda: fitting.L1(strength=0.1, layers=("body.",)),
    "L2": lambda: fitting.L2(strength=0.1, on="biases"),
    "Lp": lambda: fitting.Lp(strength=0.1, power=4.0),
    "Activity": lambda: fitting.Activity(strength=0.1, layers=("body.1",), power=2.0),
    "Step": lambda: fitting.Step(every=30, reduce=0.5),
    "WithAuxiliary": lambda: objectives.WithAuxiliary(objectives.CrossEntropy(3), weight=0.4),
    "SparseExplanation": lambda: objectives.SparseExplanation(objectives.CrossEntropy(3), weight=0.4),
    "NextSymbol": lambda: objectives.NextSymbol(3, alphabet=("a", "b", "c")),
    "PixelCrossEntropy": lambda: objectives.PixelCrossEntropy(
        3, classes=("a", "b", "c"), class_weights=(1.0, 2.0, 0.5), dice=1.0
    ),
    "AnchorFreeDetection": lambda: objectives.AnchorFreeDetection(2, classes=("a", "b"), threshold=1 / 3),
    "FasterRCNNDetection": lambda: objectives.FasterRCNNDetection(2, classes=("a", "b"), threshold=1 / 3),
    "YOLODetection": lambda: objectives.YOLODetection(2, classes=("a", "b")),
    "YOLOv3Detection": lambda: objectives.YOLOv3Detection(2, classes=("a", "b"), least_score=0.1),
    "Draw": None,  # a moment of a batch, never stored
}
KINDS = [
    kind
    for module in (fitting, objectives, augmentation)
    for kind in choices_of(module)
    if GIVEN.get(kind.__name__, kind) is not None
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_choice_comes_back(kind):
    value = GIVEN.get(kind.__name__, kind)()
    stored = json.loads(json.dumps(names.describe(value), allow_nan=False))
    assert names.rebuild(stored) == value
    assert type(names.rebuild(stored)) is kind


def test_the_list_is_not_empty():
    assert {
        "SGD",
        "AdamW",
        "Muon",
        "Recipe",
        "Precision",
        "Linear",
        "CrossEntropy",
        "Flip",
        "EarlyStopping",
    } <= {k.__name__ for k in KINDS}


def test_a_whole_recipe_comes_back():
    recipe = fitting.Recipe(
        epochs=3,
        batch_size=7,
        optimizer=fitting.AdamW(betas=(0.8, 0.9)),
        schedule=fitting.Piecewise(boundaries=(5,), factors=(1.0, 0.1)),
        augmentation=(augmentation.Flip(axis="vertical"), augmentation.Erase(area=(0.1, 0.2))),
        max_grad_norm=1.5,
        average=False,
        early_stopping=fitting.EarlyStopping(patience=3),
        precision=fitting.Precision(dtype="bfloat16", layout="channels_last", threads=2),
        penalties=(fitting.L1(strength=0.1), fitting.MaxNorm(limit=2.0)),
        seed=-4,
    )
    assert names.rebuild(json.loads(json.dumps(names.describe(recipe)))) == recipe


def test_scaling_comes_back_bit_by_bit():
    rng = np.random.default_rng(0)
    scaling = Scaling(
        mean=tuple(rng.normal(size=3)), std=tuple(rng.random(3)), dtype="uint16", shape=(3, 8, 8)
    )
    assert names.rebuild(json.loads(json.dumps(names.describe(scaling)))) == scaling


def test_networks_come_back():
    net = nets.mlp((7, 5), inputs=4, outputs=3)
    stored = json.loads(
        json.dumps({"name": net.made_by.name, "arguments": names.describe(dict(net.made_by.arguments))})
    )
    again = names.rebuild_net(stored["name"], stored["arguments"])
    assert [(n, p.shape) for n, p in again.named_parameters()] == [
        (n, p.shape) for n, p in net.named_parameters()
    ]


def test_numbers_of_numpy_and_torch_are_plain():
    assert names.describe(
        {"a": np.float32(0.5), "b": np.int64(3), "c": torch.tensor(2), "d": (True, None)}
    ) == {
        "a": 0.5,
        "b": 3,
        "c": 2,
        "d": [True, None],
    }


@pytest.mark.parametrize(
    "value", [object(), lambda: 0, {1, 2}, torch.zeros(2), np.zeros(3), b"bytes", torch.nn.ReLU()]
)
def test_what_has_no_plain_form_is_refused(value):
    with pytest.raises(TypeError, match=r"can not be written|no plain form"):
        names.describe(value)


def test_a_users_own_choice_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Mine:
        x: int = 1

    with pytest.raises(TypeError, match="not a public name"):
        names.describe(Mine())


HOSTILE = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "eval",
    "",
    ".",
    "hubel",
    "hubel.nets",
    "hubel.nets.",
    "hubel.nets.os",
    "hubel.nets.torch.load",
    "hubel.data.load",
    "hubel.data.load_builtin",
    "hubel.fitting.run.open_run",
    "hubel.fitting.codec.decode",
    "hubel.nets.made.made",
    "hubel.nets.__builtins__",
    "hubel.nets.__class__",
    "hubel.nets.resnet.__globals__",
    "hubel.core.files.write_text",
    "hubel.data.augmentation.torch",
    "hubel.data.augmentation.random",
    "hubel.objectives.objective.np",
    "hubel.workflows.fit",
    "..os.system",
    "hubel.nets/../../os.system",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_not_looked_up(name):
    with pytest.raises(ValueError, match="not a name that a run folder may use"):
        names.find(name)
    for stored in (
        {"is": name},
        [{"deep": [{"is": name, "x": 1}]}],
        {"is": "hubel.fitting.SGD", "momentum": {"is": name}},
    ):
        with pytest.raises(ValueError, match="run folder"):
            names.rebuild(stored)
    with pytest.raises(ValueError, match="run folder"):
        names.rebuild_net(name, {})


@pytest.mark.parametrize(
    "name",
    [
        "hubel.fitting.open_run",
        "hubel.fitting.steps",
        "hubel.fitting.Run",
        "hubel.fitting.Checkpoints",
        "hubel.fitting.probe",
        "hubel.objectives.check",
        "hubel.nets.mlp",
        "hubel.data.augmentation.augment",
        "hubel.data.preprocessing.scaling_of",
    ],
)
def test_functions_and_workers_are_no_values(name):
    with pytest.raises(ValueError, match="not a plain value"):
        names.rebuild({"is": name, "folder": "x"})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("hubel.nets.resnet", {"depth": 18, "weights": "/etc/passwd"}),
        ("hubel.nets.resnet", {"weights": None}),
        ("hubel.fitting.open_run", {"folder": "/"}),
        ("hubel.fitting.SGD", {}),
        (["hubel.nets.mlp"], {}),
        ("hubel.nets.mlp", ["a"]),
        ("hubel.nets.mlp", None),
    ],
)
def test_only_networks_without_weights_are_made(name, arguments):
    with pytest.raises(ValueError, match="run folder"):
        names.rebuild_net(name, arguments)


def test_fields_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="can not be made again"):
        names.rebuild({"is": "hubel.fitting.SGD", "velocity": 1})
    with pytest.raises(ValueError, match="can not be made again"):
        names.rebuild_net("hubel.nets.mlp", {"depth_of_field": 1})
