"""Data sets that hubel knows by name: where their files may lie, what they must contain, what leaves their labels true.

Each file is checked by the SHA-256 of its *uncompressed* content, so that a repacked `.gz` of the same data passes (Debian's
differs from the publisher's in the gzip header). Sources of the checksums: Fashion-MNIST, computed from Debian's package
dataset-fashion-mnist 0.0~git20200523.55506a9-1; MNIST, the values that several independent projects publish for the files of
ossci-datasets.s3.amazonaws.com; CIFAR, those of TensorFlow Datasets and MLDatasets.jl for the *binary* archives (the Python
archives are pickled, and are not read).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hubel.core import files
from hubel.core.errors import UnreadableData
from hubel.data.arrays import from_arrays
from hubel.data.cifar import read_cifar
from hubel.data.dataset import Dataset
from hubel.data.idx import parse_idx, uncompressed
from hubel.data.light_echoes import simulate_light_echoes
from hubel.data.scenes import COUNTS, compose_scenes
from hubel.data.texts import EMBEDDED, load_as_text

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """A data set with a name: `files` maps a file's name to the SHA-256 of its content (of an archive: of the file)."""

    name: str
    title: str
    symmetries: tuple[str, ...]
    classes: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    address: str = ""
    system: tuple[str, ...] = ()
    licence: str = ""


_DIGITS = tuple("0123456789")
_IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

SCENES = {
    "fashion-scenes": "2,000 scenes of 128 × 128 pixels with one to six pieces of Fashion-MNIST on grainy textures, with their boxes",
    "fashion-scenes-shifted": "the 200 test scenes of fashion-scenes on woven textures: the same pieces at the same places",
}

BUILTIN: dict[str, BuiltIn] = {
    b.name: b
    for b in (
        BuiltIn(
            name="digits",
            title="1,797 handwritten digits of 8 × 8 pixels, values 0 to 16 (E. Alpaydin, C. Kaynak, UCI 1998; embedded in scikit-learn)",
            symmetries=("shift",),
            classes=_DIGITS,
        ),
        BuiltIn(
            name="fashion-mnist",
            title="70,000 pieces of clothing of 28 × 28 pixels (H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747)",
            symmetries=("flip_horizontal", "shift", "occlusion"),
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            files=tuple(
                zip(
                    _IDX_NAMES,
                    (
                        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                    ),
                    strict=True,
                )
            ),
            address="https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{}.gz",
            system=("/usr/share/datasets/fashion-mnist",),
            licence="MIT",
        ),
        BuiltIn(
            name="mnist",
            title="70,000 handwritten digits of 28 × 28 pixels (Y. LeCun, C. Cortes, C. Burges)",
            symmetries=("shift",),
            classes=_DIGITS,
            files=tuple(
                zip(
                    _IDX_NAMES,
                    (
                        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                    ),
                    strict=True,
                )
            ),
            address="https://ossci-datasets.s3.amazonaws.com/mnist/{}.gz",
            system=("/usr/share/datasets/mnist",),
        ),
        BuiltIn(
            name="cifar-10",
            title="60,000 photographs of 32 × 32 pixels, 10 classes (A. Krizhevsky 2009)",
            symmetries=("flip_horizontal", "shift", "occlusion"),
            files=(
                (
                    "cifar-10-binary.tar.gz",
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                ),
            ),
            address="https://www.cs.toronto.edu/~kriz/{}",
            system=("/usr/share/datasets/cifar-10",),
        ),
        BuiltIn(
            name="cifar-100",
            title="60,000 photographs of 32 × 32 pixels, 100 classes (A. Krizhevsky 2009)",
            symmetries=("flip_horizontal", "shift", "occlusion"),
            files=(
                (
                    "cifar-100-binary.tar.gz",
                    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
                ),
            ),
            address="https://www.cs.toronto.edu/~kriz/{}",
            system=("/usr/share/datasets/cifar-100",),
        ),
        *(
            BuiltIn(
                name=name,
                title=title,
                symmetries=("flip_horizontal", "scale", "brightness", "contrast", "copy_paste", "mosaic"),
                licence="MIT",
            )
            for name, title in SCENES.items()
        ),
        BuiltIn(
            name="light-echoes",
            title="88 simulated differences of exposures with the boxes of light echoes and of residuals of stars; 19 fields to learn from",
            symmetries=("flip_horizontal", "flip_vertical", "rotate_90"),
        ),
        *(BuiltIn(name=t.name, title=t.title, symmetries=(), licence=t.licence) for t in EMBEDDED.values()),
    )
}


def load_builtin(
    name: str,
    *,
    download: bool = False,
    symmetries: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The data set of this name, with its official test part, class names and declared symmetries.

    Its files are looked for in the user's cache, in $HUBEL_DATA, and in the system's data folders; they are downloaded from
    the publisher only with `download=True`, into the cache.

    Raises `FileNotFoundError` (saying where it looked and what to do) and `UnreadableData` (a file that is not the published one).

    >>> load_builtin("digits")
    Dataset('digits': 1,797 examples of 1 × 8 × 8 uint8, 10 classes)
    """
    if (text := load_as_text(name, {}, {"symmetries": symmetries})) is not None:
        return text
    known = BUILTIN[name]
    declared = frozenset(known.symmetries if symmetries is None else symmetries)
    if name == "digits":
        data = _digits(known)
    elif name == "light-echoes":
        data = simulate_light_echoes()
    elif name in SCENES:
        data = _scenes(name, load_builtin("fashion-mnist", download=download, progress=progress))
    else:
        folder = _folder_of(known, download, progress)
        data = (
            read_cifar(known.name, _checked_archive(known, folder))
            if "cifar" in name
            else _read_idx(known, folder)
        )
    return replace(data, symmetries=declared, source=f"built-in {name}: {known.title}")


def _scenes(name: str, pieces: Dataset) -> Dataset:
    if name == "fashion-scenes":
        return compose_scenes(pieces, name=name)
    shifted = compose_scenes(pieces, texture="weave", counts={"test": COUNTS["test"]}, name=name)
    return replace(shifted, part=None)


def _digits(known: BuiltIn) -> Dataset:
    """From scikit-learn's file, without importing scikit-learn where the file lies where it used to: that takes a second and 80 MB."""
    found = importlib.util.find_spec("sklearn")
    places = [] if found is None else found.submodule_search_locations or []
    files = [file for place in places if (file := Path(place, "datasets", "data", "digits.csv.gz")).is_file()]
    if files:
        rows = np.loadtxt(files[0], delimiter=",", dtype=np.uint8)
        x, y = rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)
    else:
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        x, y = digits.images.astype(np.uint8), digits.target
    return from_arrays(x, y, classes=known.classes, name=known.name)


def _read_idx(known: BuiltIn, folder: Path) -> Dataset:
    arrays = []
    for name, expected in known.files:
        path = _there(folder, name)
        content = uncompressed(path)
        _check(path, hashlib.sha256(content).hexdigest(), expected)
        arrays.append(parse_idx(content, str(path)))
    x, y, x_test, y_test = arrays
    return from_arrays(
        np.concatenate([x, x_test]),
        np.concatenate([y, y_test]),
        classes=known.classes,
        name=known.name,
        part=["train"] * len(x) + ["test"] * len(x_test),
    )


def _checked_archive(known: BuiltIn, folder: Path) -> Path:
    name, expected = known.files[0]
    path = folder / name
    _check(path, files.sha256(path), expected)
    return path


def _check(path: Path, received: str, expected: str) -> None:
    if received != expected:
        raise UnreadableData(
            f"{path} is not the published file: its content has SHA-256 {received}, expected {expected}. Remove it and fetch it again"
        )


def _folder_of(known: BuiltIn, download: bool, progress: Progress | None) -> Path:
    cache = files.user_cache() / "datasets" / known.name
    given = os.environ.get("HUBEL_DATA")
    places = [cache, *([Path(given) / known.name, Path(given)] if given else []), *map(Path, known.system)]
    for place in places:
        if all(_there(place, name).is_file() for name, _ in known.files):
            return place
    if download:
        from hubel.data.downloads import fetch

        for name, expected in known.files:
            fetch(known.address.format(name), _download_name(cache, name), expected, progress=progress)
        return cache
    names = ", ".join(_download_name(cache, name).name for name, _ in known.files)
    package = (
        " or install the system's package (apt install dataset-fashion-mnist),"
        if known.name == "fashion-mnist"
        else ""
    )
    raise FileNotFoundError(
        f"{known.name} is not on this machine (looked in {', '.join(map(str, places))}). Allow the download "
        f'(hubel.data.load("{known.name}", download=True), or --download on the command line),{package} or put {names} into {cache} '
        "or into the folder that $HUBEL_DATA names"
    )


def _there(folder: Path, name: str) -> Path:
    gzipped = folder / f"{name}.gz"
    return folder / name if name.endswith(".gz") or not gzipped.is_file() else gzipped


def _download_name(folder: Path, name: str) -> Path:
    return folder / (name if name.endswith(".gz") else f"{name}.gz")
