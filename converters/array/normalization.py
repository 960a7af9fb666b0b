"""Normalizations: along axes, of channels, and to probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.array.use import ArrayUse, Row, tuple_of


def _batch_norm(use: ArrayUse) -> str:
    if use.int("training_mode"):
        return f"batch_norm_of_batch({', '.join(use.all)}, {use.float('epsilon')!r}, {use.float('momentum')!r})"
    return f"batch_norm({', '.join(use.all)}, {use.float('epsilon')!r})"


def _layer_norm(use: ArrayUse) -> str:
    if use.output_count > 1:
        use.refuse("its mean and deviation are not written as outputs")
    axes = tuple_of(range(use.attribute_axis(), use.rank))
    bias = f" + {use.x(2)}" if use.has(2) else ""
    return f"standardized({use.x()}, {axes}, {use.float('epsilon')!r}) * {use.x(1)}{bias}"


def _rms_norm(use: ArrayUse) -> str:
    x, axes = use.x(), tuple_of(range(use.attribute_axis(), use.rank))
    mean = f"({x} * {x}).mean(axis={axes}, keepdims=True)"
    return f"{x} / np.sqrt({mean} + {use.float('epsilon')!r}) * {use.x(1)}"


def _lp_norm(use: ArrayUse) -> str:
    x, axis, p = use.x(), use.attribute_axis(), use.int("p")
    norm = f"np.abs({x}).sum(axis={axis}, keepdims=True)"
    if p == 2:
        norm = f"np.sqrt(({x} * {x}).sum(axis={axis}, keepdims=True))"
    return f"np.divide({x}, {norm}, out=np.zeros_like({x}), where={norm} != 0)"


def _dropout(use: ArrayUse) -> str:
    if use.has(2) and use.type(2).constant != (0,):
        use.refuse("it drops at random, as in training")
    if use.output_count > 1:
        return f"{use.x()}, np.ones({use.x()}.shape, np.bool_)"
    return use.x()


ROWS: Final[Mapping[str, Row]] = {
    "Softmax": Row(lambda u: f"softmax({u.x()}, {u.attribute_axis()})", "probabilities: positive, and 1 in total"),
    "LogSoftmax": Row(lambda u: f"log_softmax({u.x()}, {u.attribute_axis()})", "logarithms of probabilities"),
    "Hardmax": Row(lambda u: f"hardmax({u.x()}, {u.attribute_axis()})", "1 for the largest number, 0 for the others"),
    "BatchNormalization": Row(_batch_norm, "each channel around 0, by what was learned"),
    "LayerNormalization": Row(_layer_norm, "each example around 0 with deviation 1, then scaled"),
    "RMSNormalization": Row(_rms_norm, "divided by the root of the mean square, then scaled"),
    "GroupNormalization": Row("group_norm({0}, {1}, {2}, {num_groups}, {epsilon})", "groups of channels around 0"),
    "InstanceNormalization": Row("instance_norm({0}, {1}, {2}, {epsilon})", "each channel of each example around 0"),
    "LRN": Row("local_response_norm({0}, {size}, {alpha}, {beta}, {bias})", "neighbouring channels compete"),
    "LpNormalization": Row(_lp_norm, "divided by its length"),
    "Dropout": Row(_dropout, "nothing: it drops numbers in training only"),
}
