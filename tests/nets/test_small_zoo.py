"""ZFNet, NiN, MobileNet, the vision transformer, the strided CNN, the perceptron, ResNets without skips: structure, and that they learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hubel import nets
from hubel.layers.dropout import Dropout
from hubel.layers.switches import with_switches

LEARNERS = {
    "zfnet": (lambda: nets.zfnet((1, 51, 51), 4, hidden=32), 5e-4),
    "nin": (lambda: nets.nin((1, 16, 16), 4), 1e-3),
    "nin with batch norm": (lambda: nets.nin((1, 16, 16), 4, batch_norm=True), 1e-3),
    "mobilenet_v1": (lambda: nets.mobilenet_v1(0.25, inputs=(1, 32, 32), outputs=4), 3e-3),
    "vision_transformer": (
        lambda: nets.vision_transformer(width=32, layers=2, heads=2, inputs=(1, 16, 16), outputs=4),
        3e-3,
    ),
    "strided_cnn": (lambda: nets.strided_cnn((1, 16, 16), 4), 1e-3),
    "perceptron": (lambda: nets.perceptron((1, 8, 8), 4), 0.05),
    "resnet without skips": (lambda: nets.resnet(20, skips=False, inputs=(1, 16, 16), outputs=4), 3e-3),
}


@pytest.mark.parametrize(("make", "rate"), LEARNERS.values(), ids=LEARNERS)
def test_one_batch_is_learnt(make, rate):
    torch.manual_seed(0)
    net = make()
    for module in net.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    x, y = torch.randn(8, *net.inputs), torch.arange(8) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    first = None
    for _ in range(80):
        loss = F.cross_entropy(net(x), y)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1 * first:
            break
    assert loss.item() < 0.1 * first


def test_zfnet_has_the_maps_of_figure_3():
    with torch.device("meta"):
        net = nets.zfnet().eval()
    sides = []
    for layer in net.features:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            layer.register_forward_hook(lambda module, inputs, output: sides.append(tuple(output.shape[1:3])))
    net(torch.zeros(1, 3, 224, 224, device="meta"))
    assert sides == [(96, 110), (96, 55), (256, 26), (256, 13), (384, 13), (384, 13), (256, 13), (256, 6)]


def test_switches_say_where_the_maxima_stood():
    net = nets.zfnet((1, 64, 64), 3, hidden=8).eval()
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        maps, switches = with_switches(net.features.named_children(), x)
        assert torch.equal(maps, net.features.maps(x))
        before = net.features[1](net.features[0](x))
        pooled = net.features[2](before)
        back = switches["2"].unpool(pooled)
    assert list(switches) == ["2", "6", "14"]
    assert back.shape == before.shape
    kept = back != 0
    assert torch.equal(back[kept], before[kept])  # the value stands where it stood
    assert torch.equal(F.max_pool2d(back, 3, 2, ceil_mode=True), pooled)  # and is the maximum there again


def test_network_in_network_is_linear_behind_its_last_relu():
    """Averaging and then a linear layer is what the paper's last 1×1 convolution and average are."""
    net = nets.nin((3, 16, 16), 4).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        first, second, third = net.stages
        maps = third(net.pools[1](second(net.pools[0](first(x)))))
        weight = net.fc.weight[:, :, None, None]
        expected = F.conv2d(maps, weight, net.fc.bias).mean(dim=(2, 3))
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


def test_without_skips_a_block_is_two_plain_layers():
    torch.manual_seed(0)
    net = nets.resnet(20, skips=False).eval()
    block, x = net.layer2[0], torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        expected = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))
        assert torch.equal(block(x), expected)
    assert nets.resnet(18, skips=False).state_dict().keys() <= nets.resnet(18).state_dict().keys()
    with pytest.raises(ValueError, match=r"bottlenecks without skips .* choose depth 18 or 34"):
        nets.resnet(50, skips=False)
    assert "skips" not in nets.resnet(20).made_by.arguments
    assert net.made_by.arguments["skips"] is False


def test_the_perceptron_learns_and_by_its_rule_but_not_xor():
    from hubel.core.types import Batch
    from hubel.fitting import PerceptronRule, steps
    from hubel.objectives import Hinge

    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    for wanted, learnt in (([0, 0, 0, 1], True), ([0, 1, 1, 0], False)):
        torch.manual_seed(0)
        net, y = nets.perceptron(2), torch.tensor(wanted)
        for record in steps(net, Hinge(1), [Batch(inputs=x, targets=y)] * 50, rule=PerceptronRule()):
            if record.loss == 0:
                break
        assert (net.fires(x)[:, 0].long().tolist() == wanted) == learnt


def published_names(width, layers, patch, grid, outputs):
    """The state dict of torchvision's vision transformer: names and shapes, with small random values."""
    sizes = {
        "class_token": (1, 1, width),
        "conv_proj.weight": (width, 3, patch, patch),
        "conv_proj.bias": (width,),
        "encoder.pos_embedding": (1, grid * grid + 1, width),
        "encoder.ln.weight": (width,),
        "encoder.ln.bias": (width,),
        "heads.head.weight": (outputs, width),
        "heads.head.bias": (outputs,),
    }
    for number in range(layers):
        block = f"encoder.layers.encoder_layer_{number}"
        sizes |= {f"{block}.ln_{k}.{part}": (width,) for k in (1, 2) for part in ("weight", "bias")}
        sizes |= {
            f"{block}.self_attention.in_proj_weight": (3 * width, width),
            f"{block}.self_attention.in_proj_bias": (3 * width,),
            f"{block}.self_attention.out_proj.weight": (width, width),
            f"{block}.self_attention.out_proj.bias": (width,),
            f"{block}.mlp.0.weight": (4 * width, width),
            f"{block}.mlp.0.bias": (4 * width,),
            f"{block}.mlp.3.weight": (width, 4 * width),
            f"{block}.mlp.3.bias": (width,),
        }
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(size, generator=generator) for name, size in sizes.items()}


def reference_scores(state, x, layers, heads):
    """The vision transformer written with torch's own attention, from a state dict with torchvision's names."""
    width = state["class_token"].shape[2]
    norm = lambda h, name: F.layer_norm(h, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)  # noqa: E731
    h = F.conv2d(x, state["conv_proj.weight"], state["conv_proj.bias"], 4).flatten(2).transpose(1, 2)
    h = torch.cat([state["class_token"].expand(len(x), -1, -1), h], dim=1) + state["encoder.pos_embedding"]
    for number in range(layers):
        block = f"encoder.layers.encoder_layer_{number}"
        attention = nn.MultiheadAttention(width, heads, batch_first=True).eval()
        start = f"{block}.self_attention."
        attention.load_state_dict({n.removeprefix(start): v for n, v in state.items() if n.startswith(start)})
        look = norm(h, f"{block}.ln_1")
        h = h + attention(look, look, look, need_weights=False)[0]
        look = F.gelu(
            F.linear(norm(h, f"{block}.ln_2"), state[f"{block}.mlp.0.weight"], state[f"{block}.mlp.0.bias"])
        )
        h = h + F.linear(look, state[f"{block}.mlp.3.weight"], state[f"{block}.mlp.3.bias"])
    return F.linear(norm(h[:, 0], "encoder.ln"), state["heads.head.weight"], state["heads.head.bias"])


def test_published_files_of_the_vision_transformer_give_the_scores_of_their_own_network(tmp_path):
    state = published_names(width=24, layers=2, patch=4, grid=4, outputs=5)
    torch.save(state, tmp_path / "vit.pth")
    net = nets.vision_transformer(
        4, width=24, layers=2, heads=3, inputs=(3, 16, 16), outputs=5, weights=tmp_path / "vit.pth"
    ).eval()
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference_scores(state, x, 2, 3), rtol=1e-4, atol=1e-4)
    assert net.published.notes == ()


def test_the_vision_transformer_refuses_what_its_patches_do_not_cover():
    with pytest.raises(
        ValueError,
        match=r"conv_proj cuts patches of 4×4 .* 30×32 are no multiples .* resize the images to 32×32",
    ):
        nets.vision_transformer(inputs=(3, 30, 32))
    with pytest.raises(ValueError, match="heads must divide width"):
        nets.vision_transformer(width=30, heads=4)


@pytest.mark.parametrize("width", [0, -1.0, float("nan")])
def test_a_width_that_is_none_is_refused(width):
    with pytest.raises(ValueError, match=r"width must be a positive number.*received"):
        nets.mobilenet_v1(width)
