"""Pictures that the tests draw, and files that they write byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def ink(height: int = 300, width: int = 400, top: int = 40, left: int = 100, side: int = 200) -> np.ndarray:
    """A five, ``side`` pixels tall, as uint8 coverage: 255 where the pen was, antialiased."""
    scale = 4
    image = Image.new("L", (width * scale, height * scale), 0)
    corners = [(68, 8), (28, 8), (24, 42), (50, 38), (68, 52), (70, 75), (50, 92), (20, 86)]
    points = [((left + x / 100 * side) * scale, (top + y / 100 * side) * scale) for x, y in corners]
    ImageDraw.Draw(image).line(points, fill=255, width=round(0.09 * side * scale), joint="curve")
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes, *, interlaced: bool = False) -> Path:
    """A PNG file by the letter of the standard (PNG 3rd edition, sections 5.3 and 11.2.1)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def idx(dtype_code: int, shape: tuple[int, ...], data: bytes) -> bytes:
    """An IDX file by the letter of its definition."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, dtype_code, len(shape), *shape) + data
