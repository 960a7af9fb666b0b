"""Conventions of all commands: ``--format``, ``--out``, ``--force``, ``--timeout``, ``--quiet`` and ``--debug``.

A module with ``ROWS = True`` has a result of rows, which is written as CSV too; with ``LINES = True`` also as JSON
lines. One with ``NUMBERS = True`` has ``--digits``, with which ``core.text.rounded`` and ``percent`` write them.
A command may also take groups of options: a parameter whose type is a dataclass is expanded into one option per field.
Where it has a method ``owns``, that says which existing files the command may replace unasked: those that the training
has written that it resumes.
``SUBJECT`` of a group is the heading of its options in a help; others say it themselves (``rich_help_panel``), or stand
under "Options". What few people need is declared ``hidden=True``: it is in --help-all, and not in --help.
Options that name files to be written are declared ``writable=True``: nothing is overwritten without ``--force``, a file
that the command reads not even with it, and a file that cannot be written is reported before the work begins.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, get_args

import typer
import typer.models

from portable_nn.cli.options import choice
from portable_nn.cli.printing import DASH, Printer, warnings_as_notes
from portable_nn.cli.spelling import in_options, without_python
from portable_nn.cli.targets import check_targets
from portable_nn.cli.timing import limit_time
from portable_nn.core.errors import PortableNNError, UsageError, listed
from portable_nn.core.text import SIGNIFICANT, either, looking

FORMS: Final = {"table": ".txt", "json": ".json", "jsonl": ".jsonl", "csv": ".csv"}
"""The forms of a result, and the suffix of a file in that form."""

NEEDED: Final = {"jsonl": "LINES", "csv": "ROWS"}
"""The attribute that a module must have for a form."""

MOST_DIGITS: Final = 17
"""The significant digits that tell all numbers of float64 apart."""

INTERRUPTED: Final = 130
"""The exit code that shells give a process that Ctrl-C ended: 128 and SIGINT."""

BROKEN_PIPE: Final = 141
"""The exit code that shells give a process that SIGPIPE ended: 128 and its number."""

ALWAYS: Final = "Every command"
"""The heading of the options that every command has, in a help."""

LARGEST: Final = 2**63 - 1
"""The largest whole number that arrays and files can hold."""


def with_conventions(module: ModuleType) -> Callable[..., None]:
    """The function ``command`` of a module with its groups of options taken apart, and the options of every command.

    The parameter ``printer`` is made from the latter. A command that has an ``out`` of its own, such as a weight file,
    prints its result to standard output.
    """
    command = module.command
    options, groups = _options(command)
    has_out = any(option.name == "out" for option in options)
    forms = {
        name: suffix for name, suffix in FORMS.items() if name not in NEEDED or getattr(module, NEEDED[name], False)
    }
    arrays, tables = getattr(module, "ARRAYS", ()), getattr(module, "TABLES", ())
    options += _shared(forms, arrays, tables, has_out=has_out, has_numbers=getattr(module, "NUMBERS", False))
    flags = {option.name: _flag(option) for option in options}
    also = {flag[2:].replace("-", "_"): flag for flag in flags.values() if flag.startswith("--")}
    spelled = {name: flag for name, flag in {**also, **flags}.items() if name != "digits"}  # A model is called so.
    targets = [option.name for option in options if getattr(_info(option), "writable", False)]

    @functools.wraps(command)
    def run(
        *,
        format: str | None,
        force: bool,
        timeout: float | None,
        quiet: bool,
        debug: bool,
        help_all: bool,
        **given: Any,
    ) -> None:
        from portable_nn.core.atomic import replacing_nothing

        with reporting(spelled, debug), replacing_nothing():
            _check_numbers({"--timeout": timeout, **{flags[name]: value for name, value in given.items()}})
            if timeout is not None:
                limit_time(timeout)
            wanted = {flags[name]: given[name] for name in targets if given[name] is not None}
            others = {flags[name]: value for name, value in given.items() if name not in targets}
            out = None if has_out else given.pop("out")
            for name, kind in groups.items():
                given[name] = kind(**{field: given.pop(field) for field in kind.__dataclass_fields__})
            owners = [given[name].owns for name in groups if hasattr(given[name], "owns")]
            resumes = bool(given.get("resume"))  # That of a training is in a group, and has a folder.
            check_targets(wanted, others, force, lambda path: any(owns(path) for owns in owners), resumes=resumes)
            printer = Printer(_form(format, out, forms, (*arrays, *tables)), out, quiet, force)
            digits = given.pop("digits", None)
            if digits is not None and not 1 <= digits <= MOST_DIGITS:
                raise UsageError(f"--digits must be from 1 to {MOST_DIGITS}, not {digits}")
            with warnings_as_notes(printer), looking(printer.width, digits), _reporting_taken(printer):
                command(printer, **given)
            sys.stdout.flush()

    parameters = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _check_numbers(given: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` for a number, of the options by flag, that no computation can use."""
    for flag, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{flag} must be a finite number, not {value}")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UsageError(f"{flag} must be at most {LARGEST}")


def _options(command: Callable[..., None]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """The options of a command, and the groups among its parameters."""
    options: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind: Any = parameter.annotation
        if hasattr(kind, "__dataclass_fields__"):
            groups[name] = kind
            options += _under(kind.SUBJECT, inspect.signature(kind, eval_str=True).parameters.values())
        elif name != "printer":
            options += _under("Options", [parameter])
    return options, groups


def _under(subject: str, options: Iterable[inspect.Parameter]) -> Iterator[inspect.Parameter]:
    """Options that stand under ``subject`` in a help, where they name no other."""
    for option in options:
        kind, info = get_args(option.annotation)
        info = copy(info)  # Commands share it.
        if not isinstance(info.rich_help_panel, str):
            info.rich_help_panel = subject
        yield option.replace(annotation=Annotated[kind, info])


def _show_all(context: typer.Context, is_wanted: bool) -> None:
    """Print the help with all options."""
    if is_wanted:
        command = context.command = copy(context.command)
        command.params = [copy(option) for option in command.params]
        for option in command.params:
            option.hidden = False  # type: ignore[attr-defined]
        print(context.get_help())
        raise typer.Exit


def _info(option: inspect.Parameter) -> Any:
    """The ``typer.Option`` or ``typer.Argument`` of an option."""
    return option.annotation.__metadata__[0]


def _flag(option: inspect.Parameter) -> str:
    """The spelling of an option on the command line; an argument is spelled as its metavar."""
    info = _info(option)
    if isinstance(info, typer.models.ArgumentInfo):
        return str(info.metavar)
    spelled = [
        info.default,
        *(info.param_decls or ()),
        "--" + option.name.replace("_", "-"),
    ]  # typer's first is default.
    return next(text for text in map(str, spelled) if text.startswith("--"))


@contextmanager
def reporting(flags: Mapping[str, str], debug: bool) -> Iterator[None]:
    """Name the option in a ``UsageError`` such as "batch_size must be …", and print the traceback to debug."""
    try:
        yield
    except BrokenPipeError:  # The reader has closed the pipe; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except Exception as error:
        if isinstance(error, PortableNNError):
            is_usage = isinstance(error, UsageError)
            error.args = (in_options(str(error), flags) if is_usage else without_python(str(error)),)
        if debug:
            import traceback

            traceback.print_exc()
        raise


@contextmanager
def _reporting_taken(printer: Printer) -> Iterator[None]:
    """Raise ``PortableNNError`` in the end where files of the command have other names than they were to have."""
    try:
        yield
    except typer.Exit:  # It was told why.
        if not printer.taken:
            raise
    except BaseException:
        printer.notes(map(str, printer.taken.values()))
        raise
    if printer.taken:
        raise PortableNNError(listed(map(str, printer.taken.values())))


def _form(form: str | None, out: Path | None, forms: Mapping[str, str], own: Collection[str]) -> str:
    """The form of the result: that of ``--format``, or of the suffix of ``--out``; none of ``own``, which the command
    writes itself. Raises ``UsageError``."""
    if out is None or str(out) == DASH or (out.suffix.lower() in own and form is None):
        return form or "table"
    found = next((name for name, suffix in forms.items() if suffix == out.suffix.lower()), None)
    if found is None:
        meant = f"; size takes the size to reach as --to {out}" if re.fullmatch("[0-9]+(x[0-9]+)*", str(out)) else ""
        raise UsageError(f"--out {out}: the name must end in {_listed(forms)}, which sets the format{meant}")
    if form not in {None, found}:
        raise UsageError(f"--format {form} and --out {out} contradict each other: leave one of them out")
    return found


def _listed(forms: Mapping[str, str]) -> str:
    *others, last = forms.values()
    return f"{', '.join(others)} or {last}"


def _shared(
    forms: Mapping[str, str], arrays: Sequence[str], tables: Sequence[str], *, has_out: bool, has_numbers: bool
) -> list[inspect.Parameter]:
    """The options of every command, in the order of the help."""
    by_suffix = "" if has_out else "; --out FILE sets it by the suffix"
    form = choice("--format", names=forms, help=f"Output format{by_suffix}.  [default: table]")
    kinds = (("a table", tables), ("arrays", arrays))
    written = "".join(f"; {what} in {either(suffixes)}" for what, suffixes in kinds if suffixes)
    out = f"Write the result to FILE, which ends in {_listed(forms)}{written}; - is stdout."
    flags = {
        "force": typer.Option("--force", help="Overwrite files that exist."),
        "timeout": typer.Option("--timeout", metavar="SECONDS", help="Stop after this many seconds.", hidden=True),
        "quiet": typer.Option("--quiet", "-q", help="Print only the result and errors.", hidden=True),
        "debug": typer.Option("--debug", help="Print the traceback of an error.", hidden=True),
        "help_all": typer.Option("--help-all", callback=_show_all, is_eager=True, help="Show all options and exit."),
    }
    digits = typer.Option(
        "--digits",
        metavar="N",
        help=f"Significant digits of numbers in tables,  {SIGNIFICANT} by default; other formats have all.",
        hidden=True,
    )
    types = {"timeout": (float | None, None)}
    rows: list[tuple[str, Any, Any, Any]] = [
        ("format", str | None, None, form),
        *[("out", Path | None, None, typer.Option("--out", "-o", metavar="FILE", writable=True, help=out))][has_out:],
        *[("digits", int | None, None, digits)][: int(has_numbers)],
        *((name, *types.get(name, (bool, False)), info) for name, info in flags.items()),
    ]
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])
        for name, kind, default, info in rows
    ]
