"""Three steps of gradient descent of a network that was imported, against PyTorch and difference quotients.

The loss is half the mean of squared differences of the outputs from targets. At each step, its slopes in float64 along
some directions, by differences, must be those that the gradients say. Where a number is rounded to few bits, its slope
is taken straight through, as Bengio et al. (2013) define it: the quotients are those of ``straightened``, which clips
and adds what rounding has added there. If the module of PyTorch is at hand whose weights the network trains, it takes
the same steps, and must then make the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import replace
from producer_files import NETWORKS, TRANSFORMERS
from producer_scripts import HIGHER, SCRIPTS

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node
from portable_nn.engines.once import run_numpy
from portable_nn.onnx.verification.conditioning import widened
from portable_nn.operators import constant, emit, emit_all, infer, integers, replay, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.opaque.nodes import is_opaque
from portable_nn.operators.quantised.scales import limits_of
from portable_nn.operators.replay import replayed
from portable_nn.operators.symbols import Leaf, Symbol

Array: TypeAlias = np.ndarray[Any, Any]
Arrays: TypeAlias = Mapping[str, Array]

STEPS: Final = 3
WEIGHTS: Final = 6
"""The number of weights along which slopes are measured at each step."""

FAR: Final = 0.01
"""The first step changes the weights by so much of their norm."""


class Steps(NamedTuple):
    """What three steps showed: "right", "wrong", "nothing" to learn or "no" gradient; and beside what, or the fault."""

    outcome: str
    words: str = ""


def three_steps(network: Any, feeds: Arrays, name: str) -> Steps:
    """The steps of a network as it is, and those with floats in place of stored whole numbers, if there are any."""
    from portable_nn.core.errors import UsageError

    first = _taken(network.graph, dict(network.parameters), feeds, name)
    try:
        floats = network.dequantize()
    except UsageError:
        return first
    second = _taken(floats.graph, dict(floats.parameters), feeds, "")
    if "wrong" in (first.outcome, second.outcome) or first.outcome != "right":
        found = first if first.outcome == "wrong" else second
        return found._replace(words=f"{found.words}, dequantised".lstrip(", ") if found is second else found.words)
    return Steps("right", f"{first.words}, and dequantised")


def _taken(graph: Graph, arrays: dict[str, Array], feeds: Arrays, name: str) -> Steps:
    fed = {value.name: feeds[value.name].shape for value in graph.inputs}
    graph = replace(graph, inputs=tuple(replace(value, shape=fed[value.name]) for value in graph.inputs))
    trained = [value.name for value in graph.parameters if value.trainable]
    if not trained:
        return Steps("nothing", "no weights")
    made = run_numpy(graph, arrays, feeds)
    rng = np.random.default_rng(0)
    targets = {key: y + (y.std() + 0.1) * rng.normal(size=y.shape) for key, y in made.items() if y.dtype.kind == "f"}
    if not targets or not any(y.size for y in targets.values()):
        return Steps("nothing", "no float in the outputs")
    start, rate, wrong = {key: arrays[key] for key in trained}, 0.0, list[str]()
    loss = Loss(targets)
    for _ in range(STEPS):
        try:
            found = gradients_of(graph, arrays, feeds, loss.seeds(run_numpy(graph, arrays, feeds)), trained)
        except GraphError as error:
            return Steps("no", str(error))
        if not any(each.any() for each in found.values()):
            return Steps("nothing", "no weight has an effect here")
        rate = rate or FAR * _norm(arrays[key] for key in found) / _norm(found.values())
        wrong += Slopes(graph, arrays, feeds, loss, found).faults(rng)
        for key, gradient in found.items():
            arrays[key] = (arrays[key] - rate * gradient.astype(float)).astype(arrays[key].dtype)
    if wrong:
        return Steps("wrong", "; ".join(wrong))
    return _beside_torch(name, start, list(feeds.values()), loss, rate, run_numpy(graph, arrays, feeds))


def _norm(arrays: Any) -> float:
    return float(np.sqrt(sum((array.astype(float) ** 2).sum() for array in arrays)))


class Loss(NamedTuple):
    """Half the mean of squared differences of each output from its target, and their sum."""

    targets: Arrays

    def value(self, made: Arrays) -> float:
        return sum(float(np.mean((made[key].astype(float) - target) ** 2)) / 2 for key, target in self.targets.items())

    def seeds(self, made: Arrays) -> dict[str, Array]:
        return {key: ((made[key] - y) / y.size).astype(made[key].dtype) for key, y in self.targets.items()}


def gradients_of(graph: Graph, arrays: Arrays, feeds: Arrays, seeds: Arrays, names: Sequence[str]) -> dict[str, Array]:
    """The gradients of weights by this package, 0 where it finds none."""
    symbols = replay(graph)
    ends = [constant(seed, seed.dtype.name) for seed in seeds.values()]
    found = gradients([symbols[key] for key in seeds], ends, [symbols[key] for key in names])
    flowing = {key: symbol for key, symbol in zip(names, found, strict=True) if symbol is not None}
    traced = trace([symbols[value.name] for value in graph.inputs], [*flowing.values()])
    values = run_numpy(traced.graph, arrays, feeds)
    zeros = {key: np.zeros_like(arrays[key]) for key in names}
    return zeros | {key: values[traced.names[symbol]] for key, symbol in flowing.items()}


class Slopes(NamedTuple):
    """The slopes of a loss in float64, and gradients that must be these."""

    graph: Graph
    arrays: Arrays
    feeds: Arrays
    loss: Loss
    gradients: Arrays

    def faults(self, rng: np.random.Generator) -> list[str]:
        """The weights along which a slope is another, each in a direction half of which is the gradient's."""
        graph, more = straightened(self.graph, self.arrays, self.feeds)
        wide, is_wide = _wide(graph)
        types = {value.name: value.dtype for value in (*wide.inputs, *wide.parameters)}
        arrays = {key: array.astype(types[key]) for key, array in {**self.arrays, **more}.items() if key in types}
        feeds = {key: array.astype(types[key]) for key, array in self.feeds.items()}
        share = max(
            2e-3 if is_wide else 2e-2, *(20 * float(np.finfo(each.dtype).eps) for each in self.gradients.values())
        )
        least, found = 1e-4 * _norm(self.gradients.values()), list[str]()
        keys = [key for key, each in self.gradients.items() if each.any() or not any(map(is_opaque, graph.nodes))]
        for key in keys[:: -(-len(keys) // WEIGHTS)]:
            gradient, random = self.gradients[key].astype(float), rng.normal(size=self.gradients[key].shape)
            size = float(np.linalg.norm(gradient))
            way = random / np.linalg.norm(random) + (gradient / size if size else 0)
            wanted, tried = float((way * gradient).sum()), list[float]()
            for length in (1e-5, 1e-6, 1e-4, 1e-7) if is_wide else (1e-2, 1e-3, 1e-4, 1e-5):
                step = length * (np.linalg.norm(arrays[key]) + 1e-3)
                moved = ((arrays[key] + sign * step * way).astype(arrays[key].dtype) for sign in (1, -1))
                up, down = (self.loss.value(run_numpy(wide, {**arrays, key: array}, feeds)) for array in moved)
                tried.append((up - down) / (2 * step))
                if abs(tried[-1] - wanted) <= share * size + least:
                    break
            else:
                nearest = min(tried, key=lambda slope: abs(slope - wanted))
                found.append(f"{key}: {wanted:.4g}, and {nearest:.4g} by differences, of {size:.2g}")
        return found


def _wide(graph: Graph) -> tuple[Graph, bool]:
    """A graph in float64, and true; itself and false where an operator is defined for float32 alone."""
    wide = widened(graph)
    try:
        infer(wide)
    except GraphError:
        return graph, False
    return wide, True


# -- slopes straight through rounding

Given: TypeAlias = Sequence[Symbol | None]


def straightened(graph: Graph, arrays: Arrays, feeds: Arrays) -> tuple[Graph, dict[str, Array]]:
    """A graph of floats in place of whole numbers of few bits, with what rounding adds as parameters; and these.

    Of equal numbers, which rounding makes, a pool takes the one that it takes there.
    """
    if not any(node.operator in (*ROUNDING, *EXACT) for node in graph.nodes):
        return graph, {}
    nodes = [node for node in graph.nodes if node.operator in (*ROUNDING, "MaxPool") or _is_blocked(node)]
    types = infer(graph).types
    read = {name: None for node in nodes for name in (*node.inputs, *node.outputs) if name and name not in arrays}
    values = {**arrays, **feeds, **run_numpy(graph, arrays, feeds, list(read))}
    more = dict[str, Array]()

    def form(node: Node, inputs: Given) -> Sequence[Symbol] | None:
        if _is_blocked(node):
            return [constant(values[node.outputs[0]], "float32")]
        if node.operator in EXACT:
            return [EXACT[node.operator](node, inputs)]
        if node.operator not in (*ROUNDING, "MaxPool"):
            return replayed(node, _alike(node, inputs, types))
        there = [constant(values[name], values[name].dtype.name) if name else None for name in node.inputs]
        made = [constant(values[name], "float32") for name in node.outputs]
        if node.operator == "MaxPool":
            return [_chosen(node, inputs, there)]
        clipped, at_start = (_clipped(node, each, made, values[node.outputs[0]]) for each in (inputs, there))
        name = f"{node.outputs[0]} rest"
        more[name] = values[node.outputs[0]].astype(np.float32) - _computed(at_start)
        return [clipped + Leaf(name, "float32", more[name].shape, parameter=True, trainable=False), *made[1:]]

    symbols = replay(graph, form=form)
    return trace([symbols[value.name] for value in graph.inputs], [symbols[key] for key in graph.outputs]).graph, more


def _is_blocked(node: Node) -> bool:
    """True where scales are those of blocks, as stored weights alone have them."""
    return node.operator == "DequantizeLinear" and bool(node.attributes.get("block_size"))


def _alike(node: Node, inputs: Given, types: Mapping[str, Any]) -> Given:
    """Floats for all inputs that were whole numbers of one type, of which some are floats now."""
    was = [types[name].dtype if name else "" for name in node.inputs]
    changed = {old for old, x in zip(was, inputs, strict=True) if x is not None and x.dtype != old}
    return [
        emit("Cast", x, to=1) if x is not None and old in changed and x.dtype == old else x
        for old, x in zip(was, inputs, strict=True)
    ]


def _computed(symbol: Symbol) -> Array:
    traced = trace([], [symbol])
    return run_numpy(traced.graph, {}, {})[traced.names[symbol]]


def _chosen(node: Node, inputs: Given, there: Given) -> Symbol:
    """What a pool takes, by its places there."""
    assert inputs[0] is not None
    made, places = emit_all("MaxPool", *there, outputs=2, **node.attributes)
    flat = emit("Reshape", inputs[0], integers([-1]))
    sizes = integers(list(_computed(made).shape))
    return emit("Reshape", emit("Gather", flat, constant(_computed(places).reshape(-1), "int64")), sizes)


def _clipped(node: Node, inputs: Given, made: Sequence[Symbol], y: Array) -> Symbol:
    """The number that is rounded, within its range: to half a step beyond the ends, of a product half a step less."""
    place, edge = ROUNDING[node.operator](node, inputs, made)
    low, high = limits_of(y.dtype.name, int(str(node.attributes.get("output_dtype", 0))))
    return emit("Clip", place, constant(low - edge, "float32"), constant(high + edge, "float32"))


def _spread(value: Symbol | None, rank: int, axis: int) -> Symbol:
    """A scale, zero point or bias as a float, in a shape that broadcasts along an axis."""
    if value is None:
        return constant(0.0, "float32")
    value = emit("Cast", value, to=1)
    if value.shape in {(), (1,)}:
        return emit("Reshape", value, integers([]))
    return emit("Reshape", value, integers([-1 if place == axis % rank else 1 for place in range(rank)]))


def _at(inputs: Given, place: int) -> Symbol | None:
    return inputs[place] if place < len(inputs) else None


def _axis(node: Node) -> int:
    return int(str(node.attributes.get("axis", 1)))


def _floats(inputs: Given, place: int, point: int, axis: int) -> Symbol:
    """An input less its zero point."""
    x = inputs[place]
    assert x is not None
    return emit("Cast", x, to=1) - _spread(_at(inputs, point), len(x.shape), axis)


def _linear(node: Node, inputs: Given, _: object) -> tuple[Symbol, float]:
    x = inputs[0]
    assert x is not None
    scale, point = (_spread(_at(inputs, place), len(x.shape), _axis(node)) for place in (1, 2))
    return x / scale + point, 0.5


def _dynamic(_: Node, inputs: Given, made: Sequence[Symbol]) -> tuple[Symbol, float]:
    """The scale and the zero point follow from all numbers, and are taken as constants."""
    assert inputs[0] is not None
    return inputs[0] / made[1] + made[2], 0.5


def _product(of: str) -> Callable[[Node, Given, object], tuple[Symbol, float]]:
    def product(node: Node, inputs: Given, _: object) -> tuple[Symbol, float]:
        axes = (-2, -1, -1) if of == "MatMul" else (1, 0, 1)
        factors = (_floats(inputs, place, place + 2, axis) for place, axis in zip((0, 3), axes[:2], strict=True))
        sums = emit(of, *factors, **node.attributes)
        rank = len(sums.shape)
        one, two, last, point = (
            _spread(inputs[place], rank, axis)
            for place, axis in zip((1, 4, 6, 7), (axes[0], axes[2], 0, 0), strict=True)
        )
        return (sums + _spread(_at(inputs, 8), rank, 1)) * (one * two / last) + point, -0.5

    return product


ROUNDING: Final[Mapping[str, Callable[[Node, Given, Sequence[Symbol]], tuple[Symbol, float]]]] = {
    "QuantizeLinear": _linear,
    "DynamicQuantizeLinear": _dynamic,
    "QLinearMatMul": _product("MatMul"),
    "QLinearConv": _product("Conv"),
}
"""The numbers that an operator rounds, of its inputs and outputs, and how far beyond the ends they have a slope."""


def _dequantised(node: Node, inputs: Given) -> Symbol:
    x = _floats(inputs, 0, 2, _axis(node))
    return x * _spread(inputs[1], len(x.shape), _axis(node))


EXACT: Final[Mapping[str, Callable[[Node, Given], Symbol]]] = {
    "DequantizeLinear": _dequantised,
    "MatMulInteger": lambda _, x: emit("MatMul", _floats(x, 0, 2, -2), _floats(x, 1, 3, -1)),
    "ConvInteger": lambda node, x: emit("Conv", _floats(x, 0, 2, 1), _floats(x, 1, 3, 0), **node.attributes),
}
"""Operators on whole numbers, on floats that hold them."""


# -- PyTorch


def _transformer(name: str) -> Any:
    make, feeds = TRANSFORMERS[name]
    module = make()
    return lambda given: module(**dict(zip(feeds, given, strict=True)), return_dict=True).last_hidden_state, module


def _plain(make: Callable[[], Any]) -> Any:
    module = make()[0]
    return lambda given: module(*given), module


def _turns() -> Any:
    """A plain loop: the gradients of PyTorch 2.13's own while_loop are others than those of such a loop."""
    import torch

    module = HIGHER["while"]()[0]

    def compute(given: Any) -> Any:
        x = given[0]
        for _ in range(20):
            x = torch.tanh(module.on(x))
        return x

    return compute, module


MODULES: Final[Mapping[str, Callable[[], Any]]] = {
    **{f"scripted {name}": lambda key=key: _plain(SCRIPTS[key])
       for name, key in (("branch", "branch"), ("loop of data", "while"), ("loop of steps", "steps"),
                         ("loop in a branch", "both"))},
    **{name: lambda key=key: _plain(HIGHER[key])
       for name, key in (("torch.cond", "cond"), ("torch.cond in torch.cond", "nested"), ("scan", "scan"))},
    "while_loop": _turns,
    **{f"{name} fused": lambda name=name: _transformer(name) for name in TRANSFORMERS},
    **{f"{kind}, {how}": lambda kind=kind: _plain(NETWORKS[kind])
       for kind in NETWORKS for how in ("onnxslim", "onnxsim", "extended level")},
}  # fmt: skip
"""What computes the outputs, and its module, by the name of a file."""


def _beside_torch(name: str, start: Arrays, given: Sequence[Array], loss: Loss, rate: float, found: Arrays) -> Steps:
    """The steps of the module, if there is one whose weights are those that the network trains."""
    quotients = Steps("right", "as difference quotients")
    if name not in MODULES:
        return quotients
    import torch

    torch.manual_seed(0)
    compute, module = MODULES[name]()
    module.eval()
    ours = np.unique(np.concatenate([array.astype(np.float32).reshape(-1) for array in start.values()]))
    trained = list[Any]()
    for parameter in module.parameters():
        parameter.requires_grad_(bool(np.isin(parameter.detach().numpy(), ours).all()))
        trained += [parameter] * parameter.requires_grad
    theirs = [parameter.detach().numpy().reshape(-1) for parameter in trained]
    numbers = [sum(array.size for array in each) for each in (start.values(), theirs)]
    if not theirs or numbers[0] != numbers[1] or not np.isin(ours, np.concatenate(theirs)).all():
        words = f"as difference quotients; {numbers[0]} numbers train, of which the module has {numbers[1]}"
        return quotients._replace(words=words)
    optimiser = torch.optim.SGD(trained, rate)
    inputs = [torch.from_numpy(array) for array in given]
    before = None
    for _ in range(STEPS):
        made = compute(inputs)
        made = made if isinstance(made, tuple) else (made,)
        before = made[0].detach().numpy().copy() if before is None else before
        total = sum(
            ((y - torch.from_numpy(target)) ** 2).mean() / 2
            for y, target in zip(made, loss.targets.values(), strict=True)
        )
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    made = compute(inputs)
    first = (made if isinstance(made, tuple) else (made,))[0].detach().numpy()
    mine = found[next(iter(loss.targets))]
    apart, moved = np.abs(mine - first).max(), np.abs(first - before).max()
    if apart <= 1e-3 * moved:
        return Steps("right", "as PyTorch")
    return Steps("wrong", f"{apart:.2g} from PyTorch, after steps that change the output by {moved:.2g}")
