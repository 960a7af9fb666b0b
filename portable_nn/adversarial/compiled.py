"""A run of one point of a game of two numbers, on plain Python floats: a step is traced once and compiled.

The step of the method is traced over symbols into a graph, as a training step is, and each node of the graph becomes
one line of a Python function, built as a syntax tree: nothing of a user's text gets into it. A step takes some tenths
of a microsecond, where numpy takes that for each of its calls.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from portable_nn.adversarial.game import Game
from portable_nn.adversarial.methods import Method, Options
from portable_nn.adversarial.oracle import Pair, SymbolOracle
from portable_nn.adversarial.steps import Now
from portable_nn.core.errors import GraphError
from portable_nn.core.graph import Graph, Node, Tensor
from portable_nn.operators import Leaf, trace

Floats = tuple[float, ...]
Run = Callable[[Floats, Iterable[Floats], int], tuple[list[float], list[float], Floats]]
"""From the first state, what each step is given (its number from 1, the rates, the clock), and how often to keep z:
the x and the y that were kept, and the last z."""


class Compiled(NamedTuple):
    """``run``, and how many gradients and Jacobians one step of it takes."""

    run: Run
    evaluations: float
    jacobians: float


def _softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def _sigmoid(value: float) -> float:
    small = math.exp(-abs(value))
    return 1 / (1 + small) if value >= 0 else small / (1 + small)


def _sign(value: float) -> float:
    return value if math.isnan(value) else float((value > 0) - (value < 0))


FUNCTIONS: Final[Mapping[str, Callable[..., float]]] = {
    "Exp": math.exp,
    "Log": math.log,
    "Sin": math.sin,
    "Cos": math.cos,
    "Tanh": math.tanh,
    "Sqrt": math.sqrt,
    "Pow": math.pow,
    "Abs": abs,
    "Sign": _sign,
    "Softplus": _softplus,
    "Sigmoid": _sigmoid,
}
ARITHMETIC: Final[Mapping[str, type[ast.operator]]] = {"Add": ast.Add, "Sub": ast.Sub, "Mul": ast.Mult, "Div": ast.Div}


def compile_run(game: Game, method: Method, options: Options) -> Compiled | None:
    """The compiled run of a method on a game; ``None`` where a step cannot be compiled."""
    if game.function is None or game.players != (1, 1) or game.sampled:
        return None
    oracle = SymbolOracle(game)
    state = [Pair(_leaf(f"s{place}x"), _leaf(f"s{place}y")) for place in range(_state_size(method, game, options))]
    rate = Pair(_leaf("rate_x"), _leaf("rate_y"))
    clock = tuple(_leaf(f"c{place}") for place in range(len(method.ticks(0, options))))
    try:
        after = method.step(Now(oracle, rate, clock, options), tuple(state))
        leaves = [leaf for pair in (*state, rate) for leaf in (pair.x, pair.y)] + list(clock)
        outputs = [value for pair in after for value in (pair.x, pair.y)]
        traced = trace(leaves, outputs, "step")
        run = _Writer(traced.graph).function([traced.names[value] for value in outputs], len(state), len(clock))
    except (GraphError, LookupError):
        return None
    return Compiled(run, oracle.nfev, oracle.njev)


def _leaf(name: str) -> Leaf:
    return Leaf(name, "float64", ())


def _state_size(method: Method, game: Game, options: Options) -> int:
    oracle = SymbolOracle(game)
    return len(method.begin(Now(oracle, 0.0, (), options), Pair(*oracle.derivation.leaves)))


class _Writer:
    """Writes a graph of single numbers as the body of a loop."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, ast.expr] = {value.name: _name(value.name) for value in graph.inputs}
        self.lines: list[ast.stmt] = []
        for place, node in enumerate(graph.nodes):
            self.values[node.outputs[0]] = self._node(node, f"v{place}")

    def _node(self, node: Node, local: str) -> ast.expr:
        """The value of a node: a number where that is known, else a local variable that a new line assigns."""
        if node.operator == "Constant":
            literal = node.attributes["value"]
            if not isinstance(literal, Tensor) or literal.shape:
                raise LookupError(node.operator)
            return ast.Constant(float(literal.data[0]))
        inputs = [self.values[name] for name in node.inputs]
        found = simplified(node.operator, inputs)
        if isinstance(found, (ast.Constant, ast.Name)):
            return found
        self.lines.append(ast.Assign([ast.Name(local, ast.Store())], found))
        return _name(local)

    def function(self, outputs: Sequence[str], vectors: int, ticks: int) -> Run:
        """The function that runs the loop."""
        state = [f"s{place}{player}" for place in range(vectors) for player in "xy"]
        given = ["k", "rate_x", "rate_y", *(f"c{place}" for place in range(ticks))]
        after = ast.Tuple([self.values[name] for name in outputs], ast.Load())
        template = ast.parse(
            "def run(state, ticks, every):\n"
            "    xs, ys = [], []\n"
            "    keep_x, keep_y = xs.append, ys.append\n"
            "    for tick in ticks:\n"
            "        if not k % every:\n"
            "            keep_x(s0x)\n"
            "            keep_y(s0y)\n"
            "    return xs, ys, (s0x, s0y)\n"
        )
        [definition] = template.body
        assert isinstance(definition, ast.FunctionDef)
        loop = definition.body[2]
        assert isinstance(loop, ast.For)
        loop.target = _targets(given)
        loop.body[:0] = [*self.lines, ast.Assign([_targets(state)], after)]
        definition.body.insert(0, ast.Assign([_targets(state)], _name("state")))
        space: dict[str, Any] = {f"f{name}": function for name, function in FUNCTIONS.items()}
        exec(compile(ast.fix_missing_locations(template), "<compiled step>", "exec"), space)
        run: Run = space["run"]
        return run


def simplified(operator: str, inputs: Sequence[ast.expr]) -> ast.expr:
    """One operation as an expression, without what changes nothing. Raises ``LookupError`` for unknown operators."""
    numbers: list[Any] = [value.value if isinstance(value, ast.Constant) else None for value in inputs]
    if operator == "Identity":
        return inputs[0]
    if operator == "Neg":
        return _number(-numbers[0]) if numbers[0] is not None else ast.UnaryOp(ast.USub(), inputs[0])
    if operator in FUNCTIONS:
        return ast.Call(_name(f"f{operator}"), list(inputs), [])
    kind = ARITHMETIC[operator]
    if None not in numbers and not (operator == "Div" and not numbers[1]):
        folded: dict[str, Callable[[Any, Any], Any]] = {
            "Add": lambda a, b: a + b,
            "Sub": lambda a, b: a - b,
            "Mul": lambda a, b: a * b,
            "Div": lambda a, b: a / b,
        }
        return _number(folded[operator](*numbers))
    first, second = inputs
    if operator == "Mul" and 0.0 in numbers:
        return _number(0.0)
    if (operator == "Mul" and numbers[0] == 1) or (operator == "Add" and numbers[0] == 0):
        return second
    if (operator in {"Mul", "Div"} and numbers[1] == 1) or (operator in {"Add", "Sub"} and numbers[1] == 0):
        return first
    return ast.BinOp(first, kind(), second)


def _number(value: float) -> ast.Constant:
    return ast.Constant(value)


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _targets(names: Sequence[str]) -> ast.Tuple:
    return ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())


def clock_columns(method: Method, options: Options, steps: int) -> list[Iterator[float]]:
    """Each number of the method's clock over all steps."""
    count = len(method.ticks(0, options))
    return [map(partial(_tick, method, options, which), range(steps)) for which in range(count)]


def _tick(method: Method, options: Options, which: int, place: int) -> float:
    return method.ticks(place, options)[which]
