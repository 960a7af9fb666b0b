"""Training and validation examples: arrays that were checked against the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

import numpy as np

from portable_nn.core.arrays import as_array, check_range
from portable_nn.core.dims import may_be_equal
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.tensors import is_finite
from portable_nn.engines.batching import Batching
from portable_nn.engines.ranges import ranges
from portable_nn.operators import Array, NamedArrays, replay
from portable_nn.training.losses import Loss
from portable_nn.training.targets import check_target, numbered, on_axis
from portable_nn.training.trainable import Trainable


@dataclass(frozen=True)
class Examples:
    """A checked set of examples: arrays by input and by output, and a weight for each, or for each step of it.

    Where they are some of those that are read in pieces, their weights may all be 0.
    """

    x: NamedArrays
    y: NamedArrays
    weight: Array | None
    is_piece: bool = False

    def __post_init__(self) -> None:
        if self.weight is not None and not self.is_piece and not self.weight.any():
            raise UsageError("all of the sample weights are 0: no example counts")

    def __len__(self) -> int:
        return len(next(iter(self.x.values())))

    def __iter__(self) -> Iterator[Examples]:
        yield self

    @property
    def first(self) -> Examples:
        """All of them, which are gone through at once."""
        return self

    @property
    def weighted(self) -> tuple[int, ...] | None:
        """The sizes of the weights beside the batch; ``None`` where there are none."""
        return None if self.weight is None else self.weight.shape[1:]

    def part(self, start: int, stop: int) -> Examples:
        """Some of them."""
        return Examples(
            {name: array[start:stop] for name, array in self.x.items()},
            {name: array[start:stop] for name, array in self.y.items()},
            None if self.weight is None else self.weight[start:stop],
        )


def check_counts(counts: Mapping[str, int]) -> None:
    """Raise ``ShapeError`` where the arrays have different numbers of examples, or none; ``counts`` has names."""
    if len(set(counts.values())) > 1 or not min(counts.values()):
        found = ", ".join(f"{name} has {count:,}" for name, count in counts.items())
        raise ShapeError(f"as many examples are needed in each, and one at least: {found}")


class Check:
    """Makes examples of what is given for a network and its losses, and refuses what does not fit.

    Args:
        network: the network.
        losses: the loss of each trained output.
        is_assumed: whether nobody said so, neither the user nor the network.
    """

    def __init__(self, network: Trainable, losses: Mapping[str, Loss], *, is_assumed: bool = False) -> None:
        self.network, self.losses, self.is_assumed = network, losses, is_assumed
        self.batching, self.symbols = Batching(network.graph), replay(network.graph)

    def __call__(self, x: Any, y: Any, weight: Any, what: str = "", *, is_piece: bool = False) -> Examples:
        """The examples; ``what`` comes before each name in a message. Raises ``UsageError`` or ``ShapeError``."""
        xs = self._inputs(x, what)
        ys = self._targets(y, what)
        counts = {f"{what}x": len(next(iter(xs.values()))), **{f"{what}y": len(array) for array in ys.values()}}
        if weight is not None:
            weight = self._weights(weight, f"{what}sample_weight", ys)
            counts[f"{what}sample_weight"] = len(weight)
        check_counts(counts)
        return Examples(xs, ys, weight, is_piece)

    def _weights(self, given: Any, name: str, ys: NamedArrays) -> Array:
        dtype = self.symbols[next(iter(self.losses))].dtype
        weight = as_array(given, name, dtype)
        _check_numbers(weight, name)
        if not weight.ndim or (weight < 0).any():
            raise UsageError(f"{name} must be (n,) numbers from 0, not {weight.dtype} {weight.shape}")
        for output, loss in self.losses.items():
            shape, rest = self.symbols[output].shape, weight.shape[1:]
            places = loss.places(on_axis(loss, shape, ys[output]).in_order(shape)[1:], ys[output])
            known = ys[output].shape[1:] if ys[output].ndim == len(places) + 1 else places
            if rest and (len(rest) > len(known) or not may_be_equal(known[: len(rest)], rest)):
                axes = format_shape(("n", *known))
                raise ShapeError(f"{name} is {weight.shape}: it must be (n,), or the first axes of the loss, {axes}")
        return weight

    def _inputs(self, x: Any, what: str) -> dict[str, Array]:
        try:
            xs = self.batching.check(x, cast=False)
        except (ShapeError, UsageError) as error:
            raise type(error)(f"{what}{error}") from None
        for value in self.network.graph.inputs:
            title = f"{what}x" if len(xs) == 1 else f"{what}x['{value.name}']"
            check_range(xs[value.name], value.dtype, title)
            # Infinity may be meant: in the mask of an attention.
            holes = _columns_with_holes(self.network, value.name)
            _check_numbers(xs[value.name], title, infinite=True, holes=holes)
        return xs

    def _targets(self, y: Any, what: str) -> dict[str, Array]:
        losses = self.losses
        if not isinstance(y, Mapping):
            if len(losses) > 1:
                trained = ", ".join(losses)
                raise UsageError(f"the outputs {trained} are trained: give {what}y as a dict of arrays by name")
            y = {next(iter(losses)): y}
        if set(y) != set(losses):
            raise UsageError(f"{what}y has {', '.join(map(str, y))}, but the trained outputs are {', '.join(losses)}")
        ys: dict[str, Array] = {}
        for name, loss in losses.items():
            title = f"{what}y" if len(losses) == 1 else f"{what}y['{name}']"
            given = numbered(y[name], _labels(self.network, name), loss, self.symbols[name].shape[1:], title)
            _check_numbers(as_array(given, title), title)
            kind = next((info.kind for info in self.network.outputs if info.name == name), "values")
            try:
                ys[name] = check_target(loss, self.symbols[name], given, f"{what}y", kind)
            except UsageError:
                is_one = self.symbols[name].shape[1:2] == (1,)
                if self.is_assumed and (is_one or as_array(given, title).dtype.kind == "f"):
                    raise UsageError(UNSAID) from None
                raise
        return ys


def resolved(network: Trainable, losses: Mapping[str, Loss], examples: Examples) -> dict[str, Loss]:
    """The losses with options that depend on the classes and the examples as numbers. Raises ``UsageError``."""
    symbols, found = replay(network.graph), dict[str, Loss]()
    for name, loss in losses.items():
        shape, target = symbols[name].shape, examples.y[name]
        loss = on_axis(loss, shape, target)
        target = np.moveaxis(target, loss.axis(target.ndim), 1) if target.ndim == len(shape) > 1 else target
        found[name] = loss.resolved(_labels(network, name), loss.in_order(shape)[1:], target)
    return found


def _labels(network: Trainable, output: str) -> tuple[str, ...]:
    return next((info.labels for info in network.outputs if info.name == output), ())


UNSAID: Final = (
    "loss must be given, as the network notes none that it was trained with: 'mean_squared_error' is for quantities, "
    "'binary_cross_entropy' for an output of two classes; 'cross_entropy', the default, is for an output for each class"
)

WIDE: Final = 10.0
"""Numbers larger than this are wide of what trains well, about 0 ± 1."""


def why_it_diverged(network: Trainable, examples: Examples, rate: float) -> str:
    """The possible cause of a loss that is NaN or infinite, and advice, in words."""
    infinite = [name for name, array in examples.x.items() if not is_finite(array)]
    if infinite:
        return f"the input {' and '.join(map(repr, infinite))} holds infinite values"
    prepared = ranges(network.graph, network.parameters)
    y, x = "standardise them, as (y - y.mean()) / y.std() does", "begin the network with Normalization().adapt(x)"
    arrays = [("y holds numbers", y, array) for array in examples.y.values() if array.dtype.kind == "f"]
    arrays += [(f"input '{name}' holds numbers", x, each) for name, each in examples.x.items() if name not in prepared]
    found = [(what, remedy, float(array.min()), float(array.max())) for what, remedy, array in arrays if array.size]
    wide = [
        f"{what} from {low:.4g} to {high:.4g}: {remedy}" for what, remedy, low, high in found if max(-low, high) > WIDE
    ]
    smaller = f"a smaller learning rate than {rate:g} may help"
    return f"{'; '.join(wide)}; {smaller}, too" if wide else f"{smaller}, or inputs of a smaller size"


def check_parameters(network: Trainable) -> None:
    """Raise ``UsageError`` where a parameter holds NaN, or one that is trained infinity.

    A number without axes that is not trained is a constant of the graph, such as the NaN that a Where may choose.
    """
    trained = {value.name for value in network.graph.parameters if value.trainable}
    for name, array in network.parameters.items():
        if array.ndim or name in trained:
            _check_numbers(array, f"parameter '{name}'", infinite=name not in trained)


def _columns_with_holes(network: Trainable, name: str) -> list[int]:
    """The columns of a table for which the network takes NaN: a missing value."""
    columns = next((info.columns for info in network.inputs if info.name == name), ())
    return [place for place, column in enumerate(columns) if column.missing != "refuse"]


def _check_numbers(array: Array, name: str, *, infinite: bool = False, holes: Sequence[int] = ()) -> None:
    """Raise ``UsageError`` that names the first NaN in ``array``, or infinity unless it may be ``infinite``.

    The columns ``holes`` may have NaN.
    """
    if array.dtype.kind != "f" or (array.dtype.itemsize <= 8 and is_finite(array)):
        return
    bad = np.isnan(array) if infinite else ~np.isfinite(array)
    if holes:
        bad[:, holes] &= ~np.isnan(array[:, holes])
    wrong = np.argwhere(bad)
    if len(wrong):
        more = f", the first of {len(wrong):,} that are no numbers" if len(wrong) > 1 else ""
        place = f"[{', '.join(map(str, wrong[0]))}]" if array.ndim else ""
        raise UsageError(f"{name}{place} is {array[tuple(wrong[0])]}{more}: nothing can be learned from it")


class Divisible(Protocol):
    """Examples of which some can be taken."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Self:
        """Some of them."""


E = TypeVar("E", bound=Divisible)


def split(examples: E, share: float) -> tuple[E, E]:
    """The first examples, and the ``share`` at the end that is held out. Raises ``UsageError``."""
    if not 0 <= share < 1:
        raise UsageError(f"validation must be a share from above 0 to below 1, or (x, y), not {share:g}")
    count = round(len(examples) * share)
    if not 0 < count < len(examples):
        raise UsageError(f"validation={share:g} of {len(examples)} examples leaves one side empty")
    cut = len(examples) - count
    return examples.part(0, cut), examples.part(cut, len(examples))
