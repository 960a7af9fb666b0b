"""MNN, which converts ONNX files to its own format first. Whole numbers are of 32 bits in it.

Its command for that, ``MNN.tools.mnnconvert``, installs a package and reports to a server: it is not used.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from portable_nn.runtimes.task import Run, Task

_NARROWER: Final = {"int64": "int32", "bool": "int32", "float64": "float32", "uint32": "int32", "int16": "int32"}
"""The types that stand for those that it lacks."""


def load(task: Task) -> Run:
    """A module with one thread, in high precision."""
    import MNN
    from _tools import mnnconvert  # type: ignore[import-not-found]

    converted = str(task.folder / "model.mnn")
    options = ["-f", "ONNX", "--modelFile", str(task.path), "--MNNModel", converted, "--bizCode", "none"]
    mnnconvert(["mnnconvert", *options, "--keepInputFormat=1"])
    expr = MNN.expr
    names = [port.name for port in task.inputs], [port.name for port in task.outputs]
    high = expr.PrecisionMode.High
    module = MNN.nn.load_module_from_file(converted, *names, precision_mode=high, thread_num=1)
    if module is None:
        raise RuntimeError("it cannot load what it has converted")

    def run(feeds: Any) -> dict[str, Any]:
        given = [_variable(expr, feeds[name]) for name in names[0]]
        found = module.forward(given)
        variables = found if isinstance(found, list | tuple) else [found]
        if len(variables) != len(task.outputs):
            raise RuntimeError("it computes no outputs")
        return {port.name: _array(expr, each, port.dtype) for port, each in zip(task.outputs, variables, strict=True)}

    return run


def _variable(expr: Any, array: Any) -> Any:
    dtype = _NARROWER.get(array.dtype.name, array.dtype.name)
    kinds = {"float32": expr.float, "int32": expr.int, "uint8": expr.uint8}
    if dtype not in kinds:
        raise TypeError(f"no variable of type {dtype}")
    return expr.const(np.ascontiguousarray(array.astype(dtype)), list(array.shape), expr.NCHW, kinds[dtype])


def _array(expr: Any, variable: Any, dtype: str) -> Any:
    """The output in the type of the model."""
    if variable.data_format == expr.NC4HW4:
        variable = expr.convert(variable, expr.NCHW)
    shape = tuple(variable.shape)
    return np.array(variable.read()).reshape(shape).astype(dtype)
