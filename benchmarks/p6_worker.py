"""The sides of P6: one process solves Burgers' equation once, in one setting, and answers its error against time.

An error is the relative L2 norm over the grid that the parent wrote (t.npy [T], x.npy [X], u.npy [T, X], exact). The clock stands still while
it is measured; imports are outside, everything else (construction, sampling, compilation) is inside. Every setting stops when its time is over.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from protocol import clock, serve

warnings.filterwarnings("ignore")
NU = 0.01 / math.pi
POINTS = {"inside": 2_540, "boundary": 80, "initial": 160}  # of DeepXDE's demo
MANY = 8_000  # points of the tuned settings


class TimeIsOver(Exception):
    """Raised where a framework has no other way to be stopped."""


class Course:
    """Errors against time."""

    def __init__(self, folder: str, budget: float):
        self.t, self.x, self.u = (np.load(Path(folder) / f"{name}.npy") for name in "txu")
        self.budget, self.points, self._paused, self._next = budget, [], 0.0, 0.0
        self._began = clock()

    @property
    def seconds(self) -> float:
        return clock() - self._began - self._paused

    def look(self, answer: Callable[[np.ndarray, np.ndarray], np.ndarray], *, now: bool = False) -> None:
        """Measure where it is time to: `answer` takes points t [N], x [N]."""
        at = self.seconds
        if at < self._next and not now:
            return
        start = clock()
        t, x = np.meshgrid(self.t, self.x, indexing="ij")
        found = np.asarray(answer(t.ravel(), x.ravel()), float).reshape(self.u.shape)
        self.points.append([round(at, 4), float(np.linalg.norm(found - self.u) / np.linalg.norm(self.u))])
        self._next = at * 1.05 + 0.1
        self._paused += clock() - start

    @property
    def is_over(self) -> bool:
        return self.seconds > self.budget


# --- hubel -------------------------------------------------------------------------------------------------------------------


def hubel(course: Course, seed: int, tol: float) -> dict[str, Any]:
    """`hubel.solve` as it is called without options but the tolerance."""
    from hubel.physics import Solver, equations

    solver = Solver(equations.burgers().problem, tol=tol, seed=seed)
    for _ in solver.steps():  # its own clock would count the looks
        course.look(lambda t, x: solver.solution()(t=t, x=x))
        if course.is_over:
            break
    solution = solver.solution()
    course.look(lambda t, x: solution(t=t, x=x), now=True)
    return {"estimate": solution.estimate, "stopped": solver.stopped or "time", "limit": solution.limit}


def hubel_gradient(repeats: int) -> list[float]:
    """Seconds of each evaluation of the residuals at the points of the demo with the gradient of their mean square, 3 layers of 20."""
    import torch

    from hubel.physics import equations
    from hubel.physics.ansatz import Ansatz
    from hubel.physics.network import SmallNetwork
    from hubel.physics.parts import equation
    from hubel.physics.system import System

    problem = equations.burgers().problem
    network = SmallNetwork(2, 1, width=20, depth=3, seed=0)
    ansatz = Ansatz(problem, network, None, {"u": 1.0})
    points = torch.rand(
        sum(POINTS.values()), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    points[:, 1] = 2 * points[:, 1] - 1
    system = System(ansatz, [equation(ansatz, points, (1.0,))])
    theta = network.weights()

    def once() -> None:
        system.gradient(theta)

    return timed(once, repeats)


# --- DeepXDE -----------------------------------------------------------------------------------------------------------------


def deepxde_model(seed: int, *, double: bool, exact: bool, num: int) -> Any:
    """The model of its Burgers demo; with `exact` its conditions hold by an output transform, as its documentation shows."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde as dde
    import torch

    dde.config.set_random_seed(seed)
    dde.config.set_default_float("float64" if double else "float32")

    def pde(x, y):
        dy_x = dde.grad.jacobian(y, x, i=0, j=0)
        dy_t = dde.grad.jacobian(y, x, i=0, j=1)
        return dy_t + y * dy_x - NU * dde.grad.hessian(y, x, i=0, j=0)

    place = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 0.99))
    net = dde.nn.FNN([2] + [20] * 3 + [1], "tanh", "Glorot normal")
    if exact:
        net.apply_output_transform(
            lambda x, y: -torch.sin(math.pi * x[:, 0:1]) + x[:, 1:2] * (1 - x[:, 0:1] ** 2) * y
        )
        data = dde.data.TimePDE(place, pde, [], num_domain=num)
    else:
        bc = dde.icbc.DirichletBC(place, lambda x: 0, lambda _, on_boundary: on_boundary)
        ic = dde.icbc.IC(place, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on_initial: on_initial)
        data = dde.data.TimePDE(
            place,
            pde,
            [bc, ic],
            num_domain=num,
            num_boundary=POINTS["boundary"],
            num_initial=POINTS["initial"],
        )
    return dde, dde.Model(data, net)


def deepxde(
    course: Course, seed: int, *, tuned: bool, newton: bool = False, double: bool = False
) -> dict[str, Any]:
    """15,000 steps of Adam at 1e-3, then L-BFGS, as in the demo; tuned: 2,000 steps, then L-BFGS as long as there is time, and with
    `newton` its NysNewton-CG for the second half of it.
    """
    dde, model = deepxde_model(
        seed, double=tuned or double, exact=tuned, num=MANY if tuned else POINTS["inside"]
    )

    class Watch(dde.callbacks.Callback):
        until = course.budget

        def on_epoch_end(self) -> None:
            course.look(lambda t, x: model.predict(np.stack([x, t], axis=1).astype(dde.config.real(np))))
            if course.seconds > self.until:
                self.model.stop_training = True

    watch = Watch()
    phases: list[tuple[str, dict[str, Any]]] = [("adam", {"lr": 1e-3}), ("L-BFGS", {})]
    if newton:
        phases.append(("NNCG", {}))
    stopped, steps_of = [], {"adam": 2_000 if tuned else 15_000}
    for name, options in phases:
        if course.is_over:
            break
        watch.until = course.budget / 2 if newton and name == "L-BFGS" else course.budget
        if name == "L-BFGS":
            dde.optimizers.set_LBFGS_options(maxiter=15_000 if not tuned else 10**7)
            dde.optimizers.LBFGS_options.update(
                iter_per_step=200, fun_per_step=300
            )  # so that the clock is looked at
        if name == "NNCG":
            dde.optimizers.set_NNCG_options()  # its own: rank 60 with damping 1e-2 fails in its Cholesky factorization
        model.compile(name, **options)
        steps = {} if name == "L-BFGS" else {"iterations": steps_of.get(name, 10**7)}
        model.train(**steps, display_every=10**9, callbacks=[watch], verbose=0)
        model.stop_training = False
        stopped.append(f"{name} to {course.seconds:.0f} s")
    course.look(lambda t, x: model.predict(np.stack([x, t], axis=1).astype(dde.config.real(np))), now=True)
    return {"stopped": ", ".join(stopped)}


def deepxde_gradient(repeats: int, *, double: bool) -> list[float]:
    """Seconds of each evaluation of the demo's loss with its gradient, as its optimizer asks for it."""
    _, model = deepxde_model(0, double=double, exact=False, num=POINTS["inside"])
    model.compile("adam", lr=1e-3, verbose=0)
    model.train(iterations=1, display_every=10**9, verbose=0)
    state = model.train_state

    def once() -> None:
        losses = model.outputs_losses_train(state.X_train, state.y_train, state.train_aux_vars)[1]
        model.opt.zero_grad()
        losses.sum().backward()

    return timed(once, repeats)


# --- PINA --------------------------------------------------------------------------------------------------------------------


def pina(course: Course, seed: int) -> dict[str, Any]:
    """Its own Burgers problem with the points and the network of DeepXDE's demo, 15,000 epochs of Adam, then L-BFGS."""
    import lightning
    import torch
    from pina import Trainer
    from pina.callback import SwitchOptimizer
    from pina.label_tensor import LabelTensor
    from pina.model import FeedForward
    from pina.optim import TorchOptimizer
    from pina.problem.zoo import BurgersProblem
    from pina.solver import PhysicsInformedSingleModelSolver

    lightning.seed_everything(seed, verbose=False)
    problem = BurgersProblem(nu=NU)
    for domain, num in (("D", "inside"), ("t0", "initial"), ("boundary", "boundary")):
        problem.discretise_domain(POINTS[num], mode="random", domains=domain)
    model = FeedForward(len(problem.input_variables), 1, inner_size=20, n_layers=3, func=torch.nn.Tanh)
    solver = PhysicsInformedSingleModelSolver(
        problem, model, optimizer=TorchOptimizer(torch.optim.Adam, lr=1e-3)
    )
    order = problem.input_variables

    def answer(t: np.ndarray, x: np.ndarray) -> np.ndarray:
        columns = {"t": t, "x": x}
        points = torch.tensor(np.stack([columns[name] for name in order], axis=1), dtype=torch.float32)
        with torch.no_grad():
            return solver(LabelTensor(points, order)).as_subclass(torch.Tensor).numpy()

    class Watch(lightning.pytorch.callbacks.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            course.look(answer)
            if course.is_over:
                trainer.should_stop = True

    second = TorchOptimizer(torch.optim.LBFGS, max_iter=20, history_size=100, line_search_fn="strong_wolfe")
    trainer = Trainer(
        solver,
        max_epochs=10**7,
        min_epochs=1,
        accelerator="cpu",
        callbacks=[Watch(), SwitchOptimizer(second, epoch_switch=15_000)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.train()
    course.look(answer, now=True)
    return {"stopped": f"epoch {trainer.current_epoch}"}


# --- torch, by hand ------------------------------------------------------------------------------------------------------------


def by_hand(course: Course, seed: int) -> dict[str, Any]:
    """What a user of torch writes in an afternoon, and writes well: float64, exact conditions, Sobol points, 2,000 steps of Adam, then
    L-BFGS with strong Wolfe; derivatives by nested automatic differentiation.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    torch.set_default_dtype(torch.float64)
    layers: list[nn.Module] = []
    for inputs, outputs in ((2, 20), (20, 20), (20, 20)):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Linear(20, 1))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def u(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        n = net(torch.stack([2 * t - 1, x], dim=1))[:, 0]
        return -torch.sin(math.pi * x) + t * (1 - x**2) * n

    points = torch.quasirandom.SobolEngine(2, scramble=True, seed=seed).draw(MANY).double()
    t, x = points[:, 0].clone().requires_grad_(), (2 * points[:, 1] - 1).clone().requires_grad_()

    def loss() -> torch.Tensor:
        value = u(t, x)
        u_t, u_x = torch.autograd.grad(value.sum(), (t, x), create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
        return ((u_t + value * u_x - NU * u_xx) ** 2).mean()

    def answer(at: np.ndarray, ax: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return u(torch.tensor(at), torch.tensor(ax)).numpy()

    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(2_000):
        adam.zero_grad()
        loss().backward()
        adam.step()
        course.look(answer)
        if course.is_over:
            break
    lbfgs = torch.optim.LBFGS(
        net.parameters(),
        max_iter=50,
        history_size=100,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure() -> torch.Tensor:
        lbfgs.zero_grad()
        value = loss()
        value.backward()
        return value

    while not course.is_over:
        lbfgs.step(closure)
        course.look(answer)
    course.look(answer, now=True)
    return {"stopped": "time"}


def timed(once: Callable[[], None], repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls, after as many to warm up (50 at most)."""
    for _ in range(min(repeats, 50)):
        once()
    found = []
    for _ in range(repeats):
        start = clock()
        once()
        found.append(clock() - start)
    return found


SETTINGS: dict[str, Callable[..., dict[str, Any]]] = {
    "hubel": hubel,
    "DeepXDE, its demo": lambda course, seed: deepxde(course, seed, tuned=False),
    "DeepXDE, its demo in float64": lambda course, seed: deepxde(course, seed, tuned=False, double=True),
    "DeepXDE, tuned, L-BFGS": lambda course, seed: deepxde(course, seed, tuned=True),
    "DeepXDE, tuned, NNCG": lambda course, seed: deepxde(course, seed, tuned=True, newton=True),
    "PINA": pina,
    "torch, by hand": by_hand,
}
GRADIENTS: dict[str, Callable[[int], list[float]]] = {
    "hubel": hubel_gradient,
    "DeepXDE": lambda repeats: deepxde_gradient(repeats, double=False),
    "DeepXDE in float64": lambda repeats: deepxde_gradient(repeats, double=True),
}


IMPORTS = {
    "hubel": ("hubel.physics.equations",),
    "DeepXDE": ("deepxde",),
    "PINA": ("lightning", "pina", "pina.problem.zoo", "pina.solver", "pina.callback"),
}


def solve(setting: str, folder: str, seed: int, budget: float, **more: Any) -> dict[str, Any]:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    os.environ["DDE_BACKEND"] = "pytorch"
    for name in (
        "torch._dynamo",
        *IMPORTS.get(setting.partition(",")[0], ()),
    ):  # torch's optimizers import the first when they are made
        importlib.import_module(name)
    course = Course(folder, budget)
    told = SETTINGS[setting](course, seed, **more)
    return {"curve": course.points, "seconds": course.seconds, "versions": versions(), **told}


def gradient(setting: str, repeats: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    return {"seconds": GRADIENTS[setting](repeats)}


def versions() -> dict[str, str]:
    from importlib import metadata

    names = {"torch": "torch", "deepxde": "deepxde", "pina": "pina-mathlab", "hubel": "hubel"}
    return {name: metadata.version(package) for name, package in names.items() if name in sys.modules}


if __name__ == "__main__":
    serve({"solve": solve, "gradient": gradient})
