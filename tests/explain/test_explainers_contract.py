"""What every explainer promises, and that four of them explain every network of `hubel.nets` that takes pictures. Both are found by themselves."""

import copy
import inspect
import re
import sys
from dataclasses import FrozenInstanceError

import pytest
import torch
from architectures import IMAGE, Function, conv, head, inputs
from torch import nn

from hubel import explain, nets
from hubel.core.types import Attribution

MORE = {"background": lambda x: x.flip(0) * 0.5}
"""What an explainer needs besides the network and the input, by the name of the argument."""
SHORTER = {
    "shapley_exact": {"parts": 2},
    "shapley_sampling": {"permutations": 10},
    "lime": {"samples": 100},
    "rise": {"masks": 200},
    "meaningful_perturbation": {"steps": 100},
}
"""Arguments with which the slow ones take no longer than the others; their promises are the same."""
OTHERS = ("centre_map", "random_map", "intrinsic", "representation_erasure")
"""Answers that do not come from looking into any network of pictures: their promises are in tests of their own."""


def explainers():
    for name in explain.__all__:
        function = getattr(explain, name)
        if not inspect.isfunction(function) or name in OTHERS:
            continue
        parameters = list(inspect.signature(function).parameters.values())
        needed = [p.name for p in parameters if p.default is p.empty]
        answers = inspect.signature(function).return_annotation
        if (
            needed[:2] == ["net", "x"]
            and answers in ("Attribution", Attribution)
            and set(needed[2:]) <= set(MORE)
        ):
            yield name


EXPLAINERS = list(explainers())
every_explainer = pytest.mark.parametrize("name", EXPLAINERS)


def explained(name, net, x, **more):
    function = getattr(explain, name)
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty][2:]
    if "of" in inspect.signature(function).parameters:
        more = {"of": "score", **more}
    more = SHORTER.get(name, {}) | more
    return function(net, x, *[MORE[p.name](x) for p in needed], **more)


def small(seed=0):
    """Maps, their mean and one linear layer: every method can explain it."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        conv(),
        nn.BatchNorm2d(4),
        nn.ReLU(True),
        conv(4, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        head(5),
    ).double()
    net[1].running_mean.uniform_(-1, 1)
    return net.eval()


def state(net):
    return {
        "values": {k: v.clone() for k, v in net.state_dict().items()},
        "modes": [m.training for m in net.modules()],
        "needs": [p.requires_grad for p in net.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "hooks": [
            [len(getattr(m, kind)) for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]
            for m in net.modules()
        ],
        "forward": ["forward" in vars(m) for m in net.modules()],
        "random": torch.get_rng_state(),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_there_are_the_explainers_of_this_family():
    family = {
        "saliency",
        "gradient_times_input",
        "smoothgrad",
        "integrated_gradients",
        "expected_gradients",
        "deconvnet",
    }
    family |= {
        "guided_backprop",
        "cam",
        "grad_cam",
        "grad_cam_plus_plus",
        "hires_cam",
        "layer_cam",
        "lrp",
        "deeplift",
    }
    assert family <= set(EXPLAINERS)


@every_explainer
def test_the_answer(name):
    net, x = small(), inputs(IMAGE, 2)
    found = explained(name, net, x, target=2)
    assert found.values.shape == x.shape
    assert found.values.dtype == x.dtype
    assert bool(torch.isfinite(found.values).all())
    assert found.values.abs().max() > 0
    assert not found.values.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(found.score, net(x.clone())[:, 2])
    assert found.target == ("output 2", "output 2")
    assert found.passes >= 2
    assert found.seconds > 0
    assert found.map.shape == (2, 8, 8)
    for part in (found.residual, found.absorbed):
        assert part is None or part.shape == (2,)
    with pytest.raises(FrozenInstanceError):
        found.method = "another"
    again = explained(name, net, x, target=2)
    torch.testing.assert_close(again.values, found.values, rtol=0, atol=0)


@every_explainer
def test_the_network_and_the_input_are_as_before(name):
    net, x = small(), inputs(IMAGE, 2)
    net[0].weight.requires_grad_(False)
    net(x.clone()).sum().backward()
    before, kept = state(net), x.clone()
    explained(name, net, x)
    assert same(state(net), before)
    assert torch.equal(x, kept)
    assert not x.requires_grad


@every_explainer
def test_the_network_is_as_before_after_an_error_in_the_middle(name):
    net, x = small(), inputs(IMAGE, 2)
    calls = []

    def fail(module, values):
        calls.append(1)
        if len(calls) > 1 or name in ("cam", "grad_cam", "grad_cam_plus_plus", "layer_cam", "hires_cam"):
            raise KeyError("in the middle")

    net[3].register_forward_pre_hook(fail)
    net[3].weight.requires_grad_(False)
    before = state(net)
    with pytest.raises(KeyError, match="in the middle"):
        explained(name, net, x)
    assert same(state(net), before)


@every_explainer
def test_a_network_that_changes_its_input_does_not_change_ours(name):
    inner = small()
    net = Function(lambda net, x: net.inner(x.mul_(0.5).relu_()), inner=inner)
    x = inputs(IMAGE, 2)
    kept = x.clone()
    explained(name, net, x)
    assert torch.equal(x, kept)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # while torch.compile is imported
@every_explainer
def test_wrong_questions_are_refused(name):
    net, x = small(), inputs(IMAGE, 2)
    with pytest.raises(ValueError, match=r"target .* is out of range"):
        explained(name, net, x, target=3)
    with pytest.raises(ValueError, match=r"call net.eval"):
        explained(name, small().train(), x)
    with pytest.raises(TypeError, match="compiled"):
        explained(name, torch.compile(net), x)


OF_GRADIENTS = [n for n in EXPLAINERS if sys.modules[getattr(explain, n).__module__].__name__.rsplit(".", 1)[-1] in (
    "saliency", "gradient_times_input", "smoothgrad", "integrated_gradients", "expected_gradients", "rectified", "lrp", "deeplift",
)]  # fmt: skip


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_an_output_that_does_not_depend_on_the_input_is_refused(name):
    constant = Function(lambda net, x: net.a(torch.relu(x)).detach() + net.b, a=nn.Linear(3, 2))
    constant.b = nn.Parameter(torch.zeros(2))
    of_its_own = Function(lambda net, x: net.weight.relu().expand(len(x), 2))
    of_its_own.weight = torch.ones(
        2, dtype=torch.float64, requires_grad=True
    )  # no parameter, and it needs a gradient
    of_its_own.weight = of_its_own.weight * 2
    for net in (constant.double(), of_its_own):
        with pytest.raises(ValueError, match=r"does not depend on the input|calls no ReLU"):
            explained(name, net, inputs((3,), 2), target=0)


@pytest.mark.parametrize("name", ["saliency", "gradient_times_input", "integrated_gradients"])
def test_a_gradient_that_is_not_finite_is_refused(name):
    net = Function(lambda net, x: net.a((x * 0).sqrt()), a=nn.Linear(3, 2)).double()
    with pytest.raises(ValueError, match="the gradient for row 0 holds NaN or infinite"):
        explained(name, net, inputs((3,), 2), target=0)


@every_explainer
def test_where_gradients_are_switched_off_the_answer_is_the_same(name):
    net, x = small(), inputs(IMAGE, 2)
    expected = explained(name, net, x).values
    with torch.no_grad():
        torch.testing.assert_close(explained(name, net, x).values, expected)
    with torch.inference_mode():
        torch.testing.assert_close(explained(name, net, x.clone()).values, expected)


@every_explainer
def test_docstrings_have_an_example_and_a_source(name):
    function = getattr(explain, name)
    assert ">>>" in inspect.getdoc(function)
    assert "Raises" in inspect.getdoc(function) or "errors" in inspect.getdoc(function)
    assert re.search("Source|arXiv|doi", sys.modules[function.__module__].__doc__)


VARIANTS = {
    "densenet": {"depth": 121},
    "alexnet": {"hidden": 16},
    "mobilenet_v1": {"width": 0.25},
    "resnet": {"depth": 20},
    "symmetrized": {
        "net": {"name": "hubel.nets.compact", "arguments": {"width": 8}},
        "symmetries": ["flip_horizontal", "rotate_90"],
    },
    "vgg": {"depth": 11, "hidden": 16, "batch_norm": True},
    "vision_transformer": {"width": 16, "layers": 2, "heads": 2},
    "zfnet": {"hidden": 16},
}
SIZES = {
    "alexnet": 63,
    "inception_v3": 75,
    "vision_transformer": 16,
    "zfnet": 47,
    "nasnet_mobile": 32,
    "xception": 34,
}


def of_sequences(name):
    return name in ("character_lm", "recurrent", "transformer", "series_resnet", "forecaster", "image_series")


IMAGE_NETS = [name for name in nets.__all__ if not of_sequences(name)]


@pytest.mark.parametrize("name", IMAGE_NETS)
def test_networks_of_pictures_are_explained(name):
    side = SIZES.get(name, 32)
    torch.manual_seed(0)
    outputs = {} if name in nets.OF_THEMSELVES else {"outputs": 3}
    net = getattr(nets, name)(**VARIANTS.get(name, {}), inputs=(2, side, side), **outputs).double().eval()
    x = inputs((2, side, side), 1).abs()
    asked = {"target": 0}
    with torch.no_grad():
        answer = net(x.clone())
    if name in nets.OF_OBJECTS:
        asked = {"target": lambda found: found[:, :, 8].amax(1)}
    elif answer.ndim > 2:
        asked = {"target": lambda scores: scores[:, 0].flatten(1).mean(1)}
    found = explain.saliency(net, x, **asked)
    assert found.values.shape == x.shape
    assert found.values.abs().max() > 0
    relevance = explain.lrp(net, x, **asked)
    assert relevance.residual.max() <= 1e-6
    if name == "faster_rcnn":  # the baseline would be judged at proposals of its own
        with pytest.raises(ValueError, match=r"has no rule for the operation topk"):
            explain.deeplift(net, x, baseline=0.1, **asked)
        return
    told = explain.deeplift(net, x, baseline=0.1, **asked)
    rounding = 1e-14 * told.score.abs().max() / told.values.abs().max()  # of a score that hardly changes
    assert told.residual.max() <= 1e-10 + rounding
    if any(isinstance(module, nn.Conv2d) for module in net.modules()):
        grown = explain.grad_cam(net, x, **asked)
        assert grown.values.shape == x.shape
        assert grown.coarse.shape[0] == 1


def test_copies_of_a_network_are_explained_alike():
    net = small()
    x = inputs(IMAGE, 1)
    assert torch.equal(explain.lrp(net, x).values, explain.lrp(copy.deepcopy(net), x).values)
