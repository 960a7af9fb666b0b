"""PyTorch's modules and what they are here: one table, from which messages, the documentation and tests are made.

A row says which parameters a module's constructor has, with which defaults, what each is called here, and which are
left out: the numbers of input channels and features are read from what a layer is called on. Sources of modules are
written by it too.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple

from portable_nn.core.errors import UsageError
from portable_nn.core.words import UnknownOptionError, meant

__all__ = ["COUNTERPARTS", "Counterpart", "Renamed", "explained", "in_our_words", "missing", "options", "translated"]

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


READ: Final = Renamed()
"""Left out, because it is read from the input, or because nothing here is done in place."""


def _pairs(padding: Any) -> Any:
    """PyTorch's padding of a convolution or pool, which is as ours is."""
    return tuple(padding) if isinstance(padding, list) else padding


def _axis(shape: Any) -> int:
    """The first of the axes whose sizes are ``normalized_shape``."""
    return -len(shape) if isinstance(shape, Sequence) else -1


def _row(builder: str, parameters: str, /, **other: Renamed) -> Counterpart:
    """A row, where all parameters but ``other`` have the same names here; a ``=`` is followed by a default, as JSON."""
    pairs = [each.partition("=")[::2] for each in parameters.split()]
    usual = {name: json.loads(default) if default else NEEDED for name, default in pairs}
    return Counterpart(builder, {n: other.get(n, Renamed(n))._replace(usual=value) for n, value in usual.items()})


_CONVOLUTION: Final = {
    "in_channels": READ,
    "out_channels": Renamed("filters"),
    "kernel_size": Renamed("kernel"),
    "padding": Renamed("padding", _pairs),
    "padding_mode": Renamed(only=["zeros"]),
}
_POOL: Final = {
    "kernel_size": Renamed("kernel"),
    "norm_type": Renamed("p"),
    "padding": Renamed("padding", _pairs),
    "return_indices": Renamed(only=[False]),
    "divisor_override": Renamed(only=[None]),
}
_NORMALIZED: Final = {"normalized_shape": Renamed("axis", _axis), "elementwise_affine": Renamed("affine")}
_IN_PLACE: Final = {"inplace": READ}
_AVERAGE: Final = "kernel_size stride=null padding=0 ceil_mode=false count_include_pad=true"
_PADS: Final = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}


def _of_axes(axes: int) -> dict[str, Counterpart]:
    """The modules whose names end in the number of axes."""
    conv, mode = "in_channels out_channels kernel_size stride=1 padding=0", 'padding_mode="zeros"'
    average = _AVERAGE if axes == 1 else f"{_AVERAGE} divisor_override=null"
    norm = "num_features eps=1e-5 momentum=0.1 affine={0} track_running_stats={0}"
    once = Renamed(only=[1, (1,) * axes])
    return {
        f"Conv{axes}d": _row(f"Conv{axes}d", f"{conv} dilation=1 groups=1 bias=true {mode}", **_CONVOLUTION),
        f"ConvTranspose{axes}d": _row(
            f"ConvTranspose{axes}d",
            f"{conv} output_padding=0 groups=1 bias=true dilation=1 {mode}",
            **_CONVOLUTION,
        ),
        f"MaxPool{axes}d": _row(
            f"MaxPool{axes}d",
            "kernel_size stride=null padding=0 dilation=1 return_indices=false ceil_mode=false",
            **_POOL,
        ),
        f"AvgPool{axes}d": _row(f"AvgPool{axes}d", average, **_POOL),
        f"LPPool{axes}d": _row(f"LPPool{axes}d", "norm_type kernel_size stride=null ceil_mode=false", **_POOL),
        f"AdaptiveAvgPool{axes}d": _row("GlobalAvgPool", "output_size", output_size=once),
        f"AdaptiveMaxPool{axes}d": _row(
            "GlobalMaxPool", "output_size return_indices=false", output_size=once, return_indices=Renamed(only=[False])
        ),
        f"BatchNorm{axes}d": _row(f"BatchNorm{axes}d", norm.format("true"), num_features=READ),
        f"InstanceNorm{axes}d": _row(
            "InstanceNorm",
            norm.format("false"),
            num_features=READ,
            momentum=READ,
            track_running_stats=Renamed(only=[False]),
        ),
        **{f"{name}Pad{axes}d": _row("Pad", "padding")._replace(always={"mode": pads}) for name, pads in _PADS.items()},
        f"ConstantPad{axes}d": _row("Pad", "padding value"),
        f"ZeroPad{axes}d": _row("Pad", "padding"),
    }


def _recurrent() -> dict[str, Counterpart]:
    """The recurrent modules: PyTorch has the steps first unless it is told otherwise."""
    names = "bias=true batch_first=false dropout=0.0 bidirectional=false proj_size=0"
    renamed = {
        "input_size": READ,
        "hidden_size": Renamed("units"),
        "num_layers": Renamed("layers"),
        "proj_size": Renamed(only=[0]),
    }
    return {
        kind: _row(kind, f"input_size hidden_size num_layers=1 {more}{names}", **renamed)._replace(
            always={"batch_first": False}
        )
        for kind, more in (("RNN", 'nonlinearity="tanh" '), ("GRU", ""), ("LSTM", ""))
    }


_NEVER: Final = Renamed(only=[False])
_NONE: Final = Renamed(only=[None])

COUNTERPARTS: Final[Mapping[str, Counterpart]] = {
    "Linear": _row("Dense", "in_features out_features bias=true", in_features=READ, out_features=Renamed("units")),
    **{name: row for axes in (1, 2, 3) for name, row in _of_axes(axes).items()},
    "LayerNorm": _row("LayerNorm", "normalized_shape eps=1e-5 elementwise_affine=true bias=true", **_NORMALIZED),
    "RMSNorm": _row("RMSNorm", "normalized_shape eps=null elementwise_affine=true", **_NORMALIZED),
    "GroupNorm": _row(
        "GroupNorm",
        "num_groups num_channels eps=1e-5 affine=true",
        num_groups=Renamed("groups"),
        num_channels=READ,
    ),
    "LocalResponseNorm": _row("LocalResponseNorm", "size alpha=1e-4 beta=0.75 k=1.0"),
    "Dropout": _row("Dropout", "p=0.5 inplace=false", p=Renamed("ratio"), **_IN_PLACE),
    **{
        name: _row(name, "inplace=false", **_IN_PLACE)
        for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid")
    },
    "Sigmoid": _row("Sigmoid", ""),
    "Tanh": _row("Tanh", ""),
    "Softsign": _row("Softsign", ""),
    "LeakyReLU": _row("LeakyReLU", "negative_slope=0.01 inplace=false", negative_slope=Renamed("alpha"), **_IN_PLACE),
    "Threshold": _row(
        "ThresholdedReLU",
        "threshold value inplace=false",
        threshold=Renamed("alpha"),
        value=Renamed(only=[0]),
        **_IN_PLACE,
    ),
    "ELU": _row("ELU", "alpha=1.0 inplace=false", **_IN_PLACE),
    "CELU": _row("CELU", "alpha=1.0 inplace=false", **_IN_PLACE),
    "GELU": _row("GELU", 'approximate="none"'),
    "Hardtanh": _row("Hardtanh", "min_val=-1.0 max_val=1.0 inplace=false", **_IN_PLACE),
    "Softplus": _row("Softplus", "beta=1.0 threshold=20.0", beta=Renamed(only=[1]), threshold=READ),
    "Softshrink": _row("Softshrink", "lambd=0.5"),
    "Hardshrink": _row("Hardshrink", "lambd=0.5"),
    "PReLU": _row("PReLU", "num_parameters=1 init=0.25"),
    "Softmax": _row("Softmax", "dim=null", dim=Renamed("axis")),
    "LogSoftmax": _row("LogSoftmax", "dim=null", dim=Renamed("axis")),
    "Flatten": _row("Flatten", "start_dim=1 end_dim=-1", start_dim=Renamed(only=[1]), end_dim=Renamed(only=[-1])),
    "Upsample": _row(
        "Upsample",
        'size=null scale_factor=null mode="nearest" align_corners=null recompute_scale_factor=null',
        recompute_scale_factor=Renamed(only=[None, False]),
    ),
    "PixelShuffle": _row("PixelShuffle", "upscale_factor", upscale_factor=Renamed("factor")),
    "PixelUnshuffle": _row("PixelUnshuffle", "downscale_factor", downscale_factor=Renamed("factor")),
    **_recurrent(),
    "Embedding": _row(
        "Embedding",
        "num_embeddings embedding_dim padding_idx=null max_norm=null norm_type=2.0 scale_grad_by_freq=false "
        "sparse=false",
        num_embeddings=Renamed("entries"),
        embedding_dim=Renamed("features"),
        padding_idx=_NONE,
        max_norm=_NONE,
        norm_type=READ,
        scale_grad_by_freq=_NEVER,
        sparse=READ,
    ),
    "MultiheadAttention": _row(
        "MultiHeadAttention",
        "embed_dim num_heads dropout=0.0 bias=true add_bias_kv=false add_zero_attn=false kdim=null vdim=null "
        "batch_first=false",
        embed_dim=READ,
        num_heads=Renamed("heads"),
        dropout=Renamed(only=[0]),
        add_bias_kv=_NEVER,
        add_zero_attn=_NEVER,
        kdim=_NONE,
        vdim=_NONE,
        batch_first=READ,
    ),
    "TransformerEncoderLayer": _row(
        "TransformerEncoderLayer",
        'd_model nhead dim_feedforward=2048 dropout=0.1 activation="relu" layer_norm_eps=1e-5 batch_first=false '
        "norm_first=false bias=true",
        d_model=READ,
        nhead=Renamed("heads"),
        dim_feedforward=Renamed("units"),
        activation=Renamed("activation", lambda function: getattr(function, "__name__", function)),
        layer_norm_eps=Renamed("eps"),
        batch_first=READ,
        bias=Renamed(only=[True]),
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
