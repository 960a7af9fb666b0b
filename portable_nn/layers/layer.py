"""What every builder is: a function from a symbol to a symbol that keeps its own parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim
from portable_nn.layers.initializers import Initial
from portable_nn.operators import Leaf, Symbol, emit
from portable_nn.operators.registry import DTYPE_CODES


def Input(*shape: Dim, name: str | None = None, dtype: str = "float32", batch: Dim = "batch") -> Leaf:
    """What enters a network: one example has ``shape``; the examples of a batch stand along a first axis."""
    for dim in shape:
        if not isinstance(dim, (int, str)) or isinstance(dim, bool) or (isinstance(dim, int) and dim < 1):
            raise UsageError(f"Input: a size must be a positive whole number or a name, not {dim!r}")
    if dtype not in DTYPE_CODES:
        raise UsageError(f"Input: dtype must be one of {', '.join(DTYPE_CODES)}, not {dtype!r}")
    return Leaf(name, dtype, (batch, *shape))


class Layer(ABC):
    """A builder: from a symbol to a symbol."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self._uses = 0
        self._parameters: dict[str, Leaf] = {}

    @abstractmethod
    def __call__(self, x: Symbol) -> Symbol:
        """The layer's output for ``x``."""

    def node_name(self) -> str | None:
        """The layer's own name for the node in the making; numbered from the second use on."""
        self._uses += 1
        return self.name if self._uses == 1 or self.name is None else f"{self.name}_{self._uses}"

    def parameter(
        self, role: str, shape: tuple[int, ...], dtype: str, initial: Initial, *, trainable: bool = True
    ) -> Leaf:
        """The layer's own parameter; made the first time, the same afterwards."""
        if role not in self._parameters:
            name = f"{self.name}.{role}" if self.name else None
            self._parameters[role] = Leaf(
                name, dtype, shape, wish=role, parameter=True, trainable=trainable, initial=initial
            )
        return self._parameters[role]


class Operation(Layer):
    """One node without parameters, such as an activation."""

    def __init__(self, operator: str, wish: str, name: str | None = None, **attributes: Any) -> None:
        super().__init__(name)
        self.operator, self.wish, self.attributes = operator, wish, attributes

    def __call__(self, x: Symbol) -> Symbol:
        """The operator applied to ``x``."""
        return emit(self.operator, x, name=self.node_name(), wish=self.wish, **self.attributes)
