"""What a network says of every pixel of new pictures: the share of each class, and the masks themselves as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubel import data as hubel_data
from hubel.core import files
from hubel.core.errors import UnreadableData
from hubel.core.types import Prediction
from hubel.data.images import is_image, look, strict_libraries
from hubel.data.masks import UNLABELLED, MaskClasses, classes_of_reading
from hubel.data.prediction_input import ARRAYS, in_groups
from hubel.data.sizes import unfit_mask
from hubel.fitting import Ensemble, Run
from hubel.objectives import PixelCrossEntropy

AT_ONCE = 2**23  # probabilities
MOST = 16  # pictures


def answers_masks(run: Run | Ensemble) -> bool:
    """Whether a network was fitted to masks."""
    return isinstance(run.objective, PixelCrossEntropy)


def predict_masks(
    run: Run | Ensemble,
    paths: Sequence[Path | str],
    *,
    out: Path | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """An answer a picture: `{"file", "mask", "shares": {class: share of the pixels}}`; the mask is written into the folder `out`, where one is
    named, as a PNG of one channel with the values of the masks from which was learned, in the size of the picture. `reading` says how the
    pictures are read, where that is not as the run did. A file that can not be read is answered by `{"file", "unreadable": why}`.

    Raises `FileExistsError` for a mask that is there already, `ValueError` where two pictures would have one.
    """
    named = _named(paths)
    targets = {} if out is None else _targets(named, out)
    known = _known(run)
    reading = run.reading if reading is None else reading
    size = reading["shape"]
    together = max(1, min(MOST, AT_ONCE // (len(known.values) * size[-2] * size[-1])))
    for part in in_groups([path for path, _ in named], together):
        try:
            rows = np.asarray(hubel_data.read_like(part, reading))
        except ValueError as error:
            if len(part) == 1:
                yield {"file": str(part[0]), "unreadable": str(error)}
            else:
                yield from _one_by_one(run, part, out, targets, reading)
            continue
        for first in range(0, len(rows), together):
            prediction = run.predict(rows[first : first + together])
            for k, numbers in enumerate(prediction.values):
                row = first + k
                of_array = part[0].suffix.lower() in ARRAYS and len(part) == 1 and len(rows) > 1
                path = part[0] if of_array else part[row]
                name = f"{path}[{row}]" if of_array else str(path)
                mask = numbers if of_array else _in_its_size(numbers, path, run.reading)
                answer: dict[str, Any] = {"file": name}
                if out is not None:
                    target = targets[path]
                    if of_array:
                        target = target.with_name(f"{target.stem}-{row}.png")
                    answer["mask"] = str(_written(target, known.stored(mask)))
                answer["shares"] = _shares(mask, prediction)
                yield answer


def _one_by_one(
    run: Run | Ensemble,
    part: Sequence[Path],
    out: Path | None,
    targets: Mapping[Path, Path],
    reading: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Answers to pictures of which some can not be read."""
    for path in part:
        folder = None if out is None else targets[path].parent
        yield from predict_masks(run, [path], out=folder, reading=reading)


def _known(run: Run | Ensemble) -> MaskClasses:
    """The values of the masks from which was learned; those of a dataset that was made by hand are the class numbers."""
    if (found := classes_of_reading(run.reading)) is not None:
        return found
    num = run.objective.num_outputs
    return MaskClasses(values=tuple(range(num)), classes=tuple(map(str, range(num))), unlabelled=UNLABELLED)


def _named(paths: Sequence[Path | str]) -> list[tuple[Path, Path]]:
    """Every picture, and its path below the folder that was named."""
    found: list[tuple[Path, Path]] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.name[0] != "." and is_image(p))
            if not inside:
                raise FileNotFoundError(f"{path} has no pictures in it")
            found += [(p, p.relative_to(path)) for p in inside]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise FileNotFoundError(f"{path} does not exist")
    return list(dict.fromkeys(found))


def _targets(named: Sequence[tuple[Path, Path]], out: Path) -> dict[Path, Path]:
    """Where the mask of every picture goes; nothing that is there already is written over."""
    targets = {path: (out / below).with_suffix(".png") for path, below in named}
    first: dict[Path, Path] = {}
    for path, target in targets.items():
        if (other := first.setdefault(target, path)) != path:
            raise ValueError(
                f"{other} and {path} would both have the mask {target}: ask for them one after the other, with folders of their own"
            )
    if there := [target for target in first if target.exists()]:
        raise FileExistsError(
            f"{len(there):,} of {len(first):,} masks are there already, such as {there[0]}: name another folder, or remove them"
        )
    out.mkdir(parents=True, exist_ok=True)
    files.refuse_unwritable(out)
    return targets


def _in_its_size(numbers: np.ndarray, path: Path, reading: Mapping[str, Any]) -> np.ndarray:
    """The mask [H, W] of a picture that was resized, at the size that the picture has."""
    if "size" not in reading or path.suffix.lower() == ".npz":
        return numbers
    with strict_libraries():
        try:
            header = look(path)
        except UnreadableData:  # an array of one picture, in another order of axes
            return numbers
    shape = (header.height, header.width)
    return unfit_mask(numbers, shape, reading.get("resize", "pad"), fill=UNLABELLED)


def _shares(mask: np.ndarray, prediction: Prediction) -> dict[str, float]:
    assert prediction.probabilities is not None
    num = prediction.probabilities.shape[1]
    names = prediction.classes or tuple(map(str, range(num)))
    counts = np.bincount(mask[mask != UNLABELLED], minlength=num)
    return {name: float(n / max(counts.sum(), 1)) for name, n in zip(names, counts.tolist(), strict=True)}


def _written(path: Path, mask: np.ndarray) -> Path:
    from PIL import Image

    if path.exists():
        raise FileExistsError(f"{path} is there already: name another folder, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as file:
        Image.fromarray(mask).save(file, "PNG")
    return path
