"""Processes with a limit on their memory, and a measure of the most that they took, or on their files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from apart import APART

MEMORY = 6 * 2**30
"""The address space that such a process gets, in bytes: libraries reserve a few gigabytes that they never use."""

_PROGRAM = """
import resource, sys
import portable_nn, portable_nn.converters.onnx, portable_nn.data.images, portable_nn.plain
from portable_nn.core.errors import PortableNNError
sys.path.insert(0, {folder!r})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
try:
{code}
except PortableNNError as error:
    print(type(error).__name__ + ":", error)
print(peak() - before)
"""


class Outcome(NamedTuple):
    """What the code printed, or the error of this package, and the bytes that it took beyond those of the imports."""

    text: str
    bytes: int


def no_larger_files(size: int) -> None:
    """Let this process, and what it starts, write so many bytes to a file, as where a disk is full.

    It keeps no compiled modules: of these the part that fits would stay for all who come after, before Python 3.14
    (github.com/python/cpython/issues/126606). Where a process does this by itself, ``python -B`` serves as well.
    """
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def bounded(code: str) -> Outcome:
    """Run ``code``, in which ``portable_nn`` is imported. Any other error than one of this package fails."""
    program = _PROGRAM.format(folder=str(Path(__file__).parent), code="".join(f"    {x}\n" for x in code.splitlines()))
    done = subprocess.run(
        [*APART, sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    text, taken = done.stdout.rstrip().rpartition("\n")[::2]
    return Outcome(text, int(taken))
