"""``portable-nn models build``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from portable_nn.cli.conventions import Printer, check_target
from portable_nn.cli.training import OUT, Checkpoints, Seed, Trained, finish, progress

EXAMPLES = (
    "models build digits",
    "models build digits-mlp --out mine.h5 --seed 1",
    "models build digits-gan --checkpoint run --resume",
)


def command(
    printer: Printer,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped model.")],
    out: Annotated[Path | None, OUT] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the training data; by default those of the recipe.")
    ] = None,
    seed: Seed = 0,
    *,
    checkpoints: Checkpoints,
) -> None:
    """Train a shipped model anew, by its recipe.

    The recipe has its own data, network and settings. Without --out, the weight file is NAME.safetensors in the current
    folder.
    """
    from portable_nn.catalog import find_model
    from portable_nn.models.recipes import recipe_of

    model = find_model(name)
    target = out or Path(f"{name}.safetensors")
    check_target(target, printer.force)
    options: dict[str, Any] = {"seed": seed, "progress": progress(printer), **checkpoints.options()}
    checkpoints.announce(printer, epochs)
    if epochs is not None:
        options["epochs"] = epochs
    trained = recipe_of(model)(**options)
    finish(printer, Trained(trained.network, trained.history, trained.figures), target, checkpoints)
