"""The inputs of a model: the names of their sizes, and what these are set to.

Some exporters declare symbolic sizes although the nodes hold numbers for them, or give one size several names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from onnx import GraphProto

from portable_nn.core.dims import put, substituted
from portable_nn.core.graph import Dim, Value
from portable_nn.onnx.library.inference import stated_sizes
from portable_nn.onnx.opsets.support import is_tensor
from portable_nn.operators import Needed, solution
from portable_nn.operators.narrow import HELD_DTYPES
from portable_nn.rewrites.program import Names
from portable_nn.rewrites.sizes import resolved


class Sizes(NamedTuple):
    """The numbers of the symbolic sizes of the inputs.

    Attributes:
        given: a number, or another name, for names of sizes, as the user of a model has it.
        needed: the same, as the nodes of the model need it.
        is_part: whether the model is a part of another one, of whose sizes it may have some alone.
    """

    given: Mapping[str, Dim] = MappingProxyType({})
    needed: tuple[Needed, ...] = ()
    is_part: bool = False

    def with_needed(self, needed: Iterable[Needed]) -> Sizes:
        """The same with further equalities that nodes need."""
        needed = tuple(needed)
        known = solution(needed)
        old = (Needed(tuple((n, put(s, known)) for n, s in each.equalities), each.node) for each in self.needed)
        return self._replace(needed=(*old, *needed))

    def entries(self, graph: GraphProto, names: Names) -> list[Value]:
        """The inputs that are no initializers and have a supported type; a size without number or name gets a name.

        Raises ``UsageError`` for a given name that no size has.
        """
        stored = {tensor.name for tensor in graph.initializer}
        protos = [value for value in graph.input if value.name not in stored and is_tensor(value)]
        named = dict[str, list[Dim]]()
        for proto in protos:
            sizes = stated_sizes(proto)
            named[proto.name] = [
                names.fresh(f"{proto.name}.{axis}") if size is None else size for axis, size in enumerate(sizes)
            ]
        dims = [*chain.from_iterable(named.values())]
        dims += [*self.given, *self.given.values()] if self.is_part else []
        given = resolved(self.given, [dim for dim in dims if isinstance(dim, str)])
        known = given | {name: put(size, given) for name, size in solution(self.needed).items()}
        found = list[Value]()
        for proto in protos:
            params = [dim.dim_param for dim in proto.type.tensor_type.shape.dim]
            shape = tuple(given.get(param, dim) for param, dim in zip(params, named[proto.name], strict=True))
            dtype = HELD_DTYPES[proto.type.tensor_type.elem_type]
            found.append(Value(proto.name, dtype, substituted(shape, known)))
        return found

    def numbers(self) -> dict[str, int]:
        """The names that are set to numbers."""
        known = {**self.given, **solution(self.needed)}
        return {name: size for name, size in known.items() if isinstance(size, int)}


def equalities(needed: Iterable[Needed]) -> Iterator[str]:
    """A note on each of the sizes that are set as nodes need it."""
    for each in needed:
        sizes = " and ".join(f"{name} is {size}" for name, size in each.equalities)
        yield f"sizes of the inputs that must be equal: {sizes}, for node {each.node} to fit"


def repeated(graph: GraphProto, entries: Iterable[Value]) -> Iterator[str]:
    """A note on each name that stands twice in the shape of an input, whose sizes may differ."""
    shapes = {value.name: value.shape for value in entries}
    for proto in graph.input:
        params = [dim.dim_param for dim in proto.type.tensor_type.shape.dim]
        for name in dict.fromkeys(filter(None, params)):
            dims = [dim for dim, param in zip(shapes.get(proto.name, ()), params, strict=False) if param == name]
            if name != "?" and len({dim for dim in dims if isinstance(dim, str)}) > 1:
                yield (
                    f"'{name}' stands for {len(dims)} sizes of input '{proto.name}', which may differ as far as the "
                    f"nodes go: they are called {' and '.join(map(str, dims))}"
                )
