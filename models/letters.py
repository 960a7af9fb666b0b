"""Fonts of printed letters and digits, which packages ship: some for training, and others for tests."""

from __future__ import annotations

from typing import Final

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
