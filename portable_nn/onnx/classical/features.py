"""Operators that prepare features: scales, missing values, codes of categories, parts of rows.

Their numbers are frozen: they are what the model was made with, and no training changes them.
"""

from __future__ import annotations

import math
from itertools import count
from typing import Any, Final

import numpy as np
from onnx import TensorProto

from portable_nn.core.tensors import Array
from portable_nn.onnx.classical.use import Use
from portable_nn.onnx.storage.tensors import from_tensor

MOST: Final = 2**24
"""The largest whole number up to which float32 has all."""


def scaler(use: Use) -> None:
    """(x - offset) · scale, each one number or one for each feature."""
    offset, scale = use.floats("offset"), use.floats("scale")
    if len({len(offset), len(scale)} - {0, 1}) > 1:
        use.fail(f"it has {len(offset)} offsets and {len(scale)} scales")
    x, out = use.x, use.y()
    if len(offset):
        x = use.emit("Sub", x, use.frozen("offset", offset), output="" if len(scale) else out)
    if len(scale):
        x = use.emit("Mul", x, use.frozen("scale", scale), output=out, role="scaled" if len(offset) else "")
    if not len(offset) and not len(scale):
        use.emit("Identity", x, output=out)


def normalizer(use: Use) -> None:
    """Each row divided by its norm: Σ|x|, √Σx², or its largest number; one with the norm 0 stays as it is."""
    kind, x, make = use.one_of("norm", "MAX", ("MAX", "L1", "L2")), use.x, use.make
    if kind == "L1" and x in make.shares:
        use.emit("Identity", x, output=use.y())
        return
    if kind != "MAX":
        use.emit("LpNormalization", x, output=use.y(), p=int(kind[1]))
        return
    norm = make.largest(x, f"{use.name}.norm")
    nothing = make.node("Equal", norm, make.constant(f"{use.name}.zero", 0), name=f"{use.name}.is_zero")
    norm = use.emit("Where", nothing, make.constant(f"{use.name}.one", 1), norm, role="divisor")
    use.emit("Div", x, norm, output=use.y())


def binarizer(use: Use) -> None:
    """1 above the threshold, else 0."""
    threshold = use.number("threshold", 0)
    if math.isnan(threshold):
        use.fail("its threshold is NaN")
    above = use.make.node("Greater", use.x, use.frozen("threshold", [threshold]), name=f"{use.name}.above")
    use.make.cast(above, TensorProto.FLOAT, use.y())


def imputer(use: Use) -> None:
    """Another number in the place of one, which may be NaN: one for all features, or one for each."""
    make, is_float = use.make, use.has("imputed_value_floats")
    if is_float or not use.has("imputed_value_int64s"):
        values, x = use.floats("imputed_value_floats"), use.x
        replaced = use.number("replaced_value_float", 0)
        filled = use.frozen("fill", values)
        compared = () if math.isnan(replaced) else (use.frozen("absent", [replaced]),)
        absent = make.node("Equal" if compared else "IsNaN", x, *compared, name=f"{use.name}.is_absent")
    else:
        x = use.node.input[0]
        values = np.array(use.ints("imputed_value_int64s"))
        filled = make.array(f"{use.name}.fill", values, "int64", frozen=True)
        wanted = make.array(f"{use.name}.absent", [use.integer("replaced_value_int64", 0)], "int64")
        absent = make.node("Equal", x, wanted, name=f"{use.name}.is_absent")
    if not len(values):
        use.fail("it has nothing to put in the place of missing values")
    make.node("Where", absent, filled, x, name=use.name, output=use.y())
    if is_float:
        make.floats.add(use.y())


def feature_extractor(use: Use) -> None:
    """The entries of the last axis at given places."""
    if len(use.node.input) != 2:
        use.fail(f"it needs 2 inputs, and has {len(use.node.input)}")
    values, places = use.node.input
    stored = use.make.stored.get(places)
    if stored is not None:
        numbers = from_tensor(stored, use.make.where).reshape(-1)
        if numbers.dtype != np.int64:
            use.fail(f"the places must be int64, not {numbers.dtype}")
        places = use.make.array(f"{use.name}.places", numbers, "int64")
    else:
        flat = use.make.array(f"{use.name}.flat", [-1], "int64")
        places = use.make.node("Reshape", places, flat, name=f"{use.name}.places")
    row = values in use.make.stored and len(use.make.stored[values].dims) == 1  # A list is taken as a row.
    found = use.make.node("Gather", values, places, name=use.name, output="" if row else use.y(), axis=-1)
    if row:
        one = use.make.array(f"{use.name}.row", [1, -1], "int64")
        use.make.node("Reshape", found, one, name=f"{use.name}.row", output=use.y())
    if values in use.make.floats:
        use.make.floats.add(use.y())


def feature_vectorizer(use: Use) -> None:
    """The features of all inputs side by side, as float32."""
    parts = [use.make.as_float(each) for each in use.node.input if each]
    if not parts:
        use.fail("it has no input")
    sizes = use.ints("inputdimensions")
    if sizes and len(sizes) != len(parts):
        use.fail(f"attribute 'inputdimensions' has {len(sizes)} numbers for {len(parts)} inputs")
    use.emit("Concat", *parts, output=use.y(), axis=1)


def zip_map(use: Use) -> None:
    """The numbers as they are: their labels are those of the output."""
    use.make.node("Identity", use.node.input[0], name=use.name, output=use.y())


# -- codes


def one_hot(use: Use) -> None:
    """A 1 in the place of the category, on a new last axis."""
    codes = use.categories("cats_strings")
    if codes is None:
        codes = _whole(use, "cats_int64s")
    if not codes.size:
        use.fail("it has no categories")
    _equal(use, codes, use.y())


def label_encoder(use: Use) -> None:
    """One of a list of values, by the place of the key among the keys; another one for any other key."""
    keys, values, default = _keys(use), *_values(use)
    if keys.shape[-1] != len(values):
        use.fail(f"it has {keys.shape[-1]} keys and {len(values)} values")
    if not len(values):
        use.fail("it has no keys")
    make, name = use.make, use.name
    # Of equal numbers ArgMax finds the first, and so a key that is none, in front of them, where no key is the number.
    known = set(keys.ravel().tolist())
    none = np.full((*keys.shape[:-1], 1), next(each for each in count() if each not in known), np.float32)
    same = _equal(use, np.concatenate([none, keys], axis=-1), "")
    place = make.node("ArgMax", same, name=f"{name}.place", axis=-1, keepdims=0)
    table = make.array(f"{name}.values", np.insert(values, 0, default), values.dtype.name, frozen=True)
    make.node("Gather", table, place, name=name, output=use.y(), axis=0)
    if values.dtype == np.float32:
        make.floats.add(use.y())


def _keys(use: Use) -> Array:
    if (codes := use.categories("keys_strings", "classes_strings", "keys_tensor")) is not None:
        return codes
    found = use.tensor("keys_tensor")
    if found is None and use.has("keys_floats"):
        return use.floats("keys_floats", may_be_nan=True)
    return _whole(use, "keys_int64s") if found is None else found


def _whole(use: Use, name: str) -> Array:
    """Whole numbers that float32 can tell apart."""
    found = use.ints(name)
    if any(abs(each) > MOST for each in found):
        use.refuse(f"attribute '{name}' has numbers beyond {MOST:,}, which float32 cannot tell apart")
    return np.array(found, np.float32)


def _values(use: Use) -> tuple[Array, Any]:
    if use.has("values_strings") or use.words("values_tensor"):
        use.refuse("its values are strings, which a node of the model reads: that is not supported")
    if use.has("classes_strings"):
        return np.arange(len(use.strings("classes_strings"))), use.integer("default_int64", -1)
    found, default = use.tensor("values_tensor"), use.tensor("default_tensor")
    if found is not None:
        default = np.array([-1]).astype(found.dtype) if default is None or not len(default) else default
        if default.dtype != found.dtype:
            use.fail(f"its default is of type {default.dtype}, and its values are of type {found.dtype}")
        return found, default[0]
    if use.has("values_floats"):
        return use.floats("values_floats", may_be_nan=True), use.number("default_float", -0.0)
    return np.array(use.ints("values_int64s"), np.int64), use.integer("default_int64", -1)


def _equal(use: Use, codes: Array, output: str) -> str:
    """1.0 where a number is one of ``codes``, which are on a new last axis, else 0.0; NaN equals NaN."""
    make = use.make
    x = make.unsqueezed(use.x, f"{use.name}.axis")
    known = make.constant(f"{use.name}.codes", np.where(np.isnan(codes), 0, codes))
    same = make.node("Equal", x, known, name=f"{use.name}.same")
    if np.isnan(codes).any():
        absent = make.node("IsNaN", x, name=f"{use.name}.absent")
        is_nan = make.array(f"{use.name}.is_nan", np.isnan(codes), "bool")
        absent = make.node("And", absent, is_nan, name=f"{use.name}.both_absent")
        is_number = make.array(f"{use.name}.is_number", ~np.isnan(codes), "bool")
        same = make.node("And", same, is_number, name=f"{use.name}.both_numbers")
        same = make.node("Or", same, absent, name=f"{use.name}.either")
    return make.cast(same, TensorProto.FLOAT, output)
