"""Draws the pictures of neuron-to-resnet.md from what the page's own code makes: `python docs/pictures/draw.py`."""

import base64
import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
PAGE = HERE.parent / "neuron-to-resnet.md"
BLUE, RED, INK, SOFT, PAPER = (43, 95, 158), (178, 80, 42), "#23221f", "#66635b", "#fdfcf9"


def namespace():
    """What stands in the page's variables after all its blocks have run."""
    found = {}
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for block in re.findall(
                r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
            ):
                exec(compile(block, str(PAGE), "exec"), found)
            found["scores"] = {name: run.test["accuracy"] for name, run in found["runs"].items()}
            found["templates"] = found["runs"]["softmax"].net.head.weight.detach().numpy()
        finally:
            os.chdir(before)
    return found


def signed(values):
    """Numbers as colours: blue where positive, red where negative, white at zero, [H, W, 3]."""
    share = np.clip(values / np.abs(values).max(), -1, 1)[..., None]
    return 255 + np.where(share >= 0, share * (np.array(BLUE) - 255.0), -share * (np.array(RED) - 255.0))


def grey(values):
    """Numbers from 0 to 1 as ink on white."""
    return np.repeat(255 * (1 - np.clip(values, 0, 1))[..., None], 3, axis=2)


def panel(colours, x, y, size, title):
    """A picture of few pixels, with its title above."""
    buffer = io.BytesIO()
    Image.fromarray(colours.round().astype("uint8")).save(buffer, "PNG", optimize=True)
    address = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<text x="{x}" y="{y - 8}">{title}</text><image x="{x}" y="{y}" width="{size}" height="{size}" style="image-rendering:pixelated" '
        f'href="data:image/png;base64,{address}"/><rect x="{x}" y="{y}" width="{size}" height="{size}" fill="none" stroke="#ccc8bd"/>'
    )


def save(name, width, height, parts):
    """One drawing on a ground of its own, readable on light and dark pages."""
    style = f"text{{font:13px system-ui,sans-serif;fill:{INK}}} .soft{{fill:{SOFT}}}"
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"><style>{style}</style>'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{"".join(parts)}</svg>\n'
    )
    (HERE / name).write_text(text, "utf-8")
    print(name, len(text), "bytes")


def accuracies(scores):
    """A line a network: its accuracy with its interval."""
    low = min(score["low"] for score in scores.values())
    first, last = 100 * np.floor(low * 50) / 50, 100.0

    def across(percent):
        return 150 + (percent - first) / (last - first) * 420

    parts = []
    for percent in np.arange(first, last + 0.1, 2):
        parts.append(f'<path d="M{across(percent):.1f} 20V150" stroke="#e3e0d7"/>')
        parts.append(
            f'<text class="soft" x="{across(percent):.1f}" y="168" text-anchor="middle">{percent:g} %</text>'
        )
    for place, (name, score) in enumerate(scores.items()):
        y = 36 + 32 * place
        colour = "#2b5f9e"
        ends = [across(100 * score[end]) for end in ("low", "high")]
        parts.append(f'<text x="138" y="{y + 4}" text-anchor="end">{name}</text>')
        parts.append(
            f'<path d="M{ends[0]:.1f} {y}H{ends[1]:.1f}" stroke="{colour}" stroke-width="3" opacity=".55"/>'
        )
        parts.append(f'<circle cx="{across(100 * score["value"]):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    return parts


def main():
    """Run the page, and draw what it made."""
    found = namespace()
    wired = np.zeros(64)
    wired[found["middle"]] = 1
    neurons = [("wired (1943)", wired)]
    neurons += [
        (title, found[name].head.weight.detach().numpy()[0])
        for title, name in (("perceptron (1958)", "rosenblatt"), ("logistic regression", "smooth"))
    ]
    save(
        "neurons.svg",
        560,
        204,
        [
            panel(signed(w.reshape(8, 8)), 20 + 180 * k, 34, 150, title)
            for k, (title, w) in enumerate(neurons)
        ],
    )
    templates = found["templates"].reshape(10, 8, 8)
    save(
        "ten.svg",
        560,
        254,
        [panel(signed(t), 20 + 106 * (k % 5), 34 + 116 * (k // 5), 88, k) for k, t in enumerate(templates)],
    )
    digit, fits, pooled = (found[name][0, 0].numpy() for name in ("digit", "fits", "pooled"))
    template = found["upright"][0, 0].numpy()
    titles = ("a digit", "template", "where it fits", "after ReLU", "after pooling")
    pictures = (grey(digit), signed(template), signed(fits), signed(np.maximum(fits, 0)), signed(pooled))
    save(
        "convolution.svg",
        640,
        154,
        [panel(p, 20 + 124 * k, 34, 104, t) for k, (p, t) in enumerate(zip(pictures, titles, strict=True))],
    )
    save("steps.svg", 600, 180, accuracies(found["scores"]))


if __name__ == "__main__":
    main()
