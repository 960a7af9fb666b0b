"""The 1404 node tests of the ``onnx`` package: how many of each group are right, natively and after export.

Counts are those that were reached: fewer is a step back, and more must be written down here. What is missing of a group
is bfloat16 and narrower types, which numpy has not, what is drawn at random, and, after export, kernels that
onnxruntime lacks.
"""

from __future__ import annotations

import warnings

import pytest
from onnx_suite import Count, cases, count, groups, run

REACHED: dict[str, Count] = {
    "convolution": Count(17, 17, 17),
    "pooling": Count(53, 53, 52),
    "normalisation": Count(55, 55, 55),
    "dropout": Count(12, 12, 8),
    "activation": Count(51, 50, 50),
    "matrix product": Count(27, 24, 24),
    "recurrent": Count(18, 18, 18),
    "attention": Count(101, 96, 92),
    "softmax": Count(21, 21, 21),
    "loss": Count(52, 52, 52),
    "resizing, grids": Count(68, 66, 66),
    "padding": Count(6, 6, 6),
    "concatenation, splitting, slicing": Count(36, 36, 36),
    "reshaping": Count(42, 40, 40),
    "reduction": Count(91, 91, 90),
    "arithmetic, comparison, logic": Count(189, 187, 187),
    "trigonometry": Count(22, 22, 22),
    "bits": Count(53, 43, 43),
    "casting": Count(116, 12, 12),
    "gathering, scattering": Count(29, 26, 26),
    "picking, sorting": Count(62, 44, 43),
    "making": Count(20, 15, 15),
    "shapes, parts, sums": Count(71, 70, 70),
    "signals": Count(19, 6, 6),
    "newer than opset 25": Count(41, 41, 41),
    "quantised": Count(42, 0, 0),
    "detection": Count(7, 7, 4),
    "control flow": Count(10, 1, 1),
    "text, files, sequences, trees, optimizers": Count(73, 2, 2),
}

TOTAL = Count(1404, 1113, 1099)

pytestmark = pytest.mark.long


def test_how_many_there_are() -> None:
    found = {group: len(cases) for group, cases in groups().items()}
    assert found == {group: figures.tests for group, figures in REACHED.items()}
    assert sum(found.values()) == 1404


def test_how_many_are_right_in_all() -> None:
    total = Count(*map(sum, zip(*REACHED.values(), strict=True)))
    assert total == TOTAL


@pytest.mark.parametrize("group", REACHED)
def test_as_many_of_a_group_are_right(group: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some tests compute with infinities on purpose.
        assert count(groups()[group]) == REACHED[group]


REFUSED = {
    # onnxruntime has no kernel for this type.
    "test_top_k_uint64",
    # It refuses the inputs of the test, or computes the lowest number where the standard says -inf.
    "test_attention_4d_diff_heads_mask4d_padded_kv", "test_reduce_max_empty_set_bool",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
    # Each side drops other elements.
    "test_training_dropout", "test_training_dropout_default", "test_training_dropout_default_mask",
    "test_training_dropout_mask",
}  # fmt: skip
"""The tests that are right here, and that the default import refuses, as it compares them with onnxruntime."""


def test_what_is_right_is_imported_by_default() -> None:
    right = [case for case in cases("node") if run(case, verify=False).right]
    assert {case.name for case in right if not run(case).right} == REFUSED
