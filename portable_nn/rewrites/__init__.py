"""Graph rewrites: pure functions from a program to another one, all listed in ``REWRITES``.

A ``Program`` is a graph with its parameters and its description. The numpy engine and training run the rewrites that
are on by default, which keep every number and save work; ``predict`` runs one more, for known sizes; ``export_onnx``
runs the others where its options ask for them. A new rewrite is one function in this folder and one row in the table.

What changes an ONNX model before it is a graph is not here: weights given for inputs and branches whose condition is
constant (``promotion``, ``branches``) are ``ModelProto`` to ``ModelProto``, because a model may have no graph before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from portable_nn.core.errors import UsageError
from portable_nn.rewrites.float16 import float16_weights
from portable_nn.rewrites.float32 import float32_numbers
from portable_nn.rewrites.normalization import normalization_in_convolutions
from portable_nn.rewrites.pooling import max_pool_first
from portable_nn.rewrites.program import Program, Rewrite
from portable_nn.rewrites.sizes import any_batch, fixed_sizes
from portable_nn.rewrites.unused import without_training, without_unused

__all__ = ["DEFAULT", "INFERENCE", "REWRITES", "Program", "Rewrite", "Rule", "rewritten"]


class Rule(NamedTuple):
    """A rewrite, what it does in one line, and whether it runs unless it is turned off."""

    rewrite: Rewrite
    summary: str
    default: bool = False


REWRITES: Final[Mapping[str, Rule]] = {
    "training": Rule(without_training, "leave out what does something in training alone"),
    "normalization": Rule(normalization_in_convolutions, "batch normalization as part of the convolution before it"),
    "max-pool-first": Rule(max_pool_first, "max-pool before the activation and the bias, on fewer elements", True),
    "unused": Rule(without_unused, "leave out nodes that no output depends on", True),
    "any-batch": Rule(any_batch, "make the batch, the first dimension of the inputs, symbolic"),
    "sizes": Rule(fixed_sizes, "fix symbolic dimensions of the inputs"),
    "float16": Rule(float16_weights, "store matrices and kernels as float16, and compute in the type they had"),
    "float32": Rule(float32_numbers, "compute in float32 what is float64"),
}
"""All rewrites by name, in the order in which they run."""

DEFAULT: Final = frozenset(name for name, rule in REWRITES.items() if rule.default)
"""The names of those that are on by default: they change no output."""

INFERENCE: Final = DEFAULT | {"training", "normalization"}
"""The names of those that ``predict`` runs: they change outputs by no more than rounding."""


def rewritten(program: Program, names: Collection[str] = DEFAULT) -> Program:
    """``program`` after the rewrites ``names``, in the order of the table.

    >>> import portable_nn as pnn
    >>> from portable_nn.rewrites import DEFAULT, Program, rewritten
    >>> net = pnn.load_model("digits")
    >>> program = rewritten(Program(net.graph, net.parameters), DEFAULT - {"max-pool-first"})

    Raises ``UsageError`` for a name that is not in the table, and where a rewrite cannot be done.
    """
    if unknown := [name for name in names if name not in REWRITES]:
        raise UsageError(f"there is no rewrite '{unknown[0]}': there are {', '.join(REWRITES)}")
    for name, rule in REWRITES.items():
        if name in names:
            program = rule.rewrite(program)
    return program
