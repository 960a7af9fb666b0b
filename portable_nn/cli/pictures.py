"""Options of the commands that prepare pictures for models of other programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portable_nn.cli.options import choice
from portable_nn.core.errors import UsageError
from portable_nn.core.names import PREPARATIONS, Fit

if TYPE_CHECKING:
    from portable_nn.preprocessing.named import Preparation


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
            metavar="A[,B,C]", help="Mean of each colour, in the order of the input, of 0..1 or 0..255.", hidden=True
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(metavar="A[,B,C]", help="Standard deviation of each colour, which it is divided by.", hidden=True),
    ] = None
    white: Annotated[
        int | None,
        typer.Option(
            metavar="1|255", help="What --mean and --std take white for. By default they say it.", hidden=True
        ),
    ] = None
    bgr: Annotated[
        bool | None,
        typer.Option("--bgr/--rgb", help="Order of the colours: blue, green, red, or as usual.", hidden=True),
    ] = None
    nhwc: Annotated[
        bool | None,
        typer.Option(
            "--nhwc/--nchw", help="Place of the colours in an example: last or first; by default found.", hidden=True
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="N|HxW", help="Pixels to scale to; of pictures that are cut, the shorter side.", hidden=True
        ),
    ] = None
    crop: Annotated[str | None, typer.Option(metavar="N|HxW", help="Pixels to cut out of the middle.", hidden=True)] = (
        None
    )
    fit: Annotated[
        Fit | None,
        typer.Option(help="How pictures are brought to the size: cut, stretched, with a border, …", hidden=True),
    ] = None

    def flags(self) -> list[str]:
        """The options that were given."""
        names = {"bgr": "rgb" if self.bgr is False else "bgr", "nhwc": "nchw" if self.nhwc is False else "nhwc"}
        return [f"--{names.get(name, name)}" for name, value in vars(self).items() if value is not None]

    def given(self) -> Preparation | None:
        """As ``predict`` takes it; None where no option was given."""
        if not self.flags():
            return None
        from portable_nn.preprocessing.named import Preparation

        fields: dict[str, Any] = {
            "name": self.preprocess,
            "mean": _numbers("--mean", self.mean),
            "std": _numbers("--std", self.std),
            "size": _size("--size", self.size),
            "crop": _size("--crop", self.crop),
        }
        return Preparation(**fields, white=self.white, bgr=self.bgr, nhwc=self.nhwc, fit=self.fit)


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
