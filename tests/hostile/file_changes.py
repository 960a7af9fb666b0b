"""Random changes of files: of their bytes, of parts of JSON, and of fields of protobuf messages."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

WORDS = (b"\0", b"\xff" * 4, b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"-1", b"1e999", b"nan", b'"', b"{", b"\n")
"""Bytes that are put in: sizes at both ends of their range, and signs that structure text."""


def scrambled(data: bytes, dice: random.Random) -> bytes:
    """``data`` after one to four changes: bits flipped, bytes set, cut out, doubled, moved, or a word put in."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(made) + 1)
        stop = min(len(made), start + dice.choice((1, 2, 4, 8, 40)))
        way = dice.randrange(7)
        if way == 0 and stop > start:
            made[start] ^= 1 << dice.randrange(8)
        elif way == 1 and stop > start:
            made[start] = dice.randrange(256)
        elif way == 2:
            del made[start:stop]
        elif way == 3:
            made[start:start] = made[start:stop]
        elif way == 4:
            other = dice.randrange(len(made) + 1)
            made[start:stop] = made[other : other + stop - start]
        elif way == 5:
            word = dice.choice(WORDS)
            made[start : start + len(word)] = word
        elif way == 6 and dice.randrange(4) == 0:
            del made[start:]
    return bytes(made)


# JSON

NUMBERS = (-1, 0, 1, 2, 3, 7, 2**31, 2**62, 2**63 - 1, 2**64)
KNOWN: dict[type, tuple[Any, ...]] = {
    bool: (True, False), int: NUMBERS, float: (0.0, -1.0, 0.5, 1e38, 1e39), str: ("", "x", "batch", "float64", "int64"),
    list: ([], [0], [1, 1], ["batch"], ["x"], [0.5]), dict: ({}, {"dtype": "int64", "shape": [1], "data": [-1]}),
    type(None): (None, 0, "", []),
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every part of a tree of JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in items for place in places(part, (*path, key)))]


def change_tree(tree: Any, dice: random.Random) -> None:
    """Leave out a part, or put one in its place that stands elsewhere or is known to be trouble, mostly of its type."""
    ways = [way for way in places(tree) if way]
    parent, last = step_to(tree, dice.choice(ways))
    old = parent[last]
    if dice.randrange(8) == 0:
        del parent[last]
        return
    others = [parent[last] for parent, last in (step_to(tree, way) for way in ways)]
    alike = [other for other in others if type(other) is type(old)]
    kind = dice.randrange(8)
    new = dice.choice(KNOWN[type(old)] if kind < 4 else alike if kind < 7 else others)
    parent[last] = json.loads(json.dumps(new))
    if isinstance(old, list) and old and dice.randrange(2):
        parent[last] = [*old, dice.choice(old)]


def step_to(tree: Any, way: tuple[Any, ...]) -> tuple[Any, Any]:
    *outer, last = way
    for key in outer:
        tree = tree[key]
    return tree, last


# Protobuf


def change_message(root: Message, dice: random.Random) -> None:
    """Clear a field of one of the messages in ``root``, or set it to the value of another or one that is trouble."""
    messages = list(messages_in(root))
    message = dice.choice(messages)
    field = dice.choice(message.DESCRIPTOR.fields)
    if dice.randrange(4) == 0:
        message.ClearField(field.name)
        return
    same = [each for each in messages if each.DESCRIPTOR is message.DESCRIPTOR]
    other = getattr(dice.choice(same), field.name)
    if field.is_repeated:
        change_list(getattr(message, field.name), list(other), dice)
    elif field.message_type:
        getattr(message, field.name).ParseFromString(other.SerializeToString())  # it may be a part of the other
    else:
        known = {"int": (-1, 0, 1, 2, 7, 2**31 - 1, 2**62), "float": (0.0, -1.0, 1e30, float("nan")), "str": ("", "x")}
        choices = known.get(type(other).__name__, (b"", b"\0" * 4))
        setattr(message, field.name, other if dice.randrange(2) else dice.choice(choices))


def change_list(items: Any, others: list[Any], dice: random.Random) -> None:
    if items and dice.randrange(2):
        del items[dice.randrange(len(items))]
    if others:
        other = dice.choice(others)
        items.extend([type(other).FromString(other.SerializeToString()) if isinstance(other, Message) else other])


def messages_in(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for each in value if field.is_repeated else [value]:
                yield from messages_in(each)
