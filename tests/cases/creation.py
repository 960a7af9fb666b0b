"""Constants and one-hot rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cases.case import Case, floats, ints, scalar
from portable_nn.core.graph import Tensor


def _constants() -> list[Case]:
    values: list[Mapping[str, Any]] = [
        {"value": Tensor("float32", (2, 2), (1.5, -2.0, 0.25, 3.0))},
        {"value": Tensor("bool", (3,), (1, 0, 1))},
        {"value": Tensor("int64", (), (-7,))},
        {"value_int": 3},
        {"value_ints": (1, -2)},
        {"value_float": 0.1},
        {"value_floats": (0.1, 2.0)},
    ]
    shapes = [
        Case("ConstantOfShape", (ints(2, 3),), constants=(0,)),
        Case("ConstantOfShape", (ints(),), {"value": Tensor("float32", (1,), (-1.5,))}, constants=(0,)),
        Case("ConstantOfShape", (ints(4),), {"value": Tensor("int64", (1,), (7,))}, constants=(0,)),
        Case("ConstantOfShape", (ints(0, 2),), {"value": Tensor("bool", (1,), (1,))}, constants=(0,)),
    ]
    return [Case("Constant", (), value) for value in values] + shapes


def _one_hot() -> list[Case]:
    values, depth = floats(-0.5, 2.0), scalar(5, "int64")
    inside, outside = ints(0, 4, 2), np.array([[0, 4, -1], [-5, -6, 5]])
    return [
        Case("OneHot", (inside, depth, values), constants=(1,), batched=(0,)),
        Case("OneHot", (outside, depth, values), constants=(1,), batched=(0,)),
        *(Case("OneHot", (outside, depth, values), {"axis": axis}, constants=(1,)) for axis in (0, 1, -1, -2)),
        Case("OneHot", (inside, ints(5), ints(0, 1)), constants=(1, 2)),
        Case(
            "OneHot",
            (np.array([0, 2, -1, 9], "float32"), scalar(3, "float32"), np.array([-0.5, 2.0], "float32")),
            constants=(1,),
            batched=(0,),
        ),
    ]


CASES = [*_constants(), *_one_hot()]
