"""A tensor of Keras as a symbol: in Keras's order of axes, or with the channels, its last axis, behind the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from portable_nn.core.graph import Shape
from portable_nn.operators import Symbol, emit


class Held:
    """A tensor that lies in one order of axes, and is brought into the other one when a layer asks for that.

    So a chain of convolutions, which ONNX has with the channels first, transposes once at its beginning and once at its
    end.

    Args:
        plain: the symbol in the order of Keras's tensor.
        moved: the symbol with the last axis moved to place 1; give one of the two.
        mask: which steps count, bool (batch, steps), where Keras's tensor has a mask.
    """

    def __init__(self, plain: Symbol | None = None, moved: Symbol | None = None, mask: Symbol | None = None) -> None:
        self._plain, self._moved, self.mask = plain, moved, mask
        lying = plain if plain is not None else moved
        assert lying is not None
        self.rank, self.dtype = len(lying.shape), lying.dtype
        if self.rank < 3:
            self._plain = self._moved = lying

    @property
    def plain(self) -> Symbol:
        """The symbol in Keras's order."""
        if self._plain is None:
            assert self._moved is not None
            self._plain = emit("Transpose", self._moved, perm=to_last(self.rank))
        return self._plain

    @property
    def moved(self) -> Symbol:
        """The symbol with the channels behind the batch."""
        if self._moved is None:
            assert self._plain is not None
            self._moved = emit("Transpose", self._plain, perm=to_first(self.rank))
        return self._moved

    @property
    def shape(self) -> Shape:
        """The sizes in Keras's order."""
        if self._plain is not None:
            return self._plain.shape
        assert self._moved is not None
        return tuple(self._moved.shape[axis] for axis in to_last(self.rank))

    @property
    def lies_moved(self) -> bool:
        """True if the tensor is held with the channels behind the batch, and not in Keras's order as well."""
        return self._plain is None

    def each(self, function: Callable[[Symbol], Symbol]) -> Held:
        """The tensor of what a function makes of each element; it keeps the mask."""
        return self.like(function(self.moved if self.lies_moved else self.plain))

    def like(self, symbol: Symbol) -> Held:
        """``symbol``, which lies as this tensor does, with the same mask."""
        return Held(moved=symbol, mask=self.mask) if self.lies_moved else Held(symbol, mask=self.mask)

    def without_mask(self) -> Held:
        """The same without a mask."""
        return Held(self._plain, None if self._plain is not None else self._moved)

    def swapped(self, axes: Sequence[int]) -> Held | None:
        """The tensor with its axes permuted, where that is but another view of the same symbol."""
        if list(axes) == to_last(self.rank) and self.rank > 2:  # Channels first become Keras's order.
            return Held(moved=self.plain)
        if list(axes) == to_first(self.rank) and self.rank > 2:
            return Held(self.moved)
        return None


def to_last(rank: int) -> list[int]:
    """The permutation that moves axis 1 to the end."""
    return [0, *range(2, rank), 1]


def to_first(rank: int) -> list[int]:
    """The permutation that moves the last axis to place 1."""
    return [0, rank - 1, *range(1, rank - 1)]


def aligned(values: Sequence[Held]) -> tuple[list[Symbol], bool]:
    """The symbols of tensors of one rank in one order, and whether that is with the channels behind the batch."""
    moved = any(each.lies_moved for each in values)
    return [each.moved if moved else each.plain for each in values], moved
