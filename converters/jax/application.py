"""Networks as pure functions of JAX: ``to_jax``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.array.use import ArrayUse
from portable_nn.converters.conversion import Side, compare_sides
from portable_nn.converters.jax.training import Trained, compare_training
from portable_nn.converters.jax.variables import Place, Variables, arrays_of, places_of, tree_of
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import RefusalError, UsageError, listed
from portable_nn.core.graph import Graph, Node, format_shape
from portable_nn.core.packages import need
from portable_nn.core.text import quantity
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import (
    Array,
    Leaf,
    NamedArrays,
    Symbol,
    emit_all,
    has_open,
    infer,
    infer_node,
    lookup,
    replay,
    trace,
)
from portable_nn.rewrites.lowering import lowered
from portable_nn.rewrites.scope import Scope

__all__ = ["to_jax"]


class Applied(NamedTuple):
    """A network in JAX: ``variables, apply = to_jax(network)[:2]``.

    Attributes:
        variables: the parameters, as flax has them: ``variables["params"]["dense_1"]["kernel"]``; running statistics
            are in ``batch_stats``, and what no training changes is in ``constants``.
        apply: ``apply(variables, *inputs, train=False, rng=None)``: the output, or a dict of outputs by name where
            there are several. With ``train`` a pair: the outputs, and the new collection of running statistics, so
            that ``variables | state`` are the next variables; Dropout drops, for which ``rng`` is the key. It is pure:
            ``jax.jit``, ``jax.vmap`` and ``jax.grad`` take it.
        outputs: the largest differences of both sides by output; empty where nothing was verified.
        notes: what could not be kept.
    """

    variables: dict[str, Any]
    apply: Callable[..., Any]
    outputs: Proof
    notes: tuple[str, ...]


@check_kinds
def to_jax(
    network: Network,
    *,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
) -> Applied:
    """The network as a tree of parameters and a pure function of JAX.

    >>> import jax
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> from portable_nn.converters.jax import to_jax, update
    >>> net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0)
    >>> variables, apply, *_ = to_jax(net)
    >>> jax.jit(apply)(variables, np.zeros((2, 4), np.float32)).shape
    (2, 3)
    >>> update(net, variables)  # After training in JAX.

    Kernels are as flax has them: those of dense layers (inputs, outputs), of convolutions (height, width, inputs,
    outputs). Inputs and outputs are as in the network: channels first. The weights of recurrent layers are blocks of
    gates, as in the network.

    Args:
        network: the network.
        verify: whether to compare the numpy engine and JAX on the same inputs, at two batch sizes, and three numbers
            for each other open size.
        atol: the absolute tolerance of that comparison.
        rtol: the relative tolerance, in terms of the largest magnitude in each output; added to ``atol``.
        seed: the seed of the inputs to compare on.
        prove_training: whether to train a copy of the network and the function for five steps as well, on the same
            examples: they must end with the same parameters.

    Raises:
        UsageError: operators that JAX cannot express, all of them listed; or double precision where JAX has that
            turned off.
        VerificationError: both sides do not agree.
        MissingPackageError: JAX is not installed.
    """
    need("to_jax", "jax", "jax")
    _check(network.graph)
    places = places_of(network.graph)
    variables = tree_of(places, {name: _in_jax(array) for name, array in network.parameters.items()})
    apply = _application(network.graph, places)
    proof = Proof()
    if verify or prove_training:
        tolerance = Tolerance(atol, rtol)
        proof = compare_sides(network, runner(network.graph, variables, apply), "JAX", tolerance=tolerance, seed=seed)
    if prove_training:
        proof.notes += compare_training(network, _trained(network.graph, places, variables, apply), seed=seed)
    return Applied(variables, apply, proof, tuple(_notes(network.graph)))


def _in_jax(array: Array) -> Any:
    import jax.numpy as jnp

    from portable_nn.converters.jax.operators.functions import dtype_in_jax

    return jnp.asarray(np.array(array, dtype_in_jax(array.dtype.name)))


def _notes(graph: Graph) -> Sequence[str]:
    import jax

    whole = sorted(
        {value.name for value in graph.inputs if value.dtype in {"int64", "uint64"}}
        | {name for name in graph.outputs if infer(graph).types[name].dtype in {"int64", "uint64"}}
    )
    if whole and not jax.config.jax_enable_x64:
        return [f"{', '.join(whole)}: integers of 64 bits are of 32 bits in JAX, as jax_enable_x64 is not set"]
    return []


def _check(graph: Graph) -> None:
    """Raise ``UsageError`` that lists all that cannot be expressed."""
    import jax

    from portable_nn.converters.jax.operators import EXPRESSED

    types = infer(graph).types
    double = sorted(name for name, found in types.items() if found.dtype == "float64")
    if double and not jax.config.jax_enable_x64:
        raise UsageError(
            f"the network computes in double precision ({quantity(len(double), 'value')}), which JAX does only after "
            'jax.config.update("jax_enable_x64", True), before its first computation'
        )

    def opens(names: Iterable[str]) -> bool:
        return has_open(types[name] for name in names if name)

    faults = [
        f"{node}: JAX has no array of a size that data decide"
        for node in graph.nodes
        if (opens(node.outputs) and not opens(node.inputs))
        or not (node.operator in EXPRESSED or lookup(node.operator, node.domain).lowering)
    ]
    if faults:
        raise UsageError(listed(faults, "these nodes cannot be computed in JAX"))


# -- the function


class _Step(NamedTuple):
    """A node of a program, and what computes it from the arrays of its inputs."""

    node: Node
    compute: Callable[..., Any]


class _Program(NamedTuple):
    """The graph for one set of shapes.

    Attributes:
        steps: the nodes, in standard operators that have a row.
        names: the names of the values in it, by those of the graph: of the outputs, and of new running statistics.
    """

    steps: tuple[_Step, ...]
    names: Mapping[str, str]


def _application(graph: Graph, places: tuple[Place, ...]) -> Callable[..., Any]:
    program = lru_cache(maxsize=64)(partial(_program, graph))
    moving = tuple(place for place in places if place.path[0] == "batch_stats")

    def apply(variables: Variables, *inputs: Any, train: bool = False, rng: Any = None) -> Any:
        """The outputs for ``inputs``, in the order of those of the network; see ``Applied``."""
        values = dict(zip((value.name for value in graph.inputs), _inputs(graph, inputs), strict=True))
        steps, names = program(train, tuple(tuple(array.shape) for array in values.values()))
        values |= arrays_of(places, variables)
        _run(steps, values, rng)
        outputs = {name: values[names[name]] for name in graph.outputs}
        found = outputs if len(outputs) > 1 else outputs[graph.outputs[0]]
        if not train:
            return found
        state = tree_of(moving, {place.value.name: values[names[place.value.name]] for place in moving})
        return found, {name: tree for name, tree in state.items() if name == "batch_stats"}

    return apply


def _inputs(graph: Graph, inputs: Sequence[Any]) -> list[Any]:
    """The inputs as arrays of JAX. Raises ``UsageError`` for another number of them, or of axes."""
    import jax.numpy as jnp

    from portable_nn.converters.jax.operators.functions import dtype_in_jax

    wanted = ", ".join(map(str, graph.inputs))
    if len(inputs) != len(graph.inputs):
        raise UsageError(f"apply takes the variables and {wanted}; {quantity(len(inputs), 'input')} given")
    found = []
    for value, given in zip(graph.inputs, inputs, strict=True):
        array = jnp.asarray(given)
        fits = len(array.shape) == len(value.shape) and all(
            isinstance(dim, str) or dim == size for dim, size in zip(value.shape, array.shape, strict=True)
        )
        if not fits:
            raise UsageError(f"apply: input {value} is given an array of shape {format_shape(array.shape)}")
        found.append(array.astype(dtype_in_jax(value.dtype)))
    return found


def _program(graph: Graph, train: bool, shapes: tuple[tuple[int, ...], ...]) -> _Program:
    from portable_nn.converters.jax.operators import compute_of

    inputs = tuple(replace(value, shape=shape) for value, shape in zip(graph.inputs, shapes, strict=True))
    symbols = replay(replace(graph, inputs=inputs), training=train, form=_without_training)
    states = [name for name in _states(graph) if train]
    leaves = [symbols[value.name] for value in inputs]
    wanted = [*graph.outputs, *states]
    traced = trace([leaf for leaf in leaves if isinstance(leaf, Leaf)], [symbols[name] for name in wanted])
    computes = dict[tuple[str, ...], Callable[..., Any]]()

    def lacks(node: Node, scope: Scope) -> str | None:
        context = scope.use(node)
        results = infer_node(context.operator, context.types, node.attributes, len(node.outputs))
        names = [f"x{place}" if type else None for place, type in enumerate(context.types)]
        if found := compute_of(ArrayUse(context, results, names, {})):
            computes[node.outputs] = found
        return None if found else "JAX has no such operator"

    try:
        found = lowered(traced.graph, lacks)
    except RefusalError as refusal:
        raise UsageError(listed(refusal.faults, "these nodes cannot be computed in JAX")) from None
    steps = tuple(_Step(node, computes[node.outputs]) for node in found.nodes)
    return _Program(steps, {name: traced.names[symbols[name]] for name in wanted})


def _without_training(node: Node, given: Sequence[Symbol | None]) -> Sequence[Symbol] | None:
    """A node whose training form keeps what JAX keeps by itself."""
    if not lookup(node.operator, node.domain).truncated:
        return None
    options: dict[str, Any] = dict(node.attributes)
    return emit_all(node.operator, *given, outputs=len(node.outputs), name=node.name, **options)


def _states(graph: Graph) -> list[str]:
    """The parameters that are running statistics."""
    read = {node.inputs[index] for node in graph.nodes for index in lookup(node.operator, node.domain).state.values()}
    return [value.name for value in graph.parameters if value.name in read and not value.trainable]


def _run(steps: Sequence[_Step], values: dict[str, Any], rng: Any) -> None:
    """Compute the values of all nodes."""
    for number, (node, compute) in enumerate(steps):
        if node.operator == "Dropout":
            compute = partial(compute, key=partial(_key, rng, node.name, number))
        found = compute(*(values[name] if name else None for name in node.inputs))
        made = found if isinstance(found, tuple | list) else (found,)
        values.update((name, array) for name, array in zip(node.outputs, made, strict=False) if name)


def _key(rng: Any, name: str, number: int) -> Any:
    import jax

    if rng is None:
        raise UsageError(f"'{name}' draws random numbers in training: apply(…, train=True, rng=jax.random.key(0))")
    return jax.random.fold_in(rng, number)


def runner(graph: Graph, variables: Variables, apply: Callable[..., Any]) -> Side:
    """The side that ``compare_sides`` runs: with the element types of the network, where JAX has narrower ones."""
    import jax

    compiled, types = jax.jit(apply), infer(graph).types

    def run(feeds: NamedArrays) -> Mapping[str, Any]:
        found = compiled(variables, *(feeds[value.name] for value in graph.inputs))
        outputs = found if isinstance(found, dict) else {graph.outputs[0]: found}
        wide = {"int64", "uint64"}
        return {
            name: np.asarray(array).astype(types[name].dtype) if types[name].dtype in wide else np.asarray(array)
            for name, array in outputs.items()
        }

    return run


def _trained(graph: Graph, places: tuple[Place, ...], variables: Variables, apply: Callable[..., Any]) -> Trained:
    """The parameters that are trained: the collection ``params``, beside running statistics."""

    def forward(params: Any, rest: Any, *inputs: Any) -> tuple[Mapping[str, Any], Any]:
        found, state = apply({**rest, "params": params}, *inputs, train=True)
        return found if isinstance(found, dict) else {graph.outputs[0]: found}, {**rest, **state}

    rest = {name: tree for name, tree in variables.items() if name != "params"}
    return Trained(
        variables["params"], rest, forward, lambda params, rest: arrays_of(places, {**rest, "params": params})
    )
