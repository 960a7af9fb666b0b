"""Models on trial in a runtime: as they are, then with numbers in the place of symbolic sizes, then in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from portable_nn.analysis import Finding
from portable_nn.core.graph import format_shape
from portable_nn.format.tensors import Array
from portable_nn.model_files.reports import check
from portable_nn.network import Network
from portable_nn.onnx.verification.differences import Difference, Tolerance, difference
from portable_nn.onnx.writing import to_bytes
from portable_nn.runtimes.cutting import with_sizes
from portable_nn.runtimes.locating import Part, first_step
from portable_nn.runtimes.processes import Answer, Job, run_jobs
from portable_nn.runtimes.report import Row
from portable_nn.runtimes.subject import Feeds, Subject, subject_of
from portable_nn.runtimes.table import RUNTIMES, Runtime


class Limits(NamedTuple):
    """How far outputs may differ, and what a process may take: seconds for a model, and bytes of memory."""

    tolerance: Tolerance
    timeout: float
    memory: int


@dataclass(frozen=True)
class Trial:
    """A model, inputs, and what it must compute from each of them; ``given`` is what the caller called the model."""

    given: str | Path | Network
    subject: Subject
    feeds: Sequence[Feeds]
    expected: Sequence[Mapping[str, Array]]

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes."""
        first = (next((len(array) for array in each.values() if array.ndim), 1) for each in self.feeds)
        return tuple(dict.fromkeys(first))

    @cached_property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """The numbers that each symbolic size had, but for the batch."""
        found: dict[str, dict[int, None]] = {}
        for feeds in self.feeds:
            for port in self.subject.inputs:
                for dim, number in zip(port.shape[1:], feeds[port.name].shape[1:], strict=True):
                    if isinstance(dim, str):
                        found.setdefault(dim, {})[number] = None
        return {name: tuple(numbers) for name, numbers in found.items()}

    @cached_property
    def is_open(self) -> bool:
        """Whether a size of an input is symbolic."""
        return any(isinstance(dim, str) for port in self.subject.inputs for dim in port.shape)

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """What ``check`` reports of the model."""
        return check(self.given).findings

    def whole(self) -> Job:
        """The model as it is."""
        return Job(to_bytes(self.subject.model), self.subject.inputs, self.subject.outputs, self.feeds)

    def fixed(self) -> list[Job]:
        """The model for each of the inputs, with numbers for all sizes."""
        ends = self.subject.inputs, self.subject.outputs
        return [
            Job(to_bytes(with_sizes(self.subject.model, {**feeds, **found})), *ends, [feeds])
            for feeds, found in zip(self.feeds, self.expected, strict=True)
        ]


class Verdict(NamedTuple):
    """How an answer compares: a row, and where it does not agree, the number of the inputs and the output."""

    row: Row
    place: int = 0
    output: str = ""


def trial_of(model: str | Path | Network, seed: int) -> Trial:
    """A model with inputs. Raises as ``check_runtimes`` does."""
    subject = subject_of(model)
    feeds = subject.feeds(seed)
    return Trial(model, subject, feeds, subject.expected(feeds))


def rows_of(name: str, trials: Sequence[Trial], limits: Limits, *, locate: bool) -> list[Row]:
    """The rows of one runtime for several models, which run in one process as long as that lives."""
    runtime = RUNTIMES[name]
    version = runtime.version
    start = Row(name, runtime.title, version, "not installed", reason=runtime.needs)
    if version is None:
        return [start] * len(trials)
    answers = _run(runtime, [trial.whole() for trial in trials], limits)
    verdicts = [
        _verdict(start, trial.expected, [answer], limits) for trial, answer in zip(trials, answers, strict=True)
    ]
    again = [place for place, found in enumerate(verdicts) if found.row.state != "agrees" and trials[place].is_open]
    jobs = [trials[place].fixed() for place in again]
    fixed = iter(_run(runtime, [job for each in jobs for job in each], limits))
    for place, each in zip(again, jobs, strict=True):
        found = _verdict(start, trials[place].expected, [next(fixed) for _ in each], limits)
        verdicts[place] = found._replace(row=replace(found.row, sizes="fixed"))
    return [_explained(trial, found, runtime, limits, locate) for trial, found in zip(trials, verdicts, strict=True)]


def _run(runtime: Runtime, jobs: Sequence[Job], limits: Limits) -> list[Answer]:
    return list(run_jobs(runtime.module, jobs, timeout=limits.timeout, memory=limits.memory)) if jobs else []


def _verdict(start: Row, expected: Sequence[Mapping[str, Array]], answers: Sequence[Answer], limits: Limits) -> Verdict:
    """What one answer for all of the inputs, or one for each, comes to."""
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
    """How an output differs in its shape or type; the numbers are in the table."""
    if ours.shape == theirs.shape and ours.dtype == theirs.dtype:
        return ""
    wanted, found = (f"{each.dtype} {format_shape(each.shape)}" for each in (ours, theirs))
    return f"output '{name}' is {found} and should be {wanted}"


def _explained(trial: Trial, verdict: Verdict, runtime: Runtime, limits: Limits, locate: bool) -> Row:
    """The row with the first node that differs or fails, and what is known of it."""
    row = verdict.row
    if row.state == "agrees" or not locate:
        return row

    def agrees(part: Part) -> bool:
        model = with_sizes(part.model, {**part.feeds, **part.expected})
        job = Job(to_bytes(model), part.inputs, (part.output,), [part.feeds])
        return _verdict(row, [part.expected], _run(runtime, [job], limits), limits).row.state == "agrees"

    step = first_step(trial.subject, verdict.output, trial.feeds[verdict.place], agrees)
    words = (runtime.title, *runtime.names)
    about = [each for each in trial.findings if any(word in each.message for word in words)]
    here = [each for each in about if step and each.node == step.name] or about
    known = tuple(f"node '{each.node}': {each.message}" if each.node else each.message for each in here)
    return replace(row, node=str(step or ""), explanations=known)
