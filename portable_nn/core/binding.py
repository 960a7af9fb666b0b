"""Binding the symbolic dimensions of a model's inputs to sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from portable_nn.core.dims import substituted
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, Shape, format_shape
from portable_nn.core.text import DIGITS, quantity

Sizes: TypeAlias = Sequence[Dim] | Mapping[str, Sequence[Dim]] | None
"""The shape of the only input, or shapes of inputs by name; a name in place of a number leaves a dimension unbound."""


def bind(shapes: Mapping[str, Shape | None], sizes: Sizes) -> tuple[dict[str, Shape], dict[str, int]]:
    """The ``shapes`` of the inputs with the given sizes, and the size of each symbolic dimension that was bound.

    An input of unknown shape (``None``) gets the given sizes, or is left out.

    Raises:
        UsageError: sizes for an unknown input, too few or too many, below 1, or other than a fixed size.
    """
    known: dict[str, int] = {}
    found = dict(shapes)
    for name, given in _by_name(list(shapes), sizes).items():
        if name not in shapes:
            raise UsageError(f"there is no input '{name}': there are {', '.join(shapes) or 'none'}")
        shape = shapes[name]
        found[name] = shape = tuple(given) if shape is None else shape
        if len(given) != len(shape):
            raise UsageError(
                f"input '{name}' has {quantity(len(shape), 'dimension')}, {format_shape(shape)}, not {len(given)}"
            )
        for axis, (dim, wanted) in enumerate(zip(shape, given, strict=True)):
            if isinstance(wanted, int):
                _bind_one(dim, wanted, known, f"input '{name}' {format_shape(shape)}, axis {axis}")
    return {name: substituted(shape, known) for name, shape in found.items() if shape is not None}, known


def _bind_one(dim: Dim, wanted: int, known: dict[str, int], where: str) -> None:
    if wanted < 1:
        raise UsageError(f"{where}: a size must be at least 1, not {wanted}")
    fixed = dim if isinstance(dim, int) else known.setdefault(dim, wanted)
    if fixed != wanted:
        raise UsageError(f"{where}: the size is {fixed} and cannot be {wanted}")


def _by_name(names: Sequence[str], sizes: Sizes) -> Mapping[str, Sequence[Dim]]:
    if sizes is None or isinstance(sizes, Mapping):
        return sizes or {}
    if len(names) != 1:
        example = f"{names[0]}=1,3" if names else "x=1,3"
        raise UsageError(f"there are {len(names)} inputs: say for which the sizes are, such as {example}")
    return {names[0]: sizes}


def parse_sizes(texts: Iterable[str]) -> Sizes:
    """Sizes from text: ``N,3,224,224`` for the only input, or ``x=1,3,224,224`` for each of several inputs.

    Raises ``UsageError`` for any other text.
    """
    found = [text.rpartition("=") for text in texts]
    if len(found) == 1 and not found[0][0]:
        return _dims(found[0][2])
    if not all(name for name, _, _ in found):
        raise UsageError("sizes for several inputs need their names: --in x=1,3,224,224 --in y=1,10")
    return {name: _dims(text) for name, _, text in found}


def _dims(text: str) -> tuple[Dim, ...]:
    dims = [part.strip() for part in text.split(",")]
    if not all(dim.isidentifier() or (dim.isdecimal() and len(dim) < DIGITS) for dim in dims):
        raise UsageError(f"expected sizes such as N,3,224,224, not '{text}'")
    return tuple(int(dim) if dim.isdecimal() else dim for dim in dims)
