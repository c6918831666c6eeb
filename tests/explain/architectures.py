"""Small networks of every way in which code is written, in float64, with biases. `NETS` leads from a name to (net, shape of an example)."""

import torch
import torch.nn.functional as F
from torch import nn


class Function(nn.Module):
    """A network whose forward pass is `function(self, x)`; `layers` are its modules by name."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def conv(inputs=2, outputs=4, **more):
    return nn.Conv2d(inputs, outputs, 3, padding=more.pop("padding", 1), **more)


def head(features, outputs=3):
    return nn.Linear(features, outputs)


IMAGE = (2, 8, 8)


def functional(net, x):
    x = F.max_pool2d(F.relu(net.a(x)), 2)
    x = torch.relu(net.b(x))
    return net.c(x.flatten(1))


def reused(net, x):
    x = net.relu(net.a(x))
    x = net.relu(net.b(x))
    x = net.relu(net.b(x))
    return net.c(x.mean((2, 3)))


def in_place(net, x):
    x = net.a(x)
    F.relu(x, inplace=True)
    x = net.b(x)
    x.relu_()
    x.mul_(1.5)
    x.add_(0.1)
    x[:, 0] = x[:, 1] * 2
    torch.nn.functional.elu_(x)
    return net.c(x.mean((2, 3)))


def in_place_views(net, x):
    x = net.a(x)
    first = x[:, :2]
    first.tanh_()
    buffer = torch.zeros(len(x), 6, 8, 8, dtype=x.dtype) + 0.3
    part, early = buffer[:, 1:5], buffer[:, 2:4]
    part.copy_(x)
    buffer += 0.1
    buffer[:, 5].fill_(0.7)
    return net.c(buffer.relu().mean((2, 3))) + early.tanh().mean((1, 2, 3), keepdim=True).flatten(1)


def plus_equals(net, x):
    x = F.relu(net.a(x))
    out = net.b(x)
    out += x
    out = F.relu_(out)
    return net.c(out.flatten(1))


def changed_after_use(net, x):
    """What a convolution has read is changed in place afterwards: autograd itself refuses that."""
    x = torch.tanh(net.a(x))
    x += torch.sigmoid(net.b(x))
    x *= x
    return net.c(x.mean((2, 3)))


def residual(net, x):
    x = F.relu(net.n(net.a(x)))
    x = F.relu(x + net.m(net.b(x)))
    x = F.relu(net.d(F.relu(net.b(x))) + net.e(x))
    return net.c(F.adaptive_avg_pool2d(x, 1).flatten(1))


def concat(net, x):
    y = F.relu(net.a(x))
    z = torch.cat([x, y, torch.full_like(y[:, :1], 0.5)], 1)
    return net.c(torch.stack([F.relu(net.b(z)).mean((2, 3)), z.amax((2, 3))[:, :4]]).sum(0))


def norm_first(net, x):
    x = net.b(F.relu(net.n(net.a(F.relu(net.m(x))))))
    return net.c(F.avg_pool2d(net.k(x), 2).flatten(1))


def squeeze(net, x):
    """Squeeze and excitation: a gate of every channel."""
    x = F.relu(net.a(x))
    gate = torch.sigmoid(net.d(F.relu(net.b(x.mean((2, 3)))))).view(-1, 4, 1, 1)
    return net.c((x * gate + (1 - gate) * x.mean((2, 3), keepdim=True)).flatten(1))


def layer_normed(net, x):
    x = net.n(net.a(x).flatten(2).transpose(1, 2))
    x = x / (1 + x.norm(dim=-1, keepdim=True))
    return net.c(F.normalize(net.g(x.transpose(1, 2).contiguous()), dim=1).mean(2))


def pooled(first, pool, activation):
    def forward(net, x):
        x = net.a(x)
        x = pool(activation(x)) if first == "activation" else activation(pool(x))
        return net.c(activation(net.b(x)).flatten(1))

    return forward


def arithmetic(net, x):
    y = net.a(x)
    z = 2 - y / 3 + y.square() * 0.1 - (1 / (2 + y.tanh())) + torch.exp(-y.abs())
    z = torch.where(torch.arange(8) > 3, z, z.flip(-1)) + z.roll(1, 2) ** 3 / 50
    z = torch.addcmul(z, y, z, value=0.2).clamp(-2, 2).lerp(y, 0.3)
    z = torch.maximum(z, y.softmax(1)) + torch.minimum(z, y) - z.std((2, 3), keepdim=True)
    return net.c(
        torch.einsum("nchw,nchw->nc", z, y) + torch.logsumexp(z.flatten(2), 2) + z.flatten(2).max(2)[0]
    )


def matrices(net, x):
    y = x.flatten(2) @ net.w + 0.1
    scores = torch.bmm(y, y.transpose(1, 2)) / 4
    return net.c(torch.matmul(scores.softmax(-1), y).mean(1))


def last_step(net, x):
    out = net.r(x)
    state = out[1][0] if isinstance(out[1], tuple) else out[1]
    return net.c(torch.cat([out[0][:, -1], state.sum(0)], 1))


def time_first(net, x):
    out, _ = net.r(x.transpose(0, 1))
    return net.c(torch.tanh(out).mean(0))


def cells(net, x):
    h = c = x.new_zeros(len(x), 5)
    for step in x.unbind(1):
        h, c = net.r(step, (h, c))
    return net.c(h)


def attended(net, x):
    y, _ = net.r(x, x, x)
    y = net.n(x + y)
    q, k = net.q(y).chunk(2, -1)
    return net.c(F.scaled_dot_product_attention(q, k, y, is_causal=True).mean(1))


def encoded(net, x):
    return net.c(net.r(x).mean(1))


def volumes(net, x):
    x = F.relu(net.n(net.a(x)))
    return net.c(F.max_pool3d(x, 2).flatten(1))


def series(net, x):
    x = F.gelu(net.n(net.a(x)))
    return net.c(F.max_pool1d(net.b(x), 3, 2, 1).flatten(1))


def transposed(net, x):
    x = F.relu(net.n(net.a(x)))
    x = net.d(x)
    return net.c(F.interpolate(F.silu(x), scale_factor=0.5, mode="bilinear", align_corners=False).flatten(1))


def stack(*layers):
    return nn.Sequential(*layers)


def all_nets():
    """Every network with random weights, running statistics and biases that are not zero."""
    torch.manual_seed(0)
    nets = {
        "sequential": (
            stack(conv(), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4), nn.ReLU(), nn.Flatten(), head(64)),
            IMAGE,
        ),
        "functional": (Function(functional, a=conv(), b=conv(4, 4), c=head(64)), IMAGE),
        "reused": (Function(reused, a=conv(), b=conv(4, 4), relu=nn.ReLU(), c=head(4)), IMAGE),
        "in place modules": (
            stack(
                conv(),
                nn.BatchNorm2d(4),
                nn.ReLU(True),
                nn.Dropout(0.5, inplace=True),
                conv(4, 4),
                nn.LeakyReLU(0.1, True),
                nn.Hardtanh(-1, 1, True),
                nn.Flatten(),
                head(256),
            ),
            IMAGE,
        ),
        "in place": (Function(in_place, a=conv(), b=conv(4, 4), c=head(4)), IMAGE),
        "in place views": (Function(in_place_views, a=conv(), c=head(6)), IMAGE),
        "plus equals": (Function(plus_equals, a=conv(), b=conv(4, 4), c=head(256)), IMAGE),
        "changed after use": (Function(changed_after_use, a=conv(), b=conv(4, 4), c=head(4)), IMAGE),
        "residual": (
            Function(
                residual,
                a=conv(),
                b=conv(4, 4),
                d=conv(4, 4, stride=2),
                e=nn.Conv2d(4, 4, 1, 2),
                n=nn.BatchNorm2d(4),
                m=nn.BatchNorm2d(4),
                c=head(4),
            ),
            IMAGE,
        ),
        "concat": (Function(concat, a=conv(), b=conv(7, 4), c=head(4)), IMAGE),
        "norm first": (
            Function(
                norm_first,
                a=conv(),
                b=conv(4, 4),
                m=nn.BatchNorm2d(2),
                n=nn.BatchNorm2d(4),
                k=nn.BatchNorm2d(4),
                c=head(64),
            ),
            IMAGE,
        ),
        "excitation": (Function(squeeze, a=conv(), b=nn.Linear(4, 3), d=nn.Linear(3, 4), c=head(256)), IMAGE),
        "layer norm": (
            Function(layer_normed, a=conv(), n=nn.LayerNorm(4), g=nn.GroupNorm(2, 4), c=head(4)),
            IMAGE,
        ),
        "instance norm": (
            stack(conv(), nn.InstanceNorm2d(4, affine=True), nn.Mish(), nn.Flatten(), head(256)),
            IMAGE,
        ),
        "local response": (
            stack(conv(), nn.ReLU(), nn.LocalResponseNorm(3, 0.5), nn.Flatten(), head(256)),
            IMAGE,
        ),
        "grouped": (
            stack(
                conv(2, 4, groups=2),
                nn.Softplus(),
                nn.Conv2d(4, 8, 3, groups=4, dilation=2),
                nn.Sigmoid(),
                nn.Flatten(),
                head(128),
            ),
            IMAGE,
        ),
        "mobile": (
            stack(
                conv(),
                nn.Hardswish(),
                conv(4, 4, groups=4),
                nn.BatchNorm2d(4),
                nn.ReLU6(),
                nn.PReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.ELU(),
                head(16),
            ),
            IMAGE,
        ),
        "transposed": (
            Function(
                transposed,
                a=nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2),
                n=nn.BatchNorm2d(4),
                d=nn.ConvTranspose2d(4, 2, 2),
                c=head(128),
            ),
            IMAGE,
        ),
        "arithmetic": (Function(arithmetic, a=conv(), c=head(4)), IMAGE),
        "matrices": (Function(matrices, w=nn.Linear(8, 64), c=head(8)), IMAGE),
        "1-D": (
            Function(
                series,
                a=nn.Conv1d(3, 4, 3),
                n=nn.BatchNorm1d(4),
                b=nn.Conv1d(4, 4, 3, dilation=2),
                c=head(12),
            ),
            (3, 12),
        ),
        "3-D": (Function(volumes, a=nn.Conv3d(1, 3, 3), n=nn.BatchNorm3d(3), c=head(24)), (1, 6, 6, 6)),
        "dense": (
            stack(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.GLU(), head(4)),
            (6,),
        ),
        "lstm": (
            Function(last_step, r=nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True), c=head(12)),
            (5, 3),
        ),
        "gru": (Function(last_step, r=nn.GRU(3, 4, batch_first=True), c=head(8)), (5, 3)),
        "rnn": (
            Function(last_step, r=nn.RNN(3, 4, batch_first=True, nonlinearity="relu"), c=head(8)),
            (5, 3),
        ),
        "time first": (Function(time_first, r=nn.LSTM(3, 4), c=head(4)), (5, 3)),
        "cells": (Function(cells, r=nn.LSTMCell(3, 5), c=head(5)), (5, 3)),
        "attention": (
            Function(
                attended,
                r=nn.MultiheadAttention(8, 2, batch_first=True),
                n=nn.LayerNorm(8),
                q=nn.Linear(8, 16),
                c=head(8),
            ),
            (5, 8),
        ),
        "transformer": (
            Function(
                encoded,
                r=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"),
                c=head(8),
            ),
            (5, 8),
        ),
    }
    for first in ("activation", "pool"):
        for kind, pool in (("max", nn.MaxPool2d(3, 2, 1)), ("average", nn.AvgPool2d(2))):
            for activation in (F.relu, F.gelu, F.silu):
                name = f"{kind} pool, {activation.__name__}, {first} first"
                nets[name] = (
                    Function(pooled(first, pool, activation), a=conv(), b=conv(4, 4), c=head(64)),
                    IMAGE,
                )
    generator = torch.Generator().manual_seed(1)
    nets["matrices"][0].w = nn.Parameter(torch.randn(64, 8, generator=generator) / 8)
    for net, _ in nets.values():
        net.double().eval()
        for name, value in [*net.named_parameters(), *net.named_buffers()]:
            if value.is_floating_point() and value.ndim == 1:  # biases, norms, running statistics
                noise = torch.rand(value.shape, generator=generator, dtype=value.dtype)
                value.data = noise + 0.5 if "var" in name or name.endswith("weight") else noise - 0.4
    return nets


NETS = all_nets()


def inputs(shape, count=3, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64)
