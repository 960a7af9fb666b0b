"""Options of the commands that prepare pictures for models of other programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import typer

from portable_nn.cli.options import choice, listed
from portable_nn.core.errors import UsageError
from portable_nn.core.names import PREPARATIONS, Fit

if TYPE_CHECKING:
    from portable_nn.preprocessing.named import Preparation


ORDERS: Final = {"bgr": ("rgb", "bgr"), "nhwc": ("nchw", "nhwc")}
"""The words of --layout, of which one of each pair may be given."""

LAYOUTS: Final = tuple(chain(*ORDERS.values()))


@dataclass(frozen=True)
class PreparationOptions:
    """The preparation of pictures, in place of the model's own."""

    SUBJECT = "Pictures"

    preprocess: Annotated[
        str | None,
        choice("--preprocess", names=PREPARATIONS, help="Prepare pictures as published models take them."),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A[,B,C]",
            help="Mean of each colour, in the order of the input, on a scale of 0..1 or 0..255.",
            hidden=True,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(metavar="A[,B,C]", help="Standard deviation of each colour, on the same scale.", hidden=True),
    ] = None
    layout: Annotated[
        str | None,
        choice(
            "--layout",
            names=LAYOUTS,
            help="Order of the colours (rgb by default), and position of the colour axis (found by default): bgr,nhwc.",
            after=",",
            hidden=True,
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|HxW[:HOW]",
            help=f"Resize to N pixels (with --crop, the shorter side), and how: {', '.join(get_args(Fit))}.",
            hidden=True,
        ),
    ] = None
    crop: Annotated[str | None, typer.Option(metavar="N|HxW", help="Crop the middle to N pixels.", hidden=True)] = None

    def flags(self) -> list[str]:
        """The options that were given."""
        return [f"--{name}" for name, value in vars(self).items() if value is not None]

    def given(self) -> Preparation | None:
        """As ``predict`` takes it; None where no option was given."""
        if not self.flags():
            return None
        from portable_nn.preprocessing.named import Preparation

        size, _, how = (self.size or "").partition(":")
        if how and how not in get_args(Fit):
            raise UsageError(f"--size {self.size}: expected one of {', '.join(get_args(Fit))} after the :, not '{how}'")
        fields: dict[str, Any] = {
            "name": self.preprocess,
            "mean": _numbers("--mean", self.mean),
            "std": _numbers("--std", self.std),
            "size": _size("--size", size or None),
            "fit": how or None,
            "crop": _size("--crop", self.crop),
        }
        words = listed([self.layout or ""])
        bgr, nhwc = (next((word == mark for word in words if word in pair), None) for mark, pair in ORDERS.items())
        return Preparation(**fields, bgr=bgr, nhwc=nhwc)


def _numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} needs numbers with commas between them, such as 0.5,0.5,0.5, not '{text}'") from None


def _size(flag: str, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if not found:
        raise UsageError(f"{flag} needs a number of pixels, or a height and a width such as 480x640, not '{text}'")
    return int(found[1]), int(found[2] or found[1])
