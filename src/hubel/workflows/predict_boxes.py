"""What a detector finds on new pictures of any size: in tiles of the size that it was fitted on, put together over their seams."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hubel import data as hubel_data
from hubel.core import files
from hubel.core.boxes import merge
from hubel.core.errors import UnreadableData
from hubel.data.archives import mapped_npy
from hubel.data.box_writing import FORMATS, BoxFormat, file_name, write_boxes
from hubel.data.boxes import CLASS, objects_of
from hubel.data.images import strict_libraries
from hubel.data.prediction_input import ARRAYS
from hubel.data.reading import pixels_of
from hubel.data.sizes import fit_size, unfit_boxes
from hubel.data.tiles import corners_of, cut_pixels, mean_of
from hubel.fitting import Ensemble, Run
from hubel.objectives import Detection

SCORE = 5  # column of detections
AT_ONCE = 2**24  # values of tiles that are asked together
FOLDERS = ("yolo", "voc")  # formats with a file a picture, called as the picture is
SHARE = 4  # of a tile, the overlap where the reading does not say one


def finds_objects(run: Run | Ensemble) -> bool:
    """Whether a network was fitted to boxes."""
    return isinstance(run.objective, Detection)


def predict_boxes(
    run: Run | Ensemble,
    paths: Sequence[Path],
    *,
    reading: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    out: Path | None = None,
    format: BoxFormat | None = None,
    pictures: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """An answer a picture: `{"file", "objects": [{"class", "score", "box": [x0, y0, x1, y1]}, …]}`, the best first, boxes in pixels of the whole
    picture from its upper left corner, objects with a score of `threshold` or more (that of the run, unless given).

    A picture larger than those of the fit is cut into tiles that overlap; an object that several of them see is one answer. With `out` all
    answers are written into this file or folder when the last is known, if there is one (see `hubel.data.write_boxes` for the formats), in which a file names the
    pictures by the way that leads to them from its folder; with `pictures` each picture with its boxes goes into this folder, as PNG. Folders are
    made when there is something to put into them. A file that can not be read is answered by `{"file", "unreadable": why}`.

    Raises `ValueError` for ensembles, a threshold that is no score, an unknown format, and pictures that would be written as one;
    `FileExistsError` for a file that is there already, such as the labels of a person.
    """
    if isinstance(run, Ensemble):
        raise ValueError(
            f"{run.folder} is an ensemble; boxes are answered by one run: name the folder of a member"
        )
    objective = run.objective
    assert isinstance(objective, Detection)
    least = objective.threshold if threshold is None else float(threshold)
    if not 0 <= least <= 1:
        raise ValueError(f"threshold={threshold!r}; expected a score from 0 to 1")
    classes = objective.classes or tuple(map(str, range(objective.num_outputs)))
    if out is not None:
        format = _format(out, format)
        _refuse_twice(paths, format)
    elif format is not None:
        raise ValueError(
            f"format={format!r} says how boxes are written into a file, but none is named: name it, out= (--out)"
        )
    drawn = {} if pictures is None else _drawn(paths, pictures)
    reading = run.reading if reading is None else reading
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    found: list[dict[str, Any]] = []
    for path in paths:
        try:
            examples = pictures_in(path, reading)
        except ValueError as error:
            yield {"file": str(path), "objects": [], "unreadable": str(error)}
            continue
        for row, pixels in enumerate(examples):
            name = str(path) if len(examples) == 1 else f"{path}[{row}]"
            rows = found_in(run, pixels, reading, least)
            if path in drawn:
                from hubel.show.boxes import marked

                target = (
                    drawn[path] if len(examples) == 1 else drawn[path].with_stem(f"{drawn[path].stem}-{row}")
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                with files.replacing(target) as file:
                    marked(pixels, rows, classes).save(file, "PNG")
            names.append(name)
            sizes.append((pixels.shape[1], pixels.shape[2]))
            found.append(
                {"boxes": rows[:, :4], "labels": rows[:, CLASS].astype(np.int64), "scores": rows[:, SCORE]}
            )
            yield {
                "file": name,
                "objects": [
                    {
                        "class": classes[int(one[CLASS])],
                        "score": round(float(one[SCORE]), 4),
                        "box": [round(float(v), 2) for v in one[:4]],
                    }
                    for one in rows
                ],
            }
    if out is not None and names:
        if format not in FOLDERS:
            names = [_from(out.parent, name) for name in names]
        write_boxes(out, found, names=names, sizes=sizes, classes=classes, format=format)


def found_in(run: Run, pixels: np.ndarray, reading: Mapping[str, Any], threshold: float) -> np.ndarray:
    """The objects [m, 6] on a picture [C, H, W] of any size, (x0, y0, x1, y1, class, score) in its pixels, the best first."""
    tile = (int(reading["shape"][-2]), int(reading["shape"][-1]))
    size = (pixels.shape[1], pixels.shape[2])
    about = reading.get("boxes") or {}
    if about.get("resized") and size != tile:
        rows = _asked(run, fit_size(pixels, tile, reading["resize"])[None], threshold)[0]
        return unfit_boxes(rows, size, tile, reading["resize"])
    overlap = int(about.get("overlap") or 0) or min(tile) // SHARE
    corners = corners_of(size, tile, min(overlap, min(tile) - 1))
    mean, together = mean_of(pixels), max(1, AT_ONCE // (len(pixels) * tile[0] * tile[1]))
    boxes, tiles = [np.zeros((0, 6), np.float32)], [np.zeros(0, np.int64)]
    for first in range(0, len(corners), together):
        part = corners[first : first + together]
        inputs = np.stack([cut_pixels(pixels, corner, tile, mean) for corner in part])
        for place, (rows, (y, x)) in enumerate(
            zip(_asked(run, inputs, threshold), part, strict=True), start=first
        ):
            moved = rows + np.array([x, y, x, y, 0, 0], np.float32)
            moved[:, :4] = np.clip(moved[:, :4], 0, np.array([size[1], size[0]] * 2, np.float32))
            kept = moved[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])]
            boxes.append(kept)
            tiles.append(np.full(len(kept), place))
    rows, which = np.concatenate(boxes), np.concatenate(tiles)
    if len(corners) == 1 or not len(rows):
        return rows
    places = [(x, y, min(x + tile[1], size[1]), min(y + tile[0], size[0])) for y, x in corners]
    given = torch.from_numpy(rows)
    around, whose = merge(
        given[:, :4],
        given[:, SCORE],
        torch.from_numpy(which),
        torch.tensor(places, dtype=torch.float32),
        labels=given[:, CLASS].long(),
    )
    merged = given[whose].clone()
    merged[:, :4] = around
    return merged.numpy()


def _asked(run: Run, inputs: np.ndarray, threshold: float) -> list[np.ndarray]:
    """The objects [m, 6] of each of pictures [n, C, H, W] as they were read."""
    rows = [objects_of(picture) for picture in run.predict(inputs).values]
    return [found[found[:, SCORE] >= threshold].astype(np.float32) for found in rows]


def tile_with(
    run: Run, pixels: np.ndarray, reading: Mapping[str, Any], kind: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Of a picture [C, H, W] larger than those of the fit the tile about its surest object (of the class `kind`, where one is named), and
    the corner (y, x) of the tile; a smaller one is padded.

    Raises `ValueError` where nothing is found, with any score.
    """
    tile, size = (int(reading["shape"][-2]), int(reading["shape"][-1])), (pixels.shape[1], pixels.shape[2])
    corner = (0, 0)
    if size[0] > tile[0] or size[1] > tile[1]:
        rows = found_in(run, pixels, reading, 0.0)
        rows = rows if kind is None else rows[rows[:, CLASS] == kind]
        if not len(rows):
            raise ValueError(
                "nothing is found on it, be it with a low score: name a part of it, as a file of its own"
            )
        x, y = (rows[0, :2] + rows[0, 2:4]) / 2
        corner = (_within(float(y), tile[0], size[0]), _within(float(x), tile[1], size[1]))
    return cut_pixels(pixels, corner, tile, mean_of(pixels)), corner


def _within(middle: float, length: int, side: int) -> int:
    """Where a stretch of this `length` about `middle` begins, so that it lies within a side.

    >>> _within(50.0, 20, 100), _within(3.0, 20, 100), _within(99.0, 20, 100), _within(3.0, 20, 10)
    (40, 0, 80, 0)
    """
    return max(0, min(round(middle - length / 2), side - length))


def pictures_in(path: Path, reading: Mapping[str, Any]) -> np.ndarray | list[np.ndarray]:
    """The pictures [C, H, W] of a file: one of an image file, all of an array file."""
    if path.suffix.lower() in ARRAYS and not _is_one_picture(path, reading):
        rows = hubel_data.read_like(path, reading)
        assert isinstance(rows, np.ndarray)
        return rows
    with strict_libraries():
        try:
            return [pixels_of(path, reading)]
        except UnreadableData as error:
            raise UnreadableData(f"{path}: {error}") from error


def _is_one_picture(path: Path, reading: Mapping[str, Any]) -> bool:
    """Whether an array file holds one picture [C, H, W] or [H, W] of another size than the pictures of the fit, rather than many of that size."""
    if path.suffix.lower() != ".npy":
        return False
    shape, (channels, *tile) = mapped_npy(path).shape, reading["shape"]
    single = len(shape) == 2 or (len(shape) == 3 and channels in (shape[0], shape[2]))
    return single and list(shape[-2:]) != list(tile)


def _format(out: Path, format: BoxFormat | None) -> BoxFormat:
    """How boxes are written into a file or folder; refused now, not after long work."""
    if format is None:
        format = {".csv": "csv", ".json": "coco"}.get(out.suffix.lower())  # type: ignore[assignment]
    if format not in FORMATS:
        raise ValueError(
            f"it is not clear in which format boxes are to be written into {out}: name it, format= (--format), one of {', '.join(FORMATS)}; "
            ".csv means a table and .json COCO"
        )
    if format in FOLDERS:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileExistsError(
                f"{out} is there already and not empty: {format} is written into a folder of its own, so that no labels are lost; name another"
            )
        files.refuse_unwritable(out)
        return format
    if out.is_dir():
        raise ValueError(
            f"{out} is a folder, but {format} is written into one file: name it, {out / 'boxes.json'}"
        )
    if out.exists():
        raise FileExistsError(
            f"{out} is there already, and may hold labels of a person: name another file, or remove it"
        )
    files.refuse_unwritable(out.parent)
    return format


def _refuse_twice(paths: Sequence[Path], format: BoxFormat) -> None:
    """Raise `ValueError` for pictures that would be written as one, before anything is asked of the network."""
    names: dict[str, Path] = {}
    for path in paths:
        name = file_name(str(path), format) if format in FOLDERS else str(path)
        if (other := names.get(name)) is not None:
            twice = "is named twice" if other == path else f"and {other} would both be written as {name}"
            raise ValueError(
                f"{path} {twice}: name every picture once"
                + (", or choose a format with one file for all (csv, coco)" if other != path else "")
            )
        names[name] = path


def _drawn(paths: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Where the drawing of every picture goes; nothing that is there already is written over."""
    targets = {path: folder / f"{path.stem}.png" for path in paths}
    if len(set(targets.values())) < len(targets):
        raise ValueError(
            "two pictures have the same name: ask for them one after the other, with folders of their own"
        )
    if there := [target for target in targets.values() if target.exists()]:
        raise FileExistsError(
            f"{len(there):,} of {len(targets):,} drawings are there already, such as {there[0]}: name another folder, or remove them"
        )
    files.refuse_unwritable(folder)
    return targets


def _from(folder: Path, name: str) -> str:
    """The way to a file from a folder, or its whole path where none leads there (another drive).

    >>> _from(Path("runs/answers"), "runs/new/a.png")
    '../new/a.png'
    """
    try:
        return Path(os.path.relpath(name, folder)).as_posix()
    except ValueError:
        return Path(name).absolute().as_posix()
