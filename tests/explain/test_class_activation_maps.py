"""The CAM family against each other, by hand, and on every way of writing a network."""

import pytest
import torch
import torch.nn.functional as F
from architectures import IMAGE, Function, conv, head, inputs
from torch import nn

from hubel import explain, nets
from hubel.explain.maps import spread


def pooled_net():
    torch.manual_seed(0)
    return nn.Sequential(
        conv(), nn.BatchNorm2d(4), nn.ReLU(True), conv(4, 6, stride=2), nn.ReLU(True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(6)
    ).double().eval()  # fmt: skip


def test_cam_is_the_weighted_sum_of_the_last_maps():
    net, x = pooled_net(), inputs(IMAGE)
    found = explain.cam(net, x, target=1)
    with torch.no_grad():
        maps = net[:5](x)
        expected = torch.einsum("c,nchw->nhw", net[7].weight[1], maps)
    torch.testing.assert_close(found.coarse, expected)
    torch.testing.assert_close(found.coarse.mean((1, 2)) + net[7].bias[1].detach(), found.score)


def test_with_global_pooling_cam_grad_cam_and_hires_cam_are_one():
    net, x = pooled_net(), inputs(IMAGE)
    cam, grad, hires = (
        method(net, x, target=2) for method in (explain.cam, explain.grad_cam, explain.hires_cam)
    )
    torch.testing.assert_close(grad.coarse * 16, cam.coarse)
    torch.testing.assert_close(hires.coarse * 16, cam.coarse)
    torch.testing.assert_close(hires.values.flatten(1).sum(1), hires.score - net[7].bias[2].detach())
    torch.testing.assert_close(hires.absorbed, net[7].bias[2].detach().expand(3))
    assert hires.residual.max() < 1e-12


def test_hires_cam_is_complete_before_a_linear_layer_on_all_positions_and_grad_cam_is_not():
    net = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head(256)).double()
    x = inputs(IMAGE)
    assert explain.hires_cam(net, x, target=0).residual.max() < 1e-12
    assert (
        explain.grad_cam(net, x, target=0).coarse - explain.hires_cam(net, x, target=0).coarse
    ).abs().max() > 1e-3
    crooked = nn.Sequential(*net[:3], nn.Linear(256, 9), nn.Tanh(), head(9)).double()
    assert explain.hires_cam(crooked, x, target=0).residual.max() > 1e-3


def test_grad_cam_relatives_by_hand():
    net, x = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head(256)).double(), inputs(IMAGE)
    maps = net[:2](x).detach()
    g = net[3].weight[1].view(4, 8, 8).expand(3, -1, -1, -1).detach()
    by_hand = {
        explain.grad_cam: (g.mean((2, 3), keepdim=True) * maps).sum(1),
        explain.hires_cam: (g * maps).sum(1),
        explain.layer_cam: (g.clamp(min=0) * maps).sum(1),
    }
    alpha = g**2 / (2 * g**2 + g**3 * maps.sum((2, 3), keepdim=True))
    by_hand[explain.grad_cam_plus_plus] = ((alpha * g.clamp(min=0)).sum((2, 3), keepdim=True) * maps).sum(1)
    for method, expected in by_hand.items():
        torch.testing.assert_close(method(net, x, target=1).coarse, expected)
    assert explain.grad_cam(net, x, target=1, positive=True).coarse.min() == 0


def test_functional_reused_and_in_place_code_is_explained_as_modules_are():
    net = pooled_net()
    layers = {"a": net[0], "n": net[1], "b": net[3], "c": net[7]}

    def written_out(self, x):
        x = self.n(self.a(x))
        F.relu_(x)
        x = self.b(x)
        x.relu_()
        return self.c(F.adaptive_avg_pool2d(x, (1, 1)).view(len(x), -1))

    other, x = Function(written_out, **layers).double().eval(), inputs(IMAGE)
    for method in (
        explain.cam,
        explain.grad_cam,
        explain.hires_cam,
        explain.layer_cam,
        explain.grad_cam_plus_plus,
    ):
        torch.testing.assert_close(method(other, x, target=1).values, method(net, x, target=1).values)


def test_maps_that_are_written_to_are_the_last_ones():
    def forward(net, x):
        x = net.a(x)
        x[:, 0] = 2 * x[:, 1]
        x.mul_(0.5)
        return net.c(x.mean((2, 3)))

    net = Function(forward, a=conv(), c=head(4)).double()
    found = explain.hires_cam(net, inputs(IMAGE), target=1)
    assert found.residual.max() < 1e-12
    torch.testing.assert_close(found.coarse * 64, explain.cam(net, inputs(IMAGE), target=1).coarse)


def test_a_named_layer_is_what_it_answered_before_anything_was_done_to_it_in_place():
    net, x = pooled_net(), inputs(IMAGE)
    found = explain.grad_cam(net, x, target=0, layer="1")  # batch norm, before the ReLU in place
    copy = nn.Sequential(*net[:2], nn.ReLU(), *net[3:])
    torch.testing.assert_close(found.values, explain.grad_cam(copy, x, target=0, layer="1").values)
    assert found.notes == ("maps of 1",)
    assert found.coarse.shape == (3, 8, 8)


def test_networks_of_ours_that_end_in_global_pooling():
    for name, side in (("resnet", 32), ("nin", 32), ("mobilenet_v1", 64)):
        torch.manual_seed(0)
        more = {"depth": 20} if name == "resnet" else {}
        net = getattr(nets, name)(**more, inputs=(3, side, side), outputs=4).double().eval()
        x = inputs((3, side, side), 2).abs()
        cam, grad = explain.cam(net, x, target=3), explain.grad_cam(net, x, target=3)
        scale = (cam.coarse.flatten(1) * grad.coarse.flatten(1)).sum(1) / grad.coarse.flatten(1).square().sum(
            1
        )
        torch.testing.assert_close(grad.coarse * scale[:, None, None], cam.coarse, rtol=1e-6, atol=1e-9)


def test_series_and_volumes_and_texts():
    torch.manual_seed(0)
    series = nets.series_resnet(8, inputs=3, outputs=2).double().eval()
    x = inputs((24, 3), 2)  # steps first
    found = explain.grad_cam(series, x, target=1)
    assert found.values.shape == (2, 24, 3)
    assert found.coarse.shape == (2, 3)
    torch.testing.assert_close(found.values[..., 0], found.values[..., 2])
    torch.testing.assert_close(found.values.flatten(1).sum(1), found.coarse.sum(1))
    volume = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)).double()
    assert explain.hires_cam(volume, inputs((1, 6, 6, 6)), target=0).residual.max() < 1e-12
    text = Function(
        lambda net, x: net.c(F.relu(net.b(net.a(x).transpose(1, 2))).amax(2)),
        a=nn.Embedding(9, 4),
        b=nn.Conv1d(4, 5, 3),
        c=head(5),
    ).double()
    letters = torch.randint(0, 9, (2, 10), generator=torch.Generator().manual_seed(0))
    assert explain.grad_cam(text, letters, target=0).values.shape == (2, 10)
    assert explain.hires_cam(text, letters, target=0).residual.max() < 1e-12


def test_spreading_keeps_sums_and_the_middle():
    coarse = inputs((3, 5), 2)
    fine = spread(coarse, torch.zeros(2, 2, 7, 17), steps_first=False)
    assert fine.shape == (2, 2, 7, 17)
    torch.testing.assert_close(fine.flatten(1).sum(1), coarse.flatten(1).sum(1))
    peak = torch.zeros(1, 3, 3)
    peak[0, 1, 1] = 1
    wide = spread(peak, torch.zeros(1, 1, 9, 9), steps_first=False)[0, 0]
    assert int(wide.argmax()) == 40
    torch.testing.assert_close(wide, wide.flip(0).t())


def test_networks_and_layers_that_do_not_fit_are_refused():
    x = inputs(IMAGE)
    hidden = nn.Sequential(
        conv(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), head(4)
    ).double()
    with pytest.raises(ValueError, match="cam needs a network that ends in maps"):
        explain.cam(hidden, x, target=0)
    with pytest.raises(ValueError, match="cam explains the score of a class"):
        explain.cam(hidden, x, target=lambda scores: scores[:, 0])
    with pytest.raises(ValueError, match="the network makes no maps of positions"):
        explain.grad_cam(nn.Sequential(nn.Flatten(), head(128)).double(), x, target=0)
    with pytest.raises(ValueError, match=r"the network has no layer '9'"):
        explain.grad_cam(hidden, x, target=0, layer="9")
    with pytest.raises(ValueError, match=r"layer 4 answers \[3, 4\], which are no maps"):
        explain.grad_cam(hidden, x, target=0, layer="4")


class Patches(nn.Module):
    """A vision transformer in a few lines: patches of 4, one or two blocks before or after, read from the class token or as a mean."""

    def __init__(self, read, written="fused"):
        super().__init__()
        torch.manual_seed(1)
        self.read, self.written = read, written
        self.cut = nn.Conv2d(2, 6, 4, 4)
        self.extra = nn.Parameter(torch.randn(1, 1, 6))
        self.norms = nn.ModuleList(nn.LayerNorm(6) for _ in range(3))
        self.mix = nn.ModuleList(nn.Linear(6, 18) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def attention(self, h, layer):
        q, k, v = layer(h).chunk(3, dim=2)
        if self.written == "fused":
            return F.scaled_dot_product_attention(q, k, v)
        return (q @ k.transpose(1, 2) / 6**0.5).softmax(-1) @ v

    def forward(self, x):
        h = self.cut(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.extra.expand(len(x), -1, -1), h], 1) if self.read == "class" else h
        for norm, layer in zip(self.norms, self.mix, strict=False):
            h = h + self.attention(norm(h), layer)
        h = self.norms[2](h[:, 0]) if self.read == "class" else self.norms[2](h).mean(1)
        return self.head(h)


@pytest.mark.parametrize("written", ["fused", "by hand"])
def test_maps_of_a_transformer_are_the_last_tokens_that_count(written):
    net, x = Patches("class", written).double().eval(), inputs((2, 8, 12))
    found = explain.grad_cam(net, x, target=1)
    tokens = {}
    handle = net.norms[1].register_forward_hook(lambda m, i, o: tokens.update(kept=o))
    y = net(x)[:, 1]
    handle.remove()
    (slope,) = torch.autograd.grad(y.sum(), tokens["kept"])
    patches, slope = (t[:, 1:].detach().transpose(1, 2).reshape(3, 6, 2, 3) for t in (tokens["kept"], slope))
    torch.testing.assert_close(found.coarse, (slope.mean((2, 3), keepdim=True) * patches).sum(1))
    assert found.values.shape == x.shape and "last normalized tokens" in found.notes[0]
    torch.testing.assert_close(explain.grad_cam(net, x, target=1, layer="norms.1").coarse, found.coarse)
    hires = explain.hires_cam(net, x, target=1)
    torch.testing.assert_close(hires.coarse, (slope * patches).sum(1))
    with torch.no_grad():
        emptied = net.norms[1].register_forward_hook(
            lambda m, i, o: torch.cat([o[:, :1], torch.zeros_like(o[:, 1:])], 1)
        )
        without = net(x)[:, 1]
        emptied.remove()
    torch.testing.assert_close(hires.absorbed, without)
    torch.testing.assert_close(explain.hires_cam(net, x, target=1, layer="norms.1").absorbed, without)


def test_cam_of_a_transformer_that_reads_the_mean_of_its_tokens():
    net, x = Patches("mean").double().eval(), inputs((2, 8, 12))
    found = explain.cam(net, x, target=2)
    torch.testing.assert_close(found.coarse.mean((1, 2)) + net.head.bias[2].detach(), found.score)
    assert explain.hires_cam(net, x, target=2).residual.max() < 1e-12


def test_tokens_that_say_nothing_or_can_not_be_told_are_refused():
    net, x = Patches("class").double().eval(), inputs((2, 8, 12))
    with pytest.raises(ValueError, match=r"norms\.2 answers"):
        explain.grad_cam(net, x, layer="norms.2")
    blind = Patches("class").double().eval()
    blind.norms = nn.ModuleList(nn.Identity() for _ in range(3))
    with pytest.raises(ValueError, match="name the layer whose answer"):
        explain.grad_cam(blind, x)
    ours = nets.vision_transformer(4, width=24, layers=2, inputs=(2, 8, 12), outputs=3).eval()
    with pytest.raises(ValueError, match=r"patches in what layer blocks\.1 answers"):
        explain.grad_cam(ours, x.float(), layer="blocks.1")
    assert explain.grad_cam(ours, x.float()).coarse.shape == (3, 2, 3)
