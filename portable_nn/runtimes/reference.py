"""``onnx.reference``: the standard's own evaluator, in Python."""

from __future__ import annotations

from typing import Any

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(task.path))
    names = [port.name for port in task.outputs]

    def run(feeds: Any) -> dict[str, Any]:
        return dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))

    return run
