"""Attention in three and four dimensions, with all that may hide keys, and caches of keys and values."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.case import Array, Case, ints, real, truth


def attention(
    *inputs: Array | None, wrt: tuple[int, ...] = (0, 1, 2), batched: tuple[int, ...] = (0, 1, 2), **options: Any
) -> Case:
    outputs = options.pop("outputs", 1)
    return Case("Attention", inputs, options, wrt, batched=batched, outputs=outputs)


def heads(queries: int = 3, keys: int = 5, *, shared: int = 1) -> tuple[Array, Array, Array]:
    return real(2, 2 * shared, queries, 4), real(2, 2, keys, 4), real(2, 2, keys, 3)


def flat(*, shared: int = 1) -> tuple[Array, Array, Array]:
    return real(2, 3, 8 * shared), real(2, 5, 8), real(2, 5, 6)


def _seen(*shape: int) -> Array:
    """A mask in which each query sees some keys, but not all of them."""
    mask = np.arange(int(np.prod(shape))).reshape(shape) % 3 > 0
    return np.asarray(mask)


_BLIND = np.array([[True, False, True, True, False], [False] * 5, [True, True, False, False, False]])
"""The second query sees nothing."""


def _plain() -> list[Case]:
    return [
        attention(*heads()),
        attention(*heads(shared=2)),
        attention(*heads(), scale=0.3),
        attention(*heads(), softcap=2.0),
        attention(*heads(4, 4), is_causal=1),
        attention(*heads(3, 5), is_causal=1),
        attention(*flat(), q_num_heads=2, kv_num_heads=2),
        attention(*flat(shared=2), q_num_heads=4, kv_num_heads=2, is_causal=1),
    ]


def _masked() -> list[Case]:
    rows = [attention(*heads(), _seen(*shape)) for shape in ((3, 5), (2, 3, 5), (1, 1, 1, 5), (5,))]
    rows += [attention(*heads(shared=2), real(*shape), wrt=(0, 1, 2, 3)) for shape in ((3, 5), (4, 3, 5), (1, 4, 1, 5))]
    return [
        *rows,
        attention(*heads(), real(2, 2, 3, 5), wrt=(0, 1, 2, 3), batched=(0, 1, 2, 3), is_causal=1),
        attention(*heads(), _seen(2, 1, 3, 5), batched=(0, 1, 2, 3)),
        attention(*heads(), _BLIND),
        attention(*heads(shared=2), _BLIND, is_causal=1),
        attention(*heads(), _seen(3, 5), softcap=3.0),
    ]


def _remembered() -> list[Case]:
    past = (real(2, 2, 2, 4), real(2, 2, 2, 3))
    return [
        attention(*heads(), None, *past, wrt=(0, 1, 2, 4, 5), batched=(0, 1, 2, 4, 5), outputs=3),
        attention(*heads(shared=2), None, *past, wrt=(0, 1, 2, 4, 5), batched=(0, 1, 2, 4, 5), is_causal=1, outputs=3),
        attention(*flat(), None, *past, q_num_heads=2, kv_num_heads=2, batched=(0, 1, 2, 4, 5), outputs=3),
        attention(*heads(), _seen(3, 7), *past, outputs=3, batched=(0, 1, 2, 4, 5)),
    ]


def _shown() -> list[Case]:
    return [attention(*heads(), _seen(3, 5), qk_matmul_output_mode=mode, softcap=2.0, outputs=4) for mode in range(4)]


def _caches() -> list[Case]:
    def case(*inputs: Array, **options: Any) -> Case:
        return Case("TensorScatter", inputs, options, wrt=(0, 1), batched=tuple(range(len(inputs))))

    return [
        case(real(2, 3, 5, 4), real(2, 3, 2, 4)),
        case(real(2, 3, 5, 4), real(2, 3, 2, 4), ints(0, 3)),
        case(real(2, 3, 5, 4), real(2, 3, 2, 4), ints(4, 8), mode="circular"),
        case(real(3, 5, 4), real(3, 1, 4), ints(4, 0, 2), axis=1),
        case(real(2, 5), real(2, 5), ints(9, 3), axis=-1, mode="circular"),
        Case("TensorScatter", (truth(2, 5, 3), truth(2, 2, 3), ints(1, 0)), constants=(2,)),
    ]


CASES = [*_plain(), *_masked(), *_remembered(), *_shown(), *_caches()]
