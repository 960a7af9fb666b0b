"""What does not fit is refused, and the message says what was wanted and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from misfits import Row, assert_refused, b, f, i, row_id

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import INTERNAL, Tensor
from portable_nn.engines.plan import Plan
from portable_nn.operators import Leaf, Symbol, constant, emit_all, integers, trace
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.registry import InvalidNode, lookup

SCALES = constant([1, 1, 2], "float32")

ROWS: list[Row] = [
    ("Relu", [f(2)], {"axis": 1}, "attribute 'axis' is not one of Relu's (none)"),
    ("Gemm", [f(2, 3), f(3, 4)], {"trans": 1}, "attribute 'trans' is not one of Gemm's (alpha, beta, transA, transB)"),
    ("Gemm", [f(2, 3), f(3, 4)], {"transA": "yes"}, "attribute 'transA' must be of type int, not 'yes'"),
    ("Gemm", [f(2, 3), f(3, 4)], {"transA": 1.0}, "attribute 'transA' must be of type int, not 1.0"),
    ("Transpose", [f(2, 3)], {"perm": (1, "x")}, "attribute 'perm' must be of type tuple of int, not (1, 'x')"),
    ("Transpose", [f(2, 3)], {"perm": 1}, "attribute 'perm' must be of type tuple of int, not 1"),
    ("Constant", [], {"value_floats": (1,)}, "attribute 'value_floats' must be of type tuple of float, not (1,)"),
    ("Concat", [f(2)], {}, "attribute 'axis' is missing"),
    ("Relu", [], {}, "Relu takes 1 input, not 0"),
    ("Relu", [f(2), f(2)], {}, "Relu takes 1 input, not 2"),
    ("Add", [f(2)], {}, "Add takes 2 inputs, not 1"),
    ("Gemm", [f(2, 2)], {}, "Gemm takes 2 to 3 inputs, not 1"),
    ("Sum", [], {}, "Sum takes 1 or more inputs, not 0"),
    ("Relu", [f(2)], {"outputs": 2}, "Relu has 1 output, not 2"),
    ("Dropout", [f(2)], {"outputs": 3}, "Dropout has 1 to 2 outputs, not 3"),
    ("Gemm", [None, f(2, 2)], {}, "input 'A' is missing"),
    ("Concat", [f(2), None, f(2)], {"axis": 0}, "input 'inputs' is missing"),
    ("Reshape", [f(2), constant([2], "int32")], {}, "input 'shape' must be int64, not int32"),
    ("Reshape", [f(2), i()], {}, "input 'shape' must be a list, not ()"),
    ("Expand", [f(2), i(1, 1)], {}, "input 'shape' must be a list, not (1, 1)"),
    ("Slice", [f(2), i(), i()], {}, "input 'starts' must be a list, not ()"),
    ("ConstantOfShape", [i("n")], {}, "the number of axes of its output is the unknown size n"),
    ("Slice", [f(2), f(1), i(1)], {}, "input 'starts' must be int32 or int64, not float32"),
    ("ReduceSum", [f(2, 3), integers([2])], {}, "axis 2 is outside an input of 2 dimensions"),
    ("ReduceSum", [f(2, 3), integers([1, -1])], {}, "the axes (1, -1) name one axis twice"),
    ("Softmax", [f(2, 3)], {"axis": -3}, "axis -3 is outside an input of 2 dimensions"),
    ("Add", [f(2), i(2)], {}, "its inputs have different element types: float32, int64"),
    ("Conv", [f(2, 3), f(4, 3)], {}, "X must be (batch, channels, size, …), not (2, 3)"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3, 3)], {}, "W must have 3 dimensions, as X has, not (4, 3, 3, 3)"),
    ("Conv", [i(2, 3, 8), i(4, 3, 3)], {}, "it is not defined for int64"),
    ("Conv", [f(2, 3, 8), i(4, 3, 3)], {}, "its inputs have different element types: float32, int64"),
    ("Conv", [f(2, 3, 8), f(4, 3, "k")], {}, "W must have a kernel of known sizes, not (4, 3, k)"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"kernel_shape": [5]},
     "kernel_shape is (5,), but W (4, 3, 3) has a kernel of (3,)"),
    ("Conv", [f(2, 3, 8), f(4, 1, 3)], {}, "X (2, 3, 8) has 3 channels, but W (4, 1, 3) reads 1, in 1 groups"),
    ("Conv", [f(2, "c", 8), f(4, 1, 3)], {}, "X (2, c, 8) has c channels, but W (4, 1, 3) reads 1, in 1 groups"),
    ("Conv", [f(2, 6, 8), f(4, 2, 3)], {"group": 3},
     "3 groups divide 6 channels of X and 4 of the output, by W (4, 2, 3), unevenly"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"group": 0}, "group must be 1 or more, not 0"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3), f(3)], {},
     "B must be (4,), one for each channel of the output, not float32 (3,)"),
    ("Conv", [f(2, 3, 8, 8), f(4, 3, 3, 3)], {"strides": [2]}, "strides must be 2 numbers, not (2,)"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"strides": [1, 1]}, "strides must be 1 number, not (1, 1)"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"dilations": [0]}, "dilations must be 1 or more, not (0,)"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"pads": [-1, 0]}, "pads must be 0 or more, not (-1, 0)"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"auto_pad": "SAME"},
     "auto_pad must be one of NOTSET, SAME_UPPER, SAME_LOWER, VALID, not 'SAME'"),
    ("Conv", [f(2, 3, 8), f(4, 3, 3)], {"auto_pad": "VALID", "pads": [1, 1]},
     "pads (1, 1) and auto_pad VALID exclude each other"),
    ("Conv", [f(2, 3, 4), f(4, 3, 3)], {"dilations": [2]},
     "along axis 2: kernel 3 with dilation 2 spans 5 cells, but the input has only 4"),
    ("ConvTranspose", [f(2, 3, 4), f(4, 3, 3)], {}, "X (2, 3, 4) has 3 channels, but W (4, 3, 3) reads 4, in 1 groups"),
    ("ConvTranspose", [f(2, 3, 4), f(3, 3, 3)], {"output_padding": [1]},
     "output_padding (1,) must be less than the stride or the dilation along each axis"),
    ("ConvTranspose", [f(2, 3, 1), f(3, 3, 3)], {"pads": [2, 2]},
     "along axis 2: padding takes 2 + 2 cells from an output of only 3: at most 2 can go"),
    ("ConvTranspose", [f(2, 3, "w"), f(3, 3, 3)], {"output_shape": [9]},
     "its pads follow from the size along axis 2, which is the unknown w"),
    ("MaxPool", [f(2, 3, 8)], {}, "attribute 'kernel_shape' is missing"),
    ("MaxPool", [f(2, 3, 8)], {"kernel_shape": [2], "pads": [2, 0]},
     "pads (2, 0) leave windows that see no cell: they must be less than the kernel spans"),
    ("MaxPool", [f(2, 3, 8)], {"kernel_shape": [2], "storage_order": 2}, "storage_order must be 0 or 1, not 2"),
    ("AveragePool", [i(2, 3, 8)], {"kernel_shape": [2]}, "it is not defined for int64"),
    ("LpPool", [f(2, 3, 8)], {"kernel_shape": [2], "p": 0}, "p must be 1 or more, not 0"),
    ("GlobalLpPool", [f(2, 3, 8)], {"p": 0}, "p must be 1 or more, not 0"),
    ("GlobalAveragePool", [f(2, 3)], {}, "X must be (batch, channels, size, …), not (2, 3)"),
    ("Add", [f(2, 3), f(2)], {}, "the shapes (2, 3) and (2,) do not broadcast"),
    ("Add", [f("batch", 3), f("time", 3)], {}, "the shapes (batch, 3) and (time, 3) do not broadcast"),
    ("Max", [f(2), f(3), f(2)], {}, "the shapes (2,) and (3,) and (2,) do not broadcast"),
    ("Relu", [i(2)], {}, "it is not defined for int64"),
    ("Neg", [Leaf(None, "uint8", (2,))], {}, "it is not defined for uint8"),
    ("Pow", [f(2), f(3)], {}, "the shapes (2,) and (3,) do not broadcast"),
    ("Celu", [f(2)], {"alpha": 0.0}, "attribute 'alpha' must not be 0: x is divided by it"),
    ("Celu", [Leaf(None, "float64", (2,))], {}, "it is not defined for float64"),
    ("Gelu", [f(2)], {"approximate": "erf"}, "approximate must be none or tanh, not 'erf'"),
    ("PRelu", [f(2, 3), f(4, 2, 3)], {}, "slope (4, 2, 3) does not broadcast to X (2, 3)"),
    ("PRelu", [f(2, 1), f(3)], {}, "slope (3,) does not broadcast to X (2, 1)"),
    ("PRelu", [f(2, 3), i(3)], {}, "its inputs have different element types: float32, int64"),
    ("Clip", [f(2), f(2)], {}, "min must be one float32, not float32 (2,)"),
    ("Clip", [f(2), None, i()], {}, "max must be one float32, not int64 ()"),
    ("Pow", [f(2), b(2)], {}, "it is not defined for bool"),
    ("Where", [f(2), f(2), f(2)], {}, "condition must be bool, not float32"),
    ("Where", [b(3), f(2), f(2)], {}, "the shapes (3,) and (2,) and (2,) do not broadcast"),
    ("Cast", [f(2)], {"to": 8}, "attribute 'to' is 8, an element type that is not supported"),
    ("Gemm", [f(2), f(2, 3)], {}, "A and B must have 2 dimensions, not (2,) and (2, 3)"),
    ("Gemm", [f("batch", 784), f(200, 100), f(200)], {"transB": 1},
     "it multiplies rows of 784 (A is (batch, 784)) by columns of 100 (B is (200, 100), transposed)"),
    ("Gemm", [f(4, 2), f(3, 2)], {"transA": 1},
     "it multiplies rows of 4 (A is (4, 2), transposed) by columns of 3 (B is (3, 2))"),
    ("Gemm", [f(2, 3), f(3, 4), f(3)], {}, "C is (3,), which does not broadcast to (2, 4)"),
    ("Gemm", [f(2, 3), f(3, 4), i(4)], {}, "its inputs have different element types: float32, float32, int64"),
    ("MatMul", [f(2, 3), i(3, 4)], {}, "its inputs have different element types: float32, int64"),
    ("MatMul", [f(), f(2)], {}, "its inputs must have at least one dimension"),
    ("MatMul", [f(2, 3), f(2, 3)], {}, "the shapes (2, 3) and (2, 3) cannot be multiplied"),
    ("MatMul", [f(2, 3, 4), f(3, 4, 2)], {}, "the shapes (2, 3, 4) and (3, 4, 2) cannot be multiplied"),
    ("Reshape", [f(2, 3), integers([2, 3, 0])], {}, "shape (2, 3, 0) copies axis 2, which the input does not have"),
    ("Reshape", [f(2, 3), integers([-1, -1])], {}, "shape (-1, -1) may have one size of -1, and none below it"),
    ("Reshape", [f(2, 3), integers([-2, -3])], {}, "shape (-2, -3) may have one size of -1, and none below it"),
    ("Reshape", [f(2, 3), integers([4, -1])], {}, "an input of shape (2, 3) cannot take the shape (4, -1)"),
    (
        "Reshape",
        [f("batch", 3), integers([0, -1])],
        {"allowzero": 1},
        "an input of shape (batch, 3) cannot take the shape (0, -1)",
    ),
    ("Reshape", [f("batch", 3), integers([6])], {}, "an input of shape (batch, 3) cannot take the shape (6,)"),
    ("Flatten", [f(2, 3)], {"axis": 3}, "axis 3 is outside an input of 2 dimensions"),
    ("Transpose", [f(2, 3)], {"perm": (0, 0)}, "perm (0, 0) is no permutation of the 2 axes of (2, 3)"),
    ("Concat", [f(2), i(2)], {"axis": 0}, "its inputs have different element types: float32, int64"),
    ("Concat", [f(2, 3), f(3, 3)], {"axis": 1}, "(2, 3) and (3, 3) differ outside axis 1"),
    ("Concat", [f(2, 3), f(2)], {"axis": 0}, "(2, 3) and (2,) differ outside axis 0"),
    ("Slice", [f(5), integers([0]), integers([1, 2])], {}, "starts, ends, axes and steps must be of one length"),
    ("Slice", [f(5, 5), integers([0, 0]), integers([1, 1]), integers([1, -1])], {},
     "the axes (1, 1) name one axis twice"),
    ("Slice", [f(5), integers([0]), integers([1]), None, integers([0])], {}, "a step of 0 moves nowhere"),
    ("Slice", [f("batch"), integers([3]), integers([1]), None, integers([-1])], {},
     "it slices axis 0, whose size batch is unknown, backwards from 3 to 1"),
    ("Squeeze", [f(2, 1), integers([0])], {}, "axis 0 of (2, 1) is not of size 1"),
    ("Unsqueeze", [f(2), integers([0, -3])], {}, "the axes (0, -3) name one axis twice"),
    ("Expand", [f(2), integers([3])], {}, "(2,) does not broadcast to (3,)"),
    ("Pad", [f(2), integers([1, 1])], {"mode": "symmetric"}, "mode 'symmetric' is not supported"),
    ("PadGrad", [f(4), integers([1, 1])], {"mode": "constant", "domain": INTERNAL},
     "mode 'constant' is not supported"),
    ("PadGrad", [f(2), integers([2, 1])], {"mode": "edge", "domain": INTERNAL},
     "pads 2 and 1 do not fit into the 2 cells of axis 0"),
    ("Pad", [f(2, 2), integers([1, 1])], {}, "2 axes need 4 pads, not 2"),
    ("Pad", [f(2, 3), integers([1, 2]), None, integers([1, -1])], {}, "the axes (1, 1) name one axis twice"),
    ("Pad", [f(2, 3), integers([0, -2, 0, -2])], {}, "pads -2 and -2 take away more than the 3 cells of axis 1"),
    ("Pad", [f(2), integers([-2, 1])], {"mode": "edge"},
     "mode 'edge' needs a cell to copy, and pads -2 and 1 leave none of axis 0"),
    ("Pad", [f(2), integers([1, 1]), i()], {}, "constant_value must be one float32, not int64 ()"),
    ("Pad", [f(2), integers([1, 1]), f(2)], {}, "constant_value must be one float32, not float32 (2,)"),
    ("Resize", [f(1, 1, 2), None, SCALES], {"mode": "area"},
     "mode must be one of nearest, linear, cubic, not 'area'"),
    ("Resize", [f(1, 1, 2), None, SCALES], {"nearest_mode": "up"},
     "nearest_mode must be one of round_prefer_floor, round_prefer_ceil, floor, ceil, not 'up'"),
    ("Resize", [f(1, 1, 2), None, SCALES], {"coordinate_transformation_mode": "tf_half_pixel_for_nn"},
     "coordinate_transformation_mode must be one of half_pixel, half_pixel_symmetric, pytorch_half_pixel, "
     "align_corners, asymmetric, tf_crop_and_resize, not 'tf_half_pixel_for_nn'"),
    ("Resize", [f(1, 1, 2), None, SCALES], {"keep_aspect_ratio_policy": "crop"},
     "keep_aspect_ratio_policy must be one of stretch, not_larger, not_smaller, not 'crop'"),
    ("Resize", [b(1, 1, 2), None, SCALES], {}, "it is not defined for bool"),
    ("Resize", [i(1, 1, 2), None, SCALES], {"mode": "linear"},
     "mode 'linear' is defined for floats only, not int64: runtimes round it in different ways; cast it"),
    ("Resize", [f(1, 1, 2), None, SCALES], {"antialias": 1},
     "antialias goes with the modes linear and cubic, not with nearest"),
    ("Resize", [f(1, 1, 2)], {}, "it takes either scales or sizes, not none of them"),
    ("Resize", [f(1, 1, 2), None, SCALES, integers([1, 1, 4])], {}, "it takes either scales or sizes, not both"),
    ("Resize", [f(1, 1, 2), None, constant([1, 1, 2], "float64")], {}, "input 'scales' must be float32, not float64"),
    ("Resize", [f(1, 2), None, SCALES], {}, "2 axes need 2 scales, not 3"),
    ("Resize", [f(1, 2, 2), None, SCALES], {"axes": (1, 2)}, "2 axes need 2 scales, not 3"),
    ("Resize", [f(1, 2, 2), None, SCALES], {"axes": (0, 1, 3)}, "axis 3 is outside an input of 3 dimensions"),
    ("Resize", [f(1, 2, 2), None, SCALES], {"axes": (0, 1, -2)}, "the axes (0, 1, 1) name one axis twice"),
    ("Resize", [f(2), None, constant([0], "float32")], {}, "scales must be positive numbers, not (0.0,)"),
    ("Resize", [f(2), None, None, integers([1, 2])], {}, "1 axes need 1 sizes, not 2"),
    ("Resize", [f(2), None, None, integers([-1])], {}, "sizes must be 0 or more, not (-1,)"),
    ("Resize", [f(2, 0), None, None, integers([2, 3])], {}, "axis 1 is empty and cannot be resized to 3"),
    ("Resize", [f(2, "height"), None, None, integers([2, 3])], {"keep_aspect_ratio_policy": "not_larger"},
     "keep_aspect_ratio_policy 'not_larger' needs axes of known sizes, not (2, height)"),
    ("Resize", [f(2), i(2), constant([2], "float32")], {}, "it is not defined for int64"),
    ("Resize", [f(2), constant([0.0], "float32"), constant([2], "float32")],
     {"coordinate_transformation_mode": "tf_crop_and_resize"}, "roi must have 2 numbers for 1 axes, not 1"),
    ("ResizeGrad", [f(5), None, constant([2], "float32"), None, integers([2])], {"domain": INTERNAL},
     "an input of (2,) is resized to (4,), not float32 (5,)"),
    ("DepthToSpace", [f(1, 4, 2)], {"blocksize": 2}, "input must be (batch, channels, height, width), not (1, 4, 2)"),
    ("DepthToSpace", [b(1, 4, 2, 2)], {"blocksize": 2}, "it is not defined for bool"),
    ("DepthToSpace", [f(1, 4, 2, 2)], {"blocksize": 0}, "blocksize must be 1 or more, not 0"),
    ("DepthToSpace", [f(1, 4, 2, 2)], {"blocksize": 2, "mode": "RCD"}, "mode must be DCR or CRD, not 'RCD'"),
    ("DepthToSpace", [f(1, 6, 2, 2)], {"blocksize": 2}, "blocksize 2 needs channels in multiples of 4, not 6"),
    ("SpaceToDepth", [f(1, 1, 4, 3)], {"blocksize": 2},
     "blocksize 2 needs sizes in multiples of 2, and axis 3 has 3"),
    ("Constant", [], {}, "it needs one value"),
    ("Constant", [], {"value_int": 1, "value_float": 1.0}, "it needs one value"),
    ("Constant", [], {"value": Tensor("int8", (2,), (1,))}, "its value is no int8 array of shape (2,)"),
    ("Constant", [], {"value": Tensor("int8", (-1, -1), (1,))}, "its value is no int8 array of shape (-1, -1)"),
    ("Constant", [], {"value": Tensor("complex64", (), (1,))}, "its value is no complex64 array of shape ()"),
    ("Constant", [], {"value": Tensor("int8", (), (300,))}, "its value has numbers outside int8"),
    ("ConstantOfShape", [integers([2, -1])], {}, "input must hold sizes of 0 or more, not (2, -1)"),
    ("ConstantOfShape", [integers([2])], {"value": Tensor("float32", (2,), (1.0, 2.0))},
     "value must be an array of one number, not float32 (2,)"),
    ("OneHot", [b(2), integers([3]), f(2)], {}, "it is not defined for bool"),
    ("OneHot", [i(2), integers([3]), f(3)], {},
     "depth must be one number of 0 or more, and values must be the pair (off, on)"),
    ("Dropout", [f(2), f(), f()], {}, "training_mode must be one bool, not float32 ()"),
    ("Dropout", [f(2), f(2)], {}, "ratio must be one float, not float32 (2,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), f(2)], {}, "labels must be int32 or int64, not float32"),
    ("SoftmaxCrossEntropyLoss", [f(2), i(2)], {}, "scores must have at least 2 dimensions, not (2,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), i(3)], {}, "scores (2, 3) need labels (2,), not (3,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), i(2), f(2)], {}, "weights must be float32 (3,), not float32 (2,)"),
    ("SoftmaxCrossEntropyLoss", [f(2, 3), i(2)], {"reduction": "max"},
     "reduction must be one of none, mean, sum, not 'max'"),
    ("ConvWeightGrad", [f(2, 4, 6), f(3, 3, 8)], {"domain": INTERNAL, "kernel_shape": [3]},
     "dY and X must have one element type, rank and batch, not float32 (2, 4, 6) and float32 (3, 3, 8)"),
    ("ConvWeightGrad", [f(2, 4, 6), f(2, 3, 8)], {"domain": INTERNAL, "kernel_shape": [3], "group": 2},
     "group 2 does not divide the 4 channels of dY and the 3 of X"),
    ("ConvWeightGrad", [f(2, 4, 5), f(2, 3, 8)], {"domain": INTERNAL, "kernel_shape": [3]},
     "dY must be (2, 4, 6) for an X of (2, 3, 8), not float32 (2, 4, 5)"),
    ("MaxPoolGrad", [f(2, 4, 3), f(2, 4, 8), f(2, 4, 4)],
     {"domain": INTERNAL, "kernel_shape": [2], "strides": [2]},
     "dY and Y must be float32 (2, 4, 4) for an X of float32 (2, 4, 8), not float32 (2, 4, 3) and float32 (2, 4, 4)"),
    ("PoolSpread", [f(2, 4, 3), f(2, 4, 8)], {"domain": INTERNAL, "kernel_shape": [2], "strides": [2]},
     "dY must be float32 (2, 4, 4) for an X of float32 (2, 4, 8), not float32 (2, 4, 3)"),
    ("Momentum", [f(2), f(2), f(3), f()], {"domain": INTERNAL}, "velocity must be float32 (2,), not float32 (3,)"),
    ("Momentum", [f(2), f(2), f(2), f(1)], {"domain": INTERNAL}, "rate must be float32 (), not float32 (1,)"),
    ("BatchNormalization", [f(2), *[f(2)] * 4], {}, "X must be (batch, channels, …), not (2,)"),
    ("BatchNormalization", [f("batch", 3, 5), f(3), f(5), f(3), f(3)], {},
     "B must be a float type (3,) for X float32 (batch, 3, 5), not float32 (5,)"),
    ("BatchNormalization", [f(2, 3), f(3), f(3), i(3), f(3)], {},
     "input_mean must be a float type (3,) for X float32 (2, 3), not int64 (3,)"),
    ("BatchNormalization", [i(2, 3), *[f(3)] * 4], {}, "it is not defined for int64"),
    ("BatchNormalization", [f(2, 3), *[f(3)] * 4], {"training_mode": 1},
     "with training_mode 1 its outputs are 3, not 1"),
    ("BatchNormalization", [f(2, 3), *[f(3)] * 4], {"outputs": 3}, "with training_mode 0 its outputs are 1, not 3"),
    ("BatchNormalizationGrad", [f(2, 3), f(2, 4), f(4)], {"domain": INTERNAL},
     "dY must be float32 (2, 4), as X is, not float32 (2, 3)"),
    ("BatchNormalizationGrad", [f(2, 4), f(2, 4), f(3)], {"domain": INTERNAL},
     "scale must be a float type (4,) for dY float32 (2, 4), not float32 (3,)"),
    ("InstanceNormalization", [f(2, 3), f(3), f(3)], {}, "input must be (batch, channels, size, …), not (2, 3)"),
    ("InstanceNormalization", [f(2, 3, 4), f(3), f(4)], {},
     "B must be float32 (3,) for input float32 (2, 3, 4), not float32 (4,)"),
    ("GroupNormalization", [f(2, 6, 4), f(6), f(6)], {}, "attribute 'num_groups' is missing"),
    ("GroupNormalization", [f(2, 6, 4), f(6), f(6)], {"num_groups": 4},
     "num_groups must divide the number of channels, which is 6, not be 4"),
    ("GroupNormalization", [f(2, 6, 4), f(6), f(6)], {"num_groups": 0},
     "num_groups must divide the number of channels, which is 6, not be 0"),
    ("GroupNormalization", [f(2, "c", 4), f("c"), f("c")], {"num_groups": 1},
     "num_groups must divide the number of channels, which is c, not be 1"),
    ("GroupNormalization", [f(2, 6, 4), f(6), f(6)], {"num_groups": 2, "stash_type": 10},
     "stash_type must be 1 (float32), not 10"),
    ("LayerNormalization", [f(2, 3), f(3)], {"stash_type": 16}, "stash_type must be 1 (float32), not 16"),
    ("LayerNormalization", [f(2, 3), f(3)], {"axis": 2}, "axis 2 is outside an input of 2 dimensions"),
    ("LayerNormalization", [f(2, 3), f(2)], {},
     "Scale must be float32 that broadcasts to X float32 (2, 3), not float32 (2,)"),
    ("LayerNormalization", [f(2, 3), f(3), f(1, 2, 3)], {},
     "B must be float32 that broadcasts to X float32 (2, 3), not float32 (1, 2, 3)"),
    ("RMSNormalization", [f(2, 3), i(3)], {},
     "scale must be float32 that broadcasts to X float32 (2, 3), not int64 (3,)"),
    ("LayerNormalizationGrad", [f(2), f(3), f(3)], {"domain": INTERNAL},
     "dY must be float32 (3,), as X is, not float32 (2,)"),
    ("LRN", [f(2, 3, 4)], {"size": 0}, "size must be 1 or more, not 0"),
    ("LRN", [f(2)], {"size": 3}, "X must be (batch, channels, …), not (2,)"),
    ("LpNormalization", [f(2, 3)], {"p": 3}, "p must be 1 or 2, not 3"),
    ("Foo", [f(2)], {}, "operator 'Foo' is not supported"),
    ("Foo", [f(2)], {"domain": "com.example"}, "operator 'com.example.Foo' is not supported"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_node_that_does_not_fit(row: Row) -> None:
    assert_refused(row)


def loss_over_unknown_classes() -> tuple[Symbol, ...]:
    return emit_all("SoftmaxCrossEntropyLoss", f(2, "classes"), i(2), outputs=2, name="here")


def dropout_without_mask() -> tuple[Symbol, ...]:
    return emit_all("Dropout", f(3), f(), constant(True, "bool"), name="here")


def running_mean() -> tuple[Symbol, ...]:
    return emit_all("BatchNormalization", f(4, 3), *[f(3)] * 4, outputs=3, training_mode=1, name="here")[1:]


def instances_of_unknown_channels() -> tuple[Symbol, ...]:
    return emit_all("InstanceNormalization", f(2, "c", 4), f("c"), f("c"), name="here")


def depth_of_unknown_channels() -> tuple[Symbol, ...]:
    return emit_all("DepthToSpace", f(1, "4*channels", 2, 2), blocksize=2, mode="CRD", name="here")


def blocks_of_an_unknown_height() -> tuple[Symbol, ...]:
    return emit_all("SpaceToDepth", f(1, 1, "height", 4), blocksize=2, name="here")


NO_GRADIENT = {
    depth_of_unknown_channels: "its gradient in mode CRD needs a known number of channels, not 4*channels",
    blocks_of_an_unknown_height: "its gradient needs sizes in known multiples of 2, and axis 2 has height",
    running_mean: "BatchNormalization has a gradient through its first output only",
    instances_of_unknown_channels: "its gradient needs a known number of channels, and it is c",
    loss_over_unknown_classes: "its gradient needs a known number of classes",
    dropout_without_mask: "its gradient needs its second output, mask",
}


@pytest.mark.parametrize(("build", "message"), NO_GRADIENT.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_use_that_has_no_gradient(build: Callable[[], tuple[Symbol, ...]], message: str) -> None:
    [output] = build()[:1]
    [leaf] = [symbol for symbol in output.origin.inputs if symbol is not None][:1]
    with pytest.raises(GraphError, match=f"^'here' .*: {re.escape(message)}$"):
        gradients([output], [Leaf(None, output.dtype, output.shape)], [leaf])


@pytest.mark.parametrize(
    ("ratio", "mode", "message"),
    [
        (constant(1.0, "float32"), constant(True, "bool"), "ratio must be at least 0 and less than 1, not 1"),
        (constant(-0.5, "float32"), constant(True, "bool"), "ratio must be at least 0 and less than 1, not -0.5"),
    ],
)
def test_dropout_that_cannot_be_planned(ratio: Symbol | None, mode: Symbol, message: str) -> None:
    x = Leaf("x", "float32", (2,))
    graph = trace([x], emit_all("Dropout", x, ratio, mode, name="here")).graph
    with pytest.raises(GraphError, match=f"^'here' \\(Dropout\\): {re.escape(message)}$"):
        Plan(graph, {}, {})


def test_whether_dropout_drops_is_known_before_it_runs() -> None:
    with pytest.raises(GraphError, match=r"^'here' \(Dropout\): training_mode must be a constant: "):
        emit_all("Dropout", Leaf("x", "float32", (2,)), None, Leaf("mode", "bool", ()), name="here")


def test_the_greatest_of_nothing() -> None:
    x = Leaf("x", "float32", (2, 0))
    with pytest.raises(GraphError, match=r"^'here' \(ArgMax\): axis 1 of \(2, 0\) is empty and has no extreme$"):
        Plan(trace([x], emit_all("ArgMax", x, axis=1, name="here")).graph, {}, {})


def test_lookup_of_what_is_not_there() -> None:
    with pytest.raises(InvalidNode, match=r"^operator 'Foo' is not supported$"):
        lookup("Foo")
