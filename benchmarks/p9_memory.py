"""P9: memory of a fit: the peak against what the work needs, and whether it stays flat over epochs.

    peak ≤ 1.3 × (data as stored + weights, gradients and optimizer + one batch's activations) + the interpreter

"The interpreter" is a process that imported torch and hubel and made one tiny step with the same kind of optimizer (torch's own
import its compiler, 65 MB; hubel's Muon does not); all figures are resident memory.

    python benchmarks/p9_memory.py
"""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from protocol import HERE, Machine, Spread, Worker, arguments, find_data, row, say, serve, target, write

MB = 1e6
EPOCHS = {"simple_cnn": 6, "default": 3}


def main() -> None:
    if "--worker" in sys.argv:
        serve({"interpreter": interpreter, "tiny_fit": tiny_fit, "fit": fit})
        return
    given = arguments(__doc__)
    machine = Machine()
    source = "digits" if given.quick else "fashion-mnist"
    find_data()

    def asked(action: str, **more: Any) -> dict[str, Any]:
        with Worker(
            [sys.executable, str(HERE / "p9_memory.py"), "--worker"], threads=given.threads
        ) as worker:
            return worker.ask(action, **more)

    repeats = 1 if given.quick else min(3, given.pairs)
    bare = {
        kind: Spread.of([asked("interpreter", optimizer=kind)["peak"] for _ in range(repeats)])
        for kind in ("AdamW", "Muon")[:: 1 if not given.quick else -2]
    }
    tiny = (
        bare["AdamW" if "AdamW" in bare else "Muon"]
        if given.quick
        else Spread.of([asked("tiny_fit")["peak"] for _ in range(repeats)])
    )
    nets = (
        ("default",) if given.quick else tuple(net for net in EPOCHS if not given.only or net in given.only)
    )
    try:
        fits = [
            asked("fit", source=source, net=net, epochs=2 if given.quick else EPOCHS[net]) for net in nets
        ]
    except RuntimeError as error:
        if "is not on this machine" not in str(error):
            raise
        say(f"skipped: {error}")
        return
    rows = [
        *[
            row(f"interpreter, torch, hubel, one step of {kind}", scaled(most), "MB")
            for kind, most in bare.items()
        ],
        row("a whole tiny fit, with report", scaled(tiny), "MB"),
    ]
    targets = []
    for done in fits:
        needed = done["data"] + done["weights"] + done["activations"]
        empty = bare.get(done["optimizer"], min(bare.values(), key=lambda most: most.median)).median
        allowed = 1.3 * needed + empty
        name = f"hubel fit {source}, {done['net']}"
        rows += [
            row(f"{name}: peak", one(done["peak"]), "MB"),
            row(f"{name}: allowed", one(allowed), "MB", note=_parts(done)),
            row(f"{name}: data read and split", one(done["after_reading"]), "MB"),
        ]
        over = (done["peak"] - empty) / needed
        targets.append(
            target(
                f"peak ≤ 1.3 × work + interpreter ({done['net']})",
                f"{over:.2f} × work + interpreter",
                done["peak"] <= allowed,
            )
        )
        first, last = done["epochs"][1 if len(done["epochs"]) > 2 else 0], done["epochs"][-1]
        text = f"{(last - first) / MB:+.1f} MB from epoch {2 if len(done['epochs']) > 2 else 1} to {len(done['epochs'])}"
        targets.append(target(f"flat over epochs ({done['net']})", text, last - first <= 0.01 * last))
    from hubel.fitting import machine as machines

    result = {
        "id": "P9",
        "title": "Memory",
        "work": f"`hubel fit {source}`: resident memory, peak (ru_maxrss) and after every epoch",
        "machine": machine.as_json(given.threads),
        "versions": machines.versions(),
        "rows": rows,
        "targets": [] if given.quick else targets,
        "epochs_mb": {done["net"]: [round(v / MB, 1) for v in done["epochs"]] for done in fits},
        "notes": [
            "Weights count four times (weights, gradients, optimizer, average). Activations are the tensors that autograd keeps for one batch."
        ],
    }
    write("p9", result, given)


def scaled(values: Spread) -> Spread:
    return Spread(values.median / MB, values.low / MB, values.high / MB, values.count)


def one(value: float) -> Spread:
    return Spread.of([value / MB])


def _parts(done: dict[str, Any]) -> str:
    return ", ".join(f"{name} {done[name] / MB:.1f}" for name in ("data", "weights", "activations")) + " MB"


# --- in a process of their own ---------------------------------------------------------------------------------------------


def peak() -> int:
    """The most that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident() -> int:
    """What it holds now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def interpreter(optimizer: str) -> dict[str, Any]:
    import torch

    import hubel
    from hubel.core.types import Batch

    net = hubel.nets.mlp((4, 4), inputs=3, outputs=2)
    batch = Batch(inputs=torch.zeros(8, 3), targets=torch.zeros(8, dtype=torch.int64))
    rule = hubel.fitting.Backprop(getattr(hubel.fitting, optimizer)().build(net))
    for _ in hubel.fitting.steps(net, hubel.objectives.CrossEntropy(2), [batch], rule=rule):
        pass
    return {"peak": peak()}


def tiny_fit() -> dict[str, Any]:
    import hubel

    with tempfile.TemporaryDirectory() as folder:
        hubel.fit("digits", recipe=hubel.Recipe(epochs=1, seed=0), out=Path(folder) / "run", quiet=True)
    return {"peak": peak()}


def fit(source: str, net: str, epochs: int) -> dict[str, Any]:
    import torch

    import hubel
    from hubel.workflows import prepare as prepared

    kept: dict[str, int] = {}
    original = prepared.prepare

    def prepare(*args: Any, **more: Any) -> Any:
        answer = original(*args, **more)
        kept["after_reading"] = resident()
        return answer

    sys.modules["hubel.workflows.deciding"].prepare = prepare  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        samples: list[int] = []
        watch = threading.Thread(target=_watch, args=(out / "curves.jsonl", samples, epochs), daemon=True)
        watch.start()
        maker = hubel.nets.simple_cnn if net == "simple_cnn" else None
        run = hubel.fit(source, net=maker, recipe=hubel.Recipe(epochs=epochs, seed=0), out=out, quiet=True)
        most = peak()
        watch.join(5)
        return {
            "net": net if net != "default" else f"default network ({run.about['net']['name']})",
            "peak": most,
            "optimizer": type(run.recipe.optimizer).__name__,
            "epochs": samples,
            **kept,
            **_needed(run, torch),
        }


def _watch(curves: Path, samples: list[int], epochs: int) -> None:
    while len(samples) < epochs:
        if curves.exists() and curves.read_bytes().count(b"\n") > len(samples):
            samples.append(resident())
        time.sleep(0.02)


def _needed(run: Any, torch: Any) -> dict[str, int]:
    """Bytes of the data as stored, of weights with their gradients, optimizer and average, and of what one batch keeps for backward."""
    from hubel.core.types import Batch

    whole = run.about["data"]["examples"]
    shape, dtype = run.scaling.shape, run.scaling.dtype
    size = torch.Size(shape).numel() * torch.tensor([], dtype=getattr(torch, dtype)).element_size() + 8
    net = run.net.train()
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    inputs = run.precision.arrange(torch.zeros(run.recipe.batch_size, *shape))
    batch = Batch(inputs=inputs, targets=torch.zeros(len(inputs), dtype=torch.int64))
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    seen: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        run.precision.autocast(torch.device("cpu")),
    ):
        loss = run.objective(net, batch).total
    del loss
    return {"data": whole * size, "weights": 4 * weights, "activations": sum(seen.values())}


if __name__ == "__main__":
    main()
