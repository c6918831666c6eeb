"""Random detections and what pycocotools 2.0.11 says of them, kept in pycocotools_cases.npz.

Made by `python tests/metrics/make_pycocotools_cases.py` where pycocotools is installed.
"""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KEPT = Path(__file__).with_name("pycocotools_cases.npz")
CASES = 200
WAYS = {"all": (None, 100), "small": ((0, 32**2), 100), "medium": ((32**2, 96**2), 100), "three": (None, 3)}


@dataclass(frozen=True)
class Case:
    predictions: list
    truths: list


def case(seed):
    """Few images and classes, boxes in quarters of a pixel or whole ones, many ties, duplicates, wrong classes and ignored truths."""
    rng = np.random.default_rng(seed)
    classes = rng.choice([0, 1, 3, 7, 12], int(rng.integers(1, 4)), replace=False)
    step, levels = float(rng.choice([0.25, 1, 4])), int(rng.choice([3, 1000]))
    predictions, truths = [], []
    for _ in range(int(rng.integers(1, 6))):
        num, extra = int(rng.choice([0, 1, 4, 9])), int(rng.choice([0, 2, 6]))
        boxes = boxes_at_random(rng, num, 110)
        labels, copies = rng.choice(classes, num), rng.integers(0, 4, num)
        near = np.repeat(boxes, copies, axis=0)
        near = near + rng.normal(size=near.shape) * rng.choice([0.5, 2, 6])
        right = rng.random(len(near)) < 0.85
        own = np.concatenate([near, boxes_at_random(rng, extra, 60)])
        said = np.concatenate(
            [
                np.where(right, np.repeat(labels, copies), rng.choice(classes, len(near))),
                rng.choice(classes, extra),
            ]
        )
        boxes, own = (np.round(b / step) * step for b in (boxes, own))
        own[:, 2:] = np.maximum(own[:, 2:], own[:, :2] + 1)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        scores = rng.integers(0, levels, len(own)) / levels
        predictions.append({"boxes": own, "labels": said, "scores": scores})
        truths.append({"boxes": boxes, "labels": labels, "ignore": rng.random(num) < 0.2})
    return Case(predictions, truths)


def boxes_at_random(rng, num, largest):
    corner, side = rng.random((num, 2)) * 100, 4 + rng.random((num, 2)) ** 2 * largest
    return np.concatenate([corner, corner + side], axis=1)


def pycocotools_says(predictions, truths, area, limit):
    """Mean average precision, those by threshold [10], and those by class in the order of the labels; None where nothing is predicted."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(images, **more):
        for number, image in enumerate(images):
            for i, (x0, y0, x1, y1) in enumerate(image["boxes"].tolist()):
                row = {"image_id": number + 1, "category_id": int(image["labels"][i])}
                row |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
                yield row | {key: read(image[name][i]) for key, (name, read) in more.items()}

    annotations = list(rows(truths, iscrowd=("ignore", int)))
    for number, row in enumerate(annotations):
        row["id"] = number + 1  # the annotation of id 0 would never be found
    found = list(rows(predictions, score=("scores", float)))
    labels = sorted({row["category_id"] for row in annotations + found})
    if not found:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "info": {},
            "images": [{"id": i + 1} for i in range(len(truths))],
            "annotations": annotations,
            "categories": [{"id": label, "name": str(label)} for label in labels],
        }
        data.createIndex()
        judge = COCOeval(data, data.loadRes(found), "bbox")
        judge.params.maxDets = [limit]
        judge.params.areaRng, judge.params.areaRngLbl = [list(area or (0, 1e10))], ["all"]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 0]  # threshold, recall, class; -1 where there is no truth
    parts = [precision, *precision, *np.moveaxis(precision, 2, 0)]
    return [float(part[part > -1].mean()) if (part > -1).any() else float("nan") for part in parts]


def kept():
    """The cases of the file, and by way of counting what pycocotools said."""
    arrays = dict(np.load(KEPT, allow_pickle=False))
    for number in range(CASES):
        sides = []
        for side, more in (("found", "scores"), ("true", "ignore")):
            own = arrays[f"{side}_case"] == number
            boxes, labels = arrays[f"{side}_boxes"][own] / 4, arrays[f"{side}_labels"][own]
            third = arrays[f"{side}_{more}"][own]
            third = third / arrays["levels"][number] if more == "scores" else third
            images = arrays[f"{side}_image"][own]
            sides.append(
                [
                    {"boxes": boxes[images == i], "labels": labels[images == i], more: third[images == i]}
                    for i in range(int(arrays["images"][number]))
                ]
            )
        said = {}
        for way in WAYS:
            begin, end = arrays[f"{way}_edges"][number : number + 2]
            said[way] = arrays[way][begin:end]
        yield Case(*sides), said


def main():
    arrays = {"images": [], "levels": []}
    arrays |= {
        f"{side}_{what}": [] for side in ("found", "true") for what in ("case", "image", "boxes", "labels")
    }
    arrays |= {"found_scores": [], "true_ignore": []}
    arrays |= {way: [] for way in WAYS} | {f"{way}_edges": [0] for way in WAYS}
    for number in range(CASES):
        one = case(number)
        scores = np.concatenate([image["scores"] for image in one.predictions])
        levels = 3 if np.allclose(scores * 3, np.round(scores * 3)) else 1000
        arrays["images"].append(len(one.truths))
        arrays["levels"].append(levels)
        for side, images in (("found", one.predictions), ("true", one.truths)):
            for i, image in enumerate(images):
                arrays[f"{side}_case"] += [number] * len(image["boxes"])
                arrays[f"{side}_image"] += [i] * len(image["boxes"])
                arrays[f"{side}_boxes"] += np.round(image["boxes"] * 4).astype(int).tolist()
                arrays[f"{side}_labels"] += image["labels"].tolist()
        arrays["found_scores"] += np.round(scores * levels).astype(int).tolist()
        arrays["true_ignore"] += [bool(g) for image in one.truths for g in image["ignore"]]
        for way, (area, limit) in WAYS.items():
            arrays[way] += pycocotools_says(one.predictions, one.truths, area, limit) or []
            arrays[f"{way}_edges"].append(len(arrays[way]))
    small = {
        name: np.array(values, float if name in WAYS else np.int16 if "edges" not in name else np.int32)
        for name, values in arrays.items()
    }
    np.savez_compressed(KEPT, **small)


if __name__ == "__main__":
    main()
