"""Draws the pictures of explain.md from what the page's own code makes: `python docs/pictures/explain.py`."""

import io
import os
import re
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
PAGE = HERE.parent / "explain.md"
WIDEST, COLOURS = 1100, 96
SCENES = ["scenes/ring/0.png", "scenes/cross/1.png"]
METHODS = ("saliency", "integrated_gradients", "grad_cam", "lrp", "deeplift", "occlusion", "rise")


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
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)
    print(name, image.size, (HERE / f"{name}.png").stat().st_size)


def draw(found):
    """All pictures of the page."""
    from sklearn.datasets import load_sample_images

    import hubel
    from hubel.show import inside
    from hubel.workflows import dream, explain, look_inside

    out, run, masked = Path("figures"), found["run"], found["masked"]
    out.mkdir()
    (one,) = explain.explain_files(run, SCENES[:1], hubel.explain.occlusion, out=out)
    keep(one.figure, "explain-picture")
    methods = {name: getattr(hubel.explain, name) for name in METHODS}
    _, _, drawn = explain.compare_methods(run, ["scenes"], methods, out=out, most=4)
    keep(drawn, "explain-methods")
    (shown,) = explain.explain_files(masked, SCENES, hubel.explain.intrinsic, out=out)
    keep(shown.figure, "explain-mask")
    keep(look_inside.draw_filters(run, None, out), "inside-filters")
    gallery = hubel.explain.gallery(run.net, "blocks.1", range(12), inputs=(1, 32, 32))
    keep(inside.gallery(gallery), "inside-maximize")
    keep(look_inside.draw_codes(run, ["scenes"], out), "inside-codes")
    keep(look_inside.draw_landscape(run, out), "inside-landscape")
    keep(
        inside.circuit(hubel.explain.circuit(run.net, "blocks.0.one.conv", 3, inputs=(1, 32, 32))),
        "inside-circuit",
    )
    writer = hubel.fit("opticks", recipe=hubel.Recipe(seed=1), budget=90.0, out="runs/opticks", quiet=True)
    Path("page.txt").write_text(
        "The Rays which differ in Colour\ndiffer also in Refrangibility,\nand this I shall shew.\n" * 8
    )
    keep(look_inside.draw_text(writer, "page.txt", out), "inside-text")
    Image.fromarray(load_sample_images().images[0][60:, 120:520]).save("temple.jpg")
    net = hubel.nets.efficientnet_lite0(weights="imagenet").eval()
    layer = "blocks.4" if "blocks.4" in dict(net.named_modules()) else list(dict(net.named_modules()))[60]
    keep(dream.dream_file(net, "temple.jpg", layer, out=out / "dream.png", most_pixels=400), "dream")


if __name__ == "__main__":
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            draw(namespace())
        finally:
            os.chdir(before)
