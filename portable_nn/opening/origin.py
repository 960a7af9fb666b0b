"""The origin of results, in words that can be compared: the model, the data, the options."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from portable_nn.core.errors import UsageError
from portable_nn.core.files import open_regular
from portable_nn.data.dataset import sibling_labels
from portable_nn.data.expanding import expanded, name_of
from portable_nn.data.tables import STDIN
from portable_nn.format.manifest import PRODUCER
from portable_nn.opening.kinds import resolve


def origin_of(model: str | Path, inputs: Iterable[str | Path], options: Mapping[str, Any]) -> dict[str, str] | None:
    """The origin of the answers of ``model`` for ``inputs``, as text by name; ``None`` where the inputs cannot be read
    again.

    A model is known by its SHA-256. Data are as large as they are, and known by their names, sizes and times of change.
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
    return "; ".join([found, *(standing(path.parent / name) for name in weights_beside(path))])


def weights_beside(path: Path) -> list[str]:
    """The names of the files in which an ONNX file keeps its weights."""
    from portable_nn.onnx.storage.files import data_files

    return data_files(path) if path.suffix.lower() == ".onnx" else []


def standing(path: Path) -> str:
    """The state of a file, or of those that a folder stands for: words that are others where one of them was
    changed."""
    names = [name_of(each) for each in expanded(path, strict=False)]
    if names != [str(path)]:
        return _listing(names)
    if not path.is_file():
        return stamp_of(str(path))
    found, labels = path.stat(), sibling_labels(path)
    times = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (found.st_mtime_ns, found.st_ctime_ns))
    written, changed = (time.isoformat(" ", "microseconds") for time in times)
    beside = f"; its labels: {standing(labels)}" if labels else ""
    return f"{found.st_size:,} bytes of {written}, changed {changed}{beside}"


def stamp_of(path: str) -> str:
    """The stamp of a file, which tells it from another one under its name: its size and its times; of a folder that is
    one data set, all files in it; of images of MNIST, also what tells the file of their labels.

    A copy that has got the time of another file, as archives and ``cp -p`` give it, was changed (``ctime``) when it was
    made.
    """
    try:
        state = os.stat(path)  # noqa: PTH116 - a path of its own for each of millions takes as long as all else
    except OSError as error:
        return f"not to be read: {error.strerror}"  # An input like this has an error in its row.
    if S_ISDIR(state.st_mode):
        return _listing(sorted(str(each) for each in Path(path).rglob("*") if not each.is_dir()))
    labels = sibling_labels(path)
    beside = f" beside {stamp_of(str(labels))}" if labels else ""
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}{beside}"


def _listing(names: list[str]) -> str:
    """The state of several files."""
    digest = hashlib.sha256(json.dumps([[name, stamp_of(name)] for name in names]).encode()).hexdigest()
    return f"{len(names):,} files, with sizes and times of the SHA-256 {digest[:16]}…"


def check_resumable(origin: Mapping[str, str] | None) -> None:
    """Raise ``UsageError`` where results are to be continued and have no ``origin`` to compare."""
    if origin is None:
        raise UsageError(
            "resume=True is for out='FILE.csv', FILE.jsonl, .json, .parquet, .npy, .npz, .h5 or .zarr, made of files; "
            "boxes, recorded arrays and streams need all that was computed before"
        )
