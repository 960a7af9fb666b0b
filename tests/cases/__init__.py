"""The table of cases: for every registered operator, uses of it that the tests compute, differentiate and compare.

To add an operator, add a row to the module of its family; a new family is a module here and its name below.
"""

from cases import creation, dropout, elementwise, internal, linear, movement, reduce, softmax
from cases.case import Case

FAMILIES = (elementwise, linear, reduce, movement, creation, softmax, dropout, internal)

CASES: tuple[Case, ...] = tuple(case for family in FAMILIES for case in family.CASES)
