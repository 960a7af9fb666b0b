"""What reads or writes places that are data."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from portable_nn.converters.jax.operators.table import Use, row


def _from_front(indices: Any, size: int) -> Any:
    return jnp.where(indices < 0, indices + size, indices)


@row("Gather", names={0: "embedding"})
def _gather(use: Use, data: Any, indices: Any) -> Any:
    axis = use.attribute_axis()
    if 0 in use.shape:
        return jnp.zeros(use.shape, data.dtype)
    return jnp.take(data, _from_front(indices, data.shape[axis]), axis)


@row("GatherElements")
def _gather_elements(use: Use, data: Any, indices: Any) -> Any:
    axis = use.attribute_axis()
    grid = list(jnp.indices(indices.shape, sparse=True))
    grid[axis] = _from_front(indices, data.shape[axis])
    return data[tuple(grid)]


@row("ScatterElements")
def _scatter_elements(use: Use, data: Any, indices: Any, updates: Any) -> Any:
    axis = use.attribute_axis()
    grid = list(jnp.indices(indices.shape, sparse=True))
    grid[axis] = _from_front(indices, data.shape[axis])
    return _written(use, data, tuple(grid), updates)


def _tuples(data: Any, indices: Any, batch: int = 0) -> tuple[Any, ...]:
    """Indices into the axes of ``data``, those of the batch first."""
    lead = jnp.indices(indices.shape[:batch], sparse=True) if batch else ()
    rest = indices.ndim - 1 - batch
    grid = [each.reshape(*each.shape, *(1,) * rest) for each in lead]
    places = [_from_front(indices[..., place], data.shape[batch + place]) for place in range(indices.shape[-1])]
    return (*grid, *places)


@row("GatherND")
def _gather_nd(use: Use, data: Any, indices: Any) -> Any:
    return data[_tuples(data, indices, use.int("batch_dims"))]


@row("ScatterND")
def _scatter_nd(use: Use, data: Any, indices: Any, updates: Any) -> Any:
    return _written(use, data, _tuples(data, indices), updates)


def _written(use: Use, data: Any, places: tuple[Any, ...], updates: Any) -> Any:
    how = use.string("reduction")
    method = {"none": "set", "mul": "multiply"}.get(how, how)
    return getattr(data.at[places], method)(updates)
