"""What `NetClassifier` and `NetRegressor` share: parameters, the way from X and y to a fitted network, and its scores of new examples."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from hubel.core.types import Batch
from hubel.data import Dataset
from hubel.data.batches import Batches
from hubel.data.preprocessing import Preprocessing, scaling_of
from hubel.fitting import Precision, Recipe, Run
from hubel.fitting import machine as machines
from hubel.fitting.machine import threads
from hubel.fitting.run import outputs_of
from hubel.objectives import Objective, check
from hubel.sklearn import storage
from hubel.sklearn.defaults import is_double, refuse_blind_stopping, settled
from hubel.sklearn.examples import kept_types, refuse_series, rows_like
from hubel.sklearn.training import batches_of, device_of, one_pass, optimizer_of, rule_of, train
from hubel.workflows import choices, fit
from hubel.workflows.prepare import prepare
from hubel.workflows.pretrained import published_scaling

BLOCK = 128  # rows of a table that are answered together


class NetEstimator(BaseEstimator):
    """The parameters, as they were given, and after `fit` what ends with an underscore."""

    def __init__(
        self,
        net: Callable[..., nn.Module] | nn.Module | None = None,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        recipe: Recipe | None = None,
        objective: Objective | None = None,
        validation: float = 0.0,
        random_state: Any = None,
        device: str = "auto",
        out: Path | str | None = None,
    ):
        self.net = net
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.recipe = recipe
        self.objective = objective
        self.validation = validation
        self.random_state = random_state
        self.device = device
        self.out = out

    def __sklearn_tags__(self) -> Any:
        """Tables and pictures (three axes; four, for which scikit-learn has no tag); no NaN, nothing sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def save(self, path: Path | str) -> None:
        """Write the fitted estimator to one file (safetensors), which `load` reads; nothing in it is code, and nothing is pickled.

        Not in it: the optimizer's state (a later `partial_fit` starts with a fresh one) and the run folder.

        Raises `NotFittedError` before `fit`, `TypeError` for an objective or a part of the recipe
        of your own, which a file can not name.
        """
        check_is_fitted(self, "net_")
        storage.write(self, path)

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        net: Callable[..., nn.Module] | nn.Module | None = None,
        device: str = "auto",
    ) -> Self:
        """The estimator that `save` wrote to `path`. A network of your own has to be passed again as `net`.

        Its parameters come back as they were, but for `device` and `out`; a `random_state` that was no whole number is None.

        Raises `FileNotFoundError` where there is no file, `ValueError` where it is not one of ours, not whole, or of another estimator.
        """
        return storage.read(cls, path, net=net, device=device)

    def _rows(self, X: Any, y: Any = None, *, reset: bool, **checks: Any) -> Any:
        """`X` as rows [N, F] or [N, C, H, W] (and `y` as an array), with names and number of the features noted or compared."""
        kept = kept_types(machines.device_of(self.device))
        checks = {"dtype": kept, "allow_nd": True, "order": "C", **checks}
        refuse_series(X)
        found: Any
        if "multi_output" in checks:
            found = validate_data(self, X, y, reset=reset, **checks)
            return rows_like(found[0]), found[1]
        found = validate_data(self, X, reset=reset, **checks)
        return rows_like(found)

    def _fit(self, data: Dataset, objective: Objective) -> Self:
        """Fit to `data` from the beginning, in memory or as a run."""
        recipe = self._wanted()
        net = self._initial(data, objective, recipe)
        recipe = settled(recipe, data, net, learning_rate=self.learning_rate)
        if self.out is None:
            return self._fit_in_memory(data, net, objective, recipe)
        run = fit(
            data,
            net=net,
            objective=objective,
            recipe=recipe,
            out=self.out,
            validation=self.validation,
            test=0,
            device=self.device,
            quiet=True,
        )
        self._keep(run.net, run.objective, recipe, run.scaling, run=run)
        self.loss_curve_ = [row["loss"] for row in run.curves]
        self.validation_curve_ = [row["validation_loss"] for row in run.curves if "validation_loss" in row]
        self.n_iter_, self._steps = len(run.curves), int(run.curves[-1]["step"])
        return self

    def _fit_in_memory(self, data: Dataset, net: nn.Module, objective: Objective, recipe: Recipe) -> Self:
        precision = "float64" if is_double(net) else "float32"
        part, held = data, None
        if self.validation:
            prepared = prepare(
                data, seed=recipe.seed, validation=self.validation, test=0, precision=precision
            )
            part, held = prepared.part("train"), prepared.part("validation")
        refuse_blind_stopping(recipe, 0 if held is None else len(held))
        scaling = published_scaling(net, scaling_of(part, precision=precision))
        net = self._placed(net, recipe)
        check(net, objective, _some(part, scaling, net))
        course = train(net, objective, recipe, scaling, part, held)
        if held is not None:
            outputs = outputs_of(net, scaling, _precision(recipe), held.inputs, device_of(net))
            objective = objective.calibrated(outputs, torch.from_numpy(np.array(held.targets)))
        self._keep(net.eval(), objective, recipe, scaling)
        self.loss_curve_, self.validation_curve_ = course.losses, course.validation
        self.n_iter_, self._steps = len(course.losses), course.steps
        return self

    def _partial_fit(self, data: Dataset, objective: Callable[[], Objective]) -> Self:
        """One pass over `data` at the highest learning rate; the first call fixes network, objective and scaling."""
        if not hasattr(self, "net_"):
            recipe, asked = self._wanted(), objective()
            net = self._initial(data, asked, recipe)
            recipe = settled(recipe, data, net, learning_rate=self.learning_rate)
            scaling = published_scaling(
                net, scaling_of(data, precision="float64" if is_double(net) else "float32")
            )
            net = self._placed(net, recipe)
            check(net, asked, _some(data, scaling, net))
            self._keep(net, asked, recipe, scaling)
            self.loss_curve_, self.validation_curve_, self.n_iter_, self._steps = [], [], 0, 0
        self._same_shape(data.inputs)
        if self._optimizer is None:
            self._optimizer = optimizer_of(self.net_, self.recipe_)
        batches = batches_of(self.net_, self.recipe_, self.scaling_, data)
        rule = rule_of(self.net_, self.recipe_, self._optimizer)
        self.n_iter_ += 1
        with threads(_precision(self.recipe_).threads), self.recipe_.frozen(self.net_):
            loss = one_pass(
                self.net_, self.objective_, batches, rule, epoch=self.n_iter_, first_step=self._steps
            )
        self._steps += batches.steps_per_epoch
        self.loss_curve_.append(loss)
        self.net_.eval()
        return self

    def _scores(self, X: Any) -> Tensor:
        """Raw scores [N, K] of new examples.

        The rows of a table are answered in blocks of one size, so that a row has the same answer whichever stand beside it:
        a matrix product sums in another order for another number of rows.
        """
        check_is_fitted(self, "net_")
        rows = self._rows(X, reset=False)
        self._same_shape(rows)
        missing = -len(rows) % BLOCK if rows.ndim == 2 else 0
        whole = len(rows) - (len(rows) % BLOCK if missing else 0)
        pieces = [rows[:whole], np.concatenate([rows[whole:], np.repeat(rows[-1:], missing, axis=0)])]
        with threads(_precision(self.recipe_).threads):
            found = [
                outputs_of(
                    self.net_,
                    self.scaling_,
                    _precision(self.recipe_),
                    piece,
                    device_of(self.net_),
                    batch_size=BLOCK,
                )
                for piece in pieces
                if len(piece)
            ]
        return torch.cat(found)[: len(rows)]

    def _same_shape(self, rows: np.ndarray) -> None:
        if tuple(rows.shape[1:]) != tuple(self.scaling_.shape):
            raise ValueError(
                f"X has examples of shape {tuple(rows.shape[1:])}, but this {type(self).__name__} was fitted to {tuple(self.scaling_.shape)}"
            )

    def _wanted(self) -> Recipe:
        """The recipe with what the parameters say; without a recipe and a random state the seed is a new one at every fit."""
        recipe = Recipe() if self.recipe is None else self.recipe
        changes = {
            name: int(value) if isinstance(value, Integral) else value
            for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size))
            if value is not None
        }
        if self.random_state is not None or self.recipe is None:
            changes["seed"] = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; expected a positive number")
        return replace(recipe, **changes)

    def _initial(self, data: Dataset, objective: Objective, recipe: Recipe) -> nn.Module:
        """The network before its first step: a copy of a given one, or one whose weights follow from the seed."""
        if isinstance(self.net, nn.Module):
            return copy.deepcopy(self.net)
        if self.net is None:
            return choices.choose_net(data, objective, recipe.seed, choices.DEFAULT_BUDGET)[0]
        if not callable(self.net):
            raise TypeError(
                f"net is {self.net!r}; expected a torch.nn.Module, a function of inputs and outputs that makes one (such as "
                "functools.partial(hubel.nets.mlp, (50,))), or None"
            )
        return choices.made_net(self.net, data, objective.num_outputs, recipe.seed)

    def _placed(self, net: nn.Module, recipe: Recipe) -> nn.Module:
        return _precision(recipe).place(net, machines.device_of(self.device))

    def _keep(
        self,
        net: nn.Module,
        objective: Objective,
        recipe: Recipe,
        scaling: Preprocessing,
        *,
        run: Run | None = None,
    ) -> None:
        """The fitted values; an optimizer is made when `partial_fit` first needs it."""
        self.net_, self.objective_, self.recipe_, self.scaling_, self.run_ = (
            net,
            objective,
            recipe,
            scaling,
            run,
        )
        self._optimizer: torch.optim.Optimizer | None = None


def _precision(recipe: Recipe) -> Precision:
    assert recipe.precision is not None
    return recipe.precision


def _some(data: Dataset, scaling: Preprocessing, net: nn.Module) -> Batch:
    """A real batch, to check network and objective against."""
    return next(Batches(data=data, scaling=scaling, batch_size=32, device=device_of(net)).in_order())
