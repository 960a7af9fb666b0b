"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from portable_nn.core.errors import UsageError
from portable_nn.core.names import AUTO, PROVIDERS, Engine, EngineKind, OnnxRuntime
from portable_nn.core.plotting import FORMATS, check_animation, check_picture


def choice(*flags: str, names: Iterable[str], help: str) -> Any:
    """An option whose value is one of ``names``, for use in ``Annotated[str, …]``."""
    known = tuple(names)

    def parse(text: str) -> str:
        if text not in known:
            raise typer.BadParameter(f"'{text}' is not one of {', '.join(map(repr, known))}")
        return text

    return typer.Option(*flags, parser=parse, metavar=f"<{'|'.join(known)}>", help=help)


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


def _file(flag: str, metavar: str, help: str, check: Callable[[Path], object]) -> Any:
    """An option with a file to write, whose name is checked at once."""
    return typer.Option(flag, metavar=metavar, help=help, writable=True, callback=lambda path: path and check(path))


Plot: TypeAlias = Annotated[
    Path | None,
    _file("--plot", "FILE", f"Write a picture: {', '.join(FORMATS)} (needs matplotlib).", check_picture),
]
Gif: TypeAlias = Annotated[
    Path | None, _file("--gif", "FILE.gif", "Write an animation (needs matplotlib).", check_animation)
]
Html: TypeAlias = Annotated[
    Path | None,
    _file(
        "--html",
        "FILE.html",
        "Write a page for the browser, in which all of it can be changed; it needs no network.",
        check_page,
    ),
]
