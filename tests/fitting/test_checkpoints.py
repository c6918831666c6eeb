"""Checkpoints survive kills, full disks, cuts and flipped bits; what is wrong is named."""

import errno
import json
import os

import pytest
import torch

from hubel.core import files
from hubel.core.errors import DamagedRun
from hubel.fitting import Checkpoints


def tree(step):
    return {"weights": torch.full((50,), float(step)), "step": step}


@pytest.fixture
def two(tmp_path):
    """Checkpoints with the generations of steps 10 and 20."""
    checkpoints = Checkpoints(tmp_path)
    for step in (0, 10, 20):
        checkpoints.write(step, {"state": tree(step), "start": tree(0)})
    return checkpoints


def file_of(checkpoints, step, role="state"):
    (path,) = checkpoints.folder.glob(f"{role}-{step:08d}-*")
    return path


def names(checkpoints):
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_the_newest_is_read_and_two_are_kept(two):
    assert two.read().step == 20 and two.read().notes == ()
    assert torch.equal(two.read().trees["state"]["weights"], torch.full((50,), 20.0))
    assert len(list(two.folder.glob("state-*"))) == 2
    assert two.exists() and two.has("state") and not two.has("chosen")


def test_nothing_yet(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert not checkpoints.exists() and not checkpoints.has("state")
    with pytest.raises(DamagedRun, match="holds no checkpoint yet"):
        checkpoints.read()


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def swap(path):
    path.write_bytes(b"x" * path.stat().st_size)


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "truncated"),
        (empty, "truncated"),
        (flip, "changed"),
        (swap, "changed"),
        (remove, "No such file"),
    ],
)
def test_a_damaged_newest_gives_way_to_the_one_before(two, harm, said):
    path = file_of(two, 20)
    harm(path)
    found = two.read()
    assert found.step == 10
    (note,) = found.notes
    assert (
        "checkpoint of step 20" in note
        and path.name in note
        and said in note
        and "the one before was taken" in note
    )
    harm(file_of(two, 10))
    with pytest.raises(DamagedRun, match=r"no checkpoint is whole.*step 20.*step 10"):
        two.read()


def test_damage_to_another_role_does_not_matter(two):
    flip(file_of(two, 20, "start"))
    assert two.read(("state",)).step == 20
    assert two.read(("state", "start")).step == 10


def test_a_damaged_generation_is_forgotten_and_pushes_out_none(two):
    flip(file_of(two, 20))
    found = two.read()
    two.forget(len(found.notes))
    two.write(15, {"state": tree(15)})
    flip(file_of(two, 15))
    assert two.read().step == 10
    two.forget(0)
    assert two.read().step == 10


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"generations": 3}',
        '{"generations": [1]}',
        '{"generations": [{"step": 1}]}',
        '{"generations": [{"step": "x", "files": {}}]}',
        '{"generations": [{"step": 1, "files": []}]}',
        '{"generations": [{"step": 1, "files": {"state": 3}}]}',
        '{"generations": [{"step": 1, "files": {"state": {"name": 3, "sha256": "", "bytes": 1}}}]}',
        "\x00\xff\xfe",
    ],
)
def test_a_damaged_manifest_is_named(two, content):
    two.manifest.write_bytes(content.encode("latin-1"))
    with pytest.raises(DamagedRun, match=r"(manifest\.json is damaged|no checkpoint is whole)"):
        two.read()
    assert len(list(two.folder.glob("state-*"))) == 2  # nothing was removed


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", ".", ""])
def test_names_of_a_stranger_stay_in_the_folder(two, tmp_path, name):
    (tmp_path.parent / "secret").write_bytes(b"x")
    about = json.loads(two.manifest.read_text())
    for generation in about["generations"]:
        generation["files"]["state"]["name"] = name
    two.manifest.write_text(json.dumps(about))
    with pytest.raises(DamagedRun, match="no checkpoint is whole"):
        two.read()


def test_what_a_stranger_adds_is_removed_only_where_it_is_a_checkpoint(two, tmp_path):
    (two.folder / "notes.txt").write_text("mine")
    (two.folder / ".state.1234.tmp").write_bytes(b"half")
    (two.folder / "state-00000099-aaaaaaaa.safetensors").write_bytes(b"left by a kill")
    two.write(30, {"state": tree(30)})
    assert "notes.txt" in names(two)
    assert len(names(two)) == 1 + 1 + 1 + 2  # notes, manifest, state of 30, state and start of 20


def test_roles_are_carried_over(two):
    two.write(30, {"state": tree(30)}, keep=("start",))
    two.write(40, {"state": tree(40)}, keep=("start",))
    two.write(50, {"state": tree(50)})
    assert two.read(("start",)).trees == {}
    two.write(60, {"state": tree(60), "start": tree(0)}, alone=True)
    assert len(list(two.folder.glob("state-*"))) == 1
    assert two.read(("start",)).trees["start"]["step"] == 0


def test_the_same_moment_twice(two):
    two.write(20, {"state": tree(20), "start": tree(0)})
    assert two.read().step == 20
    flip(file_of(two, 20))
    assert two.read().step == 10


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("lasting", [True, False])
def test_every_write_point(tmp_path, monkeypatch, code, lasting):
    """Each operation on the disk fails once (or from then on): the older generations are as they were, leftovers are swept."""
    count, fails_at = 0, None
    plain = {"open": open, "fsync": os.fsync, "replace": os.replace}

    def counted(name):
        def work(*args, **named):
            nonlocal count
            count += 1
            if fails_at is not None and (count >= fails_at if lasting else count == fails_at):
                raise OSError(code, os.strerror(code))
            return plain[name](*args, **named)

        return work

    monkeypatch.setattr(files, "open", counted("open"), raising=False)
    monkeypatch.setattr(os, "fsync", counted("fsync"))
    monkeypatch.setattr(os, "replace", counted("replace"))
    monkeypatch.setattr(files, "flush_folder", lambda folder: None)
    checkpoints = Checkpoints(tmp_path / "run")
    checkpoints.write(10, {"state": tree(10)})
    count = 0
    checkpoints.write(20, {"state": tree(20), "best": tree(3)})
    num = count
    assert num == 9  # open, flush, rename of three files
    before = names(checkpoints), checkpoints.manifest.read_bytes()
    for number in range(1, num + 1):
        count, fails_at = 0, number
        with pytest.raises(OSError, match=os.strerror(code)) as caught:
            checkpoints.write(30, {"state": tree(30), "best": tree(4)})
        fails_at = None
        assert str(checkpoints.folder) in str(caught.value)
        assert (names(checkpoints), checkpoints.manifest.read_bytes()) == before
        assert checkpoints.read(("state", "best")).step == 20
    checkpoints.write(30, {"state": tree(30), "best": tree(4)})
    assert checkpoints.read().step == 30


def test_killed_at_every_point(tmp_path, monkeypatch):
    """A kill leaves what it leaves; the newest whole generation is read, and the next write sweeps."""
    made = Checkpoints(tmp_path)
    made.write(10, {"state": tree(10)})
    count = 0
    plain_replace, plain_fsync = os.replace, os.fsync

    def stop_at(number, plain):
        def work(*args):
            nonlocal count
            count += 1
            if count == number:
                os._exit(9)
            return plain(*args)

        return work

    step = 20
    for number in range(1, 20):
        child = os.fork()
        if child == 0:
            os.replace, os.fsync = stop_at(number, plain_replace), stop_at(number, plain_fsync)
            made.write(step, {"state": tree(step), "best": tree(step)})
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = made.read(("state", "best"))
        assert found.notes == ()
        if os.waitstatus_to_exitcode(status) == 0:
            assert found.step == step
            break
        assert found.step in (step - 10, step)
        assert found.trees["state"]["step"] == found.step
        step = found.step + 10
    assert number > 6
    made.write(step + 10, {"state": tree(step + 10)})
    assert not list(made.folder.glob(".*"))
    assert len(list(made.folder.glob("state-*"))) == 2
