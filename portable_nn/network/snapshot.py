"""A network compiled for whoever serves it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from portable_nn.core.arguments import check_kinds
from portable_nn.core.graph import Graph
from portable_nn.core.names import Engine, provider_of
from portable_nn.engines.batching import Batching, Run
from portable_nn.engines.plans import Plans
from portable_nn.engines.ranges import RangeCheck, preparing
from portable_nn.network.execution import check_engine
from portable_nn.operators.registry import Array, NamedArrays

if TYPE_CHECKING:
    from portable_nn.onnx.session import Session

__all__ = ["Snapshot"]


@check_kinds
class Snapshot:
    """A network as it was when ``Network.session`` was called: compiled, and never changed again.

    Any number of threads may call ``predict`` at once, without a lock: in numpy each has plans of its own. A forked
    process can use it, too, and so can a process that it was pickled for: both compile it again when they first use it.
    """

    _local: threading.local
    _session: Session | None

    def __init__(self, graph: Graph, parameters: NamedArrays, engine: Engine, threads: int | None) -> None:
        check_engine(engine)
        self.engine, self.threads = engine, threads
        self._batching = Batching(graph)
        self._ranges = RangeCheck(graph, {name: parameters[name].copy() for name in preparing(graph)})
        self._model, self._parameters = b"", dict[str, Array]()
        if engine != "numpy":
            from portable_nn.onnx.session import model_bytes

            self._model = model_bytes(graph, parameters)
        else:
            self._parameters = {name: array.copy(order="K") for name, array in parameters.items()}
        self.__setstate__({})
        self._compiled()

    def predict(self, x: Any, *, batch_size: int | None = None) -> Any:
        """The outputs for ``x``; arguments, results and errors are those of ``Network.predict``."""
        return self._batching.predict(x, self._compiled(), batch_size, partial(self._ranges, ()))

    __call__ = predict

    def _compiled(self) -> Run:
        """The function that computes the outputs in this thread, compiled if that has not been done in this process."""
        if self.engine == "numpy":
            if not hasattr(self._local, "run"):
                self._local.run = Plans(self._batching.graph, self._parameters).run
            run: Run = self._local.run
            return run
        session = self._session  # Read once: another thread may put a new one in its place.
        if session is None or not session.is_usable:
            from portable_nn.onnx.session import Session

            where, provider = self._batching.graph.name, provider_of(self.engine)
            session = self._session = Session(self._model, where=where, threads=self.threads, provider=provider)
        return session.run

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_session", "_local")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._local = threading.local()
        self._session = None

    def __repr__(self) -> str:
        return f"<Snapshot of {self._batching.graph.name} in {self.engine}>"
