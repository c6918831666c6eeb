"""Published weights from the Hugging Face hub: fetched once and only on request, checked ever after, never unpickled.

    hf:OWNER/REPO                   model.safetensors of the repository, or pytorch_model.bin where that is all there is
    hf:OWNER/REPO/FILE              this file
    hf:OWNER/REPO#sha256=HEX        either, pinned: anything else under that name is refused

Files are kept in the user's cache with their SHA-256, recorded when they were downloaded; a file that has changed since is refused. What
config.json and preprocessor_config.json say of pictures and labels (in the words of timm or of transformers) goes with the weights.
`$HF_ENDPOINT` names another server, as everywhere.
"""

from __future__ import annotations

import json
import math
import os
import re
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubel.core import files
from hubel.data.downloads import fetch

PREFIX = "hf:"
ENDPOINT = "https://huggingface.co"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
ABOUT = ("config.json", "preprocessor_config.json")
SUMS = "sums.json"
PATTERN = re.compile(
    r"hf:(?P<owner>\w[\w.-]*)/(?P<repo>\w[\w.-]*)(?:/(?P<file>\w[\w./-]*))?(?:#sha256=(?P<sha256>[0-9a-fA-F]{64}))?"
)


@dataclass(frozen=True, kw_only=True)
class FromHub:
    """A file of weights on this machine, its address, and what its repository says of it: fields of `hubel.nets.weights.Source`."""

    path: Path
    address: str
    about: Mapping[str, Any] = field(default_factory=dict)


def from_hub(weights: str, *, download: bool) -> FromHub:
    """The file behind "hf:…"; downloaded with `download` where it is not on this machine yet.

    Raises `ValueError` where the form is another, where it is not here and may not be downloaded, where the repository has no such file,
    and where it is not the file that was pinned or recorded; `ConnectionError` where it can not be downloaded.
    """
    match = PATTERN.fullmatch(weights)
    if match is None or ".." in weights or not (match["file"] or WEIGHTS[0]).endswith(SUFFIXES):
        raise ValueError(
            f"weights={weights!r} is not understood; expected hf:OWNER/REPO or hf:OWNER/REPO/FILE (with the ending {', '.join(SUFFIXES)}), "
            "with #sha256= and 64 hexadecimal digits behind it to pin the file"
        )
    repository = f"{match['owner']}/{match['repo']}"
    folder = files.user_cache() / "weights" / match["owner"] / match["repo"]
    wanted = (match["file"],) if match["file"] else WEIGHTS
    pinned = match["sha256"].lower() if match["sha256"] else None
    name = next((n for n in wanted if (folder / n).is_file() and n in _sums(folder)), None)
    if name is None:
        if not download:
            raise ValueError(
                f"the weights {weights} are not on this machine yet: say download=True (--download) to fetch them from {_endpoint()}"
            )
        name = _download(repository, folder, wanted, pinned)
    recorded = _sums(folder)[name]
    for expected, what in ((recorded, "recorded when it was downloaded"), (pinned, "asked for")):
        if expected is not None and files.sha256(folder / name) != expected:
            raise ValueError(
                f"{folder / name} does not have the SHA-256 that was {what} ({expected}): it was changed, or is another version. "
                "Remove it to download it again"
            )
    return FromHub(path=folder / name, address=f"{PREFIX}{repository}/{name}", about=_about(folder))


def _download(repository: str, folder: Path, wanted: tuple[str, ...], pinned: str | None) -> str:
    """Fetch the first of `wanted` that the repository has, and what it says of itself."""
    for name in wanted:
        if _fetched(repository, folder, name, pinned):
            for other in ABOUT:
                _fetched(repository, folder, other, None)
            return name
    raise ValueError(
        f"{_endpoint()}/{repository} has no {' or '.join(wanted)}, or does not let it be read: name the file, hf:{repository}/FILE"
    )


def _fetched(repository: str, folder: Path, name: str, sha256: str | None) -> bool:
    """Whether the repository has the file, which is then here, with its SHA-256 recorded."""
    try:
        found = fetch(f"{_endpoint()}/{repository}/resolve/main/{name}", folder / name, sha256)
    except ConnectionError as error:
        cause = error.__cause__
        if isinstance(cause, urllib.error.HTTPError) and cause.code in (401, 403, 404):
            return False
        raise
    files.write_json(folder / SUMS, _sums(folder) | {name: found})
    return True


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def _sums(folder: Path) -> dict[str, str]:
    found = _json(folder / SUMS)
    return {str(name): str(value) for name, value in found.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _about(folder: Path) -> dict[str, Any]:
    """Size, crop, mean, std and labels, as far as the repository says them in a form that is known."""
    config, pictures = (_json(folder / name) for name in ABOUT)
    timm = config.get("pretrained_cfg")
    timm = timm if isinstance(timm, dict) else {}
    size = _pair(timm.get("input_size"), skip=1) or _pair(
        _sides(pictures.get("crop_size") or pictures.get("size"))
    )
    shortest = pictures.get("size")
    shortest = shortest.get("shortest_edge") if isinstance(shortest, dict) else None
    crop = timm.get("crop_pct", pictures.get("crop_pct"))
    if crop is None and size and isinstance(shortest, int) and shortest > 0:
        crop = size[0] / shortest
    found = {
        "size": size,
        "crop": float(crop) if isinstance(crop, (int, float)) and 0 < crop <= 1 else None,
        "mean": _numbers(timm.get("mean") or pictures.get("image_mean")),
        "std": _numbers(timm.get("std") or pictures.get("image_std")),
        "labels": _labels(config),
    }
    return {name: value for name, value in found.items() if value is not None}


def _sides(value: Any) -> Any:
    if isinstance(value, dict):
        return [value.get("height"), value.get("width")]
    return [value, value]


def _pair(value: Any, skip: int = 0) -> tuple[int, int] | None:
    sides = value[skip:] if isinstance(value, list) else []
    return (
        (sides[0], sides[1]) if len(sides) == 2 and all(isinstance(n, int) and n > 0 for n in sides) else None
    )


def _numbers(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not value:
        return None
    numbers = [float(v) for v in value if isinstance(v, (int, float)) and math.isfinite(v)]
    return tuple(numbers) if len(numbers) == len(value) else None


def _labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """`id2label` of transformers, or `label_names` of timm."""
    named = config.get("id2label")
    if isinstance(named, dict) and all(str(k).isdigit() for k in named):
        ordered = [str(named[k]) for k in sorted(named, key=int)]
        if not all(re.fullmatch(r"LABEL_\d+", name) for name in ordered):
            return tuple(ordered)
    names = config.get("label_names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None
