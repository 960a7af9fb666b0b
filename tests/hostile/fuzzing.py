"""Coverage-guided fuzzing of one reader with atheris; run as a program by ``test_hostile_fuzz``.

    python fuzzing.py READER CORPUS [OPTIONS OF LIBFUZZER]

CORPUS is a folder of valid files to begin with, and gets what the fuzzer finds worth keeping. Hashes and checksums are
mended after a change, so that it gets past them. Any exception but the package's own ends the program with a code that
is not 0, and so do a warning, a megabyte too much of memory and an input that takes too long.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["portable_nn"]):
    import portable_nn.plain  # noqa: F401 - instrumented where it is imported first
    from portable_nn.converters.onnx import import_onnx
    from portable_nn.core.errors import EditedWarning, PortableNNError
    from portable_nn.format import load

import forge_hdf5
import forge_npz
import forge_safetensors
from file_changes import change_message, change_tree
from forge import Forge, dumps
from google.protobuf.message import DecodeError
from onnx import ModelProto
from test_hostile_mutation import follow, mended

from portable_nn.plain import open_tensors

# Readers


def read_weights(path: Path) -> None:
    contents = load(path)
    for name, array in load(path, lazy=True).tensors.items():
        assert array.tobytes() == contents.tensors[name].tobytes()


def read_arrays(path: Path) -> None:
    with open_tensors(path) as tensors:
        for name in tensors.entries:
            tensors[name]


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "safetensors": (".safetensors", read_weights),
    "h5": (".h5", read_weights),
    "onnx": (".onnx", lambda path: import_onnx(path, verify=False)),
    "npz": (".npz", read_weights),
    "plain-safetensors": (".safetensors", read_arrays),
    "plain-h5": (".h5", read_arrays),
    "plain-npz": (".npz", read_arrays),
    "plain-npy": (".npy", read_arrays),
}

# Changes


def bytes_at_random(data: bytes, size: int, dice: random.Random) -> bytes:
    return atheris.Mutate(data, size)


def weights(suffix: str, pack: Callable[[Forge], bytes]) -> Callable[[bytes, int, random.Random], bytes]:
    """Changes of a weight file: its bytes, its manifest's text, or a part of what the text says."""

    def change(data: bytes, size: int, dice: random.Random) -> bytes:
        way = dice.randrange(4)
        if way == 0:
            return mended(suffix, atheris.Mutate(data, size))
        forged = Forge()
        text = manifest_of(suffix, data) or forged.text
        try:
            forged.manifest = json.loads(text)
            for _ in range(dice.randint(1, 3)):
                change_tree(forged.manifest, dice)
            follow(forged)
            if way == 1:
                forged.text = atheris.Mutate(dumps(forged.manifest), size)
            return pack(forged)[:size]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError, struct.error):
            return mended(suffix, atheris.Mutate(data, size))

    return change


def manifest_of(suffix: str, data: bytes) -> bytes:
    if suffix == ".h5":
        (length,) = struct.unpack_from("<I", data.ljust(78, b"\0"), 74)
        return data[forge_hdf5.TEXT : forge_hdf5.TEXT + length]
    if suffix == ".npz":
        return forge_npz.text_of(data)
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return str(header["__metadata__"]["portable_nn"]).encode()
    except (KeyError, TypeError, ValueError):
        return b""


def model(data: bytes, size: int, dice: random.Random) -> bytes:
    """Changes of an ONNX model: its bytes, or fields of the messages that it is made of."""
    found = ModelProto()
    try:
        found.ParseFromString(data)
    except DecodeError:
        return atheris.Mutate(data, size)
    if dice.randrange(4) == 0:
        return atheris.Mutate(data, size)
    try:
        for _ in range(dice.randint(1, 3)):
            change_message(found, dice)
        return found.SerializeToString()[:size]
    except (UnicodeDecodeError, ValueError):  # texts that are none, another enumeration, more than 32 bits
        return atheris.Mutate(data, size)


CHANGES = {
    "safetensors": weights(".safetensors", forge_safetensors.pack),
    "h5": weights(".h5", forge_hdf5.pack),
    "npz": weights(".npz", forge_npz.pack),
    "onnx": model,
    "plain-h5": lambda data, size, dice: forge_hdf5.mend_checksums(atheris.Mutate(data, size)),
}


def run(reader: str, corpus: str, *options: str) -> None:
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", EditedWarning)  # what a change of a model's bytes makes of it
    suffix, read = READERS[reader]
    change = CHANGES.get(reader, bytes_at_random)

    def test(data: bytes) -> None:
        path.write_bytes(data)
        try:
            read(path)
        except PortableNNError:
            return

    def mutate(data: bytes, size: int, seed: int) -> bytes:
        return change(data, size, random.Random(seed))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net{suffix}"
        atheris.Setup([sys.argv[0], *options, corpus], test, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    run(*sys.argv[1:])
