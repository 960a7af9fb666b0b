"""``diff``: whether two models are the same, and where they part."""

from __future__ import annotations

import filecmp
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from portable_nn.comparison.alignment import Alignment
from portable_nn.comparison.bodies import in_bodies
from portable_nn.comparison.cases import check_new, write_case
from portable_nn.comparison.elsewhere import Elsewhere, side_in
from portable_nn.comparison.ends import (
    given_inputs,
    other_ends,
    pair_outputs,
    rounds_of,
    unlike_ends,
    unread_inputs,
    with_read_inputs,
)
from portable_nn.comparison.explaining import Prepared, arrays_of, explained, prepared_by
from portable_nn.comparison.report import Diff, Verdict
from portable_nn.comparison.side import Side
from portable_nn.comparison.steps import unpacked
from portable_nn.comparison.structure import ROUNDED, WeightGap, weight_gaps
from portable_nn.comparison.unseen import unseen
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.foreign_values import is_path
from portable_nn.core.numbers import Natural
from portable_nn.core.tensors import Array
from portable_nn.core.text import some
from portable_nn.network import Network
from portable_nn.onnx.branches import without_functions
from portable_nn.onnx.storage.external import external_tensors
from portable_nn.onnx.storage.files import read_alone
from portable_nn.onnx.verification.differences import Difference, Tolerance, difference, largest
from portable_nn.opening.kinds import resolve
from portable_nn.prediction.arrays import are_pictures
from portable_nn.prediction.options import Preprocess
from portable_nn.runtimes.subject import Feeds, Subject, subject_of

__all__ = ["diff"]

FAR: Final = 0.01
"""The relative difference of an output up to which roundings may add up on the way through a whole model."""

FAR_IN_STEPS: Final = 0.2
"""The same limit where one of the models is quantised."""


@check_kinds
def diff(
    a: Any,
    b: Any = None,
    *,
    inputs: Any = None,
    inputs_b: Any = None,
    answers_b: Any = None,
    preprocess: Preprocess | None = None,
    runtime_b: str | None = None,
    repro: str | Path | None = None,
    seed: Natural = 0,
) -> Diff:
    """Say whether two models are the same, and if not, where they part.

    >>> import portable_nn as pnn
    >>> pnn.diff("digits", "digits").verdict
    'identical'

    Both run in onnxruntime, each node as it stands, on the same inputs; a node of ``b`` is compared with one of ``a``
    from the same predecessors. A difference counts where it exceeds what rounding can explain, or ten times what it
    probably does.

    With ``inputs_b`` or ``answers_b``, the numbers that another program made of a picture are explained: order of
    colours, scale, mean and deviation are solved for, and kernels, crops, letterboxes, EXIF and softmax are tried.

    Args:
        a: a model: the path of a file, the name of a shipped one, a network, a parsed ONNX file, or an object of
            PyTorch, Keras, scikit-learn, or another code base that ``from_object`` knows.
        b: another one; it may be left out where ``inputs_b`` or ``answers_b`` are given.
        inputs: finite numbers for both: arrays by the names of the inputs of ``a``, one array, the path of a file of
            either, or a picture; otherwise they are drawn.
        inputs_b: the array that another program made of the picture for the same network: the path of an npy or npz
            file, an array, or several by name.
        answers_b: what came out of the network there, instead.
        preprocess: how ``a`` prepares the picture, as ``predict`` takes it; by default as the model says.
        runtime_b: the runtime in which ``b`` runs, which may be the same model as ``a``: one of
            ``portable_nn.runtimes.RUNTIMES``, where each node runs alone as well; ``onnxruntime-basic`` or
            ``onnxruntime-extended`` is the model as onnxruntime optimises it.
        repro: a new folder: where the models part, the first place is written there as a case to send, with the nodes
            of each as a model, the inputs and outputs, and a script that needs onnx and onnxruntime alone.
        seed: that of the inputs.

    Raises:
        UsageError: there is no such model or runtime, ``repro`` exists, or arguments do not belong together.
        ShapeError: the inputs do not fit.
        FileError, FormatError, UnsupportedError: a file cannot be read, or onnxruntime cannot run it.
    """
    check_new(repro)
    photo = _photo(a, b, inputs, (inputs_b, answers_b), preprocess)
    found, aligned = Diff("", "", "same"), None
    if b is not None:
        called = str(inputs) if is_path(inputs) else "inputs"
        arrays = photo.feeds if photo else None if inputs is None else arrays_of(inputs, called)
        found, aligned = _compared(a, b, arrays, seed, runtime_b, called, with_case=repro is not None)
    theirs = answers_b if inputs_b is None else inputs_b
    if photo and found.same and theirs is not None:
        found = explained(photo, inputs_b, answers_b, (_name(a, "A"), _name(theirs, "the other side")))
    if repro is None:
        return found
    if aligned is None or not aligned.partings:
        return replace(found, notes=(*found.notes, f"{repro}: not written, as no nodes are found that differ"))
    write_case(Path(repro), aligned, (found.a, found.b))
    return found


def _photo(a: Any, b: Any, inputs: Any, theirs: tuple[Any, Any], preprocess: Preprocess | None) -> Prepared | None:
    """The picture among the inputs as A prepares it, if there is one. Raises ``UsageError`` where it is missing."""
    is_photo, given = inputs is not None and are_pictures(inputs), sum(each is not None for each in theirs)
    if given > 1 or (given and not is_photo) or (b is None and not given):
        raise UsageError(
            "expected another model b, or a picture and either inputs_b or answers_b, the numbers of another program"
        )
    if not is_photo:
        return None
    if _is_model(a) and type(a).__name__ != "ModelProto":
        return prepared_by(a, inputs, preprocess)
    network = _subject(a).network
    if isinstance(network, Network):
        return prepared_by(network, inputs, preprocess)
    raise UsageError(f"{_name(a)}: pictures are prepared for networks and for models in files: {network}")


def _compared(
    a: Any, b: Any, inputs: Mapping[str, Any] | None, seed: int, runtime_b: str | None, called: str, *, with_case: bool
) -> tuple[Diff, Alignment | None]:
    """The result, and both models side by side: where the graphs are the same, if a case is wanted."""
    if runtime_b is None and _same_file(a, b):
        return Diff(_name(a), _name(b), "identical", seed=seed), None
    whole = _subjects(a, b, inputs, seed)
    read = [*map(with_read_inputs, whole)]
    one, other = _sides(read[0], read[1], runtime_b)
    where = "" if runtime_b is None else f" in {other.runs_in or runtime_b}"
    made = partial(Diff, _name(a, one.name), _name(b, other.name) + where, seed=seed)
    arrays = None if inputs is None else given_inputs(one, inputs, called)
    left = (*unread_inputs(whole, read), *pair_outputs(one, other), *other_ends(one, other))
    if fault := unlike_ends(one, other):
        return made("parted", reason=fault), None
    if not isinstance(other, Elsewhere) and (weights := weight_gaps(one, other)) is not None:
        if reason := _but_rounded(weights):
            return made("same", reason=reason, notes=left), None
        rounds = rounds_of(one, other, arrays, seed)
        outputs = _differences(one, other, one.run(rounds[0], {}), other.run(rounds[1], {}))
        result = made("weights", weights=tuple(weights), outputs=outputs, notes=(*left, *_unshown(outputs)))
        return result, _aligned(one, other, rounds, seed)[0] if with_case else None
    try:
        rounds = rounds_of(one, other, arrays, seed)
        found, outputs, notes = _aligned(one, other, rounds, seed)
    except PortableNNError as error:
        return made("undecided", reason=f"no inputs are found on which both run: {error}", notes=left), None
    found.partings[:] = map(partial(in_bodies, found), found.partings)
    verdict, reason = _verdict(found, {} if notes else outputs, drawn=inputs is None)
    result = made(
        verdict,
        reason=reason,
        partings=tuple(found.partings),
        outputs=dict(zip(one.outputs, outputs.values(), strict=True)),
        notes=(*left, *notes),
        matched=(len(found.given), len(other.dependent)),
        pairs=tuple(found.pairs()),
    )
    if found.one is other:
        result = result.turned(len(found.met.intersection(other.dependent)))
    return _in_runtime(result, other, rounds[1]) if isinstance(other, Elsewhere) else result, found


def _but_rounded(weights: Sequence[WeightGap]) -> str:
    """The reason why models of one graph are the same, where all constants that differ are rounded otherwise."""
    if any(each.how != ROUNDED for each in weights):
        return ""
    names = some(each.name_b for each in weights)
    return "the same nodes and weights" + (names and f", but for the rounding of {names}")


def _unshown(outputs: Mapping[str, Difference]) -> list[str]:
    """The note where no output shows that weights differ."""
    note = "no output differs on these inputs: others may show it, such as some of yours (INPUTS, inputs=)"
    return [] if any(each.max_abs_error for each in outputs.values()) else [note]


def _sides(first: Subject, second: Subject, runtime_b: str | None) -> tuple[Side, Side]:
    """Both models; of one that is quantised, and the other not, each number that a whole one stands for is a value."""
    one, other = Side(first, "A"), Side(second) if runtime_b is None else side_in(runtime_b, second)
    if runtime_b is not None or one.is_quantised == other.is_quantised:
        return one, other
    return (Side(unpacked(first), "A"), other) if one.is_quantised else (one, Side(unpacked(second)))


def _in_runtime(found: Diff, side: Elsewhere, rounds: Sequence[Feeds]) -> Diff:
    """The result with what a runtime does not run; and where the model as it is goes wrong, if no node does alone."""
    if side.refused:
        left = f"{side.runs_in} does not run these nodes alone, and has the values of onnxruntime there"
        found = replace(found, notes=(*found.notes, f"{left}: {some(map(side.label, side.refused))}"))
    if found.verdict == "parted" or (found.verdict == "same" and not side.fault):
        return found
    reason = f"{side.runs_in} does not run the model as it is ({side.fault})" if side.fault else found.reason
    side.limits = side.limits._replace(tolerance=Tolerance(0.0, FAR))
    first = next(filter(None, map(side.first, rounds)), "")
    return replace(found, verdict="undecided", reason=f"{reason}; first at {first}" if first else reason)


def _aligned(
    one: Side, other: Side, rounds: tuple[Sequence[Feeds], Sequence[Feeds]], seed: int
) -> tuple[Alignment, dict[str, Difference], tuple[str, ...]]:
    """Both models side by side, the differences of their outputs, and a note where values had to be drawn."""
    if not isinstance(other, Elsewhere) and one.coarseness > other.coarseness:
        one, other, rounds = other, one, rounds[::-1]
    found = Alignment(one, other, rounds)
    found.align()
    outputs = _differences(one, other, found.theirs, found.plain)
    if found.partings or not (drawn := found.idle(np.random.default_rng(seed))):
        return found, outputs, ()
    found = Alignment(one, other, rounds, drawn)
    found.align()
    return found, outputs, (f"drawn, as they hardly vary on the inputs: {some(drawn)}",)


def _verdict(found: Alignment, outputs: Mapping[str, Difference], *, drawn: bool) -> tuple[Verdict, str]:
    first = next(iter(found.partings), None)
    if first and drawn and first.value_b in found.saturated:
        where = f"on the random inputs {first.nodes_b[-1]} {first.why}"
        return "undecided", f"{where}; inputs of the kind that it is quantised for (INPUTS, inputs=) would decide"
    if first and found.is_stepped_twice(first):
        return (
            "undecided",
            f"at {first.nodes_b[-1]} they differ, and both are quantised: each beside the model of floats says more",
        )
    if any(each.shown == "beyond rounding" for each in found.partings):
        return "parted", ""
    if first:
        if math.isinf(first.likely):
            return "undecided", f"at {first.nodes_b[-1]} the models differ, and no bound of rounding is known there"
        return "undecided", f"a difference at {first.nodes_b[-1]} is ten times what rounding probably explains"
    if why := next(_open_questions(found, outputs, drawn), ""):
        return "undecided", why
    if types := found.narrower():
        worst = max(outputs.values(), key=lambda each: each.max_rel_error, default=Difference())
        error = f"{worst.max_abs_error:.1e}, {worst.max_rel_error:.1e} of the largest magnitude"
        explained_by = f"one of them is in {', '.join(types)}, which explains all differences"
        return "same", f"{explained_by}; the largest of an output is {error}"
    return "same", "on all inputs that were tried, nothing differs that rounding does not explain"


def _open_questions(found: Alignment, outputs: Mapping[str, Difference], drawn: bool) -> Iterator[str]:
    """The reasons why models are not said to be the same, though no nodes are found that differ."""
    yield from found.open_ends()
    for name, gap in found.gaps.items():
        if name in found.given and gap.is_open:
            yield f"of {found.other.label(name)}, no bound of rounding is known, and its values differ"
    yield from (f"output '{name}' has no counterpart" for name in found.unmet)
    yield from (f"nodes agree as far as their type says, but not {each}" for each in found.other_weights())
    yield from () if isinstance(found.other, Elsewhere) else unseen(found, drawn=drawn)
    for name, difference_of_output in outputs.items():
        far = FAR_IN_STEPS if found.steps else FAR
        most = far if name in found.one.dependent else 0.0  # Nothing is rounded on the way to a constant.
        if difference_of_output.max_rel_error > most:
            yield f"every node agrees by itself, but output '{name}' as a whole is another"


def _subjects(a: Any, b: Any, inputs: Mapping[str, Any] | None, seed: int) -> list[Subject]:
    """Both models. Where a converter needs an example, it is what the inputs say, or what the other model takes."""
    found = {place: _subject(model) for place, model in enumerate((a, b)) if not _needs_example(model)}
    for place, model in enumerate((a, b)):
        if place not in found:
            arrays = inputs or (found[1 - place].feeds(seed)[-1] if found else None)
            found[place] = _subject(model, {"example": tuple(arrays.values())} if arrays else {})
    return [_inlined(found[place]) for place in sorted(found)]


def _is_model(value: Any) -> bool:
    """True if it is a path, a network, or a parsed file, and no object of another code base."""
    return isinstance(value, (str, Path, Network)) or type(value).__name__ == "ModelProto"


def _needs_example(model: Any) -> bool:
    from portable_nn.converters.registry import converter_of

    found = None if _is_model(model) else converter_of(model)
    return found is not None and found.from_object is not None and "example" in signature(found.from_object).parameters


def _subject(model: Any, options: Mapping[str, Any] = MappingProxyType({})) -> Subject:
    if _is_model(model):
        return subject_of(model, edited=True)
    from portable_nn.converters.registry import from_object

    return subject_of(from_object(model, **options))


def _inlined(subject: Subject) -> Subject:
    """A model without functions of its own: their nodes are compared."""
    if not subject.model.functions:
        return subject
    return replace(subject, model=without_functions(subject.model, subject.name))


def _name(model: Any, otherwise: str = "") -> str:
    return str(model) if isinstance(model, (str, Path)) else otherwise or type(model).__name__


def _same_file(a: Any, b: Any) -> bool:
    if not all(isinstance(each, (str, Path)) for each in (a, b)):
        return False
    one, other = resolve(a), resolve(b)
    return one.samefile(other) or (filecmp.cmp(one, other, shallow=False) and not _has_parts(one))


def _has_parts(path: Path) -> bool:
    """True if a file of ONNX has tensors in other files."""
    return path.suffix.lower() == ".onnx" and bool(external_tensors(read_alone(path)))


def _differences(
    one: Side, other: Side, ours: Sequence[Mapping[str, Array]], theirs: Sequence[Mapping[str, Array]]
) -> dict[str, Difference]:
    """The largest differences of the outputs, by their names in the first model."""
    names = dict(zip(one.outputs, other.outputs, strict=True))
    return largest(
        {name: difference(other.output(with_name, its), one.output(name, mine)) for name, with_name in names.items()}
        for mine, its in zip(ours, theirs, strict=True)
    )
