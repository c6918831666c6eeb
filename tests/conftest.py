"""Every test session has a cache of its own: nothing that this machine remembers decides a test."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))  # "default" looks for new examples


@pytest.fixture(scope="session", autouse=True)
def own_cache():
    with tempfile.TemporaryDirectory(prefix="hubel-tests-") as folder:
        before = os.environ.get("HUBEL_CACHE")
        os.environ["HUBEL_CACHE"] = str(Path(folder) / "cache")
        yield
        if before is None:
            del os.environ["HUBEL_CACHE"]
        else:
            os.environ["HUBEL_CACHE"] = before
