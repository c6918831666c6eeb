"""ENet and U-Net: a score for every pixel. What `test_contract.py` holds of the others, as far as it is asked of these."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F

from hubel import nets
from hubel.core import names

CASES = {
    "enet": nets.enet,
    "unet": lambda **given: nets.unet(8, levels=3, **given),
    "unet without norm": lambda **given: nets.unet(8, levels=2, batch_norm=False, **given),
}
every_net = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def pictures(count=2, shape=(2, 24, 40), seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def made(make, inputs=(2, 24, 40), outputs=5):
    torch.manual_seed(0)
    return make(inputs=inputs, outputs=outputs)


@every_net
@pytest.mark.parametrize("size", [(24, 40), (17, 23), (8, 8), (33, 9)])
def test_scores_have_the_size_of_the_picture(make, size):
    net = made(make).eval()
    with torch.no_grad():
        assert net(pictures(shape=(2, *size))).shape == (2, 5, *size)
        assert net.features(pictures(shape=(2, *size))).ndim == 2


@every_net
def test_every_pixel_has_a_score_that_depends_on_it(make):
    """And padding at the far edges changes nothing at the near ones."""
    net = made(make).eval()
    x = pictures(1).requires_grad_()
    net(x).square().sum().backward()
    assert (x.grad.abs().sum(dim=1) > 0).all()


@every_net
def test_backward_reaches_every_parameter_and_a_batch_is_learnt(make):
    net = made(make, outputs=3)
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    x = pictures(4)
    y = (x.mean(dim=1) > 0).long() + (x[:, 0] > 1).long()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    first = None
    for _ in range(60):
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        if first is None:
            first = loss.item()
            assert 0.5 < first < 3
            assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
        optimizer.step()
        if loss.item() < 0.6 * first:
            break
    assert loss.item() < 0.6 * first


@every_net
def test_examples_do_not_see_each_other_and_made_by_makes_the_same_net(make):
    net = made(make).eval()
    with torch.no_grad():
        together, alone = net(pictures(3)), torch.cat([net(x[None]) for x in pictures(3)])
    assert (
        together - alone
    ).norm() < 1e-3 * together.norm()  # maxima that nearly tie may stand elsewhere by rounding
    stored = json.loads(json.dumps({"name": net.made_by.name, "arguments": net.made_by.arguments}))
    again = names.find(stored["name"])(**stored["arguments"]).eval()
    again.load_state_dict(net.state_dict())
    assert repr(again) == repr(net)
    with torch.no_grad():
        assert torch.equal(again(pictures(3)), together)
    assert copy.deepcopy(net).made_by == net.made_by


@every_net
def test_wrong_pictures_are_refused(make):
    net = made(make)
    for wrong in (torch.zeros(2, 3, 24, 40), torch.zeros(2, 2, 3, 24), torch.zeros(2, 24, 40)):
        with pytest.raises(ValueError, match=r"expects images .*received"):
            net(wrong)
    with pytest.raises(ValueError, match=r"must be at least \d+×\d+ pixels; received 3×3"):
        make(inputs=(1, 3, 3), outputs=2)


def test_enet_stores_the_numbers_that_the_paper_counts():
    """0.37 million with the running means and variances (and without the step counters) of its norms."""
    with torch.device("meta"):
        state = nets.enet(outputs=20).state_dict()
    count = sum(value.numel() for name, value in state.items() if not name.endswith("tracked"))
    assert round(count / 1e6, 2) == 0.37


def test_enet_has_the_maps_of_table_1():
    with torch.device("meta"):
        net = nets.enet().eval()
    shapes = {}
    for name in ("initial", "stage1", "stage2", "stage4", "stage5"):
        net.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    net(torch.zeros(1, 3, 512, 512, device="meta"))
    assert shapes == {
        "initial": (16, 256, 256),
        "stage1": (64, 128, 128),
        "stage2": (128, 64, 64),
        "stage4": (64, 128, 128),
        "stage5": (16, 256, 256),
    }


@pytest.mark.parametrize(("width", "levels"), [(0, 2), (8, 0)])
def test_sizes_that_are_none_are_refused(width, levels):
    with pytest.raises(ValueError, match="width and levels must be positive"):
        nets.unet(width, levels=levels)
