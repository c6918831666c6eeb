"""Randomness is a pure function of (seed, purpose, epoch, step)."""

import itertools

import numpy as np
import pytest
import torch

from hubel.core import random


def test_the_same_question_has_the_same_answer():
    for make in (random.numpy_generator, random.torch_generator):
        one, other = make(7, "order", 2, 3), make(7, "order", 2, 3)
        assert one is not other
        draw = (
            (lambda g: g.random(4))
            if make is random.numpy_generator
            else (lambda g: torch.rand(4, generator=g).numpy())
        )
        assert np.array_equal(draw(one), draw(other))


def test_known_keys():
    """Runs of one version of hubel are repeated by the next: these numbers never change."""
    assert random.key(0, "order", 1) == 6858766070450273963
    assert random.key(3, "forward", 2, 7) == 3361029456932720671
    assert random.key(0, "order") == random.key(0, "order", 0, 0)


def test_every_part_of_the_question_counts():
    questions = list(
        itertools.product((0, 1, -1, 10**12), ("order", "forward", "order1"), (0, 1, 11), (0, 1, 11))
    )
    keys = {random.key(*question) for question in questions}
    assert len(keys) == len(questions)
    assert all(0 <= key < 2**63 for key in keys)
    assert random.key(1, "a", 11, 1) != random.key(1, "a", 1, 11)  # digits do not run together


def test_neighbouring_questions_are_independent():
    draws = np.stack(
        [
            random.numpy_generator(s, "order", e, t).normal(size=500)
            for s in (0, 1)
            for e in (1, 2)
            for t in range(5)
        ]
    )
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.2  # 5 standard deviations of 1/sqrt(500) = 0.045, over 190 pairs


def test_torch_seeded_is_pure_and_restores():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with random.torch_seeded(1, "forward", 2, 3):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    torch.rand(100)
    with random.torch_seeded(1, "forward", 2, 3):
        assert torch.equal(torch.rand(3), inside)


def test_torch_seeded_restores_after_an_error():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), random.torch_seeded(1, "forward"):  # noqa: PT012
        torch.rand(3)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


def test_torch_seeded_nests():
    with random.torch_seeded(0, "outer"):
        expected = torch.rand(2)
    with random.torch_seeded(0, "outer"):
        with random.torch_seeded(0, "inner"):
            torch.rand(7)
        assert torch.equal(torch.rand(2), expected)
