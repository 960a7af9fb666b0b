"""onnxruntime on the CPU."""

from __future__ import annotations

from typing import Any

from portable_nn.onnx.providers import runtime
from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """A session with one thread."""
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(task.path), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in task.outputs]

    def run(feeds: Any) -> dict[str, Any]:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run
