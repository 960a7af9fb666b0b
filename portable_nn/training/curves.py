"""The curves of a training: its losses, metrics and learning rate by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portable_nn.core.errors import FileError
from portable_nn.core.plotting import BLACK, BLUE, ORANGE, check_picture, figure, save, style
from portable_nn.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKED: Final = 20
"""Up to so many epochs, each is a dot."""

STEEP: Final = 30.0
"""Losses whose largest is so many times the smallest get a logarithmic axis."""


def check_plot(path: str | Path | None) -> Path | None:
    """``path``, where a picture can be drawn after the training.

    Raises ``UsageError`` for another suffix, ``FileError`` where there is no folder, ``MissingPackageError`` without
    matplotlib.
    """
    if path is None:
        return None
    found = check_picture(Path(path))
    if not found.absolute().parent.is_dir():
        raise FileError(found, f"cannot be written: there is no folder '{found.absolute().parent}'")
    with style():
        return found


def draw_curves(history: History, path: Path | None) -> None:
    """Draw the curves of a training into a file, where one is wanted and there is an epoch to show."""
    if path is not None and history.rows:
        save(curves(history), path)


@style()
def curves(history: History) -> Figure:
    """A panel for the loss, one for each metric, and one for the learning rate where it changes."""
    panels = _panels(history)
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    sheet = figure(4.2 * across + 0.6, 3.1 * down + 0.4)
    axes = sheet.subplots(down, across, squeeze=False).ravel()
    for each, name in zip(axes, panels, strict=False):
        _panel(each, history, name)
    for each in axes[len(panels) :]:
        each.set_axis_off()
    sheet.suptitle(_title(history), fontsize=11)
    sheet.tight_layout()
    return sheet


def _panels(history: History) -> list[str]:
    """The names of the panels: of columns without ``val_``."""
    found = dict.fromkeys(
        name.removeprefix("val_") for name in history.rows[0] if name not in ("epoch", "learning_rate")
    )
    return [*found, *(["learning_rate"] if len(set(history["learning_rate"])) > 1 else [])]


def _title(history: History) -> str:
    best = f", the weights of epoch {history.best_epoch} kept" if history.best_epoch else ""
    ends = {"early": ", stopped early", "callback": ", stopped by a callback", "interrupted": ", interrupted"}
    count = len(history.rows)
    return f"{count:,} epoch{'s' * (count != 1)}{ends.get(history.stopped, '')}{best}"


def _panel(axes: Axes, history: History, name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = [("training", name, BLUE, "-"), ("validation", f"val_{name}", ORANGE, "--")]
    shown = [
        (label, history[column], colour, dash) for label, column, colour, dash in lines if column in history.rows[0]
    ]
    epochs = history["epoch"]
    for _, values, colour, dash in shown:
        axes.plot(epochs, values, dash, color=colour, marker="o" if len(epochs) <= MARKED else None, markersize=3)
    every = [value for _, values, *_ in shown for value in values]
    if name.endswith("loss") and min(every) > 0 and max(every) > STEEP * min(every):
        axes.set_yscale("log")
    axes.set_title(name.replace("_", " "), fontsize=10, loc="left")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.margins(x=0.02)
    if history.best_epoch and name != "learning_rate":
        axes.axvline(history.best_epoch, color=BLACK, linewidth=0.8, alpha=0.4)
    if name != "learning_rate":
        _label(axes, epochs[-1], shown)


def _label(axes: Axes, last: float, shown: Sequence[tuple[str, list[float], str, str]]) -> None:
    """Name each line at its end; where ends are near, the names stand apart."""
    axes.figure.canvas.draw()
    heights = [axes.transData.transform((last, values[-1]))[1] for _, values, *_ in shown]
    shifts = [0.0] * len(shown)
    gap = 12 * axes.figure.dpi / 72
    if len(shown) == 2 and abs(heights[0] - heights[1]) < gap:
        upper = int(heights[1] >= heights[0])
        missing = (gap - abs(heights[0] - heights[1])) / 2 * 72 / axes.figure.dpi
        shifts[upper], shifts[1 - upper] = missing, -missing
    for (label, values, colour, _), shift in zip(shown, shifts, strict=True):
        axes.annotate(
            label, (last, values[-1]), (5, shift), textcoords="offset points", color=colour, fontsize=8.5, va="center",
            annotation_clip=False,
        )  # fmt: skip
