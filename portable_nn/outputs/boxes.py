"""A picture with the boxes of what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.plotting import BLUE, VERMILLION
from portable_nn.data.images import read_image
from portable_nn.preprocessing.pixels import on_white

if TYPE_CHECKING:
    from PIL.Image import Image

    from portable_nn.prediction.prediction import Prediction


def draw_boxes(predictions: Sequence[Prediction]) -> Image:
    """The picture that ``predictions`` are of, each in its box with its label above it, or below at the upper edge.

    Raises:
        UsageError: they are of no picture, of several, or of one that the model takes as a whole.
    """
    from PIL import Image, ImageDraw, ImageFont

    boxed = [each for each in predictions if each.box]
    names = {each.input.rpartition("#")[0] if "#" in each.input and len(boxed) > 1 else each.input for each in boxed}
    if len(names) != 1 or not Path(next(iter(names))).is_file():
        found = f"{len(names)} were found" if names else "none could be read"
        raise UsageError(f"boxes are drawn in one picture file in which digits are found, and {found}")
    image = Image.fromarray(on_white(read_image(names.pop())).round().astype(np.uint8)).convert("RGB")
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
