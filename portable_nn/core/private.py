"""Folders of this process alone, for copies of files that others could change while they are read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portable_nn.core.errors import FileError, PortableNNError
from portable_nn.core.files import open_regular
from portable_nn.core.memory import CHUNK


@contextmanager
def private_folder(of: Path) -> Iterator[Path]:
    """A new folder that only this user can enter, removed at the end of the block.

    Errors of this package that name files in it name those in the folder ``of`` instead, which it has copies of.
    """
    with tempfile.TemporaryDirectory(prefix="portable-nn-", ignore_cleanup_errors=True) as made:
        place = os.path.realpath(made)
        try:
            yield Path(place)
        except PortableNNError as error:
            inside, outside = f"{place}{os.sep}", "" if of == Path() else f"{of}{os.sep}"

            def renamed(value: Any) -> Any:
                if isinstance(value, tuple):
                    return tuple(map(renamed, value))
                return value.replace(inside, outside) if isinstance(value, str) else value

            error.args = renamed(error.args)
            vars(error).update({name: renamed(value) for name, value in vars(error).items()})
            raise


def copy_into(place: Path, source: Path, name: str) -> None:
    """Copy a file into a private folder, a piece at a time. Raises ``FileError``."""
    target = place / name
    with open_regular(source) as file:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as copy:
                shutil.copyfileobj(file, copy, CHUNK)
        except OSError as error:
            where = f"the folder for temporary files, {tempfile.gettempdir()} (TMPDIR names another)"
            raise FileError(source, f"cannot be copied to {where}: {error.strerror or error}") from error
