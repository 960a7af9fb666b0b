"""Class names in the metadata of a model, in the forms in which common tools write them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Final

MAX_LENGTH: Final = 2**20
"""The most characters that are read. The names of ImageNet's 21,841 classes take a third of it."""


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
"""The keys that labels are read from; the first that has some counts."""


def labels_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The labels in a model's metadata: a JSON list, a Python dict with keys from 0, or a list with commas or newlines.

    Empty where there are none in any of these forms.
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
