"""Normalizations: along axes, of channels, and to probabilities; their loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.array.use import ArrayUse, Row, number, tuple_of


def _batch_norm(use: ArrayUse) -> str:
    if use.int("training_mode"):
        return use.text("batch_norm_of_batch({all}, {epsilon}, {momentum})")
    return use.text("batch_norm({all}, {epsilon})")


def _layer_norm(use: ArrayUse) -> str:
    if use.output_count > 1:
        use.refuse("its mean and deviation are not written as outputs")
    axes = tuple_of(range(use.attribute_axis(), use.rank))
    bias = f" + {use.x(2)}" if use.has(2) else ""
    return f"standardized({use.x()}, {axes}, {number(use.float('epsilon'))}) * {use.x(1)}{bias}"


def _rms_norm(use: ArrayUse) -> str:
    x, axes = use.x(), tuple_of(range(use.attribute_axis(), use.rank))
    return f"{x} / root_mean_square({x}, {axes}, {number(use.float('epsilon'))}) * {use.x(1)}"


def _lp_norm(use: ArrayUse) -> str:
    x, how = use.x(), f"axis={use.attribute_axis()}, keepdims=True"
    return f"divided_by_length({x}, {f'length({x}, {how})' if use.int('p') == 2 else f'np.abs({x}).sum({how})'})"


def _dropout(use: ArrayUse) -> str:
    if use.has(2) and use.type(2).constant != (0,):
        use.refuse("it drops at random, as in training")
    if use.output_count > 1:
        return f"{use.x()}, np.ones({use.x()}.shape, np.bool_)"
    return use.x()


_LOSS: Final = "({0}, {1}, {2}, {ignore_index}, {reduction})"


ROWS: Final[Mapping[str, Row]] = {
    "Softmax": Row("softmax({0}, {axis})", "probabilities: positive, and 1 in total"),
    "LogSoftmax": Row("log_softmax({0}, {axis})", "logarithms of probabilities"),
    "Hardmax": Row("hardmax({0}, {axis})", "1 for the largest number, 0 for the others"),
    "BatchNormalization": Row(_batch_norm, "each channel around 0, by what was learned"),
    "LayerNormalization": Row(_layer_norm, "each example around 0 with deviation 1, then scaled"),
    "RMSNormalization": Row(_rms_norm, "divided by the root of the mean square, then scaled"),
    "GroupNormalization": Row("group_norm({0}, {1}, {2}, {num_groups}, {epsilon})", "groups of channels around 0"),
    "InstanceNormalization": Row("instance_norm({0}, {1}, {2}, {epsilon})", "each channel of each example around 0"),
    "LRN": Row("local_response_norm({0}, {size}, {alpha}, {beta}, {bias})", "neighbouring channels compete"),
    "LpNormalization": Row(_lp_norm, "divided by its length"),
    "Dropout": Row(_dropout, "nothing: it drops numbers in training only"),
    "NegativeLogLikelihoodLoss": Row(f"negative_log_likelihood{_LOSS}", "how unlikely the labels are"),
    "SoftmaxCrossEntropyLoss": Row(lambda u: u.several(u.text(f"cross_entropy{_LOSS}")), "how unlikely the labels are"),
}
