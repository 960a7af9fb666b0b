"""Migrations of a manifest to the next version: a function of JSON objects for each older version.

Version 0, two arrays of a beginner's book, has no manifest; ``converters.book`` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Fields: TypeAlias = dict[str, Any]


def _from_1(fields: Fields) -> Fields:
    """Version 2 adds checksums to the digests, and may hold documentation and the state of a training.

    An older file has no checksums: its tensors are verified by their digests.
    """
    if fields.get("training") is not None:
        raise ValueError("in version 1, the field 'training' must be null")
    for name in ("checksums", "documentation"):
        if name in fields:
            raise ValueError(f"in version 1, there is no field '{name}'")
    return {**fields, "checksums": {}}


def _from_2(fields: Fields) -> Fields:
    """Version 3 leaves out what is not said of an input or an output, and may say more."""
    return {
        **fields,
        "inputs": _described(fields.get("inputs"), {"kind": "tensor", "preprocessing": []}),
        "outputs": _described(fields.get("outputs"), {"kind": "values", "labels": [], "unit": ""}),
    }


def _described(infos: Any, defaults: Fields) -> Any:
    """Descriptions of inputs or outputs without the fields that have their ``defaults``."""
    if not isinstance(infos, list):
        return infos
    for info in infos:
        if not isinstance(info, dict) or set(info) != {"name", *defaults}:
            raise ValueError(f"before version 3, an input or output has exactly the fields name, {', '.join(defaults)}")
    return [{name: value for name, value in info.items() if value != defaults.get(name)} for info in infos]


MIGRATIONS: Final[Mapping[int, Callable[[Fields], Fields]]] = {1: _from_1, 2: _from_2}
"""The functions by the version that they convert from. The field ``version`` is kept: it is that of the file.

A function raises ``ValueError`` for fields that its version does not allow and the next one does.
"""


def migrate(fields: Fields, version: int, to: int) -> Fields:
    """The fields of a manifest of ``version``, converted to the version ``to``."""
    for each in range(version, to):
        fields = MIGRATIONS[each](fields)
    return fields
