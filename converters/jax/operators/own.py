"""Operators that JAX computes otherwise than by array code: known before it runs, at random, or not in numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from portable_nn.converters.array.use import ArrayUse
from portable_nn.converters.jax.operators.functions import dtype_in_jax
from portable_nn.core.graph import Graph, Node, Tensor, Value
from portable_nn.engines.plan import Plan
from portable_nn.operators.spatial.resize_taps import inside_of, matrix_of, moved_axes, sides_of, taps_of
from portable_nn.operators.spatial.window import per_axis


def _shape(use: ArrayUse) -> tuple[int, ...]:
    """The shape of the first output."""
    return tuple(int(dim) for dim in use.results[0].shape)


def _known(use: ArrayUse, first: Any = None) -> Any:
    """The output by the numpy engine of a node whose inputs but the first are constants or matter by their shape."""
    names = tuple(f"x{place}" if kind else "" for place, kind in enumerate(use.types))
    values, nodes = list[Value](), list[Node]()
    for name, kind in zip(names, use.types, strict=True):
        if kind is not None and kind.constant is None:
            values.append(Value(name, kind.dtype if first is None else first.dtype.name, kind.shape))
        elif kind is not None:
            literal = Tensor(kind.dtype, tuple(int(dim) for dim in kind.shape), kind.constant)  # type: ignore[arg-type]
            nodes.append(Node(f"{name}.value", "Constant", (), (name,), {"value": literal}))
    nodes.append(Node("it", use.operator.name, names, ("y",), dict(use.attributes)))
    plan = Plan(Graph(tuple(values), ("y",), (), tuple(nodes)), {}, {})
    if first is not None:
        plan.inputs["x0"][...] = first
    plan.run()
    return plan.outputs["y"]


def constant_of(use: ArrayUse) -> Callable[..., Any] | None:
    """The function that gives the output of a node without data, such as a shape; ``None`` for another node."""
    known = all(kind is None or kind.constant is not None for kind in use.types) or use.results[0].constant is not None
    if not known or use.output_count > 1:
        return None
    found = _known(use)
    return lambda *x: jnp.asarray(found.astype(dtype_in_jax(found.dtype.name)))


def _dropout(use: ArrayUse, x: Any, ratio: Any = None, training: Any = None, *, key: Callable[[], Any]) -> Any:
    known = use.type(2).constant if use.has(2) else None
    if not (known and known[0]):
        return x, jnp.ones(x.shape, bool)
    ratio = jnp.asarray(0.5 if ratio is None else ratio, x.dtype).reshape(())
    mask = jax.random.uniform(key(), x.shape, jnp.float32) >= ratio
    return jnp.where(mask, x / (1 - ratio), 0), mask


def _triangle(use: ArrayUse, x: Any, k: Any = None) -> Any:
    rows, columns = jnp.arange(x.shape[-2])[:, jnp.newaxis], jnp.arange(x.shape[-1])
    diagonal = rows + (0 if k is None else k.reshape(()))
    return jnp.where(columns >= diagonal if use.int("upper") else columns <= diagonal, x, jnp.zeros((), x.dtype))


def _unpool(use: ArrayUse, x: Any, places: Any, shape: Any = None) -> Any:
    """The numbers in ``places`` count the cells of the output as the pads leave it, or of ``output_shape``."""
    kernel = use.ints("kernel_shape") or ()
    strides, pads = per_axis(use, "strides", len(kernel)), per_axis(use, "pads", 2 * len(kernel), 0, 0)
    sizes = [
        (size - 1) * s - pads[a] - pads[a + len(kernel)] + k
        for a, (size, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True))
    ]
    small = (*x.shape[:2], *sizes)
    flat = jnp.zeros(math.prod(small), x.dtype).at[places.reshape(-1)].set(x.reshape(-1)).reshape(small)
    more = [(0, to - size, 0) for to, size in zip(_shape(use), small, strict=True)]
    return jax.lax.pad(flat, jnp.zeros((), x.dtype), more)


def _resize(use: ArrayUse, x: Any, *settings: Any) -> Any:
    if use.string("mode") == "nearest" and use.string("coordinate_transformation_mode") != "tf_crop_and_resize":
        numbers = np.arange(x.size).reshape(x.shape)  # The numpy kernel moves them once, for the shape.
        return x.reshape(-1)[jnp.asarray(_known(use, numbers).astype(np.int32))]
    sides = sides_of(use, use.type().shape)
    for axis in moved_axes(sides):
        side = sides[axis]
        assert isinstance(side.result, int)
        assert isinstance(side.size, int)
        matrix = jnp.asarray(matrix_of(taps_of(use, side), (side.result, side.size)), x.dtype)
        x = jnp.moveaxis(jnp.tensordot(matrix, x, (1, axis)), 0, axis)
        inside = inside_of(use, side).reshape(-1, *(1,) * (x.ndim - axis - 1))
        if not inside.all():
            x = jnp.where(inside, x, jnp.asarray(use.float("extrapolation_value"), x.dtype))
    return x


OWN: Final[Mapping[str, Callable[..., Any]]] = {
    "StopGradient": lambda use, x: jax.lax.stop_gradient(x),
    "Dropout": _dropout,
    "Trilu": _triangle,
    "MaxUnpool": _unpool,
    "Resize": _resize,
}
