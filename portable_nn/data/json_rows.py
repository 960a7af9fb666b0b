"""Rows in JSON, in a file or on standard input: objects, or lists of numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portable_nn.core.errors import DataError
from portable_nn.core.jsons import UNREADABLE, parsed_json
from portable_nn.core.text import said
from portable_nn.data.tables import STDIN, UTF_8, looks_like_json, text_of


def is_json(path: str | Path) -> bool:
    """True for rows in JSON: a file by its name, and standard input by how it begins, of which nothing is taken."""
    if str(path) != STDIN:
        return Path(path).suffix.lower() in (".json", ".jsonl")
    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", bytes)
    return looks_like_json(peek().decode(errors="replace").lstrip("\ufeff"))


def read_json(path: str | Path) -> tuple[str, Any]:
    """The name of a file in messages, and its rows: a list, or an object of columns or of the cells of one row.

    Each line is a row in ``.jsonl``, and where the first of several lines is JSON by itself. An object that holds one
    list of rows, such as ``{"instances": [[1, 2]]}``, stands for it.

    Raises ``DataError`` for what is no JSON, nor such rows.
    """
    with text_of(path, UTF_8) as (where, file):
        try:
            text = file.read()
        except ValueError as error:
            raise DataError(where, f"expected rows in JSON; {UNREADABLE} {said(error)}") from None
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        has_lines = str(path).lower().endswith(".jsonl") or (len(lines) > 1 and _is_whole(lines[0][1]))
        found = [_parsed(line, f"{where}:{number}") for number, line in lines] if has_lines else _parsed(text, where)
    if isinstance(found, Mapping) and len(found) == 1:
        [rows] = found.values()
        found = rows if isinstance(rows, list) and rows and isinstance(rows[0], list | Mapping) else found
    if not (found and isinstance(found, list | Mapping)):
        objects = '[{"height": 1.7, "weight": 65}, …]'
        raise DataError(where, f"expected rows in JSON, an object or a list of numbers each: {objects}, [[1.7, 65], …]")
    return where, found


def _parsed(text: str, place: str) -> Any:
    try:
        return parsed_json(text, nan=True)
    except ValueError as error:
        raise DataError(place, f"expected rows in JSON; {error}") from None


def _is_whole(line: str) -> bool:
    try:
        return bool(parsed_json(line, nan=True))
    except ValueError:
        return False
