"""Files are whole or not there; a lock dies with its process."""

import builtins
import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from hubel.core import files
from hubel.core.errors import RunBusy, is_out_of_memory, nearest

WRITES = {
    "bytes": lambda path: files.write_bytes(path, b"new"),
    "text": lambda path: files.write_text(path, "new"),
    "json": lambda path: files.write_json(path, {"new": 1}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("fault", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, write, fault, code):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    class Raw(io.FileIO):
        write = fail

    if fault == "open":
        monkeypatch.setattr(files, "open", fail, raising=False)
    elif fault == "write":
        monkeypatch.setattr(
            files, "open", lambda p, mode: io.BufferedWriter(Raw(p, mode.replace("b", ""))), raising=False
        )
    else:
        monkeypatch.setattr(os, fault, fail)
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        write(path)
    assert caught.value.filename == str(path)
    assert str(path) in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_in_the_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "file") as file:  # noqa: PT012
        file.write(b"half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_json_refuses_what_json_has_not(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_killed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from hubel.core import files
with files.replacing({str(path)!r}) as file:
    file.write(b"half")
    file.flush()
    print("written", flush=True)
    import time; time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    files.sweep_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_readers_see_one_file_or_the_other(tmp_path):
    path = tmp_path / "file"
    for content in (b"a" * 100_000, b"b" * 50_000):
        files.write_bytes(path, content)
        assert path.read_bytes() == content


@pytest.mark.parametrize("torn", ['{"epoch": 3, "lo', "{", '{"epoch": 3, "name": "\u00e4', "\x00\x00"])
def test_a_torn_last_line_is_left_out_and_closed(tmp_path, torn):
    path = tmp_path / "curves.jsonl"
    files.append_line(path, json.dumps({"epoch": 1}))
    files.append_line(path, json.dumps({"epoch": 2}))
    with open(path, "ab") as file:
        file.write(torn.encode()[:-1] if torn.endswith("\u00e4") else torn.encode())
    assert [row["epoch"] for row in files.read_lines(path)] == [1, 2]
    files.append_line(path, json.dumps({"epoch": 4}))
    assert [row["epoch"] for row in files.read_lines(path)] == [1, 2, 4]


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    (tmp_path / "x.jsonl").write_text('1\n[2]\n"a"\n\n{"a": 1}\n')
    assert files.read_lines(tmp_path / "x.jsonl") == [{"a": 1}]
    assert files.read_lines(tmp_path / "none.jsonl") == []


def test_an_append_that_fails_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(OSError, match=r"No space left .*curves\.jsonl"):
        files.append_line(tmp_path / "curves.jsonl", "{}")


HOLDER = """
import sys, time
sys.path[:0] = {path!r}
from hubel.core import files
with files.locked({folder!r}):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_across_processes_dies_with_its_holder(tmp_path, ending):
    program = HOLDER.format(path=sys.path, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(RunBusy, match=f"another process is writing {tmp_path}"), files.locked(tmp_path):
        pass
    process.send_signal(ending)
    process.wait()
    process.stdout.close()
    with files.locked(tmp_path):
        assert files.is_locked(tmp_path)
    assert not files.is_locked(tmp_path)


def test_a_lock_is_given_back(tmp_path):
    for _ in range(2):
        with files.locked(tmp_path):
            pass
    with pytest.raises(ZeroDivisionError), files.locked(tmp_path):
        raise ZeroDivisionError
    with files.locked(tmp_path):
        pass


@pytest.fixture
def without_locks(monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_file_says_who_holds_the_folder(tmp_path):
    assert not files.is_locked(tmp_path)
    with files.locked(tmp_path):
        assert files.is_locked(tmp_path)
        said = f"{tmp_path} is held by process {os.getpid()} on {socket.gethostname()}.*remove {tmp_path / '.lock.owner'}"
        with pytest.raises(RunBusy, match=said), files.locked(tmp_path):
            pass
        assert files.is_locked(tmp_path)
    assert not files.is_locked(tmp_path)
    assert os.listdir(tmp_path) == [".lock"]
    with pytest.raises(ZeroDivisionError), files.locked(tmp_path):
        raise ZeroDivisionError
    assert not files.is_locked(tmp_path)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_dead_owner_is_put_away_but_not_one_elsewhere(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / ".lock").touch()
    owner = tmp_path / ".lock.owner"
    owner.write_text(json.dumps({"computer": socket.gethostname(), "process": gone.pid}))
    assert not files.is_locked(tmp_path)
    owner.write_text(json.dumps({"computer": socket.gethostname(), "process": gone.pid}))
    with files.locked(tmp_path):
        assert json.loads(owner.read_text())["process"] == os.getpid()
    owner.write_text(json.dumps({"computer": "elsewhere", "process": gone.pid}))
    assert files.is_locked(tmp_path)
    with pytest.raises(RunBusy, match=f"process {gone.pid} on elsewhere"), files.locked(tmp_path):
        pass
    for torn in ("", "{", "[1]", '{"computer": 1}'):
        owner.write_text(torn)
        with pytest.raises(RunBusy, match="did not write its name"), files.locked(tmp_path):
            pass


def test_other_errors_of_a_lock_are_not_passed_over(tmp_path, monkeypatch):
    import fcntl

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), files.locked(tmp_path):
        pass


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_open_is_the_plain_one():
    assert "open" not in vars(files) and builtins.open is io.open


def test_suggestions():
    assert nearest("resnet19", ["resnet18", "mlp"]).startswith(' Did you mean "resnet18"?')
    assert "Did you mean" not in nearest("zzz", ["resnet18"])
    assert nearest("x", []) == ""
    assert nearest("x", map(str, range(30))).endswith("and 10 more.")


def test_out_of_memory_is_recognized():
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
    )
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def test_a_folder_that_can_not_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    files.refuse_unwritable(tmp_path / "not" / "there" / "yet")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="this is no folder") as caught:
        files.refuse_unwritable(tmp_path / "file" / "run")
    assert caught.value.filename == str(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="can not be written into") as denied:
        files.refuse_unwritable(tmp_path / "not" / "there" / "yet")
    assert denied.value.filename == str(tmp_path)
