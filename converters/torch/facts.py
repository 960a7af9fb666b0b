"""The facts of a state dict that a graph has no place for: other names of tied weights, and buffers that are not saved.

Both are kept among the words about a network (``metadata``), under two names, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from portable_nn.core.jsons import parsed_json
from portable_nn.network import Network

TIED: Final = "pytorch.tied"
"""The key of the further names of parameters: name → the parameter."""

NOT_SAVED: Final = "pytorch.not_saved"
"""The key of the list of buffers with ``persistent=False``."""


def metadata_of(tied: Mapping[str, str], not_saved: Sequence[str]) -> dict[str, str]:
    """The metadata that are stored with a network; empty where there is nothing to say."""
    facts: dict[str, Any] = {TIED: dict(tied), NOT_SAVED: list(not_saved)}
    return {key: json.dumps(fact, ensure_ascii=False) for key, fact in facts.items() if fact}


def tied_in(network: Network) -> dict[str, str]:
    """The further names of parameters that the network has; what else stands there is passed over."""
    found, names = _read(network, TIED), set(network.parameters.arrays)
    if not isinstance(found, dict):
        return {}
    return {name: str(whose) for name, whose in found.items() if str(whose) in names and name not in names}


def not_saved_in(network: Network) -> frozenset[str]:
    """The parameters of the network that are buffers which no state dict has."""
    found, names = _read(network, NOT_SAVED), {each.name for each in network.graph.parameters if not each.trainable}
    return frozenset(map(str, found)) & names if isinstance(found, list) else frozenset()


def _read(network: Network, key: str) -> Any:
    try:
        return parsed_json(network.metadata.get(key, "null"))
    except ValueError:
        return None
