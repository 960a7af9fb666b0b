"""What moves, makes or repeats elements."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from portable_nn.converters.jax.operators.table import Use, row
from portable_nn.core.graph import Graph, Node, Tensor, Value
from portable_nn.engines.plan import Plan
from portable_nn.operators.layout.movement import slices_of


def dtype_in_jax(dtype: str) -> Any:
    """The element type that JAX has for it: without ``jax_enable_x64``, the one of half the size."""
    return jax.dtypes.canonicalize_dtype(dtype)


def known(use: Use, first: Any = None) -> Any:
    """What the numpy engine makes of the node, whose inputs but the first are constants or matter by their shape."""
    types = [kind for kind in use.types if kind is not None]
    names = tuple(f"x{place}" if kind else "" for place, kind in enumerate(use.types))
    given = [name for name in names if name]
    values, nodes = list[Value](), list[Node]()
    for name, kind in zip(given, types, strict=True):
        if kind.constant is None:
            values.append(Value(name, kind.dtype if first is None else first.dtype.name, kind.shape))
        else:
            literal = Tensor(kind.dtype, tuple(int(dim) for dim in kind.shape), kind.constant)  # type: ignore[arg-type]
            nodes.append(Node(f"{name}.value", "Constant", (), (name,), {"value": literal}))
    nodes.append(Node("it", use.operator.name, names, ("y",), dict(use.attributes)))
    plan = Plan(Graph(tuple(values), ("y",), (), tuple(nodes)), {}, {})
    if first is not None:
        plan.inputs["x0"][...] = first
    plan.run()
    return plan.outputs["y"]


def moved(use: Use, x: Any) -> Any:
    """``x`` with its elements where the numpy kernel moves them: it moves their numbers once, for the shape."""
    numbers = np.arange(x.size).reshape(x.shape)
    return x.reshape(-1)[jnp.asarray(known(use, numbers).astype(np.int32))]


@row("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(use: Use, x: Any, *settings: Any) -> Any:
    return x.reshape(use.shape)


@row("Transpose")
def _transpose(use: Use, x: Any) -> Any:
    return jnp.transpose(x, use.ints("perm"))


@row("Expand")
def _expand(use: Use, x: Any, shape: Any) -> Any:
    return jnp.broadcast_to(x, use.shape)


@row("Concat")
def _concat(use: Use, *x: Any) -> Any:
    return jnp.concatenate(x, use.attribute_axis())


@row("Split")
def _split(use: Use, x: Any, split: Any = None) -> Any:
    axis = use.attribute_axis()
    ends = np.cumsum([int(kind.shape[axis]) for kind in use.outs])
    return tuple(jnp.split(x, ends[:-1], axis))


@row("Slice")
def _slice(use: Use, x: Any, *settings: Any) -> Any:
    return x[tuple(slices_of(use)[0])]


@row("Tile")
def _tile(use: Use, x: Any, repeats: Any) -> Any:
    return jnp.tile(x, use.numbers(1))


@row("Pad")
def _pad(use: Use, x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    if use.string("mode") != "constant":
        return moved(use, x)
    given, found = use.numbers(1), [(0, 0, 0)] * x.ndim
    places = use.numbers(3, {"int32", "int64"}) if use.has(3) else range(x.ndim)
    for place, axis in enumerate(places):
        found[use.axis(axis, x.ndim)] = (given[place], given[place + len(given) // 2], 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype) if value is None else value.reshape(()), found)


@row("DepthToSpace", "SpaceToDepth")
def _blocks(use: Use, x: Any) -> Any:
    return moved(use, x)


@row("ReverseSequence")
def _reverse(use: Use, x: Any, lengths: Any) -> Any:
    batch, time = use.int("batch_axis"), use.int("time_axis")
    turned = jnp.moveaxis(x, (batch, time), (0, 1))
    return jnp.moveaxis(reversed_steps(turned, lengths), (0, 1), (batch, time))


def reversed_steps(x: Any, lengths: Any) -> Any:
    """The first steps of each example, as many as its length, in reverse order: (batch, steps, …)."""
    steps = jnp.arange(x.shape[1])
    places = jnp.where(steps < lengths[:, jnp.newaxis], lengths[:, jnp.newaxis] - 1 - steps, steps)
    return jax.vmap(lambda each, order: each[order])(x, places)


# -- what is made


@row("Constant", "ConstantOfShape", "Range", "Shape", "Size", "EyeLike")
def _made(use: Use, *x: Any) -> Any:
    """Known once the shapes are."""
    found = known(use)
    return jnp.asarray(found.astype(dtype_in_jax(found.dtype.name)))


@row("OneHot")
def _one_hot(use: Use, indices: Any, depth: Any, values: Any) -> Any:
    axis = use.int("axis")
    count = use.shape[axis if axis >= 0 else axis + indices.ndim + 1]
    places = indices.astype(dtype_in_jax("int64")) if indices.dtype.kind == "f" else indices
    hot = jax.nn.one_hot(jnp.where(places < 0, places + count, places), count, dtype=bool, axis=axis)
    return jnp.where(hot, values[1], values[0])


@row("Trilu")
def _triangle(use: Use, x: Any, k: Any = None) -> Any:
    rows, columns = jnp.arange(x.shape[-2])[:, jnp.newaxis], jnp.arange(x.shape[-1])
    diagonal = rows + (0 if k is None else k.reshape(()))
    kept = columns >= diagonal if use.int("upper") else columns <= diagonal
    return jnp.where(kept, x, jnp.zeros((), x.dtype))
