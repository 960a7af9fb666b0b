"""The base class of layers, a function from a symbol to a symbol that keeps its own parameters, and ``Input``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portable_nn.core.arguments import check_kinds, check_layer
from portable_nn.core.errors import Fault, GraphError, UsageError
from portable_nn.core.graph import Dim
from portable_nn.core.text import shortened
from portable_nn.core.words import attributes_of
from portable_nn.layers.initializers import Initial
from portable_nn.operators import DTYPE_CODES, Leaf, Symbol, emit, emit_all

__all__ = ["Input", "Layer", "Symbol", "emit"]


@check_kinds
def Input(*shape: Dim, name: str | None = None, dtype: str = "float32", batch: Dim = "batch") -> Leaf:
    """An input of a network: (batch, \\*shape).

    Args:
        shape: the sizes of one example, without the batch: positive whole numbers, or names of sizes that are left
            open. ``Input()`` takes one number an example.
        name: the name that ``predict`` and ONNX know the input by; by default ``input``.
        dtype: the element type, as numpy writes it.
        batch: the first size, along which the examples lie: a name, or a number where it is fixed.

    Raises ``UsageError`` for any other size or type.

    >>> import portable_nn as pnn
    >>> pnn.Input(3, 224, 224, name="image")
    <image: float32 (batch, 3, 224, 224)>
    """
    for dim in shape:
        if not isinstance(dim, (int, str)) or isinstance(dim, bool) or (isinstance(dim, int) and dim < 1):
            raise UsageError(f"Input: a size must be a whole number from 1 or a name, not {dim!r}")
    if dtype not in DTYPE_CODES:
        raise UsageError(f"Input: dtype must be one of {', '.join(DTYPE_CODES)}, not {dtype!r}")
    return Leaf(name, dtype, (batch, *shape))


class Layer(ABC):
    """A layer: called on a symbol, it adds nodes and parameters to the graph, and returns the symbol of its output.

    A layer of your own implements ``__call__``. ``parameter`` makes its weights, ``emit`` and arithmetic on symbols
    make nodes, and ``self.emit`` makes the last one, which bears the layer's name. There is no backward pass to write:
    the operators have their gradients, and ONNX export, ``summary`` and ``check`` know them already.

    >>> import portable_nn as pnn
    >>> class Swish(pnn.Layer):
    ...     \"\"\"x · sigmoid(beta · x), where beta is trained: Ramachandran et al. (2017), arXiv:1710.05941.\"\"\"
    ...
    ...     def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
    ...         beta = self.parameter("beta", (1,), x.dtype, initial=1.0)
    ...         return self.emit("Mul", x, pnn.emit("Sigmoid", beta * x))
    >>> net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), Swish(), seed=0)
    >>> list(net.parameters)
    ['dense_1.weight', 'dense_1.bias', 'swish_1.beta']

    Layers are made of layers in the same way:

    >>> class Residual(pnn.Layer):
    ...     \"\"\"x + ReLU(W·x + b).\"\"\"
    ...
    ...     def __init__(self, units: int, name: str | None = None) -> None:
    ...         super().__init__(name)
    ...         self.dense = pnn.Dense(units)
    ...
    ...     def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
    ...         return self.emit("Add", x, pnn.ReLU()(self.dense(x)))
    >>> net = pnn.Sequential(pnn.Input(4), Residual(4), Residual(4, name="last"), seed=0)
    >>> [node.name for node in net.graph.nodes]
    ['dense_1', 'relu_1', 'residual_1', 'dense_2', 'relu_2', 'last']

    Args:
        name: the name of the layer's node and the prefix of its parameters' names; from the second call on, nodes are
            numbered: ``last_2``. By default all are numbered.
        stem: what a number is added to where there is no name; by default the class's name in lower case.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            check_layer(cls)

    written: tuple[str, tuple[Any, ...], Mapping[str, Any]] | None = None
    """The name and the arguments that the layer was made with."""

    def __repr__(self) -> str:
        called, given, options = self.written or (type(self).__name__, (), {})
        written = [*map(shortened, given), *(f"{name}={shortened(value)}" for name, value in options.items())]
        return f"{called}({', '.join(written)})"

    def __init__(self, name: str | None = None, stem: str | None = None) -> None:
        self.name, self.stem = name, stem or type(self).__name__.lower()
        self._uses = 0
        self._parameters: dict[str, Leaf] = {}

    if not TYPE_CHECKING:
        __getattr__ = attributes_of("layer")

    @abstractmethod
    def __call__(self, x: Symbol) -> Symbol:
        """The layer's output for ``x``. Raises ``GraphError`` where ``x`` does not fit."""

    def parameter(
        self, role: str, shape: tuple[int, ...], dtype: str, initial: Initial, *, trainable: bool = True
    ) -> Leaf:
        """A parameter of the layer: made at the first call, the same one afterwards.

        Args:
            role: the end of its name: ``weight`` is ``dense_1.weight`` in the network.
            shape: its shape.
            dtype: its element type, usually ``x.dtype``.
            initial: the first values: the name of an initializer, a number, an array, or a function of a random
                generator and the shape (see ``portable_nn.layers.initializers``).
            trainable: whether ``fit`` changes it.
        """
        if role not in self._parameters:
            name = f"{self.name}.{role}" if self.name else None
            self._parameters[role] = Leaf(
                name, dtype, shape, stem=role, parameter=True, trainable=trainable, initial=initial
            )
        return self._parameters[role]

    def emit(self, operator: str, *inputs: Symbol | None, outputs: int = 1, **attributes: Any) -> Symbol:
        """The first output of a node that bears the layer's name; the parameters are named after it.

        Call it once in ``__call__``, for the result, and the function ``emit`` for the nodes that lead there.

        Args:
            operator: the ONNX operator.
            inputs: its inputs; ``None`` for an optional one that is left out.
            outputs: how many outputs the node has.
            attributes: its attributes by the names that ONNX gives them; ``None`` is left out.

        Raises ``GraphError`` where the inputs do not fit the operator.
        """
        self._uses += 1
        name = f"{self.name}_{self._uses}" if self.name and self._uses > 1 else self.name
        result = emit_all(operator, *inputs, outputs=outputs, name=name, stem=self.stem, **attributes)[0]
        for leaf in self._parameters.values():
            leaf.owner = leaf.owner or result
        return result

    def invalid(self, reason: str) -> GraphError:
        """The error to raise in ``__call__`` where an input does not fit: it names the layer."""
        return GraphError([Fault(f"'{self.name or self.stem}' ({type(self).__name__})", reason)])


class OperatorLayer(Layer):
    """A layer of one node without parameters, such as an activation."""

    def __init__(self, operator: str, stem: str, name: str | None = None, **attributes: Any) -> None:
        super().__init__(name, stem)
        self.operator, self.attributes = operator, attributes

    def __call__(self, x: Symbol) -> Symbol:
        """The operator applied to ``x``."""
        return self.emit(self.operator, x, **self.attributes)
