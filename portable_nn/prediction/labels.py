"""The names of classes: in files of their own, and as data have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.jsons import parsed_json
from portable_nn.core.text import quantity, said
from portable_nn.data.files import opened
from portable_nn.evaluation.targets import ClassFinder
from portable_nn.format.meaning import OutputKind
from portable_nn.network import Network
from portable_nn.operators import lookup


def read_labels(path: str | Path) -> tuple[str, ...]:
    """The labels in a text file: one in a line, or a JSON list.

    Raises:
        DataError: the file cannot be read, or there is no label in it.
    """
    with opened(path, "labels, one in a line") as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            path, f"expected labels, one in a line or a JSON list, in UTF-8, which this is not {said(error)}"
        ) from error
    try:
        found = parsed_json(text) if text.lstrip().startswith("[") else text.strip().splitlines()
    except ValueError:  # A label may begin with a bracket.
        found = text.strip().splitlines()
    if not found or not all(isinstance(label, str | int) for label in found):
        raise DataError(path, "expected labels, one in a line or a JSON list, found none")
    return tuple(str(label).strip() for label in found)


def declare_classes(network: Network, labels: Sequence[str]) -> None:
    """Let a network say of its first output with a number for each of these classes that it has them.

    What softmax or the logistic function makes are probabilities, and other numbers logits.

    Raises ``UsageError`` where no output has so many.
    """
    wide = {info.name: network.types[info.name].shape[-1:] for info in network.outputs}
    fitting = [(len(labels),), *[(1,)] * (len(labels) == 2)]
    name = next((name for size in fitting for name, shape in wide.items() if shape == size), None)
    if name is None:
        found = ", ".join(f"'{name}' has {(*shape, 1)[0]}" for name, shape in wide.items())
        raise UsageError(f"given are {quantity(len(labels), 'label')}, and no output has so many numbers: {found}")
    maker = next((lookup(node.operator, node.domain) for node in network.graph.nodes if name in node.outputs), None)
    kind: OutputKind = "binary_logits" if wide[name] == (1,) else "logits"
    kind = "probabilities" if getattr(maker, "probabilities", False) else kind
    network.outputs = tuple(
        replace(info, kind=kind if info.kind == "values" else info.kind, labels=tuple(labels))
        if info.name == name
        else info
        for info in network.outputs
    )


def class_named(label: Any, find: ClassFinder) -> str | None:
    """The class that a label in data means, or the label where it is none of them; None where there is none."""
    place = None if label is None else find(label)
    if place is not None:
        return find.classes[place]
    if label is None or isinstance(label, list):
        return None
    return str(int(label) if isinstance(label, float) and label.is_integer() else label)
