"""Einstein summation against PyTorch, at every element type, and equations that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misfits import Row, assert_refused, f, row_id
from torch_side import assert_same, ours, theirs

from portable_nn.core.errors import GraphError
from portable_nn.operators import Leaf, emit
from portable_nn.operators.differentiation import gradients

EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bhqk,bhkd->bqhd", (2, 3, 4, 6), (2, 3, 6, 5)),
    ("ii->", (3, 3)),
    ("bii->bi", (2, 3, 3)),
    ("iijj->ij", (2, 2, 3, 3)),
    ("iij,jk->ki", (2, 2, 3), (3, 4)),
    ("ij,kl->il", (2, 3), (4, 5)),
    ("i,ij,jk,k->", (2,), (2, 3), (3, 4), (4,)),
    ("ijk,ilm,jln->mn", (2, 3, 4), (2, 5, 2), (3, 5, 3)),
    ("a,b,c->cab", (2,), (3,), (4,)),
    ("...ij,...jk->...ik", (5, 1, 2, 3), (1, 4, 3, 2)),
    ("...->...", (2, 3)),
    ("i...,...->...", (2, 3, 1), (3, 4)),
    ("Ba,aB", (2, 3), (3, 2)),
    ("ba", (2, 3)),
    ("...b,b", (2, 3, 4), (4,)),
]


@pytest.mark.parametrize(("equation", "shapes"), [(row[0], row[1:]) for row in EQUATIONS], ids=lambda x: str(x))
def test_is_torchs_einsum(equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in shapes]
    wrt = range(len(arrays))
    found = ours("Einsum", arrays, wrt, equation=equation)
    assert_same(found, theirs(lambda torch, *x: torch.einsum(equation, *x), arrays, wrt))


@st.composite
def products(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """Operands of up to three axes each, with labels that may be everywhere, and a result of some of them."""
    sizes = dict(zip("abcd", draw(st.lists(st.integers(1, 3), min_size=4, max_size=4)), strict=True))
    terms = draw(st.lists(st.text("abcd", min_size=0, max_size=3), min_size=1, max_size=3))
    known = sorted(set("".join(terms)))
    result = draw(st.permutations(known))[: draw(st.integers(0, len(known)))]
    return f"{','.join(terms)}->{''.join(result)}", [tuple(sizes[label] for label in term) for term in terms]


@pytest.mark.long
@settings(max_examples=150, deadline=None)  # The first imports PyTorch.
@given(products())
def test_any_product_is_torchs(case: tuple[str, list[tuple[int, ...]]]) -> None:
    equation, shapes = case
    rng = np.random.default_rng(1)
    arrays = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    wrt = range(len(arrays))
    found = ours("Einsum", arrays, wrt, equation=equation)
    assert_same(found, theirs(lambda torch, *x: torch.einsum(equation, *x), arrays, wrt))


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
@pytest.mark.parametrize(("equation", "shapes"), [("ij,jk->ki", [(2, 3), (3, 4)]), ("iij->j", [(3, 3, 2)])])
def test_every_element_type(dtype: str, equation: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [np.random.default_rng(2).integers(0, 5, shape).astype(dtype) for shape in shapes]
    wanted: Any = np.einsum(equation, *(array.astype(np.int64) for array in arrays)).astype(dtype)
    assert_same(ours("Einsum", arrays, equation=equation), [wanted])


MISFITS: list[Row] = [
    ("Einsum", [f(2), f(2)], {"equation": "i->i"}, "equation 'i->i' is of 1 operands, not of 2"),
    ("Einsum", [f(2)], {"equation": "i+->i"},
     "equation 'i+->i' has the term 'i+', which is not letters and at most one ellipsis"),
    ("Einsum", [f(2, 2)], {"equation": "i->i"}, "the term 'i' does not fit an operand of 2 axes, float32 (2, 2)"),
    ("Einsum", [f(2)], {"equation": "i...j->i"}, "the term 'i...j' does not fit an operand of 1 axis, float32 (2,)"),
    ("Einsum", [f(2, 3), f(4, 5)], {"equation": "ij,jk->ik"}, "'j' is of size 3 and of size 4: (2, 3), (4, 5)"),
    ("Einsum", [f(2, 3)], {"equation": "ii->i"}, "'i' is of size 2 and of size 3: (2, 3)"),
    ("Einsum", [f(2, 3), f(3, 3)], {"equation": "...i,...i->..."},
     "an axis of the ellipsis is of size 2 and of size 3: (2, 3), (3, 3)"),
    ("Einsum", [f(2)], {"equation": "i->ij"}, "equation 'i->ij' has 'j' in its result and in none of its operands"),
    ("Einsum", [f(2)], {"equation": "i->ii"}, "equation 'i->ii' has 'i' twice in its result"),
    ("Einsum", [f(2, 3)], {"equation": "...i->i"},
     "equation '...i->i' has an ellipsis in its operands and none in its result"),
    ("Einsum", [f(4, 2, 3), f(2, 3)], {"equation": "...i,...i->..."},
     "the ellipses of equation '...i,...i->...' have different numbers of axes: (4, 2, 3), (2, 3)"),
    ("Einsum", [f(2), Leaf(None, "int64", (2,))], {"equation": "i,i->"},
     "its inputs have different element types: float32, int64"),
    ("Einsum", [Leaf(None, "bool", (2,))], {"equation": "i->i"}, "it is not defined for bool"),
]  # fmt: skip


@pytest.mark.parametrize("row", MISFITS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)


def test_the_gradient_along_a_diagonal_needs_its_size() -> None:
    x = f("n", "n")
    y = emit("Einsum", x, equation="ii->i", name="here")
    message = r"^'here' \(Einsum\): its gradient along a diagonal needs a known size, not n$"
    with pytest.raises(GraphError, match=message):
        gradients([y], [y], [x])
