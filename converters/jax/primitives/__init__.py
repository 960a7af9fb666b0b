"""JAX's primitives as nodes of the graph."""

from portable_nn.converters.jax.primitives import (  # noqa: F401 - each registers its rows.
    arithmetic,
    layers,
    movement,
    places,
    products,
    reductions,
)
from portable_nn.converters.jax.primitives.table import ROWS, Call, Held, held_constant

__all__ = ["ROWS", "Call", "Held", "held_constant"]
