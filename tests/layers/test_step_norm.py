import torch
from torch import nn

from hubel.layers.step_norm import StepNorm


def test_without_padding_it_is_batch_norm():
    x = torch.randn(6, 3, 10, generator=torch.Generator().manual_seed(0)) * 3 + 5
    ours, theirs = StepNorm(3), nn.BatchNorm1d(3)
    for _ in range(3):
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_padding_is_not_counted():
    """The oracle: torch's norm of the steps that there are, side by side in one long row."""
    generator = torch.Generator().manual_seed(0)
    x, lengths = torch.randn(6, 3, 10, generator=generator) * 3 + 5, torch.tensor([10, 1, 4, 7, 2, 10])
    mask = torch.arange(10) < lengths[:, None]
    valid = x.transpose(1, 2)[mask]  # [M, C]
    theirs = nn.BatchNorm1d(3)
    with torch.no_grad():
        theirs.weight.uniform_(0.5, 2, generator=generator)
    ours = StepNorm(3)
    ours.weight.data.copy_(theirs.weight)
    one, other = x.clone().requires_grad_(), valid.clone().requires_grad_()
    out, expected = ours(one, mask).transpose(1, 2)[mask], theirs(other)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    (out**3).sum().backward()
    (expected**3).sum().backward()
    torch.testing.assert_close(one.grad.transpose(1, 2)[mask], other.grad, rtol=1e-4, atol=1e-4)
    assert (one.grad.transpose(1, 2)[~mask] == 0).all()
