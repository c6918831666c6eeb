"""Every test has a cache of its own, and no data set from elsewhere."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HUBEL_CACHE", str(folder))
    monkeypatch.delenv("HUBEL_DATA", raising=False)
    return folder
