"""How large the result of a convolution or a pooling is, and how much of the input one number of it has seen."""

from __future__ import annotations

from collections.abc import Sequence


def output_size(inputs: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Positions along one axis: floor((inputs + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Without dilation that is the textbook's (in + 2 P - W) / S + 1, rounded down.

    Raises `ValueError` where the kernel does not fit, or a number is out of its range.

    >>> output_size(6, 2), output_size(6, 2, stride=2), output_size(6, 2, stride=2, padding=1)
    (5, 3, 4)
    """
    if min(inputs, kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            f"inputs {inputs}, kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1, padding {padding} at least 0"
        )
    reach = dilation * (kernel - 1) + 1
    if inputs + 2 * padding < reach:
        raise ValueError(
            f"a kernel that reaches over {reach} positions does not fit into {inputs} with {padding} added on both sides: "
            "enlarge the input, add padding, or take a smaller kernel"
        )
    return (inputs + 2 * padding - reach) // stride + 1


def output_sizes(
    inputs: Sequence[int],
    kernel: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> tuple[int, ...]:
    """Positions along every axis of a signal (L,), a picture (H, W) or a volume (D, H, W); one number stands for all axes.

    Raises `ValueError` where there is another number of entries than axes, and what `output_size` raises.

    >>> output_sizes((32, 32), 3, stride=2), output_sizes((16, 64, 64), (1, 5, 5), padding=(0, 2, 2))
    ((15, 15), (16, 64, 64))
    """
    given = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    columns = {name: (v,) * len(inputs) if isinstance(v, int) else tuple(v) for name, v in given.items()}
    wrong = [name for name, values in columns.items() if len(values) != len(inputs)]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)} must have one number, or one for each of the {len(inputs)} axes of {tuple(inputs)}"
        )
    axes = zip(inputs, *columns.values(), strict=True)
    return tuple(output_size(n, k, stride=s, padding=p, dilation=d) for n, k, s, p, d in axes)


def field_of_view(layers: Sequence[tuple[int, int] | tuple[int, int, int]]) -> int:
    """How many input positions along one axis one number behind `layers` depends on; a layer is (kernel, stride) or
    (kernel, stride, dilation).

    With d layers of kernel W and stride 1 it is d (W - 1) + 1.

    >>> field_of_view([(3, 1)] * 4), field_of_view([(7, 2), (3, 2), (3, 1), (3, 1)])
    (9, 27)
    """
    seen, step = 1, 1
    for kernel, stride, *rest in layers:
        dilation = rest[0] if rest else 1
        if min(kernel, stride, dilation) < 1:
            raise ValueError(
                f"a layer is (kernel, stride) or (kernel, stride, dilation), all at least 1; received {(kernel, stride, *rest)}"
            )
        seen += dilation * (kernel - 1) * step
        step *= stride
    return seen
