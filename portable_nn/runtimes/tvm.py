"""TVM: its Relax front end, compiled for the processor by LLVM."""

from __future__ import annotations

from typing import Any

import numpy as np

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """A virtual machine with the compiled model."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(str(task.path)), keep_params_in_input=False)
    module = relax.transform.DecomposeOpsForInference()(module)
    module = relax.transform.LegalizeOps()(module)
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())

    def run(feeds: Any) -> dict[str, Any]:
        found = machine["main"](*(tvm.runtime.tensor(feeds[port.name]) for port in task.inputs))
        several = [found] if hasattr(found, "numpy") else list(found)
        return {port.name: np.array(each.numpy()) for port, each in zip(task.outputs, several, strict=True)}

    return run
