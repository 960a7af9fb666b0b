"""Products of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from portable_nn.converters.jax.operators.table import Use, plain, row
from portable_nn.core.graph import Attribute


def _turned(attributes: Mapping[str, Attribute], rank: int) -> tuple[int, ...]:
    """A kernel in flax is (inputs, outputs)."""
    return (1, 0) if attributes.get("transB") else (0, 1)


@row("Gemm", names={1: "kernel", 2: "bias"}, layout=_turned)
def _gemm(use: Use, a: Any, b: Any, c: Any = None) -> Any:
    a, b = (x.T if use.int(name) else x for name, x in (("transA", a), ("transB", b)))
    found, alpha, beta = a @ b, use.float("alpha"), use.float("beta")
    found = found if alpha == 1 else (alpha * found).astype(a.dtype)
    if c is None:
        return found
    return found + (c if beta == 1 else (beta * c).astype(a.dtype))


@row("MatMul", names={1: "kernel"})
def _matmul(use: Use, a: Any, b: Any) -> Any:
    return jnp.matmul(a, b)


@row("Einsum")
def _einsum(use: Use, *x: Any) -> Any:
    return jnp.einsum(use.string("equation").replace(" ", ""), *x)


plain("Det", jnp.linalg.det)
