"""An exported graph as a network: each node through its row of the table ``aten``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.torch.aten import Use, row_of
from portable_nn.converters.torch.aten.rows import Stated
from portable_nn.converters.torch.backwards import marked
from portable_nn.converters.torch.facts import metadata_of
from portable_nn.converters.torch.nodes import (
    CHECKS,
    common_type,
    dtype_of,
    identity_of,
    is_known,
    is_shared,
    plain_path,
    results_of,
    target_of,
    writers_of,
    writes,
)
from portable_nn.converters.torch.program import Program, fixed
from portable_nn.core.errors import GraphError, RefusalError, UsageError, listed
from portable_nn.core.graph import Dim, Graph
from portable_nn.core.text import said
from portable_nn.network import Network
from portable_nn.operators import DTYPE_CODES, FLOATS, Array, Leaf, NamedArrays, Symbol, constant, emit, squeezed, trace
from portable_nn.rewrites.nonfinite import storable

_FOR_NOTHING: Final = {"dtype", "device", "layout", "pin_memory", "memory_format", "generator", "non_blocking"}
"""Options that say what the results say as well, or nothing about them."""

_WRITTEN: Final = 64
"""The most elements of a constant of the module that is written into the graph; larger ones are frozen parameters."""


class Translation(NamedTuple):
    """A network, what could not be kept, and which numbers PyTorch takes as inputs, where it takes less."""

    network: Network
    notes: tuple[str, ...]
    stated: Mapping[str, Stated]


def translated(module: Any, program: Program, seed: int | None) -> Translation:
    """The network of an exported module.

    Operators without a row are decomposed by PyTorch first, and these alone, as long as that makes others; so is the
    whole graph where it writes into parts of tensors.

    Raises ``UsageError`` that lists what has no row then, and where in the module it is.
    """
    exported, wanted = program.exported, set[Any]()
    while True:
        translator = _Translator(module, program, exported)
        targets, faults = translator.missing()
        if not faults:
            return translator.network(seed)
        if wanted and wanted.issuperset(targets):
            raise UsageError(listed(faults, "the module has operators that cannot be converted"))
        wanted |= targets
        exported = _decomposed(exported, wanted, faults)


def _decomposed(exported: Any, wanted: Collection[Any], missing: Sequence[str]) -> Any:
    """The program with the wanted operators in simpler ones, and without writing into tensors."""
    from torch.export import default_decompositions

    from portable_nn.converters.torch.program import quiet

    marked(exported)
    table: Any = default_decompositions()
    with quiet():
        try:
            return exported.run_decompositions({target: way for target, way in table.items() if target in wanted})
        except Exception as error:
            faults = [*missing, f"PyTorch cannot decompose them {said(error)}"]
            raise UsageError(listed(faults, "the module has operators that cannot be converted")) from error


class _Translator:
    def __init__(self, module: Any, program: Program, exported: Any) -> None:
        self.module, self.program, self.exported = module, program, exported
        self.nodes = list(exported.graph.nodes)
        self.values: dict[Any, Any] = {}
        self.arrays: dict[str, Array] = {}
        self.inputs: list[Leaf] = []
        self.notes: dict[str, None] = dict.fromkeys(program.notes)
        self.faults: list[str] = []
        self.paths: Counter[str] = Counter()
        self.tied: dict[str, str] = {}
        self.not_saved: list[str] = []
        self.stated: dict[str, Stated] = {}
        self.learning = set[Symbol]()

    def network(self, seed: int | None) -> Translation:
        """The network of a module all of whose operators have rows."""
        self._add_leaves()
        for node in self.nodes:
            if node.op == "call_function" and node in self.needed:
                self._add(node)
        outputs = self._outputs()
        if self.faults:
            raise UsageError(listed(self.faults, "the module cannot be converted"))
        graph = trace(self.inputs, outputs, type(self.module).__name__).graph
        order = {name: place for place, name in enumerate(self.module.state_dict())}
        parameters = sorted(graph.parameters, key=lambda each: order.get(each.name, len(order)))
        used = {each.name: self.arrays[each.name] for each in parameters}
        graph, infinite = storable(replace(graph, parameters=tuple(parameters)))
        self._note_unused(used)
        self._note_changed(used, graph)
        tied = {name: whose for name, whose in self.tied.items() if whose in used}
        self.notes |= {
            f"'{name}' is '{whose}': they are tied, and one parameter here": None for name, whose in tied.items()
        }
        metadata = metadata_of(tied, [*(name for name in self.not_saved if name in used), *infinite])
        network = Network.from_graph(graph, {**used, **infinite}, seed=seed, metadata=metadata)
        return Translation(network, tuple(self.notes), self.stated)

    # -- what is needed, and whether there are rows

    @cached_property
    def needed(self) -> set[Any]:
        """The nodes that the outputs depend on, with those that write into them."""
        wanted = [node for node in self._results() if type(node).__name__ == "Node"]
        found = set()
        while wanted:
            node = wanted.pop()
            if node in found:
                continue
            found.add(node)
            wanted += node.all_input_nodes
            wanted += writers_of(node)
        return found

    def missing(self) -> tuple[set[Any], list[str]]:
        """The operators without a row, and the faults: these, and what writes into a part of a tensor."""
        targets, places = set[Any](), dict[str, list[str]]()
        for node in self.nodes:
            if node.op != "call_function" or node not in self.needed or is_known(node):
                continue
            targets.add(node.target)
            places.setdefault(target_of(node), []).append(self._place(node))
        faults = [f"{target} in {', '.join(dict.fromkeys(at))}{_advice(target)}" for target, at in places.items()]
        partial = [node for node in self.nodes if node in self.needed and writes(node) and is_shared(node.args[0])]
        faults += [f"{target_of(node)} in {self._place(node)} writes into a part of a tensor" for node in partial]
        return targets, faults

    def _place(self, node: Any) -> str:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", type(self.module).__name__)
        name = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
        return f"'{plain_path(path)}' ({name})" if path else name

    # -- leaves

    def _add_leaves(self) -> None:
        state = dict(self.module.state_dict(keep_vars=True))
        first = dict[Any, str]()
        for name, tensor in state.items():
            whose = first.setdefault(identity_of(tensor), name)
            if whose != name:
                self.tied[name] = whose
        nodes = {node.name: node for node in self.nodes if node.op == "placeholder"}
        leaves: dict[str, Leaf] = {}
        given = iter(self.program.inputs)
        for spec in self.exported.graph_signature.input_specs:
            kind, node = spec.kind.name, nodes.get(getattr(spec.arg, "name", ""))
            if kind == "USER_INPUT":
                name = next(given)
                if name is not None and node is not None:
                    self._add_input(name, node)
                continue
            if node is None or kind not in {"PARAMETER", "BUFFER", "CONSTANT_TENSOR"}:
                continue
            tensor = state.get(spec.target)
            if tensor is None:
                held = self.exported.state_dict if spec.target in self.exported.state_dict else self.exported.constants
                tensor = held[spec.target]
            name = first.get(identity_of(tensor), spec.target)
            if not node.users:
                continue
            self.values[node] = self._leaf(leaves, name, tensor, kind)
            if kind == "PARAMETER":
                self._learn([self.values[node]])
            if kind == "BUFFER" and name not in state:
                self.not_saved.append(name)

    def _leaf(self, leaves: dict[str, Leaf], name: str, tensor: Any, kind: str) -> Symbol:
        dtype = dtype_of(tensor)
        if dtype not in DTYPE_CODES:
            self.faults.append(f"'{name}' is of the element type {dtype}; module.float() makes it float32")
            return constant(0, "float32")
        array = tensor.detach().cpu().numpy()
        if kind == "CONSTANT_TENSOR" and array.size <= _WRITTEN:
            return constant(array, dtype)
        if name not in leaves:
            trainable = bool(getattr(tensor, "requires_grad", False)) and kind == "PARAMETER"
            if kind == "PARAMETER" and array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
                count = int((~finite).sum())
                self.notes[f"'{name}' holds NaN or infinity in {count} of {array.size} places"] = None
            leaves[name] = Leaf(name, dtype, array.shape, parameter=True, trainable=trainable, initial=array)
            self.arrays[name] = array
        return leaves[name]

    def _add_input(self, name: str, node: Any) -> None:
        tensor = node.meta["val"]
        dims = [self._dim(size, name, axis) for axis, size in enumerate(tensor.shape)]
        dtype = dtype_of(tensor)
        if dtype not in DTYPE_CODES:
            self.faults.append(f"the input '{name}' is of the element type {dtype}")
            dtype = "float32"
        leaf = Leaf(name, dtype, tuple(dims))
        self.inputs.append(leaf)
        self._learn([leaf])
        self.values[node] = leaf

    def _dim(self, size: Any, name: str, axis: int) -> Dim:
        """The name of a symbol; a size that PyTorch computes of others is open as well."""
        size = fixed(size)
        if isinstance(size, int):
            return size
        found = self.program.dims.get(str(size.node.expr))
        return self.program.wanted[name][axis] if found is None else found

    # -- nodes

    def _add(self, node: Any) -> None:
        if CHECKS.match(target_of(node)):
            return
        arguments = [self._argument(each) for each in node.args]
        options = {key: self._argument(each) for key, each in node.kwargs.items() if key not in _FOR_NOTHING}
        given = _flat([*arguments, *options.values()])
        if any(each is _FAILED for each in given):
            self.values[node] = _FAILED
        elif target_of(node) == "_operator.getitem":
            self.values[node] = self._picked(node, *arguments)
        else:
            self._call(node, arguments, options, [each for each in given if isinstance(each, Symbol)])

    def _picked(self, node: Any, made: Sequence[Any], place: int) -> Any:
        """One of several results."""
        found = made[place] if place < len(made) else None
        if found is None:
            self.faults.append(f"result {place} of {target_of(node.args[0])} in {self._place(node)} has no row")
        return _FAILED if found is None else found

    def _call(self, node: Any, arguments: Sequence[Any], options: Mapping[str, Any], given: Sequence[Symbol]) -> None:
        """Call the row of a node."""
        target = target_of(node)
        row = row_of(target)
        learns = not self.learning.isdisjoint(given)
        assert row is not None
        use = Use(
            target, results_of(node), common_type(node), trains=self.program.trains, learns=learns, note=self._note
        )
        try:
            made = _as_there(row(use, *arguments, **options), node.meta.get("val"))
        except RefusalError as refused:
            self.faults.append(f"{target} in {self._place(node)}: {refused} cannot be converted")
            made = _FAILED
        except GraphError as error:
            self.faults.append(f"{target} in {self._place(node)}: {'; '.join(map(str, error.faults))}")
            made = _FAILED
        self.stated |= {str(leaf.name): use.stated[leaf] for leaf in self.inputs if leaf in use.stated}
        if learns:
            self._learn(each for each in _flat([made]) if each not in given)
        self.values[node] = made
        if writes(node):
            self.values[node.args[0]] = made
        self._name(node, made)

    def _learn(self, values: Iterable[Any]) -> None:
        """Note what has a gradient: floats that parameters or inputs lead to."""
        for each in values:
            if isinstance(each, Symbol) and each.dtype in FLOATS:
                operator = each.origin.operator
                self.learning.update([each] if operator is None or operator.name != "StopGradient" else ())

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def _argument(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._argument(each) for each in value]
        if type(value).__name__ == "Node":
            return self.values.get(value)
        return value

    def _name(self, node: Any, made: Any) -> None:
        """Name the last node after the module, or after the operator where the module has others inside."""
        symbols = made if isinstance(made, (list, tuple)) else [made]
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        for symbol in symbols[:1]:
            if not isinstance(symbol, Symbol) or symbol.origin.operator is None or symbol.origin.name:
                continue
            path, kind = stack[-1] if stack else ("", "")
            path = plain_path(path)
            is_leaf = path and "torch.nn.modules" in str(kind)
            word = target_of(node).split(".")[1].strip("_")
            stem = path if is_leaf else f"{path}.{word}" if path else word
            self.paths[stem] += 1
            taken = {*self.arrays, *self.program.inputs, *self.program.outputs}
            if self.paths[stem] == 1 and path and stem not in taken:
                symbol.origin.name = stem
            else:
                symbol.origin.stem = stem

    # -- outputs

    def _results(self) -> list[Any]:
        """The results of the module, without the new values of its buffers, which come first."""
        [node] = [node for node in self.nodes if node.op == "output"]
        return list(node.args[0])[-len(self.program.outputs) :]

    def _outputs(self) -> list[Symbol]:
        found: list[Symbol] = []
        for name, result in zip(self.program.outputs, self._results(), strict=True):
            symbol = self._argument(result)
            if symbol is _FAILED:
                continue
            if not isinstance(symbol, Symbol):
                self.notes[f"the output '{name}' is {symbol!r}, no tensor, and left out"] = None
                continue
            if isinstance(symbol, Leaf) or symbol in found or symbol.name:
                symbol = emit("Identity", symbol)
            if symbol.origin.operator and symbol.origin.operator.name == "Constant":
                symbol = emit("Identity", symbol)
            symbol.name = name
            if symbol.origin.name == symbol.name:
                symbol.origin.name = None
            found.append(symbol)
        if not found and not self.faults:
            raise UsageError("the module returns no tensor")
        return found

    def _note_changed(self, used: NamedArrays, graph: Graph) -> None:
        """Note buffers that ``forward`` changes while PyTorch trains, but for counters of batches.

        Running statistics of a batch normalization change here as well.
        """
        followed = {name for node in graph.nodes if node.operator == "BatchNormalization" for name in node.inputs[3:]}
        signature = self.exported.graph_signature
        nodes = {node.name: node for node in self.nodes if node.op == "placeholder"}
        changed = dict.fromkeys(signature.buffers_to_mutate.values())
        changed |= {name: None for place, name in signature.inputs_to_buffers.items() if writers_of(nodes[place])}
        for name in changed:
            if name in used and name not in followed:
                self.notes[f"'{name}' changes while PyTorch trains the module, and stays as it is here"] = None
        for node in self.nodes:
            if node.op == "call_function" and node not in self.needed and "batch_norm" in target_of(node):
                name = signature.inputs_to_buffers.get(str(node.args[3]))
                if name in used:
                    self.notes[f"'{name}' follows in PyTorch a call in {self._place(node)} that nothing needs"] = None

    def _note_unused(self, used: NamedArrays) -> None:
        tied = {identity_of(tensor) for name, tensor in self.module.state_dict(keep_vars=True).items() if name in used}
        unused = [
            name
            for name, tensor in self.module.state_dict(keep_vars=True).items()
            if name not in used and identity_of(tensor) not in tied and not name.endswith("num_batches_tracked")
        ]
        if unused:
            shown = ", ".join(unused[:5]) + (f" and {len(unused) - 5} more" if len(unused) > 5 else "")
            self.notes[f"not in the network, for nothing that comes out depends on it: {shown}"] = None


def _as_there(made: Any, value: Any) -> Any:
    """The results of a row in the form of PyTorch: ``value`` is one tensor, or a list."""
    if isinstance(made, Symbol) and isinstance(value, (list, tuple)):
        return [made]
    if isinstance(made, list) and hasattr(value, "dim"):  # The row is also that of an operator with more results.
        made = made[0]
    if isinstance(made, Symbol) and hasattr(value, "dim") and not value.dim() and made.shape == (1,):
        return squeezed(made, 0)  # A size among the numbers has an axis here.
    return made


_FAILED: Final = object()
"""The value of a node that could not be made: those that need it are passed over."""


_COUNTING: Final = "how much comes out depends on the data; a mask, as torch.where(mask, x, 0), keeps the size"
_COMPLEX: Final = (
    "there are no complex numbers here: real and imaginary part may be two tensors, and a Fourier transform of a fixed "
    "length is two products with matrices of cosines and sines"
)

_ADVICE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("nonzero", "masked_select", "_unique", "unique_", "bincount", "argwhere", "repeat_interleave"), _COUNTING
    ),
    **dict.fromkeys(("fft_", "_fft_", "stft", "istft", "view_as_", "complex", "polar"), _COMPLEX),
    "quantize": "expected layers of floats: convert the module as it was before it was quantized",
}
"""Why operators, by how their names begin, have no counterpart, and what to write in their place."""


def _advice(target: str) -> str:
    """The advice on an operator, where there is any."""
    name = target.removeprefix("aten.")
    return next((f": {said}" for begin, said in _ADVICE.items() if name.startswith(begin)), "")


def _flat(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += _flat(value) if isinstance(value, list) else [value]
    return found
