"""A shard: the answers for some inputs as bytes, and back.

A shard is an ``.npz`` archive of plain arrays: ``outputs`` (n, width), what the model gives for each example;
``finite`` (n,), whether these are numbers; and ``inputs.json``, as bytes: the names of the examples in their order,
with labels and boxes where there are any, and the inputs that cannot be used, with the reason. A shard of outputs has
them as ``arr_0``, ``arr_1`` and so on, in the order of the model.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import methodcaller
from typing import Any, Final

import numpy as np
import xxhash

from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.jsons import parsed_json
from portable_nn.core.text import quantity, said
from portable_nn.data.batches import Bad, Batch
from portable_nn.operators.registry import Array, NamedArrays
from portable_nn.outputs.records import OTHER_SHAPES, kinds_of
from portable_nn.prediction.answers import Answer

VERSION: Final = 1
"""The version of shards and their rows: other versions of this program do not go on with others than their own."""

INPUTS: Final = "inputs.json"


def packed(found: Iterable[Answer | Bad]) -> tuple[bytes, dict[str, Any]]:
    """Answers as bytes, and what the manifest says of them."""
    items, outputs, finite = list[Any](), list[Array](), list[Array]()
    examples, bad = 0, list[Bad]()
    for each in found:
        if isinstance(each, Bad):
            bad.append(each)
            items.append([each.name, each.reason])
            examples += 1
            continue
        batch = each.batch
        examples += len(batch.names)
        items.append({"names": batch.names, "labels": batch.labels, "boxes": batch.boxes})
        outputs.append(_small(each.numbers))
        finite.append(each.finite)
    arrays = {"outputs": np.concatenate(outputs), "finite": np.concatenate(finite)} if outputs else {}
    text = json.dumps({"version": VERSION, "items": items}, default=methodcaller("tolist")).encode()
    return _packed({**arrays, INPUTS: np.frombuffer(text, np.uint8)}, examples, bad)


def packed_outputs(found: Iterable[NamedArrays]) -> tuple[bytes, dict[str, Any]]:
    """Outputs as bytes, arrays in their order, and what the manifest says of them. Raises as ``kinds_of`` does."""
    parts = list(found)
    if any(kinds_of(each) != kinds_of(parts[0]) for each in parts):
        raise UsageError(OTHER_SHAPES)
    arrays = [np.concatenate([each[name] for each in parts]) for name in parts[0]] if parts else []
    return _packed({f"arr_{place}": array for place, array in enumerate(arrays)}, len(arrays[0]) if arrays else 0, [])


def _packed(arrays: Mapping[str, Any], examples: int, bad: Sequence[Bad]) -> tuple[bytes, dict[str, Any]]:
    """Arrays as bytes, and what the manifest says of them."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    data = file.getvalue()
    unusable = [bad[0].name, bad[0].reason] if bad else None
    return data, {"examples": examples, "bad": len(bad), "first_bad": unusable, **checked(data)}


@contextmanager
def _opened(data: bytes, where: str) -> Iterator[Any]:
    """The arrays in a shard. Raises ``FormatError`` where it is none."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            yield file
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(where, f"is no shard of this program, or damaged {said(error)}") from error


def unpacked_outputs(data: bytes, where: str, names: Sequence[str]) -> Iterator[dict[str, Array]]:
    """The outputs in a shard, if there are any. Raises ``FormatError`` where it is none."""
    with _opened(data, where) as file:
        found = [{name: file[f"arr_{place}"] for place, name in enumerate(names)}] if file.files else []
    yield from found


def checked(data: bytes) -> dict[str, Any]:
    """The size and checksums that tell whether bytes are still those that were written."""
    return {"size": len(data), "xxh3": xxhash.xxh3_64_hexdigest(data)}


def unpacked(data: bytes, where: str) -> Iterator[Answer | Bad]:
    """The answers in a shard. Raises ``FormatError`` where it is none."""
    with _opened(data, where) as file:
        text = parsed_json(file[INPUTS].tobytes(), nan=True)
        outputs, finite = (file[name] if name in file else np.empty(0) for name in ("outputs", "finite"))
        items = text["items"] if text["version"] == VERSION else None
        rows = sum(len(item["names"]) for item in items or () if isinstance(item, dict))
        if not rows == len(outputs) == len(finite):
            raise ValueError(f"it has {quantity(rows, 'name')} and {quantity(len(outputs), 'output')}")
    if items is None:
        raise FormatError(where, f"is a shard of version {text['version']}, and this program reads version {VERSION}")
    start = 0
    for item in items:
        if isinstance(item, list):
            yield Bad(*item)
            continue
        names, boxes = item["names"], item["boxes"] and [box and tuple(box) for box in item["boxes"]]
        stop = start + len(names)
        batch = Batch(names, np.empty((len(names), 0), np.float32), item["labels"], boxes)
        yield Answer(batch, outputs[start:stop].astype(np.float64), finite[start:stop])
        start = stop


def _small(numbers: Array) -> Array:
    """Numbers in float32 where that holds them exactly, as the outputs of most networks are."""
    with np.errstate(over="ignore"):
        small = numbers.astype(np.float32)
    return small if np.array_equal(small, numbers) else numbers
