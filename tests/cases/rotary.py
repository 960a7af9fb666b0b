"""Rotary position embeddings. The standard has them in single and half precision only."""

from __future__ import annotations

from cases.case import Array, Case, real, whole


def _looked_up(pairs: int) -> tuple[Array, Array, Array]:
    """Cosines and sines of 8 positions (of angles that do not matter here), and which of them 2 by 3 places have."""
    return real(8, pairs), real(8, pairs), whole(2, 3, low=0, high=8)


def _rows() -> list[Case]:
    rows = []
    for interleaved in (0, 1):
        for turned in (0, 4):
            options = {"interleaved": interleaved, "rotary_embedding_dim": turned}
            pairs = (turned or 6) // 2
            places = (real(2, 3, pairs), real(2, 3, pairs))
            rows += [
                Case("RotaryEmbedding", (real(2, 4, 3, 6), *_looked_up(pairs)), options, (0, 1, 2), batched=(0, 3)),
                Case("RotaryEmbedding", (real(2, 4, 3, 6), *places), options, (0, 1, 2), batched=(0, 1, 2)),
                Case("RotaryEmbedding", (real(2, 3, 24), *places), options | {"num_heads": 4}, (0,), batched=(0, 1, 2)),
            ]
    return rows


CASES = _rows()
