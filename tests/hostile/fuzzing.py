"""Coverage-guided fuzzing of one reader with atheris; run as a program by ``test_hostile_fuzz``.

    python fuzzing.py READER CORPUS [OPTIONS OF LIBFUZZER]

Without arguments, each line of the standard input is a list in JSON: a file for what is printed, and the arguments. For
each, a process forks that has all instrumented modules, and how it ended is printed.

CORPUS is a folder of valid files to begin with, and gets what the fuzzer finds worth keeping. Hashes and checksums are
mended after a change, so that it gets past them. Any exception but the package's own ends the program with a code that
is not 0, and so do a warning, a megabyte too much of memory and an input that takes too long.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import atheris

with atheris.instrument_imports(include=["portable_nn"]):
    import portable_nn.plain
    from portable_nn.converters.keras import read_keras, read_keras_weights
    from portable_nn.converters.onnx import import_onnx
    from portable_nn.core import isolated
    from portable_nn.core.errors import EditedWarning, PortableNNError
    from portable_nn.data.arrays import read_idx
    from portable_nn.data.frames import read_frame
    from portable_nn.data.images import read_image
    from portable_nn.data.stored_files import FILES, open_stored
    from portable_nn.format import load

import forge_hdf5
import forge_npz
import forge_pickles
import forge_safetensors
import table_files
from file_changes import change_message, change_tree
from forge import Forge, dumps
from google.protobuf.message import DecodeError
from onnx import ModelProto
from test_hostile_mutation import follow, mended

import portable_nn as pnn
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


def read_table(path: Path) -> None:
    """All columns at once, and each by row groups."""
    if path.suffix in FILES:
        for name in FILES[path.suffix](path).names:
            with suppress(PortableNNError):
                open_stored(path, [name])[:20]
    read_frame(path)


def read_folder(path: Path) -> None:
    """The arrays of the folder that a fuzzer has in one file."""
    folder = path.with_suffix("")
    try:
        table_files.laid_out(table_files.unpacked(path.read_bytes()), folder)
        for name in FILES[".zarr"](folder / "a.zarr").names:
            open_stored(folder / "a.zarr", [name])[:20]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


NETWORK = pnn.Sequential(pnn.Input(2), pnn.Dense(3), pnn.Sigmoid(), pnn.Dense(2), pnn.Softmax(), labels="ab")

READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "safetensors": (".safetensors", read_weights),
    "h5": (".h5", read_weights),
    "onnx": (".onnx", lambda path: import_onnx(path, verify=False)),
    "npz": (".npz", read_weights),
    "plain-safetensors": (".safetensors", read_arrays),
    "plain-h5": (".h5", read_arrays),
    "plain-npz": (".npz", read_arrays),
    "plain-npy": (".npy", read_arrays),
    "pickle": (".pt", read_arrays),
    "parquet": (".parquet", read_table),
    "arrow": (".arrow", read_table),
    "feather": (".feather", read_table),
    "zarr": (".folder", read_folder),
    "csv": (".csv", read_table),
    "idx": ("-idx2-ubyte", read_idx),
    "idx-gz": ("-idx2-ubyte.gz", read_idx),
    "picture": (".png", read_image),
    "keras": (".keras", lambda path: read_keras(path, verify=False)),
    "keras-weights": (".weights.h5", lambda path: read_keras_weights(path, into=NETWORK, verify=False)),
}

# Changes


Change: TypeAlias = Callable[[bytes, int, random.Random], bytes]


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


def one_of(changes: Sequence[Callable[[bytes, random.Random], bytes]]) -> Change:
    """One of several changes of bytes, or one of the fuzzer's own."""

    def change(data: bytes, size: int, dice: random.Random) -> bytes:
        return atheris.Mutate(data, size) if dice.randrange(4) == 0 else dice.choice(changes)(data, dice)[:size]

    return change


def folder(data: bytes, size: int, dice: random.Random) -> bytes:
    files = table_files.unpacked(data)
    return table_files.packed(table_files.changed_folder(files, dice))[:size] if files else data


def archive(data: bytes, size: int, dice: random.Random) -> bytes:
    """Changes of the members of a zip archive, of which the fuzzer would meet the checksums alone."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as given:
            members = {name: given.read(name) for name in given.namelist()}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, zlib.error, NotImplementedError, RuntimeError):
        return atheris.Mutate(data, size)
    if not members or dice.randrange(8) == 0:
        return atheris.Mutate(data, size)
    name = dice.choice(list(members))
    changes = [table_files.description] if name.endswith(".json") else [table_files.scrambled, table_files.words]
    members[name] = dice.choice(changes)(members[name], dice) if members[name] else b"{}"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for member, content in members.items():
            made.writestr(zipfile.ZipInfo(member), content)
    return target.getvalue()[:size]


CHANGES = {
    "parquet": one_of(table_files.PARQUET),
    "arrow": one_of(table_files.ARROW),
    "feather": one_of(table_files.ARROW),
    "zarr": folder,
    "keras": archive,
    "keras-weights": lambda data, size, dice: forge_hdf5.mend_checksums(atheris.Mutate(data, size)),
    "safetensors": weights(".safetensors", forge_safetensors.pack),
    "h5": weights(".h5", forge_hdf5.pack),
    "npz": weights(".npz", forge_npz.pack),
    "onnx": model,
    "pickle": lambda data, size, dice: forge_pickles.repacked(data, dice, lambda part: atheris.Mutate(part, size))[
        :size
    ],
    "plain-h5": lambda data, size, dice: forge_hdf5.mend_checksums(atheris.Mutate(data, size)),
}


def run(reader: str, corpus: str, *options: str) -> None:
    isolated.SECONDS = 2.0  # On a busy machine, the time of an input is up before that of a library.
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
        test(next(Path(corpus).iterdir()).read_bytes())  # What is imported at the first use takes no time of an input.
        atheris.Setup([sys.argv[0], *options, corpus], test, custom_mutator=mutate)
        atheris.Fuzz()


def serve() -> None:
    for line in sys.stdin:
        log, *arguments = json.loads(line)
        if not (child := os.fork()):
            with Path(log).open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            run(*arguments)
            break
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    run(*sys.argv[1:]) if len(sys.argv) > 1 else serve()
