"""The limit on memory that a file claims: memory follows what is stored, and not what a header or a shape says.

A picture, an archive or a graph of a hundred bytes can claim any amount of memory. It gets as much as the environment
variable ``PORTABLE_NN_MEMORY`` says, ``1G`` by default, or a multiple of what is stored, whichever is more.
"""

from __future__ import annotations

import math
import os
import re
from typing import Final

from portable_nn.core.errors import UsageError
from portable_nn.core.text import size

VARIABLE: Final = "PORTABLE_NN_MEMORY"
"""The environment variable that sets the memory that may be claimed: a number of bytes, or with K, M, G or T."""

DEFAULT: Final = 2**30
"""Its value in bytes where it is not set: enough for the weights of VGG-19 where nodes make them of nothing."""

UNPACKED: Final = 100
"""The allowed ratio of unpacked to stored bytes. Measured data rarely shrink to a tenth."""

DEFLATE: Final = 1100
"""More than any ratio that deflate reaches, which is 1,032 for zeros: data that claim more are cut short."""

COMPUTED: Final = 1000
"""The allowed ratio of the bytes that a graph computes to those of its inputs and parameters."""

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def limit() -> int:
    """The bytes that may be claimed, whatever is stored. Raises ``UsageError`` for a value that is none."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT
    found = re.fullmatch(r"(\d{1,18})\s*([KMGT]?)(i?B)?", text, re.ASCII | re.IGNORECASE)
    if found is None:
        raise UsageError(f"{VARIABLE} must be a number of bytes such as 2000000000, 500M or 4G, not {text!r}")
    return int(found[1]) * _UNITS[found[2].upper()]


def allowance(stored: int, ratio: int) -> int:
    """The bytes that may be claimed where ``stored`` bytes are there; see ``excess``."""
    return max(limit(), ratio * stored)


def excess(claimed: int, stored: int, ratio: int) -> str | None:
    """Why ``claimed`` bytes are too many, or ``None``.

    Args:
        claimed: the bytes of memory that are needed.
        stored: the bytes that are there: those of a file, or of inputs and parameters.
        ratio: how many times as much may be claimed, ``UNPACKED`` or ``COMPUTED``.
    """
    allowed = allowance(stored, ratio)
    if claimed <= allowed:
        return None
    most = f"at most {size(allowed)} unless {VARIABLE}={math.ceil(claimed / 2**30)}G is set"
    return f"takes {size(claimed)} of memory, with {size(stored)} stored; {most}"
