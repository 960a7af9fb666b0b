"""Trials of models in runtimes and code bases, and the verdict on what each of them computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from portable_nn.analysis import Finding
from portable_nn.core.errors import PortableNNError
from portable_nn.core.tensors import Array
from portable_nn.core.tolerances import RUNTIME_ATOL, RUNTIME_RTOL
from portable_nn.network import Network
from portable_nn.onnx.verification.differences import Tolerance, differences, kind_of, largest
from portable_nn.outputs.reports import known_limits
from portable_nn.runtimes.forms import Form
from portable_nn.runtimes.processes import Answer, Job, brief, run_jobs
from portable_nn.runtimes.report import RuntimeRow
from portable_nn.runtimes.subject import Feeds, Subject, subject_of
from portable_nn.runtimes.table import RUNTIMES, Runtime


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
    """The verdict on an answer: a row, and the number of the inputs on which it does not agree."""

    row: RuntimeRow
    place: int = 0


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


def verdicts_of(name: str, trials: Sequence[Trial], limits: Limits) -> list[Verdict]:
    """The verdicts on one runtime for several models, which run in one process as long as that lives."""
    runtime, start = RUNTIMES[name], refused(name)
    if start.version is None:
        return [Verdict(start)] * len(trials)
    forms = [trial.subject.form(runtime) for trial in trials]
    answers = run_all(runtime, [jobs_of(form, trial.whole) for form, trial in zip(forms, trials, strict=True)], limits)
    verdicts = [_verdict(start, trial.expected, each, limits) for trial, each in zip(trials, answers, strict=True)]
    again = [place for place, found in enumerate(verdicts) if found.row.state != "agrees" and trials[place].is_open]
    answers = run_all(runtime, [jobs_of(forms[place], trials[place].fixed) for place in again], limits)
    for place, each in zip(again, answers, strict=True):
        found = _verdict(start, trials[place].expected, each, limits)
        verdicts[place] = found._replace(row=replace(found.row, sizes="fixed"))
    return verdicts


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
            return Verdict(row, place)
    computed = [outputs for answer in answers for outputs in answer.outputs]
    apart = [differences(theirs, ours) for ours, theirs in zip(expected, computed, strict=True)]
    row = replace(start, state="agrees", outputs=largest(apart), seconds=seconds)
    for place, (ours, theirs) in enumerate(zip(expected, computed, strict=True)):
        for pair in (limits.tolerance.pair(name, theirs[name], array) for name, array in ours.items()):
            if not pair.admits(apart[place][pair.name]):  # The numbers are in the table.
                found, wanted = kind_of(pair.ours), kind_of(pair.theirs)
                reason = f"output '{pair.name}' is {found} and should be {wanted}" if found != wanted else ""
                return Verdict(replace(row, state="differs", reason=reason), place)
    return Verdict(row)


MEMORY: Final = 8 * 2**30
"""Bytes that a runtime may take."""

TIME: Final = 300.0
"""Seconds that a runtime may take for a model, with its start and the compilation."""


LIMITS: Final = Limits(Tolerance(RUNTIME_ATOL, RUNTIME_RTOL), TIME, MEMORY)
"""The limits where nobody has said others."""
