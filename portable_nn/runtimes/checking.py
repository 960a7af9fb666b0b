"""Models in other runtimes and code bases: what each of them computes, compared with the numpy engine."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from portable_nn.analysis import Finding
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import PortableNNError, UnsupportedError, UsageError
from portable_nn.core.graph import Value, format_shape
from portable_nn.core.numbers import Count, Natural, NonNegative, Positive
from portable_nn.core.tensors import Array
from portable_nn.core.tolerances import RUNTIME_ATOL, RUNTIME_RTOL
from portable_nn.network import Network
from portable_nn.onnx.verification.differences import Difference, Tolerance, difference
from portable_nn.onnx.verification.drawing import batches_of, sizes_of
from portable_nn.outputs.reports import known_limits
from portable_nn.runtimes.cutting import Step
from portable_nn.runtimes.forms import Form
from portable_nn.runtimes.processes import Answer, Job, brief, run_jobs
from portable_nn.runtimes.report import RuntimeReport, RuntimeRow
from portable_nn.runtimes.subject import Feeds, Subject, subject_of
from portable_nn.runtimes.table import ALL, RUNTIMES, Runtime, chosen
from portable_nn.runtimes.task import Port


class Part(NamedTuple):
    """The part of a model that computes one value, and what that must be for ``feeds``."""

    form: Form
    inputs: tuple[Port, ...]
    output: Port
    feeds: Feeds
    expected: Mapping[str, Array]


def first_step(subject: Subject, form: Form, output: str, feeds: Feeds, agrees: Callable[[Part], bool]) -> Step | None:
    """The first node whose value, computed by a runtime from the inputs on, does not agree.

    Found by bisection of the nodes before ``output`` in their order, and then once more before each input of the node
    found that was not tried on the way.

    Args:
        subject: the model.
        form: the form of it that the runtime takes.
        output: an output that does not agree.
        feeds: inputs for which it does not.
        agrees: runs a part of the model in the runtime.
    """
    tried = {output: False}

    def good(name: str) -> bool:
        if name not in tried:
            part = _part(subject, form, name, feeds)
            tried[name] = part is None or agrees(part)
        return tried[name]

    value: str | None = output
    found = None
    while value is not None:
        nodes = form.steps(value)
        if not nodes:
            break
        low, high = -1, len(nodes) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if good(nodes[middle].value) else (low, middle)
        found = nodes[high]
        made = {each.value for each in nodes[:high]}
        value = next((name for name in found.inputs if name in made and not good(name)), None)
    return found


def _part(subject: Subject, form: Form, name: str, feeds: Feeds) -> Part | None:
    """The part up to a value; ``None`` where that depends on no input, or is nothing that can be compared."""
    part = form.part(name)
    taken = set(part.inputs())
    inputs = tuple(port for port in subject.inputs if port.name in taken)
    if not inputs:
        return None
    given = {port.name: feeds[port.name] for port in inputs}
    try:
        expected = subject.part_values(name, feeds)
    except PortableNNError:
        return None
    array = expected[name]
    port = Port(name, array.dtype.name, tuple(f"{name}:{axis}" for axis in range(array.ndim)))
    return Part(form.part(name, port), inputs, port, given, expected)


class Limits(NamedTuple):
    """The limits of differences between outputs, and of a process: seconds for a model, and bytes of memory."""

    tolerance: Tolerance
    timeout: float
    memory: int


@dataclass(frozen=True)
class Trial:
    """A model, inputs, and what it must compute from each of them; ``given`` is what known limits are looked up by."""

    given: str | Path | Network | None
    subject: Subject
    feeds: Sequence[Feeds]
    expected: Sequence[Mapping[str, Array]]

    @cached_property
    def is_open(self) -> bool:
        """True if a size of an input is symbolic."""
        return any(isinstance(dim, str) for port in self.subject.inputs for dim in port.shape)

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """The known faults of runtimes for the nodes of the model."""
        return () if self.given is None else known_limits(self.given)

    def whole(self, form: Form) -> list[Job]:
        """The model as it is."""
        return [Job(form.data(), self.subject.inputs, self.subject.outputs, self.feeds, form.suffix)]

    def fixed(self, form: Form) -> list[Job]:
        """The model for each of the inputs, with numbers for all sizes."""
        ends = self.subject.inputs, self.subject.outputs
        return [
            Job(form.fixed({**feeds, **found}).data(), *ends, [feeds], form.suffix)
            for feeds, found in zip(self.feeds, self.expected, strict=True)
        ]


class Verdict(NamedTuple):
    """The verdict on an answer: a row, and where it does not agree, the number of the inputs and the output."""

    row: RuntimeRow
    place: int = 0
    output: str = ""


def trial_of(model: str | Path | Network, seed: int) -> Trial:
    """A model with inputs. Raises as ``check_runtimes`` does."""
    subject = subject_of(model)
    feeds = subject.feeds(seed)
    return Trial(model, subject, feeds, subject.expected(feeds))


def refused(name: str) -> RuntimeRow:
    """The row of a runtime for a model that nothing can be compared of."""
    runtime = RUNTIMES[name]
    if runtime.version is None:
        return RuntimeRow(name, runtime.title, None, "not installed", reason=runtime.needs)
    return RuntimeRow(name, runtime.title, runtime.version, "refused")


def rows_of(name: str, trials: Sequence[Trial], limits: Limits, *, locate: bool) -> list[RuntimeRow]:
    """The rows of one runtime for several models, which run in one process as long as that lives."""
    runtime = RUNTIMES[name]
    version = runtime.version
    start = RuntimeRow(name, runtime.title, version, "not installed", reason=runtime.needs)
    if version is None:
        return [start] * len(trials)
    forms = [trial.subject.form(runtime) for trial in trials]
    answers = run_all(runtime, [jobs_of(form, trial.whole) for form, trial in zip(forms, trials, strict=True)], limits)
    verdicts = [_verdict(start, trial.expected, each, limits) for trial, each in zip(trials, answers, strict=True)]
    again = [place for place, found in enumerate(verdicts) if found.row.state != "agrees" and trials[place].is_open]
    answers = run_all(runtime, [jobs_of(forms[place], trials[place].fixed) for place in again], limits)
    for place, each in zip(again, answers, strict=True):
        found = _verdict(start, trials[place].expected, each, limits)
        verdicts[place] = found._replace(row=replace(found.row, sizes="fixed"))
    return [
        _explained(trial, form, found, runtime, limits) if locate else found.row
        for trial, form, found in zip(trials, forms, verdicts, strict=True)
    ]


def jobs_of(form: Form | str, make: Callable[[Form], Sequence[Job]]) -> Sequence[Job] | str:
    """The jobs of a form, or why there are none."""
    if isinstance(form, str):
        return form
    try:
        return make(form)
    except PortableNNError as error:
        return str(error)


def run_all(runtime: Runtime, attempts: Sequence[Sequence[Job] | str], limits: Limits) -> list[list[Answer]]:
    """The answers to the jobs of each attempt; where there are none, why."""
    jobs = [job for each in attempts if not isinstance(each, str) for job in each]
    ran = run_jobs(runtime.module, jobs, timeout=limits.timeout, memory=limits.memory)
    return [
        [Answer("refused", brief(each))] if isinstance(each, str) else [next(ran) for _ in each] for each in attempts
    ]


def _verdict(
    start: RuntimeRow, expected: Sequence[Mapping[str, Array]], answers: Sequence[Answer], limits: Limits
) -> Verdict:
    """The verdict on one answer for all of the inputs, or on one for each."""
    seconds = answers[0].seconds
    for place, answer in enumerate(answers):
        if answer.outcome != "ran":
            row = replace(start, state=answer.outcome, reason=answer.reason, seconds=seconds)
            return Verdict(row, place, next(iter(expected[0])))
    found = [outputs for answer in answers for outputs in answer.outputs]
    worst, wrong = dict[str, Difference](), Verdict(start)
    for place, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        for output, array in ours.items():
            gap = difference(theirs[output], array) if theirs[output].shape == array.shape else _ENDLESS
            worst[output] = worst.get(output, Difference()).or_more(gap)
            agrees = gap.max_abs_error <= limits.tolerance.allowed(array) and theirs[output].dtype == array.dtype
            if not agrees and not wrong.output:
                wrong = Verdict(replace(start, reason=_apart(output, array, theirs[output])), place, output)
    state, reason = ("differs", wrong.row.reason) if wrong.output else ("agrees", "")
    row = replace(start, state=state, reason=reason, outputs=worst, seconds=seconds)  # type: ignore[arg-type]
    return wrong._replace(row=row)


_ENDLESS = Difference(float("inf"), float("inf"))


def _apart(name: str, ours: Array, theirs: Array) -> str:
    """The difference of an output in its shape or type; the numbers are in the table."""
    if ours.shape == theirs.shape and ours.dtype == theirs.dtype:
        return ""
    wanted, found = (f"{each.dtype} {format_shape(each.shape)}" for each in (ours, theirs))
    return f"output '{name}' is {found} and should be {wanted}"


def _explained(trial: Trial, form: Form | str, verdict: Verdict, runtime: Runtime, limits: Limits) -> RuntimeRow:
    """The row with the first node that differs or fails, and what is known of it."""
    row = verdict.row
    if row.state == "agrees" or isinstance(form, str):
        return row

    def agrees(part: Part) -> bool:
        def jobs(whole: Form) -> list[Job]:
            fixed = whole.fixed({**part.feeds, **part.expected})
            return [Job(fixed.data(), part.inputs, (part.output,), [part.feeds], fixed.suffix)]

        [answers] = run_all(runtime, [jobs_of(part.form, jobs)], limits)
        return _verdict(row, [part.expected], answers, limits).row.state == "agrees"

    named = (step for output in trial.subject.outputs for step in form.steps(output.name) if str(step) in row.reason)
    step = next(named, None) or first_step(trial.subject, form, verdict.output, trial.feeds[verdict.place], agrees)
    words = re.compile(rf"\b{re.escape(runtime.title)}\b")
    about = [each for each in trial.findings if words.search(each.message)]
    here = [each for each in about if step and each.node == step.name] or about
    known = tuple(f"node '{each.node}': {each.message}" if each.node else each.message for each in here)
    return replace(row, node=" ".join(str(step or "").split()), explanations=known)


__all__ = ["check_runtimes"]

MEMORY: Final = 8 * 2**30
"""Bytes that a runtime may take."""

TIME: Final = 300.0
"""Seconds that a runtime may take for a model, with its start and the compilation."""


LIMITS: Final = Limits(Tolerance(RUNTIME_ATOL, RUNTIME_RTOL), TIME, MEMORY)
"""The limits where nobody has said others."""


@check_kinds
def check_runtimes(
    model: str | Path | Network,
    *,
    runtimes: str | Sequence[str] = ALL,
    rtol: NonNegative = RUNTIME_RTOL,
    atol: NonNegative = RUNTIME_ATOL,
    seed: Natural = 0,
    timeout: Positive = TIME,
    memory: Count = MEMORY,
    locate: bool = True,
) -> RuntimeReport:
    """Run a model in other runtimes and code bases, and compare what they compute with the numpy engine.

    >>> import portable_nn as pnn
    >>> report = pnn.check_runtimes("digits", runtimes="onnxruntime")  # or "openvino,tract", or "all"
    >>> report.passes()
    True

    Each runs in a process of its own, with one thread, on the inputs that verification draws: of several kinds, at two
    batch sizes, and at three numbers for any other symbolic size. A runtime gets the model as it is; where it refuses
    that or differs, it gets one with numbers in the place of symbolic sizes for each of the inputs, and its row says
    ``fixed``. Inputs of words are numbers in the network that ``import_onnx`` makes, which is then compared. Code
    bases (``torch``, ``jax``, ``keras``, ``numpy``, ``c``) get the network, and convert it. What
    crashes, hangs or is not installed is a row as well.

    Args:
        model: a network, which is written as ``export`` does by default, a shipped model, a weight file, or any ONNX
            file. Where numpy lacks an operator of that, runtimes are compared with onnxruntime.
        runtimes: their names in ``portable_nn.runtimes.RUNTIMES``, as a list or with commas; ``"all"`` for all.
        rtol: the allowed difference, relative to the largest magnitude in each output.
        atol: what is allowed in any case.
        seed: that of the inputs.
        timeout: the seconds that a runtime may take for a model.
        memory: the bytes that it may take, on systems that can limit them.
        locate: whether to find the first node at which a runtime differs or fails, by giving it parts of the model.

    Raises:
        UsageError: no runtime or no model has that name, or no inputs are found that fit the model.
        FileError, FormatError: the file cannot be read, or is no valid model.
    """
    if not 0 < timeout < math.inf or memory <= 0:
        raise UsageError(f"timeout and memory must be above 0, not {timeout:g} and {memory}")
    names = chosen(runtimes)
    limits = Limits(Tolerance(atol, rtol), timeout, memory)
    try:
        trial = trial_of(model, seed)
    except UnsupportedError as error:  # Nothing can be compared, which is an answer for each of them.
        nothing = tuple(map(refused, names))
        return RuntimeReport(error.path, "nothing", (), {}, limits.tolerance, nothing, brief(error.reason))
    rows = tuple(row for name in names for row in rows_of(name, [trial], limits, locate=locate))
    return RuntimeReport(
        trial.subject.name,
        trial.subject.reference,
        batches_of(trial.feeds),
        sizes_of([Value(*port) for port in trial.subject.inputs], trial.feeds),
        limits.tolerance,
        rows,
        trial.subject.note,
    )
