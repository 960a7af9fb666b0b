"""Every operator in every code base: values, gradients where it trains, and refusals by name."""

from __future__ import annotations

import json

import pytest
from code_bases import OPERATORS, REFUSALS, STANDARD, TARGETS, missing, outcome

from portable_nn.converters.source.c_compiling import compiler
from portable_nn.operators import REGISTRY

AT_LENGTH = {"Compress", "DFT", "Det", "SoftmaxCrossEntropyLoss"}
"""Operators whose cases PyTorch takes apart at length when they come back."""


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("target", "operator"),
    [
        pytest.param(target, operator, marks=[pytest.mark.sweep] * (target == "torch back" and operator in AT_LENGTH))
        for target in TARGETS
        for operator in OPERATORS
    ],
)
@pytest.mark.quick(*(f"{target}-Elu" for target in TARGETS), "c-ReduceMax")
def test_an_operator_is_the_same_or_is_refused_by_name(target: str, operator: str) -> None:
    if package := TARGETS[target].package:
        pytest.importorskip(package)
    if target == "c" and not compiler():
        pytest.skip("needs a C compiler")
    different, refused = outcome(operator, target)
    assert different == []
    cases = {str(case) for case in STANDARD if case.operator == operator}
    table = json.loads(REFUSALS.read_text(encoding="utf-8"))[target]
    expected = {case: reason for reason, listed in table.items() for case in listed if case in cases}
    assert {case: missing(message) for case, message in refused.items()} == expected


def test_every_operator_has_a_row_or_a_lowering_or_is_refused() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    from portable_nn.converters.array import ROWS
    from portable_nn.converters.jax.operators import EXPRESSED
    from portable_nn.converters.torch.source_rows import OWN

    standard = {name: operator for (domain, name), operator in REGISTRY.items() if not domain}
    plain = {name for name, operator in standard.items() if operator.lowering is None}
    assert plain - OWN.keys() - ROWS.keys() == set()
    assert plain - EXPRESSED == {"NonZero"}
    assert standard.keys() | {name for (_, name), operator in REGISTRY.items() if operator.stored} >= EXPRESSED
