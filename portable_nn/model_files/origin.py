"""What results follow from, in words that can be compared: the model, the data, the options."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portable_nn.core.errors import UsageError
from portable_nn.core.files import open_regular
from portable_nn.data.tables import STDIN
from portable_nn.format.manifest import PRODUCER
from portable_nn.model_files.opening import resolve


def origin_of(model: str | Path, inputs: Iterable[str | Path], options: Mapping[str, Any]) -> dict[str, str] | None:
    """What ``model`` gives for ``inputs`` follows from, as text by name; ``None`` where they cannot be read again.

    A model is known by its SHA-256. Data are as large as they are, and known by their size and time of change; those in
    a folder by their number, the sum and the last.
    """
    paths = list(map(Path, inputs))
    if any(str(path) == STDIN for path in paths):
        return None
    file = resolve(model)
    found = {"the program": PRODUCER, "the model": f"{file.name} with {identity(file)}"}
    found |= {f"the data {path}": standing(path) for path in paths}
    found["the order of the data"] = ", ".join(map(str, paths))
    return found | {name: said(value) for name, value in options.items()}


def said(value: Any) -> str:
    """An option in words; of a file, how it stands."""
    return f"{value}, {standing(value)}" if isinstance(value, Path) else str(value)


def identity(path: Path) -> str:
    """The SHA-256 of a model file, and how those stand in which it keeps weights."""
    with open_regular(path) as file:
        found = f"the SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return "; ".join([found, *_beside(path)])


def _beside(path: Path) -> Iterator[str]:
    """The files in which an ONNX file keeps its weights."""
    if path.suffix.lower() == ".onnx":
        from portable_nn.onnx.storage.files import data_files

        yield from (standing(path.parent / name) for name in data_files(path))


def standing(path: Path) -> str:
    """The size of a file, or of those in a folder, and when it was changed."""
    try:
        found = [each.stat() for each in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    except OSError as error:
        return f"not to be read: {error.strerror}"  # An input like this has an error in its row.
    size, last = sum(each.st_size for each in found), max((each.st_mtime_ns for each in found), default=0)
    when = datetime.fromtimestamp(last / 1e9, UTC).isoformat(" ", "microseconds")
    files = f"{len(found):,} files of " if path.is_dir() else ""
    return f"{files}{size:,} bytes of {when}"


def check_resumable(resume: bool, origin: Mapping[str, str] | None) -> None:
    """Raise ``UsageError`` where results are to be continued that have no ``origin`` to compare."""
    if resume and origin is None:
        raise UsageError(
            "resume=True is for out='FILE.csv', FILE.jsonl, .json, .parquet, .npy, .npz, .h5 or .zarr, made of files; "
            "boxes, save_io and stream need all that was computed before"
        )
