"""Arguments of a wrong kind: a ``UsageError`` that names the argument, in place of an error from deep inside.

What an argument may be is what its annotation says. A number with a range of ``core.numbers`` is looked at before the
call, everything else only after a call has failed, so that an error with right arguments stays what it is.
"""

from __future__ import annotations

import collections.abc
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from portable_nn.core import numbers
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.text import either, shortened
from portable_nn.core.words import UnknownOptionError, unknown_option

T = TypeVar("T", bound=Callable[..., Any])

_CAUSES: Final = (TypeError, ValueError, AttributeError, OverflowError, KeyError, IndexError)
"""The errors that an argument of a wrong kind leads to."""

_NAMES: Final[Mapping[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    Path: "a path",
    types.NoneType: "None",
    np.ndarray: "an array",
}

_ACCEPTED: Final[Mapping[Any, tuple[type, ...]]] = {
    int: (int, np.integer),
    float: (float, int, np.floating, np.integer),
    bool: (bool, np.bool_),
    np.ndarray: (np.ndarray, list, tuple),
}
"""The types that an annotation accepts beside the type itself."""


def check_kinds(target: T) -> T:
    """Decorate a function, or a class for the arguments of its ``__init__``."""
    return _decorated(target, named=False)


def check_layer(target: T) -> T:
    """Decorate a layer, of which a call has many: its name comes first in messages, and it keeps how it was written."""
    return _decorated(target, named=True)


def _decorated(target: T, *, named: bool) -> T:
    if isinstance(target, type):
        target.__init__ = _decorated(target.__init__, named=named)  # type: ignore[misc]
        return target

    @wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        if ranged := _ranged(target):
            _check(target, args, kwargs, ranged, named)
        try:
            made = target(*args, **kwargs)
        except _CAUSES as error:
            if not isinstance(error, PortableNNError):
                _check(target, args, kwargs, _hints(target), named, error)
            raise
        if named:
            layer, given = (made, args) if made else (args[0], args[1:])
            layer.written = (target.__name__ if made else type(layer).__name__, given, kwargs)
        return made

    return call  # type: ignore[return-value]


def check_argument(name: str, value: Any, hint: Any, cause: Exception | None = None) -> None:
    """Raise ``UsageError`` for a value that an annotation does not accept."""
    if not accepts(hint, value):
        inside = f": give its {name}" if accepts(hint, getattr(value, name, value)) else ""
        raise UsageError(f"{name} must be {described(hint)}, not {shortened(value)}{inside}") from cause


def _check(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    hints: Mapping[str, Any],
    named: bool,
    cause: Exception | None = None,
) -> None:
    """Raise ``UsageError`` for the first argument that its hint does not accept, or that has another name here."""
    signature, called = inspect.signature(function), function.__name__
    if called == "__init__":
        called = type(args[0]).__name__
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # Otherwise Python's own message says which argument is missing or unknown.
        known = {each.name for each in signature.parameters.values() if each.kind is not each.VAR_POSITIONAL}
        if fault := unknown_option(called, function.__module__, [name for name in kwargs if name not in known]):
            raise fault from cause
        return
    for name in _unknown(function, kwargs):
        raise UnknownOptionError(f"{called} has no option '{name}'") from cause
    for name, hint in hints.items():
        several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        given = [bound.arguments[name]] if name in bound.arguments else []
        for each in given[0] if several and given else given:
            check_argument(f"{called}: {name}" if named else name, each, hint, cause)


@cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function's parameters as types."""
    parameters = inspect.signature(function).parameters.values()
    return {
        each.name: _evaluated(each.annotation, function) for each in parameters if each.kind is not each.VAR_KEYWORD
    }


def _unknown(function: Callable[..., Any], given: Mapping[str, Any]) -> set[str]:
    """The names ``given`` to a function that it neither has nor passes on, as its ``Unpack[…]`` says."""
    known = inspect.signature(function).parameters
    hints = [str(each.annotation) for each in known.values() if each.kind is each.VAR_KEYWORD]
    passed_on = [_evaluated(hint[7:-1], function).__annotations__ for hint in hints if hint.startswith("Unpack[")]
    return given.keys() - known.keys() - passed_on[0].keys() if passed_on else set()


@cache
def _ranged(function: Callable[..., Any]) -> dict[str, Any]:
    """Those that have a range of numbers."""
    return {name: hint for name, hint in _hints(function).items() if _has_range(hint)}


def _has_range(hint: Any) -> bool:
    return get_origin(hint) is Annotated or any(map(_has_range, get_args(hint)))


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """An annotation as a type; ``Any`` where it has names that are known to type checkers alone."""
    if annotation is inspect.Parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:  # A field of a dataclass may be that of its base, which is in another module: ranges are known everywhere.
        return eval(annotation, {**vars(numbers), **vars(sys.modules[function.__module__])})
    except (NameError, TypeError):
        return Any


def accepts(hint: Any, value: Any) -> bool:
    """True if a value is of the kind that an annotation says, or the annotation is not known."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is None:
        return value is None
    if origin in {Union, types.UnionType}:
        return any(accepts(part, value) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is Annotated:
        return accepts(parts[0], value) and parts[1].holds(value)
    if origin is collections.abc.Callable or hint is Callable:
        return callable(value) and _takes(value, parts[0] if parts else ...)
    found = origin or hint
    if not isinstance(found, type) or found is type:
        return True
    if not _is_instance(value, found):
        return False
    return _accepts_parts(found, parts, value)


def _is_instance(value: Any, kind: type) -> bool:
    try:
        is_one = isinstance(value, _ACCEPTED.get(kind, kind))
    except TypeError:  # A protocol that cannot be asked at run time.
        return True
    return is_one and not (kind in {int, float} and isinstance(value, bool | np.bool_))


def _accepts_parts(kind: type, parts: tuple[Any, ...], value: Any) -> bool:
    """True if the keys and values of a dict, or the members of a list, are of their kinds."""
    if issubclass(kind, collections.abc.Mapping) and len(parts) == 2:
        return all(accepts(parts[0], key) and accepts(parts[1], part) for key, part in value.items())
    if issubclass(kind, tuple) and parts and parts[-1] is not ...:
        return len(value) == len(parts) and all(map(accepts, parts, value))
    if issubclass(kind, collections.abc.Sequence) and parts:
        return all(accepts(parts[0], part) for part in value)
    return True


def _takes(function: Callable[..., Any], arguments: Any) -> bool:
    """True if a function can be called with so many arguments, or that is not known."""
    if not isinstance(arguments, list | tuple):
        return True
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # A function that tells nothing about itself.
        return True
    return True


def described(hint: Any) -> str:
    """An annotation in words: ``a whole number or None``."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is None:
        return "None"
    if origin in {Union, types.UnionType}:
        return either(dict.fromkeys(described(part) for part in parts))
    if origin is Literal:
        return either(map(repr, parts))
    if origin is Annotated:
        return str(parts[1].words)
    if origin is collections.abc.Callable:
        counted = isinstance(parts[0], list | tuple)
        return f"a function of {len(parts[0])} argument{'s' * (len(parts[0]) != 1)}" if counted else "a function"
    found = origin or hint
    if found in _NAMES:
        return _NAMES[found]
    if isinstance(found, type) and issubclass(found, collections.abc.Mapping):
        return "a dict" + (f" of {described(parts[1])} by name" if len(parts) == 2 and parts[1] is not Any else "")
    if isinstance(found, type) and issubclass(found, collections.abc.Iterable) and found.__module__ != "__main__":
        inner = parts[0] if parts else Any
        if found in {list, tuple, set, frozenset} or found.__module__ == "collections.abc":
            return "a list" + (f" of {described(inner)}" if inner is not Any else "")
    return f"of the type {getattr(found, '__name__', found)}"
