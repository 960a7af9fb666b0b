"""Options that several commands have."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import typer

from portable_nn.core.errors import UsageError
from portable_nn.core.names import AUTO, BATCH_SIZE, PROVIDERS, Engine, EngineKind, Found, OnnxRuntime
from portable_nn.core.plotting import ANIMATION, FORMATS, check_picture


def choice(*flags: str, names: Iterable[str], help: str, after: str = "", hidden: bool = False) -> Any:
    """An option whose value is one of ``names``, for use in ``Annotated[str, …]``.

    ``after`` is ":" where options of a name may follow it, and "," where other names may.
    """
    known = tuple(names)

    def parse(text: str) -> str:
        first, *others = text.split(after) if after else [text]
        for name in [first, *(others if after == "," else [])]:
            if name.strip() not in known:
                raise typer.BadParameter(f"'{name}' is not one of {', '.join(map(repr, known))}")
        return text

    return typer.Option(*flags, parser=parse, metavar=f"<{'|'.join(known)}>", help=help, hidden=hidden)


def pairs_in(flag: str, texts: Iterable[str] | None, form: str, *, may_be_empty: bool = False) -> dict[str, str]:
    """The values of a repeatable option, ``NAME=VALUE``, by name. Raises ``UsageError`` for other than ``form``."""
    found = dict[str, str]()
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not (name and sign and (value or may_be_empty)):
            raise UsageError(f"{flag} needs {form}, not '{text}'")
        if name in found:
            raise UsageError(f"{flag}: '{name}' is given twice")
        found[name] = value
    return found


def listed(texts: Iterable[str] | None) -> list[str]:
    """The values of an option that can be repeated, or be given as ``a,b``; quotes keep a comma: ``"x, y",z``."""
    return [value.strip() for row in csv.reader(texts or (), skipinitialspace=True) for value in row if value.strip()]


def names_option(*, hidden: bool = False) -> Any:
    """The option with names of classes, which ``class_names`` reads."""
    words = "Names of the classes: a,b,c, or a file with one per line or a JSON list."
    return typer.Option("--labels", metavar="NAME,…|FILE", help=words, hidden=hidden)


def class_names(text: str | None) -> Path | list[str] | None:
    """The names that --labels gives, or the file with them."""
    if text is None:
        return None
    is_list = "," in text and not Path(text).is_file()
    return [name.strip() for name in text.split(",")] if is_list else Path(text)


def check_page(path: Path) -> Path:
    """The path. Raises ``UsageError`` unless it ends in .html."""
    if path.suffix.lower() != ".html":
        raise UsageError(f"--html {path}: the name must end in .html")
    return path


def engine_of(text: str) -> Engine:
    """``numpy``, ``onnxruntime``, or that with what it runs on: ``onnxruntime:cuda``. Raises ``UsageError``."""
    engine, _, provider = text.partition(":")
    if not provider:
        return "numpy" if engine == "numpy" else "onnxruntime"
    if engine != "onnxruntime":
        raise UsageError(f"--engine {text}: only onnxruntime takes a device: --engine {engine}")
    if provider not in (AUTO, *PROVIDERS):
        raise UsageError(f"--engine {text}: onnxruntime runs on one of {', '.join((AUTO, *PROVIDERS))}")
    return OnnxRuntime(provider)


Model: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped model's name, a weight file, or any ONNX file.")
]
InputSizes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--in", metavar="SIZES", help="Shape of the input, N,3,224,224, or of an input x, x=1,3,224,224. Repeatable."
    ),
]
EngineName: TypeAlias = Annotated[
    str,
    choice(
        "--engine",
        names=get_args(EngineKind),
        help=f"Engine that runs the model. onnxruntime takes a device, as in onnxruntime:cuda: "
        f"{', '.join((AUTO, *PROVIDERS))}; doctor lists the installed ones.",
        after=":",
    ),
]
Digest: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--digest", metavar="HEX", help="Digest of the model, or SHA-256 of its file: refuse any other.", hidden=True
    ),
]
ClassNames: TypeAlias = Annotated[str | None, names_option()]
Edited: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--edited",
        help="Take an ONNX file of portable-nn whose weights or options were changed on purpose.",
        hidden=True,
    ),
]


@dataclass(frozen=True)
class ReadingOptions:
    """The options to open a model, and to read its data and answers."""

    SUBJECT = "Model"

    task: Annotated[
        Literal["classes", "numbers"] | None,
        typer.Option(help="What the model predicts, if it does not say so itself."),
    ] = None
    labels: ClassNames = None
    engine: EngineName = "onnxruntime"
    polarity: Annotated[
        Found | None,
        typer.Option(
            help="Ink of drawings: light on dark or dark on light. By default the model decides.", hidden=True
        ),
    ] = None
    raw: Annotated[
        bool, typer.Option("--raw", help="Pass arrays to the graph unchanged and unchecked.", hidden=True)
    ] = False
    batch_size: Annotated[int, typer.Option(metavar="N", help="Examples per batch.", hidden=True)] = BATCH_SIZE
    digest: Digest = None
    edited: Edited = False

    def options(self) -> dict[str, Any]:
        """The arguments of the library."""
        others = {name: value for name, value in vars(self).items() if name != "engine"}
        return {**others, "engine": engine_of(self.engine), "labels": class_names(self.labels)}


def written_file(flag: str, metavar: str, help: str, check: Callable[[Path], object]) -> Any:
    """An option with a file to write, whose name is checked at once."""
    return typer.Option(
        flag, metavar=metavar, help=help, writable=True, callback=lambda path: path if path and check(path) else None
    )


Plot: TypeAlias = Annotated[
    Path | None,
    written_file("--plot", "FILE", f"Write a picture: {', '.join(FORMATS)} (needs matplotlib).", check_picture),
]
Moving: TypeAlias = Annotated[
    Path | None,
    written_file(
        "--plot",
        "FILE",
        f"Write a picture: {', '.join(FORMATS)}, or an animation: {ANIMATION} (needs matplotlib).",
        lambda path: check_picture(path, ANIMATION),
    ),
]
Html: TypeAlias = Annotated[
    Path | None,
    written_file(
        "--html",
        "FILE.html",
        "Write a page for the browser; it needs no network.",
        check_page,
    ),
]
