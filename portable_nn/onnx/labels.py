"""The names of classes, where tools are used to put them: in a model's metadata, each in its own way."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Final

MAX_LENGTH: Final = 2**20
"""Characters; a longer text is not read. The names of ImageNet's 21,841 classes take a third of it."""


def _json_list(text: str) -> object:
    return json.loads(text) if text.lstrip().startswith("[") else None


def _literal_dict(text: str) -> object:
    """``{0: 'person', 1: 'bicycle'}``, as Ultralytics writes it: the values, if the keys count from 0."""
    found = ast.literal_eval(text) if text.lstrip().startswith("{") else None
    if not isinstance(found, dict) or sorted(found) != list(range(len(found))):
        return None
    return [found[key] for key in sorted(found)]


def _separated(text: str) -> object:
    if text.lstrip().startswith(("[", "{")):
        return None
    parts = text.split("\n") if "\n" in text.strip() else text.split(",")
    return [part.strip() for part in parts if part.strip()]


_FORMS: Final[tuple[Callable[[str], object], ...]] = (_json_list, _literal_dict, _separated)

KEYS: Final = ("labels", "classes", "class_names", "names")
"""Where labels are found, best first."""


def labels_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The labels in a model's metadata: a JSON list, a Python dict that counts, or parts between commas or lines.

    Labels are optional, so a text that none of the forms fits gives none.
    """
    return next((labels for key in KEYS if (labels := _labels_in(metadata.get(key, "")))), ())


def _labels_in(text: str) -> tuple[str, ...]:
    if len(text) > MAX_LENGTH:
        return ()
    for form in _FORMS:
        try:
            found = form(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # What literal_eval may raise.
            continue
        if isinstance(found, list) and found and all(isinstance(label, str | int) for label in found):
            return tuple(str(label) for label in found)
    return ()
