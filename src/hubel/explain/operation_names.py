"""Names of torch's operations, sorted by what they do to what depends on the input."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set.

    >>> sorted(words("relu abs"))
    ['abs', 'relu']
    """
    return frozenset(text.split())


BOOKKEEPING = words(
    "size dim ndimension ndim shape numel nelement __len__ stride storage_offset is_contiguous is_floating_point is_complex "
    "is_signed is_cuda is_cpu is_mps is_xpu is_meta is_sparse is_sparse_csr is_mkldnn is_quantized is_nested is_inference is_neg is_conj "
    "is_leaf is_pinned is_shared is_tensor is_storage is_same_size is_nonzero is_set_to dtype device layout names requires_grad "
    "requires_grad_ retain_grad retains_grad grad grad_fn grad_dtype output_nr name element_size itemsize nbytes data_ptr untyped_storage "
    "storage get_device _version version _base _is_view register_hook __hash__ __repr__ __str__ __format__ __bool__ __int__ __index__ "
    "__float__ __contains__ __dir__ item tolist numpy __array__ equal allclose result_type can_cast promote_types zeros_like ones_like "
    "empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full new_tensor backward has_names "
    "__deepcopy__ __reduce_ex__ __setstate__ type_of _assert _assert_async is_distributed"
)
"""What asks about a tensor, or makes another one of its kind, and hands no values on."""

STILL = words(
    "eq ne lt le gt ge __eq__ __ne__ __lt__ __le__ __gt__ __ge__ less less_equal greater greater_equal not_equal isnan isinf isfinite "
    "isposinf isneginf isclose isreal any all logical_and logical_or logical_xor logical_not argmax argmin argsort nonzero count_nonzero "
    "searchsorted bucketize long int short byte char bool heaviside sign floor ceil round trunc detach data one_hot unique bincount"
)
"""What depends on the input without a slope: comparisons, places, whole numbers."""

REARRANGED = words(
    "reshape view view_as reshape_as flatten unflatten ravel permute transpose swapaxes swapdims movedim moveaxis t T mT H mH adjoint "
    "squeeze unsqueeze __getitem__ select narrow chunk split split_with_sizes tensor_split hsplit vsplit unbind contiguous clone to type "
    "type_as float double half bfloat16 cpu cuda expand expand_as broadcast_to repeat tile repeat_interleave flip fliplr flipud rot90 roll "
    "gather take_along_dim index_select masked_select cat stack hstack vstack dstack column_stack pad unfold diagonal diag_embed tril "
    "triu atleast_1d atleast_2d atleast_3d as_strided pixel_shuffle pixel_unshuffle channel_shuffle data_layout positive "
    "swapaxes_copy real broadcast_tensors"
)
"""Values keep their size: they move, or are left out, or are repeated."""

LINEAR = words(
    "add sub rsub neg sum mean nanmean nansum cumsum diff trace masked_fill where setitem copy fill zero scatter scatter_add "
    "index_add index_copy index_put index_fill masked_scatter select_scatter slice_scatter avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate upsample upsample_nearest upsample_bilinear fold col2im "
    "sum_to_size view_as_real view_as_complex imag conj resolve_conj resolve_neg conj_physical stft istft "
    "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_hfft fft_ihfft "
    "fft_fftshift fft_ifftshift"
)
"""Linear, or linear and a constant, in all that depends on the input together."""

SHIFTING = words(
    "add sub rsub cat stack hstack vstack dstack column_stack pad masked_fill where setitem copy scatter scatter_add index_add index_copy "
    "index_put index_fill masked_scatter select_scatter slice_scatter"
)
"""Those of them that can bring a constant in."""

CHOOSING = words("max_unpool1d max_unpool2d max_unpool3d")
"""Those that read choices for which there is a rule."""

CHOSEN = words("sort topk kthvalue median msort mode")
"""Values at places that are chosen by their size."""

KINKED = words(
    "relu relu6 leaky_relu rrelu prelu threshold clamp clamp_min clamp_max hardtanh hardsigmoid abs softshrink hardshrink "
    "nan_to_num minimum maximum fmin fmax"
)
"""Elementwise functions of straight pieces."""

SMOOTH = words(
    "elu selu celu gelu silu mish hardswish sigmoid expit log_sigmoid tanh softplus softsign tanhshrink exp exp2 expm1 log log1p log2 log10 "
    "logit sqrt rsqrt square reciprocal sin cos tan asin acos atan arcsin arccos arctan sinh cosh asinh acosh atanh erf erfc erfinv "
    "rpow rdiv sinc lgamma digamma xlogy float_power"
)
"""Other elementwise functions."""

GATES = words("sigmoid expit hardsigmoid softmax")

LOGARITHMS = words("log log2 log10 log_sigmoid logit")
"""Functions without a value at zero, or with one from which the sign of what they answer does not follow."""

HOMOGENEOUS = words("relu leaky_relu rrelu prelu abs")
"""Functions with g(x) = x g'(x): the ordinary gradient is the ratio y / x."""

SAME = {
    "__rsub__": "rsub",
    "__rpow__": "rpow",
    "__rdiv__": "rdiv",
    "__rtruediv__": "rdiv",
    "__div__": "div",
    "__idiv__": "div_",
    "__truediv__": "div",
    "__itruediv__": "div_",
    "__add__": "add",
    "__radd__": "add",
    "__iadd__": "add_",
    "__sub__": "sub",
    "__isub__": "sub_",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__imul__": "mul_",
    "__pow__": "pow",
    "__ipow__": "pow_",
    "__neg__": "neg",
    "__abs__": "abs",
    "__matmul__": "matmul",
    "__rmatmul__": "rmatmul",
    "subtract": "sub",
    "subtract_": "sub_",
    "multiply": "mul",
    "multiply_": "mul_",
    "divide": "div",
    "divide_": "div_",
    "true_divide": "div",
    "true_divide_": "div_",
    "negative": "neg",
    "absolute": "abs",
    "concat": "cat",
    "concatenate": "cat",
    "clip": "clamp",
    "clip_": "clamp_",
    "fix": "trunc",
    "_threshold": "threshold",
}
"""Other names of the same operations."""
