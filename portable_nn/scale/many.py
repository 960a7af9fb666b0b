"""``predict``, computed by several processes or machines."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portable_nn.catalog import CALLED
from portable_nn.core.errors import UsageError
from portable_nn.core.kinds import check_kinds
from portable_nn.core.names import Engine
from portable_nn.data.frames import Dialect
from portable_nn.data.sources import Bad, Place
from portable_nn.format.manifest import PRODUCER
from portable_nn.model_files.answers import (
    Answer,
    Answers,
    Preprocess,
    answers_of,
    as_preparation,
    named_in,
    opened_model,
)
from portable_nn.model_files.opening import resolve
from portable_nn.model_files.origin import identity
from portable_nn.model_files.predictions import Predictions
from portable_nn.preprocessing.steps import Found
from portable_nn.scale.cluster import check_processes
from portable_nn.scale.computing import local
from portable_nn.scale.run import Run
from portable_nn.scale.storage import is_remote
from portable_nn.scale.work import SHARD, Job, Task, tasks_of

__all__ = ["predict_many"]


@dataclass(frozen=True)
class Scale:
    """Who computes, and where the shards are.

    Args:
        shards: the folder or URL; ``None`` for a folder that is removed at the end.
        workers, scheduler: what computes, as ``processes`` takes it.
        shard_size: how many examples a shard has.
        force: whether shards of something else are removed.
    """

    shards: str | Path | None = None
    workers: int | None = None
    scheduler: str | None = None
    shard_size: int = SHARD
    force: bool = False

    def check(self) -> None:
        """Raise ``UsageError`` for what cannot be."""
        check_processes(self.workers, self.scheduler)
        if self.shard_size < 1:
            raise UsageError(f"shard_size must be at least 1, not {self.shard_size}")
        if self.shards is None and self.scheduler is not None:
            raise UsageError("shards is needed with scheduler: a folder or URL that all of its workers can write to")


@dataclass(frozen=True)
class Many:
    """A model and its inputs, cut into tasks.

    Args:
        run: what computes the tasks.
        answers: the answers in the order of the inputs, as one process would give them.
        origin: what all of them follow from, for files that are gone on with.
    """

    run: Run
    answers: Answers
    origin: dict[str, str]


def many(
    model: str | Path,
    inputs: Any,
    scale: Scale,
    *,
    labels: Sequence[str] | str | Path | None = None,
    task: Any = None,
    strict: bool = True,
    notes: list[str] | None = None,
    **options: Any,
) -> Many:
    """Open a model, find its inputs, and cut them into tasks. ``options`` are those of ``answers_of``.

    Raises as ``predict_many`` does. Nothing is computed, and nothing is written, before the answers are asked for.
    """
    scale.check()
    if not isinstance(model, str | Path):
        raise UsageError(f"model must be the name of a shipped model or a file, not {type(model).__name__}: save it")
    remote = is_remote(model)
    with ExitStack() as stack:
        path = Path(local(str(model), stack)) if remote else resolve(model)
        known_as = identity(path)
        opened = opened_model(path if remote else model, options["engine"], options["digest"], options["edited"])
    name = str(model) if remote or model in CALLED else str(path.absolute())
    key = {"the model": known_as, **{each: str(value) for each, value in options.items()}}
    runner = opened.runner(as_preparation(options["preprocess"]), options.get("output"))
    tasks = list(tasks_of(inputs, runner, options["named"], scale.shard_size, strict, key))
    given = inputs if isinstance(inputs, list | tuple) else [inputs]
    origin = {
        "the program": PRODUCER,
        **key,
        "the data": ", ".join(map(str, given)),
        "shard_size": str(scale.shard_size),
    }
    kept = Path(tempfile.gettempdir(), f"portable-nn-shards-{secrets.token_hex(8)}") if scale.shards is None else None
    where = str(kept or scale.shards)
    where = where if is_remote(where) else str(Path(where).absolute())
    job = Job(name, known_as, where, str(Path.cwd()), {**options, "strict": strict})
    run = Run(job, tasks, origin, workers=scale.workers, scheduler=scale.scheduler, force=scale.force)
    sample = next((each.inputs[0][0] for each in tasks if isinstance(each, Task)), None)
    if sample is None or is_remote(sample):
        answers = Answers(runner, iter(()), labels, task, strict, [] if notes is None else notes, [])
    else:  # What is said of how the first input is prepared is said of all.
        answers = answers_of(opened, [sample], labels=labels, task=task, strict=False, notes=notes, **options)
    answers.strict, answers.place = strict, Place(total=_total(tasks))
    answers.computed = _computed(run, kept)
    return Many(run, answers, {**origin, "the inputs": names_of(tasks)})


def names_of(tasks: Sequence[Task | Bad]) -> str:
    """What tells these tasks from others."""
    names = "".join(each.name for each in tasks)
    return hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()


def _total(tasks: Sequence[Task | Bad]) -> int | None:
    """How many examples there are, where that is known before they are read."""
    counts = [1 if isinstance(each, Bad) else each.count for each in tasks]
    return None if None in counts else sum(each or 0 for each in counts)


def _computed(run: Run, kept: Path | None) -> Iterator[Answer | Bad]:
    """The answers of a run."""
    try:
        yield from run.answers()
    finally:
        if kept:
            shutil.rmtree(kept, ignore_errors=True)


class ManyPredictions(Predictions):
    """``Predictions``, and how they were computed.

    Attributes:
        tally: what was done so far: ``print("\\n".join(predictions.tally.lines()))`` has the throughput, the slowest
            shards, and those that failed.
    """

    def __init__(self, found: Many, top: int) -> None:
        super().__init__(found.answers, top)
        self.tally = found.run.tally


@check_kinds
def predict_many(
    model: str | Path,
    inputs: Any,
    shards: str | Path | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    shard_size: int = SHARD,
    force: bool = False,
    engine: Engine = "onnxruntime",
    labels: Sequence[str] | str | Path | None = None,
    top: int = 1,
    batch_size: int = 256,
    polarity: Found | None = None,
    raw: bool = False,
    strict: bool = False,
    digest: str | None = None,
    edited: bool = False,
    dialect: Dialect | None = None,
    preprocess: Preprocess | None = None,
    output: str | None = None,
    dataset: str | Sequence[str] | None = None,
) -> ManyPredictions:
    """Predictions of ``model`` for ``inputs``, in their order, computed by several processes or machines.

    The inputs are cut into shards. The answers for each are a file among ``shards``, whose name follows from the
    inputs, their sizes and times of change, the model's SHA-256 and the options; it is written as a whole or not at
    all, and its row in the manifest last. A process, or all of them, may be killed at any moment: the same call goes on
    with what is there, and each input has one prediction.

    Args:
        model: the name of a shipped model, a weight file, or any ONNX file; the URL of one.
        inputs: a path or URL, or several: pictures, folders of them, and files of tables or arrays. Pictures, ``.npy``
            files, and with ``dataset`` HDF5, zarr and Parquet files are cut into shards; any other file is one.
        shards: the folder, or the URL of fsspec such as ``s3://bucket/digits``, where shards are kept. ``None`` keeps
            them in a temporary folder, which is removed at the end.
        workers: how many processes are started on this machine; 0 computes in this one. Each computes with one thread.
        scheduler: the address of a Dask scheduler whose workers compute instead, such as ``tcp://10.0.0.1:8786``. They
            read the same paths, and have the same version of this package.
        shard_size: how many examples a shard has: a multiple of ``batch_size``, best of some seconds of work.
        force: whether shards of another model, of other inputs or options are removed from the folder first.
        strict: whether to raise at the first input that cannot be used. Otherwise it has a prediction with an
            ``error``, as have the inputs of a shard that ended its process several times.

    All else is as ``predict`` takes it. The ``tally`` of the predictions has, at the end, the throughput, the slowest
    shards, and those that failed.

    Raises as ``predict`` does, and:
        UsageError: ``shards`` has those of something else, or is being written by another process.
        FileError: the shards cannot be written, or the scheduler was lost. The same call goes on from there.
        MissingPackageError: dask.distributed or fsspec is missing: ``pip install 'portable-nn[scale]'``.

    On Windows and macOS, as with all processes that are started, a script calls it under
    ``if __name__ == "__main__":``.

    >>> from portable_nn.scale import predict_many
    >>> for prediction in predict_many("digits", "scans/", "scans.shards", workers=8):
    ...     print(prediction.input, prediction.label)
    """
    if top < 1:
        raise UsageError(f"top must be at least 1, not {top}")
    found = many(
        model,
        inputs,
        Scale(shards, workers, scheduler, shard_size, force),
        labels=labels,
        strict=strict,
        notes=[],
        engine=engine,
        batch_size=batch_size,
        polarity=polarity,
        raw=raw,
        digest=digest,
        edited=edited,
        dialect=dialect,
        preprocess=preprocess,
        output=output,
        named=named_in(dataset),
    )
    return ManyPredictions(found, top)
