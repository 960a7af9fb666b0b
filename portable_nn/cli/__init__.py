"""The command line, ``portable-nn VERB …``.

A command is a row in ``COMMANDS``, its name and what it does in one line, and the module of this package that has its
name (``import_`` for ``import``, which is a keyword). The module's function ``command`` calls one function of the
library and prints the result; its docstring is the help text, followed by ``EXAMPLES``. The module is imported when its
command is used, so that ``portable-nn --help`` needs neither numpy nor onnx. What all have is in ``conventions``.

A subpackage with a table ``COMMANDS`` of its own is a group: ``portable-nn GROUP VERB …``; its ``command`` has the help
text of the group.
"""

from __future__ import annotations

import importlib
import io
import keyword
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final

import typer
import typer.core
import typer.main

from portable_nn.cli import completing
from portable_nn.cli import timing as timing
from portable_nn.core.errors import EXIT_CODES, PortableNNError, UsageError
from portable_nn.core.version import __version__

NAME: Final = "portable-nn"

COMMANDS: Final = {
    "train": "Train a new network on your data.",
    "tune": "Fine-tune a model on your data.",
    "models": "List the shipped models, show their cards, or train them anew.",
    "predict": "Predict classes or values for images, tables and arrays, with any model.",
    "evaluate": "Measure a model on labelled data: accuracy or error, by class, with intervals and calibration.",
    "calibrate": "Calibrate a model's probabilities on data that it was not trained on.",
    "export": "Write a model as an ONNX file, or for another code base, and verify it.",
    "import": "Read an ONNX file, or one of another code base, into a weight file, and verify it.",
    "convert": "Convert a network to another file format, and compare every tensor.",
    "diff": "Compare two models, and name the nodes at which they differ.",
    "inspect": "Show a model's nodes, shapes, parameters, inputs and outputs.",
    "check": "Report every fault of a model in one pass.",
    "size": "Compute output sizes of convolutions and pools, or find options that give a size.",
    "doctor": "Check this installation: packages, engines, threads and memory.",
    "completion": "Complete commands, options, their values, models and files when Tab is pressed.",
    "simulate": "Simulate games of two players: why gradient descent diverges, and what converges.",
}

FAULT: Final = 70
"""The exit code of a fault of this program: EX_SOFTWARE of sysexits.h."""

TOO_LARGE: Final = ("array is too big", "Maximum allowed dimension exceeded")
"""The beginning of numpy's messages where the size of an array exceeds any memory; a ``ValueError``."""

_WrongUsage: Final[Any] = typer.BadParameter.__mro__[1]
"""The parser's error: click's ``UsageError``, of which typer has a private copy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if completing.VARIABLE in os.environ:
        return completing.main(given, module_of)
    try:
        _prepare_streams()
        if given[:1] == [completing.HELP]:
            from portable_nn.cli import describing

            words, form = describing.form_of(given[1:])
            if form == "json":
                describing.describe(NAME, _command(), words)
                return 0
            given = [*words, "--help"]
        return int(_command()(given, prog_name=NAME, standalone_mode=False) or 0)
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130  # As shells report Ctrl-C: 128 and SIGINT.
    except timing.TimeLimit as limit:
        try:
            return timing.run_within(limit.seconds, given)
        except PortableNNError as error:
            return _report(str(error), error.exit_code)
    except Exception as error:
        message, code = _message(error, given)
        return _report(_on_one_line(message, given), code)


def _prepare_streams() -> None:
    """Escape characters that a stream cannot encode, and replace streams that the shell has closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - open as long as the process runs
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _message(error: Exception, given: Sequence[str]) -> tuple[str, int]:
    """The message for an error of the command line ``given``, and the exit code."""
    if isinstance(error, PortableNNError):
        return "\nhint: ".join([str(error), *getattr(error, "__notes__", ())]), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return where + (error.strerror or str(error)), PortableNNError.exit_code
    if isinstance(error, MemoryError) or str(error).startswith(TOO_LARGE):
        return f"there is not enough memory: {str(error) or 'none is left'}", PortableNNError.exit_code
    if isinstance(error, _WrongUsage):
        return _parsing_fault(error, given), UsageError.exit_code
    kind = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"this is a fault of {NAME}, please report it with what --debug prints: {kind}", FAULT


def _on_one_line(message: str, given: Sequence[str]) -> str:
    """The message with every word of the command line on one line, as a name that holds line breaks is not."""
    from portable_nn.core.text import printable

    for word in given:
        if printable(word) != word:
            message = message.replace(word, printable(word))
    return message


def _report(message: str, code: int) -> int:
    from portable_nn.cli.colours import highlighted
    from portable_nn.core.text import printable

    text = "error: " + "\n".join(printable(line) for line in message.splitlines())
    print(highlighted(text, sys.stderr), file=sys.stderr)
    return code


REWORDED: Final = {
    r"Value error, ": "",
    r"Input should be a valid integer.*": "expected a whole number",
    r"Input should be a valid number.*": "expected a number",
    r"Input should be greater than or equal to (.*)": r"expected at least \1",
    r"Input should be less than or equal to (.*)": r"expected at most \1",
    r"Input should be (?=')": "expected ",
    r"Got unexpected extra argument\(s\) \((.*)\)": r"unexpected: \1",
    r"(Invalid value for '--preprocess': .* is not one of 'digits', 'none')": r"\1; 'predict MODEL --preprocess NAME "
    r"--keep FILE' writes a copy of a model with another preparation",
    r"Missing argument 'IN\.\.\.'": "expected IN... and OUT, the file to write",
    r"[Oo]ption ('.*') requires (an argument|\d arguments)": r"option \1 needs a value",
}
"""Parts of the parser's messages, as patterns, and what is said instead."""


FIRST: Final = ("LAYERS", "MODEL")
"""The arguments before data."""


def _parsing_fault(error: Any, given: Sequence[str]) -> str:
    """The parser's message in the style of the others, and where help is."""
    command, options = _position(error, given)
    if name := getattr(error, "option_name", "") if hasattr(error, "possibilities") else "":
        message = f"no such option: {name}{_meant(name, given, command, options)}"
    else:
        message = _misplaced(error) or " ".join(error.format_message().split()).rstrip(".")
        for pattern, words in REWORDED.items():
            message = re.sub(pattern, words, message)
        if message.startswith("unexpected: ") and options[0].param_type_name == "option":
            message += f"; {' '.join(command)} takes options alone, such as {options[0].opts[-1]} {options[0].metavar}"
    return f"{message[:1].lower()}{message[1:]} (see {' '.join([NAME, *command])} --help)"


def _misplaced(error: Any) -> str:
    """The message where a file of data stands in place of a model or of layers; empty elsewhere."""
    parameters = error.ctx.command.params if error.ctx else []
    first, *others = [each for each in parameters if each.param_type_name == "argument"] or [None]
    word = str(error.ctx.params.get(first.name)) if first else ""
    if getattr(error, "param", None) not in others or first.metavar not in FIRST or not Path(word).exists():
        return ""
    from portable_nn.catalog import CALLED
    from portable_nn.opening.kinds import is_known

    if word in CALLED or is_known(Path(word)):
        return ""
    needed = [
        f"{each.opts[-1]} {each.metavar}" for each in parameters if each.required and each not in (first, *others)
    ]
    line = " ".join([error.ctx.command_path, first.metavar, word, *needed])
    return f"missing argument '{first.metavar}' before {word}: {line}. {first.metavar}: {first.help.rstrip('.')}"


def _position(error: Any, given: Sequence[str]) -> tuple[list[str], list[Any]]:
    """The words of the command that is used wrongly, and its parameters."""
    words: list[str] = []
    for word in given:
        if word not in getattr(module_of(*words), "COMMANDS", ()):
            break
        words.append(word)
    return words, list(_command(*words).params)


def _meant(option: str, given: Sequence[str], command: Sequence[str], parameters: Sequence[Any]) -> str:
    """A suggestion for an option that does not exist."""
    from difflib import get_close_matches

    if file := next((word for word in given if word.startswith(option) and os.path.lexists(word)), None):
        return f"; for the file, write ./{file}"
    known = [name for parameter in parameters if parameter.param_type_name == "option" for name in parameter.opts]
    if close := get_close_matches(option, known, n=1, cutoff=0.75):
        return f"; did you mean {close[0]}?"
    if deeper := _deeper(option, given, command):
        return f"; options stand after a command, as in {' '.join([*deeper, option])}"
    written = [each.metavar for each in parameters if each.param_type_name == "argument"][1:]
    if option in ("--out", "-o") and written:
        return f": the file to write is the last argument, {written[-1].strip('[]')}"
    return ""


def _deeper(option: str, given: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command of a group that has the option, first of all one that is given; empty if none has it."""
    for name in sorted(getattr(module_of(*command), "COMMANDS", ()), key=lambda name: name not in given):
        if any(option in known.opts for known in _command(*command, name).params):
            return [*command, name]
    return []


WORD: Final = 5
"""The least letters of a word that is looked for in the descriptions of commands."""


class _Group(typer.core.TyperGroup):
    """The commands of a module's table; only the one that is used is imported."""

    module: ModuleType
    path: tuple[str, ...]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or [getattr(self.module, "ALONE", "--help")])

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.module.COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        commands = self.module.COMMANDS
        if cmd_name in commands:
            return _command(*self.path, cmd_name)
        if ctx.resilient_parsing or cmd_name.startswith("-"):
            return None
        from difflib import get_close_matches

        from portable_nn.core.text import either

        before, word = "".join(f"{word} " for word in self.path), cmd_name.lower()
        named = [name for name in commands if len(word) >= WORD and word in commands[name].lower()]
        begun = [name for name in commands if word.startswith(name)]
        close = named or get_close_matches(word, commands, n=1) or begun
        names = [before + name for name in close or commands]
        meant = f"did you mean {either(map(repr, names))}?" if close else f"the commands are {', '.join(names)}"
        raise UsageError(f"no command is called '{before}{cmd_name}': {meant}")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*self.module.COMMANDS.items()])


class _Command(typer.core.TyperCommand):
    """A command whose help lists its arguments under their metavars, without the types that typer adds, and its options
    by subject."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(name for name, _ in self._arguments())]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        if arguments := self._arguments():
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        from portable_nn.cli.conventions import ALWAYS

        subjects: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if option.param_type_name == "option" and (record := option.get_help_record(ctx)):
                subjects.setdefault(getattr(option, "rich_help_panel", None) or ALWAYS, []).append(record)
        for subject, records in subjects.items():
            with formatter.section(subject):
                formatter.write_dl(records)

    def _arguments(self) -> list[tuple[str, str]]:
        arguments: list[Any] = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        return [(argument.metavar, argument.help or "") for argument in arguments]


def module_of(*path: str) -> ModuleType:
    """The module of the command or group with this path; without a path, this one."""
    return importlib.import_module(".".join([__name__, *(word + "_" * keyword.iskeyword(word) for word in path)]))


@cache
def _command(*path: str) -> Any:
    """The parser of the command or group with this path, which is made once; without a path, that of the program."""
    from portable_nn.cli.conventions import with_conventions

    module = module_of(*path)
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    application = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=settings)
    if not hasattr(module, "COMMANDS"):
        examples = "\n".join(["\b", "Examples:", *(f"  {NAME} {example}" for example in module.EXAMPLES)])
        application.command(path[-1], cls=_Command, epilog=examples)(with_conventions(module))
        parser: Any = typer.main.get_command(application)
        parser.module = module
        return parser
    called = " ".join([*path, "COMMAND"])
    epilog = f"{NAME} {called} --help has the options of a command, and examples; so has {NAME} help {called}."
    application.callback(cls=_Group, epilog=epilog)(module.command)
    group: Any = typer.main.get_command(application)
    group.module, group.path = module, path
    return group


def _print_version(wanted: bool) -> None:
    if wanted:
        print(NAME, __version__)
        raise typer.Exit


def command(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train a network in numpy, save it in a strict file that describes itself, and run it where ONNX runs.

    Results go to standard output or to --out FILE, everything else to standard error. --format json is for programs;
    help --format json describes the commands to them. No file is overwritten without --force. Exit codes: {codes}.
    """


command.__doc__ = str(command.__doc__).format(
    codes=", ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())
)
