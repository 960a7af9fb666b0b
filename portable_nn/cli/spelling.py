"""Messages of the library as the command line spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

SPELLED: Final = re.compile(
    r"""(?P<given>(?<![\w'.(-])[a-z]\w*)=(?:'(?P<text>[^']*)'|(?P<bare>[\w.+-]*\w)?)(?![\w(=])"""
    r"|^(?P<first>[a-z]\w*)(?=: | (?:must|is|was|needs|has|gives|names|watches)\b)"
    r"|(?P<name>(?<![\w'.-])[a-z]+(?:_[a-z]+)+)(?![\w'.(-])"
)
"""The spellings of an argument in messages: loss='huber', until=; at the beginning; and names with a _."""

_GIVEN: Final = r"[a-z_]+=(?:\{[^}]*\}|'[^']*'|\"[^\"]*\"|[\w.]*)"
TWICE: Final = re.compile(
    rf"(?P<before>--[\w-]+(?: [^\s()]+)?) \({_GIVEN}\)|(?<![\w'.(-]){_GIVEN} \((?P<inside>--[^()]*)\)"
    rf"| \(in Python {_GIVEN}\)|[;,] in Python {_GIVEN}(?=\)|$)"
    r"| \([a-z_]+=(?:, [a-z_]+=)*\)|, [a-z_]+=(?=\))"
)
"""An option with its argument in Python: --drop NAME (drop=), (--drop, drop=), dtype="float16" (--dtype float16)."""


def without_python(message: str) -> str:
    """A message that names options and their arguments in Python, with the options alone."""
    return TWICE.sub(lambda found: found["before"] or found["inside"] or "", message) if "--" in message else message


def in_options(message: str, flags: Mapping[str, str]) -> str:
    """A message of the library with the arguments as the command line spells them, by ``flags``: ``--loss huber``."""

    def spelled(found: re.Match[str]) -> str:
        flag = flags.get(found["given"] or found["first"] or found["name"])
        if flag is None or (found["given"] and not flag.startswith("--")):
            return found[0]
        value = found["text"] or found["bare"]
        return flag if value in {None, "True"} else f"{flag} {value}"

    # An option is not given None: it is left out.
    return SPELLED.sub(spelled, without_python(message).replace(" or None, not ", ", not "))
