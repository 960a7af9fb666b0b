"""Pictures of what a model found in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from portable_nn.core.errors import UsageError
from portable_nn.core.graph import format_shape
from portable_nn.data.picture_batches import decoded
from portable_nn.network import Network
from portable_nn.opening.runners import cast
from portable_nn.operators.registry import NamedArrays
from portable_nn.outputs.overlays import areas_in_picture, called, overlay, shares
from portable_nn.outputs.scenes import Boxes, Outputs, Scene, scene_of
from portable_nn.prediction.arrays import run_one
from portable_nn.prediction.options import ModelOptions
from portable_nn.preprocessing.applying import apply
from portable_nn.preprocessing.placement import Placement, placement
from portable_nn.preprocessing.steps import ColourStep

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Finding:
    """A finding in a picture: objects with their boxes, or areas with their shares.

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
    model: str | Path | Network, inputs: Any, options: ModelOptions, notes: list[str], least: float = 0.25
) -> Iterator[Drawn]:
    """Each picture with the boxes or areas that a detector or segmenter gives for it.

    ``least`` is the smallest score of a box. Errors are those of ``run``; ``UsageError`` as well where the outputs have
    none of the known forms.
    """
    if not 0 <= least <= 1:
        raise UsageError(f"min_score must be from 0 to 1, not {least}")
    found = options.opened(model)
    entry = found.only_input()
    prepared = found.prepared(entry, options.preparation)
    taken = prepared.taken
    notes += prepared.warnings
    own = (*(info.labels for info in found.description.outputs), found.description.labels)
    names = options.names or next(filter(None, own), ())
    said = set[str]()
    for name, pixels, steps in decoded(inputs, taken, notes):
        x = cast(apply(steps, pixels, name=name)[np.newaxis], entry, name)
        x = x.reshape(-1, *taken.shape) if taken.shape else x
        arrays = run_one(found, entry, x)
        place = placement(steps, *pixels.shape[:2])
        scene = scene_of(Outputs(arrays, place.frame, names, least))
        if scene is None:
            shapes = ", ".join(f"{key} {array.dtype}{format_shape(array.shape)}" for key, array in arrays.items())
            raise UsageError(
                f"{found.where}: the outputs, {shapes}, have none of the known forms of boxes or areas; one answer for "
                "a whole picture cannot be drawn in it"
            )
        if scene.assumed not in said:
            said.add(scene.assumed)
            notes += _assumptions(scene, arrays)
        shown = ColourStep()(pixels)
        yield Drawn(name, overlay(shown, scene, place, names), tuple(_findings(name, scene, place, names)))


def _assumptions(scene: Scene, arrays: NamedArrays) -> Iterator[str]:
    """The assumptions about the outputs, and the masks that are not drawn."""
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
