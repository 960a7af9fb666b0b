"""Rows 6, 41 and 42 of the list of hostile files: damage of every bit, every cut, and what hashes can detect."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forge import Forge, sha256, xxh3
from rows import CARRIERS

from portable_nn.core.errors import FormatError, UsageError
from portable_nn.format import Contents, load
from portable_nn.format.reading import HEADS
from portable_nn.outputs.reports import inspect


@pytest.fixture(params=CARRIERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a weight file may be, for each carrier."""
    return tmp_path / f"net{request.param}"


def small() -> Forge:
    """As few bytes as there can be with two tensors of two types."""
    return Forge().only("w", "float32", [2], struct.pack("<2f", 1, -2)).give("v", "bool", [3], b"\1\0\1")


def eager(path: Path) -> Contents:
    return load(path)


def lazy(path: Path) -> Contents:
    found = load(path, lazy=True)
    for array in found.tensors.values():
        array.sum()
    return found


def lazy_and_eager(path: Path) -> Contents:
    return load(path, lazy=True, verify="eager")


def accepted(path: Path, ways: list[Callable[[Path], Contents]]) -> bool:
    """Whether any of the ways of loading finds nothing wrong, or something and reads other numbers than ``small``."""
    for way in ways:
        try:
            found = way(path)
        except FormatError:
            continue
        right = found.tensors["w"].tolist() == [1, -2] and found.tensors["v"].tolist() == [True, False, True]
        if not (right and found.notes and path.suffix in ANY):
            return True
    return False


ANY = (".h5", ".npz")
"""The carriers in which some bytes may be any: dates, remarks, gaps. Those of safetensors all have a meaning."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("bits", "remembered"),
    [
        pytest.param(1, True, id="one of each byte, after the valid file"),
        pytest.param(1, False, id="one of each byte, for the first time"),
        pytest.param(8, True, id="after the valid file", marks=pytest.mark.sweep),
        pytest.param(8, False, id="for the first time", marks=pytest.mark.sweep),
    ],
)
def test_41_every_flipped_bit_is_refused_or_of_no_meaning(path: Path, bits: int, remembered: bool) -> None:
    """Also where the right file was loaded just before, so that its head is remembered."""
    content = CARRIERS[path.suffix](small())
    path.write_bytes(content)
    head = len(content) - len(small().data)
    load(path)
    wrong = []
    with path.open("r+b", buffering=0) as file:
        for bit in range(0, 8 * len(content), 8 // bits):
            at = bit // 8
            mask = (bit + at) % 8
            os.pwrite(file.fileno(), bytes([content[at] ^ 1 << mask]), at)
            if not remembered:
                HEADS.clear()
            # The head is read in one way, the data, which in archives lie between headers, in three.
            if accepted(path, [eager, lazy, lazy_and_eager] if at >= head or path.suffix == ".npz" else [eager]):
                wrong.append(bit)
            os.pwrite(file.fileno(), content[at : at + 1], at)
    assert not wrong
    assert load(path)


GOLDEN = Path(__file__).parents[1] / "golden" / "v1.safetensors"


@pytest.mark.long
def test_41_every_flipped_bit_of_the_data_of_version_1_is_refused(tmp_path: Path) -> None:
    """It has no checksums: its digests are looked at."""
    path, content = tmp_path / "v1.safetensors", bytearray(GOLDEN.read_bytes())
    size = sum(array.nbytes for array in load(GOLDEN).tensors.values())
    for bit in range(8 * (len(content) - size), 8 * len(content)):
        at, mask = divmod(bit, 8)
        content[at] ^= 1 << mask
        path.write_bytes(content)
        assert not accepted(path, [eager, lazy, lazy_and_eager]), bit
        content[at] ^= 1 << mask
    path.write_bytes(content)
    eager(path)


def test_41_a_flipped_bit_of_one_tensor_leaves_the_others(path: Path) -> None:
    before, data, after = CARRIERS[path.suffix](small()).rpartition(b"\1\0\1")
    path.write_bytes(before + data[:-1] + b"\0" + after)
    tensors = load(path, lazy=True).tensors
    assert tensors["w"].tolist() == [1, -2]
    for _ in range(2):
        with pytest.raises(FormatError, match=r"tensor 'v' is damaged or another network's: its XXH3-128 is "):
            tensors["v"]


@pytest.mark.long
def test_6_every_truncation_is_refused(path: Path) -> None:
    content = CARRIERS[path.suffix](small())
    path.write_bytes(content)
    load(path)
    for size in reversed(range(len(content))):
        os.truncate(path, size)
        assert not accepted(path, [eager, lazy]), size


def test_7_every_longer_file_is_refused_or_its_end_is_of_no_meaning(path: Path) -> None:
    content = CARRIERS[path.suffix](small())
    for extra in (b"\0", b" ", b"\n", bytes(64), content):
        path.write_bytes(content + extra)
        assert not accepted(path, [eager, lazy])


# What hashes detect


def written(path: Path, forged: Forge) -> None:
    path.write_bytes(CARRIERS[path.suffix](forged))


def refusals(path: Path, digest: str, message: str) -> None:
    """With this ``digest``, nobody gets the forged tensor."""
    with pytest.raises(FormatError, match=message):
        load(path, digest=digest)
    with pytest.raises(FormatError, match=message):
        load(path, lazy=True, verify="eager", digest=digest)
    with pytest.raises(FormatError, match=message):
        dict(load(path, lazy=True, digest=digest).tensors)


def test_the_digest_is_the_one_of_the_manifest_in_every_carrier(tmp_path: Path) -> None:
    for suffix in CARRIERS:
        written(tmp_path / f"net{suffix}", Forge())
        assert load(tmp_path / f"net{suffix}").digest == sha256(Forge().text)


@pytest.mark.parametrize("form", ["{}", "sha256:{}", " {}\n"])
def test_the_expected_digest_lets_the_right_file_through(path: Path, form: str) -> None:
    written(path, Forge())
    for digest in (sha256(Forge().text), sha256(Forge().text).upper()):
        for lazy in (False, True):
            tensors = load(path, lazy=lazy, digest=form.format(digest)).tensors
            assert tensors["b.bias"].tolist() == [0.5, -0.5]


@pytest.mark.parametrize("digest", ["", "0" * 40, "0" * 63, "g" * 64, "md5:" + "0" * 64])
def test_a_digest_that_is_none_is_an_error_of_the_caller(path: Path, digest: str) -> None:
    written(path, Forge())
    with pytest.raises(UsageError, match=r"a digest is the 64 hexadecimal digits that 'portable-nn inspect' prints,"):
        load(path, digest=digest)


def test_a_forged_file_whose_hashes_are_right_has_another_digest(path: Path) -> None:
    forged = Forge()
    forged.data = struct.pack("<4f", 9, 9, 9, 9) + forged.data[16:]
    forged.manifest["digests"]["a.weight"] = sha256(forged.data[:16])
    forged.manifest["checksums"]["a.weight"] = xxh3(forged.data[:16])
    written(path, forged)
    assert load(path).tensors["a.weight"][0, 0] == 9
    message = f"is another network: its digest is {sha256(forged.text)}, and {sha256(Forge().text)} was expected$"
    refusals(path, sha256(Forge().text), message)


def test_hashes_in_a_file_do_not_tell_who_made_it(path: Path) -> None:
    """Whoever mends the checksums alone is found out by the SHA-256, which is looked at where a digest is given."""
    forged = Forge()
    forged.data = struct.pack("<4f", 9, 9, 9, 9) + forged.data[16:]
    forged.manifest["checksums"]["a.weight"] = xxh3(forged.data[:16])
    written(path, forged)
    assert load(path).tensors["a.weight"][0, 0] == 9
    refusals(path, load(path).digest, "tensor 'a.weight' is damaged or another network's: its SHA-256 is ")


SECRET = bytes.fromhex("b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f")
"""The beginning of ``kSecret`` in the specification of XXH3."""


def with_the_same_xxh3(data: bytes, first: bytes) -> bytes:
    """``data`` of 241 to 1024 bytes that begins with the 8 bytes ``first`` and still has the same XXH3.

    XXH3 adds up, for each stripe of 64 bytes, the numbers a and b that it begins with: b to one sum and a to another,
    and the products of the halves of a and of b, after an exclusive or with a secret that everybody knows. A number
    whose one half is that of the secret has the product 0, and its other half makes up for any change elsewhere.
    """
    numbers = list(struct.unpack_from("<6Q", b"".join(data[at : at + 16] for at in (0, 64, 128))))
    secrets = [number for at in (0, 8, 16) for number in struct.unpack_from("<QQ", SECRET, at)]

    def product(place: int) -> int:
        mixed = numbers[place] ^ secrets[place]
        return (mixed & 0xFFFFFFFF) * (mixed >> 32)

    def sums() -> list[int]:
        return [sum(product(place) + numbers[place ^ 1] for place in range(lane, 6, 2)) for lane in (0, 1)]

    wanted = sums()
    (numbers[0],) = struct.unpack("<Q", first)
    for lane in (0, 1):
        numbers[2 + lane] = secrets[2 + lane] >> 32 << 32  # ... and its lower half is free,
        numbers[4 + lane] = secrets[4 + lane] & 0xFFFFFFFF  # ... and here the upper one.
    for lane, missing in enumerate((wanted[1] - sums()[1], wanted[0] - sums()[0])):
        low = missing & 0xFFFFFFFF
        numbers[2 + lane] += low
        numbers[4 + lane] += ((missing - low) >> 32) % 2**32 << 32
    made = bytearray(data)
    for stripe in range(3):
        struct.pack_into("<QQ", made, 64 * stripe, *numbers[2 * stripe : 2 * stripe + 2])
    return bytes(made)


def test_a_checksum_can_be_forged_and_a_digest_cannot(path: Path) -> None:
    """The same manifest to the byte, so the same digest in the file, and other numbers: SHA-256 alone tells."""
    true = np.linspace(-1, 1, 64, dtype=np.float32)
    valid = Forge().only("w", "float32", [64], true.tobytes())
    for small in np.arange(1000, dtype=np.float32):  # ... until what makes up for it is a number
        forged = with_the_same_xxh3(valid.data, np.float32([small, -100]).tobytes())
        if np.isfinite(np.frombuffer(forged, np.float32)).all():
            break
    assert (xxh3(forged), sha256(forged)) != (xxh3(valid.data), sha256(valid.data))
    assert xxh3(forged) == xxh3(valid.data)
    digest = sha256(valid.text)
    valid.data = forged
    written(path, valid)
    assert load(path).tensors["w"][1] == -100
    assert load(path).digest == digest
    refusals(path, digest, f"tensor 'w' is damaged or another network's: its SHA-256 is {sha256(forged)}, but the ")


def test_inspect_does_not_show_a_forged_file_with_the_digest_of_another(path: Path) -> None:
    true = np.linspace(-1, 1, 64, dtype=np.float32)
    valid = Forge().only("w", "float32", [64], true.tobytes())
    written(path, valid)
    assert inspect(path).digest == sha256(valid.text)
    valid.data = with_the_same_xxh3(valid.data, np.float32([0, -100]).tobytes())
    written(path, valid)
    with pytest.raises(FormatError, match="tensor 'w' is damaged or another network's: its SHA-256 is"):
        inspect(path)
