"""The limits on memory and time that a file claims.

Memory follows what is stored, and not what a header or a shape says: a picture, an archive or a graph of a hundred
bytes can claim any amount of it. It gets as much as the environment variable ``PORTABLE_NN_MEMORY`` says, ``1G`` by
default, or a multiple of what is stored, whichever is more. Time follows the examples and the multiply-adds that are
counted for them, unless ``PORTABLE_NN_TIME`` says how much there is.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Final

from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.text import quantity, size

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

DEEPEST: Final = 16
"""The most bodies of loops and branches that are in each other."""

UNROLLED: Final = 16
"""The most turns of a loop that become nodes of their own when a model is read; a loop of more stays one, …"""

NODES: Final = 1000
"""… and so does one that would become more nodes."""

BOUNDLESS: Final = 2**31 - 1
"""A number of turns from here on is none: exporters write the largest integer where a condition ends a loop."""

TIME: Final = "PORTABLE_NN_TIME"
"""The environment variable that sets the seconds of processor time of a computation; ``--timeout`` sets it, too."""

SECONDS: Final = 60.0
"""The seconds that it may take for each example where the variable is not set; and beside them …"""

MULTIPLE: Final = 20
"""… so many times what its multiply-adds take, those of a loop counted once …"""

SPEED: Final = 1e9
"""… at so many a second: a plain loop in C. onnxruntime 1.32 and BLAS do 10 to 70 times as many with one core."""

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


def time_limit(multiply_adds: int, examples: int = 1) -> float:
    """The seconds of processor time that a computation may take. Raises ``UsageError`` for a variable that is none."""
    text = os.environ.get(TIME, "").strip()
    if not text:
        return SECONDS * max(1, examples) + MULTIPLE * multiply_adds / SPEED
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found > 0:
        raise UsageError(f"{TIME} must be a number of seconds above 0, not {text!r}")
    return found


def most_time(seconds: float, multiply_adds: int) -> str:
    """The time that a computation may take, in words, and the setting that gives it more."""
    counted = f" and {MULTIPLE} times what its {quantity(multiply_adds, 'multiply-add')} take" if multiply_adds else ""
    rule = "" if os.environ.get(TIME) else f" ({SECONDS:g} s for an example{counted})"
    return f"at most {seconds:,g} s of processor time{rule}, unless --timeout or {TIME} allows more seconds"


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
    return _fault(claimed, stored, allowed) if claimed > allowed else None


def _fault(claimed: int, stored: int, allowed: int) -> str:
    most = f"at most {size(allowed)} unless {VARIABLE}={math.ceil(claimed / 2**30)}G is set"
    return f"takes {size(claimed)} of memory, with {size(stored)} stored; {most}"


def claims(where: str, stored: int, ratio: int) -> Callable[[int], None]:
    """A function that is told of bytes before they are taken, and adds them up: many small claims are a large one.

    It raises ``FormatError`` in the name of the file ``where`` as soon as they are an ``excess``.
    """
    allowed, claimed = allowance(stored, ratio), 0

    def claim(count: int) -> None:
        nonlocal claimed
        claimed += count
        if claimed > allowed:
            raise FormatError(where, _fault(claimed, stored, allowed))

    return claim
