"""Files of other code bases that hold a network, read by the converters that know them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

from portable_nn.core.private import private_folder
from portable_nn.network import Network
from portable_nn.opening.model_file import NetworkFile, expected_bytes
from portable_nn.plain import KINDS

PROOF: Final = ("verify", "atol", "rtol", "seed")


class ForeignFile(NetworkFile):
    """A file that a converter reads as a whole network, such as ``.keras``; the table of converters says which."""

    suffixes = ()
    nonfinite = "warning"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        from portable_nn.converters.registry import reader_of

        return path.suffix.lower() not in {"", *KINDS} and reader_of(path) is not None

    @cached_property
    def network(self) -> Network:
        return self._read(verify=False)

    def proved_network(self, **proof: Any) -> Network:
        return self._read(**{name: value for name, value in proof.items() if name in PROOF})

    def _read(self, **options: Any) -> Network:
        from portable_nn.converters.registry import reader_of

        found = reader_of(self.path)
        assert found is not None
        if self.digest is None:
            return found[1](self.path, **options).network
        with private_folder(self.path.parent) as place:  # The bytes that have the digest are those that are read.
            copy = place / self.path.name
            copy.write_bytes(expected_bytes(self.path, self.digest))
            return found[1](copy, **options).network
