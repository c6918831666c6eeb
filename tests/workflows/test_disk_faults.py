"""The disk fills, or becomes read-only, at any write of a whole run: a clear error that names the file, older state intact."""

import builtins
import errno
import io
import os
import subprocess

import pytest
import torch
from small_runs import quick, same_weights, table
from torch import nn

import hubel
from hubel.core import files


class Disk:
    """Every open for writing, write, flush to disk and rename below `folder` is counted; from number `fails_at` on they fail."""

    def __init__(self, monkeypatch, folder, code=errno.ENOSPC):
        self.count, self.fails_at, self.code, self.folder = 0, None, code, str(folder)
        disk, plain_open, plain_fsync, plain_replace = self, builtins.open, os.fsync, os.replace

        class File(io.FileIO):
            def write(self, content):
                disk.tick(None)  # as a real write: without a name
                return super().write(content)

        def opened(path, mode="r", *rest, **named):
            if not str(path).startswith(disk.folder) or mode in ("r", "rb"):
                return plain_open(path, mode, *rest, **named)
            disk.tick(path)
            raw = File(path, mode.replace("b", ""))
            return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

        def flushed(descriptor):
            disk.tick(None)
            plain_fsync(descriptor)

        def replaced(old, new, **named):
            if str(new).startswith(disk.folder):
                disk.tick(old)
            plain_replace(old, new, **named)

        monkeypatch.setattr(files, "open", opened, raising=False)
        monkeypatch.setattr(os, "fsync", flushed)
        monkeypatch.setattr(os, "replace", replaced)
        monkeypatch.setattr(files, "flush_folder", lambda folder: None)  # its own failure is passed over

    def tick(self, path):
        self.count += 1
        if self.fails_at is not None and self.count >= self.fails_at:
            raise OSError(self.code, os.strerror(self.code), *([] if path is None else [str(path)]))

    def mend(self):
        self.fails_at = None


def fitted(folder, **changes):
    torch.manual_seed(0)
    x, y = table(40)
    return hubel.fit(x, y, net=own(), recipe=quick(**changes), out=folder, quiet=True, checkpoint_seconds=0)


def own():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 2))


def resumed(folder):
    x, y = table(40)
    return hubel.resume(folder, data=x, y=y, net=own(), quiet=True, checkpoint_seconds=0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_every_write_of_a_run(tmp_path, monkeypatch, code):
    whole = fitted(tmp_path / "whole")
    disk = Disk(monkeypatch, tmp_path / "run", code)
    fitted(tmp_path / "run-0")
    num = disk.count
    assert num > 60  # several files a checkpoint, four operations a file
    step = 1 if code == errno.ENOSPC else 7
    later = 0
    for number in range(1, num + 1, step):
        folder = tmp_path / f"run-{number}"
        disk.count, disk.fails_at = 0, number
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            fitted(folder)
        disk.mend()
        assert str(folder) in str(caught.value), str(caught.value)
        if not (folder / "run.json").exists():
            continue
        later += 1
        assert not list((folder / "checkpoints").glob(".*.tmp"))
        assert hubel.open_run(folder).status in ("interrupted", "failed", "finished")
        assert "hubel resume" in str(caught.value)
        assert same_weights(resumed(folder), whole)
    assert later * step > num / 2


def test_a_short_fault_is_written_into_the_run(tmp_path, monkeypatch):
    disk = Disk(monkeypatch, tmp_path / "run")
    fitted(tmp_path / "run-0")
    once = disk.count // 2
    disk.count, plain = 0, disk.tick

    def tick(path):
        disk.fails_at = once if disk.count == once - 1 else None
        plain(path)

    monkeypatch.setattr(disk, "tick", tick)
    with pytest.raises(OSError, match="No space left"):
        fitted(tmp_path / "run")
    run = hubel.open_run(tmp_path / "run")
    assert run.status == "failed"
    assert "No space left" in run.stopped and str(tmp_path / "run") in run.stopped


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root"
)
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk here")
    try:
        x, y = table(40)

        def wide():
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Linear(5, 2000), nn.ReLU(), nn.Linear(2000, 2)
            )  # 56 kB, twice in a checkpoint

        recipe = quick(epochs=4)
        whole = hubel.fit(x, y, net=wide(), recipe=recipe, out=tmp_path / "whole", quiet=True)
        with open(disk / "ballast", "wb") as ballast:
            ballast.write(bytes(260_000))
        with pytest.raises(OSError, match=r"No space left on device.* make room, then go on") as caught:
            hubel.fit(x, y, net=wide(), recipe=recipe, out=disk / "run", quiet=True, checkpoint_seconds=0)
        assert str(disk / "run") in str(caught.value)
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        again = hubel.resume(disk / "run", data=x, y=y, net=wide(), quiet=True)
        assert same_weights(again, whole)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
