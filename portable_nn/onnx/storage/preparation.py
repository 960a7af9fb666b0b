"""The preparation of pictures in the metadata of a model of another program: an entry that this package adds.

A model that this package wrote has it in its manifest. The entry is JSON: ``{"version": 1, "inputs": {name: steps}}``,
with the steps of the weight file (see ``format/SPEC.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from portable_nn.core.errors import FormatError
from portable_nn.core.jsons import typed_json
from portable_nn.preprocessing.steps import Preprocessing, check_order

PREPARATION: Final = "portable_nn.preprocessing"

MAX_LENGTH: Final = 2**16
"""The most characters that are read: a preparation has a few hundred."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    inputs: dict[str, Preprocessing]


def preparation_text(inputs: Mapping[str, Preprocessing]) -> str:
    """The entry for the steps of each input."""
    return msgspec.json.encode(_Entry(1, dict(inputs))).decode()


def preparation_in(metadata: Mapping[str, str], where: str) -> Mapping[str, Preprocessing]:
    """The steps of each input by name, if a model has such an entry.

    Raises:
        FormatError: there is one that this version cannot read.
    """
    text = metadata.get(PREPARATION)
    if text is None:
        return {}
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"it has {len(text)} characters, and at most {MAX_LENGTH} are read")
        found = typed_json(text.encode(), _Entry)
        if found.version != 1:
            raise ValueError(f"its version is {found.version}, and this version of portable-nn reads 1")
        for steps in found.inputs.values():
            check_order(steps)
    except ValueError as error:
        raise FormatError(where, f"the entry '{PREPARATION}' of its metadata cannot be read: {error}") from error
    return found.inputs
