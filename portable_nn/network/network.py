"""A network: a graph, its weights, and the description of its inputs and outputs."""

from __future__ import annotations

import copy as copying
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

import numpy as np
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.lazy import LazyMethod
from portable_nn.core.memory import aligned_copy
from portable_nn.core.names import Engine
from portable_nn.core.numbers import Count, Natural
from portable_nn.core.words import attributes_of
from portable_nn.data.rows import as_rows
from portable_nn.format import Documentation
from portable_nn.format import load as load_file
from portable_nn.format import save as save_file
from portable_nn.format.hashes import CHECKSUM, DIGEST, hashes
from portable_nn.format.manifest import Manifest
from portable_nn.format.meaning import InputInfo, OutputInfo, size_faults
from portable_nn.layers.initializers import initial_parameters
from portable_nn.network import surgery
from portable_nn.network.dequantized import dequantized
from portable_nn.network.execution import Execution
from portable_nn.network.snapshot import Snapshot
from portable_nn.network.stream import Stream
from portable_nn.network.weights import Weights, check_fit
from portable_nn.operators import Array, Leaf, NamedArrays, Operator, Symbol, Types, infer, operator_of, trace
from portable_nn.preprocessing.steps import Preprocessing, arithmetic
from portable_nn.rewrites.nonfinite import storable

if TYPE_CHECKING:
    from portable_nn.evaluation.methods import calibrate, evaluate, predict_proba
    from portable_nn.training.fit import fit as fit_network

__all__ = ["Network"]


@check_kinds
class Network:
    """A network: the graph from the symbols ``inputs`` to the symbols ``outputs``, and its weights.

    Args:
        inputs: one symbol made by ``Input``, or several.
        outputs: one symbol, or several.
        labels: names of the classes, one for each entry of the output's last dimension (of the first output); or two
            for one entry: where the other class is meant, and the one whose logit the entry is.
        preprocessing: the steps that make the (first) input from pictures, 0 to 255; arithmetic after them is for
            layers, ``Rescaling`` and ``Normalization``.
        metadata: your own words about the network, stored with it.
        seed: the seed of the initial weights, the shuffling and dropout. Same seed, same machine: same bytes.
        name: the name of the graph.

    Raises ``GraphError`` where the outputs need an input that is not listed, ``UsageError`` for labels or preprocessing
    that do not fit.
    """

    def __init__(
        self,
        inputs: Leaf | Sequence[Leaf],
        outputs: Symbol | Sequence[Symbol],
        *,
        labels: Sequence[str] = (),
        preprocessing: Preprocessing = (),
        metadata: Mapping[str, str] | None = None,
        seed: Natural | None = None,
        name: str = "network",
    ) -> None:
        ins = [inputs] if isinstance(inputs, Symbol) else list(inputs)
        outs = [outputs] if isinstance(outputs, Symbol) else list(outputs)
        if not ins or not outs:
            raise UsageError("a network needs at least one input and one output")
        traced = trace(ins, outs, name)
        rng = np.random.default_rng(seed)
        parameters = initial_parameters(traced, rng)
        infos, results = inputs_of(traced.graph, preprocessing), outputs_of(traced.graph, outs, labels)
        self._set(traced.graph, parameters, infos, results, metadata or {}, rng)

    @classmethod
    @check_kinds
    def from_graph(
        cls,
        graph: Graph,
        parameters: NamedArrays,
        *,
        inputs: Sequence[InputInfo] = (),
        outputs: Sequence[OutputInfo] = (),
        metadata: Mapping[str, str] | None = None,
        documentation: Documentation | UnsetType = UNSET,
        seed: Natural | None = None,
        copy: bool = True,
    ) -> Network:
        """A network from a graph and the values of its parameters.

        Args:
            graph: the graph.
            parameters: the values of its parameters by name.
            inputs: the preprocessing of each input; none by default.
            outputs: the kind and labels of each output; by default plain values.
            metadata: your own words about the network.
            documentation: the documentation of nodes and values, as an ONNX file has it.
            seed: the seed of shuffling and dropout.
            copy: whether to check and copy ``parameters``. Otherwise they must be exactly the graph's, of the right
                types, in memory that nobody else writes to.

        Raises ``GraphError`` where the graph is not consistent, ``ShapeError`` where the values do not fit it.
        """
        network = object.__new__(Network)
        expected = {value.name: value for value in graph.parameters}
        if copy:
            check_fit(expected, parameters, "the parameters do not fit the graph")
            parameters = {name: aligned_copy(parameters[name], value.dtype) for name, value in expected.items()}
        network._set(
            graph,
            parameters,
            list(inputs) or [InputInfo(value.name) for value in graph.inputs],
            list(outputs) or [OutputInfo(name) for name in graph.outputs],
            metadata or {},
            np.random.default_rng(seed),
        )
        if isinstance(documentation, Documentation):
            network.documentation = copying.deepcopy(documentation)
        return network

    def _set(
        self,
        graph: Graph,
        parameters: NamedArrays,
        inputs: Sequence[InputInfo],
        outputs: Sequence[OutputInfo],
        metadata: Mapping[str, str],
        rng: np.random.Generator,
    ) -> None:
        graph, infinite = storable(graph)
        self._compile(graph, {**parameters, **infinite} if infinite else parameters)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.metadata, self.rng = dict(metadata), rng
        self.documentation = Documentation()
        self._uses = 0
        shapes = {name: found.shape for name, found in self.types.items()}
        for fault in size_faults(graph, self.inputs, self.outputs, shapes):
            raise UsageError(fault)

    def _compile(self, graph: Graph, parameters: NamedArrays) -> None:
        self.graph = graph
        self.types: Types = infer(graph).types
        self._execution = Execution(graph, Weights(parameters))
        self._leaves: dict[str, Leaf] = {}

    @property
    def parameters(self) -> Weights:
        """Name → array. Write into the arrays (``[...] =``) to change the weights; shapes and types are fixed."""
        return self._execution.weights

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the first output; empty where it has none."""
        return self.outputs[0].labels

    def __repr__(self) -> str:
        from portable_nn.inspection import as_brief, inspect_manifest

        return as_brief(inspect_manifest(self.manifest(hashed=False)))

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        from portable_nn.inspection import as_html, inspect_manifest

        return as_html(inspect_manifest(self.manifest(hashed=False)))

    def summary(self) -> str:
        """A table of the nodes with their shapes and parameters, as ``portable-nn inspect`` prints it."""
        from portable_nn.inspection import as_text, inspect_manifest

        return as_text(inspect_manifest(self.manifest(hashed=False)))

    # -- copies: those of ``copy`` and ``pickle`` share nothing with the network, be they deep or not

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in {"types", "_execution", "_leaves"}}
        return kept | {"_execution": dict(self.parameters.arrays)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        rest = dict(state)
        parameters = {name: aligned_copy(array, array.dtype.name) for name, array in rest.pop("_execution").items()}
        vars(self).update(copying.deepcopy(rest))
        self._compile(self.graph, parameters)

    def __deepcopy__(self, memo: object) -> Self:
        return copying.copy(self)

    # -- words of other packages

    if not TYPE_CHECKING:
        __getattr__ = attributes_of("network")

    # -- inference

    @overload
    def predict(self, x: Array | Sequence[Any], *, engine: Engine = ..., batch_size: int | None = ...) -> Array: ...
    @overload
    def predict(self, x: NamedArrays, *, engine: Engine = ..., batch_size: int | None = ...) -> dict[str, Array]: ...
    @check_kinds
    def predict(self, x: Any, *, engine: Engine = "numpy", batch_size: int | None = None) -> Any:
        """The outputs for examples in arrays. ``pnn.predict`` takes files, pictures and tables, and gives labels.

        Args:
            x: the examples as they are, an array or nested lists (batch, …) in the shape that ``summary`` shows; a dict
                of such by input name where there are several inputs; or a data frame where the columns of the input
                have names (``network.inputs[0].columns``): words are then found among their categories. Numbers of
                another type are converted if that is safe: integers to floats, but not the reverse. Pictures for a
                network that begins with ``Rescaling`` are levels of light, 0 to 255. One example alone is
                ``x[np.newaxis]``.
            engine: ``numpy``, or ``onnxruntime``, which keeps a compiled copy while the weights stay the same.
            batch_size: the number of examples that are computed at once; by default up to 512, fewer where
                intermediate tensors are large.

        Returns an array where the network has one output and ``x`` is an array, otherwise a dict by output name.

        Warns with ``DataWarning`` of numbers that miss by far what the first nodes are made for, such as pixels from 0
        to 1 where 0 to 255 are meant. It looks at the first examples of each shape.

        Raises ``ShapeError`` where ``x`` does not fit, ``DataError`` for a row of a data frame that cannot be used,
        ``UsageError`` for paths, pictures and other tables, and for an unknown engine.
        """
        if not isinstance(x, np.ndarray):
            x = as_rows(self.graph, self.inputs, x)
        return self._execution.predict(x, engine, batch_size, self.inputs)

    def compute(self, engine: Engine, feeds: NamedArrays) -> dict[str, Array]:
        """The outputs by name for arrays by input name, of which it does not warn: callers look at these themselves."""
        found: dict[str, Array] = self._execution.predict(feeds, engine, None, None)
        return found

    @check_kinds
    def session(self, *, engine: Engine = "onnxruntime", threads: Count | None = None) -> Snapshot:
        """A compiled, immutable copy of the network for serving: threads and forked processes may use it.

        Args:
            engine: ``onnxruntime`` or ``numpy``.
            threads: the number of threads that onnxruntime may use for one operator; by default one for each core.

        Raises ``UsageError`` for an unknown engine, or where onnxruntime cannot express the network.

        >>> from concurrent.futures import ThreadPoolExecutor
        >>> import numpy as np
        >>> import portable_nn as pnn
        >>> session = pnn.Sequential(pnn.Input(2), pnn.Dense(3), seed=0).session()
        >>> with ThreadPoolExecutor() as pool:
        ...     [answer.shape for answer in pool.map(session.predict, [np.zeros((1, 2)), np.zeros((5, 2))])]
        [(1, 3), (5, 3)]
        """
        return Snapshot(self.graph, self.parameters.arrays, engine, threads)

    # -- sequences in parts

    def stateful(self) -> Network:
        """The network for sequences that come in parts: the states of its layers are inputs and outputs of the graph.

        The states are those of RNN, GRU and LSTM, h and c (batch, units), and the last steps that a causal convolution
        still looks at (batch, channels, steps). Each is an input such as ``lstm_layer_1.h`` behind the others, zeros
        before the first part, and the output ``lstm_layer_1.h.next`` is its value for the next part; the manifest says
        so (``network.inputs[1].state``), and every runtime can do what ``stream`` does. The weights are copied. A
        number of steps that is fixed is opened, where no node depends on it.

        It is compared with the whole on a random sequence in parts: what does not give the same is refused.

        Raises ``UsageError`` where no layer keeps a state, where a layer reads the steps backwards or looks at all of
        them, such as ``bidirectional`` ones and attention, and where states do not begin with zeros.

        >>> import portable_nn as pnn
        >>> net = pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(5), pnn.Dense(2), seed=0).stateful()
        >>> [(info.name, info.state) for info in net.inputs]
        [('input', ''), ('gru_layer_1.h', 'gru_layer_1.h.next')]
        """
        from portable_nn.network.stateful import stateful  # Few networks need it, and it imports much.

        own = self.manifest(hashed=False)
        made = stateful(own, self.parameters.arrays)
        return self if made is own else self._with(made.graph, self.parameters.arrays, made.inputs, made.outputs)

    @check_kinds
    def stream(self, *, engine: Engine = "numpy") -> Stream:
        """A sequence that comes in parts: called with one after the other, it keeps the states of the layers.

        Args:
            engine: ``numpy`` or ``onnxruntime``.

        Raises ``UsageError`` as ``stateful`` does, which is called first unless the network has states already.

        >>> import numpy as np
        >>> import portable_nn as pnn
        >>> net = pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(5), pnn.Dense(2), seed=0)
        >>> x, stream = np.ones((1, 10, 3), "float32"), net.stream()
        >>> parts = [stream(part) for part in (x[:, :4], x[:, 4:5], x[:, 5:])]
        >>> np.allclose(np.concatenate(parts, axis=1), net.predict(x), atol=1e-6)
        True
        """
        return Stream(self.stateful(), engine)

    # -- as a part of other networks

    @check_kinds
    def until(self, *names: str | int) -> Network:
        """The part that computes the values ``names``, which become the outputs: a body for a new head.

        A value has the name that ``summary`` and ``portable-nn inspect`` show for its node, or, where a node makes
        several or the model comes from an ONNX file, its own as well. -1 is the input of the last linear layer before
        the output (a product with weights, or a convolution with a kernel of 1), -2 that of the one before, and so on.
        The weights are copied. The inputs that are still needed keep their preprocessing.

        Raises ``UsageError`` for an unknown name, with names that are near.
        """
        graph = surgery.cut(self.graph, [str(name) for name in names])
        return self._with(
            graph, self.parameters.arrays, kept_inputs(graph, self.inputs), kept_outputs(graph, self.outputs)
        )

    def dequantize(self) -> Network:
        """The network with floats in place of quantised weights: they train, and results only differ by rounding.

        Weights that DequantizeLinear or a scaled product of whole numbers reads (``MatMulInteger``, ``QGemm``), also in
        the steps of an LSTM, that are packed in bytes (``MatMulNBits``), or in a table of which rows are taken, become
        parameters of the numbers that the network computes of them. What is rounded on the way from layer to layer
        stays rounded, as its ranges are a part of the network, so that a result may be another by a step; gradients go
        straight through it.

        Warns with ``DataWarning`` that names the nodes which keep whole numbers, and why; raises ``UsageError`` where
        all do.
        """
        return self._with(*dequantized(self.graph, self.parameters.arrays), self.inputs, self.outputs)

    def _with(
        self, graph: Graph, arrays: NamedArrays, inputs: Sequence[InputInfo], outputs: Sequence[OutputInfo]
    ) -> Network:
        """A network of another graph with copies of the weights in it, and the same words and random numbers."""
        made = Network.from_graph(
            graph,
            {value.name: arrays[value.name] for value in graph.parameters},
            inputs=inputs,
            outputs=outputs,
            metadata=self.metadata,
            documentation=self.documentation.within(graph),
        )
        made.rng = copying.deepcopy(self.rng)
        return made

    def __call__(self, *inputs: Any) -> Any:
        """The network as a layer of another one: its outputs for symbols, one for each of its inputs.

        A symbol, or a tuple of them where the network has several outputs. The other network begins with the weights
        that this one has when it is made, and with what is frozen here when this is called. Called twice, the network
        uses the same parameters twice; nodes are numbered from the second use on.

        Raises ``GraphError`` where the symbols do not fit the inputs, ``UsageError`` for what is no symbol.
        """
        for x in inputs:
            if not isinstance(x, Symbol):
                called = "a network is called with symbols, and is then a layer of another one"
                raise UsageError(f"{called}; predict(x) gives its outputs for arrays, such as this {type(x).__name__}")
        for value in self.graph.parameters:
            leaf = self._leaves.setdefault(value.name, surgery.leaf(value, lambda: self.parameters.arrays))
            leaf.trainable, leaf.packed = value.trainable, value.packed
        self._uses += 1
        found = surgery.apply(self.graph, inputs, self._leaves, f"_{self._uses}" if self._uses > 1 else "")
        return found[0] if len(found) == 1 else found

    # -- training

    @check_kinds
    def freeze(self, *patterns: str) -> tuple[str, ...]:
        """Keep ``fit`` from changing the parameters whose names match; returns these names.

        ``"features.*"`` matches all whose names begin so, and ``"features"`` the same: a pattern may name the front of
        a name up to a ``.`` or ``/``, or a node that reads the parameter. ``"*"`` matches all. A file keeps what is
        frozen (``trainable: false``).

        A batch normalisation is trained with the statistics of each batch, and its running ones follow. Where both its
        weight and its bias are frozen, it is frozen as a whole: it takes the running statistics, as ``predict`` does,
        and leaves them as they are. One without weight and bias cannot be frozen. ``Dropout`` drops as before.

        Raises ``UsageError`` for a pattern that matches nothing, with names that are near.
        """
        self.graph, names = surgery.with_trainable(self.graph, patterns, trainable=False)
        return names

    @check_kinds
    def unfreeze(self, *patterns: str) -> tuple[str, ...]:
        """Let ``fit`` train the parameters whose names match, as ``freeze`` matches them; returns these names.

        The mean and standard deviation of ``Normalization`` and the factor of ``Rescaling``, which prepare the inputs,
        stay frozen unless one is given by its full name.

        Raises ``UsageError`` for a pattern that matches nothing that a gradient can train.
        """
        self.graph, names = surgery.with_trainable(self.graph, patterns, trainable=True)
        return names

    if TYPE_CHECKING:
        fit = fit_network
    else:
        fit = LazyMethod("portable_nn.training.fit", "fit")

    # -- how good its answers are

    if TYPE_CHECKING:
        calibrate, evaluate, predict_proba = calibrate, evaluate, predict_proba
    else:
        calibrate = LazyMethod("portable_nn.evaluation.methods", "calibrate")
        evaluate = LazyMethod("portable_nn.evaluation.methods", "evaluate")
        predict_proba = LazyMethod("portable_nn.evaluation.methods", "predict_proba")

    # -- files

    def manifest(self, *, hashed: bool = True) -> Manifest:
        """The description that a weight file of this network holds.

        Args:
            hashed: whether it has the hashes of the tensors, which take time.
        """
        found = hashes(self.parameters.arrays, self.graph.parameters) if hashed else {DIGEST: {}, CHECKSUM: {}}
        return Manifest(
            graph=self.graph,
            inputs=self.inputs,
            outputs=self.outputs,
            metadata=dict(self.metadata),
            documentation=self.documentation or UNSET,
            digests=found[DIGEST],
            checksums=found[CHECKSUM],
        )

    @check_kinds
    def save(self, path: str | Path) -> str:
        """Write the network into a weight file: whole or not at all. Raises ``FileError`` or ``UsageError``.

        Returns its digest, which ``load`` can be given to accept no other network.
        """
        return save_file(path, self.manifest(hashed=False), self.parameters.arrays)

    @check_kinds
    def load_weights(self, source: str | Path | NamedArrays) -> None:
        """Take the weights from a file, or from a dict of arrays by name; all of them, or none where any differs.

        Raises ``ShapeError`` that names every tensor that differs with both shapes, ``FormatError`` for a bad file.
        """
        expected = {value.name: value for value in self.graph.parameters}
        if isinstance(source, Mapping):
            tensors, where = source, "the weights do not fit this network"
        else:
            contents = load_file(source).noted(source)
            tensors = {value.name: contents.tensors[value.name] for value in contents.manifest.graph.parameters}
            where = f"{source}: the weights do not fit this network"
        check_fit(expected, tensors, where)
        if not isinstance(self.parameters.arrays, dict):  # Mapped from a file: nothing of it is needed.
            self._own({name: np.asarray(tensors[name], value.dtype) for name, value in expected.items()})
            return
        for name in expected:
            self.parameters[name][...] = tensors[name]

    def own_weights(self) -> None:
        """Copy weights that are mapped from a file into memory, where they can be changed; ``fit`` does so."""
        if not isinstance(self.parameters.arrays, dict):
            self._own(self.parameters.arrays)

    def _own(self, arrays: NamedArrays) -> None:
        """Have copies of arrays as the weights."""
        owned = {name: aligned_copy(array, array.dtype.name) for name, array in arrays.items()}
        self._execution = Execution(self.graph, Weights(owned))


def remade(of: Network | Manifest, parameters: NamedArrays) -> Network:
    """The network that another one, or a manifest, describes, with these very arrays as its parameters."""
    described = {name: getattr(of, name) for name in ("inputs", "outputs", "metadata", "documentation")}
    return Network.from_graph(of.graph, parameters, copy=False, **described)


Kind: TypeAlias = Literal["values", "probabilities"]


def inputs_of(graph: Graph, preprocessing: Preprocessing) -> list[InputInfo]:
    """The inputs of ``graph``, the first of which ``preprocessing`` makes from pictures.

    Raises ``UsageError`` for arithmetic in it.
    """
    infos = [InputInfo(value.name) for value in graph.inputs]
    if steps := arithmetic(preprocessing):
        raise UsageError(f"'{steps[0]}' is arithmetic: a layer such as Rescaling or Normalization makes it nodes")
    if preprocessing:
        infos[0] = InputInfo(infos[0].name, "image", tuple(preprocessing))
    return infos


def outputs_of(graph: Graph, symbols: Sequence[Symbol], labels: Sequence[str]) -> list[OutputInfo]:
    """The outputs of ``graph``, which are these ``symbols``; ``labels`` are those of the first."""
    infos = [OutputInfo(name, _kind(each.origin.operator)) for name, each in zip(graph.outputs, symbols, strict=True)]
    if labels:
        kind = infos[0].kind
        if kind == "values":
            kind = "binary_logits" if symbols[0].shape[-1:] == (1,) and len(labels) == 2 else "logits"
        infos[0] = OutputInfo(infos[0].name, kind, tuple(labels))
    return infos


def kept_inputs(graph: Graph, infos: Iterable[InputInfo]) -> list[InputInfo]:
    """Those of ``infos`` that are inputs of ``graph``, a part of the whole."""
    names = {value.name for value in graph.inputs}
    return [
        info if not info.state or info.state in graph.outputs else replace(info, state="")
        for info in infos
        if info.name in names
    ]


def kept_outputs(graph: Graph, infos: Iterable[OutputInfo]) -> list[OutputInfo]:
    """The outputs of ``graph``, a part of the whole, whose outputs ``infos`` are about."""
    kept = {info.name: info for info in infos}
    makers = graph.makers()
    return [kept.get(name) or OutputInfo(name, _kind(operator_of(makers[name]))) for name in graph.outputs]


def _kind(operator: Operator | None) -> Kind:
    """The kind of an output that this operator makes; ``None`` makes an input or a parameter."""
    return "probabilities" if operator and operator.probabilities else "values"
