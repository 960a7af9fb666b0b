"""Triangles and determinants, remainders and bits, against PyTorch and plain Python; what does not fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from misfits import Row, assert_refused, f, i, row_id
from standard_side import lowered, run_plan, run_runtime

from portable_nn.core.errors import GraphError
from portable_nn.operators import Leaf, Symbol, constant, emit, lookup, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(11)


def run(output: Symbol, leaves: Sequence[Leaf], *arrays: Array) -> Array:
    [found] = run_plan(
        trace(leaves, [output]).graph, {str(x.name): array for x, array in zip(leaves, arrays, strict=True)}
    )
    return found


@pytest.mark.parametrize("upper", [0, 1])
def test_the_diagonal_may_be_known_only_when_it_runs(upper: int) -> None:
    torch = pytest.importorskip("torch")
    x, k = Leaf("x", "float64", ("rows", 4)), Leaf("k", "int64", ())
    array = RNG.normal(size=(3, 4))
    cut = emit("Trilu", x, k, upper=upper)
    for diagonal in (-2, 0, 1):
        wanted = (torch.triu if upper else torch.tril)(torch.tensor(array), diagonal)
        np.testing.assert_array_equal(run(cut, [x, k], array, np.array(diagonal)), wanted)


MATRICES = {
    "regular": RNG.normal(size=(2, 3, 3)),
    "of rank 2": np.arange(9.0).reshape(1, 3, 3),
    "of rank 1": np.ones((1, 3, 3)),
    "two by two": RNG.normal(size=(2, 2, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_what_flows_back_through_a_determinant(name: str) -> None:
    array = MATRICES[name]
    x = Leaf("x", "float64", ("batch", *array.shape[1:]))
    determinant = emit("Det", x)
    seed = Leaf("seed", "float64", determinant.shape)
    [back] = gradients([determinant], [seed], [x])
    assert back is not None
    weights = np.arange(1.0, 1 + len(array))
    # The cofactors: the derivative by an element is the determinant with a 1 in its place, and 0 beside it.
    wanted = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        one = array[place[0]].copy()
        one[place[1]] = 0
        one[place[1:]] = 1
        wanted[place] = np.linalg.det(one) * weights[place[0]]
    np.testing.assert_allclose(run(back, [x, seed], array, weights), wanted, atol=1e-12)


def test_a_determinant_needs_a_known_size_for_its_gradient() -> None:
    x = Leaf("x", "float32", ("n", "n"))
    y = emit("Det", x, name="here")
    with pytest.raises(GraphError, match=r"^'here' \(Det\): its gradient needs a known size, not \(n, n\)$"):
        gradients([y], [y], [x])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_remainders_of_floats_have_the_sign_of_the_first(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    a, b = (Leaf(name, dtype, (5,)) for name in "ab")
    first, second = np.array([-7.5, 7.5, -0.0, np.inf, 2]).astype(dtype), np.array([2, -2, 3, 2, np.inf]).astype(dtype)
    found = run(emit("Mod", a, b, fmod=1), [a, b], first, second)
    np.testing.assert_array_equal(found, torch.fmod(torch.tensor(first), torch.tensor(second)))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_bits_that_are_shifted_out_are_gone(direction: str, width: int) -> None:
    dtype = f"uint{width}"
    x, y = (Leaf(name, dtype, (5,)) for name in "xy")
    values, shifts = [1, 2**width - 1, 2 ** (width - 1), 77, 77], [1, 1, width - 1, width, 200]
    found = run(emit("BitShift", x, y, direction=direction), [x, y], np.array(values, dtype), np.array(shifts, dtype))
    shifted = [a << b if direction == "LEFT" else a >> b for a, b in zip(values, shifts, strict=True)]
    assert found.tolist() == [value % 2**width for value in shifted]


@pytest.mark.parametrize("operator", ["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_bits_are_written_as_arithmetic_where_there_is_no_operator_for_them(operator: str, dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 0, 1, 85, limits.max - 3], dtype)
    leaves = [Leaf("x", dtype, (6, 1)), Leaf("y", dtype, (6,))][: 1 if operator == "BitwiseNot" else 2]
    feeds = {str(leaf.name): values.reshape(leaf.shape) for leaf in leaves}  # type: ignore[arg-type]
    graph = trace(leaves, [emit(operator, *leaves)]).graph
    lowering = lookup(operator).lowering
    assert lowering is not None
    said = trace(leaves, [lowering(*leaves)]).graph
    assert not any(node.operator.startswith("Bit") for node in said.nodes)
    for found in (run_plan(said, feeds), run_runtime(lowered(said), feeds)):
        np.testing.assert_array_equal(found, run_plan(graph, feeds))


@pytest.mark.parametrize("signs", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_infinities_of_either_sign(dtype: str, signs: tuple[int, int]) -> None:
    x, options = Leaf("x", dtype, (5,)), {"detect_negative": signs[0], "detect_positive": signs[1]}
    lowering = lookup("IsInf").lowering
    assert lowering is not None
    for output in (emit("IsInf", x, **options), lowering(x, **options)):
        found = run(output, [x], np.array([-np.inf, np.inf, np.nan, 0, 60000], dtype))
        assert found.tolist() == [bool(signs[0]), bool(signs[1]), False, False, False]


ROWS: list[Row] = [
    ("Trilu", [f(3)], {}, "input must be (…, rows, columns), not (3,)"),
    ("Trilu", [f(3, 3), i(2)], {}, "k must be one int64, not int64 (2,)"),
    ("Trilu", [f(3, 3), constant(1, "int32")], {}, "k must be one int64, not int32 ()"),
    ("EyeLike", [f(3)], {}, "input must be (rows, columns), not (3,)"),
    ("EyeLike", [f(3, 3)], {"dtype": 8}, "attribute 'dtype' is 8, an element type that is not supported"),
    ("Det", [f(2, 3)], {}, "X must be square, not 2 by 3"),
    ("Det", [i(2, 2)], {}, "it is not defined for int64"),
    ("Mod", [f(2), f(2)], {}, "fmod must be 1 for float32: the remainder has the sign of A"),
    ("Mod", [i(2), i(2)], {"fmod": 2}, "fmod must be 0 or 1, not 2"),
    ("BitShift", [Leaf(None, "uint8", (2,))] * 2, {"direction": "UP"}, "direction must be LEFT or RIGHT, not 'UP'"),
    ("BitShift", [i(2), i(2)], {"direction": "LEFT"}, "it is not defined for int64"),
    ("BitwiseAnd", [f(2), f(2)], {}, "it is not defined for float32"),
    ("MeanVarianceNormalization", [f(2, 3)], {}, "axis 2 is outside an input of 2 dimensions"),
    ("Tan", [i(2)], {}, "it is not defined for int64"),
]


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_invalid_nodes_raise_an_error(row: Row) -> None:
    assert_refused(row)
