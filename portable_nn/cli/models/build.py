"""``portable-nn models build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from portable_nn.cli.conventions import Printer, check_target
from portable_nn.cli.training import OUT, CheckpointFlags, Seed, finish, progress

EXAMPLES = (
    "models build digits",
    "models build digits-mlp --out mine.h5 --seed 1",
    "models build digits-gan --checkpoint run --resume",
)


def command(
    printer: Printer,
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model.")],
    out: Annotated[Path | None, OUT] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the training data; by default those of the recipe.")
    ] = None,
    seed: Seed = 0,
    *,
    checkpoints: CheckpointFlags,
) -> None:
    """Train a shipped model anew, by its recipe.

    The recipe has its own data, network and settings. Without --out, the weight file is NAME.safetensors in the current
    folder.
    """
    from portable_nn.catalog import find_model
    from portable_nn.models.recipes import recipe_of

    model = find_model(name)
    target = out or Path(f"{name}.safetensors")
    check_target(target, printer.force, checkpoints.owns)
    saving: dict[str, Any] = {**checkpoints.options(printer, epochs)}
    passes = {} if epochs is None else {"epochs": epochs}
    trained = recipe_of(model)(seed=seed, progress=progress(printer), **passes, **saving)
    finish(printer, trained.network, trained.history, target, checkpoints, trained.figures)
