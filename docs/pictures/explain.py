"""Draws the pictures of explain.md from what the page's own code makes: `python docs/pictures/explain.py`."""

import io
import os
import re
import tempfile
from pathlib import Path

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


def keep(figure, name):
    """A figure (or a picture on disk) as a small PNG of few colours."""
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
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        HERE / f"{name}.png", optimize=True
    )
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


if __name__ == "__main__":
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            draw(namespace())
        finally:
            os.chdir(before)
