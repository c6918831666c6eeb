"""Checkpoints that survive a kill at any moment and a full disk.

A generation is a set of files with their checksums, named in `checkpoints/manifest.json`, which is written last; the
generation before is kept. Reading takes the newest generation whose files are whole, and says when that was not the newest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubel.core import files
from hubel.core.errors import DamagedRun
from hubel.fitting import codec

KEPT = 2  # generations


@dataclass(frozen=True)
class Generation:
    """One complete checkpoint: its step, its trees by role ("state", "best", "chosen"), and what was skipped to find it."""

    step: int
    trees: dict[str, Any]
    notes: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of a run folder.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder)
    ...     checkpoints.write(100, {"state": {"weight": torch.ones(2)}})
    ...     print(checkpoints.read().step)
    100
    """

    def __init__(self, run_folder: Path | str):
        self.folder = Path(run_folder) / "checkpoints"
        self.manifest = self.folder / "manifest.json"

    def write(
        self, step: int, trees: dict[str, Any], *, keep: tuple[str, ...] = (), alone: bool = False
    ) -> None:
        """Add a generation at `step` with `trees` by role; the roles in `keep` are carried over from the newest generation.

        With `alone` the older generations are dropped, as those of another recipe.

        Raises `OSError` where the disk is full or read-only; the older generations are then untouched, and what was written of
        the new one is removed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._add(step, trees, [] if alone else self._generations(), keep)
        finally:
            with contextlib.suppress(OSError):
                self._remove_unnamed()

    def _add(
        self, step: int, trees: dict[str, Any], generations: list[dict[str, Any]], keep: tuple[str, ...]
    ) -> None:
        """Write the files of a generation, then the manifest that names them."""
        entry: dict[str, Any] = {"step": step, "files": {}}
        if generations:
            entry["files"] |= {role: f for role, f in generations[0]["files"].items() if role in keep}
        for role, tree in trees.items():
            content = codec.encode(tree)
            digest = hashlib.sha256(content).hexdigest()
            name = f"{role}-{step:08d}-{digest[:8]}.safetensors"
            files.write_bytes(self.folder / name, content)
            entry["files"][role] = {"name": name, "sha256": digest, "bytes": len(content)}
        generations = [entry, *[g for g in generations if g != entry]][:KEPT]
        files.write_json(self.manifest, {"format": 1, "generations": generations})

    def forget(self, newest: int) -> None:
        """Drop the `newest` generations: they were found damaged, and must not push out a whole one."""
        if newest:
            files.write_json(self.manifest, {"format": 1, "generations": self._generations()[newest:]})
            self._remove_unnamed()

    def read(self, roles: tuple[str, ...] = ("state",)) -> Generation:
        """The newest generation whose files of these `roles` are all whole. A role that it does not have is left out.

        Raises `DamagedRun` where there is none, with what was found wrong.
        """
        notes: list[str] = []
        for entry in self._generations():
            trees, wrong = {}, ""
            for role in roles:
                if role in entry["files"]:
                    trees[role], wrong = self._tree(entry["files"][role])
                    if wrong:
                        break
            if not wrong:
                return Generation(step=entry["step"], trees=trees, notes=tuple(notes))
            notes.append(
                f"the checkpoint of step {entry['step']} can not be used ({wrong}); the one before was taken"
            )
        if notes:
            raise DamagedRun(f"{self.folder}: no checkpoint is whole. " + " ".join(notes))
        raise DamagedRun(
            f"{self.folder} holds no checkpoint yet: the run ended before its first one. Start it again."
        )

    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self.manifest.exists()

    def has(self, role: str) -> bool:
        """Whether the newest generation names `role` (whole or not: reading shows that)."""
        generations = self._generations()
        return bool(generations) and role in generations[0]["files"]

    def _tree(self, entry: dict[str, Any]) -> tuple[Any, str]:
        path = self.folder / Path(entry["name"]).name  # a name from a stranger stays in this folder
        try:
            if files.sha256(path) != entry["sha256"]:
                size = path.stat().st_size
                return (
                    None,
                    f"{path.name}: {'truncated' if size < entry.get('bytes', 0) else 'changed'} ({size} of {entry.get('bytes')} bytes)",
                )
            return codec.decode(path), ""
        except OSError as error:
            return None, f"{path.name}: {error.strerror or error}"
        except ValueError as error:
            return None, str(error)

    def _generations(self) -> list[dict[str, Any]]:
        try:
            content = json.loads(self.manifest.read_text("utf-8"))
            generations = content["generations"]
            for entry in generations:
                int(entry["step"])
                for file in entry["files"].values():
                    if [type(file[key]) for key in ("name", "sha256", "bytes")] != [str, str, int]:
                        raise KeyError(f"a file of step {entry['step']}")
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedRun(
                f"{self.manifest} is damaged ({error}); the checkpoints beside it can not be trusted without it. "
                "Restore it from a copy, or fit again: hubel fit DATA --like RUN"
            ) from error
        return generations

    def _remove_unnamed(self) -> None:
        named = {f["name"] for entry in self._generations() for f in entry["files"].values()}
        for path in self.folder.glob("*.safetensors"):
            if path.name not in named:
                with contextlib.suppress(OSError):
                    path.unlink()
        files.sweep_temporaries(self.folder)
