"""Models in other runtimes and code bases: what each of them computes, compared with the numpy engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UnsupportedError, UsageError
from portable_nn.core.numbers import Count, Natural, NonNegative, Positive
from portable_nn.core.tolerances import RUNTIME_ATOL, RUNTIME_RTOL
from portable_nn.network import Network
from portable_nn.onnx.verification.differences import Tolerance
from portable_nn.runtimes.processes import brief
from portable_nn.runtimes.report import RuntimeReport
from portable_nn.runtimes.table import ALL, chosen
from portable_nn.runtimes.trial import Limits, refused, rows_of, trial_of

__all__ = ["check_runtimes"]

MEMORY: Final = 8 * 2**30
"""Bytes that a runtime may take."""

TIME: Final = 300.0
"""Seconds that a runtime may take for a model, with its start and the compilation."""


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
        trial.batches,
        trial.sizes,
        limits.tolerance,
        rows,
        trial.subject.note,
    )
