"""The check that a PNG file holds all rows of its picture: decoders leave the rows that are missing black.

https://www.w3.org/TR/png-3/, sections 5 (chunks), 8 (interlacing) and 10 (compression).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from portable_nn.core.limits import DEFLATE

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""The channels of each colour type."""

_PASSES: Final = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Adam7: the first row and column of each pass, and the steps to the next."""

_CHUNK: Final = struct.Struct(">I4s")
_CHECKSUM: Final = 4
_HEADER: Final = struct.Struct(">12x4sIIBBxxB")
"""The signature, and the first chunk without its checksum."""

_PIECE: Final = 2**20


def can_be_whole(file: BinaryIO) -> bool:
    """True if the bytes of a PNG file could hold its picture, however well they are compressed."""
    return needed(file) <= DEFLATE * os.fstat(file.fileno()).st_size


def is_whole(file: BinaryIO) -> bool:
    """True if the compressed data of a PNG file hold as many bytes as its picture needs.

    What is wrong with it otherwise is left to the decoder. No more than a mebibyte is unpacked at a time.
    """
    missing, inflate = needed(file), zlib.decompressobj()
    try:
        for piece in _image_data(file):
            while piece and missing > 0:
                missing -= len(inflate.decompress(piece, _PIECE))
                piece = inflate.unconsumed_tail
            if missing <= 0 or inflate.eof:
                break
    except zlib.error:
        return False
    return missing <= 0


def needed(file: BinaryIO) -> int:
    """The unpacked bytes of a picture: all rows, each with the number of its filter; 0 where that is not known."""
    file.seek(0)
    start = file.read(_HEADER.size)
    if len(start) < _HEADER.size:
        return 0
    kind, width, height, bits, colour, interlaced = _HEADER.unpack(start)
    if kind != b"IHDR":
        return 0
    depth = bits * _CHANNELS.get(colour, 0)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((-((top - height) // down), -((left - width) // right)) for top, left, down, right in passes)
    return sum(rows * (1 + (columns * depth + 7) // 8) for rows, columns in sizes if rows > 0 and columns > 0)


def _image_data(file: BinaryIO) -> Iterator[bytes]:
    """The compressed data of the picture, in pieces."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        length, kind = _CHUNK.unpack(head)
        while kind == b"IDAT" and length and (data := file.read(min(length, _PIECE))):
            yield data
            length -= len(data)
        file.seek(length + _CHECKSUM, os.SEEK_CUR)
