"""What kind of operation each name of torch is: the table behind DeepLIFT and layer-wise relevance propagation.

`TABLE` leads from the name of an operation (alike for `torch.NAME`, `F.NAME`, `x.NAME()`, operators, and in place) to a small function
that says to the method's rules of which kind it is. What several operations make up is taken apart
(`norm_operations`, `fused`): layer norm into a standardization, a product and a sum; attention into products and a softmax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubel.explain import fused
from hubel.explain.intercept import Call
from hubel.explain.norm_operations import (
    batch_norm,
    cosine_similarity,
    distances,
    group_norm,
    instance_norm,
    layer_norm,
    logcumsumexp,
    logsumexp,
    norm,
    normalize,
    rms_norm,
    softmax,
    variance,
)
from hubel.explain.operation_names import CHOOSING, CHOSEN, KINKED, LINEAR, REARRANGED, SMOOTH
from hubel.explain.plain_operations import (
    assigned,
    chosen,
    copied,
    cumulative_product,
    division,
    dropout,
    elementwise,
    extreme,
    filled,
    gated_linear,
    grid_sample,
    interpolated,
    iterated,
    linear_operation,
    max_pool,
    max_unpool,
    multiplication,
    power,
    product_of_elements,
    rearranged,
)
from hubel.explain.weighted_operations import (
    CONVOLUTIONS,
    added_product,
    bilinear,
    convolution,
    einsum,
    linear_layer,
    matrix_product,
)

Handler = Callable[[Call], Any]

TABLE: dict[str, Handler] = {
    **dict.fromkeys(REARRANGED, rearranged),
    **dict.fromkeys(LINEAR, linear_operation),
    **dict.fromkeys(KINKED | SMOOTH, elementwise),
    **dict.fromkeys(CHOSEN, chosen),
    **dict.fromkeys(CHOOSING, max_unpool),
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **dict.fromkeys(
        ("matmul", "mm", "bmm", "mv", "dot", "vdot", "rmatmul", "outer", "ger", "inner"), matrix_product
    ),
    **dict.fromkeys(("addmm", "addmv", "addbmm", "baddbmm", "addcmul", "addcdiv"), added_product),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), variance),
    **dict.fromkeys(("softmax", "softmin", "log_softmax"), softmax),
    **dict.fromkeys(("max", "min", "amax", "amin"), extreme),
    **{
        f"{kind}max_pool{n}d{suffix}": max_pool
        for kind in ("", "adaptive_")
        for n in (1, 2, 3)
        for suffix in ("", "_with_indices")
    },
    **dict.fromkeys(
        (
            "dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "alpha_dropout",
            "feature_alpha_dropout",
            "feature_dropout",
        ),
        dropout,
    ),
    "linear": linear_layer,
    "bilinear": bilinear,
    "prod": product_of_elements,
    "cumprod": cumulative_product,
    "cosine_similarity": cosine_similarity,
    "cdist": distances,
    "_pack_padded_sequence": fused.packed,
    "_pad_packed_sequence": fused.padded,
    "mul": multiplication,
    "div": division,
    "rdiv": division,
    "pow": power,
    "lerp": interpolated,
    "einsum": einsum,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "rms_norm": rms_norm,
    "normalize": normalize,
    "norm": norm,
    "vector_norm": norm,
    "linalg_vector_norm": norm,
    "logsumexp": logsumexp,
    "logcumsumexp": logcumsumexp,
    "copy": copied,
    "fill": filled,
    "zero": filled,
    "grid_sample": grid_sample,
    "__iter__": iterated,
    "setitem": assigned,
    "glu": gated_linear,
    "local_response_norm": fused.local_response_norm,
    "scaled_dot_product_attention": fused.attention,
    "multi_head_attention_forward": fused.multi_head_attention,
    "lstm": fused.recurrent,
    "gru": fused.recurrent,
    "rnn_tanh": fused.recurrent,
    "rnn_relu": fused.recurrent,
    "lstm_cell": fused.cell,
    "gru_cell": fused.cell,
    "rnn_tanh_cell": fused.cell,
    "rnn_relu_cell": fused.cell,
}
"""The kind of every operation that has a rule, by its name."""
