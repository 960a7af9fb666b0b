"""Npz files packed by hand, from SPEC.md and PKWARE's APPNOTE.

Members are dictionaries of fields, first all of the right values, so that a test can make others of them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

from forge import Forge, sha256

Members = list[dict[str, Any]]
Alter = Callable[[Members], Members]

CODES = {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "int64": "<i8", "int32": "<i4", "int16": "<i2", "int8": "|i1",
    "uint64": "<u8", "uint32": "<u4", "uint16": "<u2", "uint8": "|u1", "bool": "|b1",
}  # fmt: skip


def array_name(tensor: str) -> str:
    """Section 8 of SPEC.md, "Names"."""
    odd = tensor in ("portable_nn", "portable_nn.sha256") or tensor[:1] == "%" or tensor[-4:].lower() == ".npy"
    return "%" + tensor + "%" if odd else tensor


def npy(dtype: str, shape: list[int], data: bytes) -> bytes:
    """An array of numpy, whose header fills a multiple of 64 bytes."""
    text = f"{{'descr': '{CODES.get(dtype, '<f4')}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    text = text.ljust(len(text) + -(11 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data


def member(name: str, content: bytes) -> dict[str, Any]:
    size, crc = len(content), zlib.crc32(content)
    fields = {
        "version": 20,
        "flags": 0x800,
        "method": 0,
        "time": 0,
        "date": 33,
        "crc": crc,
        "packed": size,
        "size": size,
    }
    return {
        "name": (name + ".npy").encode("utf-8", "surrogateescape"),
        "content": content,
        "local": dict(fields),
        "central": {"made": 0x314, **fields},
        "extra": None,
        "central extra": b"",
        "comment": b"",
        "start": None,
        "attributes": 0o100644 << 16,
        "before": b"",
        "after": b"",
    }


def order(forged: Forge, name: str) -> int:
    """The place of a tensor in the manifest: where it has none, after all others."""
    try:
        values = [*forged.graph["parameters"], *(forged.manifest.get("training") or {}).get("tensors", [])]
        return [value["name"] for value in values].index(name)
    except (AttributeError, KeyError, TypeError, ValueError):
        return len(forged.stored)


def members(forged: Forge) -> Members:
    own = {"portable_nn": forged.text, "portable_nn.sha256": sha256(forged.text).encode()}
    found = [member(name, npy("uint8", [len(data)], data)) for name, data in own.items()]
    for name, each in sorted(forged.stored.items(), key=lambda item: order(forged, item[0])):
        found.append(member(array_name(name), npy(each.dtype, each.shape, forged.data[each.start : each.stop])))
    return found


def pack(forged: Forge, alter: Alter = lambda members: members, **end: Any) -> bytes:
    """The file; ``alter`` gives the members that it has instead of the right ones, ``end`` other fields of its end."""
    return archive(alter(members(forged)), **end)


def archive(members: Members, *, comment: bytes = b"", count: int | None = None, start: int | None = None) -> bytes:
    file, table = b"", b""
    for each in members:
        file += each["before"]
        name, at = each["name"], len(file) if each["start"] is None else each["start"]
        gap = -(len(file) + 30 + len(name) + 6) % 64
        extra = struct.pack("<HHH", 0xD935, 2 + gap, 64) + bytes(gap) if each["extra"] is None else each["extra"]
        head = struct.pack("<4s5H3I2H", b"PK\3\4", *each["local"].values(), len(name), len(extra))
        file += head + name + extra + each["content"] + each["after"]
        own, note = each["central extra"], each["comment"]
        lengths = len(name), len(own), len(note), 0, 0
        table += struct.pack("<4s6H3I5H2I", b"PK\1\2", *each["central"].values(), *lengths, each["attributes"], at)
        table += name + own + note
    count, start = len(members) if count is None else count, len(file) if start is None else start
    return (
        file + table + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(table), start, len(comment)) + comment
    )


TEXT = 64 + 128 + 64 - 64
"""Where the manifest's text begins: after the local header of 64 bytes and the array's header of 128."""


def text_of(data: bytes) -> bytes:
    """The manifest's text, where a file has one."""
    if len(data) < TEXT:
        return b""
    (size,) = struct.unpack_from("<I", data, 22)
    return data[TEXT : TEXT + max(size - 128, 0)]


def mend(data: bytes) -> bytes:
    """The same bytes with the right CRC-32 of all members that are whole, and the manifest's right digest."""
    text, made, at, crcs = text_of(data), bytearray(data), 0, list[bytes]()
    place = data.find(b"\x93NUMPY", TEXT + len(text))
    if place >= 0 and len(data) > place + 192:
        made[place + 128 : place + 192] = sha256(text).encode()
    while made[at : at + 4] == b"PK\3\4" and at + 30 <= len(made):
        size, name, extra = struct.unpack_from("<I2H", made, at + 22)
        start = at + 30 + name + extra
        crcs.append(struct.pack("<I", zlib.crc32(made[start : start + size])))
        made[at + 14 : at + 18] = crcs[-1]
        at = start + size
    for crc in crcs:
        if made[at : at + 4] != b"PK\1\2" or at + 46 > len(made):
            break
        made[at + 16 : at + 20] = crc
        at += 46 + sum(struct.unpack_from("<3H", made, at + 28))
    return bytes(made)
