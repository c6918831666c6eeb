"""Every run here is over in a moment."""

import pytest
import torch

import hubel
from hubel.workflows import training


@pytest.fixture(autouse=True)
def in_a_moment(monkeypatch, tmp_path):
    """No report (its own tests are elsewhere), a checkpoint after every step where that is asked for, nothing remembered."""
    monkeypatch.setattr(hubel.show, "report", lambda folder: "<html></html>")
    monkeypatch.setattr(training, "CHECKPOINT_SHARE", float("inf"))
    monkeypatch.setenv("HUBEL_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
