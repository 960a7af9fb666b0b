"""Preparations of pictures by name: what published models take, each with its source.

A ``Preparation`` is what people say ("imagenet, but in BGR"); ``prepared`` makes steps of it for one input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from portable_nn.core.arguments import accepts
from portable_nn.core.dims import static
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Value, format_shape
from portable_nn.core.names import Fit
from portable_nn.core.numbers import Count, Finite, Positive
from portable_nn.core.text import quantity
from portable_nn.preprocessing.checks import check_choice
from portable_nn.preprocessing.defaults import BOOK, DIGIT, SHEET, is_digit, scaled
from portable_nn.preprocessing.framing import BgrStep, LetterboxStep, LevelsStep, ShorterSideStep
from portable_nn.preprocessing.pixels import Method
from portable_nn.preprocessing.steps import (
    ColourStep,
    GreyscaleStep,
    NormaliseStep,
    PictureStep,
    Preprocessing,
    ReshapeStep,
    ResizeStep,
    ScaleStep,
    Step,
    TransposeStep,
)

__all__ = ["Preparation"]

Size: TypeAlias = int | tuple[int, int]

Numbers: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Means and standard deviations, one for each colour or one for all."""


@dataclass(frozen=True)
class Preparation:
    """The preparation of pictures for a network. A field that is None is as ``name`` says, or else as the input needs.

    Args:
        name: one of the named preparations, a key of ``NAMED``; by default pictures are stretched and brought to 0..1.
        fit: how a picture is brought to the size of the input: ``crop``, ``stretch``, ``letterbox``, ``shorter``,
            ``none`` or ``digit``.
        size: the size of the picture after scaling: of its shorter side for ``crop`` and ``shorter``, otherwise the
            height and width, or one number for both.
        crop: the height and width of what is cut out of the middle, or one number for both.
        method: the filter: ``nearest``, ``box``, ``bilinear``, ``bicubic`` or ``lanczos``.
        mean, std: of each colour, in the order of the input: it gets (level - mean) / std. One number is for all.
        white: the level of white before that, 1 or 255. By default 255 where a mean or std is above 8, and 1 where
            none is above 1.
        bgr: whether the colours are in the order blue, green, red.
        nhwc: whether the input takes (height, width, colour), and not (colour, height, width). By default its shape
            says so.

    >>> import portable_nn as pnn
    >>> pnn.Preparation("imagenet", bgr=True).size is None
    True
    """

    name: str | None = None
    fit: Fit | None = None
    size: Size | None = None
    crop: Size | None = None
    method: Method | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    white: int | None = None
    bgr: bool | None = None
    nhwc: bool | None = None

    def __post_init__(self) -> None:
        if self.name is not None and self.name not in NAMED:
            raise UsageError(f"preprocess must be one of {', '.join(NAMED)}, not {self.name!r}")
        try:
            if self.fit is not None:
                check_choice("fit", self.fit, Fit)
            if self.method is not None:
                check_choice("method", self.method, Method)
        except ValueError as error:
            raise UsageError(str(error)) from None
        for name in ("size", "crop"):
            given = getattr(self, name)
            if not accepts(Count | Sequence[Count] | None, given) or len(_pair(given) or "hw") != 2:
                raise UsageError(f"{name} must be a number of pixels, or a height and a width, not {given!r}")
        if not accepts(Literal[1, 255] | None, self.white):
            raise UsageError(f"white must be 1 or 255, not {self.white}")
        if self.fit in ("stretch", "letterbox", "none", "digit") and self.crop:
            raise UsageError(f"crop must be left out: with the fit '{self.fit}' nothing is cut out")
        if self.fit in ("none", "digit") and self.size:
            raise UsageError(f"size must be left out: with the fit '{self.fit}' pictures have no size to be scaled to")
        self._numbers("mean"), self._numbers("std")

    def _numbers(self, name: str) -> tuple[float, ...] | None:
        given = getattr(self, name)
        if given is None:
            return None
        found = tuple(given) if isinstance(given, Iterable) else (given,)
        if not found or not all(accepts(Positive if name == "std" else Finite, each) for each in found):
            each = "finite number above 0" if name == "std" else "finite number"
            raise UsageError(f"{name} must be one {each} or one for each colour, not {given!r}")
        return tuple(map(float, found))

    @property
    def numbers(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Mean and standard deviation."""
        return self._numbers("mean"), self._numbers("std")


@dataclass(frozen=True)
class Named:
    """A published preparation.

    ``numbers`` are means and standard deviations of levels up to ``white``, in the order of the input; ``size`` and
    ``crop`` are those of the publication, and follow the input where that has another size.
    """

    source: str
    fit: Fit = "stretch"
    size: int | None = None
    crop: int | None = None
    method: Method = "bilinear"
    numbers: Numbers = ((0.0,), (1.0,))
    white: int = 1
    bgr: bool = False


IMAGENET: Final[Numbers] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CLIP: Final[Numbers] = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_CAFFE: Final[Numbers] = (103.939, 116.779, 123.68), (1.0,)
_HALVES: Final[Numbers] = (0.5,), (0.5,)
_KERAS: Final = "keras.applications.imagenet_utils.preprocess_input and keras.utils.load_img, mode"

UNIT: Final = Named("what most models take that say nothing: 0 to 1")

NAMED: Final[Mapping[str, Named]] = {
    "imagenet": Named("torchvision.models, weights IMAGENET1K_V1", "crop", 256, 224, numbers=IMAGENET),
    "imagenet-v2": Named("torchvision.models, ResNet50_Weights.IMAGENET1K_V2", "crop", 232, 224, numbers=IMAGENET),
    "keras-tf": Named(f"{_KERAS} tf", size=224, method="nearest", numbers=((127.5,), (127.5,)), white=255),
    "keras-caffe": Named(f"{_KERAS} caffe", size=224, method="nearest", numbers=_CAFFE, white=255, bgr=True),
    "keras-torch": Named(f"{_KERAS} torch", size=224, method="nearest", numbers=IMAGENET),
    "clip": Named("github.com/openai/CLIP, clip/clip.py, _transform", "crop", 224, 224, "bicubic", _CLIP),
    "siglip": Named(
        "google/siglip-base-patch16-224, preprocessor_config.json", size=224, method="bicubic", numbers=_HALVES
    ),
    "vit": Named("google/vit-base-patch16-224, preprocessor_config.json", size=224, numbers=_HALVES),
    "yolo": Named("github.com/ultralytics/ultralytics, LetterBox", "letterbox", 640),
    "detection": Named("torchvision.transforms._presets.ObjectDetection", "none"),
    "segmentation": Named("torchvision.transforms._presets.SemanticSegmentation", "shorter", 520, numbers=IMAGENET),
    "mnist": Named("a digit in the layout of MNIST, 0 to 1", "digit"),
    "mnist-torch": Named("github.com/pytorch/examples, mnist/main.py", "digit", numbers=((0.1307,), (0.3081,))),
    "digits": Named("the digits on a sheet in the layout of MNIST, 0.01 to 1, or as the model says", "digit"),
    "unit": UNIT,
    "levels": Named("levels of light as they are, 0 to 255", white=255),
}


class Prepared(NamedTuple):
    """Steps for an input, and in words what was chosen for it."""

    steps: Preprocessing
    notes: tuple[str, ...]


def preparation_of(given: str | Mapping[str, Any] | Preparation) -> Preparation:
    """A preparation from its name or from a dict of its fields.

    Raises ``UsageError`` for a name or a field that does not exist, and for values that contradict each other.
    """
    if isinstance(given, Preparation):
        return given
    if isinstance(given, str):
        return Preparation(given)
    if not isinstance(given, Mapping):
        raise UsageError(f"preprocess must be a name, a dict or a Preparation, not {type(given).__name__}")
    known = [field.name for field in dataclasses.fields(Preparation)]
    if unknown := [str(name) for name in given if name not in known]:
        raise UsageError(f"preprocess has no {', '.join(map(repr, unknown))}: it may have {', '.join(known)}")
    return Preparation(**{str(name): value for name, value in given.items()})


def prepared(preparation: Preparation, entry: Value, largest: float | None = None) -> Prepared:
    """The steps that make examples of the input ``entry``, whose first axis is the batch, of pictures.

    ``largest`` is as ``default_preprocessing`` takes it, for ``digits``.

    Raises:
        UsageError: the input takes no pictures, or the preparation makes others than it takes.
    """
    return _Maker(preparation, NAMED[preparation.name] if preparation.name else UNIT, entry, largest).made()


class _Layout(NamedTuple):
    """An example of an input as a picture; ``None`` is for a size that is not fixed."""

    channels: int | None
    height: int | None
    width: int | None
    last: bool


class _Maker:
    def __init__(self, given: Preparation, named: Named, entry: Value, largest: float | None) -> None:
        self.given, self.named, self.entry, self.largest, self.notes = given, named, entry, largest, list[str]()
        self.fit = given.fit or ("crop" if given.crop and named.fit in ("stretch", "shorter") else named.fit)
        self.method = given.method or named.method
        self.bgr = named.bgr if given.bgr is None else given.bgr
        self.what = f"the preparation '{given.name}'" if given.name else "the preparation"

    def made(self) -> Prepared:
        layout = self.layout()
        if self.fit == "digit":
            return self.digit()
        colours = 3 if layout.channels is None else layout.channels
        if colours not in (1, 3):
            raise self.refusal(f"pictures have 1 or 3 colours, and it takes {colours}")
        steps: list[Step] = [ColourStep() if colours == 3 else GreyscaleStep(), LevelsStep(), *self.framing(layout)]
        if self.bgr and colours == 3:
            steps.append(BgrStep())
        steps += self.scaling(colours)
        if not layout.last and colours == 3:
            steps.append(TransposeStep((2, 0, 1)))
        return Prepared(tuple(steps), (*self.notes, self.order(layout, colours)))

    def refusal(self, reason: str) -> UsageError:
        return UsageError(f"input '{self.entry.name}' is {self.entry.dtype}{format_shape(self.entry.shape)}: {reason}")

    def layout(self) -> _Layout:
        """The axes of an example: by what was given, by the axis of 1 or 3 colours, or else colours first."""
        sizes = [size if isinstance(size, int) else None for size in self.entry.shape[1:]]
        if self.fit == "digit":
            return _Layout(1, None, None, last=True)
        if len(sizes) == 2:
            return _Layout(1, sizes[0], sizes[1], last=True)
        if len(sizes) != 3:
            raise self.refusal("pictures need (batch, colours, height, width) or (batch, height, width, colours)")
        is_last = sizes[2] in (1, 3) and sizes[0] not in (1, 3) if self.given.nhwc is None else self.given.nhwc
        if is_last:
            return _Layout(sizes[2], sizes[0], sizes[1], last=True)
        return _Layout(sizes[0], sizes[1], sizes[2], last=False)

    def order(self, layout: _Layout, colours: int) -> str:
        axes = "(height, width, colour)" if layout.last else "(colour, height, width)"
        names = "one, grey" if colours == 1 else "blue, green, red" if self.bgr else "red, green, blue"
        told = " as --layout nhwc says" if self.given.nhwc else ""
        return f"an example is {axes}{told}, the colours {names}"

    # -- size

    def framing(self, layout: _Layout) -> list[PictureStep]:
        known = (layout.height, layout.width) if layout.height and layout.width else None
        match self.fit:
            case "crop":
                return [self.cropped(known)]
            case "letterbox":
                return [LetterboxStep(*self.sides(known), method=self.method)]
            case "stretch":
                return [ResizeStep(*self.sides(known), self.method)]
            case "shorter" | "none" if known:
                self.notes.append(f"the input has a fixed size, so that pictures are stretched to {_by(known)}")
                return [ResizeStep(*self.sides(known), self.method)]
            case "shorter":
                return [ShorterSideStep(_one(self.given.size) or self.named.size or 224, self.method)]
            case _:
                return []

    def sides(self, known: tuple[int, int] | None) -> tuple[int, int]:
        """The height and width of what is stretched or fitted."""
        if self.fit in ("shorter", "none") and known:
            return known
        given = _pair(self.given.size)
        if known and given and given != known:
            raise self.refusal(f"size must be that of the input, {_by(known)}, not {_by(given)}")
        if found := given or known:
            return found
        if self.named.size is None:
            raise self.refusal("its height and width are not fixed: --size (size) gives the size to scale pictures to")
        self.notes.append(f"the input takes any size: {self.what} has {self.named.size}x{self.named.size}")
        return self.named.size, self.named.size

    def cropped(self, known: tuple[int, int] | None) -> ShorterSideStep:
        """The step that scales the shorter side and cuts out the middle; sizes of the publication follow the input."""
        crop, size = _pair(self.given.crop), _one(self.given.size)
        if known and crop and crop != known:
            raise self.refusal(f"crop must be what the input takes, {_by(known)}, not {_by(crop)}")
        crop = crop or known
        if crop is None:
            if self.named.crop is None and size is None:
                raise self.refusal("its height and width are not fixed: --crop (crop) gives the size to cut out")
            crop = _pair(self.named.crop or size)
            assert crop
            self.notes.append(f"the input takes any size: {_by(crop)} are cut out")
        if size is None:
            size = max(crop)
            if self.named.size and self.named.crop:
                size = round(self.named.size * max(crop) / self.named.crop)
                if max(crop) != self.named.crop:
                    usual = f"{self.named.size} for {self.named.crop}"
                    self.notes.append(f"the shorter side is scaled to {size}, in the proportion of {usual} pixels")
        try:
            return ShorterSideStep(size, self.method, crop)
        except ValueError as error:
            raise UsageError(str(error)) from None

    # -- numbers

    def scaling(self, colours: int) -> list[Step]:
        mean, std, white = self.numbers(colours)
        if self.entry.dtype == "uint8":
            if self.given.mean is not None or self.given.std is not None:
                raise self.refusal("mean and std make other numbers than the bytes that it takes: leave them out")
            if self.given.name not in (None, "levels"):
                self.notes.append("the input takes bytes: pictures are neither scaled nor normalised")
            return []
        if self.entry.dtype not in ("float16", "float32", "float64"):
            raise self.refusal("pictures are prepared as bytes (uint8) or as floating-point numbers")
        scaled: list[Step] = [ScaleStep(1 / 255)] if white == 1 else []
        if {*mean} == {0.0} and {*std} == {1.0}:
            return scaled
        if colours == 1 or len({*mean}) == len({*std}) == 1:
            factor = 1 / std[0]
            return [*scaled, ScaleStep(factor, -mean[0] * factor)]
        return [*scaled, NormaliseStep(mean, std, axis=2)]

    def numbers(self, colours: int) -> tuple[tuple[float, ...], tuple[float, ...], int]:
        """Mean and std of each colour, and the level of white that they are for."""
        own = [numbers for numbers in self.given.numbers if numbers is not None]
        # The publication's are in its own order of the colours.
        step = -1 if self.bgr != self.named.bgr else 1
        mean, std = (
            usual[::step] if given is None else given
            for given, usual in zip(self.given.numbers, self.named.numbers, strict=True)
        )
        white = self.given.white or (self.guess_white(own) if own else self.named.white)
        if len(own) == 1 and white != self.named.white and self.named.numbers != UNIT.numbers:
            raise UsageError(f"mean and std must both be given: those of '{self.given.name}' are for other levels")
        return self.per_colour("mean", mean, colours), self.per_colour("std", std, colours), white

    def guess_white(self, own: Sequence[tuple[float, ...]]) -> int:
        """The level of white that the numbers are for that were given."""
        largest = max(abs(number) for numbers in own for number in numbers)
        if 1 < largest < 8:
            raise UsageError(f"white must be given, 1 or 255: mean and std up to {largest:g} may be for either")
        white = 1 if largest <= 1 else 255
        self.notes.append(f"mean and std are {'at most 1' if white == 1 else 'above 1'}: they are for 0 to {white}")
        return white

    def per_colour(self, name: str, found: tuple[float, ...], colours: int) -> tuple[float, ...]:
        if len(found) == 1 or len({*found}) == 1:
            return found[:1] * colours
        if len(found) != colours:
            raise self.refusal(
                f"{name} has {quantity(len(found), 'number')}, and the input {colours} colours: give --{name} for it"
            )
        return found

    # -- digits

    def digit(self) -> Prepared:
        sizes = static(self.entry.shape[1:])
        if sizes is None or not is_digit(sizes):
            raise self.refusal("digits in the layout of MNIST are for (batch, 784), (batch, 28, 28) and the like")
        if self.given.name == "digits":
            steps: list[Step] = [*SHEET, *scaled(self.largest, BOOK)]
        else:
            steps = [*DIGIT, *([LevelsStep()] if self.entry.dtype == "uint8" else self.scaling(1))]
        steps.append(ReshapeStep(sizes))
        return Prepared(tuple(steps), tuple(self.notes))


def _pair(size: Size | None) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    return None if size is None else tuple(size)  # type: ignore[return-value]


def _one(size: Size | None) -> int | None:
    """The length of a shorter side."""
    pair = _pair(size)
    if pair and pair[0] != pair[1]:
        raise UsageError(f"size must be one number for a shorter side, not {_by(pair)}")
    return pair and pair[0]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
