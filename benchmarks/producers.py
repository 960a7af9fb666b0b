"""Files that other programs write, read here: ``python producers.py [FOLDER]`` prints a table by program.

Each file of ``producer_files`` is imported with verification, computed, exported and computed again; both must be what
onnxruntime computes of the file without its optimiser. If weights train, three steps of gradient descent are compared
with PyTorch and with difference quotients: see ``producer_steps``.

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
from typing import Final, NamedTuple

import numpy as np
from producer_files import FILES, Array

COLUMNS: Final = ("own operator", "folded", "opaque", "refused")
OUTCOMES: Final = {"right": "learns", "nothing": "nothing to learn", "no": "no gradient", "wrong": "differs"}
"""What three steps show, and the heads of its columns."""

SECONDS: Final = 3600
"""For one file."""


class Result(NamedTuple):
    """The way in which a file came in, of ``COLUMNS``; how many of its nodes are opaque; whether it was computed and
    exported as onnxruntime computes it; what three steps of training showed, and in words; and what is wrong."""

    way: str = "refused"
    opaque: int = 0
    equal: bool = False
    exported: bool = False
    steps: str = ""
    words: str = ""
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
    from producer_steps import three_steps

    from portable_nn.converters.onnx import export_onnx, read_onnx
    from portable_nn.operators.opaque.nodes import is_opaque

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
            steps, words = three_steps(network, feeds, name)
            result = result._replace(steps=steps, words=words)
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


# -- the table


def table(rows: dict[str, Result | str]) -> str:
    """A line for each program, and below the table what is refused and wrong."""
    heads = ("program", "files", *COLUMNS, "exported", *OUTCOMES.values())
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    for producer in dict.fromkeys(FILES[name].producer for name in rows):
        found = [row for name, row in rows.items() if FILES[name].producer == producer and isinstance(row, Result)]
        ways = Counter(row.way if row.equal else "refused" for row in found)
        figures = [len(found), *(ways[way] for way in COLUMNS), sum(row.exported for row in found)]
        figures += [sum(row.steps == outcome for row in found) for outcome in OUTCOMES]
        lines.append(f"| {producer} | {' | '.join(map(str, figures))} |")
    lines += [
        f"{name}: {row if isinstance(row, str) else row.reason or f'{row.steps}: {row.words}'}"
        for name, row in rows.items()
    ]
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
