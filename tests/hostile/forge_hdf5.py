"""HDF5 files packed by hand, from SPEC.md and the format specification of the HDF Group.

Objects are lists of messages, each a number, its data and where there are any its flags, so that a test can make others
of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from forge import Forge, Stored, sha256

Messages = list[Any]
Alter = Callable[[str, Messages], Messages]

UNDEFINED = b"\xff" * 8
SUPERBLOCK = 48
DATASPACE, LINK_INFO, DATATYPE, FILL_VALUE, LINK, LAYOUT, GROUP_INFO, ATTRIBUTE = 1, 2, 3, 5, 6, 8, 10, 12

INT8 = bytes.fromhex("10080000 01000000 0000 0800")
DATATYPES = {
    "float64": bytes.fromhex("11203f00 08000000 0000 4000 34 0b 00 34 ff030000"),
    "float32": bytes.fromhex("11201f00 04000000 0000 2000 17 08 00 17 7f000000"),
    "float16": bytes.fromhex("11200f00 02000000 0000 1000 0a 05 00 0a 0f000000"),
    "int64": bytes.fromhex("10080000 08000000 0000 4000"),
    "int32": bytes.fromhex("10080000 04000000 0000 2000"),
    "int16": bytes.fromhex("10080000 02000000 0000 1000"),
    "int8": INT8,
    "uint64": bytes.fromhex("10000000 08000000 0000 4000"),
    "uint32": bytes.fromhex("10000000 04000000 0000 2000"),
    "uint16": bytes.fromhex("10000000 02000000 0000 1000"),
    "uint8": bytes.fromhex("10000000 01000000 0000 0800"),
    "bool": bytes.fromhex("38020000 01000000") + INT8 + b"FALSE\0TRUE\0\0\1",
}
SIZES = {name: data[4] for name, data in DATATYPES.items()}


MIX = (0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4)
FINAL = (2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24)


def lookup3(data: bytes) -> bytes:
    """The checksum of HDF5's metadata: R. Jenkins's ``hashlittle`` with the initial value 0."""

    def rotated(x: int, bits: int) -> int:
        return (x << bits | x >> (32 - bits)) & 0xFFFFFFFF

    state = [(0xDEADBEEF + len(data)) & 0xFFFFFFFF] * 3
    for at in range(0, len(data), 12):
        words = struct.unpack("<III", data[at : at + 12].ljust(12, b"\0"))
        state = [(x + word) & 0xFFFFFFFF for x, word in zip(state, words, strict=True)]
        if at + 12 < len(data):
            for x, y, z, bits in MIX:
                state[x] = (state[x] - state[y]) & 0xFFFFFFFF ^ rotated(state[y], bits)
                state[y] = (state[y] + state[z]) & 0xFFFFFFFF
    for x, y, bits in FINAL:
        state[x] = ((state[x] ^ state[y]) - rotated(state[y], bits)) & 0xFFFFFFFF
    return struct.pack("<I", state[2])


# Messages


def dataspace(shape: list[int]) -> tuple[int, bytes]:
    return DATASPACE, bytes([2, len(shape), 0, 1 if shape else 0]) + struct.pack(f"<{len(shape)}Q", *shape)


def text_type(length: int) -> bytes:
    return bytes([0x13, 0x11, 0, 0]) + struct.pack("<I", length)


def contiguous(address: int, size: int) -> tuple[int, bytes]:
    return LAYOUT, b"\3\1" + (struct.pack("<Q", address) if size else UNDEFINED) + struct.pack("<Q", size)


def link(name: str, address: int) -> tuple[int, bytes]:
    text = name.encode()
    return LINK, b"\1\x11\1" + struct.pack("<H", len(text)) + text + struct.pack("<Q", address)


def attribute(name: bytes, datatype: bytes, value: bytes) -> tuple[int, bytes]:
    scalar = dataspace([])[1]
    sizes = struct.pack("<HHH", len(name) + 1, len(datatype), len(scalar))
    return ATTRIBUTE, b"\3\0" + sizes + b"\1" + name + b"\0" + datatype + scalar + value


# Objects


def group(links: dict[str, int]) -> Messages:
    return [(LINK_INFO, b"\0\0" + 2 * UNDEFINED), (GROUP_INFO, b"\0\0"), *(link(*each) for each in links.items())]


def dataset(shape: list[int], datatype: bytes, address: int, size: int) -> Messages:
    return [dataspace(shape), (DATATYPE, datatype), (FILL_VALUE, b"\3\x0a"), contiguous(address, size)]


def manifest_object(length: int, digest: str) -> Messages:
    own = attribute(b"sha256", text_type(64), digest.encode())
    address = SUPERBLOCK + len(packed([*dataset([], text_type(0), 0, 0), own]))
    return [*dataset([], text_type(length), address, length), own]


def packed(messages: Messages) -> bytes:
    """An object header of version 2 with all its messages in its first chunk."""
    chunk = b"".join(struct.pack("<BHB", kind, len(data), *flags or [0]) + data for kind, data, *flags in messages)
    head = b"OHDR\2\2" + struct.pack("<I", len(chunk)) + chunk
    return head + lookup3(head)


def superblock(end: int, root: int) -> bytes:
    head = b"\x89HDF\r\n\x1a\n\2\x08\x08\0" + struct.pack("<Q", 0) + UNDEFINED + struct.pack("<QQ", end, root)
    return head + lookup3(head)


# Files


def paths(names: list[str]) -> dict[str, list[str]]:
    """Section 7 of SPEC.md, "Paths"."""
    found: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")
        if "." in parts[-1]:
            parts[-1:] = parts[-1].rsplit(".", 1)
        earlier = list(found.values())
        if (
            any(part in {"", ".", ".."} for part in parts)
            or len(parts) > 32
            or parts[0] in {"portable_nn", "%"}
            or any(each[: len(parts)] == parts or parts[: len(each)] == each for each in earlier)
        ):
            parts = ["%", name.replace("%", "%25").replace("/", "%2F")]
        found[name] = parts
    return found


def objects(stored: dict[str, Stored]) -> dict[str, Any]:
    """The tree of groups: what each link leads to, in the order of the layout."""
    layout = sorted(stored, key=lambda name: -SIZES.get(stored[name].dtype, 4))
    tree: dict[str, Any] = {}
    for name, (*outer, last) in paths(layout).items():
        place = tree
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = stored[name]
    return tree


def pack(forged: Forge, alter: Alter = lambda path, messages: messages) -> bytes:
    """The file; ``alter`` gives the messages that the object at a path has instead of the right ones."""
    tree, text = objects(forged.stored), forged.text

    def walk(path: str, found: Any) -> list[tuple[str, Any]]:
        below = [] if isinstance(found, Stored) else [walk(f"{path}/{name}", each) for name, each in found.items()]
        return [(path, found), *(each for part in below for each in part)]

    def headers(addresses: dict[str, int], data: int) -> dict[str, bytes]:
        made = {"/portable_nn": packed(alter("/portable_nn", manifest_object(len(text), sha256(text))))}
        for path, found in walk("", tree):
            if isinstance(found, Stored):
                datatype = DATATYPES.get(found.dtype, DATATYPES["float32"])
                messages = dataset(found.shape, datatype, data + found.start, found.stop - found.start)
            else:
                own = {"portable_nn": SUPERBLOCK} if not path else {}
                messages = group(own | {name: addresses.get(f"{path}/{name}", 0) for name in found})
            made[path] = packed(alter(path or "/", messages))
        return made

    first = headers({}, 0)
    at, addresses = SUPERBLOCK, {}
    for path, header in first.items():
        addresses[path] = at
        at += len(header) + (len(text) if path == "/portable_nn" else 0)
    data = at + -at % 64
    manifest, *others = headers(addresses, data).values()
    end = data + max((each.stop for each in forged.stored.values()), default=0)
    head = superblock(end, addresses[""]) + manifest + text + b"".join(others)
    return head + bytes(data - at) + forged.data


TEXT = SUPERBLOCK + len(packed(manifest_object(0, "0" * 64)))
"""Where the manifest's text begins."""


def mend(data: bytes) -> bytes:
    """The same bytes with right checksums, and the manifest's right digest."""
    if len(data) > TEXT:
        (length,) = struct.unpack_from("<I", data, 74)
        data = data[: TEXT - 68] + sha256(data[TEXT : TEXT + length]).encode() + data[TEXT - 4 :]
    return mend_checksums(data)


def mend_checksums(data: bytes) -> bytes:
    """The same bytes with right checksums for the superblock and for all object headers that are whole."""
    data = data[: SUPERBLOCK - 4] + lookup3(data[: SUPERBLOCK - 4]) + data[SUPERBLOCK:]
    start = data.find(b"OHDR")
    while start >= 0:
        (length,) = struct.unpack_from("<I", data.ljust(start + 10, b"\0"), start + 6)
        stop = start + 10 + length
        if stop + 4 <= len(data):
            data = data[:stop] + lookup3(data[start:stop]) + data[stop + 4 :]
        start = data.find(b"OHDR", start + 4)
    return data
