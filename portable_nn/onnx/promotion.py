"""Weights in place of inputs, before a model is read.

Some exporters, and the standard's own tests, leave weights among the inputs. This is ``ModelProto`` to ``ModelProto``
and no rewrite of a graph, because such a model gives no consistent graph before it is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy

import numpy as np
from numpy.typing import ArrayLike
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from portable_nn.core.dims import may_be_equal, static
from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.graph import format_shape
from portable_nn.onnx.library.inference import type_of
from portable_nn.operators.narrow import NARROW
from portable_nn.operators.registry import FLOATS, Array


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


def constants_for(model: ModelProto, values: Mapping[str, ArrayLike], where: str) -> dict[str, Array]:
    """Arrays for inputs that become constants, in the types that the model declares; one number fills a shape.

    Raises ``UsageError`` for a name that is no input, and for a value that it cannot have.
    """
    entries = {value.name: type_of(value) for value in model.graph.input}
    found = dict[str, Array]()
    for name, value in values.items():
        wanted = entries.get(name)
        if wanted is None or (shape := static(wanted.shape)) is None:
            known = ", ".join(f"'{each}'" for each, type in entries.items() if type and static(type.shape) is not None)
            raise UsageError(f"{where}: a value is given for '{name}'; inputs of a known shape are {known or 'none'}")
        try:
            with np.errstate(all="ignore"):
                found[name] = np.broadcast_to(np.asarray(value).astype(wanted.dtype), shape).copy()
        except ValueError:
            fits = False
        else:
            fits = np.array_equal(found[name], np.broadcast_to(np.asarray(value), shape), equal_nan=True)
            fits = fits or wanted.dtype in FLOATS
        if not fits:
            raise UsageError(f"{where}: '{name}' is {wanted}, and {value!r} is no value of it")
    return found


def _faults(entry: ValueInfoProto, array: Array) -> Iterator[str]:
    """Why an array does not fit an input, as far as the model declares its type."""
    wanted = type_of(entry)
    if wanted is None:
        return
    code, found = entry.type.tensor_type.elem_type, f"{array.dtype.name} {format_shape(array.shape)}"
    if not may_be_equal(wanted.shape, array.shape) or code != helper.np_dtype_to_tensor_dtype(array.dtype):
        dtype = NARROW[code].name if code in NARROW else wanted.dtype
        yield f"weight '{entry.name}' must be {dtype} {format_shape(wanted.shape)}, not {found}"
