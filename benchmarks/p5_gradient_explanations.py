"""P5: integrated gradients, DeepLIFT, layer-wise relevance propagation and Grad-CAM against Captum: seconds, and how complete the answers are.

    python benchmarks/p5_gradient_explanations.py --peers-python PEERS/bin/python

The same two networks on both sides, with the same weights (biases and running statistics are random, not zero), written as Captum
asks for: every ReLU a module of its own, sums by its own `Addition_Module` where it has one. Residuals are
|Σ values + absorbed - (f(x) - f(baseline))| over the greater of |f(x) - f(baseline)| and of the greatest |value|, the worst of the batch;
Captum counts nothing as absorbed. Integrated gradients take 50 steps on both sides.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

from protocol import HERE, Machine, Spread, Worker, arguments, clock, in_turn, row, say, serve, target, write

METHODS = ("integrated gradients", "DeepLIFT", "LRP", "Grad-CAM")
WORK = {"plain": (8, 64), "resnet18": (4, 224)}
QUICK = {"plain": (2, 32), "resnet18": (1, 64)}
STEPS = 50


def main() -> None:
    if "--worker" in sys.argv:
        serve({"prepare": prepare, "explain": explain})
        return
    given = arguments(__doc__)
    machine, pairs = Machine(), 1 if given.quick else given.pairs
    script = str(HERE / "p5_gradient_explanations.py")
    sides = {"hubel": sys.executable}
    if given.peers_python and not given.quick:
        sides["Captum"] = given.peers_python
    elif not given.quick:
        say("no --peers-python: ours alone")
    rows, targets, versions = [], [], {}
    for net, (images, side) in (QUICK if given.quick else WORK).items():
        workers = {
            name: Worker([python, script, "--worker", name], threads=given.threads)
            for name, python in sides.items()
        }
        try:
            for name, worker in workers.items():
                versions |= worker.ask("prepare", side=name, net=net, images=images, size=side)
            for method in METHODS:
                measured = _compared(workers, method, pairs)
                rows += measured["rows"]
                targets += measured["targets"](net)
        finally:
            for worker in workers.values():
                worker.close()
        for r in rows:
            r.setdefault("network", f"{net}, {images} × {side}²")
    result = {
        "id": "P5",
        "title": "Explanations by gradients",
        "work": "a plain network of 8 convolutions (8 images of 64²) and ResNet-18 (4 images of 224²), float32; seconds for the batch",
        "machine": machine.as_json(given.threads),
        "versions": versions,
        "rows": [{**r, "name": f"{r['name']}, {r['network']}"} for r in rows],
        "targets": targets,
        "notes": [
            f"Integrated gradients: {STEPS} steps on both sides, in batches of 16 and 8 (ours chooses 21 and 8). Each side explains the batch once before it is measured, and is not told the scores.",
            "Residuals are of the whole batch, the worst example; Captum counts nothing as absorbed, so that its relevances need not sum to the "
            "score where there are biases.",
        ],
    }
    write("p5", result, given)


def _compared(workers: dict[str, Worker], method: str, pairs: int) -> dict[str, Any]:
    """Both sides in turn, after one warm-up each; the residuals are those of the warm-up."""
    first = {name: worker.ask("explain", method=method) for name, worker in workers.items()}

    def seconds(name: str) -> float:
        return workers[name].ask("explain", method=method)["seconds"]

    if len(workers) == 1:
        spread = Spread.of([seconds("hubel") for _ in range(pairs)])
        mine = row(f"{method}, hubel", spread, "s", note=_told(first["hubel"]))
        return {"rows": [mine], "targets": lambda net: _complete(net, method, first)}
    (compared,) = in_turn(
        lambda: seconds("hubel"), {"Captum": lambda: seconds("Captum")}, pairs=pairs, say=say
    ).values()
    rows = [
        row(f"{method}, hubel", Spread.of(compared.ours), "s", note=_told(first["hubel"])),
        row(
            f"{method}, Captum",
            Spread.of(compared.theirs),
            "s",
            ratio=compared.ratio,
            note=_told(first["Captum"]),
        ),
    ]
    ratio = compared.ratio
    text = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"

    def targets(net: str) -> list[dict[str, Any]]:
        return [
            target(f"{method}, {net}: never slower than Captum", text, ratio.median <= 1.0),
            *_complete(net, method, first),
        ]

    return {"rows": rows, "targets": targets}


def _complete(net: str, method: str, first: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if method not in ("DeepLIFT", "LRP"):
        return []
    ours = first["hubel"]["residual"]
    theirs = (
        f" (Captum {first['Captum']['residual']:.1e})"
        if "Captum" in first and first["Captum"]["residual"] is not None
        else ""
    )
    return [target(f"{method}, {net}: residual ≤ 1e-6", f"{ours:.1e}{theirs}", ours <= 1e-6)]


def _told(answer: dict[str, Any]) -> str:
    if answer.get("failed"):
        return f"failed: {answer['failed']}"
    return "" if answer["residual"] is None else f"residual {answer['residual']:.1e}"


# --- in a process of their own ---------------------------------------------------------------------------------------------

STATE: dict[str, Any] = {}


def prepare(side: str, net: str, images: int, size: int) -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    STATE.update(side=side, net=networks(size, side == "Captum")[net]().eval())
    generator = torch.Generator().manual_seed(1)
    for name, value in [*STATE["net"].named_parameters(), *STATE["net"].named_buffers()]:
        if value.is_floating_point() and value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator)
            value.data = noise + 0.5 if "var" in name or name.endswith("weight") else (noise - 0.5) * 0.2
        elif value.ndim == 4:
            torch.nn.init.kaiming_normal_(
                value, mode="fan_out", nonlinearity="relu"
            )  # signals keep their size
    STATE["x"] = torch.randn(images, 3, size, size, generator=generator)
    STATE["baseline"] = torch.randn(1, 3, size, size, generator=generator).expand(images, -1, -1, -1) * 0.2
    for parameter in STATE["net"].parameters():
        parameter.requires_grad_(True)
    versions = {"torch": torch.__version__}
    if side == "Captum":
        import captum

        versions["captum"] = captum.__version__
    return versions


def networks(size: int, addition: bool) -> dict[str, Any]:
    """A plain network and ResNet-18, every ReLU a module of its own."""
    import torch
    from torch import nn

    def added() -> nn.Module:
        if addition:
            from captum.attr._utils.custom_modules import Addition_Module

            return Addition_Module()
        return Sum()

    class Sum(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a + b

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int):
            super().__init__()
            self.conv1, self.bn1, self.relu1 = _conv(before, after, stride), nn.BatchNorm2d(after), nn.ReLU()
            self.conv2, self.bn2, self.relu2 = _conv(after, after, 1), nn.BatchNorm2d(after), nn.ReLU()
            self.sum = added()
            same = before == after and stride == 1
            self.short = (
                None
                if same
                else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            )

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
            return self.relu2(self.sum(y, x if self.short is None else self.short(x)))

    def _conv(before: int, after: int, stride: int) -> nn.Module:
        return nn.Conv2d(before, after, 3, stride, 1, bias=False)

    class ResNet18(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1, self.relu = (
                nn.Conv2d(3, 64, 7, 2, 3, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(),
            )
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
            blocks = [nn.Sequential(Block(a, b, s), Block(b, b, 1)) for a, b, s in widths]
            self.layer1, self.layer2, self.layer3, self.layer4 = blocks
            self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 1000)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(torch.flatten(self.avgpool(x), 1))

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            widths = (3, 32, 32, 64, 64, 128, 128, 256, 256)
            for number, (a, b) in enumerate(itertools.pairwise(widths)):
                layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
                if number % 2:
                    layers.append(nn.MaxPool2d(2))
            self.layer4 = nn.Sequential(*layers)
            self.fc = nn.Linear(256 * (size // 16) ** 2, 10)

        def forward(self, x: Any) -> Any:
            return self.fc(torch.flatten(self.layer4(x), 1))

    return {"plain": Plain, "resnet18": ResNet18}


def explain(method: str) -> dict[str, Any]:
    """Seconds of one explanation of the batch, and its residual."""
    return (_by_hubel if STATE["side"] == "hubel" else _by_captum)(method)


def _by_hubel(method: str) -> dict[str, Any]:
    import hubel

    net, x, baseline = STATE["net"], STATE["x"], STATE["baseline"]
    work = {
        "integrated gradients": lambda: hubel.explain.integrated_gradients(
            net,
            x,
            target=3,
            baseline=baseline,
            steps=STEPS,
        ),
        "DeepLIFT": lambda: hubel.explain.deeplift(net, x, target=3, baseline=baseline),
        "LRP": lambda: hubel.explain.lrp(net, x, target=3, rule=hubel.explain.Epsilon(1e-9)),
        "Grad-CAM": lambda: hubel.explain.grad_cam(net, x, target=3),
    }[method]
    start = clock()
    found = work()
    seconds = clock() - start
    return {"seconds": seconds, "residual": None if found.residual is None else float(found.residual.max())}


def _by_captum(method: str) -> dict[str, Any]:
    import torch
    from captum import attr

    net, x, baseline = STATE["net"], STATE["x"], STATE["baseline"]

    def grad_cam() -> Any:
        maps = attr.LayerGradCam(net, net.layer4).attribute(x, target=3)
        return attr.LayerAttribution.interpolate(maps, x.shape[2:], "bilinear")

    work = {
        "integrated gradients": lambda: attr.IntegratedGradients(net).attribute(
            x, baseline, target=3, n_steps=STEPS, internal_batch_size=16 if x.shape[-1] < 100 else 8
        ),
        "DeepLIFT": lambda: attr.DeepLift(net).attribute(x, baseline, target=3),
        "LRP": lambda: attr.LRP(net).attribute(x, target=3),
        "Grad-CAM": grad_cam,
    }[method]
    start = clock()
    try:
        found = work().detach()
    except Exception as error:
        return {"seconds": float("nan"), "residual": None, "failed": f"{type(error).__name__}: {error}"[:200]}
    seconds = clock() - start
    if method == "Grad-CAM":
        return {"seconds": seconds, "residual": None}
    with torch.no_grad():
        wanted = net(x)[:, 3].double()
        if method != "LRP":
            wanted -= net(baseline)[:, 3].double()
    flat = found.double().flatten(1)
    residual = (flat.sum(1) - wanted).abs() / flat.abs().amax(1).maximum(wanted.abs())
    return {"seconds": seconds, "residual": float(residual.max())}


if __name__ == "__main__":
    main()
