"""Finding a model: by the name of a shipped one, or by the path of a file."""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from portable_nn.catalog import CALLED
from portable_nn.core.errors import FileError, FormatError, UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.text import either
from portable_nn.format import CARRIERS, as_digest

if TYPE_CHECKING:
    from portable_nn.network import Network

ONNX: Final = ".onnx"


def resolve(model: str | Path) -> Path:
    """The file of a model: a weight file or an ONNX file. The name of a shipped model goes before that of a file.

    Raises:
        UsageError: no model has that name, or the file's name does not end as those of models do.
        FileError: there is no such file.
    """
    if model in CALLED:
        return CALLED[str(model)].weights
    path = Path(model)
    if path.suffix.lower() not in {*CARRIERS, ONNX}:
        raise UsageError(_unknown(path))
    if not path.exists():
        raise FileError(path, "does not exist")
    return path


def is_onnx(path: Path) -> bool:
    """Whether a file is an ONNX file and not a weight file, by its name."""
    return path.suffix.lower() == ONNX


def open_network(model: str | Path, *, digest: str | None = None) -> Network:
    """The network of a shipped model, a weight file or an ONNX file, which must have the ``digest`` if one is given.

    Raises ``UsageError``, ``FileError``, ``FormatError``, and ``UnsupportedError`` where an ONNX file uses operators
    that this package does not have.
    """
    from portable_nn.network import load

    path = resolve(model)
    if not is_onnx(path):
        return load(path, digest=digest)
    from portable_nn.converters.onnx import import_onnx
    from portable_nn.onnx.files import parsed

    return import_onnx(path if digest is None else parsed(expected_bytes(path, digest), path))


def expected_bytes(path: Path, digest: str) -> bytes:
    """The bytes of a file whose SHA-256 is ``digest``.

    Raises:
        UsageError: the digest cannot be one.
        FileError: the file cannot be read.
        FormatError: its bytes are others.
    """
    expected = as_digest(digest)
    with open_regular(path) as file:
        data = file.read()
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        raise FormatError(path, f"is another model: its SHA-256 is {found}, and {expected} was expected")
    return data


def _unknown(path: Path) -> str:
    """What to say of what is neither a name nor the path of a model."""
    suffixes = either([*CARRIERS, ONNX])
    if path.exists():
        return f"{path}: expected a model, whose name ends in {suffixes}"
    close = get_close_matches(str(path), CALLED, n=1)
    meant = f"did you mean '{close[0]}'?" if close else f"shipped are {', '.join(CALLED)}; files end in {suffixes}"
    return f"no model is called '{path}': {meant}"
