"""The work of a run, cut into tasks that any process can take, each with the name of its shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.foreign_values import is_path
from portable_nn.core.text import said
from portable_nn.data.batches import Bad, Taken
from portable_nn.data.dataset import kind_of, read_dataset
from portable_nn.data.expanding import expanded
from portable_nn.data.given import Examples, Labelled, Named, named_sources
from portable_nn.data.images import SUFFIXES
from portable_nn.data.stored import Stored, pieces, rows_of
from portable_nn.data.tables import STDIN
from portable_nn.format.manifest import PRODUCER
from portable_nn.opening.origin import stamp_of
from portable_nn.prediction.options import ModelOptions
from portable_nn.preprocessing.applying import picture_shape
from portable_nn.scale.storage import filesystem, is_remote

SHARD: Final = 1024
"""The examples of a shard, unless it is said."""

Input: TypeAlias = tuple[str, str | None]
"""A file as it was given, and the class that its folder is named after."""

CHANGES: Final = ("size", "mtime", "LastModified", "last_modified", "ETag", "etag", "created", "updated")
"""The facts that file systems tell of a file, which differ for another one under its name."""


@dataclass(frozen=True)
class Job:
    """The settings that all tasks of a run have in common; small, and free of sessions.

    Args:
        model: the name of a shipped model, or the path or URL of a file.
        identity: the SHA-256 of its file, in words; a process that finds another one refuses to go on.
        shards: the folder or URL of the shards.
        root: the folder that relative paths begin in.
        options: how the model is opened and fed.
        content: what is computed, a row of ``CONTENTS``.
    """

    model: str
    identity: str
    shards: str
    root: str
    options: ModelOptions
    content: str = "answers"


@dataclass(frozen=True)
class Task:
    """Some inputs: whole files, or the examples of one file from a place to before another.

    Args:
        name: the name of its shard, which follows from the inputs, the model and the options.
        inputs: the files.
        start, stop: which examples of the only file; ``None`` for all.
    """

    name: str
    inputs: tuple[Input, ...]
    start: int | None = None
    stop: int | None = None

    @property
    def count(self) -> int | None:
        """The least number of examples; ``None`` where only reading the file tells it."""
        if self.stop is not None:
            return self.stop - (self.start or 0)
        return len(self.inputs) if _is_picture(self.inputs[0][0]) else None

    def __str__(self) -> str:
        """The name in messages."""
        if self.start is not None and self.stop is not None:
            return f"{self.inputs[0][0]}:{self.start} to {self.stop - 1}"
        first, last = self.inputs[0][0], self.inputs[-1][0]
        return first if first == last else f"{first} to {last}"

    def each(self) -> Iterator[str]:
        """The names of its examples, as far as they are known."""
        if self.start is not None and self.stop is not None:
            yield from (f"{self.inputs[0][0]}:{place}" for place in range(self.start, self.stop))
        else:
            yield from (path for path, _ in self.inputs)


def tasks_of(
    inputs: Any,
    taken: Taken,
    named: Named | None,
    size: int,
    strict: bool,
    key: Mapping[str, str],
    is_whole: bool,
) -> Iterator[Task | Bad]:
    """The inputs in their order, as tasks of about ``size`` examples each.

    Pictures are taken together, and arrays whose rows can be read one by one are cut; another file is one task.

    Args:
        inputs: paths and URLs, as ``predict`` takes them.
        taken: what the model takes.
        named: the names of the arrays that are read.
        size: the examples of a shard.
        strict: raise for an input that does not exist, instead of a ``Bad`` in its place.
        key: what the answers follow from but for the inputs; the names of shards change with it.
        is_whole: whether no file may be cut.
    """
    paths = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    for each in paths:
        if not is_path(each):
            raise UsageError(f"several processes read their inputs from files, and this is {type(each).__name__}")
        if str(each) == STDIN:
            raise UsageError("standard input is for one process: give files")
    if not paths:
        raise UsageError("no input: give pictures, folders, or files of arrays or tables")
    salt = json.dumps([PRODUCER, dict(key)], sort_keys=True)
    found = (each for path in paths for each in _files(path, strict))
    together = named is None and not taken.columns

    def is_shared(each: tuple[Input, str] | Bad) -> bool:
        return together and not isinstance(each, Bad) and _is_picture(each[0][0])

    for are_shared, group in groupby(found, key=is_shared):
        if not are_shared:
            for each in group:
                yield from [each] if isinstance(each, Bad) else _of_file(each, taken, named, size, salt, is_whole)
            continue
        files = cast("list[tuple[Input, str]]", list(group))
        for start, stop in pieces(len(files), size):
            some = files[start:stop]
            yield Task(_name(salt, some), tuple(each for each, _ in some))


def _of_file(
    file: tuple[Input, str], taken: Taken, named: Named | None, size: int, salt: str, is_whole: bool
) -> Iterator[Task]:
    """The tasks of a file that is no picture."""
    (path, label), _ = file
    examples = None if is_remote(path) or is_whole else _rows_in(path, named)
    alone = (taken.shape, picture_shape(taken.steps))
    if examples is None or len(examples.x) <= size or examples.x.shape in alone:
        yield Task(_name(salt, [file]), ((path, label),))
        return
    chunk = examples.x.chunk if isinstance(examples.x, Stored) else 1
    for start, stop in pieces(len(examples.x), -(-size // chunk) * chunk):  # No chunk is read by two of them.
        yield Task(_name(salt, [file], start, stop), ((path, label),), start, stop)


def _rows_in(path: str, named: Named | None) -> Examples | None:
    """The examples in a file whose rows can be read one by one; ``None`` for another."""
    try:
        return rows_in(path, named)
    except DataError:
        return None  # The process that is given this file says what is wrong with it, in its place.


def rows_in(path: str | Path, named: Named | None) -> Examples | None:
    """As ``predict`` would read them, without reading them. Raises as ``open_stored`` and ``read_dataset`` do."""
    if named is not None:
        [found] = named_sources(str(path), named)
        return found if isinstance(found, Examples) else None
    if kind_of(path) != "npy":
        return None
    dataset = read_dataset(path)
    return Examples(str(path), rows_of(dataset.x, str(path)), ":{}")


def _files(path: str | Path, strict: bool) -> Iterable[tuple[Input, str] | Bad]:
    """The files of one input in their order, each with what tells whether it has changed."""
    if is_remote(path):
        return _remote_files(str(path), strict)
    found = list[tuple[Input, str] | Bad]()
    root = "" if Path(path).is_absolute() else f"in {Path.cwd()} "
    for each in expanded(Path(path), strict):
        if isinstance(each, Bad):
            found.append(each)
        elif isinstance(each, Labelled):
            found.append(((each.name, each.label), root + stamp_of(each.name)))
        else:
            found.append(((str(each), None), root + stamp_of(str(each))))
    return found


def _remote_files(url: str, strict: bool) -> Iterator[tuple[Input, str] | Bad]:
    """The file at a URL, or the pictures in what is a folder there, or in its folders."""
    files, root = filesystem(url)

    def found(info: Mapping[str, Any], label: str | None = None) -> tuple[Input, str]:
        stamp = " ".join(str(info[name]) for name in CHANGES if name in info)
        return (str(files.unstrip_protocol(info["name"])), label), stamp

    try:
        info = files.info(root)
        if info["type"] == "file" or Path(root).suffix == ".zarr":
            yield found(info)
            return
        listed = sorted(files.ls(root, detail=True), key=lambda each: each["name"])
        pictures = [found(each) for each in listed if _is_picture_there(each)]
        for folder in listed if not pictures else ():
            if folder["type"] == "directory":
                label = folder["name"].rstrip("/").rpartition("/")[2]
                inner = sorted(files.ls(folder["name"], detail=True), key=lambda each: each["name"])
                pictures += [found(each, label) for each in inner if _is_picture_there(each)]
    except FileNotFoundError:
        pictures = []
    except Exception as error:  # What libraries of object storage raise has no class in common.
        raise DataError(url, f"cannot be read {said(error)}") from error
    if pictures:
        yield from pictures
        return
    reason = "expected a file, or a folder of pictures, found neither"
    if strict:
        raise DataError(url, reason)
    yield Bad(url, reason)


def _is_picture_there(info: Mapping[str, Any]) -> bool:
    name = info["name"].rpartition("/")[2]
    return info["type"] == "file" and Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _is_picture(path: str) -> bool:
    return kind_of(path) == "picture"


def _name(salt: str, files: Sequence[tuple[Input, str]], start: int | None = None, stop: int | None = None) -> str:
    """The name of a shard: it follows from the files, the range, the model and the options."""
    text = json.dumps([salt, [[path, label, stamp] for (path, label), stamp in files], start, stop])
    return hashlib.sha256(text.encode()).hexdigest()[:32] + ".npz"
