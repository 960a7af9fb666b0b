"""Arrays in files of other projects: listed from the headers alone, read one by one, without a network.

A kind of file is a module with one function, ``open_file``, which takes the open file and returns a ``Listing``. All
that a header claims is compared with what is there before memory is taken for it; nothing is unpickled, nothing is
unpacked to the disk, and no file makes another one be opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.text import either
from portable_nn.format import Contents, has_manifest, load
from portable_nn.plain import hdf5, npy, npz, safetensors
from portable_nn.plain.tensors import Entry, Listing, Opened, PlainTensors, entry

__all__ = ["KINDS", "Entry", "PlainTensors", "open_tensors"]

Kind: TypeAlias = Callable[[Opened], Listing]

KINDS: Final[Mapping[str, Kind]] = {
    ".safetensors": safetensors.open_file,
    ".h5": hdf5.open_file,
    ".hdf5": hdf5.open_file,
    ".npz": npz.open_file,
    ".npy": npy.open_file,
}
"""The kinds by the suffix of their files."""


def open_tensors(path: str | Path, *, text: bool = False) -> PlainTensors:
    """The arrays in a file by name, of which none is read before it is asked for.

    In a weight file of this package they have the names of the network, and everything is as strict as in ``load``.

    Args:
        path: the file; its suffix is one of ``KINDS``.
        text: whether arrays of text (numpy's ``str_``) in files of numpy are read as well; otherwise they are skipped.

    Raises:
        UsageError: the suffix is not one of ``KINDS``.
        FileError: the file cannot be read.
        FormatError: it is damaged or hostile: all that its headers show is listed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in KINDS:
        raise UsageError(f"{path}: the name of a file of arrays ends in {either(KINDS)}, not in {suffix!r}")
    if has_manifest(path):
        return PlainTensors(path, _of_network(load(path, lazy=True)), ExitStack())
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(path))
        listing = KINDS[suffix](Opened(Path(path), file, os.fstat(file.fileno()).st_size, stack, text))
        return PlainTensors(path, listing, stack.pop_all())


def _of_network(contents: Contents) -> Listing:
    entries = {value.name: entry(value.dtype, tuple(map(int, value.shape))) for value in contents.manifest.tensors}
    return Listing(entries, contents.tensors.__getitem__, metadata=contents.manifest.metadata)
