"""What can not be seen is refused, never taken for a plain gradient; and what a network changes in itself while it is explained is put back."""

import pytest
import torch
import torch.nn.functional as F
from architectures import IMAGE, Function, conv, head, inputs
from torch import nn
from torch.utils.checkpoint import checkpoint

from hubel import explain
from hubel.core.capture import captured


class Swish(torch.autograd.Function):
    """As EfficientNets have it, to save memory."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad * (gate * (1 + x * (1 - gate)))


def swish(x):
    return x * torch.sigmoid(x)


def hidden(kind):
    """A network of which one operation can not be seen."""
    more = {}
    if kind == "autograd":
        act = Swish.apply
    elif kind == "vmap":
        act = torch.vmap(swish)
    elif kind == "scripted function":
        act = torch.jit.script(swish)
    else:
        more = {"act": torch.jit.script(nn.SiLU())}
        act = None
    net = Function(lambda net, x: net.c((act or net.act)(net.a(x)).flatten(1)), a=conv(), c=head(256), **more)
    return net.double().eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["autograd", "vmap", "scripted function", "scripted layer"])
def test_operations_that_can_not_be_seen_are_refused(kind):
    net, x = hidden(kind), inputs(IMAGE)
    for method in (explain.lrp, explain.deeplift):
        with pytest.raises(ValueError, match=r"torch.autograd.Function|scripted"):
            method(net, x, target=1)
        with pytest.raises(ValueError, match=r"torch.autograd.Function|scripted"):
            method(net, x, target=lambda outputs: outputs[:, 1])
    seen = Function(lambda net, x: net.c(swish(net.a(x)).flatten(1)), a=net.a, c=net.c)
    found, same = (explain.integrated_gradients(n, x, target=1, steps=20).values for n in (net, seen))
    torch.testing.assert_close(found, same)
    found, same = (explain.occlusion(n, x, target=1, patch=4).values for n in (net, seen))
    torch.testing.assert_close(found, same)


def test_weights_made_of_others_are_no_hidden_operation():
    other = nn.Parameter(
        torch.randn(3, 256, dtype=torch.float64)
    )  # not the network's own: it keeps its gradient
    net = Function(lambda net, x: F.linear(net.a(x).relu().flatten(1), other * 2), a=conv()).double().eval()
    for method in (explain.lrp, explain.deeplift):
        assert method(net, inputs(IMAGE), target=1).residual.max() < 1e-10


def test_a_compiled_layer_is_refused():
    net = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head(256)).eval()
    net[1]._modules["_orig_mod"] = nn.ReLU()  # as torch.compile leaves it
    with pytest.raises(TypeError, match="layer 1 of the network is compiled"):
        explain.saliency(net, torch.zeros(1, *IMAGE))


def test_complex_inputs_are_refused():
    with pytest.raises(TypeError, match="real numbers; received"):
        explain.saliency(nn.Linear(2, 1), torch.zeros(1, 2, dtype=torch.complex64))


def test_a_network_made_in_inference_mode_is_refused_as_it_is():
    with torch.inference_mode():
        net = nn.Sequential(conv(), nn.Flatten(), head(256))
    for method in (explain.saliency, explain.occlusion):
        with pytest.raises(ValueError, match=r"0.weight of the network was made under torch.inference_mode"):
            method(net, torch.zeros(1, *IMAGE))
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_whole_numbers_for_a_network_of_pictures_are_refused():
    net = nn.Sequential(conv(), nn.Flatten(), head(256))
    with pytest.raises(ValueError, match=r"does not take whole numbers \(torch.uint8\): pass real ones"):
        explain.occlusion(net, torch.zeros(1, *IMAGE, dtype=torch.uint8), fill=0)


class Counting(nn.Module):
    """It keeps a mean of what it saw, and counts its calls, in evaluation as well."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("calls", torch.tensor(0))
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        self.calls = self.calls + 1
        return self.linear(x)


@pytest.mark.parametrize("fails", [False, True])
def test_buffers_are_put_back(fails):
    net = Counting().eval()
    net(torch.ones(1, 2))
    before = {name: (buffer, buffer.clone()) for name, buffer in net.named_buffers()}
    try:
        explain.occlusion(net, torch.full((1, 2), 3.0), target=(lambda outputs: outputs) if fails else 0)
    except ValueError:
        assert fails
    for name, (buffer, value) in before.items():
        assert dict(net.named_buffers())[name] is buffer
        assert torch.equal(buffer, value)


def test_a_spectral_norm_in_training_mode_stays_as_it_was():
    net = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    explain.saliency(net, torch.ones(1, 4))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def encoder():
    """An encoder whose fast path answers zero where a sequence is padded, and its slow one does not."""

    def forward(net, x, padding):
        return net.c(net.r(x, src_key_padding_mask=padding).mean(1))

    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = Function(None, r=nn.TransformerEncoder(layer, 2), c=head(8)).double().eval()
    net.forward = lambda x, padding: forward(net, x, padding)
    return net


def test_padded_sequences_are_explained_along_one_way():
    net, x = encoder(), inputs((5, 8))
    padding = torch.arange(5)[None] >= torch.tensor([5, 3, 4])[:, None]
    fast = torch.backends.mha.get_fastpath_enabled()
    score = net(x.clone().requires_grad_(), padding)[:, 1].detach()
    for found in (
        explain.deeplift(net, x, target=1, also=(padding,)),
        explain.lrp(net, x, target=1, also=(padding,)),
        explain.integrated_gradients(net, x, target=1, also=(padding,), tolerance=0.02),
        explain.occlusion(net, x, target=1, also=(padding,), patch=2),
    ):
        torch.testing.assert_close(found.score, score)
        assert found.residual is None or found.residual.max() <= 0.02
    assert torch.backends.mha.get_fastpath_enabled() == fast


SPELLINGS = {
    "ReLU6": (nn.ReLU6(), 6.0),
    "clamp": (lambda x: x.clamp(min=0, max=6), 6.0),
    "hardtanh": (lambda x: F.hardtanh(x, 0.0, 6.0), 6.0),
    "threshold": (lambda x: F.threshold(x, 0.0, 0.0), float("inf")),
    "maximum": (lambda x: torch.maximum(x, torch.zeros((), dtype=x.dtype)), float("inf")),
    "max": (lambda x: torch.max(torch.zeros_like(x), x), float("inf")),
    "in place": (lambda x: F.hardtanh_(x, 0.0, 6.0), 6.0),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_relu_by_any_spelling_has_its_own_way_back(name):
    spelled, most = SPELLINGS[name]
    a, c = conv(), head(256)
    net = Function(lambda net, x: net.c(spelled(net.a(x) * 8).flatten(1)), a=a, c=c).double().eval()
    x = inputs(IMAGE)
    before = (a(x) * 8).detach()
    backwards = c.weight[1].detach().view(1, 4, 8, 8).clamp(min=0).expand_as(before)
    for method, gate in ((explain.guided_backprop, (before > 0) & (before < most)), (explain.deconvnet, 1)):
        expected = torch.nn.grad.conv2d_input(x.shape, a.weight.detach(), 8 * backwards * gate, padding=1)
        torch.testing.assert_close(method(net, x, target=1).values, expected)


class Checkpointed(nn.Module):
    """A network that saves memory in its second layer, or (`first`) in both."""

    def __init__(self, *, reentrant, first=False):
        super().__init__()
        self.a, self.b, self.c = conv(), nn.Conv2d(4, 4, 3, padding=1), head(256)
        self.reentrant, self.first = reentrant, first

    def forward(self, x):
        x = x if self.first else self.a(x).relu()

        def second(h):
            return self.b(self.a(h).relu() if self.first else h).relu()

        return self.c(checkpoint(second, x, use_reentrant=self.reentrant).flatten(1))


HIDDEN = [
    lambda net, x: explain.saliency(net, x, target=1),
    lambda net, x: explain.integrated_gradients(net, x, target=1),
    lambda net, x: explain.guided_backprop(net, x, target=1),
    lambda net, x: explain.meaningful_perturbation(net, x, target=1, steps=1),
    lambda net, x: explain.maximize(net, 1, inputs=IMAGE, steps=1),
    lambda net, x: explain.lrp(net, x, target=1),
    lambda net, x: explain.deeplift(net, x, target=1),
]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("first", [False, True])
def test_a_reentrant_checkpoint_is_refused_with_what_to_do(first):
    """torch's own error comes out of autograd, and speaks of .backward()."""
    torch.manual_seed(0)
    net, x = Checkpointed(reentrant=True, first=first).double().eval(), inputs(IMAGE)
    for ask in HIDDEN:
        with pytest.raises(ValueError, match="use_reentrant"):
            ask(net, x)
    before = explain.occlusion(net, x, target=1, patch=4).values
    net.reentrant = False
    for ask in HIDDEN:
        ask(net, x)
    torch.testing.assert_close(explain.occlusion(net, x, target=1, patch=4).values, before)


@pytest.mark.parametrize(
    "method", ["guided_backprop", "deconvnet", "deeplift", "lrp", "integrated_gradients"]
)
def test_what_is_done_again_on_the_way_back_is_what_was_explained(method):
    """The second time none of the method's own operations are seen; here its tensors have the same shapes as the first, so that torch says nothing."""
    torch.manual_seed(0)
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)

    def layers(x):
        return b(a(x).relu()).relu()

    nets = [
        Function(lambda net, x: net.c(checkpoint(layers, x, use_reentrant=False)), c=head(4)),
        Function(lambda net, x: net.c(layers(x)), c=head(4)),
    ]
    nets[1].c = nets[0].c
    x = torch.randn(4, 4)
    found, same = (getattr(explain, method)(net.eval(), x, target=1).values for net in nets)
    torch.testing.assert_close(found, same)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("made", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(1, *IMAGE))])
def test_a_scripted_network_is_refused_by_every_door(made):
    net = made(nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), head(256)).eval())
    x = torch.zeros(1, *IMAGE)
    for ask in (
        lambda: explain.deeplift(net, x),
        lambda: explain.occlusion(net, x),
        lambda: explain.grad_cam(net, x),
        lambda: explain.feature_maps(net, x, "0"),
        lambda: explain.maximize(net, 1, inputs=IMAGE, steps=1),
    ):
        with pytest.raises(TypeError, match="scripted or traced"):
            ask()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_scripted_layer_answers_is_refused_by_its_name_and_others_are_seen():
    net, x = hidden("scripted layer").float(), inputs(IMAGE).float()
    for ask in (
        lambda: explain.feature_maps(net, x, "act"),
        lambda: explain.saliency(net, x, target=explain.Unit(layer="act", channel=0)),
        lambda: explain.grad_cam(net, x, layer="act"),
        lambda: explain.representation_erasure(net, x, layer="act"),
    ):
        with pytest.raises(ValueError, match="layer act is scripted or traced"):
            ask()
    assert explain.receptive_field(net, "a", inputs=IMAGE).size == (3, 3)
    with captured(net) as calls:
        net(x)
    assert [name for name, *_ in calls] == ["a", "c", ""]


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 9, 9), (2, 8, 8)])
def test_inputs_that_do_not_fit_are_refused_with_their_shape(shape):
    net = Function(
        lambda net, x: net.c(net.a(x).sum((2, 3)) if x.shape[-1] == 8 else net.a(x).flatten(1)),
        a=nn.Conv2d(1, 4, 3, padding=1),
        c=nn.Linear(4, 3),
    ).eval()
    with pytest.raises(ValueError, match=rf"of shape \[{', '.join(map(str, shape))}\].*torch said"):
        explain.deeplift(net, torch.zeros(shape))
