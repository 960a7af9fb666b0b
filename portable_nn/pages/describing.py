"""The description of a model for a page: its kind of page, inputs, answers, samples and layers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np

from portable_nn.analysis.choosing import chosen_by
from portable_nn.core.dims import static
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.graph import Graph, Shape, Value
from portable_nn.core.text import quantity
from portable_nn.data.dataset import kind_of, read_dataset
from portable_nn.engines.batching import Run
from portable_nn.evaluation.scoring import class_names
from portable_nn.format.meaning import Column
from portable_nn.network import Network
from portable_nn.opening.runners import Runnable, Runner
from portable_nn.operators.registry import Array, NamedArrays, Type, find
from portable_nn.prediction.undeclared import is_undeclared, meaning_of
from portable_nn.preprocessing.defaults import default_preprocessing
from portable_nn.preprocessing.pixels import columns_first
from portable_nn.preprocessing.steps import Preprocessing, describe, pictorial

if TYPE_CHECKING:
    from onnx import NodeProto

PageKind: TypeAlias = Literal["picture", "table", "generator", "series", "numbers"]

SIGNAL: Final = 16
"""From this many numbers on, an example without column names is a signal to be drawn, and no form."""

PICTURES: Final = 12
ROWS: Final = 400
"""The most pictures and rows of samples that a page carries."""

CHECKED: Final = 200_000
"""The most numbers that a page carries to check itself."""


@dataclass(frozen=True)
class Subject:
    """A model as its page shows it.

    Attributes:
        kind: the kind of page.
        runnable: the exported model, with all inputs and outputs.
        runner: the same as one that gives an answer for each example; ``None`` where it is none.
        steps: how a picture is prepared.
    """

    kind: PageKind
    runnable: Runnable
    runner: Runner | None
    steps: Preprocessing = ()


def subject(
    exported: Runnable, described: Runnable, preparation: Any, example: NamedArrays, labels: Sequence[str] = ()
) -> Subject:
    """The page that fits a model.

    Args:
        exported: the model as the page carries it.
        described: the model as it was given, whose description counts where the export has none of its own.
        preparation: how pictures are prepared, instead of as the model says.
        example: arrays for its inputs.
        labels: the names of the classes, instead of those in the model.

    Raises:
        UsageError: ``labels`` for a model that has another number of classes, or none.
    """
    source = exported if described.description.known else replace(exported, description=described.description)
    runner = _answering(source, preparation, example, tuple(labels))
    if runner is None and labels:
        raise UsageError("labels name classes, and this model gives none")
    if runner is None:
        return Subject("generator" if _makes_pictures(exported, example) else "numbers", exported, None)
    if runner.input.info.columns:
        return Subject("table", exported, runner)
    if steps := _steps(runner):
        return Subject("picture", exported, runner, steps)
    shape, info = runner.input.taken.shape, runner.input.info
    if info.kind == "image" or len(shape) != 1:
        return Subject("numbers", exported, runner)
    if info.context or shape[0] >= SIGNAL:
        return Subject("series", exported, runner)
    names = tuple(Column(f"x{place}") for place in range(1, shape[0] + 1))
    given = runner.input._replace(info=msgspec.structs.replace(info, columns=names))
    return Subject("table", exported, replace(runner, input=given))


def _answering(model: Runnable, preparation: Any, example: NamedArrays, labels: tuple[str, ...]) -> Runner | None:
    """The model as one that gives a row of numbers for each example, of a kind that is known or guessed."""
    try:
        runner = model.runner(preparation)
        x = next(iter(example.values()))
        numbers = runner(x[0] if runner.input.info.context else x)
    except (PortableNNError, ValueError, KeyError):
        if preparation is not None:  # What somebody asks for is done, or refused.
            raise
        return None
    info = msgspec.structs.replace(runner.info, labels=labels or runner.info.labels)
    notes: tuple[str, ...] = ()
    if is_undeclared(runner, labels, numbers.shape[1]):
        meaning = meaning_of(numbers, runner, names=info.labels)
        runner, notes = replace(runner, kind=meaning.kind), (meaning.note,)
    runner = replace(runner, info=info, notes=notes)
    if labels and runner.kind in ("values", "gaussian"):
        raise UsageError(f"labels name classes, and {runner.model.where} predicts numbers")
    if labels and len(labels) not in (numbers.shape[1], count := len(class_names(labels, numbers.shape[1]))):
        raise UsageError(
            f"given are {quantity(len(labels), 'label')}, but {runner.model.where} has {quantity(count, 'class')}"
        )
    return runner


def _steps(runner: Runner) -> Preprocessing:
    """The steps from a picture to an example; none where the model takes no pictures."""
    if steps := runner.input.info.preprocessing:
        return steps if pictorial(steps) else ()
    taken = runner.taken()
    shape = taken.shape
    if taken.kind == "table" or len(shape) not in (1, 3) or (len(shape) == 1 and shape != (784,)):
        return ()
    largest = 255.0 if taken.dtype == "uint8" else taken.largest
    try:
        return default_preprocessing(shape, largest)
    except UsageError:
        return ()


def _makes_pictures(model: Runnable, example: NamedArrays) -> bool:
    """True if the network makes a picture of a row of noise."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return False
    (noise,) = model.inputs
    found = model.run(example)[model.outputs[0].name]
    is_noise = len(noise.shape) == 2 and np.dtype(noise.dtype).kind == "f" and static(noise.shape[1:]) is not None
    return is_noise and found.ndim == 4 and found.shape[1] in (1, 3) and min(found.shape[2:]) > 1


def assumed(of: Subject) -> list[str]:
    """The notes that readers of the page need: what is assumed, as the model does not say it."""
    if of.kind == "numbers" and not (of.runner and _is_meant(of.runner)):
        return ["nothing says what the model's numbers mean: the page takes and gives arrays"]
    hint = "" if of.runner and of.runner.info.labels else "; for classes, --labels FILE says their names"
    found = [f"{note}{hint}" for note in _unsaid(of)]
    if of.steps and of.runner and not of.runner.input.info.preprocessing:
        found.append(f"the model does not say how to prepare pictures; assumed: {'; '.join(describe(of.steps))}")
    return found


def _unsaid(of: Subject) -> tuple[str, ...]:
    """The assumptions about the numbers of a model that does not say what they are."""
    return of.runner.notes if of.runner else ()


# -- as JSON


def as_data(of: Subject, graph: Graph, samples: Sequence[Path]) -> dict[str, Any]:
    """The subject as the page's script reads it."""
    found: dict[str, Any] = {
        "kind": of.kind,
        "inputs": [_value(value) for value in of.runnable.inputs],
        "outputs": [_value(value) for value in of.runnable.outputs],
        "steps": msgspec.to_builtins(of.steps),
        "prepared": describe(of.steps),
        "columnsFirst": columns_first() if of.steps else False,
        "samples": _samples(of, samples),
        "assumed": list(_unsaid(of)),
    }
    if of.kind == "generator":
        found["chosen"] = chosen_by(graph, of.runnable.inputs[0].name)
    if of.runner:
        found["answer"] = _answer(of.runner)
        found["columns"] = [msgspec.to_builtins(column) for column in of.runner.input.info.columns]
    return found


def _value(value: Value) -> dict[str, Any]:
    return {"name": value.name, "dtype": value.dtype, "shape": list(value.shape)}


def _answer(runner: Runner) -> dict[str, Any]:
    value, info = runner.input.value, runner.info
    return {
        "input": value.name,
        "dtype": value.dtype,
        "example": list(runner.input.taken.shape),
        "batch": value.shape[0] if isinstance(value.shape[0], int) else None,
        "output": info.name,
        "kind": runner.kind,
        "labels": list(info.labels),
        "units": list(info.each_unit),
        "target": info.target,
        "temperature": info.temperature,
        "threshold": info.threshold,
        "context": runner.input.info.context,
        "meant": _is_meant(runner),
    }


def _is_meant(runner: Runner) -> bool:
    """True if the model says what its numbers are."""
    return bool(runner.info.labels or runner.info.each_unit or runner.info.target)


def _samples(of: Subject, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Examples to begin with: pictures as they are in their files, or the first rows of an array."""
    return [{"name": path.stem, **_sample(of, path)} for path in paths[:PICTURES]]


def _sample(of: Subject, path: Path) -> dict[str, Any]:
    media = _MEDIA.get(path.suffix.lower())
    if of.kind == "picture" and media:
        return {"url": f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"}
    if of.kind == "series" and of.runner and kind_of(path) == "npy":
        rows = np.asarray(read_dataset(path).x[:ROWS], np.float32)
        if rows.shape[1:] == of.runner.input.taken.shape and np.isfinite(rows).all():
            return {"rows": packed(rows)}
        raise UsageError(f"samples: {path} holds no rows of {of.runner.input.taken.shape[0]} finite numbers")
    raise UsageError(f"samples: this page takes {_TAKEN.get(of.kind, 'none')}, not {path}")


_MEDIA: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jfif": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}

_TAKEN: Final = {"picture": "pictures as PNG, JPEG, WebP, GIF or BMP", "series": ".npy files of rows"}


def packed(array: Array) -> dict[str, Any]:
    """An array in JSON: its type, shape and the base64 of its bytes, the lowest of each number first."""
    content = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": base64.b64encode(content).decode()}


def check_of(run: Run, feeds: NamedArrays) -> dict[str, Any] | None:
    """Inputs and what Python computes of them, for the page to compare; None where that is too much."""
    outputs = {name: np.asarray(found) for name, found in run(feeds).items()}
    if sum(array.size for array in (*feeds.values(), *outputs.values())) > CHECKED:
        return None
    if not all(array.dtype.kind in "fiub" for array in (*feeds.values(), *outputs.values())):
        return None
    return {
        "feeds": {name: packed(array) for name, array in feeds.items()},
        "outputs": {name: packed(array) for name, array in outputs.items()},
    }


def _is_layout(node: NodeProto) -> bool:
    """True if a node moves elements or makes constants: nothing that one wants to see of a network."""
    operator = find(node.op_type, node.domain)
    return operator is not None and operator.family == "layout"


def _axis_of(batch: Shape, of: Type | None) -> int | None:
    """The only axis that has the size ``batch``."""
    return of.shape.index(batch[0]) if of and batch and of.shape.count(batch[0]) == 1 else None


def layers_of(model: bytes, network: Network, most: int = 64) -> tuple[list[dict[str, Any]], bytes]:
    """The values on the way through an ONNX model, and bytes that make them outputs when they follow the model's.

    ``network`` is what was exported, whose names the model has: it knows the axis along which examples lie. A message
    of Protocol Buffers may follow another one of its type: their lists are joined.
    """
    import onnx

    read = onnx.load_from_string(model)
    ends = {value.name for value in read.graph.output}
    nodes = [node for node in read.graph.node if node.output[0] not in ends and not _is_layout(node)][:most]
    batch = network.graph.inputs[0].shape[:1] if network.graph.inputs else ()
    rows = [
        {"value": node.output[0], "operator": node.op_type, "batch": _axis_of(batch, network.types.get(node.output[0]))}
        for node in nodes
    ]
    more = onnx.ModelProto(graph=onnx.GraphProto(output=[onnx.ValueInfoProto(name=row["value"]) for row in rows]))
    return rows, more.SerializeToString() if rows else b""
