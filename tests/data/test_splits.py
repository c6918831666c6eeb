import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubel.data import Dataset, assign_parts, duplicates, from_arrays, without_leaks
from hubel.data.splits import SplitRows


def dataset(labels, *, groups=None, part=None, x=None):
    labels = np.asarray(labels)
    x = np.arange(len(labels) * 4, dtype=np.int32).reshape(-1, 4) if x is None else x
    return from_arrays(
        x, labels, groups=groups, part=part, classes=[str(k) for k in range(int(labels.max()) + 1)]
    )


def check_disjoint(rows, num):
    assert sorted(np.concatenate([rows.train, rows.validation, rows.test]).tolist()) == list(range(num))
    for part in (rows.train, rows.validation, rows.test):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    seed=st.integers(0, 5),
    validation=st.sampled_from([None, 0.1, 0.3, 0, 2]),
    test=st.sampled_from([None, 0.25, 0, 2]),
)
@settings(max_examples=150, deadline=None)
def test_stratified_parts(sizes, seed, validation, test):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    data = dataset(np.random.default_rng(seed).permutation(labels))
    if len(labels) < 8:
        return
    try:
        rows = assign_parts(data, seed=seed, validation=validation, test=test)
    except ValueError as error:
        assert "no class has an example to spare" in str(error)  # noqa: PT017
        assert sum(n - 1 for n in sizes) <= max(2, 0.3 * len(labels))
        return
    check_disjoint(rows, len(labels))
    trained = np.bincount(data.targets[rows.train], minlength=len(sizes))
    assert (trained >= 1).all()  # no class vanishes from train
    spare = sum(n - 1 for n in sizes)
    wanted = {None: round(0.2 * len(labels)), 0.25: round(0.25 * len(labels)), 0: 0, 2: 2}[test]
    assert len(rows.test) == min(max(wanted, 1 if test != 0 else 0), spare)
    if min(sizes) >= 10 and len(rows.test) > 2 * len(sizes):
        share = np.bincount(data.targets[rows.test], minlength=len(sizes)) / np.array(sizes)
        assert np.abs(share - len(rows.test) / len(labels)).max() <= 1 / min(sizes) + 1e-9


def test_the_seed_decides():
    data = dataset(np.arange(200) % 4)
    assert assign_parts(data, seed=3).sha256 == assign_parts(data, seed=3).sha256
    assert assign_parts(data, seed=3).sha256 != assign_parts(data, seed=4).sha256


def test_default_shares():
    rows = assign_parts(dataset(np.arange(1000) % 5), seed=0)
    assert (len(rows.train), len(rows.validation), len(rows.test)) == (680, 120, 200)
    rows = assign_parts(dataset(np.arange(60_000) % 10), seed=0, test=0)
    assert (len(rows.train), len(rows.validation), len(rows.test)) == (55_000, 5_000, 0)
    assert "with the same share of each class" in rows.how
    assert "at random" in assign_parts(dataset(np.arange(100) % 5), seed=0, stratify=False).how


def test_given_parts_are_honoured():
    part = np.array(["train"] * 60 + ["test"] * 40)
    data = dataset(np.arange(100) % 2, part=part)
    for seed in (0, 1):
        rows = assign_parts(data, seed=seed)
        assert rows.test.tolist() == list(range(60, 100))
        check_disjoint(rows, 100)
        assert "test as given" in rows.how
    part = np.array(["validation"] * 10 + part[10:].tolist())
    rows = assign_parts(dataset(np.arange(100) % 2, part=part), seed=0)
    assert rows.validation.tolist() == list(range(10))
    only = np.array(["train"] * 90 + ["validation"] * 10)
    rows = assign_parts(dataset(np.arange(100) % 2, part=only), seed=0)
    assert rows.validation.tolist() == list(range(90, 100))
    assert len(rows.test) == 18


def test_contradicting_parts_are_refused():
    part = np.array(["train"] * 60 + ["test"] * 40)
    data = dataset(np.arange(100) % 2, part=part)
    with pytest.raises(
        ValueError, match=r"test=0\.1 was asked for, but the data came with a test part of 40"
    ):
        assign_parts(data, seed=0, test=0.1)
    with pytest.raises(ValueError, match="none is called train"):
        assign_parts(dataset(np.arange(100) % 2, part=["test"] * 100), seed=0)
    with pytest.raises(ValueError, match="part has the split 'holdout'; expected train"):
        assign_parts(dataset(np.arange(4) % 2, part=["train", "train", "holdout", "test"]), seed=0)


@given(seed=st.integers(0, 20), num_groups=st.integers(4, 30), largest=st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_groups_stay_whole(seed, num_groups, largest):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), generator.integers(1, largest + 1, num_groups))
    labels = np.concatenate([[0, 1], generator.integers(0, 2, len(groups))])[: len(groups)]
    rows = assign_parts(dataset(labels), seed=seed, groups=[f"patient {g}" for g in groups])
    check_disjoint(rows, len(groups))
    for one, two in ((rows.train, rows.validation), (rows.train, rows.test), (rows.validation, rows.test)):
        assert not set(groups[one]) & set(groups[two])
    assert len(rows.train)
    assert len(rows.validation)
    assert len(rows.test)
    assert "by whole groups" in rows.how


def test_groups_keep_the_shares_where_they_can():
    groups = np.repeat(np.arange(100), 10)
    rows = assign_parts(dataset((groups % 4 == 0).astype(int), groups=groups), seed=0)
    assert 180 <= len(rows.test) <= 220
    assert 0.2 <= (groups[rows.test] % 4 == 0).mean() <= 0.3


def test_a_group_with_more_than_half_of_all_trains_and_the_others_are_shared_out():
    groups = np.repeat(np.arange(31), [970] + [1] * 30)
    data = dataset((np.arange(1000) % 4 == 0).astype(int), groups=groups)
    rows = assign_parts(data, seed=0, stratify=False)
    assert [len(getattr(rows, part)) for part in ("test", "validation")] == [6, 4]
    asked = assign_parts(data, seed=0, stratify=False, test=10, validation=3)
    assert [len(getattr(asked, part)) for part in ("test", "validation")] == [10, 3]
    most = assign_parts(data, seed=0, stratify=False, test=0.9, validation=0)
    assert 0 in groups[most.test] and 0 not in groups[most.train]


def test_faulty_groups():
    data = dataset(np.arange(10) % 2, part=["train"] * 5 + ["test"] * 5)
    with pytest.raises(
        ValueError, match="1 groups are in both the given train part and the given test part: b"
    ):
        assign_parts(data, seed=0, groups=list("aaabbbcccc"))
    plain = dataset(np.arange(10) % 2)
    with pytest.raises(ValueError, match="groups has 3 entries"):
        assign_parts(plain, seed=0, groups=["a", "b", "c"])
    with pytest.raises(ValueError, match="1 examples have no group, first row 2"):
        assign_parts(plain, seed=0, groups=["a", "b", None, *"abcdefg"])
    with pytest.raises(
        ValueError, match=r"too few groups.* at least 3 groups in all.*do without a part \(test=0"
    ):
        assign_parts(plain, seed=0, groups=["a"] * 5 + ["b"] * 5)


def test_a_class_with_one_example_only_trains_and_is_said():
    rows = assign_parts(dataset([0] * 50 + [1] * 50 + [2]), seed=0)
    assert 100 in rows.train
    assert "too few examples of 2 for validation and test: they only train" in rows.how


def test_too_few_examples():
    with pytest.raises(
        ValueError, match=r"no class has an example to spare for the test part: 2 examples .*test=0"
    ):
        assign_parts(dataset([0, 1]), seed=0)
    with pytest.raises(ValueError, match="leaves none to train on"):
        assign_parts(dataset([0, 1]), seed=0, stratify=False)
    with pytest.raises(ValueError, match="leaves none to train on"):
        assign_parts(dataset([0, 1, 0, 1]), seed=0, test=4)
    with pytest.raises(ValueError, match=r"test=-0\.1: expected a share from 0 to 1"):
        assign_parts(dataset([0, 1, 0, 1]), seed=0, test=-0.1)
    with pytest.raises(ValueError, match=r"validation=1\.5: expected a share"):
        assign_parts(dataset([0, 1, 0, 1]), seed=0, validation=1.5)


def test_real_values_and_labels_are_split_at_random():
    values = from_arrays(np.zeros((50, 3)), np.linspace(0, 1, 50))
    check_disjoint(assign_parts(values, seed=0), 50)
    labels = from_arrays(np.zeros((50, 3)), np.ones((50, 2), int) * (np.arange(50) % 2)[:, None])
    check_disjoint(assign_parts(labels, seed=0), 50)


def test_split_of_a_dataset():
    data = dataset(np.arange(100) % 4)
    train, validation, test = data.split(seed=1)
    rows = assign_parts(data, seed=1)
    assert np.array_equal(train.inputs, data.inputs[rows.train])
    assert np.array_equal(validation.targets, data.targets[rows.validation])
    assert isinstance(test, Dataset)


def planted():
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    x[1], x[40], x[50] = x[0], x[2], x[3]  # within train, in validation, in test
    x[51] = x[41]  # validation and test
    y = np.arange(60) % 2
    part = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10)
    return from_arrays(x, y, part=part)


def test_planted_duplicates_are_found():
    data = planted()
    rows = assign_parts(data, seed=0)
    found = duplicates(data, rows)
    assert found
    assert found.across == {("train", "validation"): 1, ("train", "test"): 1, ("validation", "test"): 1}
    assert found.within_train == 1
    assert found.leaked.tolist() == [2, 3]
    assert found.conflicting == 2  # 0 and 1, 3 and 50
    assert ("2", "40") in found.ids
    assert found.ids[-1] == ("0", "1")
    assert "1 of train also in validation, 1 of train also in test, 1 of validation also in test" in str(
        found
    )
    clean = without_leaks(data, rows)
    assert clean.train.tolist() == sorted(set(range(40)) - {2, 3})
    assert np.array_equal(clean.test, rows.test)
    assert "2 duplicates of validation or test examples left out" in clean.how
    again = duplicates(data, clean)
    assert not len(again.leaked)
    assert again.across["train", "test"] == 0


def test_a_healthy_set_has_no_duplicates():
    data = dataset(np.arange(60) % 2)
    rows = assign_parts(data, seed=0)
    found = duplicates(data, rows)
    assert not found
    assert str(found) == "No exact duplicates."
    assert without_leaks(data, rows) is rows


@pytest.mark.parametrize("levels", [2, 30, 10**6])
def test_duplicates_are_those_found_by_comparing_all_pairs(levels, monkeypatch):
    monkeypatch.setattr(importlib.import_module("hubel.data.duplicates"), "PIECE", 7)
    generator = np.random.default_rng(levels)
    x, y = generator.integers(0, levels, size=(60, 1)).astype(np.float32), generator.integers(0, 2, size=60)
    data = Dataset(inputs=x, targets=y, classes=("a", "b"))
    order = generator.permutation(60)
    parts = {"train": order[:30], "validation": order[30:40], "test": order[40:55]}
    found = duplicates(data, SplitRows(**parts, how="by hand"))
    value = {part: x[rows, 0].tolist() for part, rows in parts.items()}
    assert found.within_train == len(value["train"]) - len(set(value["train"]))
    for (a, b), count in found.across.items():
        assert count == sum(v in value[b] for v in value[a])
    others = {*value["validation"], *value["test"]}
    assert found.leaked.tolist() == sorted(int(row) for row in parts["train"] if x[row, 0] in others)
