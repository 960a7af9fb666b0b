"""The weight file: a network's numbers, its graph and what goes in and comes out, in one file that is checked whole.

The format is described in SPEC.md. A carrier is the file format that holds it; it is a module with two functions:

- ``write(path, manifest, tensors)`` writes atomically and fills in the digests;
- ``read(path)`` gives the ``Contents`` and refuses all that ``write`` would not have written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from msgspec.structs import replace

from portable_nn.errors import UsageError, listed
from portable_nn.format import safetensors
from portable_nn.format.manifest import Contents, InputInfo, Manifest, OutputInfo, normalised
from portable_nn.format.tensors import BLANK_DIGEST, Array
from portable_nn.format.validate import digest_faults, manifest_faults, refuse, tensor_faults

__all__ = ["CARRIERS", "Carrier", "Contents", "InputInfo", "Manifest", "OutputInfo", "load", "save"]


class Carrier(Protocol):
    """What a module must have to be one."""

    def write(self, path: str | Path, manifest: Manifest, tensors: Mapping[str, Array]) -> None:
        """Write a valid network."""

    def read(self, path: str | Path) -> Contents:
        """Read what ``write`` wrote."""


CARRIERS: Final[Mapping[str, Carrier]] = {".safetensors": safetensors}
"""The carriers by the suffix of their files."""


def save(path: str | Path, manifest: Manifest, tensors: Mapping[str, Array], *, allow_nonfinite: bool = False) -> None:
    """Write a weight file, replacing one at ``path`` only when the new one is complete and on the disk.

    The same network gives the same bytes. Digests need not be in ``manifest``: they are computed.

    Args:
        path: where to; the suffix chooses the carrier.
        manifest: what to say of the network.
        tensors: for each parameter of ``manifest.graph`` an array of its dtype and shape, in any layout and byte order.
        allow_nonfinite: whether NaN and infinities may be written; ``load`` then needs the same.

    Raises:
        UsageError: an unknown suffix, or contents that ``load`` would refuse: all that is wrong with them is listed.
        FileError: the file cannot be written.
    """
    carrier = _carrier(path)
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    blank = {parameter.name: BLANK_DIGEST for parameter in manifest.graph.parameters}
    manifest = normalised(replace(manifest, digests=blank))
    faults = manifest_faults(manifest) + tensor_faults(manifest.graph, arrays, allow_nonfinite=allow_nonfinite)
    if faults:
        raise UsageError(listed(faults, f"cannot save {path}"))
    carrier.write(path, manifest, arrays)


def load(path: str | Path, *, allow_nonfinite: bool = False) -> Contents:
    """The whole contents of a weight file, after everything about it has been checked.

    Args:
        path: the file; its suffix tells the carrier.
        allow_nonfinite: whether its tensors may hold NaN and infinities.

    Raises:
        UsageError: an unknown suffix.
        FileError: the file cannot be read.
        FormatError: it is damaged, hostile, of another format or a newer version, or disagrees with itself.
    """
    contents = _carrier(path).read(path)
    faults = tensor_faults(contents.manifest.graph, contents.tensors, allow_nonfinite=allow_nonfinite)
    refuse(str(path), faults + digest_faults(contents.manifest, contents.tensors))
    return contents


def _carrier(path: str | Path) -> Carrier:
    suffix = Path(path).suffix.lower()
    if suffix not in CARRIERS:
        raise UsageError(f"{path}: the name of a weight file ends in {' or '.join(CARRIERS)}, not in {suffix!r}")
    return CARRIERS[suffix]
