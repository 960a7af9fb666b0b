"""The operators of the graph as calls of JAX: importing this package imports JAX."""

from portable_nn.converters.jax.operators import (  # noqa: F401 - each registers its rows.
    elementwise,
    indexing,
    layout,
    linear,
    normalization,
    recurrent,
    reduction,
    spatial,
)
from portable_nn.converters.jax.operators.table import ROWS, Row, Use

__all__ = ["ROWS", "Row", "Use"]
