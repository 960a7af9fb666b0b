"""Models of flax, equinox and plain JAX as a function of a tree of variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from portable_nn.core.errors import UsageError

COLLECTIONS = frozenset({"params", "batch_stats", "constants"})
"""Collections of flax whose names are no part of the names of parameters."""


class Leaf(NamedTuple):
    """An array among the variables: its name in the network, and whether training changes it."""

    name: str
    array: Any
    trainable: bool


class Model(NamedTuple):
    """A model as a function.

    Attributes:
        leaves: the arrays that it reads.
        call: the outputs for a list of arrays in the place of ``leaves``, and the inputs.
        traced: the same to trace, where layers are marked as what they are.
        train: the same in training: the outputs, and the list of arrays with new running statistics.
        momenta: the momentum of each batch norm, by the beginning of the names of its parameters; complete once the
            model was traced.
    """

    leaves: Sequence[Leaf]
    call: Callable[..., Any]
    traced: Callable[..., Any]
    train: Callable[..., tuple[Any, Sequence[Any]]]
    momenta: Mapping[str, float] = {}


def _plain(leaves: Sequence[Leaf], call: Callable[..., Any]) -> Model:
    """A model that is the same in training."""
    return Model(leaves, call, call, lambda arrays, *inputs: (call(arrays, *inputs), arrays))


def model_of(model: Any, variables: Any, options: Mapping[str, Any]) -> Model:
    """A module of flax.linen with its variables, a module of flax.nnx or equinox, or a function of variables.

    Raises ``UsageError`` where variables are missing, or given to a module that has its own.
    """
    packages = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    modules = {each.__module__ for each in type(model).__mro__}
    if "equinox" in packages:
        _check_none(variables, "an equinox module")
        return _equinox(model, options)
    if any(name.startswith("flax.nnx") for name in modules):
        _check_none(variables, "a module of flax.nnx")
        return _nnx(model, options)
    if any(name.startswith("flax.linen") for name in modules):
        if variables is None:
            raise UsageError("a module of flax.linen has no parameters of its own: variables=module.init(…)")
        return _linen(model, variables, options)
    if callable(model):
        leaves, whole = _of_tree({} if variables is None else variables)
        return _plain(leaves, lambda arrays, *inputs: model(whole(arrays), *inputs, **options))
    raise UsageError(
        "from_jax takes a module of flax.linen, flax.nnx or equinox, or a function (variables, *inputs), not "
        f"a {type(model).__module__}.{type(model).__qualname__}"
    )


def _check_none(variables: Any, what: str) -> None:
    if variables is not None:
        raise UsageError(f"{what} has its variables inside: leave variables out")


def _key(entry: Any) -> str:
    """A step of a path into a tree."""
    for name in ("key", "name", "idx"):
        if hasattr(entry, name):
            return str(getattr(entry, name))
    return str(entry)


def _name(path: Sequence[str]) -> str:
    return ".".join(path) or "variable"


def _of_tree(tree: Any) -> tuple[list[Leaf], Callable[[Sequence[Any]], Any]]:
    """The leaves of a tree of variables, and what makes the tree of a list of arrays."""
    import jax
    import jax.numpy as jnp

    found, shape = jax.tree_util.tree_flatten_with_path(tree)
    collections = isinstance(tree, Mapping) and "params" in tree
    paths = [[_key(entry) for entry in path] for path, _ in found]
    short = [_name(path[1:] if collections and len(path) > 1 else path) for path in paths]
    leaves = []
    for path, name, (_, array) in zip(paths, short, found, strict=True):
        array = jnp.asarray(array)
        trains = (path[0] == "params" if collections else True) and jnp.issubdtype(array.dtype, jnp.floating)
        leaves.append(Leaf(name if short.count(name) == 1 else _name(path), array, bool(trains)))
    return leaves, lambda arrays: jax.tree_util.tree_unflatten(shape, arrays)


def _linen(module: Any, variables: Any, options: Mapping[str, Any]) -> Model:
    import jax
    from flax import linen

    from portable_nn.converters.jax.primitives.layers import marked

    tree = variables if variables.keys() & COLLECTIONS else {"params": variables}
    leaves, whole = _of_tree(tree)
    momenta: dict[str, float] = {}

    def noting(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, linen.BatchNorm):
            momenta[".".join(context.module.path)] = float(context.module.momentum)
        return marked(next_function, args, kwargs, context)

    def call(arrays: Sequence[Any], *inputs: Any) -> Any:
        return module.apply(whole(arrays), *inputs, **options)

    def traced(arrays: Sequence[Any], *inputs: Any) -> Any:
        with linen.intercept_methods(noting):
            return call(arrays, *inputs)

    def train(arrays: Sequence[Any], *inputs: Any) -> tuple[Any, Sequence[Any]]:
        now = whole(arrays)
        with linen.intercept_methods(_by_batches):
            found, moved = module.apply(now, *inputs, mutable=["batch_stats"], **options)
        return found, jax.tree.leaves({**now, **moved})

    return Model(leaves, call, traced, train, momenta)


def _by_batches(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
    """An interceptor of flax.linen: batches are normalized by their own statistics, whatever the module says."""
    from flax import linen

    if isinstance(context.module, linen.BatchNorm) and context.method_name == "__call__":
        object.__setattr__(context.module, "use_running_average", None)  # It is a frozen dataclass, made for this call.
        kwargs = {**kwargs, "use_running_average": False}
    return next_function(*args, **kwargs)


def _nnx(module: Any, options: Mapping[str, Any]) -> Model:
    """In the mode of inference; the module stays as it is."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from portable_nn.converters.jax.primitives.layers import nnx_marked

    copy, still = nnx.clone(module), _still(module)
    copy.eval()
    for path, each in nnx.iter_modules(copy):
        if path in still and isinstance(each, nnx.Dropout):
            each.rate = 0.0
    marks = nnx.split(nnx_marked(copy))[0]
    graph, params, random, rest = nnx.split(copy, nnx.Param, nnx.RngState, ...)
    trees, leaves = [params, rest], list[Leaf]()
    for tree in trees:
        for path, value in nnx.to_flat_state(tree):
            leaves.append(Leaf(_name([str(key) for key in path]), jnp.asarray(value[...]), tree is params))
    shapes = [jax.tree_util.tree_structure(tree) for tree in trees]

    def module_of(arrays: Sequence[Any], graph: Any = graph) -> Any:
        count = shapes[0].num_leaves
        states = [
            jax.tree_util.tree_unflatten(shape, part)
            for shape, part in zip(shapes, (arrays[:count], arrays[count:]), strict=True)
        ]
        own = jax.tree.map(lambda array: array, random)  # Layers count the keys that they draw, even in inference.
        return nnx.merge(graph, states[0], own, states[1])

    def call(arrays: Sequence[Any], *inputs: Any) -> Any:
        return module_of(arrays)(*inputs, **options)

    def traced(arrays: Sequence[Any], *inputs: Any) -> Any:
        return module_of(arrays, marks)(*inputs, **options)

    def train(arrays: Sequence[Any], *inputs: Any) -> tuple[Any, Sequence[Any]]:
        now = module_of(arrays)
        for path, each in nnx.iter_modules(now):
            if isinstance(each, nnx.BatchNorm):
                each.use_running_average = path in still
        found = now(*inputs, **options)
        _, params, _, rest = nnx.split(now, nnx.Param, nnx.RngState, ...)
        return found, [*jax.tree.leaves(params), *jax.tree.leaves(rest)]

    momenta = {
        ".".join(map(str, path)): float(each.momentum)
        for path, each in nnx.iter_modules(copy)
        if isinstance(each, nnx.BatchNorm) and path not in still
    }
    return Model(leaves, call, traced, train, momenta)


def _still(module: Any) -> set[Any]:
    """The paths of batch norms and dropouts of nnx in the mode of inference, where others are in that of training."""
    from flax import nnx

    flags = {nnx.BatchNorm: "use_running_average", nnx.Dropout: "deterministic"}
    modes = {
        path: bool(getattr(each, flags[type(each)])) for path, each in nnx.iter_modules(module) if type(each) in flags
    }
    return {path for path, still in modes.items() if still and not all(modes.values())}


def _equinox(module: Any, options: Mapping[str, Any]) -> Model:
    """An equinox module takes one example: it is mapped over the first axis of its inputs."""
    import equinox
    import jax

    from portable_nn.converters.jax.primitives.layers import equinox_marked

    still = equinox.nn.inference_mode(module)
    arrays, rest = equinox.partition(still, equinox.is_array)
    found, shape = jax.tree_util.tree_flatten_with_path(arrays)
    leaves = [
        Leaf(_name([_key(entry) for entry in path]), array, bool(jax.numpy.issubdtype(array.dtype, jax.numpy.floating)))
        for path, array in found
    ]

    def whole(values: Sequence[Any]) -> Any:
        return equinox.combine(jax.tree_util.tree_unflatten(shape, values), rest)

    def mapped(module: Any, inputs: Sequence[Any]) -> Any:
        return jax.vmap(lambda *one: module(*one, **options))(*inputs)

    def call(values: Sequence[Any], *inputs: Any) -> Any:
        return mapped(whole(values), inputs)

    def traced(values: Sequence[Any], *inputs: Any) -> Any:
        return mapped(equinox_marked(whole(values)), inputs)

    return _plain(leaves, call)._replace(traced=traced)
