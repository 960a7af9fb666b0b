"""The 1404 node tests of the ``onnx`` package: those of operators that are here are right, natively and after export.

How many of a group are not is written down here. It is attention whose steps are rounded to bfloat16, what is drawn at
random, and, after export, kernels that onnxruntime lacks.
"""

from __future__ import annotations

import warnings

import pytest
from onnx_suite import GROUPS, OTHERS, Case, cases, groups, run

from portable_nn.onnx.opsets.newer import NEWER
from portable_nn.operators.registry import find

FAULTS: dict[str, tuple[int, int]] = {
    "pooling": (0, 1),
    "dropout": (0, 4),
    "attention": (5, 4),
    "resizing, grids": (2, 0),
    "reshaping": (2, 0),
    "reduction": (0, 1),
    "arithmetic, comparison, logic": (2, 0),
    "picking, sorting": (0, 1),
    "detection": (0, 3),
    "signals": (0, 8),
    "control flow": (5, 0),  # Their states are sequences, or batches of several lengths.
    OTHERS: (11, 0),
}
"""By group, how many are wrong though all their operators are here, and how many are right, but not after export."""

OPAQUE = {"signals": 1, OTHERS: 9}
"""By group, how many are right with a node that onnxruntime runs."""


@pytest.mark.long
def test_how_many_there_are() -> None:
    assert sum(map(len, groups().values())) == 1404


def has_its_operators(case: Case) -> bool:
    """Whether the vocabulary has all operators of the standard that a model has."""
    nodes = (node for node in case.model.graph.node if not node.domain)
    return all(find(node.op_type) or node.op_type in NEWER for node in nodes)


@pytest.mark.long
@pytest.mark.parametrize("group", [*GROUPS, OTHERS])
def test_all_of_a_group_are_right_whose_operators_are_here(group: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some tests compute with infinities on purpose.
        results = [(case, run(case, verify=False)) for case in groups()[group]]
    wrong = [case.name for case, result in results if not result.right and has_its_operators(case)]
    lost = [case.name for case, result in results if result.right and not result.exported]
    assert (len(wrong), len(lost)) == FAULTS.get(group, (0, 0)), (wrong, lost)
    assert sum(result.way == "opaque" for _, result in results) == OPAQUE.get(group, 0)


REFUSED = {
    # onnxruntime has no kernel for this type.
    "test_top_k_uint64",
    # It has one zero point for all filters.
    "test_convinteger_with_padding",
    # It refuses the inputs of the test, or computes the lowest number where the standard says -inf.
    "test_attention_4d_diff_heads_mask4d_padded_kv", "test_reduce_max_empty_set_bool",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
    # Each side drops other elements.
    "test_training_dropout", "test_training_dropout_default", "test_training_dropout_default_mask",
    "test_training_dropout_mask",
}  # fmt: skip
"""The tests that are right here, and that the default import refuses, as it compares them with onnxruntime."""


@pytest.mark.sweep  # Of most it follows from ``test_all_nodes_of_the_standard``, which compares import with check.
def test_what_is_right_is_imported_by_default() -> None:
    refused = [case for case in cases("node") if not run(case).right]
    assert {case.name for case in refused if run(case, verify=False).right} == REFUSED
