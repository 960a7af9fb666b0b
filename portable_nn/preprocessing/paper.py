"""Steps for photographs of sheets: the sheet, the ink on it, its lines, and the drawings, one or several.

They are records as those of ``steps`` are; ``sheets`` does the work.
"""

from __future__ import annotations

import msgspec

from portable_nn.core.names import Found as Found
from portable_nn.preprocessing.checks import check_choice, check_fit, check_sides, grey
from portable_nn.preprocessing.pixels import Pixels
from portable_nn.preprocessing.sheets import Drawing, find_ink, guess_ink_of, keep_sheet, remove_lines, separate


class SheetStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="sheet"):
    """Shrink by averaging to at most ``longest`` pixels a side; around a sheet on a dark table, continue its paper.

    Around one drawing that fills the picture, paper is added: a quarter of the longer side.
    """

    longest: int = 768

    def __post_init__(self) -> None:
        check_sides(longest=self.longest)

    def __call__(self, pixels: Pixels) -> Pixels:
        """``(height, width)`` → the same, or smaller; larger with what is added."""
        return keep_sheet(grey("sheet", pixels), self.longest)

    def __str__(self) -> str:
        return f"shrink to at most {self.longest} pixels a side, and find the sheet where it lies on a dark table"


class InkStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="ink"):
    """Brightness → how much of the paper's light the ink takes, 0..255; light and shadow on the paper are removed.

    ``found`` is the ink of the pictures, as in ``PolarityStep``; ``"auto"`` compares it with all of the border.
    """

    found: Found = "auto"

    def __post_init__(self) -> None:
        check_choice("found", self.found, Found)

    def __call__(self, pixels: Pixels) -> Pixels:
        """``(height, width)`` → the same shape. Raises ValueError where nothing stands out from the paper."""
        found = self.settle(grey("ink", pixels)).found
        return find_ink(pixels, "light" if found == "light" else "dark")

    def settle(self, pixels: Pixels) -> InkStep:
        """The same step with ``found`` detected for this picture."""
        return self if self.found != "auto" else InkStep(guess_ink_of(pixels))

    def __str__(self) -> str:
        how = "guessed from the border of each picture" if self.found == "auto" else f"taken to be {self.found}"
        return f"divide by the brightness of the paper, which takes out shadows, and keep the ink; its colour is {how}"


class LinesStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="lines"):
    """Ink, 0..255, → the same without the lines of ruled and squared paper."""

    def __call__(self, pixels: Pixels) -> Pixels:
        """``(height, width)`` → the same shape."""
        return remove_lines(grey("lines", pixels))

    def __str__(self) -> str:
        return "take out thin lines through half of the picture: those of ruled and squared paper"


class DrawingsStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="drawings"):
    """Ink ``(height, width)`` → each drawing, ``(size, size)``, laid out as MNIST is: a picture may have several."""

    size: int = 28
    box: int = 20

    def __post_init__(self) -> None:
        check_fit(self.size, self.box)

    def find(self, pixels: Pixels) -> list[Drawing]:
        """The drawings in the order of reading. Raises ValueError where there is none."""
        return separate(grey("drawings", pixels), self.size, self.box)

    def __call__(self, pixels: Pixels) -> Pixels:
        """``(height, width)`` → ``(size, size)``. Raises ValueError where there are several drawings, or none."""
        found = self.find(pixels)
        if len(found) > 1:
            raise ValueError(f"expected one drawing, found {len(found)}")
        return found[0].pixels

    def __str__(self) -> str:
        return (
            f"separate the drawings, scale each to fit {self.box}x{self.box} pixels and centre its mass "
            f"in {self.size}x{self.size}"
        )
