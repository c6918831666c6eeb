"""The precision probe takes nothing for granted: wrong arithmetic is refused, and nothing is left changed."""

import itertools
import json
import re

import pytest
import torch
from torch import nn

from hubel.core.types import Batch
from hubel.fitting import Precision, precision, probe
from hubel.objectives import CrossEntropy

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("HUBEL_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def bf16_is_fast(monkeypatch):
    """As if this machine were fastest in bfloat16, then in channels-last."""

    def time(trial, repeats=3):
        return (
            1.0
            - 0.5 * (trial.precision.dtype == "bfloat16")
            - 0.1 * (trial.precision.layout == "channels_last")
        )

    monkeypatch.setattr(precision._Trial, "time", time)


class Wrong(nn.Module):
    """Wrong in one way under autocast, right in float32."""

    def __init__(self, how=""):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.Linear(8 * 36, 3)
        self.dropout = nn.Dropout(0.5)
        self.how = how

    def forward(self, x):
        low = torch.is_autocast_enabled("cpu")
        x = self.norm(self.conv(x)).relu()
        if low and self.how == "gradient":
            x = x + (2 * x - 2 * x.detach())
            x = x.detach() + (x - x.detach()) * torch.linspace(-1, 1, 6)
        out = self.fc(self.dropout(x.flatten(1)))
        if low and self.how == "outputs":
            return out + 0.1
        if low and self.how == "nan":
            return out * float("nan")
        if low and self.how == "raises":
            raise RuntimeError("no bfloat16 kernel\nfor this")
        return out


def batch_of():
    return Batch(
        inputs=torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
        targets=torch.arange(16) % 3,
    )


def probed(net, **more):
    return probe(net, CrossEntropy(3), batch_of(), seconds=60, device=CPU, **more)


def test_the_fastest_right_one_is_taken(bf16_is_fast):
    chosen, measured, why = probed(Wrong())
    assert (chosen.dtype, chosen.layout) == ("bfloat16", "channels_last")
    assert not any(m.refused for m in measured)
    assert "gradient cosine" in why and "as fast as float32" in why


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("outputs", r"outputs differ from float32 by \d"),
        ("gradient", "the gradient's cosine"),
        ("nan", "outputs differ"),
        ("raises", "no bfloat16 kernel"),
    ],
)
def test_wrong_arithmetic_is_refused_however_fast(bf16_is_fast, how, said):
    chosen, measured, _ = probed(Wrong(how))
    assert (chosen.dtype, chosen.layout) == ("float32", "channels_last")
    refused = [m for m in measured if m.precision.dtype == "bfloat16"]
    assert refused
    for m in refused:
        assert re.search(said, m.refused), m.refused
        json.dumps(m.as_json(), allow_nan=False)  # as run.json is written


def test_it_is_remembered_and_compared_again(bf16_is_fast, nothing_remembered, monkeypatch):
    first, measured, _ = probed(Wrong())
    assert measured
    (kept,) = (nothing_remembered / "precision").iterdir()
    monkeypatch.setattr(precision._Trial, "time", lambda *_: pytest.fail("timed again"))
    again, measured, why = probed(Wrong())
    assert again == first and measured == [] and "measured before on this machine" in why and kept.name in why
    monkeypatch.undo()
    monkeypatch.setenv("HUBEL_CACHE", str(nothing_remembered))
    net = Wrong()
    net.how = "outputs"  # the same name and shapes, other code
    chosen, measured, _ = probed(net)
    assert chosen.dtype == "float32" and measured


def test_it_is_not_remembered_for_others(bf16_is_fast, nothing_remembered):
    probed(Wrong())
    wider = Wrong()
    wider.fc = nn.Linear(8 * 36, 4)
    probe(wider, CrossEntropy(4), batch_of(), seconds=60, device=CPU)
    smaller = Batch(inputs=batch_of().inputs[:8], targets=batch_of().targets[:8])
    probe(Wrong(), CrossEntropy(3), smaller, seconds=60, device=CPU)
    assert len(list((nothing_remembered / "precision").iterdir())) == 3


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"dtype": "float8"}', '{"threads": 0}', '{"threads": 1000000}', '{"nothing": 1}'],
)
def test_a_damaged_memory_is_measured_anew(bf16_is_fast, nothing_remembered, content):
    probed(Wrong())
    (kept,) = (nothing_remembered / "precision").iterdir()
    kept.write_text(content)
    assert probed(Wrong())[1]
    assert json.loads(kept.read_text())["dtype"] == "bfloat16"


def test_a_memory_that_can_not_be_written_does_not_matter(bf16_is_fast, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("HUBEL_CACHE", str(tmp_path / "file"))
    assert probed(Wrong())[0].dtype == "bfloat16"


def test_little_time_is_little_probing():
    chosen, measured, why = probe(Wrong(), CrossEntropy(3), batch_of(), seconds=0.0, device=CPU)
    assert len(measured) == 1 and chosen.dtype == "float32"
    assert "not every candidate was tried" in why


def test_little_probing_is_not_remembered(nothing_remembered):
    probe(Wrong(), CrossEntropy(3), batch_of(), seconds=0.0, device=CPU)
    assert not (nothing_remembered / "precision").exists()


def test_network_and_random_numbers_are_as_they_were():
    net = Wrong().train()
    net.norm.eval()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    strides = [p.stride() for p in net.parameters()]
    rng, num_threads, batch = torch.get_rng_state(), torch.get_num_threads(), batch_of()
    probed(net)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert [p.stride() for p in net.parameters()] == strides
    assert all(p.grad is None for p in net.parameters())
    assert net.training and not net.norm.training and net.dropout.training
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.get_num_threads() == num_threads
    assert torch.equal(batch.inputs, batch_of().inputs)
    assert sum(len(m._forward_hooks) for m in net.modules()) == 0


def test_float64_stays_float64(bf16_is_fast):
    batch = Batch(inputs=batch_of().inputs.double(), targets=batch_of().targets)
    chosen, measured, _ = probe(Wrong().double(), CrossEntropy(3), batch, seconds=60, device=CPU)
    assert {m.precision.dtype for m in measured} == {"float64"} and chosen.dtype == "float64"


@pytest.mark.parametrize(
    "wrong", [{"dtype": "float16"}, {"layout": "NHWC"}, {"threads": 0}, {"threads": 1.5}, {"threads": 10**6}]
)
def test_what_is_not_known_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Precision(**wrong)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), precision.threads(before + 1):  # noqa: PT012
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_it_prints_itself():
    assert (
        str(Precision(dtype="bfloat16", layout="channels_last", threads=2))
        == "bfloat16, channels last, 2 threads"
    )
    assert str(Precision()) == "float32, contiguous, 1 thread"


class Deep(nn.Module):
    """Twenty-four convolutions with batch norm, freshly made: what rounding does to the first is amplified to the last."""

    def __init__(self, wrong=False):
        super().__init__()
        torch.manual_seed(0)
        sides = [1] + [8] * 24
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(sides))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in self.convs)
        self.fc = nn.Linear(8, 3)
        if wrong:
            self.convs[20] = WrongKernel(8, 8, 3, padding=1)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x)).relu()
        return self.fc(x.mean((2, 3)))


class WrongKernel(nn.Conv2d):
    """One filter of the result is wrong by a fifth where the arithmetic is bf16."""

    def forward(self, x):
        out = super().forward(x)
        return torch.cat([1.2 * out[:, :1], out[:, 1:]], 1) if torch.is_autocast_enabled("cpu") else out


def test_a_deep_network_amplifies_rounding_and_is_no_reason_to_refuse(bf16_is_fast):
    chosen, measured, why = probed(Deep())
    low = [m for m in measured if m.precision.dtype == "bfloat16"]
    assert low[0].gradient_cosine < precision.COSINE_AT_LEAST, "the case is meant to be amplified"
    assert chosen.dtype == "bfloat16" and "every layer by itself" in why
    json.dumps([m.as_json() for m in measured], allow_nan=False)


def test_a_wrong_layer_in_a_deep_network_is_found(bf16_is_fast):
    chosen, measured, _ = probed(Deep(wrong=True))
    assert chosen.dtype == "float32"
    refused = [m.refused for m in measured if m.precision.dtype == "bfloat16"]
    assert refused and all("of convs.20 differs" in words for words in refused), refused
