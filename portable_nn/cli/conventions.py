"""Conventions of all commands: ``--format``, ``--out``, ``--force``, ``--timeout``, ``--quiet`` and ``--debug``.

A module with ``ROWS = True`` has a result of rows, which is written as CSV too; with ``LINES = True`` also as JSON
lines. One with ``NUMBERS = True`` has ``--digits``, with which ``core.text.rounded`` and ``percent`` write them.
A command may also take groups of options: a parameter whose type is a dataclass is expanded into one option per field.
Where it has a method ``owns``, that says which existing files the command may replace unasked: those that the training
has written that it resumes.
Options that name files to be written are declared ``writable=True``: nothing is overwritten without ``--force``, a file
that the command reads not even with it, and a file that cannot be written is reported before the work begins.
"""

from __future__ import annotations

import csv
import functools
import inspect
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, TypeAlias

import typer
import typer.models

from portable_nn.cli.colours import highlighted
from portable_nn.cli.timing import limit_time
from portable_nn.core.errors import FileError, PortableNNWarning, UsageError
from portable_nn.core.names import AUTO, PROVIDERS, Engine, EngineKind, OnnxRuntime
from portable_nn.core.plotting import FORMATS, check_animation, check_picture
from portable_nn.core.text import SIGNIFICANT, either, looking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA: Final = 1
"""The version of the JSON output: it changes when a field is removed or changes its meaning."""

FORMS: Final = {"table": ".txt", "json": ".json", "jsonl": ".jsonl", "csv": ".csv"}
"""The forms of a result, and the suffix of a file in that form."""

NEEDED: Final = {"jsonl": "LINES", "csv": "ROWS"}
"""What a module must say to have a form."""

MOST_DIGITS: Final = 17
"""The significant digits that tell all numbers of float64 apart."""

LONGEST_NOTE: Final = 500
"""Characters of a note that are printed."""

INTERRUPTED: Final = 130
"""The exit code that shells give a process that Ctrl-C ended: 128 and SIGINT."""

BROKEN_PIPE: Final = 141
"""The exit code that shells give a process that SIGPIPE ended: 128 and its number."""

LARGEST: Final = 2**63 - 1
"""The largest whole number that arrays and files can hold."""

DASH: Final = "-"
"""The file that is standard input or output."""

Rows: TypeAlias = Callable[[], Iterable[Sequence[Any]]]
"""Makes the rows of CSV, the headings first."""


class Printer:
    """Where the output of a command goes: results to standard output or ``out``, everything else to standard error."""

    def __init__(self, form: str = "table", out: Path | None = None, quiet: bool = False, force: bool = False) -> None:
        self.form, self.out, self.quiet, self.force = form, out, quiet, force

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

            print(highlighted(printable(text), sys.stderr), file=sys.stderr)

    def notes(self, texts: Iterable[str]) -> None:
        """Print several; of a long one, such as the names of a hundred nodes, the beginning."""
        for text in texts:
            self.note(text if len(text) <= LONGEST_NOTE else f"{text[:LONGEST_NOTE]}… (all of it: --format json)")

    def result(self, text: str, data: Mapping[str, Any], rows: Rows | None = None) -> None:
        """Write a result: ``text`` for people, ``data`` for programs, or ``rows`` as CSV, with ``text`` as notes."""
        with self.output() as file:
            if self.form == "json":
                file.write(self.json({"schema": SCHEMA, **data}, indent=2, file=file) + "\n")
            elif self.form == "csv" and rows:
                csv.writer(file, lineterminator="\n").writerows(rows())
                for line in text.splitlines():
                    self.note(line)
            else:
                file.write(text.rstrip("\n") + "\n")

    def json(self, data: Any, *, file: TextIO, indent: int | None = None) -> str:
        """``data`` as JSON, in plain ASCII where ``file`` (standard output) cannot hold all characters."""
        import json

        return json.dumps(data, indent=indent, ensure_ascii=self.is_ascii(file), allow_nan=False)

    def is_ascii(self, file: TextIO) -> bool:
        """Whether ``file`` cannot hold all characters."""
        return (file.encoding or "utf-8").lower() not in {"utf-8", "utf8"}

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


def choice(*flags: str, names: Iterable[str], help: str) -> Any:
    """An option whose value is one of ``names``, for use in ``Annotated[str, …]``."""
    known = tuple(names)

    def parse(text: str) -> str:
        if text not in known:
            raise typer.BadParameter(f"'{text}' is not one of {', '.join(map(repr, known))}")
        return text

    return typer.Option(*flags, parser=parse, metavar=f"<{'|'.join(known)}>", help=help)


def check_target(path: Path, force: bool, owns: Callable[[Path], bool] = lambda path: False) -> None:
    """Raise ``UsageError`` or ``FileError`` where the file ``path`` may not or cannot be written.

    An existing file is replaced with ``force``, or where ``owns`` says that it is the command's own.
    """
    if str(path) == DASH:
        return
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is {'a folder' if path.is_dir() else 'no ordinary file'}: give the name of a file")
    if path.exists() and not force and not owns(path):
        raise UsageError(f"{path} exists already: --force replaces it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileError(path, f"cannot be written: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise FileError(path, "cannot be written: its folder is read-only")


Model: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
]
InputSizes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--in", metavar="SIZES", help="Shape of the input, N,3,224,224, or of an input x, x=1,3,224,224. Repeatable."
    ),
]
EngineName: TypeAlias = Annotated[EngineKind, typer.Option("--engine", help="Engine that runs the model.")]
ProviderName: TypeAlias = Annotated[
    str | None,
    choice(
        "--provider",
        names=(AUTO, *PROVIDERS),
        help="What onnxruntime runs the model on; doctor lists what is installed.  [default: cpu]",
    ),
]
Digest: TypeAlias = Annotated[
    str | None,
    typer.Option("--digest", metavar="HEX", help="Digest of the model, or SHA-256 of its file: refuse any other."),
]
Edited: TypeAlias = Annotated[
    bool,
    typer.Option("--edited", help="Take an ONNX file of portable-nn whose weights or options were changed on purpose."),
]
Plot: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        help=f"Write a picture: {', '.join(FORMATS)} (needs matplotlib).",
        writable=True,
        callback=lambda path: path and check_picture(path),
    ),
]
Gif: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--gif",
        metavar="FILE.gif",
        help="Write an animation (needs matplotlib).",
        writable=True,
        callback=lambda path: path and check_animation(path),
    ),
]

Html: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE.html",
        help="Write a page for the browser, in which all of it can be changed; it needs no network.",
        writable=True,
        callback=lambda path: path and check_page(path),
    ),
]


def check_page(path: Path) -> Path:
    """The path. Raises ``UsageError`` unless it ends in .html."""
    if path.suffix.lower() != ".html":
        raise UsageError(f"--html {path}: the name must end in .html")
    return path


def engine_of(engine: EngineKind, provider: str | None) -> Engine:
    """The engine with its options. Raises ``UsageError`` for a provider of numpy."""
    if provider is None:
        return engine
    if engine != "onnxruntime":
        raise UsageError(f"--provider is what onnxruntime runs on: leave it out, or --engine {engine}")
    return OnnxRuntime(provider)


def draw(
    plot: Path | None,
    figure: Callable[[], Figure],
    gif: Path | None = None,
    frames: Callable[[], Any] | None = None,
    html: Path | None = None,
    page: Callable[[], bytes] | None = None,
) -> list[tuple[str, Path]]:
    """Write the pictures and the page that are asked for, all or none; return pairs of a verb ("drawn") and a file."""
    from portable_nn.core.plotting import save, save_animation

    wanted: list[tuple[str, Any, Path | None, Any]] = [
        ("drawn", save, plot, figure),
        ("animated", save_animation, gif, frames),
        ("page", _save_page, html, page),
    ]
    made = [(done, write, path, make()) for done, write, path, make in wanted if path]
    for _, write, path, picture in made:
        write(picture, path)
    return [(done, path) for done, _, path, _ in made]


def _save_page(page: bytes, path: Path) -> None:
    from portable_nn.core.atomic import atomic_write

    with atomic_write(path) as file:
        file.write(page)


def written(files: Iterable[tuple[str, Path]]) -> str:
    """The result of ``draw`` as lines of text, with the sizes of the files."""
    from portable_nn.core.text import fields, size

    return fields((done, f"{path} ({size(path.stat().st_size)})") for done, path in files)


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
    targets = [option.name for option in options if getattr(_info(option), "writable", False)]

    @functools.wraps(command)
    def run(*, format: str | None, force: bool, timeout: float | None, quiet: bool, debug: bool, **given: Any) -> None:
        with _reporting(flags, debug):
            _check_numbers({"--timeout": timeout, **{flags[name]: value for name, value in given.items()}})
            if timeout is not None:
                limit_time(timeout)
            wanted = {flags[name]: given[name] for name in targets if given[name] is not None}
            _check_not_read(wanted, {flags[name]: value for name, value in given.items() if name not in targets})
            out = None if has_out else given.pop("out")
            for name, kind in groups.items():
                given[name] = kind(**{field: given.pop(field) for field in kind.__dataclass_fields__})
            owners = [given[name].owns for name in groups if hasattr(given[name], "owns")]
            _check_targets(wanted, force, lambda path: any(owns(path) for owns in owners))
            printer = Printer(_form(format, out, forms, (*arrays, *tables)), out, quiet, force)
            digits = given.pop("digits", None)
            if digits is not None and not 1 <= digits <= MOST_DIGITS:
                raise UsageError(f"--digits must be from 1 to {MOST_DIGITS}, not {digits}")
            with _warnings_as_notes(printer), looking(printer.width, digits):
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


def _check_not_read(targets: Mapping[str, Path], others: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` where a file to be written is one of those that the ``others``, options by flag, name."""
    existing = {flag: path for flag, path in targets.items() if path.is_file()}
    if not existing:
        return
    from portable_nn.catalog import CALLED

    for flag, path in existing.items():
        for other, value in others.items():
            for name in value if isinstance(value, list) else [value]:
                read = CALLED[name].weights if name in CALLED else name
                if isinstance(read, str | Path) and _is_same(path, read):
                    raise UsageError(f"{flag} {path} is a file to read, {other} {name}: write to another one")


def _is_same(path: Path, other: str | Path) -> bool:
    try:
        found = os.fstat(0) if str(other) == DASH else Path(other).stat()
        return os.path.samestat(path.stat(), found)
    except (OSError, ValueError):  # The other text names no file, or standard input is closed.
        return False


def _check_targets(targets: Mapping[str, Path], force: bool, owns: Callable[[Path], bool]) -> None:
    """Raise ``UsageError`` or ``FileError`` where the files that options name cannot all be written."""
    seen: dict[Path, str] = {}
    for flag, path in targets.items():
        if str(path) in ("", "."):
            raise UsageError(f"{flag} needs the name of a file")
        check_target(path, force, owns)
        other = seen.setdefault(Path(os.path.realpath(path)), flag)
        if other != flag:
            raise UsageError(f"{other} and {flag} name the same file, {path}")


def _options(command: Callable[..., None]) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """The options of a command, and the groups among its parameters."""
    options: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind: Any = parameter.annotation
        if hasattr(kind, "__dataclass_fields__"):
            groups[name] = kind
            options += inspect.signature(kind, eval_str=True).parameters.values()
        elif name != "printer":
            options.append(parameter)
    return options, groups


def _info(option: inspect.Parameter) -> Any:
    """The ``typer.Option`` or ``typer.Argument`` of an option."""
    return option.annotation.__metadata__[0]


def _flag(option: inspect.Parameter) -> str:
    """How the command line spells an option; an argument is spelled as its metavar."""
    info = _info(option)
    if isinstance(info, typer.models.ArgumentInfo):
        return str(info.metavar)
    spelled = [
        info.default,
        *(info.param_decls or ()),
        "--" + option.name.replace("_", "-"),
    ]  # typer's first is default.
    return next(text for text in map(str, spelled) if text.startswith("--"))


SPELLED: Final = re.compile(
    r"""(?P<given>(?<![\w'.(-])[a-z]\w*)=(?:'(?P<text>[^']*)'|(?P<bare>[\w.+-]*\w)?)(?![\w(=])"""
    r"|^(?P<first>[a-z]\w*)(?=: | (?:must|is|was|needs|has|gives|names|watches)\b)"
    r"|(?P<name>(?<![\w'.-])[a-z]+(?:_[a-z]+)+)(?![\w'.(-])"
)
"""How messages of the library spell an argument: loss='huber', until=; at the beginning; and names with a _."""


def in_options(message: str, flags: Mapping[str, str]) -> str:
    """A message of the library with the arguments as the command line spells them, by ``flags``: ``--loss huber``."""

    def spelled(found: re.Match[str]) -> str:
        flag = flags.get(found["given"] or found["first"] or found["name"])
        if flag is None or (found["given"] and not flag.startswith("--")):
            return found[0]
        value = found["text"] or found["bare"]
        return flag if value in {None, "True"} else f"{flag} {value}"

    return SPELLED.sub(spelled, message)


@contextmanager
def _reporting(flags: Mapping[str, str], debug: bool) -> Iterator[None]:
    """Name the option in a ``UsageError`` such as "batch_size must be …", and print the traceback to debug."""
    try:
        yield
    except BrokenPipeError:  # The reader has closed the pipe; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except Exception as error:
        if isinstance(error, UsageError):
            error.args = (in_options(str(error), flags),)
        if debug:
            import traceback

            traceback.print_exc()
        raise


@contextmanager
def _warnings_as_notes(printer: Printer) -> Iterator[None]:
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


def _form(form: str | None, out: Path | None, forms: Mapping[str, str], own: Collection[str]) -> str:
    """The form of the result: that of ``--format``, or of the suffix of ``--out``; none of ``own``, which the command
    writes itself. Raises ``UsageError``."""
    if out is None or str(out) == DASH or (out.suffix.lower() in own and form is None):
        return form or "table"
    found = next((name for name, suffix in forms.items() if suffix == out.suffix.lower()), None)
    if found is None:
        raise UsageError(f"--out {out}: the name must end in {_listed(forms)}, which sets the format")
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
        "timeout": typer.Option(
            "--timeout", metavar="SECONDS", help="End the command after so long: a model may compute for ever."
        ),
        "quiet": typer.Option("--quiet", "-q", help="Print only the result and errors."),
        "debug": typer.Option("--debug", help="Print the traceback of an error."),
    }
    digits = typer.Option(
        "--digits",
        metavar="N",
        help=f"Significant digits of numbers in tables, {SIGNIFICANT} by default; other formats have all.",
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
