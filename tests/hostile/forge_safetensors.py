"""Safetensors files packed by hand from SPEC.md."""

from __future__ import annotations

import struct
from typing import Any

from forge import Forge, dumps, sha256

CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
}  # fmt: skip


def pack(forged: Forge) -> bytes:
    return frame(header(forged), forged.data)


def header(forged: Forge) -> bytes:
    return header_of(forged.text, entries(forged))


def entries(forged: Forge) -> dict[str, Any]:
    return {
        name: {"data_offsets": [each.start, each.stop], "dtype": CODES.get(each.dtype, each.dtype), "shape": each.shape}
        for name, each in forged.stored.items()
    }


def header_of(manifest: bytes, entries: dict[str, Any]) -> bytes:
    metadata = {"portable_nn": manifest.decode("utf-8", "surrogateescape"), "portable_nn.sha256": sha256(manifest)}
    return dumps(entries | {"__metadata__": metadata})


def frame(header: bytes, data: bytes, *, padding: bytes = b" ", alignment: int = 64) -> bytes:
    header += padding * (-(8 + len(header)) % alignment)
    return struct.pack("<Q", len(header)) + header + data
