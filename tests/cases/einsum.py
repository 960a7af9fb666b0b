"""Einstein summation."""

from __future__ import annotations

from cases.case import Case, real, whole

_EQUATIONS = (
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("bhqk,bhkd->bqhd", (2, 2, 3, 5), (2, 2, 5, 4)),
    ("i,i->", (4,), (4,)),
    ("i,j->ji", (3,), (4,)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ii->i", (3, 3)),
    ("bii", (2, 3, 3)),
    ("iij,j->i", (3, 3, 4), (4,)),
    ("ij,kl->il", (2, 3), (4, 5)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("i,ij,j->", (3,), (3, 4), (4,)),
    ("a,b,c->cab", (2,), (3,), (4,)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (1, 5, 4, 2)),
    ("b...d,d->b...", (2, 3, 4, 5), (5,)),
    ("...ij", (2, 3, 4)),
    ("i...->...i", (2, 3, 4)),
    ("Ab , aB -> Aa", (2, 3), (4, 3)),
)


def _row(equation: str, *shapes: tuple[int, ...]) -> Case:
    first = equation.split(",", maxsplit=1)[0][0]
    batched = (0,) if first in "Abi" and equation.count(first) in {1, 2} and "ii" not in equation else ()
    batched = tuple(
        i for i, word in enumerate(equation.split("->")[0].split(",")) if batched and word.startswith(first)
    )
    arrays = tuple(real(*shape) for shape in shapes)
    return Case("Einsum", arrays, {"equation": equation}, wrt=tuple(range(len(shapes))), batched=batched)


CASES = [
    *(_row(equation, *shapes) for equation, *shapes in _EQUATIONS),
    Case("Einsum", (whole(2, 3), whole(3, 4)), {"equation": "ij,jk->ki"}),
    Case("Einsum", (whole(2, 3, dtype="int32"),), {"equation": "ij->j"}),
]
