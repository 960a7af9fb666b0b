"""What is asked of an export beyond the network as it is: other sizes, preprocessing inside, half precision.

Each of these makes another network, which is then written, and proved, like any other. That the other network computes
what the first one does is compared here, in numpy; what it cannot do any more is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from portable_nn.converters.onnx.halving import in_float16
from portable_nn.converters.onnx.prepared import with_preprocessing
from portable_nn.converters.onnx.sizing import batch_of, with_any_batch, with_sizes
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.core.graph import Graph
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.samples import NoInputsError, rounds
from portable_nn.onnx.verify import Difference, Tolerance, difference

Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Wishes:
    """What is asked for.

    Args:
        batch: the number that the first size of the inputs becomes.
        sizes: numbers for other named sizes.
        dynamic: whether the batch becomes one of any size.
        preprocessing: whether the arithmetic of the preprocessing becomes nodes.
        float16: whether weights become float16.
    """

    batch: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    dynamic: bool = False
    preprocessing: bool = False
    float16: bool = False


class Adapted(NamedTuple):
    """A network as it was asked for, what there is to say of it, and what rounding its weights has changed."""

    network: Network
    notes: tuple[str, ...] = ()
    rounding: Mapping[str, Difference] = MappingProxyType({})


def adapted(network: Network, wishes: Wishes, *, verify: bool, tolerance: Tolerance, seed: int) -> Adapted:
    """``network`` as it is asked for, compared with what it was where ``verify`` says so.

    Raises:
        UsageError: the network cannot be made so; why, node by node.
        VerificationError: it computes something else then.
    """
    notes: list[str] = []
    rounding: dict[str, Difference] = {}
    if wishes.dynamic:
        network = _dynamic(network, notes, tolerance, seed, verify)
    sizes = dict(wishes.sizes)
    if wishes.batch is not None:
        name = batch_of(network.graph)
        if sizes.setdefault(name, wishes.batch) != wishes.batch:
            raise UsageError(f"the batch, '{name}', is to be {wishes.batch} and {sizes[name]}")
    if sizes:
        network = with_sizes(network, sizes)
    if wishes.preprocessing:
        found = with_preprocessing(network)
        if verify:
            _agree("its preprocessing as nodes", found.network, network, found.by_hand, tolerance, seed)
        notes += [f"inside the model: {step}" for step in found.inside]
        notes += [f"to be done before, with each picture: {step}" for step in found.outside]
        network = found.network
    if wishes.float16:
        halved = in_float16(network)
        rounding = _differences(halved.network, network, dict, seed) if verify else {}
        notes.append(halved.note)
        network = halved.network
    return Adapted(network, tuple(notes), rounding)


def _dynamic(network: Network, notes: list[str], tolerance: Tolerance, seed: int, verify: bool) -> Network:
    first = {dim for value in network.graph.inputs for dim in value.shape[:1]}
    named = sorted(dim for dim in first if isinstance(dim, str))
    if named and len(named) == len(first):
        notes.append(f"the batch may be of any size as it is: {', '.join(named)}")
        return network
    found = with_any_batch(network)
    [size] = first
    assert isinstance(size, int)
    if verify:
        _check_parts(found, network, size, tolerance, seed)
    notes.append(f"the batch, which was {size}, may be of any size")
    return found


def _check_parts(found: Network, network: Network, size: int, tolerance: Tolerance, seed: int) -> None:
    """See that several batches of ``network`` at once give what each of them gives alone."""
    parts = [feeds for start in range(3) for feeds in _drawn(network.graph, seed + start)]
    together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    if not together:
        return
    ours = found.predict(together)
    alone = [network.predict(part) for part in parts]
    for name in network.graph.outputs:
        expected = np.concatenate([outputs[name] for outputs in alone])
        gap = difference(ours[name], expected)
        if not gap.max_abs_error <= tolerance.allowed(expected):
            raise VerificationError(
                f"the batch, which is {size}, cannot be any: output '{name}' for {len(parts) * size} examples at once "
                f"differs by {gap.max_abs_error:.3g} from what {size} at a time give"
            )


def _agree(
    what: str, found: Network, network: Network, before: Callable[[Arrays], Arrays], tolerance: Tolerance, seed: int
) -> None:
    """See that ``found`` gives what ``network`` gives for what ``before`` makes of the same inputs."""
    for ours, theirs in _pairs(found, network, before, seed):
        for name, expected in theirs.items():
            gap = difference(ours[name], expected)
            if not gap.max_abs_error <= tolerance.allowed(expected):
                raise VerificationError(
                    f"{what}: output '{name}' differs by {gap.max_abs_error:.3g} from what the network gives without; "
                    f"{tolerance.allowed(expected):.3g} would be allowed"
                )


def _differences(
    found: Network, network: Network, before: Callable[[Arrays], Arrays], seed: int
) -> dict[str, Difference]:
    worst = dict.fromkeys(network.graph.outputs, Difference())
    for ours, theirs in _pairs(found, network, before, seed):
        for name, expected in theirs.items():
            worst[name] = worst[name].or_more(difference(ours[name], expected))
    return worst


def _pairs(
    found: Network, network: Network, before: Callable[[Arrays], Arrays], seed: int
) -> list[tuple[dict[str, Array], dict[str, Array]]]:
    return [(found.predict(feeds), network.predict(before(feeds))) for feeds in _drawn(found.graph, seed)]


def _drawn(graph: Graph, seed: int) -> list[dict[str, Array]]:
    try:
        return list(rounds(graph, np.random.default_rng(seed)))
    except NoInputsError as error:
        raise UsageError(f"{error}; --no-verify leaves the comparison out") from None
