"""The time that onnxruntime may compute an ONNX file: as long as it takes where its end is known, otherwise a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from portable_nn.core.errors import PortableNNError
from portable_nn.core.graph import Graph, Shape, bodies
from portable_nn.core.limits import most_time, time_limit
from portable_nn.core.text import some
from portable_nn.engines.claims import check_claims, size_of
from portable_nn.network import Network
from portable_nn.operators import infer

SMALL: Final = 2**23
"""The bytes of a file up to which its claims are checked before onnxruntime runs it: of more, the limits allow more."""


class FileLimit:
    """The ``Limit`` of a session on a file.

    Args:
        path: the file.
        network: reads it, if this package can.
    """

    def __init__(self, path: Path, network: Callable[[], Network]) -> None:
        self._path, self._network = path, network
        self._known = set[tuple[tuple[str, Shape], ...]]()
        self._counted = 0

    def seconds(self, shapes: Mapping[str, Shape]) -> Iterator[float] | None:
        """The processor time for inputs of these shapes, by default of one example.

        ``None`` for a small file that this package can read: it has no loops, and only operators whose claims are
        checked. Raises ``GraphError`` where these are far too much memory or time: onnxruntime would take it.
        """
        if (key := tuple(shapes.items())) in self._known:
            return None
        if self._graph is None:
            return self._allowed(shapes)
        inputs = self._graph.inputs
        ones = {each.name: tuple(1 if isinstance(dim, str) else dim for dim in each.shape) for each in inputs}
        given = {**ones, **shapes}
        try:
            types = infer(self._graph, given).types
        except PortableNNError:
            return self._allowed(shapes)
        stored = size_of(self._graph.parameters)
        stored += size_of(replace(each, shape=shapes[each.name]) for each in inputs if each.name in shapes)
        check_claims(self._graph, types, stored, str(self._path))
        self._known.add(key)
        return None

    @cached_property
    def _graph(self) -> Graph | None:
        """The graph of a small file that this package can read, and that has no loops: these may have no end."""
        from portable_nn.onnx.storage.files import data_files

        try:
            files = self._path, *map(self._path.with_name, data_files(self._path))
            graph = self._network().graph if sum(each.stat().st_size for each in files) <= SMALL else None
        except PortableNNError:
            return None
        return None if graph is None or any(any(bodies(node)) for node in graph.nodes) else graph

    def _allowed(self, shapes: Mapping[str, Shape]) -> Iterator[float]:
        from portable_nn.analysis.onnx import multiply_adds_of
        from portable_nn.onnx.storage.files import opening_model

        examples = max((size for shape in shapes.values() for size in shape[:1] if isinstance(size, int)), default=1)
        yield time_limit(0, examples)
        with opening_model(self._path) as model:  # It takes a while, and few models need as much.
            self._counted = multiply_adds_of(model, shapes, str(self._path))
        yield time_limit(self._counted, examples)

    def reason(self, seconds: float) -> str:
        """The end of the error message where so many seconds were not enough."""
        from portable_nn.onnx.bodies import loops_in
        from portable_nn.onnx.storage.files import opening_model

        with opening_model(self._path) as model:
            loops = some(loops_in([*model.graph.node, *(node for each in model.functions for node in each.node)]))
        why = f": it has loops, {loops}, whose turns nothing limits" if loops else ""
        what = f"is not done after {seconds:,g} s of processor time, and was given up{why}"
        return f"{what}; {most_time(seconds, self._counted)}"
