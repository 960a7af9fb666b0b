"""Files that other programs write, read here: ``python producers.py [FOLDER]`` prints a table by program.

Each file of ``producer_files`` is imported with verification, computed, exported and computed again; both must be what
onnxruntime computes of the file without its optimiser. If weights train, the slope of a sum of the outputs along their
gradient is compared with a difference quotient, which onnxruntime computes of two exports.

Files whose program is not installed are left out. tf2onnx, jax2onnx and paddle2onnx do not go with all other packages:
``/other/venv/bin/python producers.py FOLDER --make`` writes their files, in an environment of their own; the next run
here reads all that are in the folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from producer_files import FILES, Array

COLUMNS: Final = ("own operator", "folded", "opaque", "refused")
SECONDS: Final = 1200
"""For one file."""


class Result(NamedTuple):
    """The way in which a file came in, of ``COLUMNS``; how many of its nodes are opaque; whether it was computed and
    exported as onnxruntime computes it; of the slope, "right", "wrong" or why there is none; and what is wrong."""

    way: str = "refused"
    opaque: int = 0
    equal: bool = False
    exported: bool = False
    slope: str = ""
    reason: str = ""


def make(name: str, folder: Path) -> str:
    """Write a file and its inputs, where they are not there; why not, in words, if it cannot be done."""
    path = folder / f"{name}.onnx"
    if path.with_suffix(".npz").exists():
        return ""
    if not find_spec(FILES[name].module):
        return "not installed"
    try:
        given = FILES[name].make(path)
    except Exception as error:
        traceback.print_exc()
        return f"not written: {type(error).__name__}: {str(error).splitlines()[0]}"
    np.savez(path.with_suffix(".npz"), *given)
    return ""


def check(name: str, folder: Path) -> Result:
    """Everything about one file, as far as it goes."""
    from portable_nn.converters.onnx import export_onnx, read_onnx
    from portable_nn.operators.foreign.opaque import is_opaque

    path, again, result = folder / f"{name}.onnx", folder / "again.onnx", Result()
    with np.load(path.with_suffix(".npz")) as stored:
        given = list(stored.values())
    try:
        network = read_onnx(path).network
        nodes = network.graph.nodes
        opaque = sum(map(is_opaque, nodes))
        folded = all(node.operator == "Constant" for node in nodes)
        result = result._replace(way="opaque" if opaque else "folded" if folded else "own operator", opaque=opaque)
        feeds = dict(zip((value.name for value in network.graph.inputs), given, strict=True))
        expected = computed(path, feeds)
        found = network.compute("numpy", feeds)
        share = 5e-3 if any(array.dtype == np.float16 for array in network.parameters.values()) else 1e-4
        fault = difference(found, expected, share)
        result = result._replace(equal=not fault, reason=fault)
        again.unlink(missing_ok=True)
        export_onnx(network, again)
        fault = difference(computed(again, feeds), expected, share)
        result = result._replace(exported=not fault, reason=result.reason or (fault and f"exported: {fault}"))
        if not result.reason:
            result = result._replace(slope=slope(network, feeds))
    except Exception as error:
        traceback.print_exc()
        return result._replace(reason=f"{type(error).__name__}: {error}")
    return result


def computed(model: Path | bytes, feeds: dict[str, Array]) -> dict[str, Array]:
    """The outputs of a model by onnxruntime, without its optimiser, by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1  # Ranges of DynamicQuantizeLSTM depend on threads.
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def difference(found: dict[str, Array], expected: dict[str, Array], share: float) -> str:
    """What is wrong with outputs, if one differs by more than this share of its largest number."""
    for name, one in found.items():
        other = expected[name]
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return f"{one.dtype} {one.shape}, not {other.dtype} {other.shape}"
        apart = np.abs(one.astype(float) - other.astype(float)).max(initial=0)
        most = np.abs(other.astype(float)).max(initial=1e-6)
        if not apart <= share * most * (other.dtype.kind == "f"):
            return f"{apart:.2g} apart, of {most:.2g}"
    return ""


# -- slopes


WEIGHTS: Final = 6
"""The number of weights of a network whose slopes are measured."""

ROUNDED: Final = {"QuantizeLinear", "DynamicQuantizeLinear", "DequantizeLinear", "MatMulNBits", "Round"}


def slope(network: Any, feeds: dict[str, Array]) -> str:
    """Compare gradients of the sum of the outputs, each number with a random weight, with difference quotients."""
    rng = np.random.default_rng(0)
    parameters = dict(network.parameters)
    trained = [value.name for value in network.graph.parameters if value.trainable]
    floats = network.compute("numpy", feeds)
    seeds = {name: rng.normal(size=y.shape).astype(y.dtype) for name, y in floats.items() if y.dtype == np.float32}
    if not trained or not seeds:
        return "no weights" if not trained else "no float32"
    if any(array.dtype == np.float16 for array in parameters.values()):
        return "float16"
    try:
        found = gradients_of(network, feeds, seeds, trained)
    except Exception as error:
        return f"none: {type(error).__name__}: {error}"
    if any(node.operator in ROUNDED for node in network.graph.nodes):
        return "straight through"
    measured = Slopes(network, parameters, feeds, seeds)
    chosen = [*found][:: max(1, len(found) // WEIGHTS)]
    if wrong := [fault for name in chosen if (fault := measured.fault(name, found[name], rng))]:
        return f"wrong: {'; '.join(wrong)}"
    return "right"


def gradients_of(network: Any, feeds: dict[str, Array], seeds: dict[str, Array], names: list[str]) -> dict[str, Array]:
    """The gradients of weights by this package, 0 where no output depends on one."""
    from msgspec.structs import replace

    from portable_nn.engines.once import run_numpy
    from portable_nn.operators.differentiation import gradients
    from portable_nn.operators.replay import replay
    from portable_nn.operators.symbols import constant
    from portable_nn.operators.tracing import trace

    graph = network.graph
    given = tuple(replace(value, shape=feeds[value.name].shape) for value in graph.inputs)
    graph = replace(graph, inputs=given)
    symbols = replay(graph)
    ends = [constant(seed, "float32") for seed in seeds.values()]
    found = gradients([symbols[name] for name in seeds], ends, [symbols[name] for name in names])
    flowing = {name: symbol for name, symbol in zip(names, found, strict=True) if symbol is not None}
    traced = trace([symbols[value.name] for value in graph.inputs], [*flowing.values()])
    values = run_numpy(traced.graph, network.parameters.arrays, feeds)
    zeros = {name: np.zeros_like(network.parameters[name]) for name in names}
    return zeros | {name: values[traced.names[symbol]] for name, symbol in flowing.items()}


class Slopes(NamedTuple):
    """The slopes of a network in onnxruntime."""

    network: Any
    parameters: dict[str, Array]
    feeds: dict[str, Array]
    seeds: dict[str, Array]

    def total(self, changed: dict[str, Array]) -> float:
        from portable_nn.onnx.writing import to_bytes, to_model

        model = to_bytes(to_model(self.network.graph, {**self.parameters, **changed}))
        found = computed(model, self.feeds)
        return float(sum((found[name].astype(float) * seed).sum() for name, seed in self.seeds.items()))

    def fault(self, name: str, gradient: Array, rng: np.random.Generator) -> str:
        """What is wrong with the slope along the gradient, or in any direction where that is 0."""
        weight, size = self.parameters[name], float(np.linalg.norm(gradient.astype(float)))
        way = gradient if size else rng.normal(size=weight.shape)
        way = way / np.linalg.norm(way)
        tried = []
        for step in (1e-1, 3e-2, 1e-2, 3e-3, 1e-3):
            length = step * max(float(np.linalg.norm(weight)), 1e-2)
            up, down = (self.total({name: (weight + sign * length * way).astype(weight.dtype)}) for sign in (1, -1))
            tried.append((up - down) / (2 * length))
            if abs(tried[-1] - size) <= 0.02 * size + 1e-6:
                return ""
        return f"{name}: {size:.3g}, and {min(tried, key=lambda each: abs(each - size)):.3g} by differences"


# -- the table


def table(rows: dict[str, Result | str]) -> str:
    """A line for each program, and below the table what is refused and wrong."""
    lines = [f"| program | files | {' | '.join(COLUMNS)} | exported | gradients |", "|---" + "|--:" * 7 + "|"]
    for producer in dict.fromkeys(FILES[name].producer for name in rows):
        found = [row for name, row in rows.items() if FILES[name].producer == producer and isinstance(row, Result)]
        ways = Counter(row.way if row.equal else "refused" for row in found)
        figures = [len(found), *(ways[way] for way in COLUMNS), sum(row.exported for row in found)]
        lines.append(f"| {producer} | {' | '.join(map(str, figures))} | {sum(row.slope == 'right' for row in found)} |")
    for name, row in rows.items():
        said = row if isinstance(row, str) else row.reason or (row.slope if row.slope != "right" else "")
        if said:
            lines.append(f"{name}: {said}")
    return "\n".join(lines)


def apart(name: str, folder: Path) -> Result:
    """``check`` in a process of its own, so that one that ends or hangs is a row like others."""
    command = [sys.executable, __file__, str(folder), "--check", name]
    with (folder / f"{name}.log").open("w") as log:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return Result(reason=f"not done in {SECONDS} s")
    lines = done.stdout.decode().splitlines()
    return Result(**json.loads(lines[-1])) if done.returncode == 0 else Result(reason=f"exit code {done.returncode}")


def main(folder: Path, *options: str) -> None:
    if options[:1] == ("--check",):
        print(json.dumps(check(options[1], folder)._asdict()))
        return
    rows: dict[str, Result | str] = {}
    for name in FILES:
        if options[1:] and name not in options[1:]:
            continue
        rows[name] = make(name, folder)
        if not rows[name] and options[:1] != ("--make",):
            rows[name] = apart(name, folder)
        print(name, rows[name], file=sys.stderr, flush=True)
    if options[:1] != ("--make",):
        print(table(rows))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), *sys.argv[2:])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
