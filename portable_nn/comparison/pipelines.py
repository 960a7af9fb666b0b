"""Preparations that two programs make of one picture: the differences that explain the numbers of the other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np

from portable_nn.comparison.answers import Answers
from portable_nn.comparison.recipes import BGR, Photo, Recipe, gaps
from portable_nn.comparison.report import Diff, Gap
from portable_nn.comparison.solving import EXACT, EXPLAINED, Scored, Search
from portable_nn.core.arrays import as_array
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.foreign_values import is_path
from portable_nn.core.graph import Value
from portable_nn.core.tensors import Array
from portable_nn.core.text import quantity, rounded, some
from portable_nn.data.images import turned_by
from portable_nn.data.picture_batches import decoded
from portable_nn.network import Network
from portable_nn.opening.runners import Runnable
from portable_nn.plain import open_tensors
from portable_nn.prediction.options import ModelOptions, Preprocess
from portable_nn.preprocessing.applying import apply
from portable_nn.preprocessing.named import NAMED, UNIT, Preparation, prepared
from portable_nn.preprocessing.pixels import Method

CONTRAST: Final = 4.0
"""The least standard deviation of the levels of a picture by which preparations can be told apart."""

FEW: Final = 4
"""So many answers, or fewer, fit several preparations by accident."""


@dataclass(frozen=True)
class Prepared:
    """A picture as A prepares it.

    Attributes:
        model: A, ready to run.
        entry: its input that takes pictures.
        pixels: the picture.
        photo: the same, for other preparations.
        notes: what was assumed.
    """

    model: Runnable
    entry: Value
    pixels: Array
    photo: Photo
    notes: tuple[str, ...]

    @property
    def feeds(self) -> dict[str, Array]:
        """The input of A."""
        return {self.entry.name: self.photo.prepared[np.newaxis].astype(self.entry.dtype)}


def prepared_by(model: Any, picture: Any, preprocess: Preprocess | None) -> Prepared:
    """A picture as a model prepares it. Raises as ``predict`` does."""
    options = ModelOptions(preprocess=preprocess, edited=not isinstance(model, Network))
    opened, notes = options.opened(model), list[str]()
    found = opened.prepared(opened.only_input(), options.preparation)
    entry, taken = found.value, found.taken
    if made_for := opened.made_for.get(entry.name):
        taken = replace(taken, largest=float(made_for.high.max()))
    [(_, pixels, steps), *more] = decoded(picture, taken, notes)
    if more:
        raise UsageError(f"expected one picture, found {len(more) + 1}")
    turns, mirrored = turned_by(picture)
    return Prepared(opened, entry, pixels, Photo(pixels, (-turns % 4, mirrored), steps), tuple(notes))


def explained(a: Prepared, inputs: Any, answers: Any, names: tuple[str, str]) -> Diff:
    """The differences of the preparation of A and that of the other side, by what went into its network or came out.

    Raises ``UsageError`` and ``ShapeError`` where these are no such arrays.
    """
    own, reason = a.photo.own(), ""
    search: Search | Answers
    if inputs is not None:
        array = _finite(_chosen(arrays_of(inputs, "inputs_b"), a.entry.name, "inputs_b"), "inputs_b")
        search = Search(a.photo, own, a.photo.canonical(array))
        if np.ptp(array) == 0:
            reason = "all numbers of the other side are the same"
    else:
        arrays = {name: _finite(array, "answers_b") for name, array in arrays_of(answers, "answers_b").items()}
        search = Answers(a.photo, own, a.model, a.entry, arrays)
        if search.count <= FEW:
            reason = f"{quantity(search.count, 'number')} may have come of several preparations"
    if a.photo.upright.std() < CONTRAST:
        reason = "the picture hardly varies: a photograph with edges and colours would decide it"
    found = search.found()
    made = _decided(own, found, reason)
    notes = (f"{search.tried:,} preparations were tried", *a.notes)
    return replace(made, a=names[0], b=names[1], notes=notes, options=_options(a, made, found))


def _decided(own: Recipe, found: Sequence[Scored], reason: str) -> Diff:
    """The verdict: the fewest differences among those that explain the numbers as well as any."""
    best = min(found, key=lambda each: each.error)
    simplest = min(found, key=lambda each: (each.error > 2 * max(best.error, EXACT), len(gaps(own, each.recipe))))
    rivals = [each for each in found if each.error <= 2 * max(best.error, EXACT)]
    sets = list(dict.fromkeys(gaps(own, each.recipe) for each in rivals))
    fewest = min(map(len, sets))
    sets = [each for each in sets if len(each) == fewest]
    left = f"{rounded(simplest.error, 2)} levels of light are left"
    if best.error > EXPLAINED:
        why = reason or f"no preparation that was tried explains the numbers: with the nearest, {left}"
        return Diff("", "", "undecided", reason=why, preparation=sets[0])
    if fewest == 0:
        return Diff("", "", "same", reason=f"A makes these numbers of the picture: {left}")
    if reason or len({tuple(gap.what for gap in each) for each in sets}) > 1:
        several = "; or ".join(" and ".join(f"{gap.what} ({gap.b})" for gap in each) for each in sets[:4])
        return Diff("", "", "undecided", reason=reason or f"several explain the numbers as well: {several}")
    merged = tuple(
        Gap(each[0].what, each[0].a, " or ".join(dict.fromkeys(gap.b for gap in each)))
        for each in zip(*sets, strict=True)
    )
    return Diff("", "", "prepared", preparation=merged, reason=left)


def _options(a: Prepared, made: Diff, found: Sequence[Scored]) -> str:
    """The options of ``predict`` that prepare as the other side does; why there are none, where there are none."""
    if made.verdict != "prepared":
        return ""
    best, what = min(each.error for each in found), [gap.what for gap in made.preparation]
    for recipe in (each.recipe for each in found if each.error <= 2 * max(best, EXACT)):
        if [gap.what for gap in gaps(a.photo.own(), recipe)] == what:
            try:
                given = _preparation(recipe)
                x = a.photo.canonical(apply(prepared(given, a.entry).steps, a.pixels))[0][1]
                apart = (x - a.photo.made(recipe)) / recipe.numbers.factor
            except (PortableNNError, ValueError):
                continue
            if float(np.sqrt(np.mean(np.square(apart)))) <= EXPLAINED:
                return _flags(given)
    return "none: portable-nn does not prepare pictures so"


def _preparation(recipe: Recipe) -> Preparation:
    """What is nearest to a recipe among the preparations of this package. Raises ``UsageError``."""
    frame = recipe.frame
    mean, std = recipe.numbers.normalised(1)
    if max(map(abs, (*mean, *std))) > 1:
        mean, std = recipe.numbers.normalised(255)
    if frame is None:
        return Preparation("mnist", mean=mean, std=std)
    return Preparation(
        fit=frame.how,
        size=min(frame.scaled) if frame.how == "crop" else frame.size,
        crop=frame.size if frame.how == "crop" else None,
        method=recipe.kernel if recipe.kernel in get_args(Method) else None,  # type: ignore[arg-type]
        mean=mean,
        std=std,
        bgr=recipe.colours == BGR or None,
    )


def _flags(given: Preparation) -> str:
    """A preparation as options of the command line; in Python, where these have no word for its filter."""
    name = next(
        (name for name, row in {"": UNIT, **NAMED}.items() if row.method == (given.method or UNIT.method)), None
    )
    if name is None:
        return f"in Python, preprocess={ {field: value for field, value in vars(given).items() if value is not None} }"
    mean, std = (
        ",".join(f"{each:g}" for each in (numbers[:1] if len({*numbers}) == 1 else numbers))
        for numbers in map(_numbers, given.numbers)
    )
    words = {
        "preprocess": given.name or name,
        "size": "" if given.size is None else f"{_by(given.size)}:{given.fit}",
        "crop": _by(given.crop) if given.crop else "",
        "mean": mean,
        "std": std,
        "layout": "bgr" if given.bgr else "",
    }
    return " ".join(f"--{option} {word}" for option, word in words.items() if word)


def _numbers(found: tuple[float, ...] | None) -> tuple[float, ...]:
    return found or ()


def _by(size: Any) -> str:
    return "x".join(map(str, np.atleast_1d(size)))


def arrays_of(given: Any, called: str) -> dict[str, Array]:
    """Arrays by name: those of a file, of a dict, or one alone. Raises as ``open_tensors`` and ``as_array``."""
    if is_path(given):
        with open_tensors(given) as found:
            given = {name: found[name] for name in found}
    if not isinstance(given, Mapping):
        given = {"": given}
    arrays = {str(name): as_array(array, f"'{name}' of {called}") for name, array in given.items()}
    if not arrays:
        raise UsageError(f"{called} has no arrays")
    return arrays


def _chosen(arrays: Mapping[str, Array], name: str, called: str) -> Array:
    """The array of an input, or the only one."""
    if name in arrays or len(arrays) == 1:
        return arrays.get(name, next(iter(arrays.values())))
    raise UsageError(f"{called} has the arrays {some(arrays)}: one of them must have the name of the input, {name}")


def _finite(array: Array, called: str) -> Array:
    if not np.isfinite(array).all():
        raise UsageError(f"{called} must hold finite numbers, and has others")
    return array
