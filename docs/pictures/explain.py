"""Draws the pictures of explain.md from what the page's own code makes: `python docs/pictures/explain.py`."""

import io
import os
import re
import tempfile
from pathlib import Path

import torch
from PIL import Image

HERE = Path(__file__).parent
PAGE = HERE.parent / "explain.md"
WIDEST, COLOURS = 1100, 240
SCENES = ["scenes/ring/0.png", "scenes/cross/1.png"]
METHODS = (
    "deeplift",
    "integrated_gradients",
    "gradient_times_input",
    "occlusion",
    "saliency",
    "guided_backprop",
    "grad_cam",
)


def namespace():
    """What stands in the page's variables after all its Python blocks have run."""
    found = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), found)
    return found


def keep(figure, name, *, photograph=False):
    """A figure (or a picture on disk) as a small PNG of few colours, dithered where it is a photograph."""
    if isinstance(figure, Path):
        image = Image.open(figure)
    else:
        content = io.BytesIO()
        figure.savefig(content, format="png")
        image = Image.open(content)
    image = image.convert("RGB")
    if image.width > WIDEST:
        size = (WIDEST, round(image.height * WIDEST / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    if photograph:
        image = image.quantize(palette=image.quantize(COLOURS, Image.Quantize.MEDIANCUT))
    else:
        image = image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(HERE / f"{name}.png", optimize=True)
    print(name, image.size, (HERE / f"{name}.png").stat().st_size)


def draw(found):
    """All pictures of the page."""
    import hubel
    from hubel.workflows import explain, look_inside

    out, run, masked = Path("figures"), found["run"], found["masked"]
    out.mkdir()
    (one,) = explain.explain_files(run, SCENES[:1], hubel.explain.deeplift, out=out)
    keep(one.figure, "explain-picture")
    methods = {name: getattr(hubel.explain, name) for name in METHODS}
    _, _, drawn = explain.compare_methods(run, ["scenes"], methods, out=out, most=4)
    keep(drawn, "explain-methods")
    (shown,) = explain.explain_files(masked, SCENES, hubel.explain.intrinsic, out=out)
    keep(shown.figure, "explain-mask")
    keep(look_inside.draw_landscape(run, out), "explain-landscape")
    draw_photographs()


def draw_photographs():
    """Two photographs, by regions and by single pixels."""
    import numpy as np
    from sklearn.datasets import load_sample_images

    import hubel
    from hubel.show.attribution import side_by_side
    from hubel.workflows.recognize import published_input

    net = hubel.nets.efficientnet_lite0(weights="imagenet").eval()
    x = torch.stack([published_input(one, net.published) for one in load_sample_images().images[::-1]])
    mean, std = (np.array(values)[:, None, None] for values in (net.published.mean, net.published.std))
    shown = ((x.numpy() * std + mean).clip(0, 1) * 255).astype(np.uint8)
    methods = (hubel.explain.hires_cam, hubel.explain.occlusion, hubel.explain.deeplift)
    found = {one.method: one for one in (method(net, x) for method in methods)}
    titles = [net.published.classes[int(name.split()[-1])] for name in found["HiResCAM"].target]
    keep(side_by_side(found, shown, titles=titles), "explain-photographs", photograph=True)


if __name__ == "__main__":
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            draw(namespace())
        finally:
            os.chdir(before)
