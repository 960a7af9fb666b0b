"""Reading JSON that anybody may have written: what is no JSON, says two things at once, or does not fit its type.

All of these are a ``ValueError`` in words of this package. The words of the parsers, which change with their versions,
only follow in brackets.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Any, Final, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec

from portable_nn.core.text import printable, said

T = TypeVar("T")

Pairs: TypeAlias = list[tuple[str, Any]]
"""The names and values of an object, in their order."""

LONGEST: Final = 1000
"""The most characters of a line that quotes an untrusted text, and of what a parser says of one."""

SHOWN: Final = 60
"""The most bytes that are quoted of a value that does not fit."""

UNREADABLE: Final = "it cannot be read as JSON in UTF-8"
TOO_DEEP: Final = "it is nested too deeply"


class JsonError(ValueError):
    """A text that cannot be read as JSON, in one printable line."""


def parsed_json(data: bytes | str, *, nan: bool = False, objects: Callable[[Pairs], Any] | None = None) -> Any:
    """The value that a text in JSON, in UTF-8, is.

    Args:
        data: the text.
        nan: whether the words ``NaN`` and ``Infinity`` are numbers, which they are not in JSON.
        objects: makes the value of an object from its pairs, by default a dict; it may raise ``JsonError``.

    Raises ``JsonError`` also for what ``json.loads`` takes or stumbles over: names that stand twice in an object,
    lists in lists without end, and numbers of thousands of digits.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        return (_decoder(nan) if objects is None else _decoder.__wrapped__(nan, objects)).decode(text)
    except JsonError:
        raise
    except RecursionError:
        raise JsonError(TOO_DEEP) from None
    except ValueError as error:
        raise JsonError(f"{UNREADABLE} {said(error)}") from error


def once(pairs: Pairs) -> dict[str, Any]:
    """A dict of names that stand once each: of two, JSON would take the last without a word."""
    if len(dict(pairs)) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise JsonError(f"{printable(repr(twice), LONGEST)} stands in it twice")
    return dict(pairs)


@cache
def _decoder(nan: bool, objects: Callable[[Pairs], Any] = once) -> json.JSONDecoder:
    """A parser, made once for all lines of a file."""
    return json.JSONDecoder(object_pairs_hook=objects, parse_constant=float if nan else _no_constant)


def _no_constant(token: str) -> None:
    """For ``parse_constant``: raises ``JsonError`` for ``NaN`` and ``Infinity``, which are not JSON."""
    raise JsonError(f"{token} is not JSON")


def typed_json(data: bytes | memoryview, kind: type[T], path: str = "") -> T:
    """A text in JSON as a value of the type ``kind``, by msgspec; ``path`` leads to the value in messages.

    Raises ``JsonError`` where it is no JSON, or a part of it is of another type.
    """
    try:
        try:
            return msgspec.json.decode(data, type=kind)
        except ValueError as error:
            is_other = isinstance(error, msgspec.ValidationError)
            fault = _misfit(bytes(data), kind, path, error) if is_other else UNREADABLE
            raise JsonError(f"{printable(fault, LONGEST)} {said(error)}") from error
    except RecursionError:  # Also of a part that is only met where the misfit is looked for.
        raise JsonError(TOO_DEEP) from None


def typed(value: object, kind: type[T], path: str = "") -> T:
    """The same for a value that was parsed from JSON before."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return typed_json(json.dumps(value).encode(), kind, path)


def _misfit(text: bytes, kind: Any, path: str, error: Exception) -> str:
    """The path of the first part of ``text`` that is not of its type, and what is wrong with it.

    The text is taken apart level by level, and nothing is built of the parts that fit.

    Args:
        text: JSON, which ``kind`` does not allow.
        kind: a type, as ``msgspec.json.decode`` takes it.
        path: the path to ``text``, or ``""``.
        error: what ``msgspec.json.decode`` raises for them.
    """
    parts: Iterable[tuple[str, msgspec.Raw, Any]]
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw]) if text.lstrip().startswith(b"{") else None
    if fields is not None and (struct := _struct(kind, fields)):
        known, settings = msgspec.structs.fields(struct), struct.__struct_config__
        unknown = fields.keys() - {each.encode_name for each in known} - {settings.tag_field}
        if unknown and settings.forbid_unknown_fields:
            return f"{path or 'it'} has the unknown field '{min(unknown)}'"
        if lacking := [each.encode_name for each in known if each.required and each.encode_name not in fields]:
            return f"{path or 'it'} lacks the field '{lacking[0]}'"
        there = (each for each in known if each.encode_name in fields)
        parts = ((each.encode_name, fields[each.encode_name], each.type) for each in there)
    else:
        parts = _items(text, kind, fields)
    for step, part, wanted in parts:
        try:
            msgspec.json.decode(part, type=wanted)
        except (ValueError, RecursionError) as fault:
            place = step if step.startswith("[") else f".{step}"
            return _misfit(bytes(part), wanted, (path + place).removeprefix("."), fault)
    if isinstance(error.__cause__, ValueError):  # Raised by the ``__post_init__`` of a type of this package.
        return f"{path or 'it'}: {error.__cause__}"
    return f"{path or 'it'} cannot be {text[:SHOWN].decode(errors='replace')}{'…' * (len(text) > SHOWN)}"


def _items(text: bytes, kind: Any, fields: Mapping[str, msgspec.Raw] | None) -> Iterator[tuple[str, msgspec.Raw, Any]]:
    """The items of a mapping or a list: the step to each, its text, and the type that it must have."""
    for each in _alternatives(kind):
        match get_origin(each), get_args(each):
            case origin, (_, value) if origin is dict and fields is not None:
                yield from ((name, part, value) for name, part in fields.items())
            case origin, (value, *more) if origin is tuple and text.lstrip().startswith(b"["):
                for place, part in enumerate(msgspec.json.decode(text, type=list[msgspec.Raw])):
                    yield f"[{place}]", part, value if place == 0 or more == [...] else [value, *more, Any][place]


def _struct(kind: Any, fields: Mapping[str, msgspec.Raw]) -> type[msgspec.Struct] | None:
    """The kind of object that is allowed: of several, the one whose tag the object has."""
    found = [each for each in _alternatives(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    tags = ((bytes(fields.get(str(each.__struct_config__.tag_field), b"")), each) for each in found)
    tagged = [each for tag, each in tags if tag == msgspec.json.encode(each.__struct_config__.tag)]
    return found[0] if len(found) == 1 else next(iter(tagged), None)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
