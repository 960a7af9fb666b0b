"""The metadata of a model: class labels in the forms of common tools, and the entries that this package adds.

This package writes labels as a JSON list, which every tool can read. With the manifest of a weight file and its
SHA-256, a network is restored from an ONNX file exactly.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from portable_nn.core.jsons import parsed_json
from portable_nn.data.columns import codes_of
from portable_nn.format.manifest import Manifest, decode
from portable_nn.format.meaning import Column, InputInfo, OutputInfo, OutputKind, columns_of

if TYPE_CHECKING:
    from onnx import ModelProto

MANIFEST: Final = "portable_nn"
DIGEST: Final = "portable_nn.sha256"
LABELS: Final = "labels"
COLUMNS: Final = "columns"
DOC: Final = "doc_string"
"""The key under which a network keeps the model's own ``doc_string``, which is a field and not an entry there."""


def metadata_of(model: ModelProto) -> dict[str, str]:
    """The metadata of a model, by key; of several entries with one key the last."""
    return {entry.key: entry.value for entry in model.metadata_props}


def is_whole(metadata: Mapping[str, str]) -> bool:
    """True if the manifest in the metadata has the SHA-256 that stands beside it."""
    return hashlib.sha256(metadata.get(MANIFEST, "").encode()).hexdigest() == metadata.get(DIGEST)


def added_entries(manifest: Manifest) -> dict[str, str]:
    """The entries that a model has beside the manifest: the user's own, and the labels, which every tool can read."""
    labels = next((info.labels for info in manifest.outputs if info.labels), None)
    columns = next((info.columns for info in manifest.inputs if info.columns), None)
    own = {key: text for key, text in manifest.metadata.items() if key != DOC}
    return (
        own | ({LABELS: labels_text(labels)} if labels else {}) | ({COLUMNS: columns_text(columns)} if columns else {})
    )


def columns_text(columns: Sequence[Column]) -> str:
    """The meaning of the numbers of a row, for people and programs that do not read the manifest.

    The number of a category is its place in the list, from 0; ``missing`` says what stands for a number that is not
    there, and ``unknown`` for another word.
    """
    rows = [
        {
            "name": column.name,
            **({"unit": column.unit} if column.unit else {}),
            **({"categories": list(column.categories)} if column.categories else {}),
            **({"missing": "NaN"} if column.missing != "refuse" else {}),
            **({"unknown": -1} if column.unknown != "refuse" else {}),
        }
        for column in columns
    ]
    return json.dumps(rows, ensure_ascii=False)


def documented(doc: str, inputs: Sequence[InputInfo], outputs: Sequence[OutputInfo], *, by_column: bool) -> str:
    """The ``doc_string`` of a model: the network's own, and in words the inputs and the outputs."""
    columns = columns_of(inputs)
    table = _table_text(columns, by_column) if columns else ""
    made = [
        "\n".join([f"Input '{each.name}' is made of a picture:", *map("- {}".format, each.preprocessing)])
        for each in inputs
        if each.preprocessing
    ]
    parts = [doc, table, "\n".join([*made, *filter(None, map(_meaning, outputs))])]
    return "\n\n".join(filter(None, parts))


_MEANINGS: Final[Mapping[OutputKind, str]] = {
    "values": "numbers",
    "logits": "logits of classes, of which softmax makes probabilities",
    "binary_logits": "a logit, of which the logistic function makes the probability of the last class",
    "probabilities": "probabilities of classes",
    "gaussian": "means of normal distributions, then as many logarithms of variances",
}

UNSURE: Final = ("no class has the probability", "the standard deviation of the first number is above")
"""The meaning of a threshold: of probabilities, and of numbers."""

LISTED: Final = 100
"""The most labels in words; ``LABELS`` has all."""


def _meaning(info: OutputInfo) -> str:
    """The meaning of the numbers of an output; nothing where that is not known."""
    if info == OutputInfo(info.name):
        return ""
    labels = [repr(label) for label in info.labels]
    more = f", … (all are in the metadata, '{LABELS}')" if len(labels) > LISTED else ""
    said = [
        f"Output '{info.name}': {_MEANINGS[info.kind]}",
        f"in this order: {', '.join(labels[:LISTED])}{more}" if labels else "",
        f"if there is one number, it is that of {labels[-1]}"
        if info.kind == "probabilities" and 0 < len(labels) < 3
        else "",
        f"in {', '.join(map(repr, info.units)) or info.unit}" if info.units or info.unit else "",
        f"calibrated: logits are divided by {info.temperature:g} first" if info.temperature != 1 else "",
        f"unsure where {UNSURE[info.kind == 'gaussian']} {info.threshold:g}" if info.threshold else "",
    ]
    return "; ".join(filter(None, said)) + "."


def _table_text(columns: Sequence[Column], by_column: bool) -> str:
    """The meaning of the columns of a table."""
    refused = "of a row with a value that is refused, the outputs are NaN"
    what = f"Each input is a column of a table, (batch, 1); {refused}." if by_column else (
        "The input is a table whose columns have this order, words as numbers, and no number for what is refused."
    )  # fmt: skip
    lines = [f"{column.name}: {'; '.join(_said(column, by_column))}" for column in columns]
    return "\n".join([what, *lines])


def _said(column: Column, by_column: bool) -> Iterator[str]:
    """The cells that a column takes, in words."""
    if not column.categories:
        yield f"a number in {column.unit}" if column.unit else "a number"
    elif by_column:
        yield ", ".join(column.categories if codes_of(column) else map(repr, column.categories))
    else:
        yield ", ".join(f"{place} for {word!r}" for place, word in enumerate(column.categories))
    if column.categories:
        other = "taken as none of these" if by_column else "-1"
        yield f"another one is {'refused' if column.unknown == 'refuse' else other}"
    none = "''" if by_column and column.categories and not codes_of(column) else "NaN"
    yield f"a missing one is {'refused' if column.missing == 'refuse' else none}"


def own_doc(doc: str, manifest: Manifest | None) -> str:
    """A ``doc_string`` without what ``documented`` added, which the manifest says as well."""
    if manifest is None:
        return doc
    own = manifest.metadata.get(DOC, "")
    written = [documented(own, manifest.inputs, manifest.outputs, by_column=each) for each in (False, True)]
    return own if doc in written else doc


def labels_text(labels: Sequence[str]) -> str:
    """Labels as they are written."""
    return json.dumps(list(labels), ensure_ascii=False)


def manifest_in(
    metadata: Mapping[str, str], inputs: Sequence[str], outputs: Sequence[str], where: str
) -> Manifest | None:
    """The manifest in the metadata of a model, if it is whole and names the model's inputs and outputs.

    A tool that optimised or quantised the graph has not changed its inputs and outputs: unlike for an import, the rest
    of the graph may differ.

    Raises:
        FormatError: the manifest is whole, but this version cannot read it.
    """
    if not metadata.get(MANIFEST) or not is_whole(metadata):
        return None
    manifest = decode(metadata[MANIFEST].encode(), where)
    named = [info.name for info in manifest.inputs], [info.name for info in manifest.outputs]
    return manifest if named == (list(inputs), list(outputs)) else None


# -- labels

MAX_LENGTH: Final = 2**20
"""The most characters that are read. The names of ImageNet's 21,841 classes take a third of it."""


def _json_list(text: str) -> object:
    return parsed_json(text) if text.lstrip().startswith("[") else None


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
