"""The operators that PyTorch writes otherwise than the table of array code: each has a row here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from portable_nn.converters.array import ROWS
from portable_nn.converters.array.use import tuple_of
from portable_nn.converters.torch import source_normalization as normalization
from portable_nn.converters.torch import source_recurrent as recurrent
from portable_nn.converters.torch import source_spatial as spatial
from portable_nn.converters.torch.source_use import Made, Row, Use, literal, option, torch_dtype
from portable_nn.converters.torch.words import in_torch
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim, Tensor
from portable_nn.operators import FLOATS
from portable_nn.operators.layout.padding import pads_of
from portable_nn.operators.recurrent.uses import KINDS
from portable_nn.operators.reduction.reduce import reduced_axes


def reshape(use: Use) -> str | None:
    """The sizes are written where they are known; one that is computed is left to PyTorch if it is the only one."""
    shape = use.results[0].shape
    opens = [dim for dim in shape if isinstance(dim, str)]
    if len(opens) == 1 and not opens[0].isidentifier() and 0 not in shape:
        return f"{use.x()}.reshape{tuple_of([-1 if isinstance(dim, str) else dim for dim in shape])}"
    try:
        return f"{use.x()}.reshape{_shape(use, shape)}"
    except RefusalError:
        is_exact = use.has(1) and use.int("allowzero")
        return use.text("{0}.reshape({1}.tolist())") if is_exact else None


def _shape(use: Use, shape: Sequence[Dim]) -> str:
    return use.dims(shape) if shape else "(())"


def flatten(use: Use) -> str | None:
    """A matrix: PyTorch has a method for the usual one."""
    return f"{use.x()}.flatten(1)" if use.int("axis") == 1 and use.rank > 1 else reshape(use)


def transpose(use: Use) -> str:
    """Two axes are exchanged by one word."""
    order = use.ints("perm") or tuple(range(use.rank))[::-1]
    moved = [axis for axis, source in enumerate(order) if axis != source]
    if len(moved) == 2:
        return f"{use.x()}.transpose({moved[0]}, {moved[1]})"
    return f"{use.x()}.permute{order}" if order else use.x()


def unsqueeze(use: Use) -> str:
    """One axis after another."""
    axes = use.axes_of(1, len(use.results[0].shape)) or ()
    return use.x() + "".join(f".unsqueeze({axis})" for axis in sorted(axes))


def expand(use: Use) -> str | None:
    """To a shape that is known."""
    try:
        return f"{use.x()}.expand{_shape(use, use.results[0].shape)}"
    except RefusalError:
        return None


def split(use: Use) -> str:
    """The sizes of all parts."""
    if not all(map(use.is_read, range(use.output_count))):
        use.refuse("an output that is left out")
    axis = use.attribute_axis()
    if use.has(1) and not use.knows(1):
        return f"torch.split({use.x()}, {use.x(1)}.tolist(), dim={axis})"
    sizes = ", ".join(use.size(each.shape[axis]) for each in use.results)
    return f"torch.split({use.x()}, [{sizes}], dim={axis})" if use.output_count > 1 else use.x()


def compress(use: Use) -> str:
    """Along an axis, or of all elements."""
    axis = None if use.attributes.get("axis") is None else use.attribute_axis()
    return use.text(f"compressed({{0}}, {{1}}, {axis})")


def tile(use: Use) -> str | None:
    """By numbers that are computed."""
    return None if use.knows(1) else use.text("{0}.tile({1}.tolist())")


_MODES: Final = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _around(x: str, flat: Sequence[str], more: str = "") -> str:
    """Cells around those of ``x``, and then fewer: where both are there, PyTorch would first take away."""
    less = [each if each.startswith("-") else "0" for each in flat]
    if set(less) == {"0"} or less == flat:
        return f"F.pad({x}, {tuple_of(flat)}{more})"
    added = ["0" if each.startswith("-") else each for each in flat]
    return f"F.pad(F.pad({x}, {tuple_of(added)}{more}), {tuple_of(less)})"


def pad(use: Use) -> str:
    """The pads of the last axis first, without axes that have none."""
    if use.type(1).constant is None:
        use.refuse("pads that are computed from data")
    flat = [use.size(side) for pair in pads_of(use)[::-1] for side in pair]
    while flat[-2:] == ["0", "0"]:
        flat = flat[:-2]
    x = use.x()
    mode = _MODES.get(use.string("mode"))
    if not flat:
        return x
    if mode is None:
        return _with_constant(use, flat)
    is_usual = len(flat) == 2 * (use.rank - 2) and use.type().dtype in ("float32", "float64")
    if is_usual and not any("-" in each for each in flat):
        return f'F.pad({x}, {tuple_of(flat)}, mode="{mode}")'
    return f'padded({x}, {tuple_of(flat)}, "{mode}")'


def _with_constant(use: Use, flat: Sequence[str]) -> str:
    """``F.pad`` takes a number alone, which learns nothing."""
    known = use.known(2) if use.has(2) else (0,)
    value = literal(known[0], use.type().dtype) if known else "0"
    made = _around(use.x(), flat, "" if value in ("0", "0.0") else f", value={value}")
    inside = _around(f"torch.ones_like({use.x()}, dtype=torch.bool)", flat)
    return made if known else f"torch.where({inside}, {made}, {use.x(2)})"


def gather(use: Use) -> str | None:
    """An entry whose number is known."""
    known = use.known(1)
    if known is None or use.type(1).shape != ():
        return None
    return f"{use.x()}[{', '.join([':'] * use.attribute_axis() + [str(int(known[0]))])}]"


# -- what makes tensors


def constant(use: Use) -> str:
    """A buffer."""
    value = use.attributes.get("value")
    if not isinstance(value, Tensor):
        return use.writer.tensor(use.node.outputs[0])
    return use.writer.constant(np.array(value.data, value.dtype).reshape(value.shape))


def shape(use: Use) -> str:
    """The sizes of some axes."""
    start = use.int("start")
    end = use.attributes.get("end")
    part = "" if start == 0 and end is None else f"[{start}:{'' if end is None else end}]"
    return f"torch.tensor({use.x()}.shape{part}, {use.device})"


def counting(use: Use) -> str:
    """From a number to another one in steps."""
    is_whole = use.type().dtype in ("int32", "int64")
    bounds = list[str]()
    for place in range(3):
        known = use.known(place)
        number = use.whole(place)[0] if is_whole and use.knows(place) else known and literal(known[0], use.type().dtype)
        bounds.append(number or f"{use.x(place)}.item()")
    return f"torch.arange({', '.join(bounds)}, dtype={torch_dtype(use.type().dtype)}, {use.device})"


def filled(use: Use) -> str:
    """One number everywhere."""
    value = use.attributes.get("value")
    number, dtype = (value.data[0], value.dtype) if isinstance(value, Tensor) else (0.0, "float32")
    try:
        target = use.dims(use.results[0].shape)
    except RefusalError:
        target = f"{use.x()}.tolist()"
    return f"torch.full({target}, {literal(number, dtype)}, dtype={torch_dtype(dtype)}, {use.device})"


def _keepdim(use: Use) -> str:
    return ", keepdim=True" if use.int("keepdims") else ""


def mean(use: Use) -> str | None:
    """The mean of whole numbers is cut."""
    x = use.x()
    if use.type().dtype in FLOATS or not (axes := reduced_axes(use)):
        return None
    count = " * ".join(f"{x}.shape[{axis}]" for axis in axes)
    return f'torch.div({x}.sum({axes}{_keepdim(use)}), {count}, rounding_mode="trunc").to({x}.dtype)'


def product(use: Use) -> str:
    """One axis after another."""
    text = use.x() + "".join(f".prod({axis}{_keepdim(use)})" for axis in reduced_axes(use)[::-1])
    return text if use.type().dtype in FLOATS else f"{text}.to({torch_dtype(use.type().dtype)})"


def of_floats(use: Use) -> str | None:
    """Roots and logarithms of sums of whole numbers, as those of floats."""
    dtype = use.type().dtype
    if dtype in FLOATS or not (axes := reduced_axes(use)):
        return None
    function = {"ReduceL2": "linalg.vector_norm"}.get(use.operator.name, "logsumexp")
    return f"torch.{function}({use.x()}.double(), dim={axes}{_keepdim(use)}).to({torch_dtype(dtype)})"


_NARROW = ("bool", "uint8", "int8", "int16", "int32", "int64")


def bits(use: Use) -> str:
    """Bits that change or move."""
    if use.type().dtype not in _NARROW:
        use.refuse(f"bits of {use.type().dtype}")
    if use.operator.name == "BitwiseNot":
        return f"~{use.x()}"
    return f"{use.x()} {'<<' if use.string('direction') == 'LEFT' else '>>'} {use.x(1)}"


def division(use: Use) -> str | None:
    """The quotient of whole numbers is cut."""
    return None if use.type().dtype in FLOATS else use.text('torch.div({0}, {1}, rounding_mode="trunc")')


def power(use: Use) -> str:
    """A power, with a known exponent as a number."""
    found = use.known(1) if use.type(1).shape == () else None
    if found == (2.0,):
        return f"{use.x()} ** 2"
    text = f"{use.x()} ** {literal(found[0], use.type(1).dtype) if found else use.x(1)}"
    return text if use.type(0).dtype == use.type(1).dtype else f"({text}).to({torch_dtype(use.type().dtype)})"


def clip(use: Use) -> str:
    """Numbers between limits: both numbers or both tensors in one call."""
    limits = {name: place for name, place in (("min", 1), ("max", 2)) if use.has(place)}
    options = [f"{name}={use.x(place)}" for name, place in limits.items()]
    if len({use.known(place) is None for place in limits.values()}) > 1:
        return use.x() + "".join(f".clamp({each})" for each in options)
    return f"torch.clamp({', '.join([use.x(), *options])})" if limits else use.x()


def gelu(use: Use) -> str:
    """GELU, exact or by tanh."""
    return f"F.gelu({use.x()}{option('approximate', use.string('approximate'), 'none')})"


def hard_sigmoid(use: Use) -> str:
    """PyTorch's function where it has the same slope."""
    if abs(use.float("alpha") - 1 / 6) < 1e-15 and use.float("beta") == 0.5:
        return f"F.hardsigmoid({use.x()})"
    return use.text("torch.clamp({0} * {alpha} + {beta}, 0.0, 1.0)")


def selu(use: Use) -> str | None:
    """PyTorch's function where it has the same numbers."""
    alpha = use.float("alpha") - 1.6732632423543772
    gamma = use.float("gamma") - 1.0507009873554805
    is_usual = abs(alpha) < 1e-7 and abs(gamma) < 1e-7 and use.type().dtype == "float32"
    return f"F.selu({use.x()})" if is_usual else None


def shrink(use: Use) -> str | None:
    """PyTorch's functions where the rest moves by all of the limit, or not."""
    bias = use.float("bias")
    limit = use.float("lambd")
    is_usual = use.type().dtype in FLOATS and bias in (0.0, limit)
    return f"F.{'softshrink' if bias else 'hardshrink'}({use.x()}, {limit!r})" if is_usual else None


def swish(use: Use) -> str | None:
    """PyTorch's function where the slope is 1."""
    return f"F.silu({use.x()})" if use.float("alpha") == 1 else None


def infinite(use: Use) -> str:
    """Infinity of both signs, of one, or of none."""
    signs = {(1, 1): "", (1, 0): "pos", (0, 1): "neg"}.get((use.int("detect_positive"), use.int("detect_negative")))
    return f"torch.zeros_like({use.x()}, dtype=torch.bool)" if signs is None else f"torch.is{signs}inf({use.x()})"


def gemm(use: Use) -> str | None:
    """PyTorch's linear layer as a function."""
    is_linear = use.int("transB") and not use.int("transA") and use.float("alpha") == 1
    is_biased = use.has(2) and use.float("beta") == 1 and len(use.type(2).shape) == 1
    return use.text("F.linear({all})") if is_linear and (is_biased or not use.has(2)) else None


OWN: Final[Mapping[str, Row]] = {
    "StopGradient": "{0}.detach()",
    "BitShift": bits,
    "BitwiseNot": bits,
    "Celu": "F.celu({0}, {alpha})",
    "Clip": clip,
    "Div": division,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": "F.hardswish({0})",
    "IsInf": infinite,
    "Mish": "F.mish({0})",
    "PRelu": "torch.where({0} < 0, {0} * {1}, {0})",
    "Pow": power,
    "Selu": selu,
    "Shrink": shrink,
    "Softplus": "F.softplus({0}, threshold=40)",
    "Swish": swish,
    "ThresholdedRelu": "F.threshold({0}, {alpha}, 0.0)",
    "Gemm": gemm,
    "Softmax": lambda u: f"F.softmax({u.x()}, dim={u.int('axis')})",
    "LogSoftmax": lambda u: f"F.log_softmax({u.x()}, dim={u.int('axis')})",
    "Hardmax": "F.one_hot({0}.argmax({axis}), {0}.shape[{axis}]).movedim(-1, {axis}).to({0}.dtype)",
    "BatchNormalization": normalization.batch_norm,
    "LayerNormalization": normalization.norm_of_last_axes,
    "RMSNormalization": normalization.norm_of_last_axes,
    "GroupNormalization": normalization.group_norm,
    "InstanceNormalization": normalization.group_norm,
    "LRN": normalization.response_norm,
    "Dropout": normalization.dropout,
    "Attention": normalization.attention,
    "NegativeLogLikelihoodLoss": normalization.loss,
    "SoftmaxCrossEntropyLoss": normalization.loss,
    "ReduceMean": mean,
    "ReduceProd": product,
    "ReduceL2": of_floats,
    "ReduceLogSumExp": of_floats,
    "AffineGrid": spatial.affine_grid,
    "AveragePool": spatial.average_pool,
    "Col2Im": spatial.fold,
    "Conv": spatial.conv,
    "ConvTranspose": spatial.conv_transpose,
    "GlobalLpPool": spatial.global_norm,
    "GridSample": spatial.grid_sample,
    "LpPool": spatial.norm_pool,
    "MaxPool": spatial.max_pool,
    "MaxUnpool": lambda u: f"unpooled({u.x()}, {u.x(1)}, {u.dims(u.results[0].shape)})",
    "Resize": spatial.resize,
    "RoiAlign": lambda u: u.refuse("PyTorch has no such operation"),
    "NonMaxSuppression": lambda u: u.refuse("PyTorch has no such operation"),
    "Unique": lambda u: u.refuse("PyTorch does not tell the first place of each element"),
    "Compress": compress,
    "Constant": constant,
    "ConstantOfShape": filled,
    "DepthToSpace": lambda u: u.text("F.pixel_shuffle({0}, {blocksize})") if u.string("mode") == "CRD" else None,
    "Expand": expand,
    "EyeLike": lambda u: f"eye_like({u.x()}, {u.int('k')}, {torch_dtype(u.results[0].dtype)})",
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": "torch.gather({0}, {axis}, from_front({1}, {0}.shape[{axis}]))",
    "NonZero": "{0}.nonzero().T",
    "Pad": pad,
    "Range": counting,
    "Reshape": reshape,
    "Shape": shape,
    "Size": lambda u: f"torch.tensor({u.x()}.numel(), {u.device})",
    "Split": split,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    **dict.fromkeys(KINDS, recurrent.functional),
}
"""What is written of a use; ``None``, or no row at all, for what array code says in other words alone."""


def written(use: Use) -> Made:
    """The outputs of a use, of its inputs. Raises ``RefusalError`` or ``InvalidNode``."""
    row = OWN.get(use.operator.name)
    made = row(use) if callable(row) else row and in_torch(use.text(row))
    if made is None and use.operator.name not in ROWS:
        use.refuse("PyTorch has no such operation")
    return in_torch(ROWS[use.operator.name].expression(use)) if made is None else made
