"""The description of the commands for programs: ``portable-nn help [COMMAND] --format json``.

Everything is read from where the commands declare it: their parsers, examples, exit codes, and the schemas of outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from inspect import cleandoc, signature
from pathlib import Path
from typing import Any, Final

import typer

from portable_nn.cli.completing import Option
from portable_nn.cli.conventions import ALWAYS, reporting, with_conventions
from portable_nn.cli.printing import Printer
from portable_nn.cli.schemas import schema_of
from portable_nn.core.errors import EXIT_CODES, UsageError
from portable_nn.core.version import __version__

TYPES: Final[Mapping[Any, str]] = {bool: "boolean", int: "integer", float: "number", Path: "path", list[Path]: "path"}
"""The types of values that are no text, by their annotation."""

FORMS: Final = ("table", "json")
"""The formats of a help."""


def form_of(words: Sequence[str]) -> tuple[list[str], str]:
    """The words after ``help`` without ``--format``, and the format. Raises ``UsageError``."""
    path, form, rest = list[str](), FORMS[0], iter(words)
    for word in rest:
        name, sign, value = word.partition("=")
        if name == "--format":
            form = value if sign else next(rest, "")
        else:
            path.append(word)
    if form not in FORMS:
        raise UsageError(f"--format of help must be {' or '.join(FORMS)}, not '{form}'")
    return path, form


def describe(program: str, root: Any, wanted: Sequence[str]) -> None:
    """Print the description of the commands of the parser ``root``, or of those that the words ``wanted`` call."""
    codes = {str(code): meaning for code, meaning in EXIT_CODES.items()}
    data = {"program": program, "version": __version__, "exit_codes": codes}
    with reporting({}, debug=False):
        Printer("json").result("", data | {"commands": list(_commands(root, (), wanted))})
        sys.stdout.flush()


def _commands(group: Any, before: tuple[str, ...], wanted: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commands of a group, which is called by the words ``before``."""
    table = group.module.COMMANDS
    for word in wanted[:1] or table:
        parser = group.get_command(typer.Context(group), word)
        if parser is None:
            raise UsageError(f"no such option: {word}")
        if hasattr(parser.module, "COMMANDS"):
            yield from _commands(parser, (*before, word), wanted[1:])
        else:
            yield _command(parser, [*before, word], table[word])


def _command(parser: Any, path: list[str], summary: str) -> dict[str, Any]:
    """A command, which is called by the words ``path``."""
    declared = signature(with_conventions(parser.module)).parameters
    found = [(each.param_type_name, _parameter(each, Option(declared[each.name]))) for each in parser.params]
    return {
        "path": path,
        "summary": summary,
        "help": cleandoc(parser.module.command.__doc__ or ""),
        "arguments": [each for kind, each in found if kind == "argument"],
        "options": [each for kind, each in found if kind == "option"],
        "examples": list(parser.module.EXAMPLES),
        "output": schema_of(" ".join(path)),
    }


def _parameter(parsed: Any, declared: Option) -> dict[str, Any]:
    """An argument, or an option, as it is parsed and as it is declared."""
    types = [TYPES[kind] for kind in declared.kinds if kind in TYPES]
    found = {
        "metavar": parsed.metavar,
        "type": next(iter(types), "string"),
        "choices": declared.choices() or None,
        "required": parsed.required,
        "repeatable": declared.repeats,
        "help": parsed.help,
    }
    if parsed.param_type_name == "argument":
        return found
    return {
        "names": [*parsed.opts, *parsed.secondary_opts],
        **found,
        "default": parsed.default,
        "heading": parsed.rich_help_panel or ALWAYS,
        "in_first_help": not parsed.hidden,
    }
