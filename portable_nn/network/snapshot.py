"""A network compiled for whoever serves it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Graph
from portable_nn.core.names import Engine
from portable_nn.engines.plans import Plans
from portable_nn.network.inference import Inference, Run
from portable_nn.operators import Type
from portable_nn.operators.registry import Array

if TYPE_CHECKING:
    from portable_nn.onnx.session import Session


__all__ = ["Snapshot"]


class Snapshot:
    """A network as it was when ``Network.session`` was called: compiled, and never changed again.

    Any number of threads may call ``predict`` at once. A forked process can use it, too, and so can a process that it
    was pickled for: each compiles it again when it first needs it.
    """

    def __init__(
        self,
        graph: Graph,
        types: Mapping[str, Type],
        parameters: Mapping[str, Array],
        engine: Engine,
        threads: int | None,
    ) -> None:
        check_engine(engine)
        self.engine, self.threads = engine, threads
        self._inference = Inference(graph, types)
        self._model, self._parameters = b"", dict[str, Array]()
        if engine == "onnxruntime":
            from portable_nn.onnx.session import model_bytes

            self._model = model_bytes(graph, parameters)
        else:
            self._parameters = {name: array.copy(order="K") for name, array in parameters.items()}
        self._begin()
        self._run_of_this_process()

    def _begin(self) -> None:
        self._local = threading.local()
        self._session: Session | None = None

    def predict(self, x: Any, *, batch_size: int | None = None) -> Any:
        """The outputs for ``x``, as ``Network.predict`` gives them; raises what it raises."""
        return self._inference.predict(x, self._run_of_this_process(), batch_size)

    __call__ = predict

    def _run_of_this_process(self) -> Run:
        if self.engine == "numpy":
            found: Plans | None = getattr(self._local, "plans", None)
            if found is None:
                found = self._local.plans = Plans(self._inference.graph, self._parameters)
            return found.run
        if self._session is None or not self._session.is_usable:
            from portable_nn.onnx.session import Session

            self._session = Session(self._model, where=self._inference.graph.name, threads=self.threads)
        return self._session.run

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_session", "_local")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __repr__(self) -> str:
        return f"<Snapshot of {self._inference.graph.name} in {self.engine}>"


def check_engine(engine: object) -> None:
    """Raise ``UsageError`` for the name of no engine."""
    if engine not in get_args(Engine):
        raise UsageError(f"engine must be {' or '.join(map(repr, get_args(Engine)))}, not {engine!r}")
