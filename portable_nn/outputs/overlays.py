"""Pictures with the objects and areas that a model found in them."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.plotting import PALETTE
from portable_nn.core.text import percent, printable
from portable_nn.outputs.scenes import Areas, Boxes, Scene
from portable_nn.preprocessing.placement import Placement

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST: Final = 480
LARGEST: Final = 1600
"""The longest side of a picture that is drawn on: smaller ones are enlarged, so that text can be read."""

LONGEST: Final = 40
"""The characters of a name that are shown."""

MOST_NAMED: Final = 12
"""The most areas that a legend names, the largest first."""


def overlay(pixels: NDArray[Any], scene: Scene, place: Placement, names: Sequence[str]) -> Image:
    """A picture with boxes, and masks if there are any; or with coloured areas and a legend.

    Args:
        pixels: the picture, (height, width, 3), 0 to 255.
        scene: what was found in the frame that the model was given.
        place: where the picture is in that frame.
        names: the names of the classes; those without one are called by their number.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    factor = max(1.0, SMALLEST / max(height, width)) if max(height, width) < LARGEST else LARGEST / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    canvas = Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)
    if isinstance(scene, Boxes):
        if scene.masks:
            canvas = _with_masks(canvas, scene, place)
        scale = np.array([size[0] / width, size[1] / height] * 2)
        return _with_boxes(canvas, place.back(scene.corners) * scale, scene, names)
    return _with_areas(canvas, areas_in_picture(scene, place), names)


def areas_in_picture(areas: Areas, place: Placement) -> NDArray[np.int64]:
    """The class of each pixel of the picture, (height, width): -1 where the model did not see it."""
    found = np.full(place.picture, -1, np.int64)
    ticks, inside = list[NDArray[np.intp]](), list[NDArray[np.bool_]]()
    for axis in (0, 1):
        spots = (np.arange(place.picture[axis]) + 0.5) * place.scale[axis] + place.offset[axis]
        inside.append((spots >= 0) & (spots < place.frame[axis]))
        cells = np.floor(spots * areas.classes.shape[axis] / place.frame[axis]).astype(np.intp)
        ticks.append(cells.clip(0, areas.classes.shape[axis] - 1))
    values = areas.classes[np.ix_(*ticks)]
    seen = np.outer(*inside).astype(bool)
    found[seen] = values[seen]
    return found


def shares(classes: NDArray[np.int64]) -> list[tuple[int, float]]:
    """The classes of a picture that was seen, and the share of each, the largest first."""
    numbers, counts = np.unique(classes[classes >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(numbers[place]), float(counts[place] / counts.sum())) for place in order]


def called(number: int, names: Sequence[str]) -> str:
    """The name of a class."""
    name = printable(names[number]) if 0 <= number < len(names) else f"class {number}"
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a class: one that colour-blind people can tell apart, as far as there are enough."""
    if 0 <= number < len(PALETTE) - 1:
        text = PALETTE[number]
        return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
    hue = number * 0.61803398875 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (number // 7 % 2), 0.95 - 0.3 * (number // 3 % 2))
    return round(red * 255), round(green * 255), round(blue * 255)


def _text_size(canvas: Image) -> int:
    return max(13, round(max(canvas.size) / 45))


def _with_masks(canvas: Image, boxes: Boxes, place: Placement) -> Image:
    """Each object tinted within a line, the most certain above the others."""
    from PIL import Image, ImageChops, ImageFilter

    assert boxes.masks
    wide = 2 * max(1, round(max(canvas.size) / 500)) + 1
    for number in reversed(range(len(boxes.corners))):
        (top, left), mask = boxes.masks.in_picture(number, place)
        if not mask.any():
            continue
        whole = np.zeros(place.picture, np.uint8)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask * np.uint8(255)
        inside = Image.fromarray(whole).resize(canvas.size, Image.Resampling.NEAREST)
        edge = ImageChops.subtract(inside, inside.filter(ImageFilter.MinFilter(wide)))
        strength = Image.composite(Image.new("L", canvas.size, 255), inside.point(lambda level: level * 9 // 20), edge)
        canvas.paste(colour(int(boxes.classes[number])), (0, 0), strength)
    return canvas


def _with_boxes(canvas: Image, corners: NDArray[np.float64], boxes: Boxes, names: Sequence[str]) -> Image:
    """The most certain box lies above the others; a name that would cover that of a more certain one is left out."""
    from PIL import ImageDraw, ImageFont

    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(_text_size(canvas))
    line = max(2, round(max(canvas.size) / 300))
    paints = [colour(int(number)) for number in boxes.classes]
    for place in reversed(range(len(corners))):
        left, top, right, bottom = (float(edge) for edge in corners[place])
        edges = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(edges, outline=paints[place], width=line)
    taken = list[tuple[float, float, float, float]]()
    for place in range(len(corners)):
        text = f"{called(int(boxes.classes[place]), names)} {percent(float(boxes.scores[place]))}"
        wide, high = (edge + 6 for edge in pen.textbbox((0, 0), text, font=font)[2:])
        left, top = float(corners[place, 0]), float(corners[place, 1])
        x = min(max(0.0, left), max(0.0, canvas.width - wide))
        y = top - high if top >= high else min(top, canvas.height - high)
        if any(x < other[2] and x + wide > other[0] and y < other[3] and y + high > other[1] for other in taken):
            continue
        taken.append((x, y, x + wide, y + high))
        pen.rectangle(taken[-1], fill=paints[place])
        pen.text((x + 3, y + 2), text, font=font, fill=_legible(paints[place]))
    return canvas


def _legible(paint: tuple[int, int, int]) -> str:
    """Black or white, whichever stands out."""
    return "black" if 0.299 * paint[0] + 0.587 * paint[1] + 0.114 * paint[2] > 140 else "white"


def _with_areas(canvas: Image, classes: NDArray[np.int64], names: Sequence[str]) -> Image:
    """Areas are tinted, in grey so that each has its colour; class 0, most often the background, is left as it is.

    What the model did not see is dimmed.
    """
    from PIL import Image

    tint = np.zeros((*classes.shape, 4), np.uint8)
    for number in np.unique(classes):
        if number != 0:
            tint[classes == number] = (*colour(int(number)), 150) if number > 0 else (0, 0, 0, 170)
    layer = Image.fromarray(tint).resize(canvas.size, Image.Resampling.NEAREST)
    painted = Image.fromarray((np.asarray(layer)[..., 3] > 0).astype(np.uint8) * 255)
    base = Image.composite(canvas.convert("L").convert("RGB"), canvas, painted)
    made = Image.alpha_composite(base.convert("RGBA"), layer).convert("RGB")
    return _with_legend(made, shares(classes), names, bool((classes < 0).any()))


def _with_legend(canvas: Image, found: Sequence[tuple[int, float]], names: Sequence[str], cut: bool) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    size = _text_size(canvas)
    font = ImageFont.load_default(size)
    rows = [(colour(n) if n else None, f"{called(n, names)} {percent(share)}") for n, share in found[:MOST_NAMED]]
    if len(found) > MOST_NAMED:
        rows.append((None, f"and {len(found) - MOST_NAMED} more"))
    if cut:
        rows.append(((70, 70, 70), "not seen"))
    measure = ImageDraw.Draw(canvas)
    cell = max(math.ceil(measure.textlength(text, font=font)) for _, text in rows) + 3 * size
    columns = max(1, canvas.width // cell)
    line = round(1.6 * size)
    height = line * math.ceil(len(rows) / columns) + size // 2
    sheet = Image.new("RGB", (max(canvas.width, cell), canvas.height + height), "white")
    sheet.paste(canvas, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for place, (paint, text) in enumerate(rows):
        x, y = size // 2 + cell * (place % columns), canvas.height + size // 3 + line * (place // columns)
        pen.rectangle((x, y, x + size, y + size), fill=paint or "white", outline="black")
        pen.text((x + round(1.5 * size), y - size // 8), text, font=font, fill="black")
    return sheet


def sheet_of(pictures: Sequence[tuple[str, Image]]) -> Image:
    """Several pictures side by side, each under its name; one alone as it is."""
    from PIL import Image, ImageDraw, ImageFont

    if len(pictures) == 1:
        return pictures[0][1]
    columns, side, title, gap = math.ceil(math.sqrt(len(pictures))), 520, 30, 12
    small = [picture.copy() for _, picture in pictures]
    for picture in small:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    rows = [range(start, min(start + columns, len(small))) for start in range(0, len(small), columns)]
    heights = [title + gap + max(small[place].height for place in row) for row in rows]
    sheet = Image.new("RGB", (columns * (side + gap) + gap, sum(heights) + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for place, (name, _) in enumerate(pictures):
        x, y = gap + (side + gap) * (place % columns), gap + sum(heights[: place // columns])
        text = printable(name)
        while pen.textlength(text, font=font) > side and len(text) > 2:
            text = "…" + text[2:]
        pen.text((x, y), text, font=font, fill="black")
        sheet.paste(small[place], (x, y + title))
    return sheet
