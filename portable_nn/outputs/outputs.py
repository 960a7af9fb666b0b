"""All outputs of a model as arrays, for several inputs as well, and pictures of what was found in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.core.arrays import as_array
from portable_nn.core.dims import static
from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.graph import Value, format_shape
from portable_nn.core.kinds import check_kinds
from portable_nn.core.names import Engine
from portable_nn.core.recognise import is_path, is_picture
from portable_nn.data.batches import Bad, Taken
from portable_nn.data.dataset import kind_of, read_examples
from portable_nn.data.given import Named
from portable_nn.data.picture_batches import decoded
from portable_nn.data.sources import iterate
from portable_nn.data.stored_files import open_stored
from portable_nn.network import Network
from portable_nn.opening.runners import Runnable
from portable_nn.operators.registry import Array
from portable_nn.outputs.overlays import areas_in_picture, called, overlay, shares
from portable_nn.outputs.scenes import Boxes, Outputs, Scene, scene_of
from portable_nn.prediction.answers import Preprocess, as_preparation, named_in, opened_model
from portable_nn.preprocessing.applying import apply
from portable_nn.preprocessing.named import Preparation
from portable_nn.preprocessing.placement import Placement, placement
from portable_nn.preprocessing.steps import ColourStep, Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["run"]


@check_kinds
def run(
    model: str | Path | Network,
    inputs: Any,
    *,
    engine: Engine = "onnxruntime",
    preprocess: Preprocess | None = None,
    raw: bool = False,
    digest: str | None = None,
    edited: bool = False,
    notes: list[str] | None = None,
    dataset: str | Sequence[str] | None = None,
) -> dict[str, Array]:
    """All outputs of ``model``, by name.

    Args:
        model: a network, the name of a shipped model, a weight file, or any ONNX file.
        inputs: pictures or arrays as ``predict`` takes them; or a dict with one of these for each input, by name, of as
            many examples each.
        engine: ``onnxruntime`` or ``numpy``.
        preprocess: how pictures are prepared, as ``predict`` takes it.
        raw: whether arrays are what the inputs take, without the model's preprocessing.
        digest, edited: as ``predict`` takes them.
        notes: a list to which is appended what was assumed.
        dataset: the name of the array that is read in HDF5, npz, zarr and Parquet files (a column there); several
            stand side by side.

    Returns arrays whose first axis is that of the examples, where the model gives such. A model whose outputs are not
    of that kind, such as a list of boxes, gets one example at a time; of several, the outputs are called ``NAME.0``,
    ``NAME.1`` and so on.

    Raises:
        UsageError: inputs that are missing or unknown, or a preparation that does not fit.
        FileError, FormatError: the model cannot be read, or fails on these inputs.
        DataError: an input cannot be read, or holds numbers of another type.

    Warns with ``EditedWarning`` as ``predict`` does.

    >>> import portable_nn as pnn
    >>> pnn.run("detector.onnx", "street.jpg", preprocess="detection")["boxes"].shape  # doctest: +SKIP
    (12, 4)
    """
    found = opened_model(model, engine, digest, edited)
    told = notes if notes is not None else list[str]()
    feeds = _Feeds(found, as_preparation(preprocess), raw, told, named_in(dataset))
    names = [value.name for value in found.inputs]
    if not (isinstance(inputs, Mapping) and inputs and set(map(str, inputs)) <= set(names)):
        if len(names) != 1:
            wanted = ", ".join(names) or "none"
            raise UsageError(f"{found.where}: inputs must be a dict (--input NAME=FILE) for the inputs {wanted}")
        inputs = {names[0]: inputs}
    if missing := [name for name in names if name not in inputs]:
        raise UsageError(f"{found.where}: no array or picture for the input {', '.join(missing)}")
    given = {value.name: feeds.of(value, inputs[value.name]) for value in found.inputs}
    return _joined(list(_runs(found, given)))


@dataclass(frozen=True)
class _Feeds:
    """Makes arrays for the inputs of a model."""

    model: Runnable
    preparation: Preparation | Preprocessing | None
    raw: bool
    told: list[str]
    named: Named | None

    def of(self, value: Value, given: Any) -> list[Array]:
        """Examples for an input, in arrays of one shape each."""
        if self.raw or not are_pictures(given):
            info = next(info for info in self.model.description.inputs if info.name == value.name)
            if self.raw or not (info.preprocessing or self.preparation):
                return [self.plain(value, given)]
        found = self.model.prepared(value, self.preparation)
        self.told.extend(found.warnings)
        shape = static(found.value.shape[1:]) or ()
        taken = Taken(shape, found.steps, found.kind, dtype=value.dtype)
        assumed = list[str]()
        batches = [
            each.x for each in iterate(given, taken, assumed=assumed, named=self.named) if not isinstance(each, Bad)
        ]
        self.told.extend(assumed)
        return [cast(x, value, self.model.where) for x in batches]

    def plain(self, value: Value, given: Any) -> Array:
        """An array as it is; an example alone gets the axis of the batch."""
        given = given[0] if isinstance(given, list) and len(given) == 1 and is_path(given[0]) else given
        where = str(given) if is_path(given) else f"input '{value.name}'"
        array = self._in_file(given, value) if is_path(given) else as_array(given, where)
        if array.ndim == len(value.shape) - 1:
            array = array[np.newaxis]
        return cast(array, value, where)

    def _in_file(self, path: str | Path, value: Value) -> Array:
        return read_for(value, path) if self.named is None else open_stored(path, self.named.inputs)[:]


def read_for(value: Value, path: str | Path) -> Array:
    """The examples in a file for an input. Raises as ``read_dataset`` does."""
    shape = static(value.shape[1:])
    return read_examples(path, None if shape is None else math.prod(shape), Taken((), dtype=value.dtype).precision)


def are_pictures(given: Any) -> bool:
    """Whether what was given is pictures, or folders of them."""
    each = given[0] if isinstance(given, list | tuple) and given else given
    return is_picture(each) or (is_path(each) and kind_of(each) == "picture")


def cast(x: Array, value: Value, where: str) -> Array:
    """``x`` in the type of an input. Raises ``DataError`` where that would make other numbers of whole ones."""
    cast = x.astype(value.dtype, copy=False)
    if np.dtype(value.dtype).kind != "f" and not np.array_equal(cast, x):
        taken = f"{value.dtype}, as input '{value.name}' takes"
        raise DataError(where, f"expected {taken}, found numbers that it cannot hold")
    return cast


def _runs(model: Runnable, given: Mapping[str, list[Array]]) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """The outputs for some examples, and how many these are."""
    if len(given) > 1:
        if several := [name for name, parts in given.items() if len(parts) != 1]:
            raise UsageError(f"{model.where}: the pictures for the input {several[0]} must have one size")
        yield 1, model.run({name: parts[0] for name, parts in given.items()})
        return
    [entry] = model.inputs
    for part in given[entry.name]:
        if part.ndim == len(entry.shape) and _in_one(model, len(part)):
            yield len(part), model.run({entry.name: part})
            continue
        for place in range(len(part)):
            x = part[place : place + 1]
            yield 1, _run_one(model, entry, x)


def _run_one(model: Runnable, entry: Value, x: Array) -> Mapping[str, Array]:
    """The outputs for one example, a batch of one, whatever batch the model takes."""
    if x.ndim > len(entry.shape):  # It takes a picture without a batch.
        return model.run({entry.name: x[0]})
    fixed = entry.shape[0]
    outputs = model.run({entry.name: np.repeat(x, fixed, axis=0) if isinstance(fixed, int) else x})
    return {name: array[:1] if array.shape[:1] == entry.shape[:1] else array for name, array in outputs.items()}


def _in_one(model: Runnable, count: int) -> bool:
    """Whether so many examples can be computed at once, and each has its part in every output."""
    [entry] = model.inputs
    if not isinstance(entry.shape[0], str):
        return entry.shape[0] == count
    return count == 1 or all(value.shape[:1] == entry.shape[:1] for value in model.outputs)


def _joined(runs: Sequence[tuple[int, Mapping[str, Array]]]) -> dict[str, Array]:
    """The outputs of all runs: along the first axis where that is the examples', otherwise by number."""
    if len(runs) == 1:
        return dict(runs[0][1])
    found = dict[str, Array]()
    for name in runs[0][1] if runs else ():
        arrays = [outputs[name] for _, outputs in runs]
        if all(
            a.ndim and len(a) == n and a.shape[1:] == arrays[0].shape[1:]
            for a, (n, _) in zip(arrays, runs, strict=True)
        ):
            found[name] = np.concatenate(arrays)
        else:
            found |= {f"{name}.{place}": array for place, array in enumerate(arrays)}
    return found


# -- pictures


@dataclass(frozen=True)
class Finding:
    """What was found in a picture: objects with their boxes, or areas with their shares.

    Args:
        input: the picture.
        label: the class.
        score: how certain it is; of an area its share of the picture.
        box: left, top, right and bottom, in pixels of the picture; empty for areas.
        pixels: how many pixels of the picture its mask covers; None where there is none.
    """

    input: str
    label: str
    score: float
    box: tuple[float, ...] = ()
    pixels: int | None = None


@dataclass(frozen=True)
class Drawn:
    """A picture with what was found in it, and that as a list."""

    name: str
    picture: Image
    findings: tuple[Finding, ...]


def drawings(
    model: str | Path | Network,
    inputs: Any,
    *,
    engine: Engine = "onnxruntime",
    preprocess: Preprocess | None = None,
    labels: Sequence[str] = (),
    least: float = 0.25,
    digest: str | None = None,
    edited: bool = False,
    notes: list[str],
) -> Iterator[Drawn]:
    """Each picture with the boxes or areas that a detector or segmenter gives for it.

    ``labels`` are names of classes in place of the model's, and ``least`` is the smallest score of a box. Arguments and
    errors are otherwise those of ``run``; ``UsageError`` as well where the outputs have none of the known forms.
    """
    if not 0 <= least <= 1:
        raise UsageError(f"min_score must be from 0 to 1, not {least}")
    found = opened_model(model, engine, digest, edited)
    entry = found.only_input()
    prepared = found.prepared(entry, as_preparation(preprocess))
    taken = Taken(static(prepared.value.shape[1:]) or (), prepared.steps, prepared.kind, dtype=entry.dtype)
    notes += prepared.warnings
    own = (*(info.labels for info in found.description.outputs), found.description.labels)
    names = tuple(labels) or next(filter(None, own), ())
    said = set[str]()
    for name, pixels, steps in decoded(inputs, taken, notes):
        x = cast(apply(steps, pixels, name=name)[np.newaxis], entry, name)
        x = x.reshape(-1, *taken.shape) if taken.shape else x
        arrays = _run_one(found, entry, x)
        place = placement(steps, *pixels.shape[:2])
        scene = scene_of(Outputs(arrays, place.frame, names, least))
        if scene is None:
            shapes = ", ".join(f"{key} {array.dtype}{format_shape(array.shape)}" for key, array in arrays.items())
            raise UsageError(f"{found.where}: the outputs, {shapes}, have none of the known forms of boxes or areas")
        if scene.assumed not in said:
            said.add(scene.assumed)
            notes += _assumptions(scene, arrays)
        shown = ColourStep()(pixels)
        yield Drawn(name, overlay(shown, scene, place, names), tuple(_findings(name, scene, place, names)))


def _assumptions(scene: Scene, arrays: Mapping[str, Array]) -> Iterator[str]:
    """What the outputs were taken for, and which masks are not drawn."""
    masks = scene.masks if isinstance(scene, Boxes) else None
    yield f"the outputs are taken for {scene.assumed}" + (f", with {masks.assumed}" if masks else "")
    if isinstance(scene, Boxes) and masks is None:
        for name, array in arrays.items():
            if array.ndim >= 4 or "mask" in name.lower():
                shape = f"{array.dtype}{format_shape(array.shape)}"
                yield f"'{name}', {shape}, has no known form of masks: boxes alone are drawn; --out FILE.npz writes it"


def _findings(name: str, scene: Scene, place: Placement, names: Sequence[str]) -> Iterator[Finding]:
    if isinstance(scene, Boxes):
        for number, box in enumerate(place.back(scene.corners)):
            edges = tuple(round(float(edge), 1) for edge in box)
            covered = int(scene.masks.in_picture(number, place)[1].sum()) if scene.masks else None
            yield Finding(name, called(int(scene.classes[number]), names), float(scene.scores[number]), edges, covered)
        return
    for number, share in shares(areas_in_picture(scene, place)):
        yield Finding(name, called(number, names), share)
