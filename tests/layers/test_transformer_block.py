"""Attention and its block: against torch's own layer with the same weights, and against the formula in NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from hubel.layers.masks import allowed_pairs, causal_mask
from hubel.layers.transformer_block import SelfAttention, TransformerBlock

MASK = torch.tensor(
    [[True, True, True, True, True], [True, True, False, False, False], [False, True, True, False, True]]
)


def steps(seed=1):
    return torch.randn(3, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_weights(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.double()


def pair(norm_first, activation):
    """Torch's layer, and ours with its weights. In training mode, where torch takes no short cut."""
    theirs = random_weights(
        nn.TransformerEncoderLayer(
            12, 3, 20, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first
        )
    )
    ours = TransformerBlock(12, 3, feedforward=20, norm_first=norm_first, activation=activation).double()
    ours.load_state_dict(
        {name.replace("in_proj_", "in_proj."): value for name, value in theirs.state_dict().items()}
    )
    return theirs.train(), ours.train()


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_a_block_is_torchs_encoder_layer(norm_first, activation, causal, padded):
    theirs, ours = pair(norm_first, activation)
    x, y = steps().requires_grad_(), steps().requires_grad_()
    mask = MASK if padded else torch.ones(3, 5, dtype=torch.bool)
    expected = theirs(
        x,
        src_mask=~causal_mask(5) if causal else None,
        src_key_padding_mask=~MASK if padded else None,
        is_causal=False,
    )
    received = ours(y, allowed_pairs(mask, causal=causal) if padded else None, causal=causal)
    torch.testing.assert_close(received[mask], expected[mask])
    expected[mask].square().sum().backward()
    received[mask].square().sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, theirs.get_parameter(name.replace("in_proj.", "in_proj_")).grad
        )


def test_attention_by_its_formula():
    attention = random_weights(SelfAttention(12, 3))
    x = steps()
    with torch.no_grad():
        received = attention(x).numpy()
    w, b = attention.in_proj.weight.detach().numpy(), attention.in_proj.bias.detach().numpy()
    for n in range(3):
        query, key, value = np.split(x[n].numpy() @ w.T + b, 3, axis=1)
        heads = []
        for head in range(3):
            columns = slice(4 * head, 4 * head + 4)
            scores = np.exp(query[:, columns] @ key[:, columns].T / math.sqrt(4))
            heads.append(scores / scores.sum(1, keepdims=True) @ value[:, columns])
        mixed = np.concatenate(heads, axis=1)
        expected = (
            mixed @ attention.out_proj.weight.detach().numpy().T + attention.out_proj.bias.detach().numpy()
        )
        np.testing.assert_allclose(received[n], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_steps_that_are_left_out_change_no_valid_one(causal):
    block = random_weights(TransformerBlock(12, 3))
    x = steps()
    other = torch.where(MASK.unsqueeze(-1), x, 1e3 * steps(2))
    allowed = allowed_pairs(MASK, causal=causal)
    with torch.no_grad():
        first, second = block(x, allowed, causal=causal), block(other, allowed, causal=causal)
    torch.testing.assert_close(first[MASK], second[MASK], rtol=0, atol=0)
    assert not torch.equal(first[~MASK], second[~MASK])
    assert torch.isfinite(second).all()


def test_causal_attention_never_sees_a_later_step():
    block = random_weights(TransformerBlock(12, 3))
    x = steps().requires_grad_()
    block(x, causal=True)[:, 2].sum().backward()
    assert (x.grad[:, :3].abs().sum(dim=2) > 0).all()
    assert (x.grad[:, 3:] == 0).all()


def test_without_positions_the_order_does_not_matter():
    block = random_weights(TransformerBlock(12, 3))
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        torch.testing.assert_close(block(steps()[:, order]), block(steps())[:, order])


def test_dropout_acts_on_what_is_added():
    torch.manual_seed(0)
    block = TransformerBlock(12, 3, dropout=1.0)
    x = steps().float()
    assert torch.equal(block(x), x)
    assert not torch.equal(block.eval()(x), x)


def test_initial_weights_are_glorot_uniform_and_norms_begin_as_one():
    torch.manual_seed(0)
    block = TransformerBlock(48, 3, feedforward=96)
    weights = [(w, 96) for w in block.self_attn.in_proj.weight.split(48)]
    weights += [
        (block.self_attn.out_proj.weight, 96),
        (block.linear1.weight, 144),
        (block.linear2.weight, 144),
    ]
    for weight, fans in weights:
        bound = (6 / fans) ** 0.5
        assert 0.95 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert all((p == 0).all() for name, p in block.named_parameters() if name.endswith("bias"))
    assert all((norm.weight == 1).all() for norm in (block.norm1, block.norm2))


def test_refusals():
    for width, heads in ((12, 5), (12, 0), (0, 1)):
        with pytest.raises(
            ValueError, match=f"heads must divide width, both positive; received {heads} heads, width {width}"
        ):
            SelfAttention(width, heads)
    with pytest.raises(ValueError, match="feedforward must be positive; received 0"):
        TransformerBlock(12, 3, feedforward=0)
