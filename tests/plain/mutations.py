"""Damage for files: what a bad disk, a cut download or somebody with an editor does."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from hypothesis import strategies as st

Change = Callable[[bytes], bytes]


def changes(words: list[bytes]) -> st.SearchStrategy[Change]:
    """One to three changes, one after the other: bytes set, cut out, doubled, cut off, or one of ``words`` put in."""
    place, byte = st.floats(0, 1, exclude_max=True), st.integers(0, 255)

    def at(where: float, data: bytes) -> int:
        return int(where * (len(data) + 1))

    single: list[st.SearchStrategy[Any]] = [
        st.builds(lambda p, b: lambda d: d[: at(p, d)] + bytes([b]) + d[at(p, d) + 1 :], place, byte),
        st.builds(lambda p, n: lambda d: d[: at(p, d)] + d[at(p, d) + n :], place, st.integers(1, 40)),
        st.builds(lambda p, n: lambda d: d[: at(p, d) + n] + d[at(p, d) :], place, st.integers(1, 40)),
        st.builds(lambda p: lambda d: d[: at(p, d)], place),
        st.builds(lambda p, w: lambda d: d[: at(p, d)] + w + d[at(p, d) + len(w) :], place, st.sampled_from(words)),
    ]
    return st.lists(st.one_of(single), min_size=1, max_size=3).map(
        lambda steps: lambda data: reduce(lambda before, step: step(before), steps, data)
    )
