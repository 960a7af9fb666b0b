"""How many tests of the ``onnx`` package each reader of ONNX files gets right: ``python readers.py``.

Readers are this package (a network that trains), onnx2torch (a module of PyTorch that trains; ``pip install
onnx2torch``) and onnxruntime (inference alone). A test is right if every output is within the test's own tolerances;
"with constants" if it is so when inputs that may be axes, sizes or weights are stored in the model. Each reader has a
process of its own.
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


def right(case: Any, read: Callable[[Any], Run], *, stored: bool = False) -> bool:
    """Whether every output of a test is right, as it is or with some inputs stored; whatever goes wrong is not."""
    from onnx_suite import stored_names

    entries = [value.name for value in case.model.graph.input]

    def is_right(inputs: Sequence[Any], outputs: Sequence[Any], names: Sequence[str]) -> bool:
        from portable_nn.onnx.promotion import promoted

        values = dict(zip(entries, inputs, strict=False))
        try:
            run = read(promoted(case.model, {name: values.pop(name) for name in names}, case.name))
            for one, other in zip(run(list(values.values())), outputs, strict=True):
                if np.asarray(one).dtype != other.dtype or one.shape != other.shape:
                    return False
                np.testing.assert_allclose(one, other, rtol=case.rtol, atol=case.atol)
        except Exception:
            return False
        return True

    def tried(inputs: Sequence[Any]) -> Sequence[Sequence[str]]:
        return [*stored_names(dict(zip(entries, inputs, strict=False)))] if stored else [[]]

    return all(any(is_right(*each, names) for names in tried(each[0])) for each in case.sets)


def main(reader: str) -> None:
    """Print the row of one reader."""
    from onnx_suite import cases, is_of_tensors

    warnings.simplefilter("ignore")
    chosen = [case for case in cases("node") if is_of_tensors(case)]
    found = [right(case, READERS[reader]) for case in chosen]
    more = sum(
        is_right or right(case, READERS[reader], stored=True) for case, is_right in zip(chosen, found, strict=True)
    )
    print(f"| {reader} | {len(chosen)} | {sum(found)} | {more} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        print("| reader | tests | as they are | with constants |\n|---|--:|--:|--:|", flush=True)
        for name in READERS:
            subprocess.run([sys.executable, __file__, name], stderr=subprocess.DEVNULL, check=False)
