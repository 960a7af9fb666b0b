"""Models in other runtimes and code bases: what each of them computes, compared with the numpy engine."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from portable_nn.comparison.alignment import Alignment
from portable_nn.comparison.elsewhere import Elsewhere
from portable_nn.comparison.side import Side
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import PortableNNError, UnsupportedError, UsageError
from portable_nn.core.graph import Value
from portable_nn.core.numbers import Count, Natural, NonNegative, Positive
from portable_nn.core.tolerances import RUNTIME_ATOL, RUNTIME_RTOL
from portable_nn.network import Network
from portable_nn.onnx.verification.differences import Tolerance
from portable_nn.onnx.verification.drawing import batches_of, sizes_of
from portable_nn.runtimes.checking import MEMORY, TIME, Limits, Trial, Verdict, refused, trial_of, verdicts_of
from portable_nn.runtimes.processes import brief
from portable_nn.runtimes.report import RuntimeReport, RuntimeRow
from portable_nn.runtimes.table import ALL, chosen

__all__ = ["check_runtimes"]


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
    verdicts = [verdicts_of(name, [trial], limits)[0] for name in names]
    rows = tuple(_explained(trial, each, limits) if locate else each.row for each in verdicts)
    return RuntimeReport(
        trial.subject.name,
        trial.subject.reference,
        batches_of(trial.feeds),
        sizes_of([Value(*port) for port in trial.subject.inputs], trial.feeds),
        limits.tolerance,
        rows,
        trial.subject.note,
    )


def _explained(trial: Trial, verdict: Verdict, limits: Limits) -> RuntimeRow:
    """The row with the first node that differs or fails, and what is known of it."""
    row, node = verdict.row, ""
    if row.state in ("agrees", "not installed"):
        return row
    with suppress(PortableNNError):  # It cannot be cut.
        node = _first(trial, verdict, Elsewhere(trial.subject, row.runtime, limits))
    words = re.compile(rf"\b{re.escape(row.title)}\b")
    about = [each for each in trial.findings if words.search(each.message)]
    here = [each for each in about if node.startswith(f"'{each.node}' (")] or about
    known = tuple(f"node '{each.node}': {each.message}" if each.node else each.message for each in here)
    return replace(row, node=" ".join(node.split()), explanations=known)


def _first(trial: Trial, verdict: Verdict, side: Elsewhere) -> str:
    """The first node that differs or fails: one that its reason names, or that does so alone, or a part up to one."""
    if named := [label for label in map(side.label, side.dependent) if label in verdict.row.reason]:
        return named[0]
    if isinstance(trial.subject.form(side.runtime), str):
        return ""
    if verdict.row.state != "differs":
        side.run(trial.feeds, {})
        return next(map(side.label, side.refused), "") or side.first(trial.feeds[verdict.place])
    found = Alignment(Side(trial.subject, "A"), side, (trial.feeds, trial.feeds))
    found.align()
    parted = (
        side.label(each.value_b)
        for each in found.partings
        if each.apart > side.limits.tolerance.allowed(found.ours[0][each.value_b])
    )
    return next(parted, "") or side.first(trial.feeds[verdict.place])
