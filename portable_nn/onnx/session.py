"""The onnxruntime engine: sessions that run any ONNX model, with the errors of this package."""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final, Protocol

from msgspec import UNSET
from msgspec.structs import replace
from onnx import ModelProto, NodeProto

from portable_nn.core.bounded import OvertimeError, bounded
from portable_nn.core.dims import apart, static
from portable_nn.core.errors import FileError, FormatError, PortableNNError, UnsupportedError, UsageError
from portable_nn.core.files import open_regular
from portable_nn.core.forks import after_fork, computing
from portable_nn.core.graph import Graph, Shape, Value
from portable_nn.core.memory import aligned_copy
from portable_nn.core.names import OnnxRuntime
from portable_nn.core.runtime import runtime
from portable_nn.core.text import said
from portable_nn.engines.claims import check_claims
from portable_nn.engines.feeds import fitted
from portable_nn.engines.threads import most_threads
from portable_nn.onnx.library.inference import infer_standard, input_shapes
from portable_nn.onnx.opsets.support import label
from portable_nn.onnx.providers import short, start
from portable_nn.onnx.storage.external import opened_model, regions
from portable_nn.onnx.storage.files import check_unread, opening_model, parsed, read_light
from portable_nn.onnx.storage.functions import nested, subgraphs
from portable_nn.onnx.writing import size_of, to_bytes, to_model
from portable_nn.operators.opaque.nodes import opaque_labels
from portable_nn.operators.opaque.side import DTYPES
from portable_nn.operators.registry import REGISTRY, Array, NamedArrays

IN_MODEL: Final = 2**30
"""The bytes of parameters up to which they are in the model: from there on, onnxruntime would need several copies."""

OPSET: Final = 21
"""The opset of graphs for this engine: one that the oldest supported onnxruntime, 1.21, knows."""

_QUIET: Final = 4
"""Log fatal errors only: everything else reaches the caller as an exception."""

_PLACE: Final = re.compile(r"^Exception during initialization: \S+:\d+ .*?OpKernelInfo&\)( \[.*?\])? ")
"""The place in its own code where onnxruntime raises an exception."""


class Limit(Protocol):
    """The time that a model may compute."""

    def seconds(self, shapes: Mapping[str, Shape]) -> Iterator[float] | None:
        """The processor time for inputs of these shapes: each is asked for when the one before is over.

        ``None`` where it is known that the model ends.
        """

    def reason(self, seconds: float) -> str:
        """The end of the error message where so many were not enough."""


class Session:
    """A model that is ready to run.

    Args:
        model: the bytes of a model, or the path of a file.
        where: the name of the model in messages, unless it has a path.
        threads: the number of threads for one operator; ``None`` for as many as there are cores, or as
            ``limit_threads`` says.
        provider: what runs it, as in ``OnnxRuntime``.
        folder: the folder of the external data files of a model given as ``bytes``, by default that of the model file
            that is being read (see ``opening_model``).
        optimise: whether onnxruntime may rewrite the graph; without, each node runs as it stands.
        weights: the arrays of initializers that are external data, contiguous, by name: onnxruntime uses them where
            they are, instead of reading the file, and takes no more memory than it must.
        limit: how long it may compute, at the beginning and in each run; by default as long as it does.

    Attributes:
        inputs, outputs: their names, types and shapes; a size without a name gets one.
        metadata, producer: the entries of the model's metadata, and the program that says that it wrote it.
        providers: what runs it, by the names of ``core.names``; the first has what it can run.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is not a valid ONNX model, or has tensors in files outside its folder.
        UnsupportedError: onnxruntime lacks an operator of it, or an input or output is not a tensor of numbers.
        MissingProviderError: the installed onnxruntime was built without the provider.

    Both it and ``run`` raise ``FormatError`` where the ``limit`` is exceeded.

    Warns with ``ProviderWarning`` where a provider does not start, or runs nothing of the model.
    """

    def __init__(
        self,
        model: bytes | str | Path,
        *,
        where: str = "model",
        threads: int | None = None,
        provider: str = OnnxRuntime.provider,
        folder: Path | None = None,
        optimise: bool = True,
        weights: NamedArrays = MappingProxyType({}),
        limit: Limit | None = None,
    ) -> None:
        self.where = where if isinstance(model, bytes) else str(model)
        self.limit = limit
        with computing():  # The import is part of it: a fork would keep its lock.
            self._weights = _in_place(weights)  # onnxruntime keeps no reference to them.
            options = _options(threads, optimise, self._weights)
            opening = partial(_open, model, self.where, options, folder, provider, limit is not None)
            self._session: Any = self._within_limit({}, lambda _: opening())
            _alive.add(self)
        self._frail: tuple[str, ...] | Callable[[], tuple[str, ...]] = (
            _frail_operators(model) if isinstance(model, bytes) else partial(_frail_in_file, Path(model))
        )
        self.providers = tuple(map(short, self._session.get_providers()))
        try:
            found = self._session.get_modelmeta()
            self.metadata, self.producer = dict[str, str](found.custom_metadata_map), str(found.producer_name)
            self.inputs = tuple(_value(each, self.where) for each in self._session.get_inputs())
            self.outputs = tuple(_value(each, self.where) for each in self._session.get_outputs())
        except UnicodeDecodeError as error:
            near = error.object[max(0, error.start - 20) : error.end + 20]
            raise FormatError(self.where, f"has a name or metadata that are not UTF-8: {near!r}") from error

    @property
    def is_usable(self) -> bool:
        """True if the session can run: a forked process has none of the threads of its parent's sessions."""
        return self._session is not None

    def run(self, feeds: NamedArrays) -> dict[str, Array]:
        """The outputs by name, for an array for each input.

        Raises:
            ShapeError: an input is missing, unknown, or of another shape or type; all of them are listed.
            FormatError: the model fails on these inputs.
        """
        results = self.run_fitting(fitted(self.inputs, feeds, self.where))
        return {value.name: result for value, result in zip(self.outputs, results, strict=True)}

    def _within_limit(self, shapes: Mapping[str, Shape], work: Callable[[Any], Any]) -> Any:
        """The result of ``work`` within the limit; ``work`` gets the options of a run, or ``None`` where it has no
        limit."""
        if self.limit is None or (seconds := self.limit.seconds(shapes)) is None:
            return work(None)
        options = runtime().RunOptions()
        # Between two nodes it looks whether it is to stop; within one, or in a loop without any, it does not.
        stop = partial(setattr, options, "terminate", True)
        try:
            return bounded(partial(work, options), seconds, stop)
        except OvertimeError as error:
            raise FormatError(self.where, self.limit.reason(error.seconds)) from None

    def _refuse_empty(self) -> None:
        """Raise ``FormatError`` where the process would end."""
        self._frail = self._frail() if callable(self._frail) else self._frail
        if self._frail:
            raise FormatError(
                self.where,
                f"onnxruntime 1.32 would end the process: its {' and '.join(self._frail)} cannot run on inputs without "
                "elements",
            )

    def run_fitting(self, arrays: NamedArrays) -> list[Array]:
        """The outputs in order, for arrays that are known to fit the inputs."""
        if self._session is None:
            raise UsageError(f"{self.where}: a session of onnxruntime cannot be used in a forked process")
        if self._frail and not all(array.size for array in arrays.values()):
            self._refuse_empty()
        try:
            with computing():
                shapes = {name: array.shape for name, array in arrays.items()} if self.limit else {}
                results: list[Array] = self._within_limit(shapes, partial(self._session.run, None, arrays))
        except PortableNNError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no other class in common.
            raise FormatError(
                self.where, f"onnxruntime cannot run it on these inputs {said(_reason(error))}"
            ) from error
        return results


def _frail_operators(model: bytes | mmap) -> tuple[str, ...]:
    """Operators in a model, subgraphs included, that must not be given arrays without elements."""
    names = [name for (domain, name), each in REGISTRY.items() if each.portability.aborts_on_empty and not domain]
    return tuple(name for name in names if model.find(name.encode()) >= 0)


def _frail_in_file(path: Path) -> tuple[str, ...]:
    with open_regular(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return _frail_operators(data)


_alive: Final = weakref.WeakSet[Session]()


@after_fork
def _abandon_sessions() -> None:
    """In a forked process: never destroy the sessions of the parent, which would wait for threads that do not exist."""
    for session in _alive:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session._session))
        session._session = None


def model_bytes(graph: Graph, parameters: NamedArrays, location: str | None = None) -> bytes:
    """``graph`` as an ONNX model for this engine; ``location`` and what it raises are those of ``to_model``."""
    check_claims(graph)
    opset = None if opaque_labels(graph.nodes) else OPSET  # Opaque nodes have one.
    return to_bytes(to_model(_held(graph), parameters, opset=opset, portable=False, location=location))


def _held(graph: Graph) -> Graph:
    """``graph`` without packed parameters: of those, onnxruntime would round what it multiplies them with."""
    return replace(graph, parameters=tuple(replace(each, packed=UNSET) for each in graph.parameters))


_WEIGHTS: Final = "weights"
"""The name of the file in which the parameters of a large graph would be."""


def session_of(graph: Graph, parameters: NamedArrays, *, provider: str = OnnxRuntime.provider) -> Session:
    """A session that computes ``graph``; raises as ``to_model`` and ``Session`` do."""
    if size_of(graph.parameters) > IN_MODEL:
        model = model_bytes(graph, parameters, _WEIGHTS)
        apart = {name: parameters[name] for name in regions(_held(graph).parameters)}
        copies = {name: aligned_copy(array, array.dtype.name) for name, array in apart.items()}
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / _WEIGHTS).touch()  # onnxruntime asks that it is there, and reads nothing of it.
            return Session(model, where=graph.name, provider=provider, folder=folder, weights=copies)
    return Session(model_bytes(graph, parameters), where=graph.name, provider=provider)


def _in_place(weights: NamedArrays) -> dict[str, Any]:
    """The arrays as values of onnxruntime that refer to the same memory."""
    return {name: runtime().OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}


def _options(threads: int | None, optimise: bool, weights: Mapping[str, Any]) -> Any:
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads or most_threads()
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    elif weights:  # The last level brings weights into another layout, and has a copy of each.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if weights or not optimise:  # Prepacked weights are copies as well, and an arena keeps what is freed.
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    for name, value in weights.items():
        options.add_initializer(name, value)
    return options


def _open(
    model: bytes | str | Path, where: str, options: Any, folder: Path | None, provider: str, is_foreign: bool
) -> Any:
    """A session of onnxruntime; ``is_foreign`` says that its inputs may have any sizes."""
    if folder is None and isinstance(model, bytes) and (opened := opened_model.get()):
        folder = opened.path.resolve().parent
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    if not isinstance(model, bytes):
        check_unread(model)
    source = model if isinstance(model, bytes) else str(model)
    first: Exception | None = None
    known = _looked_at(model)
    if is_foreign:
        _check_inverses(known, where)
    for level in _levels(options, known):
        options.graph_optimization_level = level
        try:
            return start(source, options, provider, where)
        except PortableNNError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no other class in common.
            first = first or error
    assert first
    raise _refusal(first, model, where) from first


def _looked_at(model: bytes | str | Path) -> ModelProto:
    """The parsed model, if nodes of it may end the process; without nodes where it is not valid, which is refused."""
    with suppress(FileError):
        if not isinstance(model, bytes) or b"then_branch" in model or b"Inverse" in model:
            return parsed(model, "") if isinstance(model, bytes) else read_light(model)
    return ModelProto()


def _levels(options: Any, model: ModelProto) -> tuple[Any, ...]:
    """The levels to which onnxruntime may rewrite a graph: the given one, and lower ones where its rewrites make the
    graph invalid.

    It may not rewrite a graph in which three branches stand in each other: where constants decide all of these,
    onnxruntime 1.32 may end the process.
    """
    levels, deepest = runtime().GraphOptimizationLevel, sum(map(_deepest_branch, _bodies(model)))
    if options.graph_optimization_level == levels.ORT_DISABLE_ALL or deepest > 2:
        return (levels.ORT_DISABLE_ALL,)
    return (options.graph_optimization_level, levels.ORT_ENABLE_BASIC, levels.ORT_DISABLE_ALL)


def _deepest_branch(nodes: Iterable[NodeProto]) -> int:
    """The most branches that stand in each other."""
    below = ((node, graph) for node in nodes for graph in subgraphs(node))
    return max((_deepest_branch(graph.node) + (node.op_type == "If") for node, graph in below), default=0)


def _bodies(model: ModelProto) -> list[Iterable[NodeProto]]:
    """The nodes of a graph and of each function."""
    return [each.node for each in (model.graph, *model.functions)]


def _check_inverses(model: ModelProto, where: str) -> None:
    """Check that the matrices are square whose inverses are computed by com.microsoft's Inverse.

    onnxruntime 1.32 looks at sizes that it knows when it opens a model. If others are not equal, it writes outside of
    its memory.

    Raises ``UnsupportedError`` where the sizes are not known, or not equal.
    """
    every = nested(chain(*_bodies(model)))
    if found := [node for node in every if (node.domain, node.op_type) == ("com.microsoft", "Inverse")]:
        shapes = {name: shape for name, shape in input_shapes(model.graph).items() if shape is not None}
        types, _ = infer_standard(model, shapes, {})
        for node in found:
            type = types.get("".join(node.input[:1]))
            if type is None or static(type.shape[-2:]) is None or len({*type.shape[-2:]}) != 1:
                what = f"'{label(node)}' ({node.domain}.{node.op_type}) inverts {type or 'arrays of unknown shape'}"
                raise UnsupportedError(where, f"{what}; of sizes that are not known, onnxruntime may end the process")


def _refusal(error: Exception, model: bytes | str | Path, where: str) -> PortableNNError:
    """The error for a model that onnxruntime refuses."""
    try:  # What is found wrong with it here is said in words of this package.
        if isinstance(model, bytes):
            parsed(model, where)
        else:
            with opening_model(model):
                pass
    except FileError as found:
        return found
    match type(error).__name__:  # Of the classes of onnxruntime's errors.
        case "NotImplemented":
            return UnsupportedError(where, f"onnxruntime lacks an operator that it needs {said(_reason(error))}")
        case "Fail":  # The model is valid, but a kernel takes less than the standard says.
            return UnsupportedError(where, f"onnxruntime cannot run it {said(_reason(error))}")
    return FormatError(where, f"is not a valid ONNX model {said(_reason(error))}")


def _reason(error: Exception) -> str:
    """The message of an exception, without the codes and the places in onnxruntime's code that it begins with."""
    return _PLACE.sub("", str(error).split(" : ", 3)[-1])


def _value(found: Any, where: str) -> Value:
    """An input or output; an unknown size gets a name."""
    if found.type not in DTYPES:
        words = ": import the file first, then they are the categories of a table" if "string" in found.type else ""
        raise UnsupportedError(where, f"'{found.name}' is {found.type}, not an array of numbers{words}")
    shape = tuple(f"{found.name}.{axis}" if dim is None else dim for axis, dim in enumerate(apart(found.shape)))
    return Value(found.name, DTYPES[found.type], shape)
