"""Attributes of nodes as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.core.graph import Node


def whole(node: Node, name: str, default: int) -> int:
    """An attribute that is a whole number."""
    found = node.attributes.get(name, default)
    assert isinstance(found, int)
    return found


def wholes(node: Node, name: str, default: Sequence[int]) -> list[int]:
    """An attribute that is whole numbers."""
    found: Any = node.attributes.get(name)
    return [int(each) for each in found] if isinstance(found, tuple) else list(default)
