"""Pickles as data: a pickle is a program, which is followed here without calling anything that it names.

Of Python's own objects only containers, numbers and text are made. Whatever else it would call or make is kept as a
``Named`` or a ``Made``, for the reader of the file to recognise.
"""

from __future__ import annotations

import os
import pickletools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final, cast

SMALL: Final = 2**16
"""Bytes that may be asked for without a look at how many there are."""

MAX_OPCODES: Final = 2**22
"""More than the pickles of a file with ``MAX_TENSORS`` tensors have."""


@dataclass(frozen=True)
class Named:
    """Something of a module, by name, such as a function or a class."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Made:
    """What a pickle would make: the call of ``maker``, then the state that it would give to the result."""

    maker: Any
    arguments: Any
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Persistent:
    """What a file keeps outside the pickle, by its identification."""

    identification: Any


class _Mark:
    """The beginning of several values on the stack."""


_MARK: Final = _Mark()


def read_pickle(file: IO[bytes]) -> Any:
    """The value of a pickle that begins at the place of a file, up to its end; the file is then behind it.

    Raises ``ValueError`` where it is damaged, uses what no pickle of containers does, or is too long.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of old pickles' text with escapes that Python does not know.
        return _followed(pickletools.genops(cast("IO[bytes]", _Bounded(file))))


class _Bounded:
    """A file of which nobody reads more than it holds: a damaged count of bytes would be memory for all of them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.readline, self.tell = file, file.readline, file.tell

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        if count > SMALL:
            here = self._file.tell()
            count = min(count, self._file.seek(0, os.SEEK_END) - here)
            self._file.seek(here)
        return self._file.read(count)


def _followed(steps: Iterable[tuple[Any, Any, Any]]) -> Any:
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(steps):
        if count > MAX_OPCODES:
            raise ValueError(f"it has more than {MAX_OPCODES} steps")
        if opcode.name == "STOP":
            break
        step = _STEPS.get(opcode.name)
        if step is None:
            raise ValueError(f"it has the opcode {opcode.name}, which weights do not need")
        try:
            step(machine, argument)
        except (IndexError, KeyError, TypeError) as error:
            raise ValueError(f"its {opcode.name} does not fit what is before it") from error
    return machine.stack.pop()


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def several(self) -> list[Any]:
        """The values above the last mark, which are taken from the stack."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise IndexError
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def last(self, count: int) -> list[Any]:
        """The last values of the stack, which are taken from it."""
        if len(self.stack) < count:
            raise IndexError
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def set_items(self, pairs: list[Any]) -> None:
        """Put keys and values into the container on the stack."""
        target = self.stack[-1]
        items = target.items if isinstance(target, Made) else target
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            items[key] = value

    def call(self) -> None:
        """Note the call of what is on the stack; an ordered dict is a dict."""
        maker, arguments = self.last(2)
        is_dict = maker == Named("collections", "OrderedDict") and not arguments
        self.stack.append({} if is_dict else Made(maker, arguments))

    def build(self) -> None:
        """Note the state of what is on the stack; that of a dict is its attributes, which are not wanted."""
        [state] = self.last(1)
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _constant(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(make())


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.stack.append(tuple(machine.last(count)))


def _remember(machine: _Machine, place: Any) -> None:
    machine.memory[len(machine.memory) if place is None else int(place)] = machine.stack[-1]


def _recall(machine: _Machine, place: Any) -> None:
    machine.stack.append(machine.memory[int(place)])


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(Named(module, name))


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.last(2)
    machine.stack.append(Named(str(module), str(name)))


def _pop(machine: _Machine, _: Any) -> None:
    machine.last(1)


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, set):
        target.update(values)
    elif isinstance(target, list):
        target.extend(values)
    else:
        raise TypeError


_STEPS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"), _push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING"), _push),
    **dict.fromkeys(("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "MARK": _constant(lambda: _MARK),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_SET": _constant(set),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.several())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda machine, _: machine.stack.append(machine.several()),
    "APPEND": lambda machine, _: _append(machine, machine.last(1)),
    "APPENDS": lambda machine, _: _append(machine, machine.several()),
    "ADDITEMS": lambda machine, _: _append(machine, machine.several()),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.several()),
    "POP": _pop,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.stack.append(Persistent(*machine.last(1))),
}
"""What each opcode does; the others are for what weights do not need."""
