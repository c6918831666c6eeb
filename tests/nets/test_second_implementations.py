"""ZFNet, NiN, MobileNet, ENet and U-Net, written a second time from the tables and figures of their papers as plain functions.

The second ones take the weights of the first in their order, so that a wrong stride, padding, norm, activation or link shows in the scores;
the number of parameters shows none of these. (The vision transformer has such a test in `test_small_zoo.py`.)
"""

import pytest
import torch
import torch.nn.functional as F

from hubel import nets


class Weights:
    """The tensors of a network, taken one after the other."""

    def __init__(self, net):
        self.left = [value for name, value in net.state_dict().items() if not name.endswith("tracked")]

    def take(self, num=1):
        taken, self.left = self.left[:num], self.left[num:]
        return taken


def disturbed(net):
    """`net` in float64, evaluating, with biases, slopes and norms that are not what they began as."""
    generator = torch.Generator().manual_seed(1)

    def uniform(value, low, high):
        return low + (high - low) * torch.rand(value.shape, generator=generator, dtype=torch.float64)

    net = net.double().eval()
    for name, value in net.state_dict().items():
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.copy_(uniform(value, 0.2, 1.5))
        elif value.ndim == 1:
            value.copy_(uniform(value, -0.3, 0.3))
    return net


def conv(w, x, *, bias=False, **options):
    (weight,) = w.take()
    return F.conv2d(x, weight, w.take()[0] if bias else None, **options)


def linear(w, x):
    weight, bias = w.take(2)
    return x @ weight.T + bias


def norm(w, x):
    weight, bias, mean, var = (value[:, None, None] for value in w.take(4))
    return weight * (x - mean) / (var + 1e-5).sqrt() + bias


def relu(x):
    return x.clamp(min=0)


def pooled(x, how):
    """3×3 with stride 2; what is beyond the far edges takes no part, but a window may reach there."""
    far = [(-(side - 3)) % 2 for side in x.shape[2:]]
    padding = (0, far[1], 0, far[0])
    if how == "max":
        return F.max_pool2d(F.pad(x, padding, value=-torch.inf), 3, 2)
    inside = F.avg_pool2d(F.pad(torch.ones_like(x), padding), 3, 2)
    return F.avg_pool2d(F.pad(x, padding), 3, 2) / inside


def response_norm(x):
    """Krizhevsky et al. 2012, section 3.3: k = 2, n = 5, α = 1e-4, β = 0.75."""
    squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2))
    around = sum(squares[:, k : k + x.shape[1]] for k in range(5))
    return x / (2 + 1e-4 * around) ** 0.75


def zfnet(w, x):
    """Figure 3 of Zeiler and Fergus 2014, maps of 110, 55, 26, 13, 13, 13, 13 and 6 positions a side."""
    x = response_norm(pooled(relu(conv(w, x, bias=True, stride=2, padding=1)), "max"))
    x = response_norm(pooled(relu(conv(w, x, bias=True, stride=2)), "max"))
    for _ in range(3):
        x = relu(conv(w, x, bias=True, padding=1))
    x = pooled(x, "max").flatten(1)
    return linear(w, relu(linear(w, relu(linear(w, x)))))


def nin(batch_norm):
    def scores(w, x):
        def layer(x, padding=0):
            x = conv(w, x, bias=True, padding=padding)
            return relu(norm(w, x) if batch_norm else x)

        x = pooled(layer(layer(layer(x, 2))), "max")
        x = pooled(layer(layer(layer(x, 2))), "mean")
        x = layer(layer(x, 1))
        weight, bias = w.take(2)  # the last 1×1 convolution, then the average over positions
        return F.conv2d(x, weight[:, :, None, None], bias).mean(dim=(2, 3))

    return scores


def mobilenet_v1(w, x):
    """Table 1 of Howard et al. 2017."""
    x = relu(norm(w, conv(w, x, stride=2, padding=1)))
    for stride in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        x = relu(norm(w, conv(w, x, stride=stride, padding=1, groups=x.shape[1])))
        x = relu(norm(w, conv(w, x)))
    return linear(w, x.mean(dim=(2, 3)))


def prelu(w, x):
    (slope,) = w.take()
    return x.clamp(min=0) + slope[:, None, None] * x.clamp(max=0)


def enet_bottleneck(w, x, act, dilation=1, asymmetric=False):
    y = act(w, norm(w, conv(w, x)))
    if asymmetric:
        y = conv(w, conv(w, y, padding=(2, 0)), bias=True, padding=(0, 2))
    else:
        y = conv(w, y, bias=True, padding=dilation, dilation=dilation)
    y = norm(w, conv(w, act(w, norm(w, y))))
    return act(w, x + y)


def enet_reducing(w, x):
    """Half the sides; and where the greatest of each four stood."""
    y = prelu(w, norm(w, conv(w, x, stride=2)))
    y = prelu(w, norm(w, conv(w, y, bias=True, padding=1)))
    y = norm(w, conv(w, y))
    num, channels, height, width = x.shape
    greatest = x.view(num, channels, height // 2, 2, width // 2, 2).amax(dim=(3, 5))
    stood = x == twice_as_large(greatest)
    assert (stood.sum() == greatest.numel()).item(), "two maxima are equal: nobody could say which is meant"
    missing = torch.zeros(num, y.shape[1] - channels, *greatest.shape[2:], dtype=x.dtype)
    return prelu(w, torch.cat([greatest, missing], dim=1) + y), stood


def enet_enlarging(w, x, stood):
    y = relu(norm(w, conv(w, x)))
    weight, bias = w.take(2)
    y = F.conv_transpose2d(y, weight, bias, stride=2, padding=1, output_padding=1)
    y = norm(w, conv(w, relu(norm(w, y))))
    return relu(y + twice_as_large(norm(w, conv(w, x))) * stood)


def twice_as_large(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def enet(w, x):
    """Figure 2 and table 1 of Paszke et al. 2016."""

    def plain(w, x):
        return relu(x)

    filters = conv(w, x, bias=True, stride=2, padding=1)
    x = prelu(w, norm(w, torch.cat([filters, F.max_pool2d(x, 2)], dim=1)))
    x, first = enet_reducing(w, x)
    for _ in range(4):
        x = enet_bottleneck(w, x, prelu)
    x, second = enet_reducing(w, x)
    for _ in range(2):
        for dilation, asymmetric in ((1, 0), (2, 0), (1, 1), (4, 0), (1, 0), (8, 0), (1, 1), (16, 0)):
            x = enet_bottleneck(w, x, prelu, dilation, bool(asymmetric))
    x = enet_enlarging(w, x, second)
    x = enet_bottleneck(w, enet_bottleneck(w, x, plain), plain)
    x = enet_bottleneck(w, enet_enlarging(w, x, first), plain)
    weight, bias = w.take(2)
    return F.conv_transpose2d(x, weight, bias, stride=2)


def unet(levels, batch_norm):
    def scores(w, x):
        """Figure 1 of Ronneberger et al. 2015, padded; the layers come in the order down, enlarging, up, scores."""
        twice = [w.take(10 if batch_norm else 4) for _ in range(levels + 1)]
        enlarge = [w.take(2) for _ in range(levels)]
        again = [w.take(10 if batch_norm else 4) for _ in range(levels)]

        def both(x, given):
            for k in range(2):
                if batch_norm:  # two convolutions, then two norms
                    x = F.conv2d(x, given[k], padding=1)
                    weight, bias, mean, var = (v[:, None, None] for v in given[2 + 4 * k : 6 + 4 * k])
                    x = weight * (x - mean) / (var + 1e-5).sqrt() + bias
                else:
                    x = F.conv2d(x, given[2 * k], given[2 * k + 1], padding=1)
                x = relu(x)
            return x

        kept = [both(x, twice[0])]
        for given in twice[1:]:
            kept.append(both(F.max_pool2d(kept[-1], 2), given))
        x = kept.pop()
        for (weight, bias), given in zip(enlarge, again, strict=True):
            x = both(torch.cat([kept.pop(), F.conv_transpose2d(x, weight, bias, stride=2)], dim=1), given)
        return conv(w, x, bias=True)

    return scores


CASES = {
    "zfnet": (lambda: nets.zfnet(outputs=5, hidden=16), zfnet, (3, 224, 224)),
    "nin": (nets.nin, nin(False), (3, 32, 32)),
    "nin, batch norm": (lambda: nets.nin((2, 19, 26), 4, batch_norm=True), nin(True), (2, 19, 26)),
    "mobilenet_v1": (
        lambda: nets.mobilenet_v1(0.25, inputs=(3, 70, 97), outputs=6),
        mobilenet_v1,
        (3, 70, 97),
    ),
    "enet": (lambda: nets.enet((3, 144, 160), 5), enet, (3, 144, 160)),
    "unet": (lambda: nets.unet(4, levels=3, inputs=(2, 40, 24), outputs=3), unet(3, True), (2, 40, 24)),
    "unet, no norm": (
        lambda: nets.unet(4, levels=2, batch_norm=False, inputs=(1, 20, 36), outputs=2),
        unet(2, False),
        (1, 20, 36),
    ),
}


@pytest.mark.parametrize(("make", "second", "shape"), CASES.values(), ids=CASES)
def test_both_implementations_give_the_same_scores(make, second, shape):
    torch.manual_seed(0)
    net = disturbed(make())
    x = torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights = Weights(net)
    with torch.no_grad():
        expected = second(weights, x)
        found = net(x)
    assert not weights.left, "not all weights were used"
    assert found.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
