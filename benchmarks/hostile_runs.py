"""Run folders that a stranger or a bad disk has changed, and arrays in memory that a user passes by mistake."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from hostile_files import Bomb, damaged

from hubel.fitting import codec

STRANGE_VALUES = (
    None, True, False, 0, -1, 1, 2, 10**9, -(10**12), 2**64, 10**400, 0.5, -0.0, 1e308, 1e-320, "", "x", "cuda", "auto", "os.system", "NaN",
    "hubel.nets.resnet", "hubel.fitting.run.Run", "hubel.nets.__builtins__", "float16", "object", "../../etc", "\0", "é" * 300, [], [[]],
    {}, [0], [None, 1], [10**9], {"is": "hubel.fitting.SGD"}, {"is": "os.system"}, {"is": "builtins.eval", "source": "1"}, {"name": "x"},
    {"is": "hubel.objectives.CrossEntropy", "num_outputs": 7},
)  # fmt: skip


def change_json(value: Any, chance: random.Random) -> Any:
    """A JSON value with one to three of its places changed, removed, doubled or exchanged."""
    value = json.loads(json.dumps(value))
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            break
        holder, key = chance.choice(places)
        how = chance.random()
        if how < 0.6:
            holder[key] = json.loads(json.dumps(chance.choice(STRANGE_VALUES)))
        elif how < 0.75:
            del holder[key]
        elif how < 0.9:
            other, name = chance.choice(places)
            if (isinstance(other, list) and name < len(other)) or (isinstance(other, dict) and name in other):
                holder[key] = json.loads(json.dumps(other[name]))
        elif isinstance(holder[key], int | float):
            holder[key] = holder[key] * chance.choice((-1, 2, 1000, 0.1))
        else:
            holder[key] = [holder[key]]
    return value


def _places(value: Any) -> Any:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(inside):
        yield value, key
        yield from _places(item)


def change_run(folder: Path, chance: random.Random, canary: Path, others: list[bytes]) -> Path:
    """Change one file of the run in `folder`; answers which."""
    which = chance.choice(
        ("run.json",) * 6
        + (
            "split.npz",
            "split.npz",
            "predictions.npz",
            "predictions.npz",
            "curves.jsonl",
            "manifest",
            "checkpoint",
            "checkpoint",
            "signed",
            "signed",
        )
    )
    path = folder / which
    if which == "manifest":
        path = folder / "checkpoints" / "manifest.json"
    if which in ("checkpoint", "signed"):
        path = chance.choice(sorted((folder / "checkpoints").glob("*.safetensors")))
    if not path.exists():  # an interrupted run has predicted nothing yet
        path.write_bytes(chance.choice(others))
        return path
    if which == "signed":
        return _signed(path, chance, canary)
    if (which == "run.json" and chance.random() < 0.85) or (which == "manifest" and chance.random() < 0.5):
        path.write_text(json.dumps(change_json(json.loads(path.read_text()), chance)))
    elif which.endswith(".npz") and chance.random() < 0.5:
        path.write_bytes(_strange_npz(path, chance, canary))
    elif chance.random() < 0.05:
        path.unlink()
        if chance.random() < 0.5:
            path.mkdir()
    else:
        path.write_bytes(damaged(path.read_bytes(), chance, others))
    return path


def _strange_npz(path: Path, chance: random.Random, canary: Path) -> bytes:
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files}
    name = chance.choice(sorted(content))
    old = content[name]
    content[name] = chance.choice(
        (
            old[::-1],
            old[:0],
            old[: len(old) // 2],
            np.concatenate([old, old]),
            old.astype("U9"),
            np.array(Bomb(canary)),
            np.array(3),
            np.full(old.shape, np.nan),
            np.full(old.shape, 2**40),
            np.full(old.shape, -1),
            old.reshape(*old.shape, 1),
            np.zeros((5, 5), np.complex64),
        )
    )
    if chance.random() < 0.2:
        del content[name]
    out = io.BytesIO()
    np.savez(out, **content)
    return out.getvalue()


def _signed(path: Path, chance: random.Random, canary: Path) -> Path:
    """A checkpoint with other content whose checksum agrees: what a stranger would make."""
    choice = chance.randrange(4)
    if choice == 0:
        content = pickle.dumps(Bomb(canary))
    elif choice == 1:
        content = safetensors.torch.save(
            {"weight": torch.zeros(3)},
            metadata={
                codec.FORMAT: chance.choice(
                    ("{}", "[]", '{"dict": {"a": 1}}', '{"tensor": "9", "order": null}', "[" * 3000)
                )
            },
        )
    else:
        content = codec.encode(_changed_tree(codec.decode(path), chance))
    path.write_bytes(content)
    manifest = path.parent / "manifest.json"
    about = json.loads(manifest.read_text())
    for generation in about["generations"]:
        for entry in generation["files"].values():
            if entry["name"] == path.name:
                entry |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest.write_text(json.dumps(about))
    return path


def _changed_tree(tree: Any, chance: random.Random) -> Any:
    places = [(holder, key) for holder, key in _places(tree)]
    strange = (
        None,
        1,
        -1,
        10**9,
        "x",
        [],
        {},
        True,
        torch.zeros(0),
        torch.zeros(3, 3),
        torch.full((5,), float("nan")),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(1, dtype=torch.int64),
    )
    for _ in range(chance.choice((1, 2))):
        holder, key = chance.choice(places)
        if chance.random() < 0.2:
            holder.pop(key, None) if isinstance(holder, dict) else None
        else:
            holder[key] = chance.choice(strange)
    return tree


def in_memory(chance: random.Random, num: int) -> Any:
    """An array (or something else) that a user might pass by mistake, of `num` examples or not."""
    shapes = (
        (num, 12, 12),
        (num, 12, 12, 3),
        (num, 3, 12, 12),
        (12, 12, 3),
        (12, 12),
        (num, 5),
        (num,),
        (),
        (0, 12, 12),
        (num, 0, 12),
        (num, 2, 2, 2, 2),
        (1, 1, 1, 1),
        (num, 144),
        (3, 40, 50),
        (num, 7, 5),
    )
    shape = chance.choice(shapes)
    types = (
        "u1",
        "i1",
        "<u2",
        ">u2",
        "i4",
        "i8",
        "u8",
        "f2",
        "f4",
        "f8",
        ">f8",
        "c8",
        "?",
        "O",
        "U3",
        "S3",
        "M8[s]",
        "m8[s]",
        "V4",
        "g",
    )
    dtype = np.dtype(chance.choice(types))
    values = np.random.default_rng(chance.randrange(2**32)).integers(0, 200, shape)
    how = chance.random()
    try:
        x: Any = values.astype(dtype)
    except (TypeError, ValueError):
        x = np.zeros(shape, dtype)
    if dtype.kind == "f" and x.size and how < 0.3:
        x.reshape(-1)[chance.randrange(x.size)] = chance.choice((np.nan, np.inf, 1e30))
    if how > 0.9:
        x = np.ma.masked_equal(x, x.flat[0]) if x.size and dtype.kind in "iuf" else x.tolist()
    elif how > 0.8 and x.ndim:
        x = x[::-1]
    elif how > 0.75:
        x = chance.choice(
            (
                None,
                3,
                "x",
                b"x",
                [],
                [[1], [1, 2]],
                {},
                {"x": 1},
                [None] * num,
                object(),
                range(num),
                [np.zeros((3, 3)), np.zeros((4, 4))],
            )
        )
    elif (
        how > 0.7
        and dtype.kind in "uif"
        and dtype.itemsize <= 8
        and dtype.isnative
        and dtype not in (np.dtype("u8"),)
    ):
        x = torch.from_numpy(np.ascontiguousarray(x))
    return x


def labels(chance: random.Random, num: int) -> Any:
    """Targets, mostly right."""
    return chance.choice(
        (
            np.arange(num) % 2,
            [str(k % 2) for k in range(num)],
            np.arange(num) % 2 == 0,
            np.arange(num) / 7,
            np.arange(num),
            np.zeros(num, int),
            None,
            [],
            np.arange(num + 1) % 2,
            np.eye(2)[np.arange(num) % 2],
            np.full(num, np.nan),
            [None] * num,
            np.array([{}] * num, dtype=object),
        )
    )


def copy_of(run: Path, folder: Path) -> Path:
    """A copy of a run folder."""
    shutil.copytree(run, folder)
    return folder
