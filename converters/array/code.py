"""Python code as text: what it reads, and long statements in several lines."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from typing import Final

WIDTH: Final = 118


def folded(code: str) -> Iterator[str]:
    """A statement in lines that are not too long: broken between the arguments of its last call."""
    if len(code) <= WIDTH or not code.endswith(")"):
        yield code
        return
    tree = ast.parse(code.strip()).body[0]
    call = tree.value if isinstance(tree, ast.Assign) else None
    if not isinstance(call, ast.Call):
        yield code
        return
    margin = code[: len(code) - len(code.lstrip())]
    parts = [ast.get_source_segment(code.strip(), each) or "" for each in call.args]
    named = [(each.arg, ast.get_source_segment(code.strip(), each.value)) for each in call.keywords]
    parts += [f"{name}={value}" for name, value in named]
    yield code[: len(margin) + call.func.end_col_offset] + "("  # type: ignore[operator]
    yield from (f"{margin}    {part}," for part in parts)
    yield f"{margin})"


def names_read(code: str) -> set[str]:
    """The variables and functions that Python code reads."""
    return {node.id for node in ast.walk(ast.parse(textwrap.dedent(code))) if isinstance(node, ast.Name)}
