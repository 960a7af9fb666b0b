"""PyTorch's modules and what they are here: one table, from which messages, the documentation and tests are made.

A row says which parameters a module's constructor has, with which defaults, what each is called here, and which are
left out: the numbers of input channels and features are read from what a layer is called on. Sources of modules are
written by it too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple

from portable_nn.core.errors import UsageError
from portable_nn.core.jsons import parsed_json
from portable_nn.core.words import UnknownOptionError, meant

NEEDED: Final = object()
"""In place of a default that there is not."""


class Renamed(NamedTuple):
    """A parameter of PyTorch as it is here.

    Attributes:
        name: its name here; empty where it is left out.
        convert: its value here, from the one in PyTorch.
        only: the values that it can have; by default any.
        usual: its default in PyTorch, or ``NEEDED``.
    """

    name: str = ""
    convert: Callable[[Any], Any] = lambda value: value
    only: Sequence[Any] | None = None
    usual: Any = NEEDED


class Counterpart(NamedTuple):
    """A row of the table.

    Attributes:
        builder: the name of the layer here.
        parameters: PyTorch's parameters in their order, and what each is here.
        always: arguments that the layer needs besides.
    """

    builder: str
    parameters: Mapping[str, Renamed]
    always: Mapping[str, Any] = {}


_PARAMETER: Final = re.compile(r"([-!]?)(\w+)(?::(\w+))?(?:=(\S+))?")


def _axis(shape: Any) -> int:
    """The first of the axes whose sizes are ``normalized_shape``."""
    return -len(shape) if isinstance(shape, Sequence) else -1


def _row(builder: str, parameters: str, /, **other: Renamed) -> Counterpart:
    """A row: the parameters by PyTorch's names, each with its default, if it has one, as JSON behind a ``=``.

    ``kernel_size:kernel`` has another name here; ``-inplace`` is left out, because it is read from the input, or
    because nothing here is done in place; ``!padding_mode`` can have its default alone. ``other`` are all else.
    """
    found = dict[str, Renamed]()
    for mark, name, here, default in _PARAMETER.findall(parameters):
        usual = parsed_json(default) if default else NEEDED
        plain = Renamed("" if mark else here or name, only=[usual] if mark == "!" else None)
        found[name] = other.get(name, plain)._replace(usual=usual)
    return Counterpart(builder, found)


_PADDING: Final = Renamed("padding", lambda given: tuple(given) if isinstance(given, list) else given)
_CONV: Final = "-in_channels out_channels:filters kernel_size:kernel stride=1 padding=0"
_ZEROS: Final = '!padding_mode="zeros"'
_POOL: Final = "kernel_size:kernel stride=null"
_NORM: Final = "-num_features eps=1e-5"
_PADS: Final = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}


def _of_axes(axes: int) -> dict[str, Counterpart]:
    """The modules whose names end in the number of axes."""
    average = f"{_POOL} padding=0 ceil_mode=false count_include_pad=true"
    once = Renamed(only=[1, (1,) * axes])
    return {
        f"Conv{axes}d": _row(f"Conv{axes}d", f"{_CONV} dilation=1 groups=1 bias=true {_ZEROS}", padding=_PADDING),
        f"ConvTranspose{axes}d": _row(
            f"ConvTranspose{axes}d",
            f"{_CONV} output_padding=0 groups=1 bias=true dilation=1 {_ZEROS}",
            padding=_PADDING,
        ),
        f"MaxPool{axes}d": _row(
            f"MaxPool{axes}d", f"{_POOL} padding=0 dilation=1 !return_indices=false ceil_mode=false", padding=_PADDING
        ),
        f"AvgPool{axes}d": _row(
            f"AvgPool{axes}d", average if axes == 1 else f"{average} !divisor_override=null", padding=_PADDING
        ),
        f"LPPool{axes}d": _row(f"LPPool{axes}d", f"norm_type:p {_POOL} ceil_mode=false"),
        f"AdaptiveAvgPool{axes}d": _row("GlobalAvgPool", "output_size", output_size=once),
        f"AdaptiveMaxPool{axes}d": _row("GlobalMaxPool", "output_size !return_indices=false", output_size=once),
        f"BatchNorm{axes}d": _row(f"BatchNorm{axes}d", f"{_NORM} momentum=0.1 affine=true track_running_stats=true"),
        f"InstanceNorm{axes}d": _row("InstanceNorm", f"{_NORM} -momentum=0.1 affine=false !track_running_stats=false"),
        **{f"{name}Pad{axes}d": _row("Pad", "padding")._replace(always={"mode": mode}) for name, mode in _PADS.items()},
        f"ConstantPad{axes}d": _row("Pad", "padding value"),
        f"ZeroPad{axes}d": _row("Pad", "padding"),
    }


_RECURRENT: Final = "bias=true batch_first=false dropout=0.0 bidirectional=false !proj_size=0"
"""The options of recurrent modules: PyTorch has the steps first unless it is told otherwise."""

COUNTERPARTS: Final[Mapping[str, Counterpart]] = {
    "Linear": _row("Dense", "-in_features out_features:units bias=true"),
    **{name: row for axes in (1, 2, 3) for name, row in _of_axes(axes).items()},
    "LayerNorm": _row(
        "LayerNorm",
        "normalized_shape eps=1e-5 elementwise_affine:affine=true bias=true",
        normalized_shape=Renamed("axis", _axis),
    ),
    "RMSNorm": _row(
        "RMSNorm", "normalized_shape eps=null elementwise_affine:affine=true", normalized_shape=Renamed("axis", _axis)
    ),
    "GroupNorm": _row("GroupNorm", "num_groups:groups -num_channels eps=1e-5 affine=true"),
    "LocalResponseNorm": _row("LocalResponseNorm", "size alpha=1e-4 beta=0.75 k=1.0"),
    "Dropout": _row("Dropout", "p:ratio=0.5 -inplace=false"),
    **{
        name: _row(name, "-inplace=false")
        for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid")
    },
    "Sigmoid": _row("Sigmoid", ""),
    "Tanh": _row("Tanh", ""),
    "Softsign": _row("Softsign", ""),
    "LeakyReLU": _row("LeakyReLU", "negative_slope:alpha=0.01 -inplace=false"),
    "Threshold": _row("ThresholdedReLU", "threshold:alpha value -inplace=false", value=Renamed(only=[0])),
    "ELU": _row("ELU", "alpha=1.0 -inplace=false"),
    "CELU": _row("CELU", "alpha=1.0 -inplace=false"),
    "GELU": _row("GELU", 'approximate="none"'),
    "Hardtanh": _row("Hardtanh", "min_val=-1.0 max_val=1.0 -inplace=false"),
    "Softplus": _row("Softplus", "!beta=1 -threshold=20"),
    "Softshrink": _row("Softshrink", "lambd=0.5"),
    "Hardshrink": _row("Hardshrink", "lambd=0.5"),
    "PReLU": _row("PReLU", "num_parameters=1 init=0.25"),
    "Softmax": _row("Softmax", "dim:axis=null"),
    "LogSoftmax": _row("LogSoftmax", "dim:axis=null"),
    "Flatten": _row("Flatten", "!start_dim=1 !end_dim=-1"),
    "Upsample": _row(
        "Upsample",
        'size=null scale_factor=null mode="nearest" align_corners=null recompute_scale_factor=null',
        recompute_scale_factor=Renamed(only=[None, False]),
    ),
    "PixelShuffle": _row("PixelShuffle", "upscale_factor:factor"),
    "PixelUnshuffle": _row("PixelUnshuffle", "downscale_factor:factor"),
    **{
        name: _row(name, f"-input_size hidden_size:units num_layers:layers=1 {more}{_RECURRENT}")._replace(
            always={"batch_first": False}
        )
        for name, more in (("RNN", 'nonlinearity="tanh" '), ("GRU", ""), ("LSTM", ""))
    },
    "Embedding": _row(
        "Embedding",
        "num_embeddings:entries embedding_dim:features !padding_idx=null !max_norm=null -norm_type=2.0 "
        "!scale_grad_by_freq=false -sparse=false",
    ),
    "MultiheadAttention": _row(
        "MultiHeadAttention",
        "-embed_dim num_heads:heads !dropout=0 bias=true !add_bias_kv=false !add_zero_attn=false !kdim=null !vdim=null "
        "-batch_first=false",
    ),
    "TransformerEncoderLayer": _row(
        "TransformerEncoderLayer",
        '-d_model nhead:heads dim_feedforward:units=2048 dropout=0.1 activation="relu" layer_norm_eps:eps=1e-5 '
        "-batch_first=false norm_first=false !bias=true",
        activation=Renamed("activation", lambda function: getattr(function, "__name__", function)),
    ),
}
"""PyTorch's modules by name."""


def translated(name: str, *args: Any, **options: Any) -> dict[str, Any] | None:
    """The arguments here of PyTorch's module ``name`` with these; ``None`` where they are none of its, or not offered.

    >>> from portable_nn.layers.pytorch import translated
    >>> translated("Conv2d", 3, 16, 3, bias=False)
    {'filters': 16, 'kernel': 3, 'bias': False}
    """
    row = COUNTERPARTS.get(name)
    if row is None or len(args) > len(row.parameters):
        return None
    given = dict(zip(row.parameters, args, strict=False))
    if given.keys() & options.keys() or not options.keys() <= row.parameters.keys():
        return None
    ours = dict(row.always)
    for parameter, value in (given | options).items():
        renamed = row.parameters[parameter]
        if renamed.only is not None and value not in renamed.only:
            return None
        if renamed.name:
            ours[renamed.name] = renamed.convert(value)
    return ours


def options(name: str, **given: Any) -> str:
    """``, stride=2``: the options of PyTorch's module ``name``, and of its function, that are not the usual ones.

    >>> from portable_nn.layers.pytorch import options
    >>> options("Conv2d", stride=2, padding=0)
    ', stride=2'
    """
    usual = COUNTERPARTS[name].parameters
    return "".join(f", {each}={value!r}" for each, value in given.items() if value != usual[each].usual)


def _call(name: str, *args: Any, **options: Any) -> str:
    return f"{name}({', '.join([*map(repr, args), *(f'{option}={value!r}' for option, value in options.items())])})"


def in_our_words(
    builder: str, *args: Any, accepts: Callable[[Mapping[str, Any]], bool] = lambda ours: True, **options: Any
) -> str | None:
    """The call of ``builder`` for what PyTorch's module makes of these arguments; ``None`` where it takes no such.

    ``accepts`` says whether the builder can be called with the arguments that they become.
    """
    modules = sorted((name for name, row in COUNTERPARTS.items() if row.builder == builder), key=builder.__ne__)
    found = (translated(name, *args, **options) for name in modules)
    ours = next((each for each in found if each is not None and accepts(each)), None)
    return None if ours is None else _call(builder, **ours)


def missing(name: str) -> str:
    """The name here of PyTorch's or Keras's ``name``, which is no name here; empty where that is not known."""
    row = COUNTERPARTS.get(name)
    return f": PyTorch's {name} is {row.builder} here, see docs/pytorch.md" if row else meant("pnn", name)


def _renamed(builder: str, option: str) -> str:
    """The name that ``builder`` has for an option of PyTorch's; empty where it has none."""
    rows = [row for row in COUNTERPARTS.values() if row.builder == builder and option in row.parameters]
    read = "read from the input"
    return next((row.parameters[option].name or read for row in rows if row.parameters[option].only is None), "")


def explained(name: str, builder: Any) -> Any:
    """``builder``, whose error for arguments in PyTorch's order or words says what to write instead."""
    is_class = isinstance(builder, type)
    function = builder.__init__ if is_class else builder
    signature = inspect.signature(function)

    def accepts(ours: Mapping[str, Any]) -> bool:
        try:
            signature.bind(*[None] * is_class, **ours)
        except TypeError:
            return False
        return True

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        try:
            signature.bind(*args, **options)
        except TypeError as error:
            given = args[1:] if is_class else args
            wanted = in_our_words(name, *given, accepts=accepts, **options) if given or options else None
            if wanted is not None:
                shown = _call(name, *given, **options)
                raise UsageError(f"{shown}: {error}; PyTorch's is {wanted} here, see docs/pytorch.md") from None
            for option in options.keys() - signature.parameters.keys():
                if here := _renamed(name, option):
                    raise UnknownOptionError(f"{name}: {error}; PyTorch's {option} is {here} here") from None
        return function(*args, **options)

    if not is_class:
        return checked
    builder.__init__ = checked
    return builder
