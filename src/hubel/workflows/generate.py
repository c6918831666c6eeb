"""`sample`: new examples from a generative network. `encode`: the codes of examples. Both in the units of the data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core import files
from hubel.data import Series, read_like
from hubel.fitting import Run, open_run
from hubel.nets.latent import Encoder, Generator
from hubel.workflows.given_back import codes_of, samples_of

GAP = 2  # pixels between pictures of a sheet


def sample(run: Run | Path | str, n: int = 64, *, seed: int = 0, device: str = "auto") -> np.ndarray:
    """`n` new examples [n, ...] in stored units and of the stored type; the same for the same seed.

    Raises `ValueError` where the network of the run makes none (a plain autoencoder has no distribution of codes to draw from), or `n`
    is below 1; and what `open_run` raises.

    >>> import hubel, tempfile
    >>> x = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    >>> recipe = hubel.Recipe(epochs=1, precision=hubel.fitting.Precision())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = hubel.fit(x, "self", net=hubel.nets.realnvp, recipe=recipe, out=folder + "/run", quiet=True)
    ...     print(hubel.sample(run, 5).shape, hubel.encode(run, x[:2]).shape)
    (5, 3) (2, 3)
    """
    known = run if isinstance(run, Run) else open_run(run, device=device)
    if not isinstance(known.net, Generator):
        raise ValueError(
            f"the network of {known.folder} ({_name(known)}) makes no new examples"
            + (
                ": a plain autoencoder has codes, but no distribution from which to draw them"
                if isinstance(known.net, Encoder)
                else ""
            )
            + ". Fit one that does: --target self --net variational_autoencoder, dcgan or realnvp"
        )
    return samples_of(known.net, known.scaling, n, seed)


def encode(run: Run | Path | str, x: Any, *, device: str = "auto") -> np.ndarray:
    """The codes [N, Z] of `x`: arrays as they were stored, or files, as `Run.predict` takes them. Of a variational autoencoder the means.

    Raises `ValueError` where the network of the run has no codes, or `x` is of another shape or type; and what `open_run` raises.
    """
    known = run if isinstance(run, Run) else open_run(run, device=device)
    if not isinstance(known.net, Encoder):
        raise ValueError(
            f"the network of {known.folder} ({_name(known)}) has no code of an example. Fit one that has: --target self, with an autoencoder, "
            "a variational one, or realnvp"
        )
    stored = read_like(x, known.reading)
    if isinstance(stored, Series):
        raise ValueError(
            "x holds series of different lengths, which have no code of one size here: cut them to one length"
        )
    if len(stored) == 0:
        raise ValueError("received no examples: there is nothing to encode")
    return codes_of(known.net, known.scaling, known.precision, stored, known.device)


def write_samples(examples: np.ndarray, path: Path) -> None:
    """`examples` as one sheet of pictures (`.png`), or as the array `x` (`.npz`, `.npy`).

    Raises `ValueError` for another ending, and for a sheet of what are no pictures of one or three channels.
    """
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez_compressed(buffer, x=examples)
    elif path.suffix == ".npy":
        np.save(buffer, examples)
    elif path.suffix == ".png":
        from PIL import Image

        Image.fromarray(sheet(examples)).save(buffer, "PNG")
    else:
        raise ValueError(
            f"{path} ends in {path.suffix or 'nothing'}; expected .png (a sheet of pictures), .npz or .npy"
        )
    files.write_bytes(path, buffer.getbuffer())


def sheet(pictures: np.ndarray) -> np.ndarray:
    """Pictures [n, C, H, W] side by side as one of bytes [H', W'] or [H', W', 3], nearly square. Bytes stay as they are; of other
    types the range that holds 99 % of all values runs from black to white.

    >>> sheet(np.zeros((5, 1, 4, 4), np.uint8)).shape
    (10, 16)
    """
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
        raise ValueError(
            f"a sheet is for pictures of one or three channels; received examples of shape {list(pictures.shape[1:])}: write .npz"
        )
    grey = pictures
    if pictures.dtype != np.uint8:
        low, high = np.quantile(pictures, [0.005, 0.995])
        share = (pictures.astype(np.float64) - low) / max(high - low, 1e-300)
        grey = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    n, channels, height, width = grey.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, np.uint8)
    for k, picture in enumerate(grey):
        top, left = (k // columns) * (height + GAP), (k % columns) * (width + GAP)
        page[top : top + height, left : left + width] = np.moveaxis(picture, 0, 2)
    return page[..., 0] if channels == 1 else page


def _name(run: Run) -> str:
    return (run.about["net"]["name"] or run.about["net"].get("class", "?")).rpartition(".")[2]
