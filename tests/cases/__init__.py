"""The table of cases: for every registered operator, uses of it that the tests compute, differentiate and compare.

To add an operator, add a row to the module of its family; a new family is a module here and its name below.
"""

from cases import (
    activation,
    attention,
    bitwise,
    convolution,
    creation,
    dropout,
    einsum,
    elementwise,
    indexing,
    internal,
    likelihood,
    linear,
    movement,
    normalization,
    padding,
    pooling,
    quantised,
    recurrent,
    reduce,
    resize,
    rotary,
    sampling,
    scatter,
    sequences,
    softmax,
    topk,
    triangle,
    trigonometry,
)
from cases.case import Case

FAMILIES = (
    elementwise,
    activation,
    attention,
    linear,
    convolution,
    pooling,
    quantised,
    recurrent,
    reduce,
    movement,
    padding,
    resize,
    rotary,
    sampling,
    indexing,
    creation,
    softmax,
    topk,
    normalization,
    dropout,
    einsum,
    internal,
    likelihood,
    trigonometry,
    bitwise,
    triangle,
    sequences,
    scatter,
)

CASES: tuple[Case, ...] = tuple(case for family in FAMILIES for case in family.CASES)
