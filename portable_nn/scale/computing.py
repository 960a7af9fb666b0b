"""The computation of a task in a process: one session for all of its tasks, and a shard for each."""

from __future__ import annotations

import os
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

from portable_nn.core.errors import DataWarning, FormatError, PortableNNWarning
from portable_nn.data.batches import Bad
from portable_nn.data.given import Labelled, Source
from portable_nn.opening.kinds import resolve
from portable_nn.opening.origin import identity
from portable_nn.opening.runners import Runnable
from portable_nn.prediction.answers import Answer, answers_of
from portable_nn.prediction.arrays import row_wise
from portable_nn.prediction.options import ModelOptions
from portable_nn.scale.shards import packed, packed_outputs
from portable_nn.scale.storage import as_json, filesystem, is_remote, storage
from portable_nn.scale.work import Job, Task, rows_in

ROW: Final = ".json"
"""The suffix of the row of a shard in the manifest."""

_LOCK: Final = Lock()
_KEPT: Final = dict[Any, Runnable]()
"""The model that this process computes with; a task for another one replaces it."""


def compute(job: Job, task: Task) -> dict[str, Any]:
    """Compute a task, write its shard and then its row in the manifest, and return the row.

    Both are written as a whole or not at all, and under names that another process would give the same bytes: a task
    that is computed twice, or by two processes at once, leaves what one leaves.

    Raises as ``predict`` does, and ``FormatError`` where the model is another one than the job is about.
    """
    begun = time.monotonic()
    model = opened(job)
    with ExitStack() as stack, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PortableNNWarning)
        names = dict[str, str]()
        sources = list(_sources(job, task, stack, names))
        # A part of an array has no names to look up any more.
        options = job.options if task.stop is None else replace(job.options, dataset=None, targets=None)
        data, row = CONTENTS[job.content](model, sources, options, names)
    told = dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, DataWarning))
    place = storage(job.shards)
    place.write(task.name, data)
    row = {
        "shard": task.name,
        "inputs": str(task),
        **row,
        "warnings": list(told),
        "seconds": round(time.monotonic() - begun, 6),
        "process": f"{socket.gethostname()} {os.getpid()}",
    }
    place.write(row_name(task.name), as_json(row))
    return row


def _answers(
    model: Runnable, sources: Sequence[Source], options: ModelOptions, names: Mapping[str, str]
) -> tuple[bytes, dict[str, Any]]:
    """The answers that ``predict`` and ``evaluate`` need."""
    return packed(_renamed(each, names) for each in answers_of(model, sources, options))


def _outputs(
    model: Runnable, sources: Sequence[Source], options: ModelOptions, _: Mapping[str, str], *, pictures: bool = False
) -> tuple[bytes, dict[str, Any]]:
    """All outputs, as arrays."""
    found = row_wise(model, options, [], pictures=pictures)
    assert found
    return packed_outputs(found.of(sources, options, []).found)


CONTENTS: Final[Mapping[str, Callable[..., tuple[bytes, dict[str, Any]]]]] = {
    "answers": _answers,
    "outputs": _outputs,
    "outputs of pictures": partial(_outputs, pictures=True),
}
"""The contents that shards may have."""


def row_name(shard: str) -> str:
    """The name of the row of a shard."""
    return shard.removesuffix(".npz") + ROW


def opened(job: Job) -> Runnable:
    """The model of a job, opened once by each process. Raises ``FormatError`` where it is another one."""
    key = (job.model, job.identity, repr(job.options.engine))
    with _LOCK:
        if key not in _KEPT:
            with ExitStack() as stack:
                file = Path(local(job.model, stack)) if is_remote(job.model) else resolve(job.model)
                found = identity(file)
                if found != job.identity:
                    raise FormatError(job.model, f"has changed since the run began: it had {job.identity}, has {found}")
                _KEPT.clear()
                _KEPT[key] = replace(job.options.opened(file), where=job.model)
        return _KEPT[key]


def _sources(job: Job, task: Task, stack: ExitStack, names: dict[str, str]) -> Iterator[Source]:
    """The inputs of a task; ``names`` gets what they were given as, where this process calls them otherwise."""
    for given in task.inputs:
        path = local(given[0], stack) if is_remote(given[0]) else _in_root(given[0], job.root)
        if path != given[0]:
            names[path] = given[0]
        if task.start is not None and task.stop is not None:
            examples = rows_in(path, job.options.named)
            if examples is None or len(examples.x) < task.stop:
                raise FormatError(given[0], f"has changed since the run began: it has no rows up to {task.stop:,}")
            yield examples.part(task.start, task.stop)
        else:
            yield Path(path) if given[1] is None else Labelled(Path(path), given[1])


def _in_root(path: str, root: str) -> str:
    """A path as it is where this process runs in the folder that it is relative to."""
    return path if str(Path.cwd()) == root or not Path(root, path).exists() else str(Path(root, path))


def local(url: str, stack: ExitStack) -> str:
    """A copy of the file, or of the folder, at a URL, for as long as it is needed."""
    files, path = filesystem(url)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="portable-nn-"))
    copy = str(Path(folder, path.rstrip("/").rpartition("/")[2]))
    with suppress(FileNotFoundError):  # Reading it says so.
        files.get(path, copy, recursive=files.isdir(path))
    return copy


def _renamed(found: Answer | Bad, names: Mapping[str, str]) -> Answer | Bad:
    """An answer whose inputs are called as they were given."""
    if not names:
        return found
    if isinstance(found, Bad):
        return Bad(_given(found.name, names), found.reason)
    return found._replace(batch=replace(found.batch, names=[_given(name, names) for name in found.batch.names]))


def _given(name: str, names: Mapping[str, str]) -> str:
    """``photo.jpg`` for ``/tmp/x/photo.jpg``, and ``photo.jpg#2`` or ``table.csv:12`` likewise."""
    for end in (len(name), name.rfind("#"), name.rfind(":")):
        if end >= 0 and name[:end] in names:
            return names[name[:end]] + name[end:]
    return name
