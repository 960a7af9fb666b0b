"""The storage of shards: a folder of this machine or of a network file system, or a bucket that fsspec reaches."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from portable_nn.core.atomic import remove_orphans, write_whole
from portable_nn.core.errors import FileError, MissingPackageError, UsageError
from portable_nn.core.files import append_own, read_own
from portable_nn.core.partial import try_lock
from portable_nn.core.text import said

LOCK: Final = ".lock"
"""The file that is locked as long as a run writes shards into a folder."""


def is_remote(path: str | Path) -> bool:
    """True if a path is one of fsspec: ``s3://bucket/pictures``."""
    return "://" in str(path)


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of fsspec that a URL names, and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise MissingPackageError("fsspec", f"{url}", "scale") from None
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # What reaches this kind of place is a package of its own.
        raise UsageError(f"{url} cannot be reached {said(error)}") from None
    return found


def storage(where: str | Path) -> Storage:
    """The place with this path or URL."""
    return _Bucket(str(where)) if is_remote(where) else _Folder(str(where))


class _Folder:
    """A folder: files are written under another name, synced and renamed. No link in it is followed, and none stays.

    Each name holds all bytes that were once written under it, or does not exist.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._path = Path(where)

    def sizes(self) -> dict[str, int]:
        """The bytes under each name; empty where there is no such place yet."""
        try:
            with os.scandir(self._path) as found:
                return {
                    each.name: each.stat(follow_symlinks=False).st_size
                    for each in found
                    if not each.name.startswith(".")
                }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise FileError(self.where, f"expected a folder for shards: {error.strerror}") from error

    def create(self) -> None:
        """Make the place, where it is none yet."""
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(self.where, f"cannot be made a folder for shards: {error.strerror}") from error

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """The bytes under some names."""
        return {name: read_own(self._path / name) for name in names}

    def write(self, name: str, data: bytes) -> None:
        """Write all of it, or nothing. Raises ``FileError``."""
        write_whole(self._path / name, data, follow=False)

    def remove(self, names: Sequence[str]) -> None:
        """Remove what is under some names."""
        for name in names:
            with suppress(FileNotFoundError):
                (self._path / name).unlink()

    def remove_empty(self) -> None:
        """Remove the place itself, where nothing is in it any more."""
        with suppress(OSError):
            self._path.rmdir()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which no other process writes here, as far as the place knows locks. Raises ``UsageError``."""
        with append_own(self._path / LOCK) as file:
            if not try_lock(file):
                raise UsageError(f"{self.where} is being written by another process")
            remove_orphans(self._path, r".*")
            yield


class _Bucket:
    """A place of fsspec; of object storage, where an object is there as a whole or not at all."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._files, self._path = filesystem(where)

    def _full(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"

    def sizes(self) -> dict[str, int]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._path, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise _unreachable(self.where, error) from error
        return {each["name"].rpartition("/")[2]: int(each["size"] or 0) for each in found if each["type"] == "file"}

    def create(self) -> None:
        with suppress(FileExistsError):
            self._files.makedirs(self._path, exist_ok=True)

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        paths = [self._full(name) for name in names]
        self._files.invalidate_cache()  # Other processes have written: what was listed before does not have them.
        try:
            found = self._files.cat(paths) if paths else {}
            return {name: found[path] for name, path in zip(names, paths, strict=True)}
        except Exception as error:
            raise _unreachable(self.where, error) from error

    def write(self, name: str, data: bytes) -> None:
        try:
            self._files.pipe_file(self._full(name), data)
        except Exception as error:
            raise FileError(self.where, f"cannot be written {said(error)}") from error

    def remove(self, names: Sequence[str]) -> None:
        if found := sorted({*names} & {*self.sizes()}):
            self._files.rm([self._full(name) for name in found])

    def remove_empty(self) -> None:
        """Places without objects are none."""

    @contextmanager
    def alone(self) -> Iterator[None]:  # Runs that write the same objects write the same bytes.
        yield


Storage: TypeAlias = _Folder | _Bucket
"""Named bytes."""


def _unreachable(where: str, error: Exception) -> FileError:
    """The error for a storage that cannot be reached: the errors of its libraries have no class in common."""
    return FileError(where, f"cannot be read {said(error)}")


def as_json(data: Mapping[str, Any]) -> bytes:
    """A row as it is written: one line, in plain ASCII, so that any file name survives."""
    return (json.dumps(data, allow_nan=False) + "\n").encode()
