"""A network of the user's own, any `torch.nn.Module`: its derivatives by nested reverse differentiation, which is slow.

Features phi_0 + dphi with the series  phi(e) = sum over a of phi_a e^a  in small numbers e [D], one set a point, enter the module as they are;
the Taylor coefficients of its answer are the derivatives by e at 0 over a!. Exact to rounding, at the price of a differentiation of
everything before for every order. What takes one pass for hubel's own networks: `network`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hubel.physics.jets import Jet

TOGETHER = 32  # points whose rows of J are differentiated at once
TRIED = 6  # points at which a module is tried
SAME = 1e-9  # relative: what an answer may change where other points stand beside


class GivenNetwork:
    """A module that maps features [N, F] to answers [N, K] in float64, point by point; a copy of it, in evaluation mode.

    Its weights are the parameters that require gradients, and begin with the values that they have; all others, and buffers, stay.

    Raises `ValueError` for a module whose answers have another shape or type, depend on what other points stand beside, or that has nothing to fit.

    >>> own = GivenNetwork(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double(), ("t", "x"), 1)
    >>> own.label, own.size
    ('Sequential (your own)', 33)
    """

    grows = False
    in_one_pass = False

    def __init__(self, module: nn.Module, features: Sequence[str], outputs: int):
        self.inputs, self.outputs, self.features = len(features), outputs, tuple(features)
        self.module = copy.deepcopy(module).eval()
        self.name = type(module).__name__
        self.parameters = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self._refuse_what_does_not_fit()

    @property
    def size(self) -> int:
        """The number of its weights P."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    @property
    def shapes(self) -> list[torch.Size]:
        """Those of its weights, in their order."""
        return [parameter.shape for parameter in self.parameters.values()]

    @property
    def label(self) -> str:
        """What it is, in words."""
        return f"{self.name} (your own)"

    def weights(self) -> Tensor:
        """All of them, one after the other, [P]."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters.values()])

    def read(self, weights: Tensor) -> None:
        """Take these weights [P]."""
        with torch.no_grad():
            for parameter, values in zip(
                self.parameters.values(), weights.split([shape.numel() for shape in self.shapes]), strict=True
            ):
                parameter.copy_(values.view_as(parameter))

    def fixed(self) -> dict[str, Tensor]:
        """Its buffers, and the parameters that are not fitted."""
        frozen = {name: p.detach() for name, p in self.module.named_parameters() if not p.requires_grad}
        return frozen | dict(self.module.named_buffers())

    def fix(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `fixed` answered. Raises `ValueError` where it does not fit."""
        there = self.fixed()
        own = {name: list(value.shape) for name, value in there.items()}
        given = {name: list(value.shape) for name, value in tensors.items()}
        if own != given:
            raise ValueError(f"the network has {own} beside its weights; what was saved has {given}")
        for name, value in there.items():
            value.copy_(tensors[name])

    def described(self) -> dict[str, Any]:
        """Its name and the shapes of its weights: it has to be passed again, and is recognized by them."""
        return {
            "given": self.name,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "shapes": shapes_of(self.module),
        }

    def restored(self, described: Mapping[str, Any], fixed: Mapping[str, Tensor]) -> GivenNetwork:
        """A copy of it with what was saved. Raises `ValueError` where that is of another network."""
        if "given" not in described:
            raise ValueError(f"what was saved has a network of hubel's: leave out network={self.name}(...)")
        own = self.described()
        if described["shapes"] != own["shapes"]:
            raise ValueError(
                f"what was saved has a network with the weights {described['shapes']}; the one that was passed has {own['shapes']}"
            )
        found = self.copied()
        found.fix(fixed)
        return found

    def copied(self) -> GivenNetwork:
        """The same function in other memory."""
        return GivenNetwork(self.module, self.features, self.outputs)

    def another(self, seed: int) -> GivenNetwork:
        """Raises `ValueError`: it is known with these weights alone."""
        raise ValueError(f"{self.label} can not begin again")

    def wider(self, factor: float, seed: int) -> GivenNetwork:
        """Raises `ValueError`: what more units would be is not known."""
        raise ValueError(f"{self.label} can not become wider")

    def tape(self) -> GivenTape:
        """Where `series` notes what the way back needs."""
        return GivenTape(self)

    def series(self, features: Tensor, jet: Jet, tape: GivenTape | None = None) -> Tensor:
        """Taylor coefficients [M, K, N] of the answer, from those of the features [M, F, N]; with a `tape` they are noted."""
        with torch.enable_grad():
            found = self.differentiable(features, jet)
        if tape is not None:
            tape.features, tape.jet, tape.found = features, jet, found
        return found.detach()

    def differentiable(self, features: Tensor, jet: Jet) -> Tensor:
        """The same [M, K, N], with the way back to the weights."""
        num = features.shape[2]
        small = [
            torch.zeros(num, dtype=torch.float64, requires_grad=True) for _ in range(len(jet.indices[0]))
        ]
        moved = features[0]
        for index, coefficient in zip(jet.indices[1:], features[1:], strict=True):
            moved = moved + coefficient * math.prod(
                [e for e, order in zip(small, index, strict=True) for _ in range(order)]
            )
        answers = self.module(moved.t())
        return torch.stack([jet.differentiated(answer, small) for answer in answers.unbind(1)], dim=1)

    def refuse_flat(self, jet: Jet) -> None:
        """Raises `ValueError` where all derivatives of an order that is needed vanish, as the second ones of ReLU do."""
        generator = torch.Generator().manual_seed(6)
        features = torch.randn(len(jet.indices), self.inputs, 64, dtype=torch.float64, generator=generator)
        orders = torch.tensor([sum(index) for index in jet.indices])
        features[orders > 1] = 0
        try:
            found = self.series(features, jet)
        except (RuntimeError, NotImplementedError) as error:
            raise ValueError(
                f"derivatives of order {jet.order} of {self.label} can not be computed: {error}"
            ) from error
        for order in range(2, jet.order + 1):
            if bool((found[orders == 1] != 0).any()) and not bool((found[orders == order] != 0).any()):
                raise ValueError(
                    f"all derivatives of order {order} of {self.label} are zero, and the equation needs them: replace activations that are "
                    "made of straight lines, such as ReLU, by smooth ones, such as Tanh or SiLU"
                )

    def _refuse_what_does_not_fit(self) -> None:
        if not self.parameters:
            raise ValueError(
                f"{self.label} has no parameters that require gradients: there is nothing to fit"
            )
        for name, value in self.module.state_dict().items():
            if value.is_floating_point() and value.dtype != torch.float64:
                raise ValueError(
                    f"{name} of {self.label} is {value.dtype}; equations are solved in float64: pass network.double()"
                )
            if value.device.type != "cpu":
                raise ValueError(
                    f"{name} of {self.label} lies on {value.device}; expected cpu: pass network.cpu()"
                )
        points = torch.linspace(-1, 1, TRIED * self.inputs, dtype=torch.float64).view(TRIED, self.inputs)
        expected = f"features [N, {self.inputs}] ({', '.join(self.features)}) to answers [N, {self.outputs}]"
        with torch.no_grad():
            try:
                answers, again = self.module(points), self.module(points[:1])
            except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
                raise ValueError(
                    f"{self.label} can not be asked for {list(points.shape)} numbers: {error}. Expected a network that maps {expected}"
                ) from error
        if not isinstance(answers, Tensor) or answers.shape != (TRIED, self.outputs):
            shape = list(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
            raise ValueError(
                f"{self.label} answers {shape} to {list(points.shape)} numbers. Expected a network that maps {expected}"
            )
        if answers.dtype != torch.float64:
            raise ValueError(f"{self.label} answers {answers.dtype}; expected float64")
        if not self.module(points).requires_grad:
            raise ValueError(
                f"the answers of {self.label} know nothing of its weights: leave out torch.no_grad, detach and NumPy"
            )
        if not torch.allclose(answers[:1], again, rtol=SAME, atol=SAME):
            raise ValueError(
                f"{self.label} answers {again[0].tolist()} to a point alone, and {answers[0].tolist()} where others stand beside: it has to be "
                "a function of the point, without chance"
            )


def shapes_of(module: nn.Module) -> dict[str, list[int]]:
    """The shapes of the parameters that are fitted, by their names.

    >>> shapes_of(nn.Linear(2, 3))
    {'weight': [3, 2], 'bias': [3]}
    """
    return {name: list(p.shape) for name, p in module.named_parameters() if p.requires_grad}


class GivenTape:
    """The last series of a network of the user's own, with torch's graph behind it."""

    def __init__(self, network: GivenNetwork):
        self.network, self.jet = network, Jet(((0,),))
        self.features = self.found = torch.empty(0)

    def gradient(self, slope: Tensor) -> Tensor:
        """The slopes by all weights [P], from those by the answer of the network [M, K, N]."""
        parameters = list(self.network.parameters.values())
        found = torch.autograd.grad(self.found, parameters, slope, retain_graph=True, materialize_grads=True)
        return torch.cat([values.flatten() for values in found])

    def rows(self, slope: Tensor, *, images: int = 1, into: Tensor) -> None:
        """Write the rows of the Jacobian of a residual into `into` [P, N], its transpose; `slope` [M, K, R N] where `images` = R.

        TOGETHER points at a time: the graph of all would be passed once for every point.
        """
        num, parameters = into.shape[1], list(self.network.parameters.values())
        for here in torch.arange(num).split(TOGETHER):
            places = torch.cat([here + image * num for image in range(images)])
            with torch.enable_grad():
                found = self.network.differentiable(self.features[:, :, places], self.jet)
            along = torch.zeros(len(here), *found.shape, dtype=torch.float64)
            own = torch.arange(len(places))
            along[own % len(here), :, :, own] = slope[:, :, places].permute(2, 0, 1)
            try:
                slopes = torch.autograd.grad(
                    found, parameters, along, is_grads_batched=True, allow_unused=True
                )
            except (RuntimeError, NotImplementedError) as error:
                raise ValueError(
                    f"the rows of the Jacobian of {self.network.label} can not be computed ({error}): choose a method that needs the "
                    "gradient alone, such as method=hubel.physics.LimitedMemory()"
                ) from error
            into[:, here] = torch.cat(
                [
                    torch.zeros(parameter.numel(), len(here), dtype=torch.float64)
                    if values is None
                    else values.flatten(1).t()
                    for parameter, values in zip(parameters, slopes, strict=True)
                ]
            )
