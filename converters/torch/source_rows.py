"""The operators that PyTorch writes otherwise than the table of array code: each has a row here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.array import ROWS
from portable_nn.converters.torch import source_elementwise as numbers
from portable_nn.converters.torch import source_layout as layout
from portable_nn.converters.torch import source_normalization as normalization
from portable_nn.converters.torch import source_recurrent as recurrent
from portable_nn.converters.torch import source_reduction as reductions
from portable_nn.converters.torch import source_spatial as spatial
from portable_nn.converters.torch.source_use import Made, Row, Use, torch_dtype
from portable_nn.converters.torch.words import in_torch
from portable_nn.operators.recurrent.uses import KINDS

OWN: Final[Mapping[str, Row]] = {
    "StopGradient": "{0}.detach()",
    "BitShift": numbers.bits,
    "BitwiseNot": numbers.bits,
    "Celu": "F.celu({0}, {alpha})",
    "Clip": numbers.clip,
    "Div": numbers.division,
    "Gelu": numbers.gelu,
    "HardSigmoid": numbers.hard_sigmoid,
    "HardSwish": "F.hardswish({0})",
    "IsInf": numbers.infinite,
    "Mish": "F.mish({0})",
    "PRelu": "torch.where({0} < 0, {0} * {1}, {0})",
    "Pow": numbers.power,
    "Selu": numbers.selu,
    "Shrink": numbers.shrink,
    "Softplus": "F.softplus({0}, threshold=40)",
    "Swish": numbers.swish,
    "ThresholdedRelu": "F.threshold({0}, {alpha}, 0.0)",
    "Gemm": numbers.gemm,
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
    "ReduceMean": reductions.mean,
    "ReduceProd": reductions.product,
    "ReduceL2": reductions.of_floats,
    "ReduceLogSumExp": reductions.of_floats,
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
    "Compress": layout.compress,
    "Constant": layout.constant,
    "ConstantOfShape": layout.filled,
    "DepthToSpace": lambda u: u.text("F.pixel_shuffle({0}, {blocksize})") if u.string("mode") == "CRD" else None,
    "Expand": layout.expand,
    "EyeLike": lambda u: f"eye_like({u.x()}, {u.int('k')}, {torch_dtype(u.results[0].dtype)})",
    "Flatten": layout.flatten,
    "Gather": layout.gather,
    "GatherElements": "torch.gather({0}, {axis}, from_front({1}, {0}.shape[{axis}]))",
    "NonZero": "{0}.nonzero().T",
    "Pad": layout.pad,
    "Range": layout.counting,
    "Reshape": layout.reshape,
    "Shape": layout.shape,
    "Size": lambda u: f"torch.tensor({u.x()}.numel(), {u.device})",
    "Split": layout.split,
    "Tile": layout.tile,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
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
