"""Functions of one input that take several passes: one block of the array after the other.

A block stays in the cache from the first pass to the last, so that many passes over a large array cost little more
than one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Final, TypeAlias

import numpy as np

from portable_nn.operators.base import Array, KernelContext, Step, memory_order

BLOCK: Final = 32_768
"""Elements in a block: a few arrays of them fit into the second-level cache."""

Passes: TypeAlias = Callable[[KernelContext, Array, Array, Sequence[Array]], list[Step]]
"""The steps from x to the result by way of work arrays of their size and type, all flat.

The result may be written where x is: x is lost with the first write.
"""


def number(value: float, x: Array) -> Array:
    """``value`` in the element type of ``x``."""
    return np.asarray(value, x.dtype)


def lowest(x: Array) -> Array:
    """The lowest finite number of the element type of ``x``."""
    return number(float(np.finfo(x.dtype).min), x)


def by_blocks(n: KernelContext, passes: Passes, works: int) -> list[Step]:
    """The steps of ``passes`` for each block of the input; numbers of float16 are computed with in float32."""
    x, out = n.x[0], n.out()
    steps: list[Step] = []
    order = memory_order(out)
    source, target = x.transpose(order), out.transpose(order).reshape(-1)
    if source.flags.c_contiguous:
        source = source.reshape(-1)
    else:
        steps.append(partial(np.copyto, out, x))
        source = target
    half = x.dtype == np.float16
    spare = [n.scratch((min(BLOCK, x.size),), np.float32 if half else x.dtype) for _ in range(works + half)]
    for start in range(0, x.size, BLOCK):
        a, b = source[start : start + BLOCK], target[start : start + BLOCK]
        work = [array[: a.size] for array in spare]
        if half:
            single = work.pop()
            steps.append(partial(np.copyto, single, a))
            steps += passes(n, single, single, work)
            steps.append(partial(np.copyto, b, single, casting="same_kind"))
        else:
            steps += passes(n, a, b, work)
    return steps


def in_blocks(works: int = 0) -> Callable[[Passes], Callable[[KernelContext], list[Step]]]:
    """Make a kernel of passes that need ``works`` work arrays."""

    def decorate(passes: Passes) -> Callable[[KernelContext], list[Step]]:
        @wraps(passes)
        def kernel(n: KernelContext) -> list[Step]:
            return by_blocks(n, passes, works)

        return kernel

    return decorate
