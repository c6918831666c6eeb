"""Explanations of networks as others wrote them (torchvision, timm): which methods refuse, and how much of the score they leave unexplained.

    python benchmarks/explain_zoo.py [--only resnet swin]

Random weights in float64, biases that are not zero, running statistics of random pictures, small pictures, and another picture as baseline; in
float64 a residual is the method's, not that of rounding. The environment needs `pip install torchvision timm` beside hubel; `--quick` takes two of our own networks.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any

from protocol import Machine, arguments, row, say, target, write

TORCHVISION = {
    "resnet50": 64, "densenet121": 64, "convnext_tiny": 64, "swin_t": 64, "efficientnet_b0": 64, "mobilenet_v3_small": 64, "regnet_y_400mf": 64,
    "shufflenet_v2_x1_0": 64, "inception_v3": 96, "googlenet": 64, "maxvit_t": 224, "vit_b_16": 224,
}  # fmt: skip
TIMM = {
    "vit_tiny_patch16_224": 224, "mixer_s16_224": 224, "coatnet_nano_rw_224": 224, "efficientnet_b0": 64, "mobilenetv3_small_100": 64, "resnest14d": 64,
    "convnextv2_atto": 64, "swin_tiny_patch4_window7_224": 224, "ghostnet_100": 64, "poolformer_s12": 64,
}  # fmt: skip
"""Of each library names of networks, and the side of the picture."""
OURS = {"resnet": ((20,), 16), "enet": ((), 32)}
COMPLETE, EXACT, ABOUT, STEPS = ("DeepLIFT", "LRP"), 1e-6, 0.05, 20


def main() -> None:
    given = arguments(__doc__, pairs=1)
    machine, rows = Machine(), []
    worst, refused = dict.fromkeys(COMPLETE, 0.0), []
    for name, make, side in chosen(given):
        found = explained(make, side, given.threads)
        rows.append(
            row(name, None, "", note="; ".join(f"{method} {said}" for method, (said, _) in found.items()))
        )
        say(f"{name}: {rows[-1]['note']}")
        for method, (said, residual) in found.items():
            if said.startswith("refused"):
                refused.append(f"{name}, {method}")
            if method in worst and residual is not None:
                worst[method] = max(worst[method], residual)
    targets = [
        target(f"{method}: residual ≤ {EXACT:g} on every network", f"{value:.1e}", value <= EXACT)
        for method, value in worst.items()
    ]
    targets.append(target("no method refuses a network", f"{len(refused)} refusals", not refused))
    write(
        "explain_zoo",
        {
            "id": "explanations of others' networks",
            "title": "Explanations of networks as torchvision and timm write them",
            "work": "random weights in float64, one picture, another as baseline; the residual of completeness (of integrated gradients: after 14 to 20 steps), and CPU seconds",
            "machine": machine.as_json(given.threads),
            "versions": {
                name: version(name)
                for name in ("torch", "torchvision", "timm")
                if importlib.util.find_spec(name)
            },
            "rows": rows,
            "targets": targets,
            "notes": refused,
        },
        given,
    )


def chosen(given: Any) -> list[tuple[str, Callable[[], Any], int]]:
    """The networks: (name, how it is made, the side of its picture)."""
    found: list[tuple[str, Callable[[], Any], int]] = []
    if given.quick:
        nets = importlib.import_module("hubel.nets")
        for name, (first, side) in OURS.items():
            found.append(
                (
                    f"hubel {name}",
                    lambda n=name, f=first, s=side: getattr(nets, n)(*f, inputs=(3, s, s), outputs=5),
                    side,
                )
            )
    for library, names in (("torchvision", TORCHVISION), ("timm", TIMM)):
        if importlib.util.find_spec(library) is None:
            say(f"skipped: {library} is not installed in {sys.executable}")
            continue
        for name, side in list(names.items())[: 1 if given.quick else None]:
            found.append((f"{library} {name}", lambda lib=library, n=name: made(lib, n), side))
    return [
        one
        for one in found
        if not given.only or any(one[0].split()[1].startswith(word) for word in given.only)
    ]


def made(library: str, name: str) -> Any:
    """A network of a library with random weights."""
    if library == "timm":
        return importlib.import_module("timm").create_model(name, pretrained=False, num_classes=10)
    models = importlib.import_module("torchvision").models
    more = {"aux_logits": False, "init_weights": False} if name in ("inception_v3", "googlenet") else {}
    return getattr(models, name)(weights=None, num_classes=10, **more)


def explained(make: Callable[[], Any], side: int, threads: int) -> dict[str, tuple[str, float | None]]:
    """Of every method what is to be said of it, and its residual where it has one."""
    import torch

    from hubel import explain

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = make().double().eval()
    for value in net.parameters():
        if value.ndim == 1 or not value.any():  # biases, norms, and weights that begin as zeros
            value.data += 0.1 * torch.randn_like(value)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the mean of all
        norm.train()
    with torch.no_grad():
        net(torch.randn(4, 3, side, side, dtype=torch.float64))
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x, baseline = torch.randn(2, 1, 3, side, side, dtype=torch.float64)
    function = None
    with torch.no_grad():
        if net(x).ndim != 2:
            function = lambda answer: answer.flatten(1).mean(1)  # noqa: E731 - maps of classes
    methods = {
        "IG": lambda: explain.integrated_gradients(
            net, x, target=function, baseline=baseline, tolerance=ABOUT, max_steps=STEPS
        ),
        "DeepLIFT": lambda: explain.deeplift(net, x, target=function, baseline=baseline),
        "LRP": lambda: explain.lrp(net, x, target=function, rule=explain.EPSILON_PLUS),
        "Grad-CAM": lambda: explain.grad_cam(net, x, target=function),
        "occlusion": lambda: explain.occlusion(net, x, target=function, patch=side // 4, stride=side // 4),
    }
    found: dict[str, tuple[str, float | None]] = {}
    for name, method in methods.items():
        start = time.process_time()
        try:
            told = method()
        except (ValueError, TypeError, RuntimeError, IndexError, KeyError) as error:
            found[name] = (f"refused: {type(error).__name__}: {str(error).splitlines()[0][:160]}", None)
            continue
        seconds = time.process_time() - start
        residual = None if told.residual is None else float(told.residual.max())
        said = "done" if residual is None else f"{residual:.1e}"
        more = f", {told.notes[0]}" if name == "occlusion" else ""
        found[name] = (f"{said} ({seconds:.1f} s{more})", residual)
    same = all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert same and not net.training, "the network was changed"
    return found


def version(name: str) -> str:
    """That of an installed library."""
    return str(importlib.import_module(name).__version__)


if __name__ == "__main__":
    main()
