"""The table of cases: for every registered operator, uses of it that the tests compute, differentiate and compare.

To add an operator, add a row to the module of its family; a new family is a module here and its name below.
"""

from cases import (
    activation,
    convolution,
    creation,
    dropout,
    elementwise,
    indexing,
    internal,
    linear,
    movement,
    normalization,
    padding,
    pooling,
    reduce,
    resize,
    softmax,
)
from cases.case import Case

FAMILIES = (
    elementwise,
    activation,
    linear,
    convolution,
    pooling,
    reduce,
    movement,
    padding,
    resize,
    indexing,
    creation,
    softmax,
    normalization,
    dropout,
    internal,
)

CASES: tuple[Case, ...] = tuple(case for family in FAMILIES for case in family.CASES)
