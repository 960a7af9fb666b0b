"""A run: which shards there are already, the others computed, all of them in their order."""

from __future__ import annotations

import atexit
import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import filterfalse, islice
from typing import Annotated, Any, Final

import msgspec

from portable_nn.core.errors import DataError, DataWarning, FormatError, UsageError, warn
from portable_nn.core.jsons import parsed_json, typed
from portable_nn.core.partial import differences
from portable_nn.core.text import quantity, some
from portable_nn.data.batches import Bad
from portable_nn.operators.registry import Array
from portable_nn.prediction.answers import Answer
from portable_nn.scale.cluster import AHEAD, LostError, Pending, Processes, processes
from portable_nn.scale.computing import compute, row_name
from portable_nn.scale.shards import VERSION, checked, unpacked, unpacked_outputs
from portable_nn.scale.storage import LOCK, as_json, storage
from portable_nn.scale.work import Job, Task

HEAD: Final = "run.json"
"""The file with the settings that all shards of a folder follow from."""

MANIFEST: Final = "manifest.jsonl"
"""The rows of all shards in the order of the inputs, written when the last of them is there."""

OURS: Final = re.compile(r"[0-9a-f]{32}\.(npz|json)")
"""The names of shards and their rows."""

SLOWEST: Final = 3
"""The number of the slowest shards that are named."""

AT_FIRST: Final = 3
"""The number of tasks that may fail one after the other, from the first on, before the run is given up."""


class _Row(msgspec.Struct):
    """The row of a shard in the manifest."""

    shard: str
    inputs: str
    examples: Annotated[int, msgspec.Meta(ge=0)]
    bad: Annotated[int, msgspec.Meta(ge=0)]
    first_bad: tuple[str, str] | None
    size: int
    xxh3: str
    warnings: list[str]
    seconds: float
    process: str


@dataclass
class Tally:
    """The tally of a run so far.

    Attributes:
        shards: how many there are in all.
        found: how many were there before.
        examples, bad: the examples, and those of them that cannot be used.
        failed: the tasks whose processes failed, with the reason; the next run tries them again.
        rows: of the shards that this run has computed.
        processes: how many have computed.
        seconds: how long it took.
        first_bad: the first input that cannot be used, and why.
    """

    shards: int = 0
    found: int = 0
    examples: int = 0
    bad: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    processes: int = 0
    seconds: float = 0.0
    first_bad: tuple[str, str] | None = None

    def lines(self) -> list[str]:
        """The lines at the end of a run: the throughput, the slowest shards, and what failed."""
        computed = sum(row["examples"] for row in self.rows)
        what = f"{quantity(self.examples, 'example')} in {quantity(self.shards, 'shard')}"
        if not self.rows:
            return [f"{what}, all of which were there" if self.found else what, *self._failures()]
        before = f", {self.found:,} of which were there" if self.found else ""
        rate = f"{computed:,} in {self.seconds:,.1f} s by {quantity(self.processes, 'process')}"
        lines = [f"{what}{before}: {rate}, {computed / max(self.seconds, 1e-9):,.0f} per second"]
        slowest = sorted(self.rows, key=lambda row: -row["seconds"] / max(1, row["examples"]))[:SLOWEST]
        if len(self.rows) > SLOWEST:
            each = [f"{row['inputs']} ({row['seconds']:.2f} s for {row['examples']:,})" for row in slowest]
            lines.append(f"slowest: {'; '.join(each)}")
        return [*lines, *self._failures()]

    def _failures(self) -> list[str]:
        return [f"failed, and left to the next run: {task}: {reason}" for task, reason in self.failed]


class Run:
    """Shards in a folder or bucket.

    Args:
        job, tasks: what there is to compute; an input that does not exist has its ``Bad`` among the tasks.
        workers, scheduler: what computes, as ``processes`` takes it.
        force: whether the shards of another model, of other options or inputs are removed first.
        origin: what all shards follow from, in words by name; those in a folder have the same.
        data: what was given, of which ``tasks`` are the files. A folder of shards goes on with all that it began with,
            and more.

    ``watch`` is called with the tally after each shard.
    """

    def __init__(
        self,
        job: Job,
        tasks: Sequence[Task | Bad],
        origin: Mapping[str, str],
        data: Sequence[str],
        *,
        workers: int | None,
        scheduler: str | None,
        force: bool = False,
    ) -> None:
        self.job, self.tasks, self.origin, self.data, self.force = job, tasks, origin, data, force
        self.workers, self.scheduler = workers, scheduler
        self.place = storage(job.shards)
        self._warned = False
        self._done = dict[str, Mapping[str, Any]]()
        self.watch: Callable[[Tally], object] = lambda tally: None
        self.tally = Tally(shards=sum(isinstance(each, Task) for each in tasks))

    def rows(self) -> Iterator[tuple[Task, Mapping[str, Any]] | Bad]:
        """The row of each shard as soon as it is there, in their order; inputs that cannot be used between them.

        A process that is killed is replaced, and its tasks are computed again. A task that ends every process that
        computes it is left out: each of its inputs has a ``Bad``, and the next run tries again.

        Raises what ``compute`` raises, ``UsageError`` where the folder holds something else, or another process writes
        it, and ``FileError`` where it cannot be written, or a scheduler is lost.
        """
        begun = time.monotonic()
        self._begin_in(locked=False)
        self.place.create()
        with self.place.alone():
            self._begin_in(locked=True)  # Another process may have begun since.
            known = self._known()
            self._done.clear()
            for each in self._in_order(known):
                if isinstance(each, Bad):
                    self._count_bad(each)
                else:
                    self._done[each[0].name] = each[1]
                    self._warn(each[1]["warnings"])
                    self.tally.examples += each[1]["examples"]
                    self.tally.bad += each[1]["bad"]
                    self.tally.first_bad = self.tally.first_bad or (
                        each[1]["first_bad"] and tuple(each[1]["first_bad"])
                    )
                self.tally.seconds = time.monotonic() - begun
                self.watch(self.tally)
                yield each
            if not self.tally.failed:
                self._finish([*self._done.values()], set(known))

    def answers(self) -> Iterator[Answer | Bad]:
        """The answers in all shards, in the order of the inputs. Raises as ``rows`` does."""
        for each in self.contents():
            if isinstance(each, Bad):
                yield each
            else:
                yield from unpacked(*each)

    def outputs(self, names: Sequence[str]) -> Iterator[dict[str, Array]]:
        """The outputs in all shards, by name. Raises as ``rows`` does, and ``DataError`` for what cannot be used."""
        for each in self.contents():
            if isinstance(each, Bad):
                raise DataError(each.name, each.reason)
            yield from unpacked_outputs(*each, names)

    def contents(self) -> Iterator[tuple[bytes, str] | Bad]:
        """The bytes of all shards, and where each is, in the order of the inputs. Raises as ``rows`` does."""
        for each in self.rows():
            if isinstance(each, Bad):
                yield each
                continue
            task, row = each
            [data] = self.place.read([task.name]).values()
            where = f"{self.job.shards}/{task.name}"
            if not _is_of(row, data):
                warn(f"{where} is not as it was written, and is computed again", DataWarning)
                row = self._done[task.name] = compute(self.job, task)
                self.tally.rows.append(row)
                [data] = self.place.read([task.name]).values()
                if not _is_of(row, data):
                    raise FormatError(where, "is not as it was written a moment ago: something else changes it")
            yield data, where

    def discard(self) -> None:
        """Remove the shards, and the folder where nothing else is in it."""
        self.place.remove([*_ours(self.place.sizes()), LOCK])
        self.place.remove_empty()

    # -- how

    def _begin_in(self, *, locked: bool) -> None:
        """Make the folder one for these shards, once it is ``locked``. Raises ``UsageError`` where it holds others."""
        sizes = self.place.sizes()
        head = json.dumps({"version": VERSION, "origin": dict(self.origin), "data": list(self.data)}, indent=1).encode()
        if HEAD in sizes:
            then, data = _head(self.place.read([HEAD])[HEAD], f"{self.place.where}/{HEAD}")
            faults = differences(then, self.origin)
            if gone := [*filterfalse({*self.data}.__contains__, data)]:
                faults.append(f"the data had {some(gone)}, and have not")
            if not faults:
                if locked and data != list(self.data):
                    self.place.write(HEAD, head)
                return
            if not self.force:
                raise UsageError(
                    f"{self.place.where} has shards of something else: {'; '.join(faults)}. Name another folder, or "
                    "force=True removes them"
                )
            if locked:
                self.place.remove(_ours(sizes))
        elif sizes:
            raise UsageError(
                f"{self.place.where} holds other files than shards, such as {min(sizes)}: name a new folder"
            )
        if locked:
            self.place.write(HEAD, head)

    def _manifest(self) -> bytes | None:
        """The manifest as it is there."""
        return self.place.read([MANIFEST])[MANIFEST] if MANIFEST in self.place.sizes() else None

    def _known(self) -> dict[str, Mapping[str, Any]]:
        """The rows of the shards that are there as a whole, by name."""
        sizes = self.place.sizes()
        rows = {row["shard"]: row for row in map(_row, (self._manifest() or b"").splitlines()) if row}
        more = [row_name(name) for name in sizes if name.endswith(".npz") and name not in rows]
        for data in self.place.read([name for name in more if name in sizes]).values():
            if row := _row(data):
                rows[row["shard"]] = row
        return {name: row for name, row in rows.items() if sizes.get(name) == row["size"]}

    def _in_order(self, known: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Task, Mapping[str, Any]] | Bad]:
        missing = iter([each for each in self.tasks if isinstance(each, Task) and each.name not in known])
        waiting = deque[tuple[Task, Pending]]()
        streak = 0
        with ExitStack() as stack:
            found: Processes | None = None
            for each in self.tasks:
                if isinstance(each, Bad):
                    yield each
                    continue
                if each.name in known:
                    self.tally.found += 1
                    yield each, known[each.name]
                    continue
                if found is None:
                    found = stack.enter_context(processes(self.workers, self.scheduler))
                    stack.callback(lambda: [pending.cancel() for _, pending in waiting])
                    # What an error leaves in the middle is collected at the end, when no process answers any more.
                    atexit.register(stack.close)
                    stack.callback(atexit.unregister, stack.close)
                count = found.count()
                self.tally.processes = max(self.tally.processes, count)
                for task in islice(missing, max(0, AHEAD * max(1, count) - len(waiting))):
                    waiting.append((task, found.submit(compute, self.job, task)))
                _, pending = waiting.popleft()
                try:
                    row = pending.result()
                except LostError as error:
                    streak += 1
                    if streak == min(AT_FIRST, self.tally.shards) and not self.tally.rows:
                        raise
                    self.tally.failed.append((str(each), str(error)))
                    yield from (Bad(name, str(error)) for name in each.each())
                    continue
                self.tally.rows.append(row)
                yield each, row

    def _warn(self, texts: Sequence[str]) -> None:
        """Say once what processes have warned of: examples that miss by far what the model is made for."""
        if texts and not self._warned:
            self._warned = True
            warn(texts[0], DataWarning)

    def _count_bad(self, bad: Bad) -> None:
        self.tally.examples += 1
        self.tally.bad += 1
        self.tally.first_bad = self.tally.first_bad or (bad.name, bad.reason)

    def _finish(self, rows: Sequence[Mapping[str, Any]], known: set[str]) -> None:
        """Write the manifest, and remove shards of inputs that have changed or are gone."""
        text = b"".join(map(as_json, rows))
        if known != {row["shard"] for row in rows} or text != self._manifest():
            self.place.write(MANIFEST, text)
            wanted = {name for row in rows for name in (row["shard"], row_name(row["shard"]))}
            self.place.remove(sorted({*_ours(self.place.sizes())} - wanted - {HEAD, MANIFEST}))


def _head(data: bytes, where: str) -> tuple[dict[str, str], list[str]]:
    """The settings that all shards of a folder follow from, and the inputs that were given."""
    try:
        found = parsed_json(data)
        texts = [*found["origin"].values(), *found["data"]]
        if found["version"] != VERSION or not all(isinstance(each, str) for each in texts):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{where} is not of this version of the program: name another folder") from None
    return dict(found["origin"]), list(found["data"])


def _ours(names: Iterable[str]) -> list[str]:
    """The files of a run among others."""
    return [name for name in names if OURS.fullmatch(name) or name in (HEAD, MANIFEST)]


def _is_of(row: Mapping[str, Any], data: bytes) -> bool:
    """True if bytes are those of the shard that a row is about."""
    return checked(data) == {name: row[name] for name in ("size", "xxh3")}


def _row(data: bytes) -> dict[str, Any] | None:
    """A row of the manifest; ``None`` for bytes that are none, whose shard is computed again."""
    try:
        found: dict[str, Any] = msgspec.to_builtins(typed(parsed_json(data), _Row))
    except ValueError:
        return None
    return found
