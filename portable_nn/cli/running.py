"""The options of commands that run a model."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from portable_nn.core.names import Engine

EngineName: TypeAlias = Annotated[Engine, typer.Option("--engine", help="What runs the model.")]
Digest: TypeAlias = Annotated[
    str | None,
    typer.Option("--digest", metavar="HEX", help="Refuse any model whose digest or file's SHA-256 is another."),
]
