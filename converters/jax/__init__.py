"""Networks to and from JAX: pure functions with trees of parameters as flax has them."""

from __future__ import annotations

from portable_nn.converters.jax.application import Applied, to_jax
from portable_nn.converters.jax.reading import from_jax
from portable_nn.converters.jax.variables import update
from portable_nn.converters.registry import Converter

__all__ = ["Applied", "from_jax", "to_jax", "update"]

CONVERTER = Converter(
    title="JAX",
    packages=("flax", "equinox", "jax"),
    needs="pip install 'portable-nn[jax]'",
    from_object=from_jax,
    to_object=to_jax,
)
