"""Preparations that two programs make of one picture: the differences that explain the numbers of the other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import numpy as np

from portable_nn.comparison.answers import Answers
from portable_nn.comparison.pipeline import BGR, Photo, Pipeline, differing
from portable_nn.comparison.report import Decision, Diff
from portable_nn.comparison.solving import EXACT, EXPLAINED, Scored, Search
from portable_nn.core.arrays import NUMBERS, as_array
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
    def fault(self) -> str:
        """The reason why the picture cannot tell preparations apart; empty where it may."""
        flat = "the picture hardly varies: a photograph with edges and colours would decide it"
        return flat if self.photo.upright.std() < CONTRAST else ""

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
    return Prepared(opened, entry, pixels, Photo(pixels, (-turns % 4, mirrored), steps, taken), tuple(notes))


def explained(a: Prepared, inputs: Any, answers: Any, names: tuple[str, str]) -> Diff:
    """The differences of the preparation of A and that of the other side, by what went into its network or came out.

    Raises ``UsageError`` and ``ShapeError`` where these are no such arrays.
    """
    own = a.photo.own()
    search, reason = _search(a, own, inputs, answers)
    found = search.found()
    limit = 2 * max(min(each.error for each in found), EXACT)
    rivals = {each: differing(own, each.pipeline) for each in found if each.error <= limit}
    fewest = min(map(len, rivals.values()))
    rivals = {each: several for each, several in rivals.items() if len(several) == fewest}
    made = _decided(rivals, reason)
    if made.verdict == "prepared":
        made = replace(made, options=_options(a, [each.pipeline for each in rivals]))
    return replace(made, a=names[0], b=names[1], notes=(f"{search.tried:,} preparations were tried", *a.notes))


def _search(a: Prepared, own: Pipeline, inputs: Any, answers: Any) -> tuple[Search | Answers, str]:
    """The search for the preparation behind arrays, and the reason why it decides nothing; empty where it may."""
    if answers is not None:
        found = Answers(a.photo, own, a.model, a.entry, arrays_of(answers, "answers_b"))
        few = f"{quantity(found.count, 'number')} may have come of several preparations"
        return found, few if found.count <= FEW else a.fault
    arrays = arrays_of(inputs, "inputs_b")
    if a.entry.name not in arrays and len(arrays) != 1:
        raise UsageError(f"inputs_b has {some(arrays) or 'no arrays'}: one must have the input's name, {a.entry.name}")
    array = arrays.get(a.entry.name, next(iter(arrays.values())))
    constant = "all numbers of the other side are the same"
    return Search(a.photo, own, a.photo.canonical(array)), a.fault if array.min() < array.max() else constant


def _decided(rivals: Mapping[Scored, tuple[Decision, ...]], reason: str) -> Diff:
    """The verdict, from those that explain the numbers as well as any with as few differences from A as any."""
    sets, error = list(dict.fromkeys(rivals.values())), min(each.error for each in rivals)
    left = f"{rounded(error, 2)} levels of light are left"
    if not sets[0] and error <= EXPLAINED:
        return Diff("", "", "same", reason=f"A makes these numbers of the picture: {left}")
    if reason:
        return Diff("", "", "undecided", reason=reason)
    if error > EXPLAINED:
        nearest = "the nearest" if sets[0] else "A's own, the nearest"
        reason = f"no preparation that was tried explains the numbers: with {nearest}, {left}"
    elif len({tuple(decision.what for decision in each) for each in sets}) > 1:
        several = "; or ".join(
            " and ".join(f"{decision.what} ({decision.b})" for decision in each) for each in sets[:4]
        )
        reason = f"several explain the numbers as well: {several}"
    if reason:
        return Diff("", "", "undecided", reason=reason, preparation=sets[0])
    merged = (
        each[0]._replace(b=" or ".join(dict.fromkeys(decision.b for decision in each)))
        for each in zip(*sets, strict=True)
    )
    return Diff("", "", "prepared", preparation=tuple(merged), reason=left)


def _options(a: Prepared, pipelines: Sequence[Pipeline]) -> str:
    """The options of ``predict`` that prepare as the other side does; why there are none, where there are none."""
    for pipeline in pipelines:
        try:
            given = _preparation(pipeline)
            x = a.photo.canonical(apply(prepared(given, a.entry).steps, a.pixels))[0][1]
            apart = (x - a.photo.made(pipeline)) / pipeline.numbers.factor
        except (PortableNNError, ValueError):
            continue
        if float(np.sqrt(np.mean(np.square(apart)))) <= EXPLAINED:
            return _flags(given)
    return "none: portable-nn does not prepare pictures so"


def _preparation(pipeline: Pipeline) -> Preparation:
    """The preparation of this package that is nearest to a pipeline. Raises ``UsageError``."""
    frame = pipeline.frame
    mean, std = pipeline.numbers.normalised(1)
    if max(map(abs, (*mean, *std))) > 1:
        mean, std = pipeline.numbers.normalised(255)
    if frame.found:
        return Preparation("mnist", mean=mean, std=std)
    return Preparation(
        fit=frame.how,
        size=min(frame.scaled) if frame.how == "crop" else frame.size,
        crop=frame.size if frame.how == "crop" else None,
        method=pipeline.kernel if pipeline.kernel in get_args(Method) else None,  # type: ignore[arg-type]
        mean=mean,
        std=std,
        bgr=pipeline.colours == BGR or None,
    )


def _flags(given: Preparation) -> str:
    """A preparation as options of the command line; in Python, where these have no word for its filter."""
    names = {row.method: name for name, row in [*NAMED.items(), ("", UNIT)]}
    method = given.method or UNIT.method
    if method not in names:
        return f"in Python, preprocess={ {field: value for field, value in vars(given).items() if value is not None} }"
    mean, std = (
        ",".join(map("{:g}".format, each[:1] if len({*each}) == 1 else each)) for each in given.numbers if each
    )
    words = {
        "preprocess": given.name or names[method],
        "size": f"{_by(given.size)}:{given.fit}" if given.size else "",
        "crop": _by(given.crop) if given.crop else "",
        "mean": mean,
        "std": std,
        "layout": "bgr" if given.bgr else "",
    }
    return " ".join(f"--{option} {word}" for option, word in words.items() if word)


def _by(size: Any) -> str:
    return "x".join(map(str, np.atleast_1d(size)))


def arrays_of(given: Any, called: str) -> dict[str, Array]:
    """Arrays by name: those of a file, of a dict, or one alone.

    Raises ``UsageError`` where they hold other than finite numbers, and as ``open_tensors`` does.
    """
    if is_path(given):
        with open_tensors(given) as found:
            given = {name: found[name] for name in found}
    arrays = given if isinstance(given, Mapping) else {"": given}
    made = {str(name): as_array(array, f"{name and f'{name!r} of '}{called}") for name, array in arrays.items()}
    if not made:
        raise UsageError(f"{called} must hold arrays of finite numbers, and has none (objects and records are not)")
    for name, array in made.items():
        if array.dtype.kind not in NUMBERS or not array.size or not np.isfinite(array).all():
            raise UsageError(f"{name and f'{name!r} of '}{called} must hold finite numbers, and has others or none")
    return made
