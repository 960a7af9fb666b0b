"""The files that a command may write: none that exists unless it is forced, none that it reads, and none twice.

That is looked at before the work begins. What appears afterwards is not replaced either (``core/atomic.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from portable_nn.cli.printing import DASH
from portable_nn.core.errors import FileError, UsageError


def check_target(
    path: Path, force: bool, owns: Callable[[Path], bool] = lambda path: False, *, resumes: bool = False
) -> None:
    """Raise ``UsageError`` or ``FileError`` where the file ``path`` may not or cannot be written.

    An existing file is replaced with ``force``, or where ``owns`` says that it is the command's own. A command that
    ``resumes`` needs the beginning of it.
    """
    from portable_nn.core.atomic import must_be_new

    if str(path) == DASH:
        return
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is {'a folder' if path.is_dir() else 'no ordinary file'}: give the name of a file")
    if path.exists() and not force and not owns(path):
        from portable_nn.core.partial import PART

        if resumes and not Path(os.path.realpath(path) + PART).exists():
            raise UsageError(f"{path} exists, and there is no {path}{PART} to resume: --force begins anew")
        raise UsageError(f"{path} exists already: --force replaces it")
    if not path.exists() and not force:
        must_be_new(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileError(path, f"cannot be written: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise FileError(path, "cannot be written: its folder is read-only")


def _check_not_read(targets: Mapping[str, Path], others: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` where a file to be written is one of those that the ``others``, options by flag, name."""
    existing = {flag: path for flag, path in targets.items() if path.is_file()}
    if not existing:
        return
    from portable_nn.catalog import CALLED

    for flag, path in existing.items():
        for other, value in others.items():
            for name in value if isinstance(value, list) else [value]:
                read = CALLED[name].weights if name in CALLED else name
                if isinstance(read, str | Path) and _is_same(path, read):
                    raise UsageError(f"{flag} {path} is a file to read, {other} {name}: write to another one")


def _is_same(path: Path, other: str | Path) -> bool:
    try:
        found = os.fstat(0) if str(other) == DASH else Path(other).stat()
        return os.path.samestat(path.stat(), found)
    except (OSError, ValueError):  # The other text names no file, or standard input is closed.
        return False


def check_targets(
    targets: Mapping[str, Path],
    others: Mapping[str, Any],
    force: bool,
    owns: Callable[[Path], bool],
    *,
    resumes: bool,
) -> None:
    """Raise ``UsageError`` or ``FileError`` where the files that options name cannot all be written, beside the values
    of the ``others``; ``resumes`` is for that of ``--out``."""
    _check_not_read(targets, others)
    seen: dict[Path, str] = {}
    for flag, path in targets.items():
        if str(path) in ("", "."):
            raise UsageError(f"{flag} needs the name of a file")
        check_target(path, force, owns, resumes=resumes and flag == "--out")
        other = seen.setdefault(Path(os.path.realpath(path)), flag)
        if other != flag:
            raise UsageError(f"{other} and {flag} name the same file, {path}")
