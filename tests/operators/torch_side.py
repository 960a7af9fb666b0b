"""A use of an operator and a function of PyTorch, side by side: what comes out, and what flows back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from standard_side import run_plan

from portable_nn.core.graph import Dim
from portable_nn.operators import Leaf, constant, emit_all, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def arange(shape: Sequence[Dim]) -> Array:
    sizes = [int(size) for size in shape]
    return np.linspace(-1, 1.5, int(np.prod(sizes))).reshape(sizes)


def ours(
    operator: str,
    arrays: Sequence[Array | None],
    wrt: Sequence[int] = (),
    *,
    known: Sequence[int] = (),
    outputs: int = 1,
    **attributes: Any,
) -> list[Array]:
    """The outputs, and what flows back to ``wrt`` from the first; inputs in ``known`` are constants."""
    symbols = [
        None if x is None else constant(x, x.dtype.name) if i in known else Leaf(f"x{i}", x.dtype.name, x.shape)
        for i, x in enumerate(arrays)
    ]
    made = emit_all(operator, *symbols, outputs=outputs, **attributes)
    leaves = [symbol for symbol in symbols if isinstance(symbol, Leaf)]
    targets = [symbol for i in wrt if (symbol := symbols[i]) is not None]
    back = gradients(made[:1], [constant(arange(made[0].shape), made[0].dtype)], targets) if wrt else []
    graph = trace(leaves, [*made, *(symbol for symbol in back if symbol is not None)]).graph
    return run_plan(graph, {f"x{i}": x for i, x in enumerate(arrays) if x is not None and i not in known})


def theirs(function: Any, arrays: Sequence[Array | None], wrt: Sequence[int] = ()) -> list[Array]:
    """The same of a function of ``torch`` and of tensors."""
    torch = pytest.importorskip("torch")
    tensors = [None if x is None else torch.from_numpy(x).requires_grad_(i in wrt) for i, x in enumerate(arrays)]
    found = function(torch, *tensors)
    outputs = list(found) if isinstance(found, tuple) else [found]
    if wrt:
        outputs[0].backward(torch.from_numpy(arange(outputs[0].shape)).to(outputs[0].dtype))
    return [*(y.detach().numpy() for y in outputs), *(tensors[i].grad.numpy() for i in wrt)]  # type: ignore[union-attr]


def assert_same(found: Sequence[Array], wanted: Sequence[Array], tolerance: float | None = None) -> None:
    for mine, other in zip(found, wanted, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        limit = tolerance or TOLERANCE.get(mine.dtype.name, 0)
        np.testing.assert_allclose(mine, other, rtol=0, atol=limit * float(np.abs(other).max(initial=1)))
