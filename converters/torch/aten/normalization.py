"""Normalizations, softmax and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.converters.torch.aten.rows import Size, Use, axes_of, axis_of, filled, row, shape_of, size_along
from portable_nn.core.errors import RefusalError
from portable_nn.operators import Leaf, Symbol, cast, constant, emit, emit_all, integers


def _scale_and_shift(x: Symbol, channels: Any, scale: Symbol | None, shift: Symbol | None) -> list[Symbol]:
    """Both, or 1 and 0 for all channels."""
    return [
        filled(value, [int(channels)], x.dtype) if given is None else given for given, value in ((scale, 1), (shift, 0))
    ]


def _still(value: Symbol) -> Symbol:
    """A value that training takes for no state, and whose being frozen freezes nothing else."""
    return emit("Identity", value)


@row("batch_norm", "_native_batch_norm_legit_functional", "native_batch_norm", "_native_batch_norm_legit")
def _batch_norm(
    use: Use,
    x: Symbol,
    weight: Symbol | None,
    bias: Symbol | None,
    mean: Symbol | None,
    variance: Symbol | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> list[Symbol | None]:
    """Predicts with the running statistics, and trains with those of the batch unless the module was kept from it.

    The statistics that come out of it in a graph without writing are those that go in: the state, which it follows.
    """
    if not isinstance(momentum, (int, float)):
        use.refuse("a momentum of None: averages over all batches")
    scales = _scale_and_shift(x, x.shape[1], weight, bias)
    if mean is None or variance is None:
        unused = [filled(value, [int(x.shape[1])], x.dtype) for value in (0, 1)]
        return [emit_all("BatchNormalization", x, *scales, *unused, outputs=3, epsilon=eps, training_mode=1)[0]]
    state = mean, variance
    if use.trains and not training:
        mean, variance = _still(mean), _still(variance)
    else:
        use.note(
            "BatchNorm: running_var follows Σ(x - mean)² / n while training, as in ONNX; PyTorch's is divided by n - 1"
        )
        if all(isinstance(each, Leaf) and each.parameter and not each.trainable for each in scales):
            scales = [_still(each) for each in scales]
    # ONNX has the share of the old statistic for what PyTorch has the share of the new one.
    made = emit("BatchNormalization", x, *scales, mean, variance, epsilon=eps, momentum=1 - momentum)
    return [made, None, None, *state]


@row("_native_batch_norm_legit_no_training")
def _still_batch_norm(use: Use, x: Symbol, weight: Any, bias: Any, mean: Any, variance: Any, *options: Any) -> Any:
    return _batch_norm(use, x, weight, bias, mean, variance, False, *options)


@row("instance_norm")
def _instance_norm(
    use: Use,
    x: Symbol,
    weight: Symbol | None,
    bias: Symbol | None,
    mean: Symbol | None,
    variance: Symbol | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> Symbol:
    scales = _scale_and_shift(x, x.shape[1], weight, bias)
    if mean is None or variance is None:
        return emit("InstanceNormalization", x, *scales, epsilon=eps)
    use.note(
        "InstanceNorm with running statistics: training uses them and leaves them as they are, where PyTorch trains "
        "with the statistics of each instance"
    )
    return emit("BatchNormalization", x, *scales, _still(mean), _still(variance), epsilon=eps)


@row("layer_norm", "native_layer_norm")
def _layer_norm(
    use: Use,
    x: Symbol,
    normalized_shape: Sequence[Size],
    weight: Symbol | None = None,
    bias: Symbol | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Symbol:
    scale = filled(1, normalized_shape, x.dtype) if weight is None else weight
    return emit("LayerNormalization", x, scale, bias, axis=-len(normalized_shape), epsilon=eps)


@row("rms_norm")
def _rms_norm(
    use: Use, x: Symbol, normalized_shape: Sequence[Size], weight: Symbol | None = None, eps: float | None = None
) -> Symbol:
    scale = filled(1, normalized_shape, x.dtype) if weight is None else weight
    precision = {"float32": 2.0**-23, "float64": 2.0**-52}
    return emit(
        "RMSNormalization", x, scale, axis=-len(normalized_shape), epsilon=precision[x.dtype] if eps is None else eps
    )


@row("group_norm")
def _group_norm(
    use: Use,
    x: Symbol,
    num_groups: int,
    weight: Symbol | None = None,
    bias: Symbol | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Symbol:
    scales = _scale_and_shift(x, x.shape[1], weight, bias)
    return emit("GroupNormalization", x, *scales, num_groups=num_groups, epsilon=eps)


@row("softmax", "_softmax", "special_softmax")
def _softmax(use: Use, x: Symbol, dim: int, dtype: Any = None) -> Symbol:
    return emit("Softmax", use.promoted(x), axis=dim)


@row("log_softmax", "_log_softmax", "special_log_softmax")
def _log_softmax(use: Use, x: Symbol, dim: int, dtype: Any = None) -> Symbol:
    return emit("LogSoftmax", use.promoted(x), axis=dim)


def _dropped(x: Symbol, p: float) -> Symbol:
    if p >= 1:
        raise RefusalError("a probability of 1, which trains nothing")
    return emit("Dropout", x, constant(p, "float32")) if p > 0 else x


def dropped(use: Use, x: Symbol, p: float, train: bool = True) -> Symbol:
    """``x`` with dropout, unless the module was kept from it while the whole was in training mode."""
    return x if use.trains and not train else _dropped(x, p)


@row("dropout", "native_dropout")
def _dropout(use: Use, x: Symbol, p: float, train: bool) -> Symbol:
    return dropped(use, x, p, train)


@row("feature_dropout")
def _feature_dropout(use: Use, x: Symbol, p: float, train: bool) -> Symbol:
    """Whole channels become 0: a factor for each, the noise of which is that of dropout."""
    if (use.trains and not train) or p == 0:
        return x
    lead = [size_along(x, axis) for axis in range(2)]
    return x * _dropped(filled(1, [*lead, *[1] * (len(x.shape) - 2)], x.dtype), p)


@row("bernoulli.p", "bernoulli_.float", "bernoulli.default")
def _bernoulli(use: Use, x: Symbol, p: float = 0.5, generator: Any = None) -> Symbol:
    """Zeros and ones with the mean ``p`` while training, and this mean in prediction."""
    if use.target == "aten.bernoulli.default":
        use.refuse("probabilities that are tensors")
    return _dropped(filled(p, shape_of(x), x.dtype), 1 - p)


@row("linalg_vector_norm", "norm")
def _norm(
    use: Use, x: Symbol, ord: float | None = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Symbol:
    x = use.promoted(x)
    return vector_norm(x, 2 if ord is None else ord, axes_of(dim, len(x.shape)), keepdim)


def vector_norm(x: Symbol, ord: float, axes: Sequence[int], keepdim: bool = False) -> Symbol:
    """(Σ |x|^ord)^(1 / ord) along axes."""
    options: dict[str, Any] = {"keepdims": int(keepdim)}
    operators = {1: "ReduceL1", 2: "ReduceL2"}
    if ord in operators:
        return emit(operators[ord], x, integers(axes), **options)  # type: ignore[index]
    if ord == float("inf"):
        return emit("ReduceMax", emit("Abs", x), integers(axes), **options)
    if ord == 0:
        return emit("ReduceSum", cast(cast(x, "bool"), x.dtype), integers(axes), **options)
    sums = emit("ReduceSum", emit("Pow", emit("Abs", x), constant(ord, x.dtype)), integers(axes), **options)
    return emit("Pow", sums, constant(1 / ord, x.dtype))


@row("normalize")
def _normalize(use: Use, x: Symbol, p: float = 2, dim: int = 1, eps: float = 1e-12) -> Symbol:
    norm = _norm(use, x, p, [axis_of(dim, len(x.shape))], True)
    return x / emit("Max", norm, constant(eps, x.dtype))


@row("_weight_norm_interface", "_weight_norm")
def _weight_norm(use: Use, v: Symbol, g: Symbol, dim: int = 0) -> Any:
    """The direction ``v`` with the length ``g`` along all axes but one, and the length that ``v`` has."""
    axis = axis_of(dim, len(v.shape))
    axes = [each for each in range(len(v.shape)) if each != axis or dim == -1]
    norm = emit("ReduceL2", v, integers(axes), keepdims=1)
    made = v * (g / norm)
    return (made, norm) if "interface" in use.target else made
