"""Random networks of all layers, here and in PyTorch: the table of layers with their options, and the graphs.

A row draws the arguments of a PyTorch module for an input of some shape; ``COUNTERPARTS`` says what the layer here is
called with. Rows of layers that PyTorch has no module for give a function instead. What is left out is in ``LEFT_OUT``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.layers import Layer
from portable_nn.layers.pytorch import COUNTERPARTS, translated
from portable_nn.operators import Symbol

torch: Any = pytest.importorskip("torch")

Rng = np.random.Generator
Shape = tuple[int, ...]
Options = dict[str, Any]

LARGEST = 700
"""The most elements of a value, without the batch."""

FEWEST: Final = 6
"""The fewest numbers that are normalised: the difference of two that are nearly equal is rounding."""

LEFT_OUT: Mapping[str, str] = {
    "AvgPool3d of less than the kernel": "PyTorch refuses it, even with padding",
    "LPPool of an odd order": "PyTorch adds powers with their signs, ONNX and we magnitudes",
    "LPPool with ceil_mode": "PyTorch scales the sum of a window that is cut off, ONNX and we do not",
    "LPPool of several sizes": "PyTorch fails with some of them",
    "LPPool of zeros": "the gradient of a root at 0 is infinite",
    "normalisation of fewer than 6 numbers": "where they are nearly equal, their rounding decides",
    "InstanceNorm of one cell, BatchNorm of one value": "PyTorch refuses them",
    "RMSNorm without eps": "it is the machine epsilon, which is another one in single precision",
    "BatchNorm's running_var": "PyTorch's is Σ(x - mean)² / (n - 1); it is corrected on PyTorch's side",
    "Upsample in double by a factor that is none in single precision": "ONNX's scales are in single precision",
    "nearest of 1 or 3 axes, by a factor that keeps or doubles a size": "PyTorch's gradient is not that of its output",
    "Rescaling and Normalization of another tool's model": "no such file says what is frozen: it is frozen by name",
    "Hardsigmoid's gradient": "PyTorch's has 1/6 in single precision even in double: its definition is differentiated",
    "Embedding, TransformerEncoderLayer, positions": "test_sequences_torch.py has them; the first takes whole numbers",
    "Columns": "its examples are rows of a table: test_columns.py has it beside scikit-learn",
    "Dropout in training": "other random numbers: what drops is compared without training",
    "Softplus with beta or threshold, Flatten of some axes, padding modes of convolutions": "not offered",
    "padding of pools by pairs or 'same', of convolutions by pairs": "PyTorch has none",
}
"""What the table leaves out, and why."""


class Row(NamedTuple):
    """A layer: its name, and the draw of its arguments for an input; ``None`` where none fit it."""

    name: str
    draw: Callable[[Rng, Shape], Any]
    signed: bool = False
    """Whether it needs an input that has no exact zeros."""


class Made(NamedTuple):
    """A layer here, and the module or function of PyTorch that computes the same."""

    layer: Callable[[Symbol], Symbol]
    module: Any
    name: str
    options: Options


# -- arguments


def _one_or_each(rng: Rng, axes: int, low: int, high: int) -> Any:
    """A number, or one for each axis."""
    if rng.random() < 0.5:
        return int(rng.integers(low, high + 1))
    return tuple(int(each) for each in rng.integers(low, high + 1, axes))


def _each(value: Any, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value)


def _some(rng: Rng, **choices: Sequence[Any]) -> Options:
    """Some of the options, each with one of its values; the others keep their defaults."""
    return {name: values[rng.integers(len(values))] for name, values in choices.items() if rng.random() < 0.6}


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _window(rng: Rng, sizes: Shape, *, dilation: bool = False, half: bool = False) -> Options | None:
    """kernel_size, stride, padding and dilation that leave an output."""
    axes = len(sizes)
    found: Options = {"kernel_size": _one_or_each(rng, axes, 1, 4)}
    if rng.random() < 0.7:
        found["stride"] = _one_or_each(rng, axes, 1, 3)
    if rng.random() < 0.6:
        found["padding"] = _one_or_each(rng, axes, 0, 2)
    if dilation and rng.random() < 0.4:
        found["dilation"] = _one_or_each(rng, axes, 1, 3)
    kernel = _each(found["kernel_size"], axes)
    padding, spread = _each(found.get("padding", 0), axes), _each(found.get("dilation", 1), axes)
    for size, k, p, d in zip(sizes, kernel, padding, spread, strict=True):
        if size + 2 * p < d * (k - 1) + 1 or (half and 2 * p > k):
            return None
    return found


def _conv(rng: Rng, shape: Shape) -> Options | None:
    channels, *sizes = shape
    window = _window(rng, tuple(sizes), dilation=True)
    if window is None:
        return None
    if rng.random() < 0.2:
        window["padding"] = "same" if window.get("stride", 1) == 1 else "valid"
        if window["padding"] == "valid" and _window_is_too_large(window, tuple(sizes)):
            return None
    groups = int(rng.choice(_divisors(channels))) if rng.random() < 0.5 else 1
    out = groups * int(rng.integers(1, 4))
    return {"in_channels": channels, "out_channels": out, **window, "groups": groups, **_some(rng, bias=[True, False])}


def _window_is_too_large(window: Options, sizes: Shape) -> bool:
    axes = len(sizes)
    kernel, spread = _each(window["kernel_size"], axes), _each(window.get("dilation", 1), axes)
    return any(size < d * (k - 1) + 1 for size, k, d in zip(sizes, kernel, spread, strict=True))


def _conv_transposed(rng: Rng, shape: Shape) -> Options | None:
    channels, *sizes = shape
    axes = len(sizes)
    groups = int(rng.choice(_divisors(channels))) if rng.random() < 0.5 else 1
    found: Options = {
        "in_channels": channels,
        "out_channels": groups * int(rng.integers(1, 3)),
        "kernel_size": _one_or_each(rng, axes, 1, 4),
        "groups": groups,
        **_some(rng, bias=[True, False]),
    }
    for name, low, high in (("stride", 1, 3), ("padding", 0, 2), ("dilation", 1, 3), ("output_padding", 0, 2)):
        if rng.random() < 0.5:
            found[name] = _one_or_each(rng, axes, low, high)
    options = [_each(found.get(name, default), axes) for name, default in
               (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0), ("kernel_size", 1))]  # fmt: skip
    for size, s, p, d, more, k in zip(sizes, *options, strict=True):
        if more >= max(s, d) or (size - 1) * s - 2 * p + d * (k - 1) + more + 1 < 1:
            return None
    return found


def _max_pool(rng: Rng, shape: Shape) -> Options | None:
    window = _window(rng, shape[1:], dilation=True, half=True)
    return window and {**window, **_some(rng, ceil_mode=[True, False])}


def _average_pool(rng: Rng, shape: Shape) -> Options | None:
    window = _window(rng, shape[1:], half=True)
    if window is None or (len(shape) == 4 and _window_is_too_large(window, shape[1:])):
        return None
    return {**window, **_some(rng, ceil_mode=[True, False], count_include_pad=[True, False])}


def _norm_pool(rng: Rng, shape: Shape) -> Options | None:
    window = _window(rng, shape[1:])
    if window is None or "padding" in window or not isinstance(window["kernel_size"], int):
        return None
    return {"norm_type": int(rng.choice([2, 4])), **window}


def _batch_norm(rng: Rng, shape: Shape) -> Options:
    some = _some(rng, eps=[1e-5, 1e-3, 0.1], momentum=[0.0, 0.1, 0.7, 1.0], affine=[True, False])
    return {"num_features": shape[0], **some, **_some(rng, track_running_stats=[True, False])}


def _instance_norm(rng: Rng, shape: Shape) -> Options | None:
    if math.prod(shape[1:]) < FEWEST:
        return None
    return {"num_features": shape[0], **_some(rng, eps=[1e-5, 0.1], affine=[True, False])}


def _layer_norm(rng: Rng, shape: Shape) -> Options | None:
    count = int(rng.integers(1, len(shape) + 1))
    sizes = list(shape[-count:])
    if math.prod(sizes) < FEWEST:
        return None
    some = _some(rng, eps=[1e-5, 0.1], elementwise_affine=[True, False], bias=[True, False])
    return {"normalized_shape": sizes, **some}


def _rms_norm(rng: Rng, shape: Shape) -> Options | None:
    found = _layer_norm(rng, shape)
    if found is None:
        return None
    return {"eps": 1e-5, **{name: value for name, value in found.items() if name != "bias"}}


def _group_norm(rng: Rng, shape: Shape) -> Options | None:
    groups = int(rng.choice(_divisors(shape[0])))
    if math.prod(shape) // groups < FEWEST:
        return None
    return {"num_groups": groups, "num_channels": shape[0], **_some(rng, eps=[1e-5, 0.1], affine=[True, False])}


def _response_norm(rng: Rng, shape: Shape) -> Options:
    some = _some(rng, alpha=[1e-4, 0.5], beta=[0.75, 0.5], k=[1.0, 2.0])
    return {"size": int(rng.integers(1, 6)), **some}


def _upsample(rng: Rng, shape: Shape) -> Options | None:
    axes = len(shape) - 1
    modes = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}[axes]
    mode = str(rng.choice(["nearest", "nearest-exact", *modes]))
    found: Options = {"mode": mode}
    if mode in modes:
        found |= _some(rng, align_corners=[True, False])
    if rng.random() < 0.5:
        size = _one_or_each(rng, axes, 1, 9)
        return {"size": size, **found}
    exact = [0.5, 1.5, 2, 2.5, 3]
    factors = [float(each) for each in rng.choice(exact if mode in modes else [*exact, 0.7, 1.1], axes)]
    one = rng.random() < 0.5
    pairs = list(zip(shape[1:], factors[:1] * axes if one else factors, strict=True))
    if any(int(size * factor) < 1 for size, factor in pairs):
        return None
    if mode == "nearest" and axes != 2 and any(int(n * f) in (n, 2 * n) and f != 2 for n, f in pairs):
        return None
    return {"scale_factor": factors[0] if one else tuple(factors), **found}


def _pads(rng: Rng, shape: Shape, low: int, most: Callable[[int], int]) -> Any:
    """PyTorch's order: the last axis first."""
    sizes = shape[:0:-1]
    flat = [int(rng.integers(low, max(low, min(2, most(size))) + 1)) for size in sizes for _ in range(2)]
    ends = zip(flat[::2], flat[1::2], sizes, strict=True)
    return tuple(flat) if all(size + begin + end > 0 for begin, end, size in ends) else None


def _pad(kind: str) -> Callable[[Rng, Shape], Options | None]:
    most = {"Reflection": lambda size: size - 1, "Circular": lambda size: size}.get(kind, lambda size: 2)

    def draw(rng: Rng, shape: Shape) -> Options | None:
        low = -1 if kind in ("Constant", "Zero") else 0
        padding = _pads(rng, shape, low, most)
        if padding is None:
            return None
        return {"padding": padding, **({"value": float(rng.choice([0, 1.5, -2]))} if kind == "Constant" else {})}

    return draw


def _shuffle(rng: Rng, shape: Shape) -> Options | None:
    factors = [each for each in (1, 2, 3) if shape[0] % each**2 == 0]
    return {"upscale_factor": int(rng.choice(factors))}


def _unshuffle(rng: Rng, shape: Shape) -> Options | None:
    factors = [each for each in (1, 2, 3) if shape[1] % each == shape[2] % each == 0]
    return {"downscale_factor": int(rng.choice(factors))}


def _axis(rng: Rng, shape: Shape) -> Options:
    return {"dim": int(rng.choice([-1, *range(1, len(shape) + 1)]))}


def _of(**choices: Sequence[Any]) -> Callable[[Rng, Shape], Options]:
    return lambda rng, shape: _some(rng, **choices)


def _ranked(axes: int, draw: Callable[[Rng, Shape], Options | None]) -> Callable[[Rng, Shape], Options | None]:
    """A draw for inputs with so many axes after the channels."""
    return lambda rng, shape: draw(rng, shape) if len(shape) == axes + 1 else None


def _spatial(draw: Callable[[Rng, Shape], Options | None]) -> Callable[[Rng, Shape], Options | None]:
    """A draw for inputs with axes after the channels."""
    return lambda rng, shape: draw(rng, shape) if len(shape) > 1 else None


def _recurrent(kind: str) -> Callable[[Rng, Shape], Options]:
    more = {"nonlinearity": ["tanh", "relu"]} if kind == "RNN" else {}

    def draw(rng: Rng, shape: Shape) -> Options:
        some = _some(rng, num_layers=[1, 2], bias=[True, False], bidirectional=[True, False], **more)
        return {"input_size": shape[1], "hidden_size": int(rng.integers(1, 6)), **some, "batch_first": True}

    return draw


NUMBERED: Mapping[str, tuple[Callable[[Rng, Shape], Options | None], bool]] = {
    "Conv": (_conv, False),
    "ConvTranspose": (_conv_transposed, False),
    "MaxPool": (_max_pool, False),
    "AvgPool": (_average_pool, False),
    "LPPool": (_norm_pool, True),
    "AdaptiveAvgPool": (lambda rng, shape: {"output_size": 1}, False),
    "AdaptiveMaxPool": (lambda rng, shape: {"output_size": 1}, False),
    "InstanceNorm": (_instance_norm, False),
    **{f"{kind}Pad": (_pad(kind), False) for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")},
}
"""Those whose names end in the number of axes."""

ROWS: Sequence[Row] = (
    Row("Linear", lambda rng, shape: {
        "in_features": shape[-1], "out_features": int(rng.integers(1, 9)), **_some(rng, bias=[True, False])
    }),
    *(
        Row(f"{name}{axes}d", _ranked(axes, draw), signed)
        for name, (draw, signed) in NUMBERED.items()
        for axes in (1, 2, 3)
    ),
    *(Row(f"BatchNorm{axes}d", _ranked(axes, _batch_norm)) for axes in (1, 2, 3)),
    Row("BatchNorm1d", _ranked(0, _batch_norm)),
    Row("LayerNorm", _layer_norm),
    Row("RMSNorm", _rms_norm),
    Row("GroupNorm", _group_norm),
    Row("LocalResponseNorm", _spatial(_response_norm)),
    Row("Dropout", _of(p=[0.0, 0.0, 0.3])),
    *(Row(name, _of(inplace=[False])) for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish")),
    Row("Hardsigmoid", _of()),
    *(Row(name, _of()) for name in ("Sigmoid", "Tanh", "Softsign", "Softplus")),
    Row("LeakyReLU", _of(negative_slope=[0.0, 0.2, 1.5])),
    Row("Threshold", lambda rng, shape: {"threshold": float(rng.choice([-0.5, 0.0, 0.5])), "value": 0}),
    Row("ELU", _of(alpha=[0.5, 2.0])),
    Row("CELU", _of(alpha=[0.5, 2.0])),
    Row("GELU", _of(approximate=["none", "tanh"])),
    Row("Hardtanh", _of(min_val=[-2.0, -0.5], max_val=[0.25, 3.0])),
    Row("Softshrink", _of(lambd=[0.0, 0.25])),
    Row("Hardshrink", _of(lambd=[0.0, 0.25])),
    Row("PReLU", lambda rng, shape: {"num_parameters": int(rng.choice([1, shape[0]])), **_some(rng, init=[0.1, -0.5])}),
    Row("Softmax", _axis),
    Row("LogSoftmax", _axis),
    Row("Flatten", _of()),
    Row("Upsample", _spatial(_upsample)),
    Row("PixelShuffle", _ranked(2, _shuffle)),
    Row("PixelUnshuffle", _ranked(2, _unshuffle)),
    Row("Clip", lambda rng, shape: _clip(rng)),
    Row("Reshape", lambda rng, shape: _reshape(rng, shape)),
    Row("Rescaling", lambda rng, shape: _rescaled(rng)),
    Row("Normalization", lambda rng, shape: _standardised(rng, shape)),
    Row("GlobalLPPool", lambda rng, shape: _global_norm(rng, shape), signed=True),
    *(Row(kind, _ranked(1, _recurrent(kind))) for kind in ("RNN", "GRU", "LSTM")),
    Row("MultiheadAttention", _ranked(1, lambda rng, shape: {
        "embed_dim": shape[1], "num_heads": int(rng.choice(_divisors(shape[1]))), **_some(rng, bias=[True, False]),
        "batch_first": True,
    })),
)  # fmt: skip


def _clip(rng: Rng) -> Made:
    bounds = [{"min": -0.5}, {"max": 0.75}, {"min": -1.0, "max": 1.5}][rng.integers(3)]
    return Made(pnn.Clip(**bounds), lambda x: torch.clamp(x, **bounds), "Clip", bounds)


def _reshape(rng: Rng, shape: Shape) -> Made:
    first = int(rng.choice(_divisors(math.prod(shape))))
    sizes = (first, math.prod(shape) // first) if rng.random() < 0.5 else (first, -1)
    return Made(pnn.Reshape(*sizes), lambda x: x.reshape(len(x), *sizes), "Reshape", {"shape": sizes})


def _rescaled(rng: Rng) -> Made:
    scale, offset = float(rng.choice([0.5, -2.0])), float(rng.choice([0.0, 1.5]))
    layer = pnn.Rescaling(scale, offset)
    return Made(layer, lambda x: x * scale + offset, "Rescaling", {"scale": scale, "offset": offset})


def _standardised(rng: Rng, shape: Shape) -> Made:
    mean, std = rng.integers(-2, 3, shape[0]) / 4, rng.integers(1, 9, shape[0]) / 4
    across = (-1, *[1] * (len(shape) - 1))
    centre, width = (torch.from_numpy(each.reshape(across)) for each in (mean, std))
    options = {"mean": mean.tolist(), "std": std.tolist()}
    return Made(pnn.Normalization(**options), lambda x: (x - centre) / width, "Normalization", options)


def _global_norm(rng: Rng, shape: Shape) -> Made | None:
    if len(shape) < 2:
        return None
    p, axes = int(rng.choice([1, 2, 3])), tuple(range(2, len(shape) + 1))
    return Made(
        pnn.GlobalLPPool(p), lambda x: torch.linalg.vector_norm(x, p, axes, keepdim=True), "GlobalLPPool", {"p": p}
    )


def made(row: Row, rng: Rng, shape: Shape, name: str) -> Made | None:
    """A layer with random options for inputs of ``shape``."""
    options = row.draw(rng, shape)
    if options is None or isinstance(options, Made):
        return options
    arguments = translated(row.name, **options)
    assert arguments is not None, (row.name, options)
    layer: Layer = getattr(pnn, COUNTERPARTS[row.name].builder)(**arguments, name=name)
    wrapped = WRAPPED.get(row.name)
    module = wrapped(row.name, options) if wrapped else INSTEAD.get(row.name) or getattr(torch.nn, row.name)(**options)
    return Made(layer, module, row.name, options)


class InOurLayout(torch.nn.Module):  # type: ignore[misc]
    """A module of PyTorch with parameters of the names and layouts that the layer here has."""

    def __init__(self, kind: str, options: Options) -> None:
        super().__init__()
        self.kind, self.options = kind, options

    def parameter(self, name: str, *shape: int) -> None:
        self.register_parameter(name, torch.nn.Parameter(torch.empty(shape)))


ORDER: Mapping[str, Sequence[int]] = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""The gates in PyTorch's order, by their places in that of the standard."""


class Recurrence(InOurLayout):
    """RNN, GRU or LSTM."""

    def __init__(self, kind: str, options: Options) -> None:
        super().__init__(kind, options)
        self.layers, self.bias = options.get("num_layers", 1), options.get("bias", True)
        self.directions, units = 1 + options.get("bidirectional", False), options["hidden_size"]
        features, rows = options["input_size"], len(ORDER[kind]) * units
        for layer in range(self.layers):
            self.parameter(f"weight_l{layer}", self.directions, rows, features)
            self.parameter(f"recurrent_l{layer}", self.directions, rows, units)
            if self.bias:
                self.parameter(f"bias_l{layer}", self.directions, 2 * rows)
            features = self.directions * units

    def forward(self, x: Any) -> Any:
        flat = []
        for layer in range(self.layers):
            for direction in range(self.directions):
                weights = [getattr(self, f"{role}_l{layer}")[direction] for role in ("weight", "recurrent")]
                weights += getattr(self, f"bias_l{layer}")[direction].chunk(2) if self.bias else []
                flat += [self._in_their_order(each) for each in weights]
        h = x.new_zeros(self.layers * self.directions, len(x), self.options["hidden_size"])
        suffix = f"_{self.options.get('nonlinearity', 'tanh')}" if self.kind == "RNN" else ""
        run = getattr(torch._VF, self.kind.lower() + suffix)
        start = (h, h) if self.kind == "LSTM" else h
        return run(x, start, flat, self.bias, self.layers, 0.0, self.training, self.directions > 1, True)[0]

    def _in_their_order(self, rows: Any) -> Any:
        blocks = rows.chunk(len(ORDER[self.kind]))
        return torch.cat([blocks[place] for place in ORDER[self.kind]])


class Attention(InOurLayout):
    """MultiheadAttention of a value with itself."""

    def __init__(self, kind: str, options: Options) -> None:
        super().__init__(kind, options)
        features = options["embed_dim"]
        self.parameter("weight", 3 * features, features)
        self.parameter("out_weight", features, features)
        if options.get("bias", True):
            self.parameter("bias", 3 * features)
            self.parameter("out_bias", features)

    def forward(self, x: Any) -> Any:
        x = x.transpose(0, 1)
        bias, out_bias = (getattr(self, name, None) for name in ("bias", "out_bias"))
        made, _ = torch.nn.functional.multi_head_attention_forward(
            x, x, x, self.options["embed_dim"], self.options["num_heads"], self.weight, bias, None, None, False, 0.0,
            self.out_weight, out_bias, need_weights=False,
        )  # fmt: skip
        return made.transpose(0, 1)


WRAPPED: Mapping[str, type[InOurLayout]] = {
    **dict.fromkeys(ORDER, Recurrence),
    "MultiheadAttention": Attention,
}
"""Modules whose parameters have other names or layouts here."""

INSTEAD: Mapping[str, Callable[[Any], Any]] = {
    "Hardsigmoid": lambda x: torch.nn.functional.hardtanh(x + 3, 0.0, 6.0) / 6
}
"""Functions of PyTorch in place of modules, for the reasons in ``LEFT_OUT``."""

# -- graphs


@dataclass
class Step:
    """A node of the graph: what is applied, and to which values."""

    made: Made
    inputs: tuple[int, ...]
    shared: bool = False


@dataclass
class Program:
    """A random graph: the shapes of its inputs, its steps, and the values that are its outputs."""

    inputs: list[Shape]
    steps: list[Step] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"v{place} = Input{shape}" for place, shape in enumerate(self.inputs)]
        for place, step in enumerate(self.steps, start=len(self.inputs)):
            options = ", ".join(f"{name}={value}" for name, value in step.made.options.items())
            values = ", ".join(f"v{each}" for each in step.inputs)
            lines.append(f"v{place} = {step.made.name}({options})({values})" + " shared" * step.shared)
        return "\n".join([*lines, f"outputs {self.outputs}"])


JOINS: Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "Add": (lambda a, b: a + b, lambda a, b: a + b),
    "Mul": (lambda a, b: a * b, lambda a, b: a * b),
    "Concat": (lambda a, b: pnn.concatenate(a, b), lambda a, b: torch.cat([a, b], 1)),
}
"""What two values become one by."""

START: Sequence[Shape] = ((6,), (4, 5), (4, 9), (4, 6, 5), (3, 8, 8), (9, 4, 4), (2, 4, 4, 5), (4, 3, 4, 3))
ZEROS = {"ReLU", "ReLU6", "Hardshrink", "Softshrink", "Threshold", "Hardswish", "Hardsigmoid", "Dropout", "LeakyReLU"}
"""Layers that make exact zeros."""


class _Drawing:
    """A graph that is being drawn; ``symbols`` and ``shapes`` are those of its values."""

    def __init__(self, rng: Rng, dtype: str) -> None:
        self.rng = rng
        count = int(rng.choice([1, 1, 2, 3]))
        self.program = Program([START[rng.integers(len(START))] for _ in range(count)])
        self.symbols: list[Symbol] = [
            pnn.Input(*shape, name=f"in{place}", dtype=dtype) for place, shape in enumerate(self.program.inputs)
        ]
        self.signed = [True] * count
        self.layers: list[tuple[Made, Shape]] = []

    def shape(self, value: int) -> Shape:
        return tuple(int(size) for size in self.symbols[value].shape[1:])

    def add(self, found: Made, *inputs: int, shared: bool = False) -> bool:
        """Apply it; not where the result is too large."""
        symbol = found.layer(*(self.symbols[each] for each in inputs))
        if math.prod(int(size) for size in symbol.shape[1:]) > LARGEST:
            return False
        self.symbols.append(symbol)
        self.program.steps.append(Step(found, inputs, shared))
        self.signed.append(found.name not in ZEROS and all(self.signed[each] for each in inputs))
        return True

    def grow(self, value: int) -> None:
        """A layer on a value: a new one, or one that other values have gone through."""
        shape = self.shape(value)
        if self.layers and self.rng.random() < 0.15:
            fitting = [found for found, wanted in self.layers if wanted == shape]
            if fitting and self.add(fitting[self.rng.integers(len(fitting))], value, shared=True):
                return
        for _ in range(50):
            row = ROWS[self.rng.integers(len(ROWS))]
            if row.signed and not self.signed[value]:
                continue
            found = made(row, self.rng, shape, f"n{len(self.program.steps)}")
            if found is not None and self.add(found, value):
                if hasattr(found.module, "parameters") and list(found.module.parameters()):
                    self.layers.append((found, shape))
                return

    def join(self) -> None:
        """Two values of one shape become one."""
        shapes = [self.shape(value) for value in range(len(self.symbols))]
        pairs = [(a, b) for a, b in itertools.combinations(range(len(shapes)), 2) if shapes[a] == shapes[b]]
        if pairs:
            name = str(self.rng.choice(list(JOINS)))
            ours, theirs = JOINS[name]
            self.add(Made(ours, theirs, name, {}), *pairs[self.rng.integers(len(pairs))])


def drawn(seed: int, dtype: str) -> tuple[Program, pnn.Network]:
    """The random network of that number, whatever the element type."""
    rng = np.random.default_rng(seed)
    drawing = _Drawing(rng, dtype)
    for value in range(len(drawing.program.inputs)):
        drawing.grow(value)
    for _ in range(int(rng.integers(2, 11))):
        if rng.random() < 0.25:
            drawing.join()
        else:
            recent = [len(drawing.symbols) - 1, int(rng.integers(len(drawing.symbols)))]
            drawing.grow(recent[int(rng.random() < 0.4)])
    _end(drawing)
    inputs, outputs = drawing.symbols[: len(drawing.program.inputs)], drawing.program.outputs
    return drawing.program, pnn.Network(
        inputs=list(inputs), outputs=[drawing.symbols[value] for value in outputs], seed=seed
    )


def _end(drawing: _Drawing) -> None:
    """The values that nothing reads are the outputs; one more joins them where nothing could be trained."""
    program = drawing.program
    trained = {step for step in range(len(program.steps)) if _parameters(program.steps[step].made.module)}
    read = {value for step in program.steps for value in step.inputs}
    ends = [value for value in range(len(drawing.symbols)) if value not in read]
    if not trained:
        last = ends[-1]
        shape = drawing.shape(last)
        module = torch.nn.Linear(shape[-1], 3)
        drawing.add(
            Made(pnn.Dense(3, name="head"), module, "Linear", {"in_features": shape[-1], "out_features": 3}), last
        )
        ends[-1] = len(drawing.symbols) - 1
    program.outputs = [value for value in ends if value >= len(program.inputs)]


def _parameters(module: Any) -> list[Any]:
    return list(module.parameters()) if isinstance(module, torch.nn.Module) else []


class _Module(torch.nn.Module):  # type: ignore[misc]
    """The program in PyTorch."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.layers = torch.nn.ModuleDict()
        for step in program.steps:
            module = step.made.module
            if isinstance(module, torch.nn.Module) and not step.shared and hasattr(step.made.layer, "name"):
                self.layers[step.made.layer.name] = module

    def forward(self, *inputs: Any) -> list[Any]:
        values = list(inputs)
        for step in self.program.steps:
            module, given = step.made.module, [values[each] for each in step.inputs]
            moving = getattr(module, "running_var", None) if module.__class__.__name__.startswith("Batch") else None
            before = None if moving is None else moving.clone()
            values.append(module(*given))
            if before is not None and module.training and module.momentum:
                count = given[0].numel() // given[0].shape[1]
                now = (module.running_var - (1 - module.momentum) * before) / module.momentum
                biased = now * (count - 1) / count
                module.running_var = ((1 - module.momentum) * before + module.momentum * biased).detach()
        return [values[each] for each in self.program.outputs]


def moving(net: pnn.Network) -> list[str]:
    """The parameters that training changes, and running statistics: all but those of frozen arithmetic."""
    return [value.name for value in net.graph.parameters if value.trainable or ".running_" in value.name]


def in_pytorch(program: Program, net: pnn.Network) -> Any:
    """The module in double precision, with the weights of ``net``."""
    module = _Module(program).to(torch.float64)
    theirs = dict(module.layers.named_parameters()) | dict(module.layers.named_buffers())
    theirs = {name: value for name, value in theirs.items() if not name.endswith("num_batches_tracked")}
    assert theirs.keys() == set(moving(net))
    with torch.no_grad():
        for name, value in theirs.items():
            value.copy_(torch.from_numpy(np.array(net.parameters[name], np.float64)))
    return module


def state(module: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The weights and running statistics of a module."""
    found = dict(module.layers.named_parameters()) | dict(module.layers.named_buffers())
    return {
        name: value.detach().numpy().copy() for name, value in found.items() if not name.endswith("num_batches_tracked")
    }
