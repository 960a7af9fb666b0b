"""How the manifest of an older version becomes one of the next: a row for each version, a function of JSON objects.

Version 0, two arrays of a beginner's book, has no manifest; ``converters.book`` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Fields: TypeAlias = dict[str, Any]


def _from_1(fields: Fields) -> Fields:
    """Version 2 has checksums beside the digests, and may hold documentation and the state of a training.

    Of an older file the checksums are not known: its tensors are checked by their digests.
    """
    if fields.get("training") is not None:
        raise ValueError("in version 1, the field 'training' must be null")
    if "checksums" in fields:
        raise ValueError("in version 1, there is no field 'checksums'")
    if "documentation" in fields:
        raise ValueError("in version 1, there is no field 'documentation'")
    return {**fields, "checksums": {}}


MIGRATIONS: Final[Mapping[int, Callable[[Fields], Fields]]] = {1: _from_1}
"""By the version that a function begins with. The field ``version`` stays: it is the version that was read.

A function raises ``ValueError`` for what its version does not allow and the next one does.
"""


def migrate(fields: Fields, version: int, to: int) -> Fields:
    """The fields of a manifest of ``version`` as those of the version ``to``."""
    for each in range(version, to):
        fields = MIGRATIONS[each](fields)
    return fields
