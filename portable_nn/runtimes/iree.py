"""IREE: compiled by LLVM for the processor, and run in one thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The compiled module."""
    import onnx
    from iree import compiler, runtime
    from iree.compiler import ir
    from iree.compiler.extras import onnx_importer

    model = onnx.shape_inference.infer_shapes(onnx.load(str(task.path)))
    with ir.Context() as context:
        info = onnx_importer.ModelInfo(model)
        module = info.create_module(context=context).operation
        onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
        text = module.get_asm()
    compiled = compiler.compile_str(
        text,
        input_type="onnx",
        target_backends=["llvm-cpu"],
        extra_args=["--iree-llvmcpu-target-cpu=host"],
    )
    loaded = runtime.load_vm_flatbuffer(compiled, driver="local-sync")
    main = loaded[next(name for name in loaded.vm_module.function_names if "$" not in name and name != "__init")]

    def run(feeds: Any) -> dict[str, Any]:
        found = main(*(feeds[port.name] for port in task.inputs))
        several = found if isinstance(found, list | tuple) else [found]
        return {
            port.name: np.asarray(each.to_host()).astype(port.dtype)
            for port, each in zip(task.outputs, several, strict=True)
        }

    return run
