"""The operators: one home for each, with its shape rule, its numpy kernel and its gradient.

To add one, write its rules in the module of its family, ``register`` it there, and add a row to ``tests/cases``.
"""

from portable_nn.operators import (  # noqa: F401 - importing a family registers its operators
    activation,
    batch_normalization,
    convolution,
    creation,
    depth_space,
    dropout,
    elementwise,
    erf,
    indexing,
    layer_normalization,
    linear,
    lrn,
    movement,
    padding,
    pooling,
    reduce,
    resize,
    shape,
    softmax,
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
