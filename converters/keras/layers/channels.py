"""The order of a layer's axes: where its tensor has the channels, and where ONNX has them."""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn.converters.keras.spec import Held, Spec
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim
from portable_nn.operators import Symbol, constant, emit, integers
from portable_nn.operators.symbols import sizes


def known(size: Dim, what: str) -> int:
    """A size that must be a number."""
    if not isinstance(size, int):
        raise RefusalError(f"{what} of its input are not known")
    return size


def channels_first(spec: Spec) -> bool:
    """True if the layer has the channels first."""
    return bool(spec.choice("data_format", ("channels_last", "channels_first", None), None) == "channels_first")


def by_channels(spec: Spec, x: Held, rank: int) -> tuple[Symbol, bool]:
    """The symbol with the channels behind the batch, and whether Keras's tensor has them there."""
    if x.rank != rank:
        spec.refuse(f"it needs {rank} axes, and its input has {x.rank}")
    first = channels_first(spec)
    return (x.plain if first else x.moved), first


def back(symbol: Symbol, first: bool, mask: Symbol | None = None) -> Held:
    """The result of a layer with the channels behind the batch, as Keras's tensor; ``first``: it has them there too."""
    return Held(symbol, mask=mask) if first else Held(moved=symbol, mask=mask)


def by_axes(*names: str, most: int = 3) -> dict[str, int]:
    """The names of layers, with a place for their end such as 2D, and the number of axes besides batch and channels."""
    return {name.format(f"{axes}D"): axes for name in names for axes in range(1, most + 1)}


def ones(x: Symbol, shape: Sequence[int | None]) -> Symbol:
    """Ones of a shape, which has the sizes of ``x`` where it has ``None``."""
    parts = [sizes(x, [axis]) if size is None else integers([size]) for axis, size in enumerate(shape)]
    return emit("Expand", constant(1, x.dtype), emit("Concat", *parts, axis=0))
