"""The optimizer of the last training of each network, with its state: ``fit(optimizer="same")`` goes on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

from portable_nn.core.errors import UsageError
from portable_nn.operators import Array
from portable_nn.training.optimizers import Optimizer, find_optimizer
from portable_nn.training.trainable import Trainable
from portable_nn.training.updating import LATEST, Groups

SAME = "same"


class Kept(NamedTuple):
    """The optimizer of the last training, its groups, state and number of steps."""

    optimizer: Optimizer
    groups: Groups
    state: Mapping[str, Array]
    step: int


_LAST: WeakKeyDictionary[Trainable, Kept] = WeakKeyDictionary()


def keep_last(network: Trainable, kept: Kept) -> None:
    """Keep what the last training of a network leaves behind, as long as there is the network."""
    _LAST[network] = kept._replace(state={name: a for name, a in kept.state.items() if not name.endswith(f"/{LATEST}")})


def find_kept(network: Trainable, optimizer: Optimizer | str | None, groups: Groups | None) -> Kept:
    """The optimizer and its groups; with the state of the last training for ``"same"``. Raises ``UsageError``."""
    if optimizer != SAME:
        return Kept(find_optimizer(optimizer), groups or {}, {}, 0)
    if network not in _LAST:
        raise UsageError(
            "optimizer='same' goes on with that of the last fit of this network, and there was none; a training that "
            "is resumed is given its optimizer, whose state is in the checkpoint"
        )
    if groups is not None:
        raise UsageError("optimizer='same' has the groups of the last fit: leave groups out, or give an optimizer")
    return _LAST[network]


def put_back(kept: Kept, state: Mapping[str, Array]) -> None:
    """Put what was kept into the state of another training. Raises ``UsageError`` where it has none for a parameter."""
    for name, array in state.items():
        if name.endswith(f"/{LATEST}") or not kept.step:
            continue
        found = kept.state.get(name)
        if found is None or found.shape != array.shape or found.dtype != array.dtype:
            raise UsageError(
                f"optimizer='same' has no state for '{name.rpartition('/')[0]}', which the last fit did not train: "
                "give the optimizer itself, which begins anew"
            )
        array[...] = found
