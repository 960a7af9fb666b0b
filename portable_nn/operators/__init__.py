"""The operators: one home for each, with its shape rule, its numpy kernel and its gradient.

To add one, write its rules in the module of its family, ``register`` it there, and add a row to ``tests/cases``.
"""

from portable_nn.operators import (  # noqa: F401 - importing a family registers its operators
    activation,
    attention,
    batch_normalization,
    bitwise,
    convolution,
    creation,
    cropping,
    deformable,
    depth_space,
    dropout,
    einsum,
    elementwise,
    erf,
    indexing,
    layer_normalization,
    likelihood,
    linear,
    lrn,
    mean_variance,
    movement,
    padding,
    pooling,
    ranges,
    reduce,
    resize,
    reversal,
    roi,
    rotary,
    sampling,
    scan,
    scatter,
    selection,
    shape,
    softmax,
    tiling,
    topk,
    triangle,
    trigonometry,
    unpooling,
    update,
)
from portable_nn.operators.registry import REGISTRY, Operator, Type, lookup
from portable_nn.operators.symbols import (
    Inference,
    Leaf,
    Symbol,
    cast,
    constant,
    emit,
    emit_all,
    infer,
    integers,
    replay,
    trace,
)

__all__ = [
    "REGISTRY", "Inference", "Leaf", "Operator", "Symbol", "Type", "cast", "constant", "emit", "emit_all", "infer",
    "integers", "lookup", "replay", "trace",
]  # fmt: skip
