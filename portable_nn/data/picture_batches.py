"""Batches of pictures, and the preprocessing steps that make examples of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portable_nn.core.errors import DataError, UsageError
from portable_nn.core.text import some
from portable_nn.data.batches import Bad, Batch, Taken, bad
from portable_nn.data.expanding import expanded, is_picture, name_of
from portable_nn.data.given import Labelled, Picture, Source, sources
from portable_nn.data.images import read_image
from portable_nn.preprocessing.applying import parts
from portable_nn.preprocessing.defaults import default_preprocessing
from portable_nn.preprocessing.steps import PictureStep, Preprocessing, describe


@dataclass(frozen=True)
class Pictures:
    """Pictures as batches of at most ``batch_size`` examples, by ``steps``.

    With ``strict``, one that cannot be used is an error. The ink that is found in pictures is appended to ``notes``.
    """

    taken: Taken
    steps: Preprocessing
    batch_size: int
    strict: bool
    notes: list[str] | None

    def batches(self, group: Iterable[Any]) -> Iterator[Batch | Bad]:
        """Batches of pictures that have one shape, and a ``Bad`` for each that cannot be used."""
        ready: list[Batch] = []
        for source in group:
            found = self._batch(source)
            if isinstance(found, Batch):
                if ready and ready[0].x.shape != found.x.shape:  # The model takes any size.
                    yield from _joined(ready)
                    ready.clear()
                ready.append(found)
            if isinstance(found, Bad) or sum(len(each.names) for each in ready) >= self.batch_size:
                yield from _joined(ready)
                ready.clear()
            if isinstance(found, Bad):
                yield found
        yield from _joined(ready)

    def _batch(self, source: Source) -> Batch | Bad:
        """A picture as a batch of its own, with an example for each of its drawings."""
        name = name_of(source)
        try:
            pixels = source.pixels if isinstance(source, Picture) else read_image(Path(name))
            found = parts(self.steps, pixels, name=name, notes=self.notes)
            names = [name] if len(found) == 1 else [f"{name}#{number}" for number in range(1, len(found) + 1)]
            labels = [source.label] * len(found) if isinstance(source, Labelled) else None
            x = self.taken.laid_out(np.stack([part.x for part in found]), name)
            return Batch(names, x, labels, [part.box for part in found])
        except DataError as error:
            return bad(error, self.strict)


def _joined(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Batches as one, if there are any."""
    if batches:
        labels = [label for each in batches for label in each.labels or [None] * len(each.names)]
        names = [name for each in batches for name in each.names]
        boxes = [box for each in batches for box in each.boxes or [None] * len(each.names)]
        x = np.concatenate([each.x for each in batches])
        yield Batch(names, x, labels if any(labels) else None, boxes if any(boxes) else None)


def picture_steps(taken: Taken, assumed: list[str] | None) -> Preprocessing:
    """The steps for pictures: the model's own, or the default ones, which are then added to ``assumed``."""
    if any(isinstance(step, PictureStep) for step in taken.steps):
        return taken.steps
    if taken.columns or taken.kind == "table":
        needed = f"a table with the columns {some(each.name for each in taken.columns)}" if taken.columns else "rows"
        raise UsageError(f"this model takes rows of numbers, and no pictures: give it {needed}, such as a CSV file")
    if taken.steps:
        raise UsageError("the preprocessing of this model has no step that makes an array of a picture; give it arrays")
    steps = default_preprocessing(taken.shape, 255 if taken.dtype == "uint8" else taken.largest)
    if assumed is not None:
        assumed.append("the model does not say how to prepare pictures; assumed: " + "; ".join(describe(steps)))
    return steps


def decoded(inputs: Any, taken: Taken, assumed: list[str]) -> Iterator[tuple[str, NDArray[Any], Preprocessing]]:
    """Each picture in ``inputs``: its name, its pixels, and the steps for it.

    Raises:
        UsageError: no input, or one that is no picture.
        DataError: one that cannot be read.
    """
    found = [each for source in sources(inputs) for each in expanded(source, strict=True)]
    if not found:
        raise UsageError("no input: give pictures, or folders of them")
    steps = picture_steps(taken, assumed)
    for source in found:
        if not is_picture(source):
            raise UsageError(f"expected pictures to draw on, found {name_of(source)}")
        pixels = source.pixels if isinstance(source, Picture) else read_image(Path(name_of(source)))
        yield name_of(source), pixels, steps
