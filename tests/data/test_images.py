from __future__ import annotations

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from drawn import png
from PIL import Image, ImageOps

from portable_nn.core.errors import DataError
from portable_nn.data.images import read_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pixels_come_as_they_are(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    assert np.array_equal(read_image(saved(tmp_path / "a.png", image)), np.asarray(image))


def test_one_bit_is_bool(tmp_path: Path) -> None:
    # Two rows of nine pixels: 1 0 1 0 0 0 0 0 | 1, and the reverse of each.
    path = png(tmp_path / "a.png", 9, 2, 1, 0, b"\0\xa0\x80\0\x5f\x00")
    found = read_image(path)
    assert found.dtype == bool
    assert found.astype(int).tolist() == [[1, 0, 1, 0, 0, 0, 0, 0, 1], [0, 1, 0, 1, 1, 1, 1, 1, 0]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 255, 256], [40000, 65534, 65535]], np.uint16)
    found = read_image(saved(tmp_path / f"a.{suffix}", Image.fromarray(levels)))
    assert found.dtype == np.uint16
    assert np.array_equal(found, levels)


def test_sixteen_bit_png_by_the_standard(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 2, 1, 16, 0, b"\0" + struct.pack(">HH", 1000, 65535))
    assert read_image(path).tolist() == [[1000, 65535]]


def test_sixteen_bit_pgm(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 1000, 65535))
    found = read_image(path)
    assert found.dtype == np.uint16
    assert found.tolist() == [[1000, 65535]]


def test_palette_becomes_colour(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(16)
    assert np.array_equal(read_image(saved(tmp_path / "a.png", image)), np.asarray(image.convert("RGB")))


def test_palette_with_transparency_keeps_it(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    found = read_image(saved(tmp_path / "a.png", image, transparency=0))
    assert found.tolist() == [[[10, 20, 30, 0], [40, 50, 60, 255]]]


def test_grey_with_a_transparent_level_keeps_it(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert read_image(saved(tmp_path / "a.png", image, transparency=7)).tolist() == [[[7, 0], [8, 255]]]


def test_cmyk_is_not_taken_for_alpha(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.new("CMYK", (2, 3), (0, 0, 0, 0)))
    assert np.array_equal(read_image(path), np.full((3, 2, 3), 255))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    found = read_image(saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert np.array_equal(found, np.full((3, 4, 3), (255, 0, 0)))


@pytest.mark.parametrize(("orientation", "upright"), [(1, RGB), (3, RGB[::-1, ::-1]), (6, np.rot90(RGB, -1))])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_turned_camera(tmp_path: Path, suffix: str, orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(RGB), exif=exif)
    assert np.array_equal(read_image(path), upright)


@pytest.mark.long
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("mode", "to"), [("P", "RGB"), ("L", "LA"), ("RGBA", "RGBA"), ("I;16", None), ("1", None)])
def test_a_turned_camera_leaves_colours_as_they_are(
    tmp_path: Path, orientation: int, mode: str, to: str | None
) -> None:
    """Against Pillow; sides are swapped, and no channels, where a file has one number for all of them."""
    grey = Image.fromarray(RGB[..., 0])
    image = Image.fromarray(RGB[..., 1].astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    if mode == "P":
        image.putpalette(np.random.default_rng(1).bytes(768))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", image, exif=exif, **({"transparency": 7} if mode == "L" else {}))
    upright = ImageOps.exif_transpose(Image.open(path))
    expected = np.asarray(upright.convert(to) if to else upright)
    assert expected.shape[:2] == ((6, 9) if orientation < 5 else (9, 6))
    np.testing.assert_array_equal(read_image(path), expected)


@pytest.mark.long
def test_a_large_picture_is_read_in_silence(tmp_path: Path) -> None:
    # 100 million pixels of one bit: over the size at which Pillow warns, which the tests would make an error.
    path = png(tmp_path / "a.png", 10000, 10000, 1, 0, (b"\0" + bytes(1250)) * 10000)
    assert read_image(path).shape == (10000, 10000)


def bomb(path: Path) -> None:
    png(path, 30000, 30000, 8, 0, b"\0")


def large_bmp(path: Path) -> None:
    head = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)
    path.write_bytes(head + struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0))


def cut_png(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-600])


def cut_jpeg(path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(RGB).save(data, "JPEG")
    path.write_bytes(data.getvalue()[:300])


def deep_integers(path: Path) -> None:
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(path, "TIFF")


FAULTS = [
    (lambda path: None, "expected a picture, found no such file"),
    (lambda path: path.mkdir(), "expected a picture, found a folder"),
    (lambda path: os.mkfifo(path), "expected a picture, found a pipe or device"),
    (lambda path: path.touch(), "expected a picture such as PNG or JPEG, found an empty file"),
    (lambda path: path.write_text("Grüße,\na letter"), "found a text file"),
    (lambda path: path.write_bytes(bytes(range(256))), "found a file of an unknown kind, or one that is damaged"),
    (lambda path: path.write_text(" <!DOCTYPE html>"), "found an HTML page: the download gave a page about the file"),
    (lambda path: path.write_text("<svg/>"), "found an SVG drawing: export it as PNG"),
    (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "run 'git lfs pull'"),
    (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0"), "found a HEIC photograph: export it as JPEG"),
    (lambda path: path.write_bytes(b"%PDF-1.7"), "found a PDF document"),
    (bomb, "found a PNG picture that is damaged or cut short"),
    (large_bmp, "the picture has more than the 178,956,970 pixels that are read"),
    (cut_png, "found a PNG picture that is damaged or cut short"),
    (cut_jpeg, "found a JPEG picture that is damaged or cut short"),
    (lambda path: path.write_bytes(b"GIF89a"), "found a GIF picture that is damaged or cut short"),
    (deep_integers, "expected pixels of 8 or 16 bits or floats, found 32-bit integers"),
]


@pytest.mark.parametrize(("make", "reason"), FAULTS, ids=[reason[-40:] for _, reason in FAULTS])
def test_faults_are_one_line_that_names_the_file(tmp_path: Path, make: object, reason: str) -> None:
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(DataError, match=re.escape(str(path)) + ": .*" + reason) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_png_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = png(tmp_path / "a.png", 2, 2, 8, 0, b"\0ab\0cd").read_bytes()
    path = tmp_path / "b.png"
    # The last twelve bytes are the end marker, which holds no pixels.
    for length in range(len(whole) - 24):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"empty file|damaged"):
            read_image(path)
