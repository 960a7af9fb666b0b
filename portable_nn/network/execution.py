"""The engines of a network whose weights may change at any time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.forks import Locked, computing
from portable_nn.core.graph import Graph
from portable_nn.core.names import Engine, EngineKind, OnnxRuntime, provider_of
from portable_nn.engines.batching import Batching
from portable_nn.engines.plans import Plans
from portable_nn.engines.ranges import RangeCheck
from portable_nn.format.meaning import InputInfo
from portable_nn.network.weights import Weights
from portable_nn.operators.registry import Array, NamedArrays

if TYPE_CHECKING:
    from portable_nn.onnx.session import Session


class Execution(Locked):
    """The numpy plans and the onnxruntime session of one network; several threads may use them.

    The plans read the weights where they lie. The session has a copy of them, and is made anew once they have changed.
    """

    def __init__(self, graph: Graph, weights: Weights) -> None:
        super().__init__()
        self.graph, self.weights = graph, weights
        self.batching, self.plans = Batching(graph), Plans(graph, weights.arrays)
        self._ranges = RangeCheck(graph, weights.arrays)
        self._session: Session | None = None
        self._provider = OnnxRuntime.provider
        self._fitting_shapes = set[tuple[int, ...]]()

    def predict(self, x: Any, engine: Engine, batch_size: int | None, infos: Sequence[InputInfo] | None) -> Any:
        """As ``Network.predict``. One array of the right type and of a shape that was seen before is not checked.

        With the descriptions of the inputs, others are looked at for numbers that the network is not made for.
        """
        if type(x) is np.ndarray and x.dtype is self.batching.single and batch_size is None:
            if infos is not None and self._ranges.is_due:
                self._ranges.look(infos, {self.graph.inputs[0].name: x})
                infos = None
            if engine == "numpy" and (plan := self.plans.kept.get((x.shape,))) is not None:
                with self._lock:
                    plan.inputs[self.graph.inputs[0].name][...] = x
                    plan.run()
                    return plan.outputs[self.graph.outputs[0]].copy()
            if engine == "onnxruntime" and x.shape in self._fitting_shapes:
                return self._current_session(OnnxRuntime.provider).run_fitting({self.graph.inputs[0].name: x})[0]
        check_engine(engine)
        run = self._run_numpy if engine == "numpy" else partial(self._run_onnxruntime, provider_of(engine))
        return self.batching.predict(x, run, batch_size, partial(self._ranges, infos) if infos is not None else None)

    def _run_numpy(self, feeds: NamedArrays) -> dict[str, Array]:
        with self._lock:
            return self.plans.run(feeds)

    def _run_onnxruntime(self, provider: str, feeds: NamedArrays) -> dict[str, Array]:
        found = self._current_session(provider).run(feeds)
        if self.batching.single is not None:
            self._fitting_shapes.update(array.shape for array in feeds.values())
        return found

    def _current_session(self, provider: str) -> Session:
        """A session on a provider, with the weights as they are now."""
        with computing(), self._lock:
            kept = self._session if provider == self._provider else None
            if kept is None or self.weights.changed() or not kept.is_usable:
                from portable_nn.onnx.session import session_of

                self.weights.watch()  # First: a write while the session is made counts as a change.
                kept = self._session = session_of(self.graph, self.weights.arrays, provider=provider)
                self._provider = provider
            return kept


def check_engine(engine: object) -> None:
    """Raise ``UsageError`` unless ``engine`` is the name of one, or onnxruntime with options."""
    if not isinstance(engine, OnnxRuntime) and engine not in get_args(EngineKind):
        raise UsageError(f"engine must be {' or '.join(map(repr, get_args(EngineKind)))}, not {engine!r}")
