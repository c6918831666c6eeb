"""What is held for every row of a table beside its values, and that it is the same as what a plain computation holds."""

import hashlib
import importlib
import json
import tracemalloc
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hubel.data import Dataset, assign_parts, from_table, storage
from hubel.data import batches as batches_of
from hubel.data import levels as levels_of
from hubel.data.batches import Batches
from hubel.data.duplicates import duplicates
from hubel.data.preprocessing import scaling_of
from hubel.data.rows import Counted
from hubel.data.table_arrow import Texts
from hubel.data.table_columns import numbers_of
from hubel.data.targets import read_targets

MANY = 60_000
CODE = 60_000  # bytes that do not grow with the rows


@contextmanager
def taken():
    """NumPy's bytes at most (`most`) and in the end (`held`), beyond those at the beginning."""
    found = SimpleNamespace()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield found
        found.held, found.most = (n - before for n in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()


@pytest.fixture
def in_pieces(monkeypatch):
    """Pieces that are small beside a table of some ten thousand rows."""
    for name in ("duplicates", "splits", "levels"):
        monkeypatch.setattr(importlib.import_module(f"hubel.data.{name}"), "PIECE", 2_000)
    monkeypatch.setattr(importlib.import_module("hubel.data.digests"), "MOST_ROWS", 1_000)
    monkeypatch.setattr(importlib.import_module("hubel.data.table_pieces"), "CELLS", 6_000)


def table(num=MANY, values=None):
    generator = np.random.default_rng(0)
    return {
        "a": generator.normal(size=num).astype(np.float32)
        if values is None
        else generator.choice(values, num),
        "b": generator.integers(0, 2 if values else 2**20, num),
        "label": generator.integers(0, 3, num),
    }


def fingerprint_of(data):
    """As it always was: of class numbers in 64 bits and of the digest of each row alone."""
    digest = hashlib.sha256()
    head = f"{data.inputs.shape}{data.inputs.dtype}{data.targets.shape}int64{data.classes}"
    digest.update(head.encode() + json.dumps(data.reading["columns"]).encode())
    digest.update(b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in data.inputs))
    digest.update(data.targets.astype(np.int64).tobytes())
    return digest.hexdigest()


def parts_of(labels, seed):
    """The split by one sort of all rows, as it is defined."""
    from hubel.core.random import numpy_generator

    generator, rest, found = numpy_generator(seed, "split"), np.arange(len(labels)), {}
    for part, share in (("test", 0.2), ("validation", 0.1)):
        strata = labels[rest]
        _, number, sizes = np.unique(strata, return_inverse=True, return_counts=True)
        wanted = round(share * len(rest))
        quota = sizes * (wanted / len(rest))
        take = np.floor(quota).astype(int)
        best = np.argsort(take - quota, kind="stable")[: wanted - take.sum()]
        take[best] += 1
        order = generator.permutation(len(rest))
        order = order[np.argsort(number[order], kind="stable")]
        starts = np.cumsum(sizes) - sizes
        chosen = np.concatenate([order[s : s + n] for s, n in zip(starts, take, strict=True)])
        found[part], rest = np.sort(rest[chosen]), np.delete(rest, chosen)
    return found | {"train": rest}


def test_a_table_holds_four_bytes_a_row_beside_its_values(in_pieces):
    columns = table()
    with taken() as memory:
        data = from_table(columns)
    assert data.targets.dtype == np.int32 and data.ids.tolist() == list(range(1, MANY + 1))
    assert memory.held - data.inputs.nbytes < 4 * MANY + CODE
    assert memory.most - data.inputs.nbytes < 26 * MANY


def test_the_fingerprint_is_that_of_plain_rows_and_leaves_no_digests(in_pieces):
    data = from_table(table(9_000))
    wanted = fingerprint_of(data)
    assert data.fingerprint == wanted
    rows = assign_parts(data, seed=0)
    duplicates(data, rows)
    again = from_table(table())
    rows = assign_parts(again, seed=0)
    with taken() as memory:
        duplicates(again, rows)
    assert again.__dict__["fingerprint"] == fingerprint_of(again)  # found on the way: rows are read once
    assert memory.held < CODE


def test_a_split_and_the_search_for_duplicates_take_few_bytes_a_row(in_pieces):
    data = from_table(table())
    with taken() as memory:
        rows = assign_parts(data, seed=3)
    assert memory.held < 8 * MANY + CODE
    for part, wanted in parts_of(data.targets, 3).items():
        assert np.array_equal(getattr(rows, part), wanted)
    assert memory.most < 24 * MANY
    with taken() as memory:
        duplicates(data, rows)
    assert memory.most < 18 * MANY


def test_a_table_of_nothing_but_repeated_rows(in_pieces):
    data = from_table(table(values=[0.0, 1.0, 2.0]))
    rows = assign_parts(data, seed=0)
    with taken() as memory:
        found = duplicates(data, rows)
    kinds = len(np.unique(data.inputs, axis=0))
    assert found.within_train == len(rows.train) - kinds and found.conflicting == kinds == 6
    assert np.array_equal(found.leaked, rows.train)
    assert memory.most < 150 * MANY


def test_a_part_is_batched_without_another_copy():
    data = from_table(table())
    rows = assign_parts(data, seed=0).train
    with taken() as memory:
        part = data.view(rows)
        batches = Batches(data=part, scaling=scaling_of(part), batch_size=64)
        next(batches.epoch(1))
    assert memory.held < 5 * MANY  # the targets of the part
    assert np.array_equal(part.ids, rows + 1)
    batch = next(batches.in_order())
    assert batch.targets.dtype == torch.int64 and batch.targets.tolist() == data.targets[rows[:64]].tolist()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_small_rows_of_a_mapped_file_are_read_ahead(tmp_path, dtype, monkeypatch):
    x = np.random.default_rng(0).integers(0, 2**15, (103, 3)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    y = np.arange(103) % 2
    held, mapped = (
        Dataset(inputs=inputs, targets=y, classes=("a", "b")).view(np.arange(3, 100))
        for inputs in (x, np.load(tmp_path / "x.npy", mmap_mode="r"))
    )
    monkeypatch.setattr(batches_of, "AHEAD_BYTES", 4 * 8 * x.itemsize * 3)  # of four batches
    read = []
    whole = batches_of.gather
    monkeypatch.setattr(batches_of, "gather", lambda base, rows: read.append(len(rows)) or whole(base, rows))
    scaling = scaling_of(held)
    for start in (0, 5, 12):
        read.clear()
        pairs = zip(
            *(Batches(data=d, scaling=scaling, batch_size=8).epoch(2, start=start) for d in (held, mapped)),
            strict=True,
        )
        for one, other in pairs:
            assert torch.equal(one.inputs, other.inputs) and torch.equal(one.ids, other.ids)
        assert read == {0: [8, 8, 16, 32, 32, 8], 5: [8, 8, 16, 32], 12: [8]}[start]


def test_numbers_that_are_made_where_they_are_asked_for():
    ids, plain = Counted(7, first=1), np.arange(1, 8)
    for which in (3, -1, slice(2, 5), np.array([4, 0]), np.array([-1]), plain > 4, np.empty(0, np.int64)):
        assert np.array_equal(np.asarray(ids[which]), plain[which])
        assert np.array_equal(
            np.asarray(ids[np.array([6, 2, 5, 1, 0, 3, 4])][which]), plain[[6, 2, 5, 1, 0, 3, 4]][which]
        )
    assert list(ids) == plain.tolist() and len(ids) == 7 and ids.shape == (7,)
    with pytest.raises(IndexError):
        ids[7]


def test_words_of_a_long_column_are_looked_at_once():
    pyarrow = pytest.importorskip("pyarrow")
    words = ["yes", " 2 ", "", "1_0", "nan", "no", "-3e2", "N/A", "9"] * 30
    values, places = numbers_of(words, ("9",))
    found, at = numbers_of(Texts(pyarrow.array(words)), ("9",))
    assert np.array_equal(found, values, equal_nan=True) and at == places and len(at) == 90


@pytest.mark.parametrize(("whole", "most"), [(True, 200), (True, 5), (False, 200)])
def test_levels_and_places_are_those_of_a_sort(whole, most, monkeypatch):
    monkeypatch.setattr(levels_of, "PIECE", 7)
    monkeypatch.setattr(levels_of, "MOST", most)
    values = np.random.default_rng(1).integers(-3, 9, 60) if whole else np.array([True, False] * 20)
    levels, places = np.unique(values, return_inverse=True)
    found, counts = levels_of.levels_of(values)
    assert found.dtype == values.dtype and np.array_equal(found, levels)
    assert counts.tolist() == np.bincount(places).tolist()
    assert np.array_equal(read_targets(values).values, places)


def test_a_column_of_different_whole_numbers_makes_no_object_for_each(in_pieces, monkeypatch):
    monkeypatch.setattr(levels_of, "MOST", 1_000)
    values = np.random.default_rng(0).permutation(MANY)
    with taken() as memory:
        found, counts = levels_of.levels_of(values)
    assert len(found) == MANY and (counts == 1).all()
    assert memory.most < 40 * MANY


def test_the_limit_of_any_control_group_counts(tmp_path, monkeypatch):
    """Files as Linux shows them: of version 1 (memory, beside other kinds) and of version 2, the limit on an outer group or on the own one."""

    def group(path, limit, used, idle):
        folder = tmp_path / path
        folder.mkdir(parents=True, exist_ok=True)
        old = path.startswith("memory")
        files = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
        )
        for name, text in zip(files, (limit, used), strict=True):
            (folder / name).write_text(f"{text}\n")
        (folder / "memory.stat").write_text(f"cache 7\n{'total_' if old else ''}inactive_file {idle}\n")

    own = tmp_path / "own"
    group("a/b", "max", 900, 0)
    group("a", 5_000, 1_200, 200)
    group("memory/c/d", 3_000, 1_000, 500)
    group("memory", 2**62, 2_000, 0)
    for lines, left in (("0::/a/b", 4_000), ("7:cpu:/x\n4:memory:/c/d\n0::/", 2_500), ("0::/", 2**63 - 1)):
        own.write_text(lines + "\n")
        assert min(map(storage._left_in, storage._groups(own, tmp_path))) == left
    group(".", 100, 30, 0)  # a container sees its own group as the root
    assert min(map(storage._left_in, storage._groups(tmp_path / "none", tmp_path))) == 70
    monkeypatch.setattr(storage, "GROUPS", tmp_path)
    assert storage.free_memory() == 70
