"""Trees of tensors come back bit by bit, with their layouts, ties, lists and tuples; other files are refused."""

import json
import pickle
import struct

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings

from hubel.fitting import codec

DTYPES = [
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
]


def there_and_back(tree, folder):
    path = folder / "tree.safetensors"
    path.write_bytes(codec.encode(tree))
    return codec.decode(path)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and torch.equal(bits(one), bits(other))
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other or (one != one and other != other)


def _dense(tensor):
    """The values in a row; a tensor of one element may have any stride and still call itself contiguous."""
    return torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))


def bits(tensor):
    return tensor.detach().clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8)


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=5))
    seed = draw(st.integers(0, 99))
    content = np.random.default_rng(seed).integers(0, 256, int(np.prod(shape)) * 16 or 16, dtype=np.uint8)
    size = int(np.prod(shape))
    if dtype == torch.bool:
        base = torch.from_numpy(content[:size] % 2 == 0)
    else:  # any bits: NaN of all kinds, infinities, denormal numbers
        item = torch.empty(0, dtype=dtype).element_size()
        base = torch.frombuffer(bytearray(content[: max(size, 1) * item].tobytes()), dtype=dtype)[:size]
    base = base.reshape(shape)
    kind = draw(st.sampled_from(["plain", "permuted", "strided", "expanded", "flipped"]))
    if kind == "permuted":
        return base.permute(draw(st.permutations(range(base.ndim))))
    if kind == "strided" and base.ndim:
        return base[..., ::2]
    if kind == "expanded":
        return base.unsqueeze(0).expand(3, *base.shape)
    if kind == "flipped" and base.ndim:
        return base.transpose(0, -1)[1:]
    return base


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    PLAIN | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(tree=TREES)
def test_any_tree_comes_back(tmp_path_factory, tree):
    found = there_and_back(tree, tmp_path_factory.mktemp("tree"))
    assert equal(tree, found)


@settings(max_examples=60, deadline=None)
@given(tree=TREES)
def test_equal_trees_are_equal_bytes(tree):
    assert len({codec.encode(tree) for _ in range(3)}) == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_dense_layouts_are_kept(tmp_path, order):
    value = torch.randn(2, 3, 4, 5).permute(order)
    found = there_and_back({"x": value}, tmp_path)["x"]
    assert torch.equal(found, value) and found.stride() == value.stride()


def test_channels_last_is_kept(tmp_path):
    value = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    found = there_and_back([value], tmp_path)[0]
    assert found.is_contiguous(memory_format=torch.channels_last) and not found.is_contiguous()


def test_ties_are_kept(tmp_path):
    shared = torch.randn(3, 4)
    found = there_and_back({"encoder": shared, "decoder": [shared], "copy": shared.clone()}, tmp_path)
    assert found["encoder"] is found["decoder"][0]
    assert found["encoder"] is not found["copy"]
    assert (tmp_path / "tree.safetensors").stat().st_size < 2 * 48 + 800


def test_views_of_one_memory_come_back_apart(tmp_path):
    base = torch.arange(12.0)
    tree = {
        "all": base,
        "first": base[:6],
        "second": base[3:9],
        "matrix": base.view(3, 4),
        "turned": base.view(3, 4).T,
        "one": base[0],
    }
    found = there_and_back(tree, tmp_path)
    assert equal({k: v.contiguous() for k, v in tree.items()}, {k: v.contiguous() for k, v in found.items()})
    found["all"][0] = 99
    assert found["first"][0] == 0 and found["one"] == 0


def test_what_comes_back_does_not_hang_on_the_file(tmp_path):
    found = there_and_back(torch.ones(1000), tmp_path)
    (tmp_path / "tree.safetensors").write_bytes(bytes(8000))
    assert torch.equal(found, torch.ones(1000))


def test_tensors_that_want_gradients(tmp_path):
    found = there_and_back(torch.nn.Parameter(torch.ones(2)), tmp_path)
    assert torch.equal(found, torch.ones(2)) and not found.requires_grad


@pytest.mark.parametrize(
    "tree",
    [
        {1: "x"},
        {"x": {2: 3}},
        object(),
        {"x": {1, 2}},
        b"bytes",
        np.float32(1) + np.zeros(2),
        torch.nn.ReLU(),
    ],
)
def test_what_is_no_tree_is_refused(tree):
    with pytest.raises(TypeError, match="checkpoint"):
        codec.encode(tree)


def made(header, content=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


X = {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"garbage" * 100,
        struct.pack("<Q", 2**63) + b"{}",
        pickle.dumps({"x": 1}),
        safetensors.torch.save({"x": torch.ones(2)}),
        safetensors.torch.save({"x": torch.ones(2)}, metadata={"format": "pt"}),
        made({"__metadata__": {codec.FORMAT: "not json"}}),
        made({"__metadata__": {codec.FORMAT: "[]"}}),
        made({"__metadata__": {codec.FORMAT: "{}"}}),
        made({"__metadata__": {codec.FORMAT: "3"}}),
        made({"__metadata__": {codec.FORMAT: '{"tensor": "0", "order": null}'}}),
        made({"__metadata__": {codec.FORMAT: '{"tensor": ["x"], "order": null}'}, **X}, bytes(4)),
        made({"__metadata__": {codec.FORMAT: '{"tensor": "x"}'}, **X}, bytes(4)),
        made({"__metadata__": {codec.FORMAT: '{"tensor": "x", "order": [7]}'}, **X}, bytes(4)),
        made({"__metadata__": {codec.FORMAT: '{"tensor": "x", "order": {"a": 1}}'}, **X}, bytes(4)),
        made({"__metadata__": {codec.FORMAT: '{"dict": [1]}'}}),
        made({"__metadata__": {codec.FORMAT: '{"list": 3}'}}),
        made({"__metadata__": {codec.FORMAT: '{"list": [' * 5000}}),
        made({"__metadata__": {codec.FORMAT: '{"list": [' * 3000 + "]}" * 3000}}),
        made({"__metadata__": {codec.FORMAT: '{"dict": {"a": {"value": 1}, "b": 5}}'}}),
    ],
)
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"x\.safetensors is (not a whole checkpoint|a safetensors file, but not)"
    ):
        codec.decode(path)


def test_every_cut_is_noticed(tmp_path):
    whole = codec.encode({"x": torch.arange(6.0), "y": [torch.ones(2, 2), 3]})
    path = tmp_path / "x.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a whole checkpoint"):
            codec.decode(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        codec.decode(tmp_path / "none")


def test_assign_keeps_the_layout_and_refuses_what_does_not_fit():
    target = {
        "w": torch.zeros(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "n": torch.zeros((), dtype=torch.int64),
    }
    source = {"w": torch.randn(2, 3, 4, 4), "n": torch.tensor(7)}
    codec.assign(target, source, "network")
    assert torch.equal(target["w"], source["w"]) and target["w"].is_contiguous(
        memory_format=torch.channels_last
    )
    assert target["n"] == 7
    for wrong, match in (
        ({"w": source["w"]}, r"1 missing \(n\)"),
        ({**source, "b": source["n"]}, r"1 unknown \(b\)"),
        ({**source, "w": torch.zeros(2)}, r"1 of another shape \(w\)"),
    ):
        with pytest.raises(ValueError, match=f"stored network does not fit this network: {match}"):
            codec.assign(target, wrong, "network")
    assert torch.equal(target["w"], source["w"])
