"""tract, an engine in Rust."""

from __future__ import annotations

from typing import Any

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """A typed model, ready to run."""
    import tract

    model = tract.onnx().load(str(task.path))
    model.analyse()
    runnable = model.into_model().into_runnable()

    def run(feeds: Any) -> dict[str, Any]:
        found = runnable.run([feeds[port.name] for port in task.inputs])
        return {port.name: each.to_numpy() for port, each in zip(task.outputs, found, strict=True)}

    return run
