"""The names of classes: in files of their own, and as data have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.core.errors import DataError
from portable_nn.data.files import opened


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
        raise DataError(path, f"expected labels, one in a line or a JSON list, in UTF-8: {error}") from error
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else text.strip().splitlines()
    except (ValueError, RecursionError):  # A label may begin with a bracket.
        found = text.strip().splitlines()
    if not found or not all(isinstance(label, str | int) for label in found):
        raise DataError(path, "expected labels, one in a line or a JSON list, found none")
    return tuple(str(label).strip() for label in found)


def class_named(label: Any, classes: tuple[str, ...]) -> str | None:
    """The class that data mean by its name, its number, or a number for each class; None where there is no label."""
    if isinstance(label, list):
        label = int(np.argmax(label)) if len(label) == len(classes) else None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and str(label) not in classes and 0 <= label < len(classes):
        return classes[label]
    return None if label is None else str(label)
