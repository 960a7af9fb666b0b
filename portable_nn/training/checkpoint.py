"""Checkpoints: weight files that also hold the state of a training, which then continues as if it had never stopped."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

from msgspec.structs import replace

from portable_nn.core.atomic import remove_orphans
from portable_nn.core.errors import FileError, FormatError, PortableNNError, UsageError, listed
from portable_nn.core.exclusive import exclusive
from portable_nn.core.files import append_own, read_own
from portable_nn.core.graph import Graph
from portable_nn.core.plotting import FORMATS
from portable_nn.core.text import printable
from portable_nn.format import Contents
from portable_nn.format import load as load_file
from portable_nn.format import save as save_file
from portable_nn.format.training import TrainingRecord
from portable_nn.training.history import EarlyStopping, Watch
from portable_nn.training.settings import UNSET, differences, graph_differences
from portable_nn.training.state import State

NAME: Final = re.compile(r"checkpoint-([0-9]{8}|[1-9][0-9]{8,})\.safetensors")

OUTCOMES: Final = "saved-networks.txt"
"""In the folder of the checkpoints: the digests of the networks that the training has saved, one a line."""

GENERATOR: Final = "PCG64"
"""The random generator whose state a checkpoint can hold: that of ``numpy.random.default_rng``."""


class CheckpointOptions(TypedDict, total=False):
    """The options of ``fit`` that are about checkpoints."""

    checkpoint: str | Path | None
    every: int | None
    keep: int
    resume: bool | Callable[[], object]


class Checkpoints:
    """The checkpoints of one training, in a folder.

    Args:
        folder: the folder, which ``open`` makes if it does not exist.
        keep: the number of the last checkpoints that are kept, beside that of the best epoch.
        state: the state to write, and to restore.
        settings: what must be the same to resume, as text by name.
        rule: which epoch is the best.

    Raises:
        UsageError: the network's generator is not of the kind that a checkpoint can hold.
        FileError: the folder cannot be made.
    """

    def __init__(
        self, folder: str | Path, keep: int, state: State, settings: Mapping[str, str], rule: EarlyStopping
    ) -> None:
        self.folder, self.keep, self.state = Path(folder), keep, state
        self.settings, self.rule = dict(settings), rule
        self.written: int | None = None
        generator = type(state.network.rng.bit_generator).__name__
        if generator != GENERATOR:
            raise UsageError(f"checkpoint= needs a network whose rng is numpy's {GENERATOR}, not {generator}")
        if self.folder.exists() and not self.folder.is_dir():
            raise FileError(folder, "expected a folder for checkpoints, found a file")
        parent = self.folder.absolute().parent
        if not parent.is_dir():
            raise FileError(folder, f"cannot be made: there is no folder '{parent}'")

    @contextmanager
    def open(self, *, resume: bool | Callable[[], object]) -> Iterator[None]:
        """Hold the folder for this training alone (see ``core/exclusive.py``), and begin there, or ``resume``.

        A function ``resume`` is called when it is certain that the training goes on.

        Raises ``UsageError`` where another training holds it, and as ``begin`` or ``resume`` do.
        """
        if resume:
            newest(self.folder)  # First: a folder without checkpoints is not even made.
        with exclusive(self.folder, "training"):
            self.resume() if resume else self.begin()
            if callable(resume):
                resume()
            yield

    def begin(self) -> None:
        """Raise ``UsageError`` if the folder already has checkpoints."""
        if there := list(_found(self.folder).values()):
            raise UsageError(
                f"{self.folder} holds checkpoints of a training, up to {there[-1].name}: "
                "resume=True goes on with it, another folder begins anew"
            )

    def resume(self) -> None:
        """Restore the state of the newest checkpoint. After an error, nothing has changed.

        Raises:
            FileError: there is no checkpoint.
            FormatError: it is damaged or inconsistent.
            UsageError: it is of another network, other data or other settings: every difference is listed.
        """
        path = newest(self.folder)
        contents, training = _read(path)
        self._check_same(path, contents.manifest.graph, training.settings)
        if faults := [printable(fault) for fault in self.state.mismatches(training)]:
            raise _advised(FormatError(path, listed(faults), faults))
        self.state.resume(training, contents.tensors)
        self.written = self.state.done

    def _check_same(self, path: Path, graph: Graph, before: Mapping[str, str]) -> None:
        now = dict(self.settings)
        if before.get("schedule") == UNSET and 0 < _epochs(before) < _epochs(now):
            now["epochs"] = before["epochs"]  # Without a schedule, a longer training begins as a shorter one does.
        different = graph_differences(graph, self.state.network.graph) + differences(before, now)
        if different:
            heading = f"{path}: the training cannot go on with another network, other data or other settings"
            heading += " (another folder begins anew)"
            raise UsageError(listed(map(printable, different), heading))

    def save(self) -> None:
        """Write a checkpoint, unless the state is that of the last one; then remove those that need not be kept.

        Raises ``FileError`` where it cannot be written.
        """
        state = self.state
        if state.done == self.written:
            return
        path = self.folder / f"checkpoint-{state.done:08}.safetensors"
        if path.is_symlink():  # What it leads to is not of this training.
            path.unlink()
        manifest = replace(state.network.manifest(hashed=False), training=state.training(self.settings))
        tensors = {**state.network.parameters, **state.tensors()}
        # Training goes on after an overflow in the optimizer's state; so must a training that resumes.
        save_file(path, manifest, tensors, allow_nonfinite=True)
        self.written = state.done
        self._prune()

    def _prune(self) -> None:
        remove_orphans(self.folder, NAME.pattern)
        there = _found(self.folder)
        best = Watch(self.rule, self.state.rows).epoch
        kept = {*list(there)[-self.keep :], best and best * self.state.batches}
        for number, path in there.items():
            if number not in kept:
                with suppress(OSError):  # On Windows, a file that is open: the next save tries again.
                    path.unlink()


class Standing(NamedTuple):
    """The place where ``resume`` continues: the checkpoint, the epoch and the batch in it, both from 1, of
    ``epochs``."""

    path: Path
    epoch: int
    batch: int
    epochs: int


def standing(folder: str | Path) -> Standing:
    """The place where ``resume=True`` continues. Raises ``FileError`` or ``FormatError`` where it cannot."""
    path = newest(folder)
    _, training = _read(path, lazy=True)
    return Standing(path, training.epoch + 1, training.batch + 1, _epochs(training.settings))


def newest(folder: str | Path) -> Path:
    """The newest checkpoint in a folder. Raises ``FileError`` where there is none."""
    there = list(_found(Path(folder)).values())
    if not there:
        raise FileError(folder, "holds no checkpoint to resume from: without --resume (resume=True), it begins anew")
    return there[-1]


def note_outcome(folder: str | Path, digest: str) -> None:
    """Note in ``folder`` the digest of a network that its training has saved, or the SHA-256 of its picture.

    Raises ``FileError``.
    """
    path = Path(folder) / OUTCOMES
    try:
        with append_own(path) as file:
            file.write(f"{digest}\n".encode("ascii"))
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror}") from error


def is_outcome(folder: str | Path, path: str | Path) -> bool:
    """True if the training in ``folder`` has saved the file at ``path``, and may replace it when it goes on."""
    try:
        known = read_own(Path(folder) / OUTCOMES).decode("ascii").split()
        if Path(path).suffix in FORMATS:
            return hashlib.sha256(Path(path).read_bytes()).hexdigest() in known
        return load_file(path, lazy=True).digest in known
    except (OSError, ValueError, PortableNNError):
        return False


def is_record(folder: str | Path, path: str | Path) -> bool:
    """True if ``path`` is the CSV file of metrics that the training in ``folder`` has written, as far as both go."""
    try:
        _, training = _read(newest(folder), lazy=True)
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            found = [{name: float(text) for name, text in row.items()} for row in reader]
            columns = set(reader.fieldnames or ())
    except (OSError, ValueError, TypeError, PortableNNError):
        return False
    rows = [{name: float(figure) for name, figure in row.items()} for row in training.rows]
    known = columns == set(rows[0]) if rows else {"epoch", "loss", "learning_rate"} <= columns
    return known and len(found) <= len(rows) + 1 and all(a == b for a, b in zip(found, rows, strict=False))


def _found(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their numbers, from the first to the last."""
    try:
        names = [NAME.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise FileError(folder, f"cannot be read: {error.strerror}") from error
    return dict(sorted((int(name[1]), folder / name[0]) for name in names if name))


def _read(path: Path, *, lazy: bool = False) -> tuple[Contents, TrainingRecord]:
    """A checkpoint, and the state of its training."""
    try:
        contents = load_file(path, lazy=lazy, allow_nonfinite=True)
        if contents.manifest.training is None:
            raise FormatError(path, "holds a network, but not the state of its training")
    except FormatError as error:
        raise _advised(error) from error
    return contents, contents.manifest.training


def _advised(error: FormatError) -> FormatError:
    """The error of the newest checkpoint, with advice."""
    path = Path(error.path)
    before = [other.name for other in _found(path.parent).values() if other != path]
    then = f"go on from {before[-1]}" if before else "begin anew: there is no other"
    return FormatError(path, f"{error.reason}; remove it to {then}", error.faults)


def _epochs(settings: Mapping[str, str]) -> int:
    """The number of epochs in recorded settings; 0 where there is none."""
    text = settings.get("epochs", "")
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
