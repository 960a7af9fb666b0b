"""Pictures, animations and pages that commands write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(
    plot: Path | None,
    figure: Callable[[], Figure] | None,
    frames: Callable[[], Any] | None = None,
    html: Path | None = None,
    page: Callable[[], bytes] | None = None,
) -> list[tuple[str, Path]]:
    """Write the pictures and the page that are asked for, all or none; return pairs of a verb ("drawn") and a file."""
    from portable_nn.core.plotting import ANIMATION, save, save_animation

    wanted: list[tuple[str, Any, Path | None, Any]] = [
        ("animated", save_animation, plot, frames)
        if plot and plot.suffix.lower() == ANIMATION
        else ("drawn", save, plot, figure),
        ("page", _save_page, html, page),
    ]
    made = [(done, write, path, make()) for done, write, path, make in wanted if path and make]
    for _, write, path, picture in made:
        write(picture, path)
    return [(done, path) for done, _, path, _ in made]


def _save_page(page: bytes, path: Path) -> None:
    from portable_nn.core.atomic import write_whole

    write_whole(path, page)


def written(files: Iterable[tuple[str, Path]]) -> str:
    """The result of ``draw`` as lines of text, with the sizes of the files."""
    from portable_nn.core.text import fields, size

    return fields((done, f"{path} ({size(path.stat().st_size)})") for done, path in files)
