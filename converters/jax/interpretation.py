"""A jaxpr as symbols of a graph: its equations one after the other, those of functions in it in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from portable_nn.converters.jax.primitives import ROWS, Call, Held, held_constant
from portable_nn.converters.jax.sizes import is_known
from portable_nn.core.errors import RefusalError, UsageError, listed
from portable_nn.operators import DTYPE_CODES, Leaf, Symbol, constant, emit, integers, squeezed, unsqueezed

INNER: Final = ("call_jaxpr", "jaxpr", "fun_jaxpr")
"""The parameters in which primitives that call a function have it."""

LONGEST: Final = 512
"""The steps up to which a scan is written out."""

FOLDED: Final = 65536
"""The elements up to which what depends on no input is computed at once."""

Environment = dict[Any, Held]


def interpreted(closed: Any, inputs: Sequence[Held], names: Mapping[str, Symbol], differs: list[str]) -> list[Held]:
    """The outputs of a closed jaxpr for ``inputs``; ``names`` has the symbols of its open sizes.

    ``differs`` is told of functions with derivatives of their own, but for JAX's, which are those of what they compute.

    Raises ``UsageError`` that lists every primitive, and every use of one, that has no counterpart in a graph.
    """
    interpreter = _Interpreter(names, differs)
    try:
        found = interpreter.closed(closed, inputs)
    except Exception:
        if not interpreter.faults:  # What comes behind a value that is missing may fail as well.
            raise
    if interpreter.faults:
        raise UsageError(listed(sorted(interpreter.faults), "these primitives of JAX have no counterpart in a graph"))
    return found


def _use(equation: Any) -> str:
    return ", ".join(str(getattr(each, "aval", each)) for each in equation.invars) or "no inputs"


def _needed(jaxpr: Any) -> list[Any]:
    """The equations on which the outputs depend."""
    needed = {each for each in jaxpr.outvars if not hasattr(each, "val")}
    found = []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            found.append(equation)
            needed.update(each for each in equation.invars if not hasattr(each, "val"))
    return found[::-1]


def _function(equation: Any) -> Any:
    """The closed jaxpr that an equation calls."""
    import jax

    found = next((equation.params[name] for name in INNER if name in equation.params), None)
    if found is not None and not hasattr(found, "consts"):
        found = jax.extend.core.ClosedJaxpr(found, ())
    return found


def _source(closed: Any) -> str:
    """The name and file of a function that is none of JAX's own."""
    import jax

    where = str(closed.jaxpr.debug_info.func_src_info or "a function")
    return "" if str(Path(jax.__file__).parent) in where else where


class _Interpreter:
    """Makes the nodes of equations."""

    def __init__(self, names: Mapping[str, Symbol], differs: list[str]) -> None:
        self.names, self.differs = names, differs
        self.faults = set[str]()

    def closed(self, closed: Any, inputs: Sequence[Held]) -> list[Held]:
        """The outputs of a jaxpr with its constants."""
        jaxpr = closed.jaxpr
        known: Environment = dict(zip(jaxpr.invars, inputs, strict=True))
        needed = _needed(jaxpr)
        read = {each for equation in needed for each in equation.invars if not hasattr(each, "val")} | {
            each for each in jaxpr.outvars if not hasattr(each, "val")
        }
        known |= {each: _constant(value) for each, value in zip(jaxpr.constvars, closed.consts, strict=True)
                  if each in read}  # fmt: skip
        self.run(needed, known)
        return [self.read(known, each) for each in jaxpr.outvars]

    def run(self, equations: Sequence[Any], known: Environment) -> None:
        """The equations one after the other."""
        for equation in equations:
            inputs = [self.read(known, each) for each in equation.invars]
            known.update(zip(equation.outvars, self.outputs(equation, inputs), strict=True))

    def read(self, known: Environment, variable: Any) -> Held:
        """The value of a variable, or of a number in an equation."""
        if hasattr(variable, "val"):
            array = np.asarray(variable.val, variable.aval.dtype)
            return held_constant(array)
        return known[variable]

    def outputs(self, equation: Any, inputs: Sequence[Held]) -> Sequence[Held]:
        """The results of an equation."""
        name = equation.primitive.name
        if all(each.value is not None for each in inputs) and (found := _folded(equation, inputs)) is not None:
            return found
        if name in {"scan", "cond", "while"}:
            return {"scan": self.scan, "cond": self.cond, "while": self.loop}[name](equation, inputs)
        if (inner := _function(equation)) is not None:
            if name.startswith("custom_") and (source := _source(inner)):
                self.differs.append(f"{source}: its derivative ({name.removesuffix('_call')}) is not kept")
            return self.closed(inner, inputs)
        if name not in ROWS:
            return self.refused(equation, f"{name} ({_use(equation)})" + _advice(name))
        call = Call(name, equation.params, [each.aval for each in equation.outvars], self.names)
        try:
            made = ROWS[name](call, *inputs)
        except RefusalError as error:
            return self.refused(equation, str(error))
        return [made] if isinstance(made, Held) else list(made)

    def refused(self, equation: Any, fault: str) -> list[Held]:
        """Note a fault, and go on with other values, to find what else has no counterpart."""
        self.faults.add(fault)
        return [_missing(each.aval) for each in equation.outvars]

    def cond(self, equation: Any, inputs: Sequence[Held]) -> list[Held]:
        """The branch whose number is known, or all of them, of which Where takes one: none has side effects."""
        [which, *given], branches = inputs, equation.params["branches"]
        if which.value is not None:
            return self.closed(branches[int(np.clip(which.value, 0, len(branches) - 1))], given)
        made = [self.closed(branch, given) for branch in branches]
        call = Call("cond", equation.params, [each.aval for each in equation.outvars], self.names)
        chosen, number = [call.exact(each) for each in made[-1]], call.exact(which)
        for place in reversed(range(len(branches) - 1)):
            is_it = (
                emit("Equal", number, constant(place, number.dtype))
                if place
                else emit("LessOrEqual", number, constant(0, number.dtype))
            )
            chosen = [
                emit("Where", is_it, call.exact(one), other) for one, other in zip(made[place], chosen, strict=True)
            ]
        return [call.held(symbol, index=index) for index, symbol in enumerate(chosen)]

    def loop(self, equation: Any, inputs: Sequence[Held]) -> list[Held]:
        """All steps written out, where how many there are does not depend on the data."""
        params = equation.params
        of_test, of_body = params["cond_nconsts"], params["body_nconsts"]
        fixed, consts, state = inputs[:of_test], inputs[of_test : of_test + of_body], list(inputs[of_test + of_body :])
        for _ in range(LONGEST + 1):
            [goes_on] = self.closed(params["cond_jaxpr"], [*fixed, *state])
            if goes_on.value is None:
                return self.refused(
                    equation,
                    "while: how many steps it takes depends on the data, and no graph has such a loop: give fori_loop "
                    "a number of steps, and jax.numpy.where what an example is to keep that is done before",
                )
            if not goes_on.value:
                return state
            state = self.closed(params["body_jaxpr"], [*consts, *state])
        return self.refused(equation, f"while: it takes more than {LONGEST} steps, and each is written out: use fewer")

    def scan(self, equation: Any, inputs: Sequence[Held]) -> list[Held]:
        """All steps written out; what no step changes is computed once. All at once where nothing is carried."""
        params = equation.params
        if not params["num_carry"] and (found := self.mapped(equation, inputs)) is not None:
            return found
        length, body = params["length"], params["jaxpr"]
        if not is_known(length) or length > LONGEST:
            return self.refused(
                equation,
                f"scan over {length} steps: it is written out, which takes a number of steps that is known and at most "
                f"{LONGEST}; give an example with that many, or use RNN of flax.linen with its own cells",
            )
        consts, carried = params["num_consts"], params["num_carry"]
        jaxpr = body.jaxpr
        base: Environment = dict(zip(jaxpr.invars[:consts], inputs[:consts], strict=True))
        base |= dict(zip(jaxpr.constvars, map(_constant, body.consts), strict=True))
        fixed, changing = _apart(_needed(jaxpr), base)
        self.run(fixed, base)
        state, rows = list(inputs[consts : consts + carried]), inputs[consts + carried :]
        made: list[list[Symbol]] = [[] for _ in jaxpr.outvars[carried:]]
        for step in reversed(range(length)) if params["reverse"] else range(length):
            known = base | dict(zip(jaxpr.invars[consts:], [*state, *(_row(each, step) for each in rows)], strict=True))
            self.run(changing, known)
            results = [self.read(known, each) for each in jaxpr.outvars]
            state = results[:carried]
            for place, result in enumerate(results[carried:]):
                made[place].append(_exact(result, self.names))
        return [*state, *self._stacked(equation, made, carried)]

    def mapped(self, equation: Any, inputs: Sequence[Held]) -> list[Held] | None:
        """A scan that carries nothing, all its steps at once; ``None`` where JAX does not map a layer in it."""
        import jax

        consts, params = equation.params["num_consts"], equation.params
        axes = [None] * consts + [0] * (len(equation.invars) - consts)
        step = jax.extend.core.jaxpr_as_fun(params["jaxpr"])
        steps = jax.vmap(step, in_axes=axes, axis_size=params["length"])
        given = [jax.ShapeDtypeStruct(each.aval.shape, each.aval.dtype) for each in equation.invars]
        try:
            return self.closed(jax.make_jaxpr(steps)(*given), inputs)
        except NotImplementedError:
            return None

    def _stacked(self, equation: Any, made: Sequence[Sequence[Symbol]], carried: int) -> list[Held]:
        found = []
        for place, parts in enumerate(made):
            call = Call("scan", equation.params, [equation.outvars[carried + place].aval], self.names)
            order = reversed(parts) if equation.params["reverse"] else parts
            rows = [unsqueezed(part, 0) for part in order]
            found.append(call.held(emit("Concat", *rows, axis=0)))
        return found


_ADVICE: Final[Mapping[str, str]] = {
    "fft": "no graph has complex numbers: multiply by matrices of the cosines and sines of 2π·j·k/n, as pairs of reals",
    "random": "it draws random numbers: give options with which it does not, such as deterministic=True",
}
"""The advice on primitives, by the beginnings of their names."""


def _advice(primitive: str) -> str:
    return next((f": {text}" for start, text in _ADVICE.items() if primitive.startswith(start)), "")


def _missing(aval: Any) -> Held:
    """The stand-in for a value that no node makes."""
    shape = tuple(aval.shape)
    dtype = str(aval.dtype) if str(aval.dtype) in DTYPE_CODES else "float32"
    sizes = tuple(int(size) if is_known(size) else str(size).replace(" ", "") for size in shape)
    return Held(Leaf(None, dtype, sizes), shape, tuple(range(len(shape))))


def _constant(value: Any) -> Held:
    """A constant of a jaxpr. Raises ``UsageError`` for keys of random numbers."""
    if str(value.dtype) not in DTYPE_CODES:
        random = "draws random numbers: give it options in which it does not, such as deterministic=True"
        kind = random if str(value.dtype).startswith("key") else f"has a constant of {value.dtype}: no graph has such"
        raise UsageError(f"the model {kind}")
    return held_constant(value)


def _exact(held: Held, names: Mapping[str, Symbol]) -> Symbol:
    return Call("scan", {}, [], names).exact(held)


def _row(held: Held, step: int) -> Held:
    """One step of a value along its first axis."""
    shape = held.shape[1:]
    if held.value is not None:
        return held_constant(held.value[step])
    if not held.symbol.shape:
        return Held(held.symbol, shape, tuple(range(len(shape))))
    place = held.axes.index(0)
    size = held.symbol.shape[place]
    at = emit("Gather", held.symbol, squeezed(integers([0 if size == 1 else step]), 0), axis=place)
    return Held(at, shape, tuple(axis - 1 for axis in held.axes if axis))


def _apart(equations: Sequence[Any], base: Environment) -> tuple[list[Any], list[Any]]:
    """The equations that depend on constants alone, and the others."""
    known, fixed, changing = set(base), list[Any](), list[Any]()
    for equation in equations:
        if all(hasattr(each, "val") or each in known for each in equation.invars):
            fixed.append(equation)
            known.update(equation.outvars)
        else:
            changing.append(equation)
    return fixed, changing


def _folded(equation: Any, inputs: Sequence[Held]) -> list[Held] | None:
    """The results of an equation on numbers that are known, where they are not large."""
    shapes = [each.aval for each in equation.outvars]
    sizes = [size for each in shapes for size in each.shape]
    small = all(map(is_known, sizes)) and all(np.prod(each.shape, dtype=float) <= FOLDED for each in shapes)
    plain = all(str(each.dtype) in DTYPE_CODES for each in shapes)
    if not small or not plain or not inputs:
        return None
    made = equation.primitive.bind(*(each.value for each in inputs), **equation.params)
    arrays = made if equation.primitive.multiple_results else [made]
    return [held_constant(np.asarray(array)) for array in arrays]
