"""Pictures stored in part, and pictures that claim a size; Pillow and the PNG standard are the other side."""

from __future__ import annotations

import struct
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from bounded import bounded
from drawn import png
from PIL import Image

from portable_nn.core.errors import DataError
from portable_nn.data.images import read_image

RNG = np.random.default_rng(0)
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
DAMAGED = "found a PNG picture that is damaged or cut short"


def rows(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels if row.size)


def interlaced(pixels: np.ndarray) -> bytes:
    """The rows of the seven passes of Adam7, as in section 8 of the standard."""
    return b"".join(rows(pixels[top::down, left::right]) for top, left, down, right in ADAM7)


SIZES = [(1, 1), (2, 5), (7, 3), (9, 17), (64, 33)]


@pytest.mark.parametrize("adam7", [False, True])
@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_a_part_of_the_rows_is_refused(tmp_path: Path, colour: int, adam7: bool) -> None:
    for height, width in SIZES:
        pixels = RNG.integers(1, 256, (height, width, {0: 1, 2: 3, 4: 2, 6: 4}[colour]), dtype=np.uint8)
        data = interlaced(pixels) if adam7 else rows(pixels)
        whole = png(tmp_path / "whole.png", width, height, 8, colour, data, interlaced=adam7)
        assert np.array_equal(read_image(whole), np.asarray(Image.open(whole)))
        assert np.array_equal(read_image(whole), pixels.squeeze(-1) if colour == 0 else pixels)
        for length in {0, len(data) // 2, len(data) - 1}:
            part = png(tmp_path / "part.png", width, height, 8, colour, data[:length], interlaced=adam7)
            with pytest.raises(DataError, match=DAMAGED):
                read_image(part)


def test_each_mode_of_pillow_is_whole(tmp_path: Path) -> None:
    for mode, (height, width) in product(["1", "L", "LA", "RGB", "RGBA", "P", "I;16"], SIZES):
        deep = mode == "I;16"
        image = Image.fromarray(np.zeros((height, width), np.uint16 if deep else np.uint8))
        path = tmp_path / "a.png"
        (image if deep else image.convert(mode)).save(path)
        assert not read_image(path)[..., 0:1].any()


def test_a_turned_picture_of_which_half_is_stored(tmp_path: Path) -> None:
    pixels = RNG.integers(1, 256, (8, 6, 3), dtype=np.uint8)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # Orientation 6: rows become columns.
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    path = png(tmp_path / "a.png", 6, 8, 8, 2, rows(pixels))
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunk + data[33:])
    assert read_image(path).shape == (6, 8, 3)
    path = png(path, 6, 8, 8, 2, rows(pixels[:4]))
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunk + data[33:])
    with pytest.raises(DataError, match=DAMAGED):
        read_image(path)


@pytest.mark.long
@pytest.mark.parametrize(("bits", "colour", "adam7"), [(8, 6, True), (8, 2, False), (16, 0, False), (1, 0, False)])
def test_a_bomb_takes_no_memory(tmp_path: Path, bits: int, colour: int, adam7: bool) -> None:
    path = png(tmp_path / "a.png", 13_000, 13_000, bits, colour, bytes(13_000 * 10), interlaced=adam7)
    assert path.stat().st_size < 300
    found = bounded(f"portable_nn.data.images.read_image({str(path)!r})")
    assert found.text.endswith(DAMAGED)
    assert found.bytes < 50e6


def test_a_picture_that_is_all_there_may_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (2000, 1000), "white").save(path)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "20M")
    with pytest.raises(DataError, match=r"the picture takes 24 MB of memory, with .* kB stored; at most 21 MB unless"):
        read_image(path)
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "24M")
    assert read_image(path).shape == (1000, 2000, 3)
