"""``portable-nn models build``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from portable_nn.cli.drawing import draw
from portable_nn.cli.options import Plot
from portable_nn.cli.printing import Printer
from portable_nn.cli.targets import check_target
from portable_nn.cli.training import OUT, CheckpointFlags, Seed, finish, progress
from portable_nn.core.errors import UsageError
from portable_nn.core.text import fields, size

EXAMPLES = (
    "models build digits",
    "models build digits-mlp --out mine.h5 --seed 1",
    "models build digits-gan --checkpoint run --resume",
    "models build altimetry-data --hours 10 --out tracks.h5",
    "models build altimetry-data --hours 0.1 --plot echoes.png",
)


def command(
    printer: Printer,
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A shipped model, or altimetry-data.")],
    out: Annotated[Path | None, OUT] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Passes over the training data; by default those of the recipe.")
    ] = None,
    hours: Annotated[float | None, typer.Option(metavar="N", help="Hours of tracks, for altimetry-data.")] = None,
    seed: Seed = 0,
    plot: Plot = None,
    *,
    checkpoints: CheckpointFlags,
) -> None:
    """Train a shipped model anew, by its recipe.

    The recipe has its own data, network and settings. Without --out, the weight file is NAME.safetensors in the current
    folder. altimetry-data is not a model: it writes simulated echoes of a radar altimeter as HDF5. --plot draws the
    losses by epoch, or the echoes.
    """
    from portable_nn.catalog import SIMULATED, find_model

    if name in SIMULATED:
        _simulate(printer, name, out or Path(f"{name}.h5"), hours, seed, plot)
        return
    if hours is not None:
        raise UsageError(f"--hours is for {' and '.join(SIMULATED)}: {name} is a model, which has --epochs")
    from portable_nn.models.recipes import recipe_of
    from portable_nn.training.curves import check_plot

    model = find_model(name)
    target = out or Path(f"{name}.safetensors")
    check_target(target, printer.force, checkpoints.owns)
    check_plot(plot)
    saving: dict[str, Any] = {**checkpoints.options(printer, epochs)}
    passes = {} if epochs is None else {"epochs": epochs}
    trained = recipe_of(model)(seed=seed, progress=progress(printer), **passes, **saving)
    finish(printer, trained.network, trained.history, target, checkpoints, trained.figures, plot)


def _simulate(printer: Printer, name: str, out: Path, hours: float | None, seed: int, plot: Path | None) -> None:
    """Write data that are simulated."""
    from portable_nn.catalog import SIMULATED
    from portable_nn.training.curves import check_plot

    if hours is None:
        raise UsageError(f"{name} needs --hours N: how much of it there is to be")
    if out.suffix.lower() != ".h5":
        raise UsageError(f"--out {out}: {name} is written as HDF5, to a file whose name ends in .h5")
    check_target(out, printer.force)
    check_plot(plot)
    count = import_module(f"{SIMULATED[name]}.files").write(out, hours, seed)
    taken = out.stat().st_size
    drawn = draw(plot, lambda: import_module(f"{SIMULATED[name]}.drawing").sheet(out))
    files = [("saved", out), *drawn]
    text = fields(
        [("echoes", f"{count:,}"), *((done, f"{path} ({size(path.stat().st_size)})") for done, path in files)]
    )
    report = {"path": str(out), "echoes": count, "bytes": taken, "seed": seed}
    printer.result(text, report | ({"plot": str(plot)} if plot else {}))
