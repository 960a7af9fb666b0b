"""Every error that the package raises: a small closed family.

Each class knows the exit code, of ``EXIT_CODES``, that the command line gives it (see ``cli``).
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

__all__ = ["DataWarning", "EditedWarning", "PortableNNError", "PortableNNWarning", "ProviderWarning"]

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "done",
    1: "a check failed",
    2: "wrong usage",
    3: "a bad input",
    4: "an optional package is missing",
    70: "a fault of this program",
    130: "interrupted",
    141: "nobody reads the output",
}
"""The meanings of exit codes of the command line: 70 is EX_SOFTWARE of sysexits.h; shells give 128 and the signal."""


class PortableNNError(Exception):
    """The base class of all errors of this package."""

    exit_code = 3

    def __reduce__(self) -> tuple[object, ...]:
        """As another process gets it: with its message and attributes, whatever arguments its class takes."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[PortableNNError], args: tuple[object, ...], attributes: dict[str, object]) -> PortableNNError:
    """An error that came from another process."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


class UsageError(PortableNNError, ValueError):
    """An invalid argument: the message names it, the values that are allowed, and the one that was given."""

    exit_code = 2


class MissingPackageError(PortableNNError, ImportError):
    """An optional package is needed; the message has the command that installs it."""

    exit_code = 4

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}': pip install 'portable-nn[{extra}]'")


class MissingProviderError(MissingPackageError):
    """onnxruntime was built without an execution provider; the message has those that there are, and what brings it."""

    def __init__(self, provider: str, installed: str, remedy: str) -> None:
        PortableNNError.__init__(
            self, f"provider '{provider}' is not in the onnxruntime that is installed, which has {installed}: {remedy}"
        )


class RefusalError(PortableNNError):
    """An error for what the target of a conversion has no counterpart for: an operator, a layer, an option or a size.

    A row of a converter raises it with what is missing and, where there is one, the remedy. The converter adds the node
    or the layer, goes on to find all others, and raises one error that lists them and names the target.

    Without faults, what is missing has been noted where it was found.
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


def refuse(fault: str) -> NoReturn:
    """Raise ``RefusalError``; also a method of what rows are given."""
    raise RefusalError(fault)


class VerificationError(PortableNNError):
    """Two implementations of a network disagree in their outputs."""

    exit_code = 1


class TrainingError(PortableNNError):
    """Training cannot continue: the loss is NaN or infinite."""

    exit_code = 1


class PortableNNWarning(UserWarning):
    """The base of all warnings: an answer is given, and may not be the one that is meant."""


class DataWarning(PortableNNWarning):
    """Data that a network can compute with, but that miss by far what it is made for."""


class ProviderWarning(PortableNNWarning):
    """A model runs on another provider of onnxruntime than the one that was asked for."""


class EditedWarning(PortableNNWarning):
    """A file of this package that another program has changed or re-saved since it was written."""


def warn(text: str, category: type[PortableNNWarning]) -> None:
    """Warn in the name of the function that called this package."""
    package, level, frame = __name__.partition(".")[0], 1, sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(text, category, level)


@dataclass(frozen=True)
class Fault:
    """One fault of a graph, and the node that has it (``""`` for the graph itself)."""

    node: str
    message: str

    def __str__(self) -> str:
        return f"{self.node}: {self.message}" if self.node else self.message


class GraphError(PortableNNError):
    """An invalid graph: all faults that one pass finds, each with its node."""

    def __init__(self, faults: Iterable[Fault], where: str = "") -> None:
        self.faults = tuple(faults)
        self.where = where
        super().__init__(listed([str(fault) for fault in self.faults], where))


class ShapeError(PortableNNError, ValueError):
    """Arrays whose shapes a network does not accept: the message names each, its shape, and the expected shape."""


class FileError(PortableNNError):
    """A file or folder that cannot be used: the message starts with its path."""

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")


class TakenError(FileError):
    """A file to be written that another program has written since the command looked: it is not replaced.

    ``kept`` is the file beside it that has what was made; ``None`` where nothing was kept.
    """

    def __init__(self, path: str | Path, kept: Path | None = None) -> None:
        self.kept = kept
        where = f"what was made is in {kept}" if kept else "nothing was written"
        super().__init__(path, f"exists by now, as another program has written it, and is not replaced: {where}")


class FormatError(FileError):
    """A model file that is damaged, hostile, or of another format or version.

    ``faults`` lists the inconsistencies of a file that is complete but contradicts itself; otherwise it is empty.
    """

    def __init__(self, path: str | Path, reason: str, faults: Iterable[str] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(path, reason)


class NoManifestError(FormatError):
    """A file of another project in one of the formats of weight files: it holds arrays, but no network."""


class DataError(FileError):
    """An image, table or array file that cannot be read as what it claims to be."""


class UnsupportedError(FileError):
    """A valid model file that uses what this package does not support: all of it is listed."""


def listed(lines: Iterable[str], heading: str = "") -> str:
    """One line as it is, several as an indented list under ``heading``; equal lines once, with their number."""
    counts = Counter(list(lines))  # Of the keys of a dict, too.
    rows = [line if count == 1 else f"{line} ({count} times)" for line, count in counts.items()]
    start = f"{heading}: " if heading else ""
    return start + (rows[0] if len(rows) == 1 else "\n  ".join([f"{len(rows)} faults", *rows]))
