"""A side of a comparison in another runtime, or as onnxruntime optimises it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from onnx import ModelProto

from portable_nn.comparison.side import Side, Values
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.runtime import runtime
from portable_nn.core.tensors import Array
from portable_nn.core.text import either
from portable_nn.onnx.verification.differences import largest_gap
from portable_nn.onnx.writing import to_bytes
from portable_nn.runtimes.checking import LIMITS, Limits, Trial, jobs_of, run_all
from portable_nn.runtimes.forms import OnnxForm
from portable_nn.runtimes.processes import Answer, Job
from portable_nn.runtimes.subject import Feeds, Subject, subject_of
from portable_nn.runtimes.table import RUNTIMES
from portable_nn.runtimes.task import Port, port_of

LEVELS: Final[Mapping[str, str]] = {
    "onnxruntime-basic": "ORT_ENABLE_BASIC",
    "onnxruntime-extended": "ORT_ENABLE_EXTENDED",
}
"""Levels to which onnxruntime optimises a model, in the operators that it has on all machines."""

Key: TypeAlias = tuple[str, bytes]
"""A value, and the digest of the values that it is computed from, with their names."""


def side_in(name: str, subject: Subject) -> Side:
    """A model in a runtime. Raises ``UsageError`` where there is none of that name, or it is not installed."""
    if name in LEVELS:
        return Side(_optimised(subject, LEVELS[name]))
    if name not in RUNTIMES:
        raise UsageError(f"the runtime of B must be among {either({**LEVELS, **RUNTIMES})}, not '{name}'")
    if RUNTIMES[name].version is None:
        raise UsageError(f"{RUNTIMES[name].title}, as the runtime of B, is not installed: {RUNTIMES[name].needs}")
    return Elsewhere(subject, name)


def _optimised(subject: Subject, level: str) -> Subject:
    """The model that onnxruntime makes of one before it runs it."""
    options = runtime().SessionOptions()
    options.graph_optimization_level = getattr(runtime().GraphOptimizationLevel, level)
    options.log_severity_level = 4
    with TemporaryDirectory(prefix="portable-nn-") as folder:
        options.optimized_model_filepath = str(Path(folder, "model.onnx"))
        runtime().InferenceSession(to_bytes(subject.model), options, providers=["CPUExecutionProvider"])
        made = subject_of(Path(folder, "model.onnx"), edited=True)
    return replace(made, name=subject.name)


class Elsewhere(Side):
    """A model in another runtime: the outputs are those of the model as it is, other values those of each node alone.

    A node gets what onnxruntime computes before it, or what is given. Where a runtime does not run a node alone, its
    value is that of onnxruntime.

    Attributes:
        fault: why it does not run the model as it is; empty where it does.
        refused: by value, why it does not compute that alone.
    """

    def __init__(self, subject: Subject, runtime_name: str, limits: Limits = LIMITS) -> None:
        super().__init__(subject)
        self.runtime, self.limits = RUNTIMES[runtime_name], limits
        self.runs_in = f"{self.runtime.title} {self.runtime.version}"
        self.fault, self.refused = "", dict[str, str]()
        self._answers = dict[Key, Answer]()

    def run(self, rounds: Sequence[Feeds], given: Mapping[str, Sequence[Array]]) -> list[dict[str, Array]]:
        """All values for each of the inputs. Raises as a side does that onnxruntime runs."""
        found = super().run(rounds, given)
        seen = [
            {**feeds, **values, **{name: arrays[place] for name, arrays in given.items()}}
            for place, (feeds, values) in enumerate(zip(rounds, found, strict=True))
        ]
        own = [name for name in self.dependent if name not in given]
        for names in (own, [name for name in self.dependent if name in given]):
            for name, place, array in self._alone(names, seen):
                found[place][name] = array.astype(found[place][name].dtype, copy=False)
            for known, values in zip(seen, found, strict=True):
                known.update({name: values[name] for name in own})
        for name, place, array in [] if given else self._whole(rounds, found):
            found[place][name] = array.astype(found[place][name].dtype, copy=False)
        return found

    def first(self, feeds: Feeds) -> str:
        """The first node up to which the model, cut there, fails or differs, as where several nodes are made one.

        Found by bisection of the nodes before an output in their order, and then once more before each input of the
        node found.
        """
        known, ends = {**feeds, **super().run([feeds], {})[0], **self.subject.values(feeds)}, set[str]()
        tried = dict[str, bool]()

        def good(name: str) -> bool:
            if name not in tried:
                tried[name] = self._agrees(name, known)
            return tried[name]

        value = next((name for name in self.outputs if name in self.maker and not good(name)), None)
        found = ""
        while value is not None:
            way = self.before([value], ends)
            low, high = -1, len(way) - 1
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if good(way[middle]) else (low, middle)
            found = self.label(way[high])
            value = next((name for name in self.reads(way[high]) if name in way[:high] and not good(name)), None)
        return found

    def _agrees(self, name: str, known: Mapping[str, Array]) -> bool:
        """True if the runtime computes a value as it is ``known``, of the part of the model up to it."""
        self.refused.pop(name, None)
        found, most = self._alone([name], [known], ()), self.limits.tolerance.allowed(known[name])
        return name not in self.refused and all(largest_gap(array, known[name]) <= most for *_, array in found)

    def _whole(self, rounds: Sequence[Feeds], found: Values) -> list[tuple[str, int, Array]]:
        """The outputs of the model as it is, if need be with numbers for all sizes."""
        trial, form = Trial(None, self.subject, rounds, found), self.subject.form(self.runtime)
        for make in (trial.whole, trial.fixed):
            [answers] = run_all(self.runtime, [jobs_of(form, make)], self.limits)
            failed = [each for each in answers if each.outcome != "ran"]
            self.fault = f"{failed[0].outcome}: {failed[0].reason}" if failed else ""
            if not failed:
                outputs = (outputs for answer in answers for outputs in answer.outputs)
                return [
                    (name, place, array)
                    for place, each in enumerate(outputs)
                    for name, array in each.items()
                    if name in found[place]
                ]
        return []

    def _jobs(self, part: ModelProto, feeds: Sequence[Feeds], output: Port) -> Sequence[Job] | str:
        """The task of running a part of the model, or why there is none."""
        ends = tuple(port_of(*each) for each in feeds[0].items()), (output,)
        try:
            form = OnnxForm(part) if self.runtime.takes == "onnx" else subject_of(part, edited=True).form(self.runtime)
        except PortableNNError as error:
            return str(error)
        return jobs_of(form, lambda form: [Job(form.data(), *ends, feeds, form.suffix)])

    def _alone(
        self, names: Sequence[str], seen: Values, given: Collection[str] | None = None
    ) -> list[tuple[str, int, Array]]:
        """The values of nodes, each computed from what is ``seen`` before it, or only from those ``given``."""
        waiting: dict[Key, tuple[ModelProto, list[Feeds], Port]] = {}
        keys = dict[Key, list[int]]()
        for name, places in product(names, _of_equal_shapes(seen)):
            known = seen[places[0]]
            part = self.part(name, known, known.keys() if given is None else given)
            feeds: list[Feeds] = [{each.name: seen[place][each.name] for each in part.graph.input} for place in places]
            data = b"".join(array.tobytes() for each in feeds for array in each.values())
            if not part.graph.input:
                continue
            keys[key := (name, sha256(f"{places} {[*feeds[0]]}".encode() + data).digest())] = places
            if key not in self._answers:
                waiting[key] = part, feeds, port_of(name, known[name])
        ran = run_all(self.runtime, [self._jobs(*each) for each in waiting.values()], self.limits)
        self._answers |= {key: answer for key, [answer] in zip(waiting, ran, strict=True)}
        self.refused |= {key[0]: self._answers[key].reason for key in keys if self._answers[key].outcome != "ran"}
        return [
            (key[0], place, outputs[key[0]])
            for key, places in keys.items()
            for place, outputs in zip(places, self._answers[key].outputs, strict=False)
        ]


def _of_equal_shapes(seen: Values) -> Iterable[list[int]]:
    """The places of examples, those together whose values have the same shapes."""
    groups: dict[object, list[int]] = {}
    for place, known in enumerate(seen):
        groups.setdefault(tuple(array.shape for array in known.values()), []).append(place)
    return groups.values()
