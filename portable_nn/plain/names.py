"""Normalisation of tensor names of other projects, for comparison."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_NAME: Final = 128
"""Longer names are not compared."""

_ROLES: Final = {
    "weight": "weight", "kernel": "weight", "gamma": "weight", "scale": "weight", "embeddings": "weight",
    "embedding": "weight", "vars_0": "weight",
    "bias": "bias", "beta": "bias", "vars_1": "bias",
    "running_mean": "running_mean", "moving_mean": "running_mean", "vars_2": "running_mean",
    "running_var": "running_var", "moving_variance": "running_var", "vars_3": "running_var",
}  # fmt: skip
"""The last parts of names in PyTorch, Keras and Flax, and their roles."""

TURNED: Final = ("kernel", "vars_0")
"""The last parts of names of weights whose last axis is that of the outputs, as in Keras and Flax."""

_ROLE: Final = re.compile(rf"(?:(.*)_)?({'|'.join(sorted(_ROLES, key=len, reverse=True))})")

_PREFIX: Final = re.compile(r"^(?:(?:_orig_mod|model_weights|model|module|state_dict|params|layers|network)_)+(?=.)")

_REPEATED: Final = re.compile(r"(?<![^_])(.+)_\1(?![^_])")
"""A repeated part, as in Keras's ``dense/dense/kernel``."""

_SET_ASIDE: Final = re.compile(r"(?:optimizer|optimizer_weights|optimizer_state|optimizer_state_dict|training)[/.]")
"""The prefixes of the state of a training."""


def set_aside(name: str) -> bool:
    """True if a name is never suggested."""
    return len(name) > MAX_NAME or _SET_ASIDE.match(name) is not None


def is_counter(name: str) -> bool:
    """True if a name is that of a count of batches, which PyTorch keeps beside the statistics of a normalization."""
    return name.rpartition(".")[2] in ("num_batches_tracked", "n_averaged")


_GATED: Final = re.compile(r"(?:.*\.)?(?:weight|bias)_(?:ih|hh)(?:_l\d+(?:_reverse)?)?")


def is_gated(name: str) -> bool:
    """True if a name is that of a tensor of a recurrent layer of PyTorch, where gates have an order of its own."""
    return len(name) <= MAX_NAME and _GATED.fullmatch(name) is not None


class Words(NamedTuple):
    """A normalised name: the stem (layer), the role of the tensor in it or ``""``, and the original last part."""

    stem: str
    role: str
    last: str


def words(name: str) -> Words:
    """``name``, normalised: ``model_weights/dense_1/dense_1/kernel:0`` has the stem ``dense_1`` and is a weight."""
    text = re.sub(r":\d+$", "", name.lower())
    text = re.sub(r"[^0-9a-z]+", "_", text).strip("_") if text.isascii() else re.sub(r"[./\-\s]+", "_", text)
    text = _REPEATED.sub(r"\1", _PREFIX.sub("", text))
    found = _ROLE.fullmatch(text)
    return Words(found[1] or "", _ROLES[found[2]], found[2]) if found else Words(text, "", "")
