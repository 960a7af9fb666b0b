"""Canonical JSON: one value has exactly one text, so that reading and writing again must give the same bytes.

That one comparison rules out duplicate keys, unknown fields, ``4.0`` for ``4``, other orders and hidden white space.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

T = TypeVar("T")


def dumps(value: object) -> bytes:
    """The canonical text of ``value``; see "Canonical JSON" in SPEC.md.

    Raises:
        ValueError: a NaN, an infinity or half of a surrogate pair, which JSON in UTF-8 cannot hold.
    """
    builtins = msgspec.to_builtins(value)
    text = json.dumps(builtins, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def loads(data: bytes, kind: type[T]) -> T:
    """``data`` as a value of the type ``kind``.

    Raises:
        ValueError: not JSON, not UTF-8, nested too deeply, or of another type; what is wrong in one printable line.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(printable(str(error))) from error


def printable(line: str) -> str:
    """``line`` with escapes for what would drive a terminal: messages quote files that nobody vouches for."""
    return line if line.isprintable() else ascii(line)[1:-1]


def difference(expected: bytes, found: bytes) -> str:
    """Where two texts part, and how they go on from there."""
    pairs = enumerate(zip(expected, found, strict=False))
    at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(found)))
    return f"byte {at} should begin {_excerpt(expected, at)}, but begins {_excerpt(found, at)}"


def _excerpt(text: bytes, at: int) -> str:
    return ascii(text[at : at + 24].decode(errors="replace")) if at < len(text) else "nothing (the end)"
