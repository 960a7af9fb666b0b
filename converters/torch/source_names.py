"""Names in the source: variables, and the paths of layers and parameters in a module."""

from __future__ import annotations

import builtins
import json
import keyword
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeAlias

from portable_nn.rewrites.program import Names

Path: TypeAlias = tuple[str, ...]
"""The parts of the name of a layer or parameter in a module, such as ``("layer1", "0", "conv1", "weight")``."""

_TAKEN: Final = {*["self", "torch", "Tensor", "nn", "F", "Path", "Network", "Part", "load"], *dir(builtins)} - {"input"}


class Variables(Names):
    """Names of variables that are still free."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        super().__init__([*_TAKEN, *keyword.kwlist, *taken])

    def fresh(self, wish: str) -> str:
        """``wish`` as an identifier, numbered if it is taken; taken from now on.

        >>> names = Variables()
        >>> names.fresh("layer1.0/conv"), names.fresh("layer1.0.conv"), names.fresh("in")
        ('layer1_0_conv', 'layer1_0_conv_2', 'in_2')
        """
        stem = re.sub(r"[^0-9A-Za-z]+", "_", wish).strip("_") or "value"
        stem = f"value_{stem}" if stem[0].isdigit() else stem
        return super().fresh(stem)


def path_of(name: str, forbidden: Collection[str]) -> Path:
    """The path of a name, parted at its dots; a part that is empty or ``forbidden`` gets a ``_`` behind it."""
    return tuple(f"{part}_" if not part or part in forbidden else part for part in name.split("."))


def paths(names: Iterable[str], forbidden: Collection[str]) -> dict[str, Path]:
    """The path of each parameter: its name, parted at the dots.

    A part that is empty, or an attribute that every module has (``forbidden``), such as ``type``, gets a ``_`` behind
    it; so does one of two names where the module's part would be a parameter and a layer in one.
    """
    found, taken = dict[str, Path](), set[Path]()
    wished = {name: path_of(name, forbidden) for name in names}
    layers = {path[:depth] for path in wished.values() for depth in range(1, len(path))}
    for name, path in wished.items():
        while path in taken or path in layers:
            path = (*path[:-1], f"{path[-1]}_")
        taken.add(path)
        found[name] = path
    return found


def expression(path: Sequence[str]) -> str:
    """The expression that reads a path: ``self.layer1["0"].conv1``."""
    return "self" + "".join(f".{each}" if is_attribute(each) else f"[{json.dumps(each)}]" for each in path)


def is_attribute(part: str) -> bool:
    """True if a part of a path can be written behind a dot."""
    return part.isascii() and part.isidentifier() and not keyword.iskeyword(part)


def plain(text: str) -> str:
    """A text of a file, in a docstring or comment."""
    return "".join(char if char.isprintable() and char not in '\\"' else "?" for char in text)
