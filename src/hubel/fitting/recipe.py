"""`Recipe`: how to fit, as objects. What it does not name is left to hubel, filled in by `resolve`, and stored with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from hubel.data.augmentation import (
    Affine,
    Augmentation,
    Brightness,
    Colour,
    Contrast,
    CopyPaste,
    CropSteps,
    Erase,
    Flip,
    Jitter,
    Mosaic,
    RotateCube,
    RotateQuarter,
    ScaleValues,
    Shift,
)
from hubel.data.dataset import Dataset
from hubel.fitting.freezing import Freeze
from hubel.fitting.optimizers import AdamW, Muon, OptimizerChoice
from hubel.fitting.penalties import L1, Penalty
from hubel.fitting.precision import Precision
from hubel.fitting.schedules import Linear, Schedule
from hubel.layers.peephole_lstm import PeepholeLSTM
from hubel.nets import OF_OBJECTS
from hubel.nets.backbones import ClassifierBody

BODY = 0.1  # of the learning rate, for a body that has learnt
WINDOWS = 16  # of text in a batch
MASKS, PIXELS = (
    16,
    2**20,
)  # pictures in a batch that have a class for every pixel: so many at most, and of so many pixels together
BOXES = 32  # pictures in a batch that have boxes
LONG = 20  # epochs from which on rectangles are erased as well
ZOOM = 0.15
WITH_BOXES = (0.1, 0.3)  # shift and zoom where boxes say what became of the objects; judged, not measured
SHIFT = 0.04  # of the side; on Fashion-MNIST (11 epochs, one seed) 1 pixel was 0.3 points above 2


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Stop when the validation loss has not improved for `patience` epochs, and go back to the best weights.

    Raises `ValueError` where `patience` is below 1.
    """

    patience: int = 10

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience is {self.patience}; expected at least 1 epoch")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to fit. A field left as None is chosen by hubel; `False` switches off what can be switched off.

    `epochs` passes over the training part · `batch_size` examples a step · `augmentation` in order (an empty tuple for none) ·
    `max_grad_norm` clips the whole gradient · `average` is the decay of a moving average of the weights, which is then what is
    evaluated and kept · `early_stopping` · `penalties` such as `L1` or `MaxNorm` · `freeze` layers that keep their weights · `precision` number format, layout, threads · `seed` decides everything random.

    Raises `ValueError` for a number out of its range, `TypeError` for a seed that is no whole number.

    >>> Recipe(epochs=20, seed=1).optimizer is None
    True
    """

    epochs: int | None = None
    batch_size: int | None = None
    optimizer: OptimizerChoice | None = None
    schedule: Schedule | None = None
    augmentation: tuple[Augmentation, ...] | None = None
    max_grad_norm: float | Literal[False] | None = None
    average: float | Literal[False] | None = None
    early_stopping: EarlyStopping | Literal[False] | None = None
    precision: Precision | None = None
    penalties: tuple[Penalty, ...] = ()
    freeze: Freeze | Literal[False] = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1")
        if self.average not in (None, False) and not 0 < float(self.average) < 1:
            raise ValueError(
                f"average is {self.average}; expected a decay between 0 and 1 (such as 0.999), or False"
            )
        if self.max_grad_norm not in (None, False) and not float(self.max_grad_norm) > 0:
            raise ValueError(f"max_grad_norm is {self.max_grad_norm}; expected a positive number, or False")
        for name, method, example in (
            ("optimizer", "build", "AdamW(learning_rate=1e-3)"),
            ("schedule", "factor", "OneCycle()"),
        ):
            value = getattr(self, name)
            if value is not None and (isinstance(value, type) or not hasattr(value, method)):
                raise TypeError(f"{name} is {value!r}; expected a choice such as hubel.fitting.{example}")
        if not isinstance(self.seed, int):
            raise TypeError(f"seed is {self.seed!r}; expected a whole number")

    @property
    def is_resolved(self) -> bool:
        """Whether no field is left to choose."""
        return all(getattr(self, f.name) is not None for f in dataclasses.fields(self))

    @contextmanager
    def frozen(self, net: nn.Module) -> Iterator[None]:
        """Inside, the layers of `net` that this recipe freezes take no gradient."""
        if not self.freeze:
            yield
            return
        with self.freeze.applied(net):
            yield

    def resolve(
        self,
        data: Dataset,
        net: nn.Module,
        *,
        choose_precision: Callable[[int], tuple[Precision, str]],
        choose_epochs: Callable[[int, Precision], tuple[int, str]],
        validation: bool = False,
    ) -> tuple[Recipe, dict[str, str]]:
        """Every blank filled, and for every field the reason. `validation` says whether there is a validation part to look at.

        `choose_precision(batch_size)` and `choose_epochs(batch_size, precision)` measure on this machine; the rest follows from
        the training part `data` and the network.
        """
        chosen: dict[str, tuple[Any, str]] = {}

        def fill(name: str, choice: Callable[[], tuple[Any, str]]) -> Any:
            given = getattr(self, name)
            chosen[name] = (given, "given") if given is not None else choice()
            return chosen[name][0]

        batch_size = fill("batch_size", lambda: batch_size_of(data))
        if batch_size > len(data):
            chosen["batch_size"] = (
                len(data),
                f"all {len(data)} training examples: fewer than the {batch_size} asked for",
            )
            batch_size = len(data)
        precision = fill("precision", lambda: choose_precision(batch_size))
        epochs = fill("epochs", lambda: choose_epochs(batch_size, precision))
        fill("optimizer", lambda: default_optimizer(net, batch_size))
        fill("schedule", default_schedule)
        fill("augmentation", lambda: default_augmentation(data, epochs))
        fill("max_grad_norm", lambda: default_clipping(net))
        sparse = any(isinstance(penalty, L1) for penalty in self.penalties)
        kept = (False, "a mean over steps would not keep the zeros that L1 makes")
        fill("average", lambda: kept if sparse else default_average(len(data), batch_size, epochs))
        fill("early_stopping", lambda: default_stopping(data, epochs, validation))
        chosen["penalties"] = (
            self.penalties,
            "given" if self.penalties else "none: weight decay is the optimizer's",
        )
        chosen["freeze"] = (self.freeze, "given" if self.freeze else "all layers learn")
        chosen["seed"] = (self.seed, "given" if self.seed else "default")
        resolved = Recipe(**{name: value for name, (value, _) in chosen.items()})
        return resolved, {name: why for name, (_, why) in chosen.items()}


def batch_size_of(train: Dataset) -> tuple[int, str]:
    """Windows of text and masks hold many targets each, so that few make a batch; of everything else as many as the number of examples allows."""
    if train.has_boxes:
        return _boxes_in_a_batch(train)
    if train.has_masks:
        return _masks_in_a_batch(train)
    if train.alphabet is None:
        return default_batch_size(len(train))
    size = min(WINDOWS, len(train))
    return size, (
        f"{size * train.shape[0]:,} symbols a step, {-(-len(train) // size):,} steps an epoch: on the embedded text 20 epochs of such steps "
        "came as far as 40 of twice the size"
    )


def _masks_in_a_batch(train: Dataset) -> tuple[int, str]:
    pixels = train.shape[-2] * train.shape[-1]
    size = min(MASKS, default_batch_size(len(train))[0], max(2, PIXELS // pixels), len(train))
    return size, f"{size * pixels:,} pixels a step, {-(-len(train) // size):,} steps an epoch"


def _boxes_in_a_batch(train: Dataset) -> tuple[int, str]:
    pixels = train.shape[-2] * train.shape[-1]
    size = min(BOXES, default_batch_size(len(train))[0], max(2, 2 * PIXELS // pixels), len(train))
    return size, f"{size} pictures a step, {-(-len(train) // size):,} steps an epoch"


def default_batch_size(num_train: int) -> tuple[int, str]:
    """128 for enough data, smaller so that an epoch has at least 8 steps."""
    size = 128
    while size > 8 and num_train < 8 * size:
        size //= 2
    size = min(size, num_train)
    return size, f"{-(-num_train // size)} steps an epoch of {num_train:,} examples"


def default_optimizer(net: nn.Module, batch_size: int) -> tuple[OptimizerChoice, str]:
    """Muon for our compact network, for which it was measured; AdamW, which asks least of a network, for every other."""
    made = getattr(net, "made_by", None)
    inside = None if made is None else made.arguments.get("net", {}).get("name", made.name)
    if inside == "hubel.nets.compact":
        return Muon(
            normalize=True
        ), "momentum made orthogonal: 0.9 points above AdamW after 4 epochs of Fashion-MNIST"
    if inside == "hubel.nets.character_lm":
        return AdamW(learning_rate=0.01), (
            "on the embedded text 1.82 bits per symbol after 20 epochs, where half this rate gave 1.86"
        )
    if inside == "hubel.nets.conv_autoencoder":
        return AdamW(learning_rate=5e-3), (
            "batch norm bears fast steps: after 300 steps on digits (one seed) a tenth less error than at 0.002"
        )
    if inside == "hubel.nets.dcgan":
        return AdamW(learning_rate=1e-3, betas=(0.5, 0.999), weight_decay=0.0), (
            "little momentum, as published for DCGAN; after 600 steps on Fashion-MNIST (one seed) samples were at a Fréchet distance of "
            "0.12 from the data, against 0.28 at the published rate of 0.0002"
        )
    bodies = [module for module in net.modules() if isinstance(module, ClassifierBody)]
    if any(body.has_learnt for body in bodies):
        return AdamW(learning_rate=2e-3, weight_decay=0.02, before_last=BODY), (
            f"the body has learnt already: it goes on learning {BODY:g} times as fast as what follows it, which is fresh"
        )
    if inside == "hubel.nets.anchor_free" and not bodies:
        return Muon(learning_rate=0.04, normalize=True), (
            "momentum made orthogonal: on 1,600 scenes 2.6 points of AP50 above AdamW after 30 epochs (one seed), and 1 more at twice the usual rate"
        )
    if inside is not None and inside.removeprefix("hubel.nets.") in OF_OBJECTS:
        return AdamW(learning_rate=2e-3, weight_decay=0.02), "usual for detectors that learn from scratch"
    if getattr(net, "published", None) is not None:
        return AdamW(learning_rate=1.5e-3, before_last=0.2), (
            "fine-tuning: the layers that hold published weights learn a fifth as fast as the fresh last one"
        )
    return AdamW(), "asks little of a network and of its learning rate"


def default_clipping(net: nn.Module) -> tuple[float | Literal[False], str]:
    """Recurrent networks are clipped: R. Pascanu, T. Mikolov, Y. Bengio, ICML 2013 (arXiv:1211.5063), section 3.2."""
    if any(isinstance(module, (nn.RNNBase, PeepholeLSTM)) for module in net.modules()):
        return 1.0, "through many steps a gradient may explode: longer ones are shortened to this norm"
    return False, "a finite gradient is checked at every step; nothing is clipped"


def default_schedule() -> tuple[Schedule, str]:
    """Linear to zero after a warm-up."""
    return Linear(
        warmup=0.1
    ), "up in the first tenth, then straight to zero: no rate has to be guessed for the end"


def default_augmentation(data: Dataset, epochs: int) -> tuple[tuple[Augmentation, ...], str]:
    """What the declared symmetries allow, and nothing else; nothing where the examples themselves are what is learned."""
    if data.is_its_own_target:
        return (), "the examples themselves are what is learned: changed ones would be learned as well"
    if data.alphabet is not None:
        return (), "a text has no symmetry that could be assumed (variants: hubel.data.from_text)"
    if len(data.shape) == 2 and not data.symmetries:
        return (), "no symmetry was declared for these series, so nothing is changed (crop, jitter, scale)"
    if len(data.shape) == 2:
        words = {"crop": CropSteps(), "jitter": Jitter(), "scale": ScaleValues()}
        changes = tuple(change for word, change in words.items() if word in data.symmetries)
        return changes, f"declared symmetries of {data.name}: {', '.join(sorted(data.symmetries))}"
    if len(data.shape) == 1:
        return (), "rows of features are taken as they are"
    if data.has_boxes:
        moved = _declared(replace(data, symmetries=data.symmetries | {"shift"}), epochs)
        told = f"; declared symmetries of {data.name}: {', '.join(sorted(data.symmetries))}"
        return moved, f"boxes move with their pictures{told if data.symmetries else ''}"
    if len(data.shape) not in (3, 4) or not data.symmetries:
        return (
            (),
            "no symmetry was declared for these data, so nothing is changed (--symmetry flip_horizontal, …)",
        )
    return _declared(
        data, epochs
    ), f"declared symmetries of {data.name}: {', '.join(sorted(data.symmetries))}"


def _declared(data: Dataset, epochs: int) -> tuple[Augmentation, ...]:
    """The changes of pictures and volumes that their symmetries allow."""
    side, (shift, zoom) = min(data.shape[1:]), (WITH_BOXES if data.has_boxes else (SHIFT, ZOOM))
    found: list[Augmentation] = []
    if "mosaic" in data.symmetries:
        found.append(Mosaic())
    if "copy_paste" in data.symmetries:
        found.append(CopyPaste())
    if "flip_horizontal" in data.symmetries:
        found.append(Flip(axis="horizontal"))
    if "flip_vertical" in data.symmetries:
        found.append(Flip(axis="vertical"))
    if "flip_depth" in data.symmetries:
        found.append(Flip(axis="depth"))
    if "rotate_cube" in data.symmetries and len(set(data.shape[1:])) == 1:
        found.append(RotateCube())
    elif data.symmetries & {"rotate_90", "rotate", "rotate_cube"} and data.shape[-1] == data.shape[-2]:
        found.append(RotateQuarter())
    if "shift" in data.symmetries:
        found.append(Shift(pixels=max(1, round(side * shift))))
    degrees, zoom = 45.0 * ("rotate" in data.symmetries), zoom * ("scale" in data.symmetries)
    if degrees or zoom:
        found.append(Affine(degrees=degrees, zoom=zoom))
    for word, change in (("brightness", Brightness()), ("contrast", Contrast()), ("colour", Colour())):
        if word in data.symmetries:
            found.append(change)
    if "occlusion" in data.symmetries and epochs >= LONG:
        found.append(Erase())
    return tuple(found)


def default_stopping(
    data: Dataset, epochs: int, validation: bool
) -> tuple[EarlyStopping | Literal[False], str]:
    """The best weights of a table, which a network soon learns by heart; the last ones of everything else."""
    if data.kind == "features" and validation:
        patience = max(10, epochs // 3)
        return EarlyStopping(patience=patience), (
            f"a table is soon learned by heart: the weights with the least validation loss are kept, and {patience} epochs waited for better ones"
        )
    return False, "the learning rate ends at zero, where the last weights are the ones to keep"


def default_average(num_train: int, batch_size: int, epochs: int) -> tuple[float | Literal[False], str]:
    """A moving average over about the last twentieth of the run."""
    total = -(-num_train // batch_size) * epochs
    if total < 100:
        return False, f"only {total} steps: too few to average"
    horizon = max(10.0, total / 50)
    return round(
        1 - 1 / horizon, 6
    ), f"about {horizon:.0f} of {total:,} steps are averaged, which removes the noise of the last ones"


def reasons_as_text(reasons: Mapping[str, str]) -> str:
    """One line a field."""
    return "\n".join(f"{name}: {why}" for name, why in reasons.items())
