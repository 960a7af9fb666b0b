"""The class that the readers of the book write in their notebooks, on top of this package."""

from __future__ import annotations

import copy as copying
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.converters.book.arrays import SUFFIX, described, import_book, query_network
from portable_nn.core.arguments import check_kinds
from portable_nn.core.arrays import as_array
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.numbers import Count
from portable_nn.core.tensors import Array
from portable_nn.engines.plan import Plan
from portable_nn.network import Network, load
from portable_nn.operators import Leaf, emit, trace

HIDDEN: Final = "hidden.weight"
OUTPUT: Final = "output.weight"
"""The names of ``wih`` and ``who`` in a network."""


@check_kinds
class neuralNetwork:  # noqa: N801 - as the notebooks call it.
    """A network of one hidden layer of sigmoids, without biases, that learns one example at a time, in float64.

    A notebook of the book needs its own class no longer: ``from portable_nn.converters.book import neuralNetwork``.
    The numbers are the same: also the first weights, which numpy's global generator draws (``numpy.random.seed``), with
    a standard deviation of 1 / √(numbers that a node takes).

    Args:
        inputnodes: how many numbers an example has.
        hiddennodes: how many hidden nodes there are.
        outputnodes: how many outputs there are.
        learningrate: what a step is multiplied by; ``lr``, which may be changed.

    Attributes:
        inodes, hnodes, onodes: the three sizes.
        lr: the learning rate.

    Raises ``UsageError`` for sizes that are no whole numbers from 1, and a learning rate that is no number from 0.

    >>> import numpy as np
    >>> from portable_nn.converters.book import neuralNetwork
    >>> np.random.seed(1)
    >>> n = neuralNetwork(3, 5, 2, 0.1)
    >>> for _ in range(1000):
    ...     n.train([0.9, 0.1, 0.5], [0.99, 0.01])
    >>> n.query([0.9, 0.1, 0.5]).round(1)
    array([[1.],
           [0.]])
    """

    def __init__(self, inputnodes: Count, hiddennodes: Count, outputnodes: Count, learningrate: float) -> None:
        self.inodes, self.hnodes, self.onodes = int(inputnodes), int(hiddennodes), int(outputnodes)
        self.lr = learningrate
        draw = np.random.normal  # Not a generator of its own: what numpy.random.seed fixes stays fixed.
        wih = draw(0.0, self.inodes**-0.5, (self.hnodes, self.inodes))
        who = draw(0.0, self.hnodes**-0.5, (self.onodes, self.hnodes))
        self._query = query_network(wih, who)
        self._compile()

    def _compile(self) -> None:
        """Compile what works on the weights: for one example now, steps when they are first made."""
        self._one = Plan(self._query.graph, {"inputs": (1, self.inodes)}, self._query.parameters)
        self._steps: dict[int, Plan] = {}

    # A copy, be it deep or not, shares nothing: what is compiled writes into the weights of its own network.

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in {"_one", "_steps"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._query = copying.copy(self._query)
        self._compile()

    def __repr__(self) -> str:
        return f"neuralNetwork({self.inodes}, {self.hnodes}, {self.onodes}, {self.lr})"

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self._lr

    @lr.setter
    def lr(self, rate: float) -> None:
        if not isinstance(rate, int | float | np.number) or not 0 <= rate < float("inf"):
            raise UsageError(f"the learning rate must be a number from 0, not {rate!r}")
        self._lr = float(rate)

    @property
    def wih(self) -> Array:
        """The weights (hidden nodes, inputs): the very array, into which may be written; or set it as a whole."""
        return self._query.parameters[HIDDEN]

    @wih.setter
    def wih(self, values: Any) -> None:
        self.wih[...] = _weights(values, "wih", self.wih.shape, "(hidden nodes, inputs)")

    @property
    def who(self) -> Array:
        """The weights (outputs, hidden nodes): the very array, into which may be written; or set it as a whole."""
        return self._query.parameters[OUTPUT]

    @who.setter
    def who(self, values: Any) -> None:
        self.who[...] = _weights(values, "who", self.who.shape, "(outputs, hidden nodes)")

    @property
    def network(self) -> Network:
        """A copy as a network of this package, to ``fit``, export or draw: what ``save`` writes."""
        return described(self._query)

    def query(self, inputs_list: Any) -> Array:
        """The outputs for one example (inputs,), or for several (n, inputs), in columns: (outputs, 1) or (outputs, n).

        Raises ``ShapeError`` for examples of another size, ``UsageError`` for what is no array of numbers.
        """
        x = _rows(inputs_list, "inputs_list", self.inodes)
        if len(x) > 1:
            return self._query.predict(x).T
        self._one.inputs["inputs"][...] = x
        self._one.run()
        return self._one.outputs["final_outputs"].T.copy()

    def backquery(self, targets_list: Any) -> Array:
        """The picture that the network has in mind for targets (outputs,), or several (n, outputs): (inputs, 1) or
        (inputs, n).

        They go back through the transposed weights and the inverse of the sigmoid, log(p / (1 - p)). On the way,
        what reaches a layer is brought to 0.01 to 0.99, as a whole: so are the inputs that are returned.

        Raises ``ShapeError`` for targets of another size, ``UsageError`` for numbers that are not between 0 and 1.
        """
        values = _rows(targets_list, "targets_list", self.onodes)
        if not ((values > 0) & (values < 1)).all():
            raise UsageError("targets_list must hold numbers above 0 and below 1, such as 0.01 and 0.99")
        columns = values.T
        for weight in (self.who, self.wih):
            columns = weight.T @ np.log(columns / (1 - columns))
            columns -= columns.min()
            columns *= 0.98 / (columns.max() or 1)
            columns += 0.01
        return columns

    def train(self, inputs_list: Any, targets_list: Any) -> None:
        """One step on one example (inputs,) and its targets (outputs,); or on the sum over several, (n, …) each.

        It is the book's step, in which the errors of the outputs go back through ``who`` without the slope of the
        outputs' sigmoids. So it is not quite the gradient of the squared error, by which ``network.fit`` trains.

        Raises ``ShapeError`` for examples or targets of another size or number, ``UsageError`` for what is no array of
        numbers, or holds NaN. The weights are then as they were.
        """
        x, targets = _rows(inputs_list, "inputs_list", self.inodes), _rows(targets_list, "targets_list", self.onodes)
        if not (np.isfinite(x).all() and np.isfinite(targets).all()):
            raise UsageError("inputs_list or targets_list holds NaN or infinite values")
        if len(x) != len(targets):
            raise ShapeError(f"inputs_list has {len(x)} examples, and targets_list {len(targets)}")
        plan = self._steps.get(len(x)) or self._step(len(x))
        plan.inputs["inputs"][...], plan.inputs["targets"][...] = x, targets
        plan.inputs["rate"][()] = self._lr
        plan.run()

    @check_kinds
    def save(self, path: str | Path) -> str:
        """Write the network into a weight file, whole or not at all; the digest that identifies it.

        The suffix chooses the format: ``.safetensors``, ``.h5`` or ``.npz``. For 784 inputs, the network in the file
        takes pixels, 0 to 255, and makes 0.01 to 1 of them, as ``import_book`` does; so ``portable-nn predict`` reads
        pictures with it. The learning rate is not kept.

        Raises ``FileError`` or ``UsageError``.
        """
        return self.network.save(path)

    @check_kinds
    def load(self, *paths: str | Path) -> None:
        """Take the weights from a file that ``save`` wrote, or from the two files of ``wih`` and ``who``, or a folder.

        Raises ``ShapeError`` where the sizes are others, ``UsageError`` for the file of a network that is not the
        book's, ``FileError`` and ``FormatError`` for a bad file. The weights are then as they were.
        """
        is_weight_file = len(paths) == 1 and not Path(paths[0]).is_dir() and Path(paths[0]).suffix.lower() != SUFFIX
        found = load(paths[0]) if is_weight_file else import_book(*paths).network
        where = ", ".join(map(str, paths))
        wih, who = found.parameters.get(HIDDEN), found.parameters.get(OUTPUT)
        if wih is None or who is None or not _is_the_books(found, wih, who):
            raise UsageError(f"{where}: is no network of the book, sigmoid(who · sigmoid(wih · x)); pnn.load reads it")
        wih = _weights(wih, f"{where}: wih", self.wih.shape, "(hidden nodes, inputs)")
        who = _weights(who, f"{where}: who", self.who.shape, "(outputs, hidden nodes)")
        self.wih[...], self.who[...] = wih, who

    def _step(self, count: int) -> Plan:
        """The book's step for so many examples, compiled. The names are those of the book."""
        inputs, targets = (
            Leaf("inputs", "float64", (count, self.inodes)),
            Leaf("targets", "float64", (count, self.onodes)),
        )
        rate = Leaf("rate", "float64", ())
        wih = Leaf(HIDDEN, "float64", (self.hnodes, self.inodes), parameter=True)
        who = Leaf(OUTPUT, "float64", (self.onodes, self.hnodes), parameter=True)
        hidden_outputs = emit("Sigmoid", emit("Gemm", inputs, wih, transB=1))
        final_outputs = emit("Sigmoid", emit("Gemm", hidden_outputs, who, transB=1))
        output_errors = targets - final_outputs
        hidden_errors = emit("MatMul", output_errors, who)
        output_step = output_errors * final_outputs * (1 - final_outputs) * rate
        hidden_step = hidden_errors * hidden_outputs * (1 - hidden_outputs) * rate
        new_who = emit("Gemm", output_step, hidden_outputs, who, transA=1)
        new_wih = emit("Gemm", hidden_step, inputs, wih, transA=1)
        traced = trace([inputs, targets, rate], [new_who, new_wih], "step of the book")
        updates = {traced.names[who]: traced.names[new_who], traced.names[wih]: traced.names[new_wih]}
        plan = Plan(traced.graph, {}, self._query.parameters, outputs=[], updates=updates)
        self._steps[count] = plan
        return plan


def _rows(values: Any, name: str, width: int) -> Array:
    """``values`` as (n, width) float64."""
    rows = as_array(values, name, np.float64)
    if rows.ndim not in (1, 2) or rows.shape[-1] != width or not rows.size:
        raise ShapeError(f"{name} must have shape ({width},) or (n, {width}), not {format_shape(rows.shape)}")
    return rows if rows.ndim == 2 else rows[np.newaxis]


def _weights(values: Any, name: str, shape: tuple[int, ...], sizes: str) -> Array:
    """``values`` as float64 weights of that shape, all of them finite."""
    found = as_array(values, name, np.float64)
    if found.shape != shape:
        raise ShapeError(f"{name} must have shape {format_shape(shape)}, {sizes}, not {format_shape(found.shape)}")
    if not np.isfinite(found).all():
        raise UsageError(f"{name} holds NaN or infinite values")
    return found


def _is_the_books(network: Network, wih: Array, who: Array) -> bool:
    """True if ``network`` is the one that has these weights, also where some of them are frozen."""
    query = query_network(wih, who)
    return any(
        (network.graph.inputs, network.graph.nodes) == (made.graph.inputs, made.graph.nodes)
        and all(np.array_equal(network.parameters[name], made.parameters[name]) for name in made.parameters)
        for made in (query, described(query))
    )
