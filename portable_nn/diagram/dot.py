"""A diagram in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from portable_nn.core.text import printable
from portable_nn.diagram.boxes import ENDS, OTHER, Diagram

STYLES: Final = {ENDS: ' style="rounded"', OTHER: ' style="dashed"'}


def as_dot(drawn: Diagram) -> str:
    """``drawn`` as a digraph: boxes are ``n0``, ``n1``, … from first to last, arrows go from value to reader."""
    return "".join(f"{line}\n" for line in _lines(drawn))


def _lines(drawn: Diagram) -> Iterator[str]:
    yield "digraph {"
    title = quoted(drawn.title, ", ".join(drawn.notes))
    yield f'  graph [label={title} labelloc=t fontname="sans-serif"];'
    yield '  node [shape=box fontname="sans-serif" fontsize=10];'
    for place, box in enumerate(drawn.boxes):
        yield f"  n{place} [label={quoted(box.title, box.name, *box.lines)}{STYLES.get(box.family, '')}];"
    yield from (f"  n{source} -> n{target};" for source, target in drawn.arrows)
    yield "}"


def quoted(*lines: str) -> str:
    """Lines as a quoted label, with quotes and backslashes escaped, and without control characters."""
    escaped = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
