"""Files of pictures of all kinds: bits, palettes, transparency, profiles, orientations, subsampling."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
SIZE: Final = (13, 11)

LOW: Final = "expected levels up to 65535, as its 16 bits have, found none above 255, as of 8 bits"

Chunk = tuple[bytes, bytes]


def png(
    values: NDArray[Any],
    bits: int,
    colour: int,
    interlaced: bool = False,
    before: Sequence[Chunk] = (),
    after: Sequence[Chunk] = (),
) -> bytes:
    """A PNG file of ``values (height, width, channels)``; each of its lines has another filter, whatever that costs."""
    lines, count = b"", 0
    step = max(1, bits * CHANNELS[colour] // 8)
    for left, top, right, down in PASSES if interlaced else ((0, 0, 1, 1),):
        part = values[top::down, left::right]
        above = np.zeros(-(-part.shape[1] * part.shape[2] * bits // 8), np.uint8)
        for line in part if len(above) else ():
            raw = in_bytes(line.ravel(), bits)
            lines += bytes([kind := count % 5]) + filtered(kind, raw, above, step)
            above, count = raw, count + 1
    height, width = values.shape[:2]
    packed = zlib.compress(lines)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    chunks = [
        (b"IHDR", head),
        *before,
        (b"IDAT", packed[:7]),
        (b"IDAT", packed[7:]),
        *after,
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def in_bytes(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if bits == 16:
        return np.frombuffer(values.astype(">u2").tobytes(), np.uint8)
    if bits == 8:
        return values.astype(np.uint8)
    return np.packbits((values[:, np.newaxis] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8))


def filtered(kind: int, raw: NDArray[np.uint8], above: NDArray[np.uint8], step: int) -> bytes:
    none = [0] * step
    left, up, corner = np.r_[none, raw][: len(raw)], above.astype(int), np.r_[none, above][: len(raw)]
    a, b, c = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
    expected = (0 * left, left, up, (left + up) // 2, paeth)[kind]
    return ((raw - expected) % 256).astype(np.uint8).tobytes()


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def xmp(orientation: int) -> bytes:
    space = "http://ns.adobe.com/tiff/1.0/"
    return f'<rdf:Description xmlns:tiff="{space}" tiff:Orientation="{orientation}"/>'.encode()


def profile() -> bytes:
    """A colour profile with red and green swapped, so that it shows where somebody uses it."""
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    parts = usual.split(b"rXYZ", 1)
    swapped: bytes = parts[0] + b"gXYZ" + parts[1].replace(b"gXYZ", b"rXYZ", 1)
    return swapped


def turning_chunks(orientation: int) -> dict[str, tuple[list[Chunk], list[Chunk]]]:
    """Where a PNG file may say its orientation: chunks before and after its pixels."""
    data, said = exif(orientation)[6:], xmp(orientation)
    text = b"Raw profile type exif\0\0" + zlib.compress(
        b"\nexif\n" + b"%8d\n" % len(data) + data.hex().encode() + b"\n"
    )
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(said)
    return {
        "exif": ([(b"eXIf", data)], []),
        "late": ([], [(b"eXIf", data)]),
        "text": ([(b"zTXt", text)], []),
        "xmp": ([(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + said)], []),
        "packed-xmp": ([(b"iTXt", packed)], []),
    }


def png_files(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Every colour type and depth of PNG: plain, in passes, transparent, with a profile, a gamma, an orientation."""
    for colour, depths in DEPTHS.items():
        for bits in depths:
            name, values = f"png-{colour}-{bits}", rng.integers(0, 2**bits, (*SIZE, CHANNELS[colour]))
            palette = [(b"PLTE", rng.bytes(3 * 2**bits))] if colour == 3 else []
            some = values[3, 3].tolist()
            levels = struct.Struct(f">{len(some)}H")
            clear = [levels.pack(*some), levels.pack(*(level & 255 for level in some)), levels.pack(*[85] * len(some))]
            if colour == 3:
                clear = [b"\xff" * (2**bits - 1) + b"\0", rng.bytes(2**bits), b"\x07"]
            elif colour > 3:
                clear = []
            for passes in (False, True):
                yield f"{name}-{passes}.png", png(values, bits, colour, passes, palette)
                for k, data in enumerate(clear):
                    yield (
                        f"{name}-{passes}-clear{k}.png",
                        png(values, bits, colour, passes, [*palette, (b"tRNS", data)]),
                    )
            gamma, icc = (b"gAMA", struct.pack(">I", 100000)), (b"iCCP", b"x\0\0" + zlib.compress(profile()))
            yield f"{name}-gamma.png", png(values, bits, colour, False, [gamma, *palette])
            yield f"{name}-profile.png", png(values, bits, colour, False, [icc, *palette])
            for orientation in (2, 5, 6):
                for kind, (before, after) in turning_chunks(orientation).items():
                    turned = png(values, bits, colour, False, [*palette, *before], after)
                    yield f"{name}-{kind}{orientation}.png", turned


def smooth(height: int, width: int, channels: int, rng: np.random.Generator) -> Image.Image:
    rough = rng.integers(0, 256, (channels, max(2, height // 6), max(2, width // 6)), np.uint8)
    bands = [Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC) for band in rough]
    return bands[0] if channels == 1 else Image.merge({3: "RGB", 4: "RGBA"}[channels], bands)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def other_files(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """JPEG, WebP, GIF and BMP, and PNG with several frames."""
    icc = {"icc_profile": profile()}
    for k in range(4):
        height, width = (int(side) for side in rng.integers(20, 90, 2))
        rgb, grey, rgba = (smooth(height, width, channels, rng) for channels in (3, 1, 4))
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 4), np.uint8))
        few = rgb.quantize(37)
        for name, options in {
            "444": {"subsampling": 0},
            "422": {"subsampling": 1},
            "420": {"subsampling": 2},
            "progressive": {"progressive": True},
            "fine": {"quality": 95},
            "coarse": {"quality": 30},
            "profile": icc,
            "rgb": {"keep_rgb": True},
            "restarts": {"restart_marker_blocks": 2},
        }.items():
            yield f"jpeg-{name}-{k}.jpg", saved(rgb, "JPEG", **options)
        yield f"jpeg-grey-{k}.jpg", saved(grey, "JPEG")
        for name, image in {"rgb": rgb, "rgba": rgba, "noise": noise}.items():
            yield f"webp-{name}-exact-{k}.webp", saved(image, "WEBP", lossless=True, exact=True)
            yield f"webp-{name}-lossless-{k}.webp", saved(image, "WEBP", lossless=True)
            yield f"webp-{name}-lossy-{k}.webp", saved(image, "WEBP", quality=80)
            yield f"webp-{name}-profile-{k}.webp", saved(image, "WEBP", lossless=True, exact=True, **icc)
        for name, image in {"rgb": rgb, "few": few, "grey": grey, "one": grey.convert("1")}.items():
            yield f"gif-{name}-{k}.gif", saved(image, "GIF")
            yield f"bmp-{name}-{k}.bmp", saved(image, "BMP")
        yield f"bmp-rgba-{k}.bmp", saved(rgba, "BMP")
        yield f"gif-clear-{k}.gif", saved(few, "GIF", transparency=3)
        frames = {"save_all": True, "append_images": [rgba.rotate(90), rgba.rotate(180)]}
        yield f"gif-frames-{k}.gif", saved(few, "GIF", save_all=True, append_images=[few.rotate(90)])
        yield f"webp-frames-{k}.webp", saved(rgba, "WEBP", lossless=True, **frames)
        yield f"png-frames-{k}.png", saved(rgba, "PNG", **frames)
        yield f"png-frames-apart-{k}.png", saved(rgba, "PNG", default_image=True, **frames)
    for orientation in range(10):
        said = {"exif": exif(orientation)}
        yield f"jpeg-exif{orientation}.jpg", saved(rgb, "JPEG", **said)
        yield f"jpeg-xmp{orientation}.jpg", saved(rgb, "JPEG", xmp=xmp(orientation))
        yield f"webp-exif{orientation}.webp", saved(rgba, "WEBP", lossless=True, exact=True, **said)
        yield f"webp-xmp{orientation}.webp", saved(rgb, "WEBP", lossless=True, xmp=xmp(orientation))
    both = {"exif": exif(6), "xmp": xmp(3)}
    yield "jpeg-both.jpg", saved(rgb, "JPEG", **both)
    yield "webp-both.webp", saved(rgb, "WEBP", **both)


def refused_files(rng: np.random.Generator) -> dict[str, tuple[bytes, str]]:
    """Files whose pixels a page cannot know, or that have none, with a part of what it says of them."""
    rgb, noise = smooth(40, 50, 3, rng), Image.fromarray(rng.integers(0, 256, (40, 50, 4), np.uint8))
    whole = {
        "png": saved(noise, "PNG"),
        "jpg": saved(rgb, "JPEG"),
        "webp": saved(rgb, "WEBP"),
        "gif": saved(rgb, "GIF"),
    }
    whole["bmp"] = saved(rgb, "BMP")
    cut = {f"cut.{kind}": (data[: len(data) // 2], "cut short") for kind, data in whole.items()}
    row = rng.bytes(2 * 10 * 9)
    old = struct.pack("<IiiHHIIiiII", 40, 10, 9, 1, 16, 0, len(row), 2835, 2835, 0, 0)
    few = b"BM" + struct.pack("<IHHI", 54 + len(row), 0, 0, 54) + old + row
    huge, none = (
        struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0) for width, height in ((100_000, 100_000), (0, 5))
    )
    jpeg = bytearray(whole["jpg"])
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    return cut | {
        "cmyk.jpg": (saved(rgb.convert("CMYK"), "JPEG"), "CMYK"),
        "low.png": (png(rng.integers(1, 256, (*SIZE, 1)), 16, 0), LOW),
        "few.bmp": (few, "16 bits"),
        "empty.png": (b"", "an empty file"),
        "words.png": (b"no picture", "expected a picture as a PNG, JPEG, WebP, GIF or BMP file"),
        "tiff.tif": (saved(rgb, "TIFF"), "expected a picture as a PNG, JPEG, WebP, GIF or BMP file"),
        "start.png": (whole["png"][:8], "damaged or cut short"),
        "head.png": (whole["png"][:33], "damaged or cut short"),
        "huge.png": (
            whole["png"].replace(whole["png"][16:29], huge),
            "at most 64 megapixels, found 100000 \N{MULTIPLICATION SIGN} 100000",
        ),
        "huge.jpg": (bytes(jpeg), "at most 64 megapixels, found 65535 \N{MULTIPLICATION SIGN} 65535"),
        "none.png": (whole["png"].replace(whole["png"][16:29], none), "no pixels"),
        "start.jpg": (b"\xff\xd8\xff", ""),
        "start.webp": (b"RIFF\0\0\0\0WEBP", ""),
        "start.gif": (b"GIF89a", ""),
        "start.bmp": (b"BM", ""),
    }
