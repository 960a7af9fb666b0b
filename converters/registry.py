"""The converters by name: one row for each, and the rows that other packages add.

A converter is a module with a ``Converter``. Those of this package are the rows of ``BUILT_IN``; any other package adds
its own by an entry point of the group ``portable_nn.converters``: its name, and ``module:attribute``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from portable_nn.core.errors import UsageError
from portable_nn.core.text import either

if TYPE_CHECKING:
    from portable_nn.converters.conversion import Imported, Written
    from portable_nn.network import Network

__all__ = ["from_object"]

GROUP: Final = "portable_nn.converters"

BUILT_IN: Final[Mapping[str, str]] = {
    "onnx": "portable_nn.converters.onnx:CONVERTER",
    "arrays": "portable_nn.converters.arrays:CONVERTER",
    "book": "portable_nn.converters.book:CONVERTER",
    "nielsen": "portable_nn.converters.nielsen:CONVERTER",
    "jax": "portable_nn.converters.jax:CONVERTER",
    "torch": "portable_nn.converters.torch:CONVERTER",
    "sklearn": "portable_nn.converters.sklearn:CONVERTER",
    "keras": "portable_nn.converters.keras:CONVERTER",
    "numpy": "portable_nn.converters.source:NUMPY",
    "c": "portable_nn.converters.source:C",
}
"""The converters of this package: the name of each, and where its ``Converter`` is."""


@dataclass(frozen=True, kw_only=True)
class Converter:
    """The functions of a converter; ``None`` or empty for what it cannot do.

    Its module must be quick to import: the code base itself is imported by the functions, when they are called.

    Attributes:
        title: what it converts, as its users call it: ``PyTorch``, ``ONNX files``.
        packages: the top-level packages whose objects it takes: an object belongs to it if a class that it is an
            instance of is defined in one of them.
        needs: the command that installs the code base.
        from_object: makes a network of an object: ``(object, **options) → Imported``.
        to_object: makes an object of a network: ``(network, **options) → object``.
        reads: what reads files, by the endings of their names, such as ``.keras``: ``(path, **options) → Imported``.
        loads: what reads files of weights into a network that is there: ``(path, into=network, **options) → Imported``.
        writes: what writes files, by the endings of their names: ``(network, path, **options) → Written``.
        beside: the ending of a second file, with the weights, by that of the first; with the option ``embedded`` there
            is none.
    """

    title: str
    packages: tuple[str, ...] = ()
    needs: str = ""
    from_object: Callable[..., Imported] | None = None
    to_object: Callable[..., Any] | None = None
    reads: Mapping[str, Callable[..., Imported]] = field(default_factory=dict)
    loads: Mapping[str, Callable[..., Imported]] = field(default_factory=dict)
    writes: Mapping[str, Callable[..., Written]] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)


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


Function = TypeVar("Function", bound=Callable[..., Any])


def reader_of(path: Path) -> tuple[Converter, Callable[..., Imported]] | None:
    """The reader of files whose names end so, and its converter; ``None`` where there is none."""
    return _of_ending(path, {name: each.reads for name, each in converters().items()})


def loader_of(path: Path) -> tuple[Converter, Callable[..., Imported]] | None:
    """The reader of weights from such files into a network, and its converter; ``None`` where there is none."""
    return _of_ending(path, {name: each.loads for name, each in converters().items()})


def writer_of(path: Path) -> tuple[Converter, Callable[..., Written]] | None:
    """The writer of such files, and its converter; ``None`` where there is none. Raises ``UsageError`` for several."""
    return _of_ending(path, {name: each.writes for name, each in converters().items()})


def _of_ending(path: Path, tables: Mapping[str, Mapping[str, Function]]) -> tuple[Converter, Function] | None:
    """The function for the longest ending of the file's name: ``.weights.h5`` comes before ``.h5``."""
    file = path.name.lower()
    fitting = [(len(ending), name) for name, table in tables.items() for ending in table if file.endswith(ending)]
    longest = max(fitting, default=(0, ""))[0]
    names = [name for length, name in fitting if length == longest]
    if len(names) > 1:
        titles = either(converters()[name].title for name in names)
        raise UsageError(f"{path}: a name that ends so may be of {titles}: an option for each says which")
    return (converters()[names[0]], tables[names[0]][file[-longest:]]) if names else None


def endings(*, written: bool = False) -> list[str]:
    """The endings of the names of files that can be read, or ``written``."""
    tables = (each.writes if written else each.reads for each in converters().values())
    return list(dict.fromkeys(ending for table in tables for ending in table))


WAYS_OUT: Final = {"prove_training": ": no training is there to compare with; without it, the outputs are compared"}
"""What is said beside of some options."""


def check_options(function: Callable[..., Any], title: str, given: Mapping[str, Any], flags: Mapping[str, str]) -> None:
    """Raise ``UsageError`` for an argument in ``given`` that a converter's function does not take.

    Args:
        function: reads or writes a file.
        title: that of its converter.
        given: the arguments by name.
        flags: how they are spelled where that is not ``--name``.
    """
    writing = any(function in each.writes.values() for each in converters().values())
    for name in given.keys() - signature(function).parameters.keys():
        flag = flags.get(name, "--" + name.replace("_", "-"))
        owners = [each.title for each in converters().values() if name in _options(each, writing=writing)]
        of = f"is an option of {either(owners)}, not" if owners else "is no option"
        raise UsageError(f"{flag} {of} of {title}{WAYS_OUT.get(name, '')}")


def _options(each: Converter, *, writing: bool) -> set[str]:
    tables = [each.writes] if writing else [each.reads, each.loads]
    return {name for table in tables for function in table.values() for name in signature(function).parameters}


def from_object(value: object, **options: Any) -> Network:
    """The network that an object of another code base is: a PyTorch module, a Keras model, a scikit-learn pipeline, …

    Options are those of the converter, such as ``example`` for PyTorch. Raises ``UsageError`` for any other object, or
    where an option is needed or unknown, and what the converter raises.

    >>> import portable_nn as pnn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> network = pnn.from_object(LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)))
    >>> digest = network.save("iris.safetensors")
    """
    found = converter_of(value)
    if found is None or found.from_object is None:
        titles = either(each.title for each in converters().values() if each.from_object)
        raise UsageError(
            f"expected an object of {titles}, not a {type(value).__module__}.{type(value).__qualname__}; "
            "from_arrays([W1, b1, W2, b2], activation=…) takes the weights and biases of a class of your own"
        )
    try:
        signature(found.from_object).bind(value, **options)
    except TypeError as error:
        raise UsageError(f"from_object of {found.title}: {error}") from None
    return found.from_object(value, **options).network
