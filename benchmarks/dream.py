"""DeepDream of a picture of 512 × 512, four octaves of ten steps, on a ResNet-18: seconds from the bytes of the picture to those of the dream.

The weights are fresh, which costs the same as trained ones. Beside it stands the time of the same forward and backward passes in a bare loop.

    python benchmarks/dream.py
"""

from __future__ import annotations

from typing import Any

from protocol import Machine, Spread, arguments, clock, in_turn, row, say, target, write

SECONDS = 60.0


def main() -> None:
    given = arguments(__doc__, pairs=3)
    machine = Machine()
    import numpy as np
    import torch

    from hubel import explain, fitting, nets
    from hubel.nets.made import Published

    torch.set_num_threads(given.threads)
    side, octaves, steps = (64, 2, 2) if given.quick else (512, 4, 10)
    if given.quick:
        given.pairs = 1
    net = nets.resnet(18, outputs=10).eval()
    net.published = Published(title="fresh", file="", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    row_, column = np.mgrid[0:side, 0:side] / side
    waves = np.stack([np.sin(9 * row_), np.cos(7 * column), np.sin(5 * (row_ + column))], axis=2)
    picture = np.round(127 + 100 * waves).astype(np.uint8)
    found: list[Any] = []

    def ours() -> float:
        start = clock()
        found.append(explain.dream(net, picture, "layer3", octaves=octaves, steps=steps))
        return clock() - start

    def bare() -> float:
        start = clock()
        for height, width in found[-1].sizes:
            for _ in range(steps):
                x = torch.randn(1, 3, height, width, requires_grad=True)
                y = torch.relu(net.bn1(net.conv1(x)))
                y = net.layer3(net.layer2(net.layer1(torch.nn.functional.max_pool2d(y, 3, 2, 1))))
                torch.autograd.grad(y.square().mean(), x)
        return clock() - start

    ours()
    for parameter in net.parameters():
        parameter.requires_grad_(False)  # as the dream does for itself
    pair = in_turn(ours, {"bare loop": bare}, pairs=given.pairs, say=say)["bare loop"]
    whole = Spread.of(pair.ours)
    result = {
        "id": "dream",
        "title": "DeepDream",
        "work": f"{side} × {side} pixels, {octaves} octaves of {steps} steps, layer3 of a ResNet-18",
        "machine": machine.as_json(given.threads),
        "versions": fitting.machine.versions(),
        "rows": [
            row("hubel.explain.dream", whole, "s", ratio=pair.ratio),
            row("the same passes in a bare loop", Spread.of(pair.theirs), "s"),
        ],
        "targets": [
            target(f"at most {SECONDS:.0f} s on two cores", f"{whole.median:.1f} s", whole.median <= SECONDS)
        ],
        "notes": [
            f"Excitation of the last octave: {found[-1].scores[-1, 0]:.3g} before, {found[-1].scores[-1, 1]:.3g} after."
        ],
    }
    write("dream", result, given)


if __name__ == "__main__":
    main()
