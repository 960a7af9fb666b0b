"""Plain numpy: the module that ``export --numpy`` writes."""

from __future__ import annotations

import runpy
from typing import Any

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The function ``predict`` of the file."""
    from portable_nn.converters.source import write_numpy
    from portable_nn.network import load as load_network

    path = task.folder / "net.py"
    write_numpy(load_network(task.path), path, verify=False)
    predict = runpy.run_path(str(path))["predict"]

    def run(feeds: Any) -> dict[str, Any]:
        found = predict(*(feeds[port.name] for port in task.inputs))
        several = found if len(task.outputs) > 1 else (found,)
        return {port.name: each for port, each in zip(task.outputs, several, strict=True)}

    return run
