"""Reading a picture from a file of any format; one that cannot be read is an error of one line."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError
from portable_nn.core.foreign_values import is_path
from portable_nn.core.limits import UNPACKED, excess
from portable_nn.core.text import said
from portable_nn.data import png
from portable_nn.data.files import opened, what_is

SUFFIXES = frozenset(
    [".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"]
)
"""The suffixes of pictures in a folder; a file that is given by its own name may have any."""

ARRAY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F", "RGB", "RGBA"})
"""Pillow's modes whose arrays are used directly; others (palettes, CMYK, L*a*b*, …) are converted."""

BANDS = {"LA": 2, "RGB": 3, "RGBA": 4}
"""The channels of the arrays of each mode, if more than one."""

_UPRIGHT: Final = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
"""By the orientation that EXIF says: quarter turns to the left, and whether left and right are then swapped."""

_ORIENTATION: Final = 0x0112
"""The number of the field of EXIF that says how a camera was held."""

SAMPLE = 4
"""The bytes of a number of a picture that is prepared for a network: a float32."""

WITH_ALPHA = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA", "PA": "RGBA"}
"""The mode that keeps the transparency of each mode."""


def read_image(path: str | Path) -> NDArray[Any]:
    """The first picture in a file, upright, as ``(height, width)`` or ``(height, width, channels)``.

    Two channels are grey and alpha, four are red, green, blue and alpha. The dtype is the file's: bool, uint8, uint16
    or float32. Decoded by imageio's plugin for Pillow.

    Raises:
        DataError: the file cannot be read or decoded, holds a part of the picture only, or claims a size that is out
            of proportion to its bytes (see ``core.limits``); the message is one line.
    """
    with opened(path, "a picture") as file:
        start = file.read(512)
        is_png = start.startswith(png.SIGNATURE)
        if is_png and not png.can_be_whole(file):
            raise DataError(path, _EXPECTED + what_is(start))
        file.seek(0)
        try:
            # Pillow warns of metadata and sizes that it reads nevertheless.
            with warnings.catch_warnings(action="ignore"):
                picture = _imread(file, path)
        except DataError:
            raise
        except Exception as error:
            # Pillow's decoders raise errors of any type (SyntaxError, struct.error, …) for damaged files.
            raise DataError(path, _reason(start, error)) from error
    # Unpacking it once more takes time, and missing rows are all alike.
    if is_png and _has_flat_edge(picture):
        with opened(path, "a picture") as file:
            if not png.is_whole(file):
                raise DataError(path, _EXPECTED + what_is(start))
    return _unsigned(picture, path)


def pixels_of(image: Any, name: str) -> NDArray[Any]:
    """The pixels of an image of Pillow, as ``read_image`` gives those of a file; messages call it ``name``.

    Raises:
        DataError: the image cannot be decoded.
    """
    from PIL import ImageOps

    try:
        with warnings.catch_warnings(action="ignore"):
            mode = _array_mode(image.mode, "transparency" in image.info)
            upright = ImageOps.exif_transpose(image)
            picture = np.asarray(upright.convert(mode) if mode else upright)
    except Exception as error:
        # As above: Pillow decodes a file when its pixels are first asked for.
        raise DataError(name, f"the picture cannot be decoded {said(error)}") from error
    return _unsigned(picture, name)


def turned_by(image: Any) -> tuple[int, bool]:
    """The turn by which EXIF brings a picture upright, in a file or of Pillow: as in ``_UPRIGHT``.

    Raises ``DataError`` where the file cannot be read.
    """
    from PIL import Image

    if not is_path(image):
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1), (0, False))
    with opened(image, "a picture") as file, warnings.catch_warnings(action="ignore"), Image.open(file) as found:
        return _UPRIGHT.get(found.getexif().get(_ORIENTATION, 1), (0, False))


def _unsigned(picture: NDArray[Any], where: str | Path) -> NDArray[Any]:
    if picture.dtype.kind != "i":
        return picture
    # Mode "I" is that of 16-bit PGM files, and of 32-bit TIFF files, whose white level is unknown.
    if picture.min() < 0 or picture.max() > np.iinfo(np.uint16).max:
        raise DataError(where, "expected pixels of 8 or 16 bits or floats, found 32-bit integers")
    return picture.astype(np.uint16)


def _imread(file: BinaryIO, path: str | Path) -> NDArray[Any]:
    import imageio.v3 as iio

    with iio.imopen(file, "r", plugin="pillow") as plugin:
        image: Any = plugin  # The type that all plugins share lacks the arguments of Pillow's.
        metadata = image.metadata(index=0, exclude_applied=False)
        mode = _array_mode(metadata["mode"], "transparency" in metadata)
        claimed = math.prod(metadata["shape"]) * BANDS.get(mode or metadata["mode"], 1) * SAMPLE
        if fault := excess(claimed, os.fstat(file.fileno()).st_size, UNPACKED):
            raise DataError(path, f"the picture {fault}")
        pixels: NDArray[Any] = image.read(index=0, mode=mode)
        # Now, as Pillow turns TIFF files itself.
        orientation = image.metadata(index=0, exclude_applied=False).get("Orientation")
    turns, mirrored = _UPRIGHT.get(orientation, (0, False))
    upright = np.rot90(pixels, turns)
    return np.flip(upright, axis=1) if mirrored else upright


def _has_flat_edge(picture: NDArray[Any]) -> bool:
    """True if all pixels along one of the edges are the same; each may be the last row, if the picture is turned.

    The last two rows are looked at, of which only one belongs to the last pass of an interlaced picture.
    """
    turned = picture.swapaxes(0, 1)
    return any((line == line[:1]).all() for side in (picture, turned) for line in (*side[:2], *side[-2:]))


def _array_mode(mode: str, transparent: bool) -> str | None:
    """The mode to convert to, or None where no conversion is needed."""
    if (transparent or mode == "PA") and mode in WITH_ALPHA:
        return WITH_ALPHA[mode]
    return None if mode in ARRAY_MODES else "RGB"


def _reason(start: bytes, error: Exception) -> str:
    from PIL.Image import MAX_IMAGE_PIXELS, DecompressionBombError

    # imageio wraps the errors of Pillow.
    cause = error.__cause__ or error
    if isinstance(cause, DecompressionBombError):
        most = 2 * (MAX_IMAGE_PIXELS or 0)  # From half as many on, Pillow only warns.
        return f"the picture has more than the {most:,} pixels that are read {said(cause)}"
    return _EXPECTED + what_is(start)


_EXPECTED: Final = "expected a picture such as PNG or JPEG, found "
