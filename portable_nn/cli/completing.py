"""The candidates that a shell offers when Tab is pressed: commands, options, their values, models and files.

The scripts of ``completion`` call the program with the words before the cursor as its arguments, and with the name of
the shell in ``VARIABLE``. They get a line for each candidate, and ``FILES`` where the shell is to add files. Only the
module of the command that is being written is imported.
"""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from inspect import Parameter, signature
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

ModuleOf: TypeAlias = Callable[..., ModuleType]
"""Gives the module of a command or group, for the words that call it: that of this package."""

VARIABLE: Final = "_PORTABLE_NN_COMPLETE"
"""The environment variable that asks for candidates, for the shell that it names."""

FILES: Final = ":files"
"""The line that asks the shell for files."""

HELP: Final = "help"
"""The word before a command that asks for its help."""


def _columns(words: Sequence[str]) -> Iterator[str]:
    """The words for a place, and the names of the columns of a table among ``words``."""
    from portable_nn.data.csv_columns import headings

    yield from ("first", "last")
    for word in words:
        if word.lower().endswith((".csv", ".tsv", ".txt")) and Path(word).is_file():
            yield from headings(word)
            return


def _nodes(words: Sequence[str]) -> Iterator[str]:
    """The last linear layer, and the nodes of a model among ``words`` that a person would name."""
    from portable_nn.core.errors import PortableNNError
    from portable_nn.network.heads import main_nodes
    from portable_nn.opening.kinds import open_model, resolve

    yield "-1"
    for word in words:
        try:
            path = resolve(word)
        except PortableNNError:  # It is no model.
            continue
        if path.is_file() and path.stat().st_size <= LARGEST:
            yield from main_nodes(open_model(word).network.graph)
        return


LARGEST: Final = 2**26
"""The bytes of the largest model that is read for the names of its nodes: Tab must not take long."""

INSIDE: Final[dict[str, Callable[[Sequence[str]], Iterable[str]]]] = {"--target": _columns, "--until": _nodes}
"""The names in a file, one of the words before an option, that the option can have."""

NAMED: Final = {
    "MODEL": "portable_nn.catalog:CALLED",
    "A": "portable_nn.catalog:CALLED",
    "GAME": "portable_nn.adversarial:GAMES",
    "METHOD": "portable_nn.adversarial:METHODS",
}
"""The tables whose names a value can have, by its metavar."""

DATA: Final = {"MODEL", "A", "INPUT...", "DATA...", "DATA"}
"""Arguments and options that are text, and may name a file."""


class Candidate(NamedTuple):
    """A word that fits, and what it means."""

    word: str
    meaning: str = ""


def answer(shell: str, words: Sequence[str], module_of: ModuleOf) -> int:
    """Print the candidates for the last of ``words`` in the form of a shell; return the exit code."""
    *before, current = words or [""]
    kept = ""
    if shell == "bash":
        before, current, kept = _joined(before, current)
    write = FORMS[shell]
    found = [
        each if isinstance(each, str) else write(each._replace(word=each.word.removeprefix(kept)))
        for each in candidates(before, current, module_of)
    ]
    print("\n".join(found))
    return 0


FORMS: Final[dict[str, Any]] = {
    "bash": lambda found: re.sub(r"([^\w@%+=:,./-])", r"\\\1", found.word),
    "zsh": lambda found: ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in found if part),
    "fish": lambda found: "\t".join(filter(None, found)),
}
"""The form of a candidate for each shell."""


def _joined(before: list[str], current: str) -> tuple[list[str], str, str]:
    """The words as they were, where bash took ``--format=json`` apart; and the beginning that bash keeps."""
    words = list[str]()
    for word in [*before, current]:
        if words and (word == "=" or words[-1].endswith("=")) and words[-1].startswith("--"):
            words[-1] += word
        else:
            words.append(word)
    *before, joined = words
    return before, joined, joined[: joined.find("=") + 1] if joined != current else ""


def candidates(before: Sequence[str], current: str, module_of: ModuleOf) -> Iterator[Candidate | str]:
    """The candidates after ``before`` that begin with ``current``: words, and ``FILES``."""
    wants_help = before[:1] == [HELP]
    rest, path = list(before[int(wants_help) :]), list[str]()
    while rest and rest[0] in getattr(module_of(*path), "COMMANDS", {}):
        path.append(rest.pop(0))
    commands = getattr(module_of(*path), "COMMANDS", None)
    if commands is not None:
        yield from _fitting(_commands(path, commands, current, wants_help) if not rest else (), current)
    elif not wants_help:
        yield from _of_command(module_of(*path), rest, current)


def _commands(path: Sequence[str], commands: dict[str, str], current: str, wants_help: bool) -> Iterator[Candidate]:
    if current.startswith("-"):
        yield Candidate("--help", "Show the help.")
        if not path:
            yield Candidate("--version", "Show the version.")
        return
    yield from map(Candidate, commands, commands.values())
    if not path and not wants_help:
        yield Candidate(HELP, "Show the help of a command.")


def _fitting(found: Iterable[Candidate], current: str) -> Iterator[Candidate]:
    return (each for each in found if each.word.startswith(current))


class Option:
    """An option or argument of a command, as its annotation says."""

    def __init__(self, parameter: Parameter) -> None:
        kind, *infos = get_args(parameter.annotation)
        info: Any = infos[0]
        self.kinds = set(_parts(kind))
        self.metavar, self.help = (info.metavar or "").strip("[]"), info.help or ""
        self.is_argument = type(info).__name__ == "ArgumentInfo"
        self.repeats = any(get_origin(each) is list for each in self.kinds)
        declared = [str(each) for each in (info.default, *(info.param_decls or ()))]
        names = [name for each in declared for name in each.split("/") if name.startswith("-")]
        self.names = names or ["--" + parameter.name.replace("_", "-")]
        self.is_flag = bool in self.kinds

    def choices(self) -> list[str]:
        """The words of which its value must be one, or begin with one; empty where it may be others."""
        listed = [word for each in self.kinds if get_origin(each) is Literal for word in get_args(each)]
        if not listed and self.metavar.startswith("<"):
            listed = self.metavar.strip("<>").split("|")
        return listed

    def words(self) -> Iterable[str]:
        """The words that its value may be, if that is known."""
        return self.choices() or (resolve_name(NAMED[self.metavar]) if self.metavar in NAMED else ())

    def takes_files(self) -> bool:
        """True if the option's value may be the name of a file or folder."""
        return Path in self.kinds or list[Path] in self.kinds or "FILE" in self.metavar or self.metavar in DATA


def _parts(kind: Any) -> tuple[Any, ...]:
    """The kinds of a union."""
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


def _of_command(module: ModuleType, rest: Sequence[str], current: str) -> Iterator[Candidate | str]:
    """Options, or values of the option or argument at the cursor."""
    from portable_nn.cli.conventions import with_conventions

    options = [Option(each) for each in signature(with_conventions(module)).parameters.values()]
    named = {name: each for each in options if not each.is_argument for name in each.names}
    arguments = [each for each in options if each.is_argument]
    pending, used, place = _read(rest, named)
    name, sign, value = current.partition("=")
    if pending is not None:
        yield from _values(pending, rest, current)
    elif sign and name in named:
        yield from _values(named[name], rest, value, before=name + sign)
    elif current.startswith("-"):
        free = {name: each.help for name, each in named.items() if each.repeats or not used & set(each.names)}
        long = [Candidate(name, _first(help)) for name, help in free.items() if name.startswith("--")]
        yield from _fitting([*long, Candidate("--help", "Show the help.")], current)
    elif arguments and (place < len(arguments) or arguments[-1].metavar.endswith("...")):
        yield from _values(arguments[min(place, len(arguments) - 1)], rest, current)


def _read(words: Sequence[str], named: dict[str, Option]) -> tuple[Option | None, set[str], int]:
    """The option whose value comes next, if one does; the options that are given; and how many arguments."""
    pending: Option | None = None
    used, place = set[str](), 0
    for word in words:
        name, sign, _ = word.partition("=")
        if pending is not None:
            pending = None
        elif word.startswith("-") and len(word) > 1:
            used.add(name)
            option = named.get(name)
            pending = option if option and not option.is_flag and not sign else None
        else:
            place += 1
    return pending, used, place


def _values(option: Option, words: Sequence[str], current: str, before: str = "") -> Iterator[Candidate | str]:
    found = [*option.words(), *_inside(option, words)]
    yield from _fitting((Candidate(before + word) for word in found), before + current)
    if option.takes_files():
        yield FILES


def _inside(option: Option, words: Sequence[str]) -> list[str]:
    """The names in a file among ``words`` that the option can have, as far as the file can be read."""
    found = list[str]()
    for read in (INSIDE[name] for name in option.names if name in INSIDE):
        with suppress(Exception):  # A message in the middle of a line that is being written would help nobody.
            found.extend(word for word in read(words) if word and word.isprintable())
    return list(dict.fromkeys(found))


def _first(text: str) -> str:
    """The first sentence of a help text, in one line."""
    return " ".join(text.split()).partition(". ")[0].removesuffix(".")


def main(arguments: Sequence[str], module_of: ModuleOf) -> int:
    """Answer the shell that ``VARIABLE`` names. Nothing is printed where something fails."""
    shell = os.environ[VARIABLE]
    try:
        return answer(shell, arguments, module_of) if shell in FORMS else 1
    except Exception:  # A message in the middle of a line that is being written would help nobody.
        return 1
    finally:
        sys.stdout.flush()
