"""A model that runtimes are to run: its bytes, inputs for it, and what it must compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import numpy as np
from onnx import ModelProto

from portable_nn.core.errors import FormatError, GraphError, PortableNNError, UnsupportedError, UsageError
from portable_nn.core.graph import Graph, Value
from portable_nn.core.tensors import Array
from portable_nn.core.text import said
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.onnx.samples import Meant, NoInputsError, meant
from portable_nn.onnx.session import Limit, Session
from portable_nn.onnx.verification.drawing import drawn_for, whole_models
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.opening.kinds import open_model
from portable_nn.opening.onnx_file import OnnxFile
from portable_nn.operators import infer
from portable_nn.runtimes.forms import Form, NetworkForm, OnnxForm
from portable_nn.runtimes.table import Runtime
from portable_nn.runtimes.task import Port

Feeds: TypeAlias = Mapping[str, Array]
"""Arrays by the name of the input."""


@dataclass(frozen=True)
class Subject:
    """A model with all that is needed to judge a runtime.

    Attributes:
        name: the file, or the name of the network.
        model: the model as a runtime gets it, with its weights.
        network: the network that numpy runs, or why there is none.
        inputs, outputs: those of the model.
        note: what of the model is another one.
        limit: how long onnxruntime may compute it here, where numpy does not.
    """

    name: str
    model: ModelProto
    network: Network | str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    note: str = ""
    limit: Limit | None = None

    @property
    def reference(self) -> str:
        """The engine that computes the right values."""
        return "numpy" if isinstance(self.network, Network) else "onnxruntime"

    def feeds(self, seed: int) -> list[dict[str, Array]]:
        """Inputs as verification draws them: at two batch sizes, and at three of other symbolic sizes.

        Raises ``UsageError`` where none fit.
        """
        values = tuple(Value(*port) for port in self.inputs)
        graph, made_for = Graph(values, tuple(value.name for value in values), (), ()), dict[str, Meant]()
        if isinstance(self.network, Network):
            graph = self.network.graph
            made_for = meant(graph, self.network.parameters, self.network.inputs)
        try:
            return whole_models(drawn_for(graph, np.random.default_rng(seed), made_for, self.expected)[0])
        except NoInputsError as error:
            raise UsageError(f"{self.name}: {error}") from None

    def expected(self, feeds: Sequence[Feeds]) -> list[dict[str, Array]]:
        """The outputs for each of the inputs."""
        if isinstance(self.network, Network):
            return [run_numpy(self.network.graph, self.network.parameters, each) for each in feeds]
        session = Session(to_bytes(self.model), where=self.name, threads=1, limit=self.limit)
        return [session.run(each) for each in feeds]

    def form(self, runtime: Runtime) -> Form | str:
        """The model as a runtime is given it, or the reason why there is none."""
        if runtime.takes == "onnx":
            return OnnxForm(self.model)
        return NetworkForm(self.network) if isinstance(self.network, Network) else self.network

    def values(self, feeds: Feeds) -> dict[str, Array]:
        """All values as numpy computes them; none where it has no network."""
        if not isinstance(self.network, Network):
            return {}
        graph = self.network.graph
        return run_numpy(
            graph, self.network.parameters, feeds, [*filter(None, chain(*(node.outputs for node in graph.nodes)))]
        )


def subject_of(model: str | Path | Network | ModelProto, *, edited: bool = False) -> Subject:
    """A network, a shipped model, a weight file, any ONNX file, or a parsed one.

    An ONNX file of this package may have been ``edited``. Raises as ``open_model`` and ``Session`` do.
    """
    if isinstance(model, Network):
        return _of_network(model.graph.name, model)
    if not isinstance(model, (str, Path)):
        from portable_nn.converters.onnx import read_onnx

        name = model.graph.name or "model"
        return _of_model(name, lambda: model, lambda: read_onnx(model, verify=False, edited=edited).network)
    opened = open_model(model, edited=edited)
    name = str(opened.path)
    if isinstance(opened, OnnxFile):
        return _of_model(name, opened.whole, lambda: opened.network, opened.limit)
    return _of_network(name, opened.network)


def _of_network(name: str, network: Network) -> Subject:
    graph = network.graph
    types = infer(graph).types
    outputs = tuple(Port(name, types[name].dtype, types[name].shape) for name in graph.outputs)
    return Subject(name, to_model(graph, network.parameters), network, _ports(graph.inputs), outputs)


def _of_model(
    name: str, whole: Callable[[], ModelProto], read: Callable[[], Network], limit: Limit | None = None
) -> Subject:
    try:
        network: Network | str = read()
    except (FormatError, GraphError):
        raise
    except PortableNNError as error:  # An operator that numpy does not have.
        network = str(error)
    model = whole()
    try:
        session = Session(to_bytes(model), where=name, threads=1, limit=limit)
    except UnsupportedError as error:  # Inputs of words: as a network they are numbers.
        if isinstance(network, str):
            raise
        return replace(_of_network(name, network), note=f"the network that import makes was compared: {error.reason}")
    except ValueError as error:  # More than 2 GB.
        raise UsageError(f"{name}: is too large to be handed to other runtimes {said(error)}") from error
    return Subject(name, model, network, _ports(session.inputs), _ports(session.outputs), limit=limit)


def _ports(values: Iterable[Value]) -> tuple[Port, ...]:
    return tuple(Port(value.name, value.dtype, value.shape) for value in values)
