"""Networks from models of JAX: ``from_jax``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.conversion import Imported, Training, accepted, compare_sides
from portable_nn.converters.jax.models import Model, model_of
from portable_nn.converters.jax.tidying import tidied
from portable_nn.converters.jax.training import Trained, compare_training
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Dim, Graph, Node, Parameter, format_shape
from portable_nn.core.packages import need
from portable_nn.core.text import said
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import DTYPE_CODES, Leaf, NamedArrays, Symbol, emit, infer, lookup, sizes

__all__ = ["from_jax"]


@check_kinds
def from_jax(
    model: Any,
    variables: Any = None,
    example: Any = None,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    labels: Sequence[str] = (),
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
    training: Training = "same",
) -> Imported:
    """The network that a model of JAX computes, ready to train, with parameters named as in its tree.

    >>> import flax.linen as nn
    >>> import jax
    >>> import numpy as np
    >>> from portable_nn.converters.jax import from_jax
    >>> module, x = nn.Sequential([nn.Dense(16), nn.tanh, nn.Dense(3)]), np.zeros((1, 4), np.float32)
    >>> net = from_jax(module, module.init(jax.random.key(0), x), example=x).network
    >>> net.parameters["layers_0.kernel"].shape
    (4, 16)

    Inputs and outputs are as in the model: pictures with their channels last. What is between is channels first, as
    graphs are, and so are the kernels of convolutions.

    Args:
        model: a module of flax.linen, flax.nnx or equinox, or a function of variables and inputs. Modules are taken in
            the mode of inference; batch norms of flax, and Dropout, do in training what they do there. An equinox
            module takes one example, and is mapped over the first axis.
        variables: the variables of a module of flax.linen, as ``init`` gives them, or the tree that a function takes
            first. Floating-point arrays are trained; of a tree with collections, those in ``params`` alone.
        example: the input, or a tuple of the inputs: arrays, or ``jax.ShapeDtypeStruct``. The first axis of arrays is
            left open, as ``batch``; other axes are open where a shape has symbols of ``jax.export.symbolic_shape``.
        options: further arguments of the model by name, such as ``{"train": False}``.
        inputs: names of the inputs; by default ``input``, numbered where there are several.
        outputs: names of the outputs.
        labels: names of the classes.
        verify: whether to compare the numpy engine and JAX on the same inputs, at two batch sizes, and three numbers
            for each other open size.
        atol: the absolute tolerance of that comparison.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        prove_training: whether to train the network and the model for five steps as well, on the same examples: they
            must end with the same parameters.
        training: ``"same"`` refuses a model with derivatives of its own (``custom_jvp``, ``custom_vjp``), which no
            graph has; ``"evaluation"`` takes it, and training follows the derivatives of what it computes.

    Raises:
        UsageError: primitives that have no counterpart, all of them listed; or missing or superfluous arguments.
        VerificationError: both sides do not agree.
        MissingPackageError: JAX is not installed.
    """
    need("from_jax", "jax", "jax")
    found = model_of(model, variables, options)
    examples = _examples(example)
    names = list(inputs) or _numbered("input", len(examples))
    if len(names) != len(examples) or len(set(names)) != len(names):
        raise UsageError(f"inputs must be {len(examples)} different names, not {', '.join(names)}")
    differs = list[str]()
    (network, moves), notes = _traced(found, examples, names, outputs, labels, differs)
    notes += (*_frozen(network, found.momenta), *accepted(differs, training))
    proof = Proof()
    if verify or prove_training:
        side = _side(network.graph, found)
        proof = compare_sides(network, side, "the model", tolerance=Tolerance(atol, rtol), seed=seed)
    if prove_training:
        proof.notes += compare_training(network, _trained(network, found, moves), seed=seed)
    return Imported(network, proof, notes)


def _frozen(network: Network, momenta: Mapping[str, float]) -> tuple[str, ...]:
    """A note of the batch norms that are no BatchNormalization: training leaves their statistics as they are."""
    kept = {node.inputs[3].rpartition(".")[0] for node in network.graph.nodes if node.operator == "BatchNormalization"}
    if left := sorted(momenta.keys() - kept):
        return (
            f"batch norms that are no BatchNormalization here keep their statistics in training: {', '.join(left)}",
        )
    return ()


def _numbered(stem: str, count: int) -> list[str]:
    return [stem] if count == 1 else [f"{stem}_{number}" for number in range(1, count + 1)]


class Example(NamedTuple):
    """An input.

    Attributes:
        open: its shape and type, with sizes that are open.
        fixed: the same with numbers; ``None`` where an example gave none.
    """

    open: Any
    fixed: Any


def _examples(example: Any) -> list[Example]:
    """The inputs: the first axis of an array is open."""
    import jax

    if example is None:
        raise UsageError("from_jax needs an example of the input, or a tuple of such: example=np.zeros((1, 28, 28, 1))")
    given = list(example) if isinstance(example, (tuple, list)) else [example]
    batch = jax.export.symbolic_shape("batch")
    found = []
    for each in given:
        if isinstance(each, jax.ShapeDtypeStruct):
            found.append(Example(each, each if all(isinstance(size, int) for size in each.shape) else None))
            continue
        try:
            array = jax.numpy.asarray(each)
        except (TypeError, ValueError) as error:
            raise UsageError(f"an example is an array of numbers, not {each!r:.60} {said(error)}") from None
        if not array.ndim:
            raise UsageError("the first axis of an input is that of the examples; a number has none")
        opened = jax.ShapeDtypeStruct((*batch, *array.shape[1:]), array.dtype)
        found.append(Example(opened, jax.ShapeDtypeStruct(array.shape, array.dtype)))
    for each in found:
        if str(each.open.dtype) not in DTYPE_CODES:
            raise UsageError(f"an input of {each.open.dtype} is none that graphs have: {', '.join(DTYPE_CODES)}")
    return found


def _jaxpr(model: Model, call: Callable[..., Any], examples: Sequence[Any]) -> tuple[Any, Any]:
    """The jaxpr of the model, and the tree of its outputs."""
    import jax

    arrays = [jax.ShapeDtypeStruct(leaf.array.shape, leaf.array.dtype) for leaf in model.leaves]
    found: tuple[Any, Any] = jax.make_jaxpr(call, return_shape=True)(arrays, *examples)
    return found


def _traced(
    model: Model,
    examples: Sequence[Example],
    names: Sequence[str],
    outputs: Sequence[str],
    labels: Sequence[str],
    differs: list[str],
) -> tuple[Folded, tuple[str, ...]]:
    """With open sizes; where JAX cannot trace the model so, with those of the example, and a note that says why.

    Layers that are marked cannot be traced inside of transformations such as ``vmap``: then none is.
    """
    opened, fixed = [each.open for each in examples], [each.fixed for each in examples]
    shapes = [opened] if None in fixed or fixed == opened else [opened, fixed]
    reasons = list[Exception]()
    for inputs in shapes:
        for call in (model.traced, model.call):
            try:
                closed, results = _jaxpr(model, call, inputs)
            except Exception as error:  # A model may raise anything.
                reasons.append(error)
                continue
            if inputs is not opened and any(len(each.shape) == 1 for each in inputs):
                raise UsageError(
                    f"the first axis of an input is that of the examples, and the model takes {_shapes(inputs)} as one "
                    f"example: give it with an axis more, (1, …). {_first_line(reasons[1])}"
                )
            made = _network(model, closed, inputs, names, _output_names(results, outputs), labels, differs)
            return made, () if inputs is opened else (_fixed(inputs, reasons[1]),)
    given = _shapes(opened if None in fixed else fixed)
    raise UsageError(
        f"the model does not take the example, {given}: {_first_line(reasons[-1])}. An example has the arguments of a "
        "call, one array for each input, with the examples along the first axis"
    ) from reasons[-1]


def _shapes(inputs: Sequence[Any]) -> str:
    return " and ".join(f"{each.dtype}{format_shape(tuple(map(str, each.shape)))}" for each in inputs)


def _first_line(reason: Exception) -> str:
    return f"{type(reason).__name__}: {str(reason).partition(chr(10))[0].rstrip('.')}"


def _fixed(inputs: Sequence[Any], reason: Exception) -> str:
    sizes = ", ".join(dict.fromkeys(str(each.shape[0]) for each in inputs))
    first = str(reason).partition("\n")[0]
    return f"sizes are fixed at those of the example, {sizes}: JAX refuses open ones: {first}"


def _output_names(shapes: Any, outputs: Sequence[str]) -> list[str]:
    """The names of the outputs: those given, the keys of a dict, or numbers."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(shapes)[0]
    if outputs:
        if len(outputs) != len(leaves) or len(set(outputs)) != len(outputs):
            raise UsageError(f"outputs must be {len(leaves)} different names, not {', '.join(outputs)}")
        return list(outputs)
    if isinstance(shapes, Mapping):
        return [".".join(str(getattr(entry, "key", entry)) for entry in path) for path, _ in leaves]
    return _numbered("output", len(leaves))


def _network(
    model: Model,
    closed: Any,
    examples: Sequence[Any],
    names: Sequence[str],
    outputs: Sequence[str],
    labels: Sequence[str],
    differs: list[str],
) -> Folded:
    from portable_nn.converters.jax.interpretation import interpreted
    from portable_nn.converters.jax.primitives import Call, Held

    leaves = [
        Leaf(leaf.name, str(leaf.array.dtype), tuple(leaf.array.shape), parameter=True, trainable=leaf.trainable,
             initial=np.asarray(leaf.array))
        for leaf in model.leaves
    ]  # fmt: skip
    ins = [
        Leaf(name, str(each.dtype), tuple(_dim(size) for size in each.shape))
        for name, each in zip(names, examples, strict=True)
    ]
    given = [
        Held(leaf, tuple(shape), tuple(range(len(shape))))
        for leaf, shape in [*((leaf, leaf.shape) for leaf in leaves),
                            *((leaf, each.shape) for leaf, each in zip(ins, examples, strict=True))]
    ]  # fmt: skip
    opened = _names_of_sizes(ins, examples)
    found = interpreted(closed, given, opened, differs)
    made = []
    for held, name in zip(found, outputs, strict=True):
        symbol = Call("the output", {}, [], opened).exact(held)
        if isinstance(symbol, Leaf) or symbol in made:
            symbol = emit("Identity", symbol)
        symbol.name = name
        made.append(symbol)
    if clash := {name for name in outputs if name in {*names, *(leaf.name for leaf in leaves)}}:
        raise UsageError(f"outputs and inputs or parameters share the names {', '.join(sorted(clash))}")
    network, moves = folded(Network(inputs=ins, outputs=made, labels=labels))
    return Folded(_tidied(network, model.momenta), moves)


def _tidied(network: Network, momenta: Mapping[str, float]) -> Network:
    graph = tidied(network.graph, momenta)
    shares = {name for name, node in graph.makers().items() if lookup(node.operator, node.domain).probabilities}
    outputs = [replace(info, kind="probabilities") if info.name in shares else info for info in network.outputs]
    arrays = {value.name: network.parameters[value.name] for value in graph.parameters}
    return Network.from_graph(graph, arrays, inputs=network.inputs, outputs=outputs)


def _dim(size: Any) -> Dim:
    """A size of an input; computed ones such as ``2*n`` as JAX writes them."""
    return int(size) if isinstance(size, int) else str(size).replace(" ", "")


def _names_of_sizes(ins: Sequence[Leaf], examples: Sequence[Any]) -> dict[str, Symbol]:
    """The symbol that each name of a size is read from: the first axis of an input that has it."""
    found: dict[str, Symbol] = {}
    for leaf, each in zip(ins, examples, strict=True):
        for axis, size in enumerate(each.shape):
            if not isinstance(size, int) and str(size).isidentifier() and str(size) not in found:
                found[str(size)] = sizes(leaf, [axis])
    return found


def _side(graph: Graph, model: Model) -> Callable[..., Mapping[str, Any]]:
    import jax

    compiled = jax.jit(model.call)
    arrays = [leaf.array for leaf in model.leaves]

    def run(feeds: NamedArrays) -> Mapping[str, Any]:
        found = compiled(arrays, *(feeds[value.name] for value in graph.inputs))
        return dict(zip(graph.outputs, map(np.asarray, jax.tree.leaves(found)), strict=True))

    return run


def _trained(network: Network, model: Model, moves: Mapping[str, Callable[[Any], Any]]) -> Trained:
    """The arrays that are trained: the leaves that the network trains."""

    def split(arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        pairs = list(zip(model.leaves, arrays, strict=True))
        return [a for leaf, a in pairs if leaf.trainable], [a for leaf, a in pairs if not leaf.trainable]

    def joined(params: Sequence[Any], rest: Sequence[Any]) -> list[Any]:
        one, other = iter(params), iter(rest)
        return [next(one) if leaf.trainable else next(other) for leaf in model.leaves]

    def forward(params: Any, rest: Any, *inputs: Any) -> tuple[Mapping[str, Any], Any]:
        import jax

        found, arrays = model.train(joined(params, rest), *inputs)
        return dict(zip(network.graph.outputs, jax.tree.leaves(found), strict=True)), split(arrays)[1]

    def arrays(params: Any, rest: Any) -> Mapping[str, Any]:
        pairs = zip(model.leaves, map(np.asarray, joined(params, rest)), strict=True)
        named = {leaf.name: array for leaf, array in pairs if leaf.name in network.parameters}
        return {name: moves[name](array) if name in moves else array for name, array in named.items()}

    return Trained(*split([leaf.array for leaf in model.leaves]), forward, arrays)


class Folded(NamedTuple):
    """A network, and what was done to its parameters.

    Attributes:
        network: the network.
        moves: for the parameters that were turned, by name: from an array in the order of before to that of now.
    """

    network: Network
    moves: Mapping[str, Callable[[Any], Any]]


def folded(network: Network) -> Folded:
    """The same network, where no node transposes the kernel of a convolution, or reverses its axes."""
    graph, arrays = network.graph, dict(network.parameters.items())
    moves: dict[str, Callable[[Any], Any]] = {}
    while (found := _first(graph)) is not None:
        node, value = found
        move, before = _move(node, graph), moves.get(value.name)
        arrays[value.name] = move(arrays[value.name])
        moves[value.name] = move if before is None else _both(before, move)
        parameters = tuple(
            replace(each, shape=arrays[each.name].shape) if each is value else each for each in graph.parameters
        )
        [gone] = node.outputs
        nodes = tuple(
            replace(each, inputs=tuple(value.name if name == gone else name for name in each.inputs))
            for each in graph.nodes
            if each is not node
        )
        graph = replace(graph, parameters=parameters, nodes=nodes)
    if moves:
        network = Network.from_graph(graph, arrays, inputs=network.inputs, outputs=network.outputs)
    return Folded(network, moves)


def _both(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda array: second(first(array))


def _first(graph: Graph) -> tuple[Node, Parameter] | None:
    reads = Counter(name for node in graph.nodes for name in node.inputs)
    readers = {name: node for node in graph.nodes for name in node.inputs}
    parameters = {value.name: value for value in graph.parameters}
    for node in graph.nodes:
        value = parameters.get(node.inputs[0]) if node.inputs else None
        if value and reads[value.name] == 1 and _leads_to_kernel(node, graph, readers, reads):
            return node, value
    return None


def _leads_to_kernel(node: Node, graph: Graph, readers: Mapping[str, Node], reads: Mapping[str, int]) -> bool:
    """True if the node moves the array that becomes the kernel of a convolution, and nothing else: ``to_jax`` moves it
    back."""
    moves = node.operator == "Transpose" or (node.operator == "Slice" and _reverses(node, graph))
    reader = readers.get(node.outputs[0])
    if not moves or reader is None or reads[node.outputs[0]] > 1 or node.outputs[0] in graph.outputs:
        return False
    windowed = lookup(reader.operator, reader.domain).window is not None
    return windowed or _leads_to_kernel(reader, graph, readers, reads)


def _reverses(node: Node, graph: Graph) -> bool:
    """True if a Slice keeps all elements of each axis."""
    types = infer(graph).types
    return types[node.inputs[0]].shape == types[node.outputs[0]].shape


def _move(node: Node, graph: Graph) -> Callable[[Any], Any]:
    if node.operator == "Transpose":
        return lambda array: array.transpose(node.attributes["perm"])
    types = infer(graph).types
    axes, steps = (types[name].constant or () for name in node.inputs[3:5])
    part = {int(axis): int(step) for axis, step in zip(axes, steps, strict=True)}
    return lambda array: array[tuple(slice(None, None, part.get(axis, 1)) for axis in range(array.ndim))]
