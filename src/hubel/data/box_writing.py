"""Boxes into files: COCO, YOLO, VOC, a table, and predictions for Label Studio, which a person then corrects there.

Boxes are in pixels (x0, y0, x1, y1) of the whole picture. Scores are written where the format has a place for them (COCO, the table, Label Studio).
What is written is read again as the same boxes: to 1e-6 of a side in YOLO and Label Studio, exactly in the others up to three decimals.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from xml.sax.saxutils import escape

import numpy as np

from hubel.core import files
from hubel.data.boxes import CLASS, IGNORED, NO_OBJECT
from hubel.data.images import SUFFIXES

BoxFormat = Literal["coco", "yolo", "voc", "csv", "label-studio"]
FORMATS: tuple[BoxFormat, ...] = ("coco", "yolo", "voc", "csv", "label-studio")
Found = tuple[str, tuple[int, int], list[tuple[list[float], int, float | None, bool]]]


def box_mappings(boxes: Any, classes: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Boxes [N, M, 6] as one mapping a picture: `boxes` [m, 4], `labels` [m] (names, where `classes` are given) and `ignore` [m].

    >>> box_mappings(np.array([[[1, 2, 5, 6, 0, 0], [0, 0, 0, 0, -1, 0]]]), ("star",))[0]["labels"].tolist()
    ['star']
    """
    found = []
    for picture in np.asarray(boxes):
        rows = picture[picture[:, CLASS] != NO_OBJECT]
        numbers = rows[:, CLASS].astype(np.int64)
        labels = numbers if classes is None else np.asarray(classes)[numbers]
        found.append({"boxes": rows[:, :4], "labels": labels, "ignore": rows[:, IGNORED] > 0})
    return found


def write_boxes(
    path: str | Path,
    found: Sequence[Mapping[str, Any]],
    *,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    classes: Sequence[str],
    format: BoxFormat | None = None,
) -> None:
    """Write one mapping a picture (`boxes` [m, 4], `labels` [m] as numbers or names, where there are some `scores` [m] and `ignore` [m]) of pictures
    with these `names` and `sizes` (H, W).

    "coco", "csv" and "label-studio" write one file; "yolo" and "voc" a folder with a file a picture. Without a `format` `.csv` means a table and
    `.json` COCO.

    Raises `ValueError` for an unknown format, labels that are no classes, and what does not have one entry a picture.
    """
    path = Path(path)
    if format is None:
        format = {".csv": "csv", ".json": "coco"}.get(path.suffix.lower())  # type: ignore[assignment]
    if format not in FORMATS:
        raise ValueError(f"format={format!r} for {path}; expected one of {', '.join(FORMATS)}")
    if not len(found) == len(names) == len(sizes):
        raise ValueError(
            f"there are {len(found)} mappings, {len(names)} names and {len(sizes)} sizes: expected one each a picture"
        )
    if len(set(names)) < len(names):
        raise ValueError("a name of a picture occurs twice; expected one mapping with all boxes of a picture")
    pictures = [
        (str(name), (int(size[0]), int(size[1])), _rows(entry, classes, str(name)))
        for entry, name, size in zip(found, names, sizes, strict=True)
    ]
    if format in ("yolo", "voc"):
        write = _yolo if format == "yolo" else _voc
        texts = write(pictures, list(map(str, classes)))
        for name, text in texts.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_text(path / name, text)
        return
    write = {"coco": _coco, "csv": _csv, "label-studio": _label_studio}[format]
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, write(pictures, list(map(str, classes))))


def label_studio_config(classes: Sequence[str]) -> str:
    """The labelling configuration under which Label Studio shows predictions of these classes.

    >>> label_studio_config(["star"]).splitlines()[3].strip()
    '<Label value="star"/>'
    """
    labels = "\n".join(f"    <Label value={_quoted(name)}/>" for name in classes)
    return f'<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n{labels}\n  </RectangleLabels>\n</View>\n'


def _rows(
    entry: Mapping[str, Any], classes: Sequence[str], name: str
) -> list[tuple[list[float], int, float | None, bool]]:
    boxes = np.asarray(entry["boxes"], np.float64).reshape(-1, 4)
    labels = np.asarray(entry["labels"]).tolist()
    place = {str(label): k for k, label in enumerate(classes)}
    numbers = [place.get(label, -1) if isinstance(label, str) else int(label) for label in labels]
    if any(not 0 <= k < len(classes) for k in numbers):
        wrong = next(label for label, k in zip(labels, numbers, strict=True) if not 0 <= k < len(classes))
        raise ValueError(
            f"{name}: the label {wrong!r} is none of the {len(classes)} classes ({', '.join(map(str, classes[:10]))})"
        )
    scores = entry.get("scores")
    scores = [None] * len(boxes) if scores is None else np.asarray(scores, np.float64).tolist()
    ignore = entry.get("ignore")
    ignore = [False] * len(boxes) if ignore is None else np.asarray(ignore).astype(bool).tolist()
    if not len(boxes) == len(numbers) == len(scores) == len(ignore):
        raise ValueError(
            f"{name} has {len(boxes)} boxes, {len(numbers)} labels, {len(scores)} scores and {len(ignore)} of ignore: expected as many of each"
        )
    return list(zip(boxes.tolist(), numbers, scores, ignore, strict=True))


def _short(value: float, digits: int = 3) -> float:
    return int(value) if value == round(value) else round(value, digits)


def _coco(pictures: Sequence[Found], classes: Sequence[str]) -> str:
    annotations = []
    for number, (_, _, rows) in enumerate(pictures, start=1):
        for (x0, y0, x1, y1), kind, score, ignored in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": [_short(v) for v in (x0, y0, x1 - x0, y1 - y0)],
                    "area": _short((x1 - x0) * (y1 - y0)),
                    "iscrowd": int(ignored),
                    **({} if score is None else {"score": round(score, 6)}),
                }
            )
    images = [
        {"id": k, "file_name": name, "width": size[1], "height": size[0]}
        for k, (name, size, _) in enumerate(pictures, start=1)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, start=1)]
    return (
        json.dumps({"images": images, "annotations": annotations, "categories": categories}, indent=1) + "\n"
    )


def _csv(pictures: Sequence[Found], classes: Sequence[str]) -> str:
    scored = any(score is not None for _, _, rows in pictures for _, _, score, _ in rows)
    ignored = any(row[3] for _, _, rows in pictures for row in rows)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    more = [*(["score"] if scored else []), *(["ignore"] if ignored else [])]
    table.writerow(["image_path", "xmin", "ymin", "xmax", "ymax", "label", *more])
    for name, _, rows in pictures:
        for box, kind, score, ignore in rows:
            beside = [
                *([round(score, 6) if score is not None else ""] if scored else []),
                *([int(ignore)] if ignored else []),
            ]
            table.writerow([name, *(_short(v) for v in box), classes[kind], *beside])
        if not rows:
            table.writerow([name, *[""] * (5 + len(more))])
    return text.getvalue()


def _yolo(pictures: Sequence[Found], classes: Sequence[str]) -> dict[str, str]:
    texts = {}
    for name, (height, width), rows in pictures:
        lines = [
            f"{kind} {(x0 + x1) / 2 / width:.8f} {(y0 + y1) / 2 / height:.8f} {(x1 - x0) / width:.8f} {(y1 - y0) / height:.8f}\n"
            for (x0, y0, x1, y1), kind, _, ignored in rows
            if not ignored
        ]
        texts[file_name(name, "yolo")] = "".join(lines)
    _refuse_same(texts, pictures, "YOLO")
    names = "".join(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for k, name in enumerate(classes))
    texts["data.yaml"] = f"names:\n{names}"
    return texts


def file_name(name: str, format: BoxFormat) -> str:
    """What the file with the boxes of the picture `name` is called in a format with a file a picture.

    >>> file_name("images/night 1/a.fits.gz", "yolo"), file_name("images/night 1/a.fits.gz", "voc")
    ('labels/night 1/a.txt', 'a.xml')
    """
    if format == "yolo":
        return f"labels/{_stem(name, whole=True)}.txt"
    return f"{_stem(name, whole=False)}.xml"


def _stem(name: str, *, whole: bool) -> str:
    """A picture's name without its ending, below a folder `images` where it is in one; its last part alone where it leads elsewhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    suffix = max((end for end in SUFFIXES if path.name.lower().endswith(end)), key=len, default="")
    last = path.name[: len(path.name) - len(suffix)]
    if not whole or path.is_absolute() or ".." in path.parts:
        return last
    parts = path.parts[1:] if path.parts[0] == "images" else path.parts
    return str(PurePosixPath(*parts[:-1], last))


def _refuse_same(texts: Mapping[str, str], pictures: Sequence[Found], format: str) -> None:
    if len({name for name in texts if name != "data.yaml"}) < len(pictures):
        raise ValueError(
            f"{format} has a file a picture, called as the picture is, and two of these would have the same name: choose another format"
        )


def _voc(pictures: Sequence[Found], classes: Sequence[str]) -> dict[str, str]:
    texts = {}
    for name, (height, width), rows in pictures:
        objects = "".join(
            f"  <object>\n    <name>{escape(classes[kind])}</name>\n    <difficult>{int(ignored)}</difficult>\n    <bndbox>"
            f"<xmin>{_short(x0 + 1)}</xmin><ymin>{_short(y0 + 1)}</ymin><xmax>{_short(x1)}</xmax><ymax>{_short(y1)}</ymax></bndbox>\n  </object>\n"
            for (x0, y0, x1, y1), kind, _, ignored in rows
        )
        last = PurePosixPath(name).name
        texts[file_name(name, "voc")] = (
            f"<annotation>\n  <filename>{escape(last)}</filename>\n  <size><width>{width}</width><height>{height}</height></size>\n{objects}</annotation>\n"
        )
    _refuse_same(texts, pictures, "VOC")
    return texts


def _label_studio(pictures: Sequence[Found], classes: Sequence[str]) -> str:
    tasks = []
    for name, (height, width), rows in pictures:
        result = [
            {
                "id": f"box{k}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                **({} if score is None else {"score": round(score, 6)}),
                "value": {
                    "x": round(100 * x0 / width, 8),
                    "y": round(100 * y0 / height, 8),
                    "width": round(100 * (x1 - x0) / width, 8),
                    "height": round(100 * (y1 - y0) / height, 8),
                    "rotation": 0,
                    "rectanglelabels": [classes[kind]],
                },
            }
            for k, ((x0, y0, x1, y1), kind, score, ignored) in enumerate(rows)
            if not ignored
        ]
        given = [score for _, _, score, _ in rows if score is not None]
        prediction: dict[str, Any] = {"model_version": "hubel", "result": result}
        if given:
            prediction["score"] = round(float(np.mean(given)), 6)
        tasks.append({"data": {"image": name}, "predictions": [prediction]})
    return json.dumps(tasks, indent=1) + "\n"


def _quoted(text: str) -> str:
    return '"' + escape(text, {'"': "&quot;"}) + '"'
