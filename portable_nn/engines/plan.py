"""The numpy engine: a graph compiled once, for given input shapes, into a list of numpy calls.

Every array is allocated when the plan is made: memory is reused after the last reader of a value, results are written
over an input that no later node reads, views cost nothing, and nodes with constant inputs are computed at once. Running
the plan looks nothing up and allocates nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Context
from functools import cached_property, partial
from typing import Any, Final, NoReturn

import numpy as np
from msgspec.structs import replace

from portable_nn.core.dims import static
from portable_nn.core.errors import Fault, GraphError
from portable_nn.core.forks import computing
from portable_nn.core.graph import Graph, Node, Shape, Value, format_shape
from portable_nn.core.limits import COMPUTED, allowance, excess
from portable_nn.core.memory import aligned
from portable_nn.engines.claims import check_claims, examples_in, size_of
from portable_nn.engines.parting import parted
from portable_nn.operators import (
    Array,
    InvalidNode,
    KernelContext,
    NamedArrays,
    Order,
    Step,
    Type,
    Types,
    infer,
    is_dense,
    laid_in,
    memory_order,
    operator_of,
    types_read,
)
from portable_nn.operators.elements import LARGEST
from portable_nn.operators.inference import type_of
from portable_nn.operators.linear.products import wakes_threads
from portable_nn.rewrites import DEFAULT, Program, rewritten


class Block:
    """A piece of memory and the number of values in it; only memory that the plan allocated is ``reusable``."""

    def __init__(self, memory: Array, *, reusable: bool) -> None:
        self.memory, self.reusable = memory, reusable
        self.values = 0


KEPT: Final = 8
"""The number of plans that are kept whatever memory they take, one for each set of sizes."""
MOST: Final = 64
"""The most plans that are kept: one for each length of a sequence, say."""
MEMORY: Final = 2**27
"""The bytes that more than ``KEPT`` plans may take together."""


ROUNDS: Final = 100
"""The most times in a row that data decide sizes on which others depend."""


class Kept(dict[Any, "Plan"]):
    """Plans by what they are for, of which those that were used last are kept."""

    def at(self, key: Any, make: Callable[[], Plan]) -> Plan:
        """The plan that is kept for ``key``, or a new one."""
        plan = self[key] = self.pop(key) if key in self else make()
        taken = sum(each.taken for each in self.values()) if len(self) > KEPT else 0
        while len(self) > MOST or (len(self) > KEPT and taken > MEMORY):
            taken -= self.pop(next(iter(self))).taken
        return plan


class Plan:
    """The steps of one graph at one set of shapes.

    Where sizes are data-dependent, the plan has the nodes that do not depend on them. A run then computes the nodes
    that decide sizes, and goes on with the plan of the others that is kept for the sizes that came out, or a new one;
    ``outputs`` are complete after a run.

    Fill ``inputs`` (arrays by name), call ``run``, read ``outputs``: they stay the same arrays from run to run, and a
    run changes no input. ``updates`` maps a parameter to the value that is written into it at the end of each run.
    ``rewrites`` names the graph rewrites that run first (see ``portable_nn.rewrites``). ``stored`` is the number of
    bytes that the memory must be in proportion to (see ``core.limits``), by default those of inputs and parameters;
    ``claimed`` are those that earlier plans have taken of it.
    Raises ``GraphError`` where the shapes do not fit, or claim too much memory or time, and ``UsageError`` for an
    unknown rewrite.
    """

    def __init__(
        self,
        graph: Graph,
        shapes: Mapping[str, Shape | Type],
        parameters: NamedArrays,
        *,
        outputs: Sequence[str] | None = None,
        updates: Mapping[str, str] | None = None,
        rng: np.random.Generator | None = None,
        rewrites: Collection[str] = DEFAULT,
        stored: int | None = None,
        claimed: int = 0,
    ) -> None:
        self.rng = rng or np.random.default_rng(0)
        self.updates = dict(updates or {})
        self.bytes = 0
        wanted = tuple(graph.outputs if outputs is None else outputs)
        # What the caller reads, and what is written into parameters, must be kept after the last node.
        last = tuple(dict.fromkeys([*wanted, *self.updates.values()]))
        open_inputs = graph.inputs
        sized = tuple(replace(value, shape=type_of(value, shapes).shape) for value in graph.inputs)
        graph, parameters, *_ = rewritten(Program(replace(graph, inputs=sized, outputs=last), parameters), rewrites)
        self._types = infer(graph, dict(shapes)).types
        if stored is None:
            inputs = (Value(value.name, value.dtype, self._types[value.name].shape) for value in graph.inputs)
            stored = size_of(inputs) + sum(array.nbytes for array in parameters.values())
        self._claimed, self._stored, self._kept = claimed, stored, Kept()
        self._parts = parts = parted(graph, self._types, last)
        if parts.deciding:
            later = replace(graph, nodes=parts.after, outputs=last)
            kept = partial(Plan, outputs=wanted, updates=self.updates, rng=self.rng, rewrites=rewrites, stored=stored)
            captured = {value.name: shapes[value.name] for value in graph.parameters if value.name in shapes}
            again = {name for node in parts.after if not node.inputs for name in node.outputs}

            def further(arrays: NamedArrays) -> Plan:
                given = ((name, array) for name, array in arrays.items() if name not in again)
                inputs = tuple(Value(name, array.dtype.name, array.shape) for name, array in given)
                return kept(replace(later, inputs=inputs), captured, parameters, claimed=self._claimed)

            self._further = further
            self.updates = {}
            graph = replace(graph, nodes=parts.before)
            known = ((name, self._types[name].dtype, static(self._types[name].shape)) for name in wanted)
            self._staying = {name: np.empty(shape, dtype) for name, dtype, shape in known if shape is not None}
            wanted = last = parts.carried
        self._allowed = allowance(self._stored, COMPUTED)
        check_claims(graph, self._types, self._stored, examples=examples_in(open_inputs, self._types))
        self._parameters = parameters
        self._arrays: dict[str, Array] = {}
        self._blocks: dict[str, Block] = {}
        self._free: list[Block] = []
        self._filled: dict[tuple[Any, ...], Array] = {}
        self._derived: dict[tuple[str, str, tuple[int, ...]], Array] = {}
        self._steps: list[Step] = []
        self._last = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
        self._last.update(dict.fromkeys([*(value.name for value in graph.inputs), *last], len(graph.nodes)))
        for name, array in parameters.items():
            self._place(name, array, Block(array, reusable=False))
        self.inputs = {value.name: self._input(value.name) for value in graph.inputs}
        with computing():  # What has constant inputs is computed here.
            for place, node in enumerate(graph.nodes):
                self._bind(node, place)
        self.outputs = {name: self._apart(name) for name in wanted}
        moves = {name: value for name, value in self.updates.items() if self._arrays[value] is not parameters[name]}
        sources = {name: self._apart(value) for name, value in moves.items()}
        self._steps.extend(partial(np.copyto, parameters[name], source) for name, source in sources.items())
        if parts.deciding:
            self.outputs = dict(self._staying)
        self._run = tuple(self._steps)
        # numpy keeps what to do about overflow in the context: entering one costs a tenth of np.errstate.
        self._quiet = Context()
        self._quiet.run(np.seterr, all="ignore")

    def run(self) -> None:
        """Compute the outputs from what ``inputs`` hold, and write the updates.

        Raises ``GraphError`` that names the node where an input holds what it cannot take, such as an index too large.
        """
        with computing():
            self._quiet.run(self._run_steps)
            if self._parts.deciding:
                self._go_on()

    def _run_steps(self) -> None:
        for step in self._run:
            step()

    def _go_on(self) -> None:
        """Run the plans for the sizes that come out, one after another."""
        plan = self
        for _ in range(ROUNDS):
            plan = self._quiet.run(plan._next)
            self._quiet.run(plan._run_steps)
            if not plan._parts.deciding:
                self.outputs = {**plan.outputs, **self._staying}
                for name, array in self._staying.items():
                    np.copyto(array, plan.outputs[name])
                return
        first = str(plan._parts.deciding[0])
        raise GraphError(
            [Fault(first, f"data decide sizes, of which others depend, more than {ROUNDS} times in a row")]
        )

    def _next(self) -> Plan:
        """Compute the nodes that decide sizes; the plan of what follows, for what came out, with its inputs."""
        claimed, taken = self._claimed, self.bytes
        try:
            for node in self._parts.deciding:
                decide(self, node)
            names = (*self._parts.carried, *(name for node in self._parts.deciding for name in node.outputs if name))
            arrays = {name: self._arrays[name] for name in names}
            plan = self._kept.at(tuple(array.shape for array in arrays.values()), partial(self._further, arrays))
        finally:
            self._claimed, self.bytes = claimed, taken  # The next run replaces what was decided.
        for name, array in plan.inputs.items():
            np.copyto(array, arrays[name])
        return plan

    @property
    def taken(self) -> int:
        """The bytes of the plan, and of those that it goes on with."""
        return self.bytes + sum(plan.taken for plan in self._kept.values())

    @cached_property
    def is_on_one_thread(self) -> bool:
        """True if no product is large enough for BLAS to divide it among threads."""
        return not any(map(wakes_threads, self._run))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value."""
        shape = static(self._types[name].shape)
        if shape is None:
            unknown = format_shape(self._types[name].shape)
            raise GraphError([Fault("", f"the shape {unknown} of '{name}' does not follow from the inputs' shapes")])
        return shape

    def _input(self, name: str) -> Array:
        array = self.allocate(name, self.shape(name), self._types[name].dtype)
        array.fill(0)
        return array

    def allocate(self, name: str, shape: tuple[int, ...], dtype: Any, order: Order | None = None) -> Array:
        """Memory for the value ``name``, axes in ``order``: a free block that is not much too large, or a new one."""
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        fitting = [block for block in self._free if size <= block.memory.nbytes <= 2 * size]
        if fitting:
            block = min(fitting, key=lambda found: found.memory.nbytes)
            self._free.remove(block)
        else:
            self.claim(size, name)
            block = Block(aligned(size), reusable=True)
            self.bytes += size
        flat: Array = block.memory[: math.prod(shape) * np.dtype(dtype).itemsize].view(dtype)
        array = laid_in(order, flat.reshape([shape[axis] for axis in order])) if order else flat.reshape(shape)
        self._place(name, array, block)
        return array

    def claim(self, size: int, name: str) -> None:
        """Count ``size`` bytes that are about to be allocated for a value. Raises ``GraphError`` for too many."""
        self._claimed += size
        if self._claimed > self._allowed and (fault := excess(self._claimed, self._stored, COMPUTED)):
            raise GraphError([Fault("", f"with '{name}', the graph {fault}")])

    def _place(self, name: str, array: Array, block: Block | None) -> None:
        self._arrays[name] = array
        if block is not None:
            self._blocks[name] = block
            block.values += 1

    def _release(self, name: str) -> None:
        block = self._blocks.pop(name, None)
        if block is not None:
            block.values -= 1
            if block.values == 0 and block.reusable:
                self._free.append(block)

    def _apart(self, name: str) -> Array:
        """A value as it is before the updates: a copy of it where they write over its memory."""
        array = self._arrays[name]
        if not any(np.may_share_memory(array, self._parameters[updated]) for updated in self.updates):
            return array
        copy = self.allocate(f"{name}/before the updates", array.shape, array.dtype)
        self._steps.append(partial(np.copyto, copy, array))
        return copy

    def _bind(self, node: Node, place: int) -> None:
        bound = Binding(self, node, place)
        found = bound.operator.kernel(bound)
        steps = [] if found is None else [found] if callable(found) else list(found)
        if bound.folded:
            with np.errstate(all="ignore"):
                for step in steps:
                    step()
        else:
            self._steps.extend(steps)
        for name in bound.scratches:
            self._release(name)
        for name in {*node.inputs, *node.outputs}:
            if name and self._last.get(name, -1) <= place:
                self._release(name)

    def is_constant(self, name: str) -> bool:
        """True if a value is fixed when the plan is made."""
        return name not in self._blocks

    def dies_at(self, name: str, place: int) -> bool:
        """True if no node after ``place`` reads the value, nor anybody after the run."""
        return self._last.get(name, -1) <= place


class Binding(KernelContext):
    """The context of the kernel of one node: its arrays, and memory for its results."""

    def __init__(self, plan: Plan, node: Node, place: int, types: Sequence[Type | None] | None = None) -> None:
        known = types_read(node, plan._types) if types is None else types
        super().__init__(operator_of(node), known, node.attributes, len(node.outputs))
        self.plan, self.node, self.place, self.rng = plan, node, place, plan.rng
        found = self.operator.infer(self)
        self.output_types = (found,) if isinstance(found, Type) else found
        empty = np.empty(0)
        self.x = [plan._arrays[name] if name else empty for name in node.inputs]
        random = self.operator.training is not None and self.has(2)
        self.now = types is not None
        self.folded = self.now or (not random and all(plan.is_constant(name) for name in node.inputs if name))
        self.scratches: list[str] = []

    def fail(self, message: str) -> NoReturn:
        """Raise a ``GraphError`` that names the node: while the plan is made, or by a step while it runs."""
        raise GraphError([Fault(f"'{self.node.name}' ({self.node.operator})", message)])

    def is_constant(self, index: int) -> bool:
        """True if input ``index`` is the same in every run."""
        return self.now or self.plan.is_constant(self.node.inputs[index])

    def is_read(self, index: int) -> bool:
        """True if output ``index`` is read by another node, or after the run."""
        return self._output_name(index) in self.plan._last

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of output ``index``."""
        shape = static(self.output_types[index].shape)
        if shape is None:
            unknown = format_shape(self.output_types[index].shape)
            self.fail(f"the shape {unknown} of its output does not follow from the inputs' shapes")
        return shape

    def _output_name(self, index: int) -> str:
        return self.node.outputs[index] if index < len(self.node.outputs) else ""

    def out(self, index: int = 0, over: int | None = None, *, order: Order | None = None) -> Array:
        """The array for output ``index``: the parameter it updates, an input read for the last time, or new memory."""
        name, shape, dtype = self._output_name(index), self.output_shape(index), self.output_types[index].dtype
        if not name:
            return self.scratch(shape, dtype)
        if self.folded:
            order = order or tuple(range(len(shape)))
            self.plan.claim(math.prod(shape) * np.dtype(dtype).itemsize, name)
            array = laid_in(order, np.empty([shape[axis] for axis in order], dtype))
            self.plan._place(name, array, None)
            return array
        for source in self._sources(over):
            array = self.plan._arrays[source]
            in_order = array.flags.c_contiguous or (over is None and is_dense(array))
            if in_order and array.shape == shape and array.dtype == dtype and self._may_overwrite(source, array, name):
                self.plan._place(name, array, self.plan._blocks[source])
                return array
        if self.operator.keeps_layout:
            order = next(
                (memory_order(x) for x in self.x if x.shape == shape and not x.flags.c_contiguous and is_dense(x)), None
            )
        return self.plan.allocate(name, shape, dtype, order)

    def _sources(self, over: int | None) -> list[str]:
        """The inputs whose memory an output may overwrite."""
        if over is not None:
            source = self.node.inputs[over]
            return [source] if self.node.inputs.count(source) == 1 else []
        return [name for name in self.node.inputs if name] if self.operator.overwrites_input else []

    def _may_overwrite(self, source: str, array: Array, name: str) -> bool:
        block = self.plan._blocks.get(source)
        if block is None or block.values > 1 or not self.plan.dies_at(source, self.place):
            return False
        if not block.reusable and self.plan.updates.get(source) != name:
            return False
        return array.flags.writeable

    def view(self, array: Array, index: int = 0) -> None:
        """Make output ``index`` the same memory as ``array``."""
        read = () if self.now else self.node.inputs
        owners = [self.plan._blocks[name] for name in read if name in self.plan._blocks]
        block = next((owner for owner in owners if np.may_share_memory(owner.memory, array)), None)
        if name := self._output_name(index):
            self.plan._place(name, array, block)

    def compiled(self, body: Graph, types: Types, captured: NamedArrays) -> Plan:
        """The plan of a body, which reads arrays of this plan where they are."""
        shapes = {name: Type(dtype, shape, constant) for name, (dtype, shape, constant) in types.items()}
        plan = Plan(body, shapes, captured, rng=self.rng, stored=self.plan._stored)
        self.plan.claim(plan.bytes, self.node.name)
        self.plan.bytes += plan.bytes
        return plan

    def scratch(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory that only this node's steps use."""
        if self.folded:
            return np.empty(shape, dtype)
        self.scratches.append(f"{self.node.name}/scratch {len(self.scratches)}")
        return self.plan.allocate(self.scratches[-1], shape, dtype)

    def own(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Memory of this node alone: zeros at first, and kept between runs."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        self.plan.claim(size, self.node.name)
        array: Array = aligned(size).view(dtype).reshape(shape)
        array.fill(0)
        self.plan.bytes += array.nbytes
        return array

    def derived(self, index: int, kind: str, shape: tuple[int, ...]) -> tuple[Array, bool]:
        """A zeroed buffer shared by all nodes that copy this input in this way, and whether this node fills it."""
        key = (self.node.inputs[index], kind, shape)
        first = key not in self.plan._derived
        if first:
            self.plan._derived[key] = self.own(shape, self.x[index].dtype)
        return self.plan._derived[key], first

    def filled(self, shape: tuple[int, ...], dtype: Any, value: float) -> Array:
        """A shared read-only array that is ``value`` everywhere."""
        key = (shape, np.dtype(dtype), value)
        if key not in self.plan._filled:
            array = np.full(shape, value, dtype)
            array.flags.writeable = False
            self.plan._filled[key] = array
        return self.plan._filled[key]


def decide(plan: Plan, node: Node) -> None:
    """Compute a node that decides sizes while ``plan`` runs, which has the arrays that it reads, and gets its outputs.

    Raises ``GraphError`` where they do not fit, or its outputs would take too much memory or time.
    """
    arrays = {name: plan._arrays[name] for name in node.inputs if name}
    types = {name: _known(array) for name, array in arrays.items()}
    try:
        bound = Binding(plan, node, 0, types_read(node, types))
    except InvalidNode as invalid:
        raise GraphError([Fault(str(node), str(invalid))]) from None
    types.update((name, type) for name, type in zip(node.outputs, bound.output_types, strict=False) if name)
    check_claims(Graph((), tuple(filter(None, node.outputs)), (), (node,)), types, plan._stored)
    found = bound.operator.kernel(bound)
    for step in () if found is None else [found] if callable(found) else found:
        step()


def _known(array: Array) -> Type:
    """The type of an array, with its elements where a rule may need them."""
    numbers = array.view(np.uint8) if array.dtype == np.bool_ else array
    return Type(
        array.dtype.name,
        array.shape,
        (*numbers.ravel().tolist(),) if numbers.ndim < 2 and numbers.size <= LARGEST else None,
    )
