"""Which part of its input a part of an operation's answer depends on: one small rule an operation, in one table.

A part is a box: of every axis the first and the last index, which may lie outside of the tensor where a window reaches into the padding.
An operation without a rule raises and names itself.

    window (convolution, pooling):   [lo, hi] → [lo s - p, hi s - p + d (k - 1)]
    transposed convolution:          [lo, hi] → [⌈(lo + p - d (k - 1)) / s⌉, ⌊(hi + p) / s⌋]
    adaptive pooling from n to m:    [lo, hi] → [⌊lo n / m⌋, ⌈(hi + 1) n / m⌉ - 1]

with kernel k, stride s, padding p and dilation d; V. Dumoulin, F. Visin (2016), arXiv:1603.07285.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from hubel.explain.tracing import Call, Recording

Box = tuple[tuple[int, int], ...]
Needed = list[tuple[int, Box]]


def box_of_input(recording: Recording, number: int, box: Box) -> Box | None:
    """The part of the input that `box` of tensor `number` depends on: the smallest box around all paths; None where it depends on none.

    Raises `ValueError` for an operation that has no rule.
    """
    wanted = {number: box}
    for at in range(number, 0, -1):
        if at not in wanted:
            continue
        call = recording.calls[at]
        assert call is not None
        for source, part in needed(call, wanted.pop(at)):
            wanted[source] = around(wanted[source], part) if source in wanted else part
    return wanted.get(0)


def needed(call: Call, box: Box) -> Needed:
    """Of each tensor that an operation reads, the part on which `box` of its answer depends."""
    rule = RULES.get(call.name)
    if rule is None:
        raise ValueError(
            f"it is not known which positions {call.name} reads (answer {list(call.shape)}), so that nothing can be told of receptive fields "
            "behind it: choose a layer before it"
        )
    return rule(call, box)


def around(one: Box, other: Box) -> Box:
    """The smallest box that holds both.

    >>> around(((0, 3),), ((-1, 2),))
    ((-1, 3),)
    """
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in zip(one, other, strict=True))


def whole(shape: Sequence[int]) -> Box:
    """All of a tensor.

    >>> whole((1, 3))
    ((0, 0), (0, 2))
    """
    return tuple((0, size - 1) for size in shape)


def _alike(call: Call, box: Box) -> Needed:
    """Element by element, with broadcasting."""
    found = []
    for number, tensor in call.read():
        late = box[len(box) - tensor.ndim :]
        sizes = call.shape[len(call.shape) - tensor.ndim :]
        part = tuple(
            b if n == m else (0, 0) for b, n, m in zip(late, tensor.shape, sizes, strict=True)
        )  # an axis of 1 is repeated
        found.append((number, part))
    return found


def _all(call: Call, box: Box) -> Needed:
    return [(number, whole(tensor.shape)) for number, tensor in call.read()]


def _nothing(call: Call, box: Box) -> Needed:
    return []


def _windowed(names: str, kernel: Callable[[dict[str, Any]], Any]) -> Callable[[Call, Box], Needed]:
    """The rule of an operation that slides a window over its first argument."""

    def rule(call: Call, box: Box) -> Needed:
        given = call.bound(names)
        x: Tensor = given["input"]
        dims = int(call.name[-2])
        k = _each(kernel(given), dims)
        s = _each(given.get("stride") or k if "pool" in call.name else given.get("stride", 1), dims)
        d = _each(given.get("dilation", 1), dims)
        p = _padding(given.get("padding", 0), k, d)
        late = [
            (lo * s[a] - p[a], hi * s[a] - p[a] + d[a] * (k[a] - 1)) for a, (lo, hi) in enumerate(box[-dims:])
        ]
        channels = box[-dims - 1] if "pool" in call.name else (0, x.shape[-dims - 1] - 1)
        return _first(call, x, (*box[: -dims - 1], channels, *late))

    return rule


def _transposed(call: Call, box: Box) -> Needed:
    given = call.bound("input weight bias stride padding output_padding groups dilation")
    x, dims = given["input"], int(call.name[-2])
    k = tuple(given["weight"].shape[2:])
    s, p, d = (
        _each(given.get(name, default), dims)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    late = [
        (-((d[a] * (k[a] - 1) - lo - p[a]) // s[a]), (hi + p[a]) // s[a])
        for a, (lo, hi) in enumerate(box[-dims:])
    ]
    return _first(call, x, (*box[: -dims - 1], (0, x.shape[-dims - 1] - 1), *late))


def _adaptive(call: Call, box: Box) -> Needed:
    x, dims = call.bound("input output_size")["input"], int(call.name[-2])
    late = [
        ((lo * n) // m, -((-(hi + 1) * n) // m) - 1)
        for (lo, hi), n, m in zip(box[-dims:], x.shape[-dims:], call.shape[-dims:], strict=True)
    ]
    return _first(call, x, (*box[:-dims], *late))


def _resized(call: Call, box: Box) -> Needed:
    given = call.bound("input size scale_factor mode align_corners")
    x, mode = given["input"], given.get("mode", "nearest")
    reach = {"nearest": 0, "nearest-exact": 0, "bicubic": 2}.get(mode, 1)
    late = []
    for (lo, hi), n, m in zip(box[2:], x.shape[2:], call.shape[2:], strict=True):
        if mode == "nearest":
            late.append((lo * n // m, hi * n // m))
        elif given.get("align_corners"):
            step = (n - 1, max(m - 1, 1))
            late.append((lo * step[0] // step[1] - max(reach - 1, 0), hi * step[0] // step[1] + reach))
        else:  # the middle of a pixel lies at its number and a half
            first, last = (((2 * at + 1) * n - (m if reach else 0)) // (2 * m) for at in (lo, hi))
            late.append((first - max(reach - 1, 0), last + reach))
    return _first(call, x, (*box[:2], *late))


def _linear(call: Call, box: Box) -> Needed:
    x = call.bound("input weight bias")["input"]
    return _first(call, x, (*box[:-1], (0, x.shape[-1] - 1)))


def _over_last_axes(call: Call, box: Box) -> Needed:
    given = call.bound("input normalized_shape")
    x, count = given["input"], len(tuple(given["normalized_shape"]))
    return _first(call, x, (*box[:-count], *whole(x.shape[-count:])))


def _over_maps(call: Call, box: Box) -> Needed:
    """Normalization by mean and spread of whole maps."""
    x = call.args[0] if call.args else call.kwargs["input"]
    return _first(call, x, (box[0], *whole(x.shape[1:])))


def _over_channels(call: Call, box: Box) -> Needed:
    x = call.args[0] if call.args else call.kwargs["input"]
    return _first(call, x, (box[0], (0, x.shape[1] - 1), *box[2:]))


def _over_axis(call: Call, box: Box) -> Needed:
    """Every place reads the others along an axis."""
    given = call.bound("input dim")
    x, dim = given["input"], given.get("dim")
    axes = range(x.ndim) if dim is None else [d % x.ndim for d in _numbers(dim)]
    return _first(call, x, tuple((0, x.shape[a] - 1) if a in axes else box[a] for a in range(x.ndim)))


def _reduced(call: Call, box: Box) -> Needed:
    given = call.bound("input dim keepdim")
    x, dim = given["input"], given.get("dim", given.get("axis"))
    if isinstance(dim, Tensor):  # torch.maximum by its other name
        return _alike(call, box)
    axes = set(range(x.ndim)) if dim is None or dim == () else {d % x.ndim for d in _numbers(dim)}
    if len(box) == x.ndim:  # keepdim
        kept = list(box)
    else:
        left = iter(box)
        kept = [(0, 0) if a in axes else next(left) for a in range(x.ndim)]
    return _first(call, x, tuple((0, x.shape[a] - 1) if a in axes else kept[a] for a in range(x.ndim)))


def _reshaped(call: Call, box: Box) -> Needed:
    """Axes that stay, counted from the left and from the right, keep their part; of all others everything is read."""
    ((number, x), *_) = call.read()
    before, after = tuple(x.shape), call.shape
    left = 0
    while left < min(len(before), len(after)) and before[left] == after[left]:
        left += 1
    right = 0
    while (
        right < min(len(before), len(after)) - left and before[len(before) - 1 - right] == after[-1 - right]
    ):
        right += 1
    middle = whole(before[left : len(before) - right])
    return [(number, (*box[:left], *middle, *box[len(box) - right :]))]


def _reordered(call: Call, box: Box) -> Needed:
    ((number, x), *_) = call.read()
    order = list(range(x.ndim))
    if call.name == "permute":
        given = call.bound("input dims")
        dims = given["dims"] if len(call.args) <= 2 else call.args[1:]
        order = [d % x.ndim for d in _numbers(dims)]
    elif call.name == "transpose":
        given = call.bound("input dim0 dim1")
        a, b = (given[name] % x.ndim for name in ("dim0", "dim1"))
        order[a], order[b] = order[b], order[a]
    elif call.name == "movedim":
        given = call.bound("input source destination")
        moved = [d % x.ndim for d in _numbers(given["source"])]
        order = [a for a in order if a not in moved]
        for place, axis in sorted(
            zip((d % x.ndim for d in _numbers(given["destination"])), moved, strict=True)
        ):
            order.insert(place, axis)
    elif call.name in ("t", "T", "mT"):
        order[-2:] = order[:-3:-1]
    part: list[tuple[int, int]] = [(0, 0)] * x.ndim
    for place, axis in enumerate(order):
        part[axis] = box[place]
    return [(number, tuple(part))]


def _joined(call: Call, box: Box) -> Needed:
    given = call.bound("tensors dim")
    axis = given.get("dim", given.get("axis", 0)) % len(box)
    found, start = [], 0
    for tensor in given["tensors"]:
        size = tensor.shape[axis]
        if id(tensor) in call.numbers:
            part = max(box[axis][0] - start, 0), min(box[axis][1] - start, size - 1)
            if part[0] <= part[1]:
                found.append((call.numbers[id(tensor)], (*box[:axis], part, *box[axis + 1 :])))
        start += size
    return found


def _stacked(call: Call, box: Box) -> Needed:
    axis = call.bound("tensors dim").get("dim", 0) % len(box)
    return [(number, (*box[:axis], *box[axis + 1 :])) for number, _ in call.read()]


def _pieces(call: Call, box: Box) -> Needed:
    given = call.bound("input how dim")
    x, axis = given["input"], given.get("dim", 0)
    axis %= x.ndim
    start = sum(shape[axis] for shape in call.answers[: call.place])
    lo, hi = box[axis]
    return _first(call, x, (*box[:axis], (lo + start, hi + start), *box[axis + 1 :]))


def _unbound(call: Call, box: Box) -> Needed:
    given = call.bound("input dim")
    axis = given.get("dim", 0) % given["input"].ndim
    return _first(call, given["input"], (*box[:axis], (call.place, call.place), *box[axis:]))


def _narrowed(call: Call, box: Box) -> Needed:
    given = call.bound("input dim start length")
    axis, start = given["dim"] % given["input"].ndim, int(given["start"])
    lo, hi = box[axis]
    return _first(call, given["input"], (*box[:axis], (lo + start, hi + start), *box[axis + 1 :]))


def _selected(call: Call, box: Box) -> Needed:
    given = call.bound("input dim index")
    x = given["input"]
    axis = given["dim"] % x.ndim
    at = given["index"] % x.shape[axis]
    return _first(call, x, (*box[:axis], (at, at), *box[axis:]))


def _taken(call: Call, box: Box) -> Needed:
    """`x[...]` with slices, numbers, None and an ellipsis; with anything else everything is read."""
    x, index = call.args
    keys = list(index) if isinstance(index, tuple) else [index]
    if not all(key is None or key is Ellipsis or isinstance(key, (int, slice)) for key in keys) or any(
        isinstance(key, bool) for key in keys
    ):
        return _all(call, box)
    named = sum(isinstance(key, (int, slice)) for key in keys)
    fill: list[Any] = [slice(None)] * (x.ndim - named)
    if any(key is Ellipsis for key in keys):
        at = next(place for place, key in enumerate(keys) if key is Ellipsis)
        keys[at : at + 1] = fill
    else:
        keys += fill
    part: list[tuple[int, int]] = []
    place = 0
    for key in keys:
        if key is None:
            place += 1
            continue
        size = x.shape[len(part)]
        if isinstance(key, int):
            part.append((key % size, key % size))
            continue
        start, _, step = key.indices(size)
        part.append((start + step * box[place][0], start + step * box[place][1]))
        place += 1
    return _first(call, x, tuple(part))


def _padded(call: Call, box: Box) -> Needed:
    given = call.bound("input pad mode value")
    x, amounts = given["input"], list(given["pad"])
    part = list(box)
    for place in range(len(amounts) // 2):
        axis, before = x.ndim - 1 - place, amounts[2 * place]
        lo, hi = box[axis]
        part[axis] = (lo - before, hi - before)
        if axis == 1:  # channels of padding have no source
            part[axis] = (max(lo - before, 0), min(hi - before, x.shape[1] - 1))
            if part[axis][0] > part[axis][1]:
                return []
    return _first(call, x, tuple(part))


def _flipped(call: Call, box: Box) -> Needed:
    x = call.bound("input dims")["input"]
    dims = call.args[1:] if len(call.args) > 2 else call.bound("input dims")["dims"]
    axes = {d % x.ndim for d in _numbers(dims)}
    part = [
        (x.shape[a] - 1 - hi, x.shape[a] - 1 - lo) if a in axes else (lo, hi)
        for a, (lo, hi) in enumerate(box)
    ]
    return _first(call, x, tuple(part))


def _shuffled(call: Call, box: Box) -> Needed:
    x = call.args[0]
    up = call.name == "pixel_shuffle"
    factor = call.shape[-1] // x.shape[-1] if up else x.shape[-1] // call.shape[-1]
    late = [
        (lo // factor, hi // factor) if up else (lo * factor, hi * factor + factor - 1) for lo, hi in box[-2:]
    ]
    return _first(call, x, (*box[:-3], (0, x.shape[-3] - 1), *late))


def _embedded(call: Call, box: Box) -> Needed:
    return _first(call, call.bound("input weight")["input"], box[:-1])


def _first(call: Call, x: Tensor, part: Box) -> Needed:
    """`part` of the argument `x`; of every other tensor that depends on the input, everything."""
    return [(number, part if tensor is x else whole(tensor.shape)) for number, tensor in call.read()]


def _each(value: Any, dims: int) -> tuple[int, ...]:
    numbers = _numbers(value)
    return numbers * dims if len(numbers) == 1 else numbers


def _numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, (tuple, list)):
        return tuple(int(v) for part in value for v in _numbers(part))
    return (int(value),)


def _padding(given: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    if given == "same":
        return tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    return (0,) * len(kernel) if given == "valid" else _each(given, len(kernel))


def _words(text: str) -> list[str]:
    return text.split()


_convolution = _windowed(
    "input weight bias stride padding dilation groups", lambda given: given["weight"].shape[2:]
)
_max_pool = _windowed("input kernel_size stride padding dilation", lambda given: given["kernel_size"])
_average_pool = _windowed("input kernel_size stride padding", lambda given: given["kernel_size"])

ACTIVATIONS = _words(
    "relu relu6 leaky_relu rrelu prelu elu selu celu gelu silu mish hardswish hardtanh softplus softsign softshrink hardshrink "
    "tanhshrink threshold clamp clamp_min clamp_max"
)
"""Functions of one number that pass what is excited and hold back what is not."""

SQUASHING = _words("sigmoid hardsigmoid tanh log_sigmoid")

ELEMENTWISE = _words(
    "add sub mul div reciprocal_times floor_divide remainder fmod neg abs absolute sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square "
    "pow reciprocal sin cos erf round floor ceil trunc maximum minimum fmax fmin where lerp addcmul addcdiv masked_fill nan_to_num sum_to_size "
    "batch_norm dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout bernoulli contiguous clone detach data "
    "to float double half bfloat16 type type_as cpu cuda requires_grad expand expand_as broadcast_to identity fill copy long int bool "
    "eq ne lt le gt ge logical_and logical_or logical_not isfinite isnan real"
)

RULES: dict[str, Callable[[Call, Box], Needed]] = {
    **dict.fromkeys((*ACTIVATIONS, *SQUASHING, *ELEMENTWISE), _alike),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _average_pool),
    **dict.fromkeys([f"adaptive_{kind}_pool{d}d" for kind in ("avg", "max") for d in (1, 2, 3)], _adaptive),
    **dict.fromkeys(("interpolate", "upsample"), _resized),
    **dict.fromkeys(("layer_norm", "rms_norm"), _over_last_axes),
    **dict.fromkeys(("group_norm", "instance_norm"), _over_maps),
    **dict.fromkeys(("softmax", "log_softmax", "softmin", "cumsum", "cumprod"), _over_axis),
    **dict.fromkeys(_words("mean sum amax amin max min std var prod logsumexp median argmax argmin"), _reduced),
    **dict.fromkeys(_words("flatten reshape view view_as reshape_as unflatten squeeze unsqueeze"), _reshaped),
    **dict.fromkeys(_words("permute transpose movedim t T mT"), _reordered),
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), _pieces),
    **dict.fromkeys(
        _words(
            "matmul mm bmm mv dot addmm baddbmm einsum bilinear lstm gru rnn_tanh rnn_relu scaled_dot_product_attention "
        "multi_head_attention_forward index_select gather repeat normalize roll norm"
        ),
        _all,
    ),
    **dict.fromkeys(_words("zeros_like ones_like empty_like full_like new_zeros new_ones new_full new_empty"), _nothing),
    "linear": _linear,
    "local_response_norm": _over_channels,
    "cat": _joined,
    "stack": _stacked,
    "unbind": _unbound,
    "narrow": _narrowed,
    "select": _selected,
    "getitem": _taken,
    "pad": _padded,
    "flip": _flipped,
    "pixel_shuffle": _shuffled,
    "pixel_unshuffle": _shuffled,
    "embedding": _embedded,
}  # fmt: skip
