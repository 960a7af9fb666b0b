"""The functions that a numpy module of ``write_numpy`` is given, as they are printed there: those that it uses.

They are read by beginners: each is a few lines of numpy that say what they do. So they have no types, and none of them
imports or calls anything but numpy and each other.
"""

import builtins
import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from types import FunctionType

from portable_nn.converters.array.code import names_read
from portable_nn.converters.array.helpers import (
    activations,
    attention,
    control,
    formulas,
    movement,
    normalization,
    recurrence,
    resizing,
    waves,
    windows,
)

_FAMILIES = (activations, formulas, normalization, windows, recurrence, attention, movement, resizing, waves, control)
"""In the order in which their functions are printed."""


@cache
def functions() -> Mapping[str, FunctionType]:
    """All of them by their names, in their order."""
    found = dict[str, FunctionType]()
    for family in _FAMILIES:
        own = [each for _, each in inspect.getmembers(family, inspect.isfunction) if each.__module__ == family.__name__]
        found |= {each.__name__: each for each in sorted(own, key=lambda each: each.__code__.co_firstlineno)}
    return found


@cache
def sources() -> Mapping[str, str]:
    """The source of each function by its name, in their order."""
    return {name: inspect.getsource(function).rstrip() for name, function in functions().items()}


@cache
def words_of_python() -> set[str]:
    """The words of Python that the helpers and the program read: no variable may have their names."""
    read = {name for source in sources().values() for name in names_read(source)}
    return (read | {"len", "zip", "print", "int", "min", "max", "bool"}) & set(dir(builtins))


def called_in(lines: Sequence[str]) -> list[str]:
    """The helpers that lines call, and those that these call."""
    wanted, known = set[str](), sources()
    new = names_read("\n".join(lines)) & known.keys()
    while new:
        wanted |= new
        new = {other for name in new for other in _calls(name)} - wanted
    return [source for name, source in known.items() if name in wanted]


@cache
def _calls(name: str) -> set[str]:
    """The helpers that a helper calls."""
    return names_read(sources()[name]) & sources().keys()
