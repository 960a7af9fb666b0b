"""Pickles as data: a pickle is a program, which is followed here without calling anything that it names.

Of Python's own objects only containers, numbers and text are made. Whatever else it would call or make is kept as a
``Named`` or a ``Made``, for the reader of the file to recognise. What was made is compared by identity, never hashed
and never printed, as its parts may be shared and nested without end.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final, cast

SMALL: Final = 2**16
"""Bytes that may be asked for without a look at how many there are."""

MAX_OPCODES: Final = 2**22
"""More than the pickles of a file with ``MAX_TENSORS`` tensors have."""

_STEP: Final = 2**7
"""The bytes of memory that a step takes, whatever it makes, apart from those of text."""

TEXT: Final = 5
"""The bytes of memory that a byte of a pickle may take: as it is read, and as text of four bytes a character."""

_TOGETHER: Final = 2**10
"""Steps whose memory is claimed at once."""

_NAMES: Final = (str, float, type(None))

_LONGEST: Final = 200
"""Characters that messages show of names, and of errors of pickletools, which may have a whole line of the file."""


@dataclass(frozen=True, slots=True)
class Named:
    """Something of a module, by name, such as a function or a class."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module[:_LONGEST]}.{self.name[:_LONGEST]}"


@dataclass(eq=False, slots=True)
class Made:
    """An object that a pickle would make: the call of ``maker``, then the state that it would give to the result."""

    maker: Any
    arguments: tuple[Any, ...]
    state: Any = None
    items: dict[Any, Any] | None = None


@dataclass(eq=False, slots=True)
class Persistent:
    """An object that a file keeps outside the pickle, by its identification."""

    identification: Any


def read_pickle(
    file: IO[bytes], size: int, claim: Callable[[int], None], persistent: Callable[[Any], Any] = Persistent
) -> Any:
    """The value of a pickle that begins at the place of a file, up to its end; the file is then behind it.

    Args:
        file: the file.
        size: its bytes.
        claim: is told of the bytes of memory that steps take, and raises an error for too many; those of text,
            ``TEXT`` times the size of the pickle, are for the caller to claim.
        persistent: what is kept for what the file keeps outside the pickle, from its identification.

    Raises ``ValueError`` where it is damaged, uses what no pickle of containers does, or is too long.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of old pickles' text with escapes that Python does not know.
            steps = pickletools.genops(cast("IO[bytes]", _Bounded(file, size)))
            return _followed(steps, claim, _Machine(persistent))
    except ValueError as error:
        reason = str(error).removeprefix("at position <unknown>, ")[:_LONGEST]
        raise ValueError(f"{reason}, at byte {file.tell()}") from None


class _Bounded:
    """A file of which nobody reads more than it holds: a damaged count of bytes would be memory for all of them."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size, self.readline = file, size, file.readline

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        return self._file.read(count if count <= SMALL else min(count, self._size - self._file.tell()))


def _followed(steps: Iterable[tuple[Any, Any, Any]], claim: Callable[[int], None], machine: _Machine) -> Any:
    for count, (opcode, argument, _) in enumerate(steps):
        if count % _TOGETHER == _TOGETHER - 1:
            claim(_TOGETHER * _STEP)
            if count > MAX_OPCODES:
                raise ValueError(f"it has more than {MAX_OPCODES} steps")
        step = _STEPS.get(opcode.name)
        if step is None:
            raise ValueError(f"it has the opcode {opcode.name}, which weights do not need")
        try:
            step(machine, argument)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its {opcode.name} does not fit what is before it") from error
    return machine.stack.pop()


class _Machine:
    """The stack and the memory of a pickle: the values above the last mark, and those below each."""

    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def mark(self) -> None:
        """Begin several values."""
        self.below.append(self.stack)
        self.stack = []

    def several(self) -> list[Any]:
        """The values above the last mark, which are taken from the stack with it."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def last(self, count: int) -> list[Any]:
        """The last values of the stack, which are taken from it."""
        if len(self.stack) < count:
            raise IndexError
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def call(self, maker: Any, arguments: Any) -> None:
        """Note a call; an ordered dict is a dict."""
        if not isinstance(arguments, tuple):
            raise TypeError
        is_dict = not arguments and maker == Named("collections", "OrderedDict")
        self.stack.append({} if is_dict else Made(maker, arguments))

    def build(self) -> None:
        """Note the state of what is on the stack; that of a dict is its attributes, which are not wanted."""
        [state] = self.last(1)
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _constant(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: _push(machine, make())


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: _push(machine, tuple(machine.last(count)))


def _remember(machine: _Machine, place: Any) -> None:
    place = len(machine.memory) if place is None else place
    if not 0 <= place <= MAX_OPCODES:  # Among larger numbers, any many have the same hash.
        raise IndexError
    machine.memory[place] = machine.stack[-1]


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(Named(module, name))


def _stack_global(machine: _Machine, _: Any) -> None:
    module, name = machine.last(2)
    if not (isinstance(module, str) and isinstance(name, str)):
        raise TypeError
    machine.stack.append(Named(module, name))


def _pop(machine: _Machine, _: Any) -> None:
    machine.last(1) if machine.stack else machine.several()


def _pop_mark(machine: _Machine, _: Any) -> None:
    machine.several()


def _append(machine: _Machine, values: list[Any]) -> None:
    """Put values into the list on the stack; those of another object, such as a deque, are not wanted."""
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Made):
        raise TypeError


def _set(machine: _Machine, pairs: list[Any]) -> None:
    """Put keys and values into the dict on the stack."""
    target = machine.stack[-1]
    if isinstance(target, Made):
        target.items = {} if target.items is None else target.items
        target = target.items
    if not isinstance(target, dict):
        raise TypeError
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        target[key if _is_name(key) else f"(key {len(target)})"] = value


def _is_name(key: Any) -> bool:
    """True if a key has a name: others, such as tuples, are never hashed, and are named by their place."""
    return key.bit_length() <= 64 if isinstance(key, int) else isinstance(key, _NAMES)


_STEPS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, _: None),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"), _push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING"), _push),
    **dict.fromkeys(("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, place: _push(machine, machine.memory[place])),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda machine, _: _append(machine, machine.several())),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda machine, _: machine.call(*machine.last(2))),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda machine, _: _push(machine, machine.several())),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), _constant(list)),
    "NEWOBJ_EX": lambda machine, _: machine.call(*machine.last(3)[:2]),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "MARK": lambda machine, _: machine.mark(),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE": lambda machine, _: _push(machine, tuple(machine.several())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda machine, _: _append(machine, machine.last(1)),
    "SETITEM": lambda machine, _: _set(machine, machine.last(2)),
    "SETITEMS": lambda machine, _: _set(machine, machine.several()),
    "STOP": lambda machine, _: machine.stack[-1],
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: _push(machine, machine.persistent(*machine.last(1))),
}
"""The action of each opcode; weights do not need the others."""
