"""How many tests of the ``onnx`` package each reader of ONNX files gets right: ``python readers.py``.

Readers are this package (a network that trains), onnx2torch (a module of PyTorch that trains; ``pip install
onnx2torch``) and onnxruntime (inference alone). A test is right if every output is within the test's own tolerances.
Each reader has a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "converters"))

Run = Callable[[Sequence[Any]], Sequence[Any]]


def portable_nn(model: Any) -> Run:
    from portable_nn.converters.onnx import import_onnx

    network = import_onnx(model, verify=False)
    names = [info.name for info in network.inputs]

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        found = network.predict(dict(zip(names, inputs, strict=True)))
        return [*found.values()] if isinstance(found, dict) else [found]

    return run


def onnx2torch(model: Any) -> Run:
    import torch
    from onnx2torch import convert

    module = convert(model).eval()

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        with torch.no_grad():
            found = module(*(torch.from_numpy(np.array(each)) for each in inputs))
        return [each.numpy() for each in (found if isinstance(found, (list, tuple)) else [found])]

    return run


def onnxruntime(model: Any) -> Run:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


READERS = {each.__name__: each for each in (portable_nn, onnx2torch, onnxruntime)}


def right(case: Any, read: Callable[[Any], Run]) -> bool:
    """Whether every output of a test is right; whatever goes wrong is not."""
    try:
        run = read(case.model)
        for inputs, outputs in case.sets:
            for one, other in zip(run(inputs), outputs, strict=True):
                if np.asarray(one).dtype != other.dtype or one.shape != other.shape:
                    return False
                np.testing.assert_allclose(one, other, rtol=case.rtol, atol=case.atol)
    except Exception:
        return False
    return True


def main(reader: str) -> None:
    """Print the row of one reader."""
    from onnx_suite import cases, is_of_tensors

    warnings.simplefilter("ignore")
    chosen = [case for case in cases("node") if is_of_tensors(case)]
    count = sum(right(case, READERS[reader]) for case in chosen)
    print(f"| {reader} | {len(chosen)} | {count} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        print("| reader | tests | right |\n|---|--:|--:|", flush=True)
        for name in READERS:
            subprocess.run([sys.executable, __file__, name], stderr=subprocess.DEVNULL, check=False)
