"""Weights in place of inputs, and numbers in place of symbolic sizes, before a model is read.

Some exporters, and the standard's own tests, leave weights among the inputs; others declare symbolic sizes although the
nodes hold numbers for them. These are ``ModelProto`` to ``ModelProto`` and no rewrites of graphs, because such
a model gives no consistent graph before they are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

import numpy as np
from numpy.typing import ArrayLike
from onnx import ModelProto, TensorShapeProto, ValueInfoProto, numpy_helper

from portable_nn.core.dims import may_be_equal
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.graph import format_shape
from portable_nn.onnx.library.inference import type_of
from portable_nn.operators.registry import Array
from portable_nn.rewrites.sizes import check_sizes


def promoted(model: ModelProto, weights: Mapping[str, ArrayLike], where: str) -> ModelProto:
    """``model`` with ``weights``, arrays by name, as initializers in place of inputs; itself where there are none.

    Raises:
        UsageError: a name that is no input.
        ShapeError: an array of another shape or type than the model declares; all of them are listed.
    """
    if not weights:
        return model
    entries = {value.name: value for value in model.graph.input}
    if strangers := [f"'{name}'" for name in weights if name not in entries]:
        known = ", ".join(entries) or "none"
        raise UsageError(f"{where}: weights are given for {', '.join(strangers)}, but its inputs are: {known}")
    arrays = {name: np.asarray(array) for name, array in weights.items()}
    if faults := [fault for name, array in arrays.items() for fault in _faults(entries[name], array)]:
        raise ShapeError(listed(faults, where))
    copy = deepcopy(model)
    for field in (copy.graph.input, copy.graph.initializer):
        kept = [each for each in field if each.name not in arrays]
        del field[:]
        field.extend(kept)
    copy.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return copy


def _faults(entry: ValueInfoProto, array: Array) -> Iterator[str]:
    """Why an array does not fit an input, as far as the model declares its type."""
    wanted = type_of(entry)
    if wanted is None:
        return
    if not may_be_equal(wanted.shape, array.shape) or wanted.dtype != array.dtype.name:
        found = f"{array.dtype.name} {format_shape(array.shape)}"
        yield f"weight '{entry.name}' must be {wanted.dtype} {format_shape(wanted.shape)}, not {found}"


def sized(model: ModelProto, sizes: Mapping[str, int]) -> ModelProto:
    """``model`` with numbers in place of symbolic sizes of its inputs; itself where ``sizes`` is empty.

    Raises ``UsageError`` for a name that no input has, or a size below 1.
    """
    if not sizes:
        return model
    check_sizes(sizes, [dim.dim_param for dim in _dims(model.graph.input) if dim.dim_param])
    copy = deepcopy(model)
    for dim in _dims([*copy.graph.input, *copy.graph.output, *copy.graph.value_info]):
        if dim.dim_param in sizes:
            dim.dim_value = sizes[dim.dim_param]
    return copy


def _dims(values: Iterable[ValueInfoProto]) -> Iterator[TensorShapeProto.Dimension]:
    for value in values:
        yield from value.type.tensor_type.shape.dim
