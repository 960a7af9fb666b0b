"""OpenVINO on the CPU, in float32: by default it may compute in bfloat16 where the processor can."""

from __future__ import annotations

from typing import Any

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """A compiled model with one thread."""
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = core.compile_model(core.read_model(str(task.path)), "CPU", options)

    def run(feeds: Any) -> dict[str, Any]:
        found = compiled([feeds[port.name] for port in task.inputs])
        return {port.name: found[place].copy() for place, port in enumerate(task.outputs)}

    return run
