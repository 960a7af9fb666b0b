"""C files compiled and run, in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.converters.conversion import Side
from portable_nn.core.dims import evaluated
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.network import Network
from portable_nn.operators import Array, NamedArrays

COMPILERS: Final = ("cc", "gcc", "clang")
STRICT: Final = ("-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-DNET_MAIN")
SECONDS: Final = 600


def compiler() -> str | None:
    """The path of a C compiler, if there is one."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


@contextmanager
def side_of(source: str, network: Network, sizes: Sequence[str], command: str, *options: str) -> Iterator[Side]:
    """Compile a file; gives what runs it on examples of ``network``, whose symbolic sizes are its arguments.

    Raises ``VerificationError`` where it does not compile.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = compiled(source, Path(folder), command, *options)

        def run(feeds: Mapping[str, Any]) -> Mapping[str, Any]:
            return run_program(program, network, sizes, feeds)

        yield run


def compiled(source: str, folder: Path, command: str, *options: str) -> Path:
    """The program that a file is, compiled strictly. Raises ``VerificationError`` where it does not compile."""
    file, program = folder / "net.c", folder / "net"
    file.write_text(source, encoding="utf-8")
    arguments = [command, *STRICT, *options, str(file), "-lm", "-o", str(program)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise VerificationError(f"the C file does not compile: {done.stderr[:2000]}")
    return program


def run_program(program: Path, network: Network, names: Sequence[str], feeds: NamedArrays) -> dict[str, Array]:
    """The outputs of the program for examples, one after another where their number is symbolic."""
    graph, known = network.graph, dict[str, int]()
    for value in graph.inputs:
        known |= {
            dim: size for dim, size in zip(value.shape, feeds[value.name].shape, strict=True) if isinstance(dim, str)
        }
    first = {value.shape[:1] for value in graph.inputs}
    [lead] = first if len(first) == 1 else [()]
    batch = lead[0] if lead and isinstance(lead[0], str) and lead[0] not in names else None
    count = known[batch] if batch else 1
    arrays = [feeds[value.name] for value in graph.inputs]
    parts = [each[n] if batch else each for n in range(count) for each in arrays]
    text = "\n".join(str(number) for part in parts for number in np.ravel(part.astype(_plain(part))).tolist())
    command = [str(program), *(str(known[name]) for name in names)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise VerificationError(f"the C program ends with {done.returncode} instead of 0")
    numbers, sizes = done.stdout.split(), known | ({batch: 1} if batch else {})
    shapes = {name: [evaluated(dim, sizes) or 0 for dim in network.types[name].shape] for name in graph.outputs}
    found = {name: list[Array]() for name in graph.outputs}
    start = 0
    for _ in range(count):
        for name in found:
            dtype, size = network.types[name].dtype, int(np.prod(shapes[name]))
            each = [float(number) if "float" in dtype else int(number) for number in numbers[start : start + size]]
            found[name].append(np.array(each, dtype).reshape(shapes[name]))
            start += size
    return {name: _joined(parts, network, name, batch) for name, parts in found.items()}


def _plain(array: Array) -> str:
    return {"f": "float64", "u": "uint64"}.get(array.dtype.kind, "int64")


def _joined(parts: Sequence[Array], network: Network, name: str, batch: str | None) -> Array:
    """The results of several examples as one array, along its axis of the batch."""
    if batch is None:
        return parts[0]
    shape = network.types[name].shape
    if batch not in shape:
        raise UsageError(
            f"output '{name}' is computed of all examples together, and the C function takes one: "
            f"sizes={{{batch!r}: 4}} (--dim) fixes how many there are"
        )
    return np.concatenate(parts, axis=shape.index(batch))
