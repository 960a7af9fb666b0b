"""Every error that the package raises: a small closed family.

Each class knows the exit code that the command line gives it (see ``cli``):
1 a check failed, 2 wrong usage, 3 a bad input, 4 an optional package is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PortableNNError"]


class PortableNNError(Exception):
    """The root of the family: catch this one to catch them all."""

    exit_code = 3


class UsageError(PortableNNError, ValueError):
    """An argument that makes no sense: the message names it, what it may be, and what was given."""

    exit_code = 2


class MissingPackageError(PortableNNError, ImportError):
    """An optional package is needed; the message has the command that installs it."""

    exit_code = 4

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}': pip install 'portable-nn[{extra}]'")


class VerificationError(PortableNNError):
    """Two sides that should compute the same numbers do not."""

    exit_code = 1


class TrainingError(PortableNNError):
    """Training that cannot go on: the loss is no number any more."""

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong at one place of a graph."""

    node: str
    message: str

    def __str__(self) -> str:
        return f"{self.node}: {self.message}" if self.node else self.message


class GraphError(PortableNNError):
    """A graph that cannot be: every fault that one pass finds, each with the node it is at."""

    def __init__(self, faults: Iterable[Fault], where: str = "") -> None:
        self.faults = tuple(faults)
        self.where = where
        super().__init__(listed([str(fault) for fault in self.faults], where))


class ShapeError(PortableNNError, ValueError):
    """Arrays that do not fit a network: the message names each, its shape, and the shape that is needed."""


class FileError(PortableNNError):
    """A file or folder that cannot be used: the message starts with its path."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


class FormatError(FileError):
    """A model file that is damaged, hostile, or of another format or version.

    ``faults`` are those of a file that is whole but contradicts itself, one by one; otherwise there are none.
    """

    def __init__(self, path: str | Path, reason: str, faults: Iterable[str] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(path, reason)


class NoManifestError(FormatError):
    """A file of another project in a format that weight files have too: it holds arrays, and no network."""


class DataError(FileError):
    """An image, table or array file that cannot be read as what it claims to be."""


class UnsupportedError(FileError):
    """A valid model file that uses what this package does not support: all of it is listed."""


def listed(lines: Iterable[str], heading: str = "") -> str:
    """One line as it is, several as an indented list under ``heading``."""
    rows = list(lines)
    if len(rows) == 1:
        return f"{heading}: {rows[0]}" if heading else rows[0]
    head = f"{heading}: {len(rows)} faults" if heading else f"{len(rows)} faults"
    return "\n  ".join([head, *rows])
