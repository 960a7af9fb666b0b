"""Uses of operators that do not fit, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from portable_nn.core.errors import GraphError
from portable_nn.operators import Leaf, Symbol, emit_all

Row = tuple[str, Sequence[Symbol | None], Mapping[str, Any], str]
"""An operator, inputs and attributes that do not fit it, and what is said of that."""


def f(*shape: int | str) -> Leaf:
    """An input of float32."""
    return Leaf(None, "float32", shape)


def i(*shape: int | str) -> Leaf:
    """An input of int64."""
    return Leaf(None, "int64", shape)


def b(*shape: int | str) -> Leaf:
    """An input of bool."""
    return Leaf(None, "bool", shape)


def assert_refused(row: Row) -> None:
    """The node named ``here`` is refused with exactly the message of its row."""
    operator, inputs, options, message = row
    with pytest.raises(GraphError, match="^" + re.escape(f"'here' ({operator}): {message}") + "$"):
        emit_all(operator, *inputs, name="here", **options)


def row_id(row: Row) -> str:
    """The name of a row among the tests."""
    return f"{row[0]}: {row[3]}".replace(" ", "_")
