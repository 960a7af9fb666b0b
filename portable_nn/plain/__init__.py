"""Arrays in files of other projects: listed from the headers alone, read one by one, without a network.

A kind of file is a module with a function ``open_file`` from an open file to a ``Listing``. The sizes in headers are
compared with the size of the file before memory is allocated; nothing is unpickled or unpacked to the disk, and no file
can make another one be opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from portable_nn.core.errors import UsageError
from portable_nn.core.files import open_regular, stored_bytes
from portable_nn.core.text import either
from portable_nn.plain import hdf5, npy, npz, pytorch, safetensors
from portable_nn.plain.tensors import Entry, Listing, Opened, PlainTensors

__all__ = ["KINDS", "Entry", "PlainTensors", "open_tensors"]

Opener: TypeAlias = Callable[[Opened], Listing]

KINDS: Final[Mapping[str, Opener]] = {
    ".safetensors": safetensors.open_file,
    ".h5": hdf5.open_file,
    ".hdf5": hdf5.open_file,
    **dict.fromkeys(hdf5.NETCDF, hdf5.open_file),
    ".npz": npz.open_file,
    ".npy": npy.open_file,
    ".pt": pytorch.open_file,
    ".pth": pytorch.open_file,
    ".bin": pytorch.open_file,
}
"""The kinds by the suffix of their files."""


def open_tensors(path: str | Path, *, text: bool = False, in_pieces: bool = False) -> PlainTensors:
    """The arrays in a file by name; each is read at its access.

    Args:
        path: the file; its suffix is one of ``KINDS``.
        text: whether arrays of text (numpy's ``str_``) in files of numpy are read as well; otherwise they are skipped.
        in_pieces: whether arrays are read by ``rows``: those of HDF5 may then be larger than memory, and have chunks
            that were never written, whose rows are fill values.

    Raises:
        UsageError: the suffix is not one of ``KINDS``.
        FileError: the file cannot be read.
        FormatError: the file is damaged or hostile; all faults of its headers are listed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in KINDS:
        hint = "; numpy.save(OUT, numpy.loadtxt(FILE)) makes one of text" if suffix in (".csv", ".tsv", ".txt") else ""
        raise UsageError(f"{path}: the name of a file of arrays ends in {either(KINDS)}, not in {suffix!r}{hint}")
    with ExitStack() as stack:
        file = stack.enter_context(open_regular(path))
        listing = KINDS[suffix](Opened(Path(path), file, os.fstat(file.fileno()).st_size, stack, text, in_pieces))
        return PlainTensors(path, listing, stack.pop_all(), partial(stored_bytes, file))
