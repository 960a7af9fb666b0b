"""The style of all figures of this package, and how they are written: atomically and reproducibly."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from portable_nn.core.errors import MissingPackageError, PortableNNWarning, UsageError, warn
from portable_nn.core.text import either, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

BLACK: Final = "#000000"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
PALETTE: Final = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, YELLOW, BLACK)
"""Colours that colour-blind people can tell apart. Source: Okabe and Ito, "Color universal design" (2008)."""

STYLE: Final[dict[str, Any]] = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.family": "DejaVu Sans",  # It comes with matplotlib: a picture is the same on every machine.
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 1.2,
    "svg.hashsalt": "portable-nn",
}

FORMATS: Final[dict[str, dict[str, None]]] = {
    ".png": {"Software": None},
    ".svg": {"Creator": None, "Date": None},
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
"""The suffixes of figures, and the metadata to leave out of such a file because they would change its bytes."""

ANIMATION: Final = ".gif"

PAUSE: Final = 1500
"""Milliseconds for which the last frame of an animation is shown."""


def tint(colour: str, share: float) -> str:
    """``share`` of a colour, the rest white."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02X}" for part in parts)


COLOURS: Final = 256
"""The most colours that a GIF can have."""

ALIKE: Final = 16
"""The largest difference, in each channel (0 to 255), of two colours that an animation merges into one."""


@contextmanager
def style() -> Iterator[None]:
    """The style of this package for what is drawn and saved in the block, or in a function: ``@style()``.

    The user's ``matplotlibrc`` has no influence. Raises ``MissingPackageError`` without matplotlib.
    """
    try:
        import matplotlib.style
        from cycler import cycler
    except ImportError as error:
        raise MissingPackageError("matplotlib", "a picture", "plot") from error
    with (
        matplotlib.style.context(["default", {**STYLE, "axes.prop_cycle": cycler(color=PALETTE)}]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # ``save`` says it once, of all characters.
        yield


@style()
def figure(width: float, height: float) -> Figure:
    """An empty figure of ``width`` by ``height`` inches, not registered with ``pyplot``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return FigureCanvasAgg(Figure(figsize=(width, height))).figure


def put_on(canvas: Any, artists: Iterable[Any]) -> None:
    """Draw artists on the canvas as it is, and remove them from the figure."""
    for artist in artists:
        artist.draw(canvas.get_renderer())
        artist.remove()


def drawn(text: str) -> str:
    """A text of the user as it is drawn: as it is, and no formula."""
    return printable(text).replace("$", r"\$")


def check_picture(path: Path, *others: str) -> Path:
    """``path``, whose suffix must be one of ``FORMATS`` or of ``others``. Raises ``UsageError``."""
    if path.suffix.lower() not in (*FORMATS, *others):
        raise UsageError(f"{path}: the name of a picture ends in {either((*FORMATS, *others))}")
    return path


def check_animation(path: Path) -> Path:
    """``path``, whose suffix must be ``ANIMATION``. Raises ``UsageError``."""
    if path.suffix.lower() != ANIMATION:
        raise UsageError(f"{path}: the name of an animation ends in {ANIMATION}")
    return path


@style()
def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix of ``path``. Raises ``UsageError`` and ``FileError``."""
    from portable_nn.core.atomic import atomic_write

    suffix = check_picture(Path(path)).suffix.lower()
    with atomic_write(path) as file:
        figure.savefig(file, format=suffix[1:], metadata=FORMATS[suffix])
    if lacking := _undrawn(figure):
        warn(f"{path}: drawn as boxes, as the font has no such characters: {lacking}", PortableNNWarning)


def _undrawn(figure: Figure) -> str:
    """The characters in the texts of a figure that its font does not have."""
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

    font = get_font(findfont(FontProperties(family=STYLE["font.family"])))
    texts = {character for text in figure.findobj(Text) for character in text.get_text()}
    return " ".join(sorted(each for each in texts if each.isprintable() and not font.get_char_index(ord(each))))


def save_animation(frames: Sequence[Image], path: str | Path) -> None:
    """Write frames as a GIF that loops for ever, in some 20 seconds each time, or faster where there are few frames.

    Raises ``UsageError`` and ``FileError``.
    """
    from PIL.Image import Dither

    from portable_nn.core.atomic import atomic_write

    check_animation(Path(path))
    # One palette for all, and no dithering: what does not change between two frames takes no space.
    colours = _commonest_colours(frames[-1])
    first, *others = [frame.quantize(palette=colours, dither=Dither.NONE) for frame in frames]
    milliseconds = min(500, 20_000 // len(frames))
    durations = [milliseconds] * len(others) + [PAUSE]
    with atomic_write(path) as file:
        first.save(file, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def _commonest_colours(picture: Image) -> Image:
    """A palette of the most frequent colours of a picture, unchanged; of similar ones (``ALIKE``), the first."""
    from PIL import Image

    found: list[tuple[int, Any]] = picture.getcolors(picture.width * picture.height) or []
    kept: list[tuple[int, ...]] = []
    for _, colour in sorted(found, reverse=True):
        if all(max(abs(a - b) for a, b in zip(colour, other, strict=True)) > ALIKE for other in kept):
            kept.append(colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in kept[:COLOURS] for part in colour])
    return palette
