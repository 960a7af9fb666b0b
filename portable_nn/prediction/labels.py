"""The names of classes: in files of their own, and as data have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portable_nn.core.errors import DataError
from portable_nn.core.jsons import parsed_json
from portable_nn.core.text import said
from portable_nn.data.files import opened
from portable_nn.evaluation.targets import ClassFinder


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


def class_named(label: Any, find: ClassFinder) -> str | None:
    """The class that a label in data means, or the label where it is none of them; None where there is none."""
    place = None if label is None else find(label)
    if place is not None:
        return find.classes[place]
    if label is None or isinstance(label, list):
        return None
    return str(int(label) if isinstance(label, float) and label.is_integer() else label)
