"""What every command has: ``--format``, ``--quiet``, ``--debug``, and where its words go."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from portable_nn.core.errors import PortableNNError

SCHEMA = 1
"""The version of what ``--format json`` prints: it changes when a field changes its meaning or goes away."""

LONGEST_NOTE = 400
"""Characters of a note that are printed."""

BROKEN_PIPE = 141
"""The exit code that shells give a process that SIGPIPE ended: 128 and its number."""


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"


class Printer:
    """Where a command's words go: results to standard output, everything else to standard error."""

    def __init__(self, format: Format = Format.TABLE, quiet: bool = False) -> None:
        self.is_json, self.quiet = format is Format.JSON, quiet

    @property
    def width(self) -> int | None:
        """How long lines may be where a terminal shows them; nothing elsewhere, where whole ones are wanted."""
        if not sys.stdout.isatty():
            return None
        import shutil

        return shutil.get_terminal_size().columns

    def note(self, text: str) -> None:
        """Say something that is no result."""
        if not self.quiet:
            from portable_nn.core.text import printable

            print(printable(text), file=sys.stderr)

    def notes(self, texts: Iterable[str]) -> None:
        """Say several such things; of a long one, such as the names of a hundred nodes, the beginning."""
        for text in texts:
            self.note(text if len(text) <= LONGEST_NOTE else f"{text[:LONGEST_NOTE]}… (all of it: --format json)")

    def result(self, text: str, data: Mapping[str, Any]) -> None:
        """Print a result, which is ``text`` for people and ``data`` for programs."""
        print(self.json({"schema": SCHEMA, **data}, indent=2) if self.is_json else text.rstrip("\n"))

    def json(self, data: Any, *, indent: int | None = None, file: TextIO | None = None) -> str:
        """``data`` as JSON, in plain ASCII where ``file`` (standard output) could not hold everything as it is."""
        import json

        encoding = (file or sys.stdout).encoding or "utf-8"
        return json.dumps(data, indent=indent, ensure_ascii=encoding.lower() not in {"utf-8", "utf8"}, allow_nan=False)

    @contextmanager
    def to(self, path: Path | None) -> Iterator[TextIO]:
        """The file at ``path``, which is replaced when all is written; without one, standard output."""
        if path is None or str(path) == "-":
            yield sys.stdout
            return
        import io

        from portable_nn.core.atomic import atomic_write

        with atomic_write(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
            yield text
            text.flush()
            text.detach()


def with_conventions(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the options that all have; its argument ``printer`` is made of them."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "printer"]

    @functools.wraps(command)
    def run(*, format: Format, quiet: bool, debug: bool, **options: Any) -> None:
        try:
            command(Printer(format, quiet), **options)
            sys.stdout.flush()
        except BrokenPipeError:  # Who read the output has seen enough; nor may the interpreter complain on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except (PortableNNError, OSError):
            if debug:
                import traceback

                traceback.print_exc()
            raise

    shared = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in _SHARED]
    run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return run


def _shared(
    format: Annotated[Format, typer.Option("--format", help="How to print results.")] = Format.TABLE,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors, and nothing else.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the code an error arose.")] = False,
) -> None:
    """The options of every command."""


_SHARED = tuple(inspect.signature(_shared, eval_str=True).parameters.values())
