"""P4: an occlusion map, a grey patch of 32 × 32 at every place of a grid: seconds a map, against Captum.

python benchmarks/p4_occlusion.py --peers-python PEERS/bin/python
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any

from protocol import HERE, Compared, Machine, Spread, Worker, arguments, in_turn, row, say, target, write


@dataclass(frozen=True)
class Case:
    """A network, the side of its image, the patch, its stride, and by how much a map is to be faster than Captum's best and its default.

    With `sample`, Captum computes the places of that larger stride only, and its seconds are multiplied by the ratio of the numbers of places:
    it takes as long for each.
    """

    net: str
    size: int
    patch: int
    stride: int
    best: float
    default: float | None = None
    sample: int | None = None

    def places(self, stride: int) -> int:
        """How many places there are."""
        return ((self.size - self.patch) // stride + 1) ** 2

    def __str__(self) -> str:
        return f"{self.net}, {self.size}², stride {self.stride}"


CASES = (
    Case("ResNet-18", 224, 32, 16, 2.5, 6.0),
    Case("ResNet-18", 224, 32, 8, 2.5, 6.0, sample=16),
    Case("VGG-like", 224, 32, 16, 8.0),
    Case("VGG-like", 512, 32, 16, 8.0, sample=64),
)
QUICK = (Case("VGG-like", 64, 32, 16, 1.0),)
BATCHES = (4, 8, 16, 32, 64)


def main() -> None:
    given = arguments(__doc__, pairs=3)
    machine = Machine()
    if given.quick:
        given.pairs = 1
    rows: list[dict[str, Any]] = []
    targets: list[dict[str, Any]] = []
    notes: list[str] = []
    versions: dict[str, str] = {}
    for case in QUICK if given.quick else CASES:
        say(str(case))
        found = measure(case, given, versions)
        rows += found["rows"]
        notes.append(f"{case}: {found['note']}.")
        for name, wanted in (("default", case.default), ("best", case.best)):
            if wanted is not None and name in found["compared"]:
                ratio = found["compared"][name]
                said = f"{ratio.median:.2f} × [{ratio.low:.2f}–{ratio.high:.2f}]"
                targets.append(
                    target(f"{case}: ≥ {wanted:g} × Captum's {name}", said, ratio.median >= wanted)
                )
        off = found["difference"]
        targets.append(
            target(f"{case}: ≤ 1e-4 of plain passes", f"{off['difference']:.1e}", off["difference"] <= 1e-4)
        )
        notes.append(
            f"{case}: off float64 by {off['ours']:.1e} of the greatest effect, plain passes in float32 by {off['plain']:.1e}."
        )
    write(
        "p4_occlusion",
        {
            "id": "P4",
            "title": "An occlusion map",
            "work": "A grey patch of 32 × 32 over a picture, seconds a map; the network's own code in both",
            "machine": machine.as_json(given.threads),
            "versions": versions,
            "rows": rows,
            "targets": targets,
            "notes": [
                "Ours begins with nothing known of the network: recording a pass, planning and checking one place against a plain pass are inside.",
                f"Captum's best is that of {', '.join(map(str, BATCHES))} perturbations an evaluation, by a map of patches that do not overlap.",
                "Where Captum is marked extrapolated it computed a part of the places, the same share of them at every size of batch; it takes as long for each.",
                "VGG-like: the eight convolutions of VGG-11 with half their channels, batch norm, average, linear layer.",
                *notes,
            ],
        },
        given,
    )


def measure(case: Case, given: Any, versions: dict[str, str]) -> dict[str, Any]:
    """Both sides in turn, Captum at its default and at its best."""
    worker_file = str(HERE / "p4_worker.py")
    work = {"patch": case.patch, "stride": case.stride}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker([sys.executable, worker_file], threads=given.threads))
        versions |= ours.ask("build", side="hubel", net=case.net, size=case.size)["versions"]
        places = case.places(case.stride)
        difference = ours.ask("difference", every=max(1, places // 40), **work)
        first = ours.ask("occlude", **work)
        peers, best = {}, 0
        if given.peers_python and not given.quick:
            captum = stack.enter_context(Worker([given.peers_python, worker_file], threads=given.threads))
            versions |= captum.ask("build", side="captum", net=case.net, size=case.size)["versions"]
            best = best_batch(captum, case)
            stride = case.sample or case.stride
            sample = {"patch": max(case.patch, stride), "stride": stride}
            share = case.places(sample["stride"]) / places
            peers = {"best": lambda: share / captum.ask("occlude", batch=best, **sample)["seconds"]}
            if case.default is not None:
                peers["default"] = lambda: share / captum.ask("occlude", batch=1, **sample)["seconds"]
        compared = in_turn(
            lambda: 1 / ours.ask("occlude", **work)["seconds"],
            peers or {"nobody": lambda: float("inf")},
            pairs=given.pairs,
            say=say,
        )
    seconds = Spread.of([1 / rate for pair in compared.values() for rate in pair.ours])
    rows = [row(f"hubel: {case}", seconds, "s")]
    said = ", extrapolated" if case.sample else ""
    names = {"default": f"Captum, default{said}", "best": f"Captum, {best} an evaluation{said}"}
    real: dict[str, Compared] = {name: pair for name, pair in compared.items() if name in names}
    rows += [
        row(f"{names[name]}: {case}", Spread.of([1 / rate for rate in pair.theirs]), "s", ratio=pair.ratio)
        for name, pair in real.items()
    ]
    if not real:
        rows.append(
            row(f"Captum: {case}", None, "s", note="not measured: no interpreter with the peers was given")
        )
    return {
        "rows": rows,
        "compared": {name: pair.ratio for name, pair in real.items()},
        "difference": difference,
        "note": "; ".join(first["notes"]),
    }


def best_batch(captum: Worker, case: Case) -> int:
    """The number of perturbations an evaluation with which Captum is fastest, of some 64 places."""
    seconds, stride = {}, max(case.patch, (case.size - case.patch) // 7)
    for batch in BATCHES:
        asked = {"patch": max(case.patch, stride), "stride": stride, "batch": batch}
        seconds[batch] = min(
            captum.ask("occlude", **asked)["seconds"] for _ in range(1 if case.size > 224 else 2)
        )
        say(f"Captum, {batch} an evaluation: {seconds[batch]:.2f} s")
    return min(seconds, key=lambda batch: seconds[batch])


if __name__ == "__main__":
    main()
