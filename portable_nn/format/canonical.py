"""Canonical JSON: each value has exactly one text, so that reading and writing a file again gives the same bytes.

Comparing these bytes rules out duplicate keys, unknown fields, ``4.0`` for ``4``, other orders and white space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate

import msgspec
import numpy as np


def dumps(value: object) -> bytes:
    """The canonical text of ``value``; see "Canonical JSON" in SPEC.md.

    Raises:
        ValueError: a NaN, an infinity or a lone surrogate, which JSON in UTF-8 cannot hold; or nested too deeply.
    """
    try:
        builtins = msgspec.to_builtins(value)
        text = json.dumps(builtins, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    return text.encode()


def dumps_without_floats(value: object) -> bytes:
    """The canonical text of a ``value`` without floats, which msgspec formats differently; faster than ``dumps``."""
    return msgspec.json.encode(value, order="sorted")


def difference(expected: bytes, found: bytes) -> str:
    """The first difference between two texts, with an excerpt of each."""
    at = _parting(expected, found)
    return f"byte {at} should begin {_excerpt(expected, at)}, but begins {_excerpt(found, at)}"


def _parting(expected: bytes, found: bytes) -> int:
    """The index of the first byte that differs or that only one of the texts has."""
    common = min(len(expected), len(found))
    differs = np.frombuffer(expected, np.uint8)[:common] != np.frombuffer(found, np.uint8)[:common]
    return int(differs.argmax()) if differs.any() else common


def _excerpt(text: bytes, at: int) -> str:
    return ascii(text[at : at + 24].decode(errors="replace")) if at < len(text) else "nothing (the end)"


def byte_difference(expected: bytes, found: bytes, start: int = 0, fields: Sequence[tuple[str, int]] = ()) -> str:
    """The first difference between two pieces of a file that begin at byte ``start``.

    ``fields`` are the names and sizes of the fields at the start of the pieces.
    """
    at = _parting(expected, found)
    there = f"is 0x{found[at]:02x}" if at < len(found) else "is missing"
    stops = accumulate(size for _, size in fields)
    field = next((f" ({name})" for (name, _), stop in zip(fields, stops, strict=True) if at < stop), "")
    return f"byte {start + at} should be 0x{expected[at]:02x}, but {there}{field}"
