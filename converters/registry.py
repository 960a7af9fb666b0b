"""The converters by name: one row for each, and the rows that other packages add.

A converter is a module with a ``Converter``. Those of this package are the rows of ``BUILT_IN``; any other package adds
its own by an entry point of the group ``portable_nn.converters``: its name, and ``module:attribute``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from portable_nn.converters.conversion import Imported, Written
from portable_nn.core.errors import UsageError
from portable_nn.core.text import either
from portable_nn.network import Network

GROUP: Final = "portable_nn.converters"

BUILT_IN: Final[Mapping[str, str]] = {}
"""The converters of this package: the name of each, and where its ``Converter`` is."""


Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Converter:
    """What a converter can do; what it cannot is ``None`` or empty.

    Its module must be quick to import: the code base itself is imported by the functions, when they are called.

    Attributes:
        title: the code base, as its users write it: ``PyTorch``.
        packages: the top-level packages whose objects it takes: an object belongs to it if a class that it is an
            instance of is defined in one of them.
        needs: the command that installs the code base.
        from_object: makes a network of an object: ``(object, **options) → Imported``.
        to_object: makes an object of a network: ``(network, **options) → object``.
        reads: what reads files, by the endings of their names, such as ``.keras``: ``(path, **options) → Imported``.
        writes: what writes files, by the endings of their names: ``(network, path, **options) → Written``.
    """

    title: str
    packages: tuple[str, ...] = ()
    needs: str = ""
    from_object: Callable[..., Imported] | None = None
    to_object: Callable[..., Any] | None = None
    reads: Mapping[str, Callable[..., Imported]] = MappingProxyType({})
    writes: Mapping[str, Callable[..., Written]] = MappingProxyType({})


@cache
def converters() -> Mapping[str, Converter]:
    """All converters by name: those of this package, then those of others, which cannot take the name of one."""
    found = {entry.name: entry.value for entry in entry_points(group=GROUP)} | dict(BUILT_IN)
    return {name: _load(name, place) for name, place in found.items()}


def _load(name: str, place: str) -> Converter:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute, None)
    if not isinstance(found, Converter):
        raise UsageError(f"the converter '{name}', {place}, is no portable_nn.converters.registry.Converter")
    return found


def converter(name: str) -> Converter:
    """The converter of that name. Raises ``UsageError``, with the names that there are."""
    if name not in converters():
        raise UsageError(f"there is no converter '{name}'; there are {', '.join(converters())}")
    return converters()[name]


def converter_of(value: object) -> Converter | None:
    """The converter whose code base an object belongs to, or ``None``."""
    homes = {each.__module__.partition(".")[0] for each in type(value).__mro__}
    return next((each for each in converters().values() if homes.intersection(each.packages)), None)


def reader_of(path: Path) -> Callable[..., Imported] | None:
    """What reads the files of another code base whose names end so, or ``None``."""
    return _longest(path, (each.reads for each in converters().values()))


def writer_of(path: Path) -> Callable[..., Written] | None:
    """What writes such files, or ``None``."""
    return _longest(path, (each.writes for each in converters().values()))


def _longest(path: Path, tables: Iterable[Mapping[str, Made]]) -> Made | None:
    """The entry with the longest ending of the file's name, such as ``.weights.h5`` before ``.h5``."""
    name = path.name.lower()
    fitting = {ending: made for table in tables for ending, made in table.items() if name.endswith(ending)}
    return fitting[max(fitting, key=len)] if fitting else None


def from_object(value: object, **options: Any) -> Network:
    """The network that an object of another code base is: a PyTorch module, a Keras model, a scikit-learn pipeline, …

    Options are those of the converter, such as ``example`` for PyTorch. Raises ``UsageError`` for any other object.
    """
    found = converter_of(value)
    if found is None or found.from_object is None:
        titles = either(each.title for each in converters().values() if each.from_object)
        raise UsageError(f"expected an object of {titles}, not a {type(value).__module__}.{type(value).__qualname__}")
    return found.from_object(value, **options).network
