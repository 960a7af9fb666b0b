"""Pictures with the boxes of what was found in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLUE, VERMILLION
from portable_nn.data.images import read_image
from portable_nn.outputs.overlays import sheet_of
from portable_nn.preprocessing.pixels import on_white

if TYPE_CHECKING:
    from PIL.Image import Image

    from portable_nn.prediction.prediction import Prediction


def draw_boxes(predictions: Sequence[Prediction]) -> Image:
    """The pictures that ``predictions`` are of, side by side, with their boxes.

    Raises ``UsageError`` where they are of no picture, or of some that the model takes as a whole.
    """
    found: dict[str, list[Prediction]] = {}
    for each in filter(lambda each: each.box, predictions):
        found.setdefault(each.input if Path(each.input).is_file() else each.input.rpartition("#")[0], []).append(each)
    if not found:
        raise UsageError("boxes are drawn in picture files in which digits are found, and none was found")
    return sheet_of([(name, _boxed(name, boxed)) for name, boxed in found.items()])


def _boxed(path: str, boxed: Sequence[Prediction]) -> Image:
    """A picture with each prediction's box, and its label above it, or below at the upper edge."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(on_white(read_image(path)).round().astype(np.uint8)).convert("RGB")
    thickness = max(1, max(image.size) // 300)
    usual = int(np.median([each.box[3] - each.box[1] for each in boxed if each.box]))
    height = max(10, min(usual * 2 // 5, max(image.size) // 25))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(height)
    for each in boxed:
        assert each.box
        left, top, right, bottom = each.box
        colour = BLUE if each.guess is None else VERMILLION
        draw.rectangle((left - thickness, top - thickness, right, bottom), outline=colour, width=thickness)
        is_above = top > height + 2 * thickness
        edge = top - 2 * thickness if is_above else bottom + 2 * thickness
        draw.text((left, edge), str(each.label), colour, font, anchor="lb" if is_above else "lt")
    return image
