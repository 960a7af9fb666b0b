"""Tools that compare two models, for ``faults.py``: each names a node of B, or says that the models are the same.

Each is a function that imports and reads what it needs, and returns the comparison, which is timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from fault_models import inputs


class Task(NamedTuple):
    """Two files, and what they were made of."""

    tool: str
    model: str
    a: Path
    b: Path


class Answer(NamedTuple):
    """What a tool says: "parted" or "weights" with nodes of B, "same", "undecided", or "not applicable"."""

    verdict: str
    nodes: tuple[str, ...] = ()
    note: str = ""


def ours(task: Task) -> Callable[[], Answer]:
    from portable_nn.comparison.diff import diff

    def answer() -> Answer:
        report = diff(str(task.a), str(task.b))
        if report.verdict == "weights":
            return Answer("weights", tuple(name for gap in report.weights for name in gap.nodes))
        if report.verdict == "parted":
            return Answer("parted", tuple(report.partings[0].nodes_b[:1]))
        return Answer("same" if report.verdict in ("same", "identical") else "undecided", note=report.reason or "")

    return answer


def first(model: onnx.ModelProto, apart: Iterable[str]) -> Answer:
    """The first node of a model that makes one of the values."""
    names = {*apart}
    found = [node.name for node in model.graph.node if names & {*node.output}]
    return Answer("parted", (found[0],)) if found else Answer("undecided" if names else "same")


def polygraphy(task: Task) -> Callable[[], Answer]:
    """All values of equal names, as ``polygraphy run --onnxrt --onnx-outputs mark all`` compares them."""
    from polygraphy.backend.onnx import BytesFromOnnx, ModifyOutputs
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator, CompareFunc
    from polygraphy.constants import MARK_ALL
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    a, b = onnx.load(task.a), onnx.load(task.b)

    def answer() -> Answer:
        sides = [
            OnnxrtRunner(SessionFromOnnx(BytesFromOnnx(ModifyOutputs(model, outputs=MARK_ALL, copy=True))), name=name)
            for name, model in (("a", a), ("b", b))
        ]
        results = Comparator.run(sides, data_loader=[inputs(a, 0)])
        by_name = CompareFunc.simple(find_output_func=lambda name, index, found: [name])  # it would guess others
        [compared] = Comparator.compare_accuracy(results, compare_func=by_name)
        [[found]] = compared.values()
        return first(b, (name for name, equal in found.items() if not equal))

    return answer


DECIBELS = 80.0
"""The signal-to-noise ratio below which values are said to differ; the tool itself draws no line."""


def loss_debugger(task: Task) -> Callable[[], Answer]:
    """The ratios that onnxruntime's debugger of quantisation computes, of all values of equal names."""
    from onnxruntime.quantization import qdq_loss_debug as debugger

    a, b = onnx.load(task.a), onnx.load(task.b)

    def values(path: Path, folder: str) -> Any:
        to = f"{folder}/{path.name}"
        debugger.modify_model_output_intermediate_tensors(str(path), to)
        return debugger.collect_activations(to, iter([inputs(a, 0)]))

    def answer() -> Answer:
        with tempfile.TemporaryDirectory() as folder:
            ones, others = values(task.a, folder), values(task.b, folder)
        pairs = {name: (np.concatenate(ones[name]), np.concatenate(others[name])) for name in ones if name in others}
        ratio = debugger.compute_signal_to_quantization_noice_ratio  # 0 of zeros and zeros
        differing = (name for name, (one, other) in pairs.items() if not np.array_equal(one, other))
        apart = (name for name in differing if not ratio(*pairs[name]) > DECIBELS)
        return first(b, apart)

    return answer


def graph_diff(task: Task) -> Callable[[], Answer]:
    """What ``onnxsim --graph-diff`` prints: nodes that are added or have other inputs."""
    from onnxsim.model_info import diff_graphs

    a, b = onnx.load(task.a), onnx.load(task.b)

    def answer() -> Answer:
        found = diff_graphs(a, b)
        names = (*(after.name for _, after in found.changed_nodes), *(node.name for node in found.added_nodes))
        return Answer("parted", names[:1]) if names else Answer("undecided" if found.removed_nodes else "same")

    return answer


ABSOLUTE, RELATIVE = 5e-3, 1e-1
"""The differences above which ``torch.onnx.export(verify=True)`` warns."""


def torch_verification(task: Task) -> Callable[[], Answer]:
    """Values of the program that was exported, against those of the file that bear its names."""
    import torch
    from fault_torch import SOURCES
    from onnx_ir import from_proto
    from torch.onnx import ONNXProgram
    from torch.onnx.verification import verify_onnx_program

    if task.model not in SOURCES or not SOURCES[task.model].dynamo:
        return lambda: Answer("not applicable")
    kept, b = task.a.with_suffix(".pt2"), onnx.load(task.b)
    if not kept.exists():
        torch.export.save(SOURCES[task.model].program().exported_program, kept)
    program = ONNXProgram(from_proto(b), torch.export.load(kept))

    def answer() -> Answer:
        found = verify_onnx_program(program, compare_intermediates=True)
        return first(b, (each.name for each in found if each.max_abs_diff > ABSOLUTE or each.max_rel_diff > RELATIVE))

    return answer


TOOLS: dict[str, Callable[[Task], Callable[[], Answer]]] = {
    "Portable NN": ours,
    "Polygraphy": polygraphy,
    "torch.onnx": torch_verification,
    "onnxruntime": loss_debugger,
    "onnxsim": graph_diff,
}
