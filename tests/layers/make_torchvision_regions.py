"""Regions and suppressed boxes as torchvision 0.29.1 answers, kept in torchvision_regions.npz.

Made by `python tests/layers/make_torchvision_regions.py` where torchvision is installed.
"""

from pathlib import Path

import numpy as np
import torch

KEPT = Path(__file__).with_name("torchvision_regions.npz")
CASES, SIZE, RATIOS = 9, (3, 2), (0, 1, 2, 3)  # ratio 0: as many places as cells
SCALES, THRESHOLDS = (1.0, 0.5, 0.0625), (0.3, 0.5, 0.7)
LISTS = 24


def regions(number):
    """Features, boxes, images and scale: boxes inside, outside, without size, of whole cells."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(1, 8, 2)
    scale = SCALES[number % 3]
    features = np.round(rng.normal(size=(2, 2, height, width)) * 256) / 256
    corner = (rng.random((6, 2)) * 1.4 - 0.2) * (width, height) / scale
    boxes = np.concatenate([corner, corner + rng.random((6, 2)) * (width, height) / scale], axis=1)
    boxes[0, 2:], boxes[1] = boxes[0, :2], boxes[1] + 40 / scale
    boxes[2] = np.round(boxes[2])
    return (
        torch.tensor(features),
        torch.tensor(np.round(boxes * 16) / 16),
        torch.tensor(rng.integers(0, 2, 6)),
        scale,
    )


def lists(number):
    """Boxes, scores, labels and threshold: whole pixels and not, many equal scores and few."""
    rng = np.random.default_rng(1000 + number)
    num = int(rng.integers(0, 400))
    corner = rng.random((num, 2)) * 60
    boxes = np.concatenate([corner, corner + rng.random((num, 2)) * 30 + 1], axis=1)
    boxes = np.round(boxes) if number % 2 else np.round(boxes * 64) / 64
    scores = rng.integers(0, (5, 1000)[number // 2 % 2], num)
    return (
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(rng.integers(0, 3, num)),
        THRESHOLDS[number % 3],
    )


def kept_regions(arrays, number):
    """`regions` as they are in the file."""
    features, boxes, images = (
        torch.tensor(arrays[f"{name}_{number}"]) for name in ("features", "boxes", "images")
    )
    return features.double(), boxes.double(), images.long(), SCALES[number % 3]


def kept_lists(arrays, number):
    """`lists` as they are in the file."""
    boxes, scores, labels = (
        torch.tensor(arrays[f"{name}_{number}"]) for name in ("list", "scores", "labels")
    )
    return boxes, scores.float(), labels.long(), THRESHOLDS[number % 3]


def weights(shape):
    """What the answer is multiplied with before its slope is taken."""
    return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64)).view(shape)


def slope(answer, features):
    """Answer, and its weighted sum's gradient with respect to the features."""
    features = features.clone().requires_grad_()
    value = answer(features)
    (value * weights(value.shape)).sum().backward()
    return value.detach().numpy(), features.grad.numpy()


def main():
    from torchvision.ops import batched_nms, nms, roi_align, roi_pool

    arrays = {}
    for number in range(CASES):
        features, boxes, images, scale = regions(number)
        for name, values in (
            ("features", features.float()),
            ("boxes", boxes.float()),
            ("images", images.char()),
        ):
            arrays[f"{name}_{number}"] = values.numpy()
        rows = torch.cat([images[:, None].double(), boxes], dim=1)
        for aligned in (False, True):
            for ratio in RATIOS:
                found = slope(
                    lambda x, r=rows, s=scale, q=ratio, a=aligned: roi_align(x, r, SIZE, s, q or -1, a),
                    features,
                )
                (
                    arrays[f"align_{number}_{int(aligned)}_{ratio}"],
                    arrays[f"align_slope_{number}_{int(aligned)}_{ratio}"],
                ) = found
        found = slope(lambda x, r=rows, s=scale: roi_pool(x, r, SIZE, s), features.relu())
        arrays[f"pool_{number}"], arrays[f"pool_slope_{number}"] = found
    for number in range(LISTS):
        boxes, scores, labels, threshold = lists(number)
        for name, values in (("list", boxes), ("scores", scores.short()), ("labels", labels.char())):
            arrays[f"{name}_{number}"] = values.numpy()
        arrays[f"nms_{number}"] = nms(boxes, scores, threshold).numpy().astype(np.int16)
        arrays[f"classes_{number}"] = batched_nms(boxes, scores, labels, threshold).numpy().astype(np.int16)
    np.savez_compressed(KEPT, **arrays)


if __name__ == "__main__":
    main()
