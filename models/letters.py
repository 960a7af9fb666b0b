"""Printed letters, which are no digits: in fonts that packages ship, some for training and others for tests."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from portable_nn.core.errors import MissingPackageError
from portable_nn.preprocessing.pixels import Pixels

LETTERS: Final = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwxy"
"""Letters that nobody takes for a digit, as O, l, Z, S, b, B and g may be."""

MATPLOTLIB: Final = "matplotlib/mpl-data/fonts/ttf"

TRAINING_FONTS: Final = (
    *(f"{MATPLOTLIB}/DejaVuSans{style}.ttf" for style in ("", "-Oblique", "-Bold", "-BoldOblique")),
    *(f"{MATPLOTLIB}/DejaVuSerif{style}.ttf" for style in ("", "-Italic", "-Bold")),
    *(f"{MATPLOTLIB}/DejaVuSansMono{style}.ttf" for style in ("", "-Oblique")),
    *(f"{MATPLOTLIB}/STIXGeneral{style}.ttf" for style in ("", "Italic", "Bol")),
    *(f"font_source_sans_pro/files/SourceSansPro-{style}.ttf" for style in ("Regular", "It", "Light", "Black")),
    *(f"font_source_serif_pro/files/SourceSerifPro-{style}.ttf" for style in ("Regular", "It", "Bold")),
    *(f"font_roboto/files/Roboto-{style}.ttf" for style in ("Regular", "Italic", "Light", "Black")),
    *(f"font_amatic_sc/files/AmaticSC-{style}.ttf" for style in ("Regular", "Bold")),
    *("font_intuitive/files/Intuitive.ttf", "font_fredoka_one/files/FredokaOne-Regular.ttf"),
)
"""Fonts to learn from, as paths within the folder of all packages."""

TEST_FONTS: Final = tuple(f"{MATPLOTLIB}/{name}.ttf" for name in ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"))
"""Fonts for tests: Computer Modern by D. E. Knuth."""


def font_file(name: str) -> Path:
    """The file of a font. Raises ``MissingPackageError``."""
    package, _, inside = name.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPackageError(package.replace("_", "-"), "letters in its font", "recipes")
    return Path(spec.origin).parent / inside


def letter(random: np.random.Generator, side: int, fonts: tuple[str, ...]) -> Pixels:
    """A letter in one of the fonts, in which ``side`` pixels are an em, turned by up to 10°; ink 0 to 1."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(font_file(str(random.choice(fonts)))), side)
    image = Image.new("L", (3 * side, 3 * side))
    ImageDraw.Draw(image).text((side, side), str(random.choice(list(LETTERS))), 255, font)
    image = image.rotate(float(random.uniform(-10, 10)), Image.Resampling.BICUBIC)
    return np.asarray(image.crop(image.getbbox()), np.float32) / np.float32(255)
