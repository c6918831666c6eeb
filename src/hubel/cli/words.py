"""Words of the command line to objects. The dicts are all there is: no lookup elsewhere."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hubel.core.errors import nearest


class WrongWords(ValueError):
    """What was typed is not understood (exit code 2)."""


DETECTOR = "anchor_free"
LATENT = ("autoencoder", "conv_autoencoder", "variational_autoencoder", "dcgan")
NETS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "compact": ("compact", ()),
    "self_explaining": ("self_explaining", ()),
    "attention_pooling": ("self_explaining", ("attention",)),
    **{kind: ("recurrent", (kind,)) for kind in ("rnn", "lstm", "peephole_lstm", "gru")},
    "transformer": ("transformer", ()),
    "series_resnet": ("series_resnet", ()),
    "image_series": ("image_series", ()),
    "mlp": ("mlp", ()),
    "perceptron": ("perceptron", ()),
    "lenet": ("lenet", ()),
    "alexnet": ("alexnet", ()),
    "zfnet": ("zfnet", ()),
    "nin": ("nin", ()),
    "googlenet": ("googlenet", ()),
    "inception_v3": ("inception_v3", ()),
    **{f"vgg{depth}": ("vgg", (depth,)) for depth in (11, 13, 16, 19)},
    "simple_cnn": ("simple_cnn", ()),
    "strided_cnn": ("strided_cnn", ()),
    **{f"resnet{depth}": ("resnet", (depth,)) for depth in (18, 20, 32, 34, 44, 50, 56, 101, 110, 152)},
    **{f"densenet{depth}": ("densenet", (depth,)) for depth in (121, 161, 169, 201)},
    "efficientnet_lite0": ("efficientnet_lite0", ()),
    "mobilenet_v1": ("mobilenet_v1", ()),
    "mobilenet_v2": ("mobilenet_v2", ()),
    "nasnet_mobile": ("nasnet_mobile", ()),
    "vision_transformer": ("vision_transformer", ()),
    "unet": ("unet", ()),
    "enet": ("enet", ()),
    "anchor_free": ("anchor_free", ()),
    "faster_rcnn": ("faster_rcnn", ()),
    "yolo": ("yolo", ()),
    "yolo_v3": ("yolo_v3", ()),
    "yolo_v3_attention": ("yolo_v3", ()),
    "xception": ("xception", ()),
    "character_lm": ("character_lm", ()),
    "character_lm_gru": ("character_lm", ("gru",)),
    "character_lm_transformer": ("character_lm", ("transformer",)),
    **{name: (name, ()) for name in LATENT},
    "realnvp": ("realnvp", ()),
}
MORE: dict[str, dict[str, Any]] = {"yolo_v3_attention": {"attention": True}}
"""What else some of these words mean, by name."""
OPTIMIZERS = {
    "sgd": "SGD",
    "momentum": "Momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "rmsprop": "RMSProp",
    "muon": "Muon",
}
SCHEDULES = {
    "linear": "Linear",
    "cosine": "Cosine",
    "one-cycle": "OneCycle",
    "exponential": "Exponential",
    "plateau": "Plateau",
    "constant": "Constant",
}
METHODS_OF_EQUATIONS = {
    "levenberg-marquardt": "LevenbergMarquardt",
    "broyden": "SelfScaledBroyden",
    "lbfgs": "LimitedMemory",
    "adam": "Adam",
    "soap": "SOAP",
    "muon": "Muon",
}
METHODS: dict[str, tuple[str, ...]] = {
    "backpropagation": (
        "saliency", "gradient_times_input", "smoothgrad", "integrated_gradients", "expected_gradients", "deconvnet", "guided_backprop",
        "cam", "grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "lrp", "deeplift",
    ),
    "perturbation": (
        "occlusion", "prediction_difference", "leave_one_feature_out", "meaningful_perturbation", "representation_erasure", "rise", "lime",
        "shapley_sampling", "shapley_exact",
    ),
    "from the network itself": ("intrinsic",),
    "controls that know nothing": ("random_map", "centre_map"),
}  # fmt: skip
"""Methods of `hubel explain --method`: functions of `hubel.explain`, by what they do."""
COMPARED: dict[str, tuple[str, ...]] = {
    "pictures": (
        "saliency", "gradient_times_input", "smoothgrad", "integrated_gradients", "guided_backprop", "grad_cam", "hires_cam", "layer_cam",
        "lrp", "deeplift", "occlusion",
    ),
    "volumes": ("gradient_times_input", "integrated_gradients", "grad_cam", "hires_cam", "lrp", "deeplift", "occlusion"),
    "series": ("gradient_times_input", "smoothgrad", "integrated_gradients", "lrp", "deeplift", "occlusion"),
    "rows": ("gradient_times_input", "smoothgrad", "integrated_gradients", "lrp", "deeplift", "leave_one_feature_out", "shapley_sampling"),
}  # fmt: skip
"""What `hubel explain --compare` compares where no method is named: without those that take thousands of passes a picture."""


def methods() -> dict[str, Callable[..., Any]]:
    """Every method that there is, by its word."""
    from hubel import explain

    names = [name for group in METHODS.values() for name in group]
    return {name: getattr(explain, name) for name in names if name in explain.__all__}


def method(word: str) -> Callable[..., Any]:
    """The method of a word, written with `_` or `-`."""
    known = methods()
    name = word.replace("-", "_")
    if name not in known:
        raise WrongWords(f"there is no method {word!r}.{nearest(name, known)}")
    return known[name]


def compared(kind: str, chosen: list[str] | None) -> dict[str, Callable[..., Any]]:
    """The methods that are compared on this kind of examples: those named, or the usual ones."""
    if chosen:
        return {method(word).__name__: method(word) for word in chosen}
    known = methods()
    return {name: known[name] for name in COMPARED[kind] if name in known}


def published_net(
    word: str, weights: str | None, *, download: bool = False, keep_statistics: bool = False
) -> Any:
    """A network with published weights ("imagenet" of an installed package where none are named), ready to answer; its norms keep the
    published statistics where `keep_statistics` asks for it and the network has the choice.
    """
    from hubel import nets

    if word not in NETS:
        raise WrongWords(
            f"{word} is no run folder and no network; list the runs that there are with: hubel runs.{nearest(word, NETS)}"
        )
    name, arguments = NETS[word]
    function = getattr(nets, name)
    known = inspect.signature(function).parameters
    if "weights" not in known:
        raise WrongWords(f"there are no published weights for {word}: name the folder of a run")
    more = {"keep_statistics": True} if keep_statistics and "keep_statistics" in known else {}
    return function(*arguments, weights=weights or "imagenet", download=download, **more).eval()


def backbone_of(word: str, weights: str | None, *, download: bool = False) -> Any:
    """The network of a run, or one with published weights, that is to see for a detector."""
    from hubel.fitting import open_run

    if not Path(word).is_dir():
        return published_net(word, weights, download=download, keep_statistics=True)
    if weights is not None:
        raise WrongWords(
            f"--weights are published ones, but --backbone {word} is a run, which has its own: leave them out"
        )
    return open_run(word, device="cpu").net


def net_of(
    word: str | None,
    *,
    weights: str | None,
    download: bool,
    latent: int | None = None,
    backbone: str | None = None,
) -> Callable[..., Any] | None:
    """The network function of a word; where none was named, that of the autoencoder with a code of `latent` values, or None. With a
    `backbone`, a run or a network, a detector.
    """
    from hubel.workflows.itself import default_autoencoder

    if backbone is not None:
        _refuse_no_detector(word or DETECTOR)
        seen = backbone_of(backbone, weights, download=download)
        return partial(net_maker(word or DETECTOR, latent=latent), backbone=seen)
    if word is None and weights is not None:
        raise WrongWords("--weights belong to a network: name it as well, such as --net resnet18")
    if latent is not None and latent < 1:
        raise WrongWords(f"--latent is {latent}; expected a whole number of at least 1")
    if word is None:
        return None if latent is None else partial(default_autoencoder, latent=latent)
    return net_maker(word, weights=weights, download=download, latent=latent)


def _refuse_no_detector(word: str) -> None:
    """Raise `WrongWords` for a word of a network that looks at pictures by itself."""
    from hubel import nets

    if word in NETS and NETS[word][0] not in nets.OF_OBJECTS:
        detectors = ", ".join(name for name, (function, _) in NETS.items() if function in nets.OF_OBJECTS)
        raise WrongWords(f"--backbone is for detectors ({detectors}); {word} is none")


def net_maker(
    word: str, *, weights: str | None = None, download: bool = False, latent: int | None = None
) -> Callable[..., Any]:
    """The network function of a word; called with `inputs` and `outputs` once these are known. `weights` are published ones, `latent`
    the size of a code.
    """
    from hubel import nets

    if word not in NETS:
        raise WrongWords(f"there is no network {word!r}.{nearest(word, NETS)}")
    name, arguments = NETS[word]
    function = getattr(nets, name)
    more: dict[str, Any] = dict(MORE.get(word, {}))
    if latent is not None:
        if word not in LATENT:
            raise WrongWords(
                f"{word} has no code whose size --latent could say; these have: {', '.join(LATENT)}"
            )
        more = {"latent": latent}
    if weights is not None:
        if "weights" not in inspect.signature(function).parameters:
            raise WrongWords(f"there are no published weights for {word}: leave --weights out")
        more |= {"weights": weights, "download": download}
    return partial(function, *arguments, **more) if arguments or more else function


def freeze(layers: list[str] | None) -> Any:
    """The layers that keep their weights; "all-but-last" is what it says."""
    from hubel.fitting import Freeze

    if not layers:
        return False
    if "all-but-last" in layers:
        if len(layers) > 1:
            raise WrongWords("--freeze all-but-last freezes the other layers too: leave them out")
        return Freeze()
    return Freeze(layers=tuple(layers))


def work(members: int | None, folds: int | None) -> Callable[..., Any]:
    """What `hubel fit` does with its words: one run, an ensemble of them, or a cross-validation."""
    from hubel import workflows

    if members is not None and folds is not None:
        raise WrongWords("--members fits an ensemble, --folds cross-validates: expected one of them")
    for word, number in (("--members", members), ("--folds", folds)):
        if number is not None and number < 2:
            raise WrongWords(f"{word} {number}: expected a whole number of at least 2")
    if members is not None:
        return partial(workflows.ensemble, members=members)  # pyright: ignore[reportArgumentType] - the function, not the file
    return workflows.fit if folds is None else partial(workflows.cross_validate, folds=folds)  # pyright: ignore[reportReturnType]


def resumer(folder: Path) -> Callable[..., Any]:
    """What goes on with this folder: a run, an ensemble, a cross-validation, or the run of an equation."""
    from hubel import workflows
    from hubel.fitting.about import is_equation
    from hubel.fitting.ensemble import ENSEMBLE, FOLDS

    if is_equation(folder):
        return workflows.resume_solution
    if (folder / ENSEMBLE).exists():
        return workflows.resume_ensemble
    return workflows.resume_folds if (folder / FOLDS).exists() else workflows.resume


def recipe(
    *,
    epochs: int | None,
    batch_size: int | None,
    optimizer: str | None,
    learning_rate: float | None,
    schedule: str | None,
    patience: int | None,
    precision: str | None,
    seed: int,
    frozen: list[str] | None = None,
) -> Any:
    """The recipe of the options."""
    from hubel import fitting
    from hubel.fitting.precision import all_threads

    chosen: Any = None
    if learning_rate is not None and optimizer is None:
        raise WrongWords(
            "--learning-rate belongs to an optimizer, and the default depends on the network: name one as well, such as --optimizer adamw"
        )
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise WrongWords(f"--learning-rate is {learning_rate}; expected a positive number, such as 0.001")
    if optimizer is not None:
        if optimizer not in OPTIMIZERS:
            raise WrongWords(f"there is no optimizer {optimizer!r}.{nearest(optimizer, OPTIMIZERS)}")
        kind = getattr(fitting, OPTIMIZERS[optimizer])
        chosen = kind() if learning_rate is None else kind(learning_rate=learning_rate)
    if schedule is not None and schedule not in SCHEDULES:
        raise WrongWords(f"there is no schedule {schedule!r}.{nearest(schedule, SCHEDULES)}")
    if precision not in (None, "float32", "bfloat16"):
        raise WrongWords(
            f"there is no precision {precision!r}.{nearest(str(precision), ['float32', 'bfloat16'])}"
        )
    try:
        return fitting.Recipe(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=chosen,
            schedule=None if schedule is None else getattr(fitting, SCHEDULES[schedule])(),
            early_stopping=None if patience is None else fitting.EarlyStopping(patience=patience),
            precision=None if precision is None else all_threads(precision),  # type: ignore[arg-type]
            freeze=freeze(frozen),
            seed=seed,
        )
    except (ValueError, TypeError) as error:
        raise WrongWords(str(error)) from error


def study(word: str) -> Callable[..., Any]:
    """The study of this name, written with `_` or `-`."""
    from hubel import studies

    name = word.replace("-", "_")
    if name not in studies.__all__:
        raise WrongWords(f"there is no study {word!r}.{nearest(name, studies.__all__)}")
    return getattr(studies, name)


def equation(word: str) -> str | Path:
    """The name of an equation, or the path of a file.

    Raises `WrongWords` for a name that there is not.
    """
    from hubel.physics.posing import NAMES

    if word.endswith(".py"):
        return Path(word)
    name = word.replace("_", "-").lower()
    if name not in NAMES:
        also = " A file of your own has to end in .py." if Path(word).exists() else ""
        raise WrongWords(f"there is no equation {word!r}.{nearest(name, NAMES)}{also}")
    return name


def walk(given: Sequence[str]) -> dict[str, tuple[float, ...]] | None:
    """Values of numbers that an equation is walked through, by name.

    >>> walk(["nu=0.1,0.03"]), walk([])
    ({'nu': (0.1, 0.03)}, None)

    Raises `WrongWords` for what is no name with numbers.
    """
    found = {}
    for word in given:
        name, equals, values = word.partition("=")
        try:
            found[name.strip()] = tuple(float(value) for value in values.split(","))
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise WrongWords(
                f"--continuation is {word!r}; expected a name and its values, such as nu=0.1,0.03"
            )
    return found or None


def architecture(
    *, width: int | None, depth: int | None, activation: str, residual: bool, fourier: int
) -> Any:
    """The network for an equation; None where nothing was chosen.

    Raises `WrongWords` for an activation that there is not.
    """
    from hubel.physics import Architecture

    try:
        chosen = Architecture(
            width=width, depth=depth, activation=activation, residual=residual, fourier=fourier
        )
    except ValueError as error:
        raise WrongWords(str(error)) from error
    return None if chosen == Architecture() else chosen


def method_of_equations(word: str) -> Any:
    """The method of this name for `hubel solve`."""
    from hubel import physics

    if word not in METHODS_OF_EQUATIONS:
        raise WrongWords(f"there is no method {word!r}.{nearest(word, tuple(METHODS_OF_EQUATIONS))}")
    return getattr(physics, METHODS_OF_EQUATIONS[word])()


def load_options(
    target: list[str] | None,
    size: str | None,
    resize: str,
    channels: str | None,
    kind: str | None,
    nan: str,
    task: str | None,
    skip_unreadable: bool,
    symmetry: list[str] | None,
    download: bool,
) -> dict[str, Any]:
    """The options of `hubel.data.load` that were given."""
    options: dict[str, Any] = {}
    if target:
        options["target"] = target[0] if len(target) == 1 else list(target)
    if size is not None:
        options["size"] = _size(size)
    if symmetry:
        options["symmetries"] = list(symmetry)
    given = {
        "resize": resize,
        "channels": channels,
        "kind": kind,
        "nan": nan,
        "task": task,
        "skip_unreadable": skip_unreadable,
        "download": download,
    }
    usual = {
        "resize": "pad",
        "channels": None,
        "kind": None,
        "nan": "refuse",
        "task": None,
        "skip_unreadable": False,
        "download": False,
    }
    return options | {name: value for name, value in given.items() if value != usual[name]}


def series_options(**given: Any) -> dict[str, Any]:
    """The options of `hubel.data.load` for series that were given, and the length of windows, which texts have as well.

    Raises `WrongWords` for a season without a forecast.
    """
    if given["season"] is not None and given["forecast"] is None:
        raise WrongWords("--season belongs to a forecast: say how many steps ahead with --forecast as well")
    return {name: value for name, value in given.items() if value is not None}


def table_options(
    columns: list[str] | None, ignore: list[str] | None, category: list[str] | None, missing: list[str] | None
) -> dict[str, Any]:
    """The options of `hubel.data.from_table` that were given."""
    given = {"columns": columns, "ignore": ignore, "categories": category, "missing": missing}
    return {name: list(value) for name, value in given.items() if value}


def text_options(step: int | None, tokens: str | None, least: int | None) -> dict[str, Any]:
    """The options of `hubel.data.load` that only a text has and that were given."""
    if tokens not in (None, "characters", "words"):
        raise WrongWords(f"there are no tokens {tokens!r}.{nearest(str(tokens), ['characters', 'words'])}")
    given = {"step": step, "tokens": tokens, "least": least}
    return {name: value for name, value in given.items() if value is not None}


def mask_options(unlabelled: str | None) -> dict[str, Any]:
    """The option of `hubel.data.load` that only masks have, where it was given.

    >>> mask_options("0"), mask_options(None)
    ({'unlabelled': 0}, {})
    """
    if unlabelled is None:
        return {}
    if unlabelled not in ("none", "empty", "skip") and not re.fullmatch(r"-?\d+", unlabelled):
        raise WrongWords(
            f"--unlabelled {unlabelled!r} is not understood; expected the value of pixels without a label, such as 255, or none; of pictures without boxes empty or skip"
        )
    return {"unlabelled": unlabelled if unlabelled in ("none", "empty", "skip") else int(unlabelled)}


def box_options(tile: str | None, overlap: int | None, voc_offset: int | None) -> dict[str, Any]:
    """The options of `hubel.data.load` that only boxes have and that were given.

    >>> box_options("256x512", 32, None)
    {'tile': (256, 512), 'overlap': 32}
    """
    if tile is not None and not re.fullmatch(r"\d+(x\d+)?", tile):
        raise WrongWords(
            f"--tile {tile!r} is not understood; expected pixels, such as 256 or 256x512 (height x width)"
        )
    sides = None if tile is None else tuple(map(int, tile.split("x")))
    given = {
        "tile": None if sides is None else sides[0] if len(sides) == 1 else sides,
        "overlap": overlap,
        "voc_offset": voc_offset,
    }
    return {name: value for name, value in given.items() if value is not None}


def seconds(text: str) -> float:
    """A duration.

    >>> seconds("90"), seconds("20m"), seconds("1.5h")
    (90.0, 1200.0, 5400.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?\s*", text)
    if match is None or float(match[1]) <= 0:
        raise WrongWords(f'a duration of {text!r} is not understood; expected such as "90s", "20m" or "2h"')
    return float(match[1]) * {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, None: 1}[match[2]]


def _size(text: str) -> int | tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text)
    if match is None or int(match[1]) == 0:
        raise WrongWords(
            f'a size of {text!r} is not understood; expected such as "96" or "96x128" (height x width)'
        )
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


def conversion(word: str | None) -> Literal["rgb", "grey"] | None:
    """The channels to which pictures are converted.

    >>> conversion("grey")
    'grey'

    Raises `WrongWords` for another word.
    """
    if word not in (None, "rgb", "grey"):
        raise WrongWords(f"--channels {word}: expected rgb or grey")
    return word  # type: ignore[return-value]
