"""Every network of the zoo at the size for which it was published: parameters, a forward pass, a training step, and the memory that it takes.

    python benchmarks/zoo.py [--only resnet vgg] [--batch 1]

Each network runs in a process of its own, so that its memory is its own; what a process takes before the network is made is taken off.
Times are of the second forward pass and of the second training step (the first ones make room). `--quick` takes small pictures and one
thread: that each works, not how fast.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

QUICK_SIDE = 75


def zoo() -> dict[str, Callable[..., Any]]:
    """A function for every published network; `inputs` replaces the published size."""
    from hubel import nets

    def of(function: Callable[..., Any], *first: Any, **more: Any) -> Callable[..., Any]:
        return lambda **given: function(*first, **more, **given)

    vits = {"ti": (192, 3), "s": (384, 6), "b": (768, 12)}
    return {
        "lenet": nets.lenet,
        "simple_cnn": nets.simple_cnn,
        "strided_cnn": nets.strided_cnn,
        "compact": nets.compact,
        "nin": nets.nin,
        "bn-nin": of(nets.nin, batch_norm=True),
        "alexnet": nets.alexnet,
        "alexnet of 2012": of(nets.alexnet, grouped=True),
        "zfnet": nets.zfnet,
        **{f"vgg{depth}": of(nets.vgg, depth) for depth in (11, 13, 16, 19)},
        "googlenet": nets.googlenet,
        "inception_v3": nets.inception_v3,
        **{f"resnet{depth}": of(nets.resnet, depth) for depth in (20, 56, 110, 18, 34, 50, 101, 152)},
        "plain20": of(nets.resnet, 20, skips=False),
        **{f"densenet{depth}": of(nets.densenet, depth) for depth in (121, 161, 169, 201)},
        "xception": nets.xception,
        "mobilenet_v1": nets.mobilenet_v1,
        "mobilenet_v2": nets.mobilenet_v2,
        "efficientnet_lite0": nets.efficientnet_lite0,
        "nasnet_mobile": nets.nasnet_mobile,
        **{
            f"vit-{name}/16": of(
                nets.vision_transformer,
                16,
                width=width,
                layers=12,
                heads=heads,
                **{"outputs": 1000},
            )
            for name, (width, heads) in vits.items()
        },
        "enet": nets.enet,
        "unet": of(nets.unet, 64, batch_norm=False),
    }


SIZES = {"unet": (1, 572, 572), **{f"vit-{name}/16": (3, 224, 224) for name in ("ti", "s", "b")}}
QUICK_SIZES = dict.fromkeys(
    ("strided_cnn", "nin", "bn-nin", "resnet20", "resnet56", "resnet110", "plain20"), (3, 32, 32)
)
QUICK_SIZES |= {"lenet": (1, 28, 28), "simple_cnn": (1, 28, 28), "compact": (1, 28, 28), "unet": (1, 32, 32)}
QUICK_SIZES |= {f"vit-{name}/16": (3, 32, 32) for name in ("ti", "s", "b")}


def measure(name: str, batch: int, quick: bool) -> dict[str, Any]:
    """One network in this process."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1 if quick else len(os.sched_getaffinity(0)))
    size = QUICK_SIZES.get(name, (3, QUICK_SIDE, QUICK_SIDE)) if quick else SIZES.get(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    net = zoo()[name](**({} if size is None else {"inputs": size}))
    x = torch.randn(batch, *net.inputs)
    net.eval()
    with torch.no_grad():
        forward, scores = _second(lambda: net(x), 1 if quick else 2)
    y = scores.argmax(dim=1)
    net.train()
    if batch == 1:  # a batch norm has nothing to compare at a single position
        for module in net.modules():
            if "BatchNorm" in type(module).__name__:
                module.eval()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    training, loss = _second(step, 1 if quick else 2)
    assert bool(torch.isfinite(loss)), f"{name}: the loss is {loss}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "name": name,
        "inputs": list(net.inputs),
        "scores": list(scores.shape),
        "parameters": sum(p.numel() for p in net.parameters()),
        "forward_s": round(forward, 4),
        "step_s": round(training, 4),
        "memory_mb": round((peak - before) / 1024, 1),
    }


def _second(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    for _ in range(times):
        start = time.perf_counter()
        answer = work()
        seconds = time.perf_counter() - start
    return seconds, answer


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", help="names, or beginnings of names")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.batch, given.quick)))
        return 0
    names = [name for name in zoo() if not given.only or any(name.startswith(word) for word in given.only)]
    if given.quick:
        for name in names:
            found = measure(name, 2, quick=True)
            print(f"ok  {name:<20} {found['parameters']:>12,}", flush=True)
        return 0
    from protocol import Machine

    machine, failed = Machine(), 0
    print(f"{'network':<20} {'input':>14} {'parameters':>12} {'forward':>10} {'step':>10} {'memory':>10}")
    for name in names:
        command = [sys.executable, __file__, "--one", name, "--batch", str(given.batch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            failed += 1
            print(f"{name:<20} FAILED: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        found = json.loads(done.stdout)
        size = "×".join(map(str, found["inputs"]))
        print(
            f"{name:<20} {size:>14} {found['parameters']:>12,} {1e3 * found['forward_s']:>7.0f} ms {1e3 * found['step_s']:>7.0f} ms "
            f"{found['memory_mb']:>7.0f} MB",
            flush=True,
        )
    print(json.dumps(machine.as_json(len(os.sched_getaffinity(0)))))
    return failed


if __name__ == "__main__":
    sys.exit(main())
