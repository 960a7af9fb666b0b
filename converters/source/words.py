"""Names and texts of a network in source code: identifiers that are safe, and texts that stay inside their comment."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from portable_nn.core.graph import Shape, format_shape
from portable_nn.core.text import unused

LONGEST: Final = 60
"""The most characters of an identifier: C99 promises 63."""


class Identifiers:
    """Identifiers for names of any characters: each name has one, and no two have the same.

    Args:
        taken: words that are no identifiers here, such as keywords.
        reserved: what no identifier may begin with.
    """

    def __init__(self, taken: Iterable[str], reserved: re.Pattern[str] | None = None) -> None:
        self._taken = {word.lower() for word in taken}
        self._reserved = reserved
        self._numbers = dict[str, int]()
        self._found = dict[tuple[str, str], str]()

    def of(self, name: str, kind: str = "") -> str:
        """The identifier of a name; names of different kinds are different things."""
        key = (kind, name)
        if key not in self._found:
            self._found[key] = self.new(name)
        return self._found[key]

    def new(self, name: str) -> str:
        """An identifier that nothing else has. Their case does not count, so that readers need not look twice."""
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^0-9A-Za-z]+", "_", plain).strip("_")[: LONGEST - 8] or "value"
        is_reserved = self._reserved is not None and self._reserved.match(stem) is not None
        stem = f"n_{stem}" if stem[0].isdigit() or is_reserved else stem
        found = unused(stem, self._taken, self._numbers, str.lower)
        self._taken.add(found.lower())
        return found


def plain_text(text: str) -> str:
    """One line of ASCII or other printable characters, which ends neither a comment of C nor a text in quotes.

    Other characters, backslashes and the signs by which comments, trigraphs and quotes begin or end are spelled out.
    """
    spelled = (
        each if each.isprintable() and each != "\\" else f"<U+{ord(each):04X}>" for each in " ".join(text.split())
    )
    found = "".join(spelled)
    for signs in ("*/", "/*", "??", '"""', "'''"):
        while signs in found:
            found = found.replace(signs, " ".join(signs))
    return found


def shape_text(shape: Shape) -> str:
    """A shape as comments show it."""
    return plain_text(format_shape(shape))


def listed_texts(texts: Collection[str], most: int = 40) -> str:
    """Texts in a row, the first so many of them."""
    shown = [plain_text(text) for text in list(texts)[:most]]
    return ", ".join(shown) + (f", … ({len(texts)} in all)" if len(texts) > most else "")
