"""Dropout from combined bits: the rate, the independence, the expectation, the seed, and torch's as reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hubel.layers.dropout import Dropout, combined, dropout, keep_mask


@given(kept=st.integers(0, 2**16), count=st.integers(0, 300))
@settings(deadline=None, max_examples=60)
def test_a_mask_is_zeros_and_ones(kept, count):
    mask = keep_mask(count, kept)
    assert mask.shape == (count,)
    assert mask.dtype == torch.uint8
    assert (mask <= 1).all()


@pytest.mark.parametrize("digits", range(1, 7))
def test_probabilities_are_exact_for_every_numerator(digits):
    """Every combination of fair bits once (bit b of digit i is binary digit i of b): exactly `kept` of them give 1."""
    word = [sum((b >> i & 1) << b for b in range(2**digits)) for i in range(digits)]
    fair = torch.tensor([[w - 2**64 if w >= 2**63 else w] for w in word])
    for kept in range(1, 2**digits, 2):
        assert (combined(fair, kept).item() & (2**64 - 1)).bit_count() == kept


@pytest.mark.parametrize("p", [0.5, 0.25, 0.75, 0.1, 0.2, 0.3, 0.9, 0.015])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rate_scale_and_gradient(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(400_000, dtype=dtype, requires_grad=True)
    y = dropout(x, p)
    y.sum().backward()
    assert y.dtype == dtype
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5 + 1e-5
    scale = y[y != 0]
    assert (scale == scale[0]).all()
    assert abs(scale[0].item() * (1 - p) - 1) < (4e-3 if dtype == torch.bfloat16 else 1e-4)
    assert torch.equal(x.grad, y.detach())


def test_elements_are_independent():
    """Neighbours at every distance up to 130, in all 64 bit positions of a word: correlation within chance."""
    torch.manual_seed(1)
    for kept in (2**15, 3 * 2**14, round(0.9 * 2**16)):
        mask = keep_mask(2**16, kept).double()
        centred = (mask - mask.mean()) / mask.std()
        for lag in [*range(1, 130), 2**12, 2**14]:
            correlation = (centred[lag:] * centred[:-lag]).mean().item()
            assert abs(correlation) < 5.5 / 2**8
        by_place = keep_mask(64 * 4096, kept).view(-1, 64).double().mean(0)
        rate = kept / 2**16
        assert ((by_place - rate).abs() < 5 * (rate * (1 - rate) / 4096) ** 0.5).all()


def test_the_seed_decides():
    torch.manual_seed(3)
    first = dropout(torch.ones(100), 0.3)
    second = dropout(torch.ones(100), 0.3)
    torch.manual_seed(3)
    assert torch.equal(dropout(torch.ones(100), 0.3), first)
    assert not torch.equal(first, second)


def test_every_layout_and_shape():
    torch.manual_seed(0)
    for x in (
        torch.ones(2, 3, 5, 7),
        torch.ones(2, 3, 5, 7).to(memory_format=torch.channels_last),
        torch.ones(6, 5).t(),
        torch.ones(8, 10)[:, ::2],
        torch.ones(0, 4),
        torch.ones(()),
    ):
        y = dropout(x, 0.5)
        assert y.shape == x.shape
        assert ((y == 0) | (y == 2)).all()
    assert dropout(torch.ones(2, 3, 5, 7).to(memory_format=torch.channels_last), 0.5).is_contiguous(
        memory_format=torch.channels_last
    )


@given(p=st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_eval_is_the_identity_and_ends_are_exact(p):
    x = torch.arange(10.0)
    assert Dropout(p).eval()(x) is x
    assert dropout(x, 0.0) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros(10))
    y = dropout(torch.ones(50), p)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="p must be a probability between 0 and 1; received"):
        Dropout(p)


def test_vmap_takes_torchs_own():
    torch.manual_seed(0)
    y = torch.func.vmap(lambda x: dropout(x, 0.5), randomness="different")(torch.ones(4, 50))
    assert len({tuple(row.tolist()) for row in y}) == 4


def test_same_mean_and_variance_as_torch():
    torch.manual_seed(0)
    x = torch.randn(300_000)
    for p in (0.1, 0.5):
        ours, theirs = dropout(x, p), nn.functional.dropout(x, p)
        assert abs(ours.mean() - theirs.mean()) < 0.02
        assert abs(ours.std() / theirs.std() - 1) < 0.02
