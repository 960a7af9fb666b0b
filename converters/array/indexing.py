"""Elements by their numbers, and arrays that are made, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from portable_nn.converters.array.elementwise import numpy_type
from portable_nn.converters.array.use import ArrayUse, Row, array, number
from portable_nn.core.graph import Tensor
from portable_nn.operators import OperatorContext


def _range(use: ArrayUse) -> str:
    dtype = numpy_type(use.type().dtype)
    return f"np.arange({', '.join(use.whole(i)[0] if use.knows(i) else use.x(i) for i in range(3))}, dtype=np.{dtype})"


def _constant_of_shape(use: ArrayUse) -> str:
    value = use.attributes.get("value")
    fill, dtype = (value.data[0], value.dtype) if isinstance(value, Tensor) else (0.0, "float32")
    return f"np.full({use.listed(0)}, {number(fill)}, np.{numpy_type(dtype)})"


def _one_hot(use: ArrayUse) -> str:
    values = use.x(2)
    axis = use.int("axis")
    [depth] = use.whole(1) if use.knows(1) else [f"int(np.ravel({use.x(1)})[0])"]
    return f"one_hot({use.x()}, {depth}, {values}[0], {values}[1], {axis})"


def _eye(use: ArrayUse) -> str:
    rows, columns = (f"{use.x()}.shape[{axis}]" for axis in (0, 1))
    return f"np.eye({rows}, {columns}, {use.int('k')}, np.{numpy_type(use.results[0].dtype)})"


def _trilu(use: ArrayUse) -> str:
    k = "0" if not use.has(1) else use.whole(1)[0] if use.knows(1) else f"int({use.x(1)})"
    return f"np.tri{'u' if use.int('upper') else 'l'}({use.x()}, {k})"


def _reverse(use: ArrayUse) -> str:
    if {use.int("time_axis"), use.int("batch_axis")} != {0, 1}:
        use.refuse("other axes than 0 and 1")
    return f"reversed_sequences({use.x()}, {use.x(1)}, {use.int('time_axis')})"


def _constant(use: ArrayUse) -> str:
    value = constant_of(use)
    return array(np.reshape(value.data, value.shape).tolist(), value.dtype)


def constant_of(use: OperatorContext) -> Tensor:
    """The array of a Constant node."""
    [(name, value)] = use.attributes.items()
    if isinstance(value, Tensor):
        return value
    shape = (len(value),) if isinstance(value, tuple) else ()
    data = value if isinstance(value, tuple) else (value,)
    return Tensor(
        "float32" if "float" in name else "int64", shape, tuple(each for each in data if isinstance(each, int | float))
    )


def _different(use: ArrayUse) -> str:
    axis = use.attribute_axis() if "axis" in use.attributes else None
    return use.several(f"different({use.x()}, {axis}, {bool(use.int('sorted'))})")


def _without_overlaps(use: ArrayUse) -> str:
    most, overlap = (f"{use.x(index)}.item()" if use.has(index) else "0" for index in (2, 3))
    least = f"{use.x(4)}.item()" if use.has(4) else None
    return f"without_overlaps({use.x()}, {use.x(1)}, {most}, {overlap}, {least}, {bool(use.int('center_point_box'))})"


ROWS: Final[Mapping[str, Row]] = {
    "Constant": Row(_constant, "a constant"),
    "Gather": Row("take({0}, {1}, {axis})", "rows by their numbers"),
    "GatherElements": Row("take_elements({0}, {1}, {axis})", "elements by their numbers"),
    "ScatterElements": Row("put_elements({0}, {1}, {2}, {axis}, {reduction})", "some elements are replaced"),
    "GatherND": Row("take_nd({0}, {1}, {batch_dims})", "parts by their numbers"),
    "ScatterND": Row("put_nd({0}, {1}, {2}, {reduction})", "some parts are replaced"),
    "TensorScatter": Row("put_steps({0}, {1}, {2}, {axis}, {mode})", "further steps are put into a cache"),
    "ReverseSequence": Row(_reverse, "each sequence in reverse order"),
    "NonZero": Row("np.array(np.nonzero({0}), np.int64)", "where it is not 0"),
    "Unique": Row(_different, "what is different"),
    "NonMaxSuppression": Row(_without_overlaps, "of boxes that overlap, the best"),
    "Range": Row(_range, "numbers that count up"),
    "ConstantOfShape": Row(_constant_of_shape, "one number everywhere"),
    "OneHot": Row(_one_hot, "one place of each row"),
    "EyeLike": Row(_eye, "1 on the diagonal"),
    "Trilu": Row(_trilu, "half of a matrix"),
}
