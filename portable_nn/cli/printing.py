"""The output of commands: results to standard output or a file, and notes to standard error."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from portable_nn.cli.colours import highlighted
from portable_nn.cli.spelling import without_python
from portable_nn.core.csv_writing import csv_text
from portable_nn.core.errors import PortableNNWarning, TakenError

SCHEMA: Final = 1
"""The version of the JSON output: it changes when a field is removed or changes its meaning."""

LONGEST_NOTE: Final = 500
"""Characters of a note that are printed."""

NAMES: Final = re.compile(r"((?:'[^']*', ){5})'.{40,}", re.DOTALL)
"""The first five of a long list of names, and the others."""

STEPS: Final = re.compile(r"(prepared outside the file: ).{60,}(; the file takes )", re.DOTALL)
"""Many steps of preprocessing."""

DASH: Final = "-"
"""The file that is standard input or output."""

Rows: TypeAlias = Callable[[], Iterable[Sequence[Any]]]
"""Makes the rows of CSV, the headings first."""


class Printer:
    """The destination of a command's output: results to standard output or ``out``, everything else to standard
    error."""

    def __init__(self, form: str = "table", out: Path | None = None, quiet: bool = False, force: bool = False) -> None:
        self.form, self.out, self.quiet, self.force = form, out, quiet, force
        self.taken: dict[str, TakenError] = {}

    @property
    def width(self) -> int | None:
        """The width of the terminal that shows the result; None where nothing limits the lines."""
        if self.out or not sys.stdout.isatty():
            return None
        import shutil

        return shutil.get_terminal_size().columns

    def note(self, text: str) -> None:
        """Print something that is not a result."""
        if not self.quiet:
            from portable_nn.core.text import printable

            print(highlighted(printable(without_python(text)), sys.stderr), file=sys.stderr)

    def notes(self, texts: Iterable[str]) -> None:
        """Print several; of a long list, such as the names of a hundred nodes, the first ones."""
        for text in (STEPS.sub(r"\1the steps that inspect lists\2", text) for text in texts):
            begun = NAMES.sub(r"\1", text)[:LONGEST_NOTE]
            self.note(text if begun == text else f"{begun}… (all of it: --format json)")

    def result(self, text: str, data: Mapping[str, Any], rows: Rows | None = None) -> None:
        """Write a result: ``text`` for people, ``data`` for programs, or ``rows`` as CSV, with ``text`` as notes."""
        with self.output() as file:
            if self.form == "json":
                file.write(self.json({"schema": SCHEMA, **data}, indent=2, file=file) + "\n")
            elif self.form == "csv" and rows:
                file.write(csv_text(rows()))
                for line in text.splitlines():
                    self.note(line)
            else:
                file.write(text.rstrip("\n") + "\n")

    def json(self, data: Any, *, file: TextIO, indent: int | None = None) -> str:
        """``data`` as JSON, in plain ASCII where ``file`` (standard output) cannot hold all characters."""
        import json

        return json.dumps(data, indent=indent, ensure_ascii=self.is_ascii(file), allow_nan=False)

    def is_ascii(self, file: TextIO) -> bool:
        """True if ``file`` cannot hold all characters."""
        return (file.encoding or "utf-8").lower() not in {"utf-8", "utf8"}

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Go on where another program has taken the name of a file that is written in the block, and end with that."""
        try:
            yield
        except TakenError as error:
            if error.kept is None:
                raise
            self.taken[error.path] = error

    def placed(self, path: Path) -> Path:
        """The file that was written: ``path``, or the one beside it."""
        return self.taken[str(path)].kept or path if str(path) in self.taken else path

    def output(self) -> Any:
        """The file that a result is written to, as a context."""
        return self.to(self.out)

    @contextmanager
    def to(self, path: Path | None) -> Iterator[TextIO]:
        """The file at ``path``, which is replaced when everything is written; without one, standard output."""
        if path is None or str(path) == DASH:
            yield sys.stdout
            return
        import io

        from portable_nn.core.atomic import atomic_write

        with atomic_write(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
            yield text
            text.flush()
            text.detach()


@contextmanager
def warnings_as_notes(printer: Printer) -> Iterator[None]:
    """Print warnings of this package as notes, each once."""
    seen = set[str]()

    def show(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if not issubclass(category, PortableNNWarning):
            shown(message, category, *where, **options)
        elif str(message) not in seen:
            seen.add(str(message))
            printer.note(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", PortableNNWarning)
        shown, warnings.showwarning = warnings.showwarning, show
        yield
