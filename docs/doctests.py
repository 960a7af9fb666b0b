"""Examples in docstrings as blocks of code on the site: Markdown takes ``>>>`` for a quotation."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?![ \t]*$).+)*", re.MULTILINE)


class Fenced(griffe.Extension):
    """Puts fences around the examples that stand in no section of their own."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each object with a docstring or without."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub("```pycon\n\\g<0>\n```", obj.docstring.value)
