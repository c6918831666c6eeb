"""One thread: these networks are small, and two threads wait for each other on a busy machine. And the same weights in every run."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread_and_the_same_weights():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
