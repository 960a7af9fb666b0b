"""Colour, only where it helps, on a terminal: https://no-color.org."""

from __future__ import annotations

import os
from typing import Final, TextIO

RED: Final = 31
GREEN: Final = 32
YELLOW: Final = 33

HIGHLIGHTS: Final = {"error": RED, "warning": YELLOW}
"""The words at the beginning of messages, and their colours."""


def has_colour(stream: TextIO) -> bool:
    """True if ``stream`` is a terminal that shows colours, and its user has not said ``NO_COLOR``."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    return os.name != "nt" or "WT_SESSION" in os.environ  # Older consoles of Windows print the codes.


def painted(text: str, colour: int, stream: TextIO) -> str:
    """``text`` in a colour, where the stream shows it."""
    return f"\x1b[{colour}m{text}\x1b[0m" if has_colour(stream) else text


def highlighted(message: str, stream: TextIO) -> str:
    """A message whose first word, ``error:`` or ``warning:``, is coloured where the stream shows it."""
    word, colon, rest = message.partition(":")
    return painted(word + colon, HIGHLIGHTS[word], stream) + rest if word in HIGHLIGHTS else message
