"""Cross-validation: a run a fold, no example in its own training part, mean and standard deviation of the scores."""

import numpy as np
import pytest
from small_runs import quick, table

import hubel
from hubel.data import from_arrays


def test_a_run_a_fold(tmp_path):
    x, y = table(60)
    found = hubel.cross_validate(x, y, folds=4, recipe=quick(), out=tmp_path, quiet=True)
    assert [run.folder.name for run in found.runs] == ["fold-1", "fold-2", "fold-3", "fold-4"]
    tested = np.concatenate([run.split["test"] for run in found.runs])
    assert sorted(tested.tolist()) == list(range(60))
    for run in found.runs:
        assert not set(run.split["test"]) & (set(run.split["train"]) | set(run.split["validation"]))
        assert len(run.split["validation"])
    values = [run.test["accuracy"]["value"] for run in found.runs]
    assert found.mean("accuracy") == pytest.approx(np.mean(values))
    assert found.sd("accuracy") == pytest.approx(np.std(values, ddof=1))
    assert "4 folds" in str(found) and "accuracy" in str(found)


def test_groups_stay_together(tmp_path):
    x, y = table(60)
    groups = np.arange(60) // 5
    found = hubel.cross_validate(x, y, folds=3, groups=groups, recipe=quick(), out=tmp_path, quiet=True)
    for run in found.runs:
        assert not set(groups[run.split["test"]]) & set(groups[run.split["train"]])


def test_given_parts_are_not_mixed(tmp_path):
    x, y = table(60)
    data = from_arrays(x, y, part=["train"] * 40 + ["test"] * 20)
    with pytest.raises(ValueError, match="came with the parts test, train"):
        hubel.cross_validate(data, folds=3, recipe=quick(), out=tmp_path, quiet=True)
