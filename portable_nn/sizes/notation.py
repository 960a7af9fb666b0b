"""The notation of layers: operations as PyTorch modules, as ONNX operators, and from ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, get_args

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.sizes.operation import Kind, Mode, Operation, PerAxis, check_channels, input_sizes, per_axis_windows


def operator_name(kind: Kind, mode: Mode) -> str:
    """The operator of ONNX: ``Conv``, ``ConvTranspose``, ``MaxPool``, ``AveragePool`` or ``LpPool``."""
    return f"{mode.title()}Pool" if kind == "pool" else "Conv" if kind == "conv" else "ConvTranspose"


def node_operation(
    op_type: str,
    attributes: Mapping[str, object],
    sizes: PerAxis,
    kernel_shape: Sequence[int] | None = None,
    window: tuple[Kind, Mode] | None = None,
) -> Operation:
    """The operation of an ONNX node, on an input of spatial ``sizes``; an ``output_shape`` becomes explicit pads.

    Args:
        op_type: ``Conv``, ``ConvTranspose``, ``MaxPool``, ``AveragePool`` or ``LpPool``.
        attributes: those of the node.
        sizes: the size of the input along each spatial axis.
        kernel_shape: that of the weight, used where the attribute is absent.
        window: kind and mode, for an operator of another name, such as ``ConvInteger``.

    Raises ``UsageError`` for attributes that contradict each other.
    """
    kinds: Iterable[Kind] = get_args(Kind)
    modes: Iterable[Mode] = get_args(Mode)
    kind, mode = window or next(pair for pair in product(kinds, modes) if operator_name(*pair) == op_type)
    found = input_sizes(sizes)
    get: Callable[[str, Any], Any] = attributes.get
    kernel = get("kernel_shape", kernel_shape)
    if kernel is None:
        raise UsageError(f"{op_type} needs the attribute 'kernel_shape', or the shape of its weight")
    pads = get("pads", (0,) * 2 * len(found))
    if len(pads) != 2 * len(found):
        raise UsageError(f"pads must have {2 * len(found)} numbers for {len(found)} axes, not {len(pads)}")
    windows, auto_pad = per_axis_windows(
        len(found),
        tuple(zip(pads[: len(found)], pads[len(found) :], strict=True)),
        get("auto_pad", "NOTSET"),
        kernel=tuple(kernel),
        stride=get("strides", 1),
        dilation=get("dilations", 1),
        output_padding=get("output_padding", 0),
    )
    wanted = get("output_shape", None) if kind == "convt" else None
    if wanted is not None:
        targets = tuple(wanted)[-len(found) :]  # some files give batch and channels as well
        axes = zip(windows, found, targets, strict=True)
        upper = auto_pad == "SAME_UPPER"
        windows = tuple(window.transpose_same(size, upper=upper, output_size=target) for window, size, target in axes)
        auto_pad = "NOTSET"
    return Operation(
        kind,
        windows,
        groups=get("group", 1),
        auto_pad=auto_pad,
        ceil=bool(get("ceil_mode", 0)),
        mode=mode,
        count_include_pad=bool(get("count_include_pad", 0)),
    )


def onnx_text(operation: Operation) -> str:
    """The ONNX operator and its attributes: ``Conv(kernel_shape=[5, 5], strides=[2, 2], pads=[2, 2, 2, 2])``."""
    op_type = operator_name(operation.kind, operation.mode)
    windows = operation.windows
    attributes: dict[str, object] = {
        "kernel_shape": [window.kernel for window in windows],
        "strides": [window.stride for window in windows],
    }
    if operation.auto_pad == "NOTSET":
        attributes["pads"] = [window.pad_begin for window in windows] + [window.pad_end for window in windows]
    else:
        attributes["auto_pad"] = f'"{operation.auto_pad}"'
    unusual = (
        ("dilations", [window.dilation for window in windows], [1] * len(windows)),
        ("output_padding", [window.output_padding for window in windows], [0] * len(windows)),
        ("group", operation.groups, 1),
        ("ceil_mode", int(operation.ceil), 0),
        ("count_include_pad", int(operation.count_include_pad), 0),
    )
    attributes |= {name: value for name, value, usual in unusual if value != usual}
    return f"{op_type}({', '.join(f'{name}={value}' for name, value in attributes.items())})"


def torch_text(operation: Operation, in_channels: int = 1, out_channels: int = 1, sizes: PerAxis | None = None) -> str:
    """The PyTorch module that computes the same, as Python source.

    PyTorch's padding is symmetric: asymmetric pads become a padding module before the layer, or one that crops after a
    transposed convolution.

    Args:
        operation: the operation.
        in_channels: the channels of the input of a convolution.
        out_channels: those of its output.
        sizes: the sizes of the input, where they are known: PyTorch refuses some operations on small inputs, and
            ``ceil_mode`` may change nothing.

    Raises ``UsageError`` where PyTorch has no such layer.
    """
    if operation.axes > 3:
        raise UsageError(f"PyTorch has layers of 1 to 3 spatial axes, not {operation.axes}")
    if operation.kind == "pool":
        return _torch_pool(operation, None if sizes is None else input_sizes(sizes))
    check_channels(operation, in_channels, out_channels)
    torch_layer = _torch_conv if operation.kind == "conv" else _torch_convt
    return torch_layer(operation, f"{in_channels}, {out_channels}")


def _torch_conv(operation: Operation, channels: str) -> str:
    same = operation.auto_pad == "SAME_UPPER" and all(window.stride == 1 for window in operation.windows)
    pads = [] if same else _explicit_pads(operation)
    alike = all(begin == end for begin, end in pads)
    padding = "same" if same else [begin if alike else 0 for begin, _ in pads]
    layer = _torch_layer("Conv", operation, channels, padding)
    return layer if alike else _sequence(_torch_pad("ZeroPad", pads), layer)


def _torch_convt(operation: Operation, channels: str) -> str:
    pads = _explicit_pads(operation)
    # Cropping one cell more at the end is one cell less of output padding.
    added = [window.output_padding + begin - end for window, (begin, end) in zip(operation.windows, pads, strict=True)]
    limits = [max(window.stride, window.dilation) for window in operation.windows]
    if all(0 <= extra < limit for extra, limit in zip(added, limits, strict=True)):
        return _torch_layer("ConvTranspose", operation, channels, [begin for begin, _ in pads], added)
    added = [window.output_padding for window in operation.windows]
    if any(extra >= limit for extra, limit in zip(added, limits, strict=True)):
        raise UsageError(f"PyTorch has no output_padding of {_one(added)}: it must be smaller than stride or dilation")
    both = [min(pair) for pair in pads]
    cut = [(both[axis] - begin, both[axis] - end) for axis, (begin, end) in enumerate(pads)]
    return _sequence(_torch_layer("ConvTranspose", operation, channels, both, added), _torch_pad("ZeroPad", cut))


TORCH_POOLS: Mapping[Mode, tuple[str, str, str, str]] = {
    "max": ("MaxPool", "", "ConstantPad", 'float("-inf")'),
    "average": ("AvgPool", "", "ZeroPad", ""),
    "lp": ("LPPool", "2", "ZeroPad", ""),
}
"""A pool's name in PyTorch, its leading argument, and the padding module whose fill value does not change results."""


def _torch_pool(operation: Operation, sizes: Sequence[int] | None) -> str:
    floor = replace(operation, ceil=False)
    if operation.ceil and sizes is not None and _has_size(floor, sizes, operation.output_size(sizes)):
        operation = floor
    mode, pads = operation.mode, _explicit_pads(operation)
    name, first, pad_name, value = TORCH_POOLS[mode]
    inside = _can_pad(operation, pads, sizes)
    outside = any(map(any, pads)) and not inside
    refused = {
        f"'s {name} has no dilation": mode != "max" and max(window.dilation for window in operation.windows) > 1,
        "'s LPPool with ceil_mode scales up the sum of a window that is cut off": mode == "lp" and operation.ceil,
        " has no ceil_mode with asymmetric pads, or pads of more than half the kernel": outside and operation.ceil,
        " has no average pool that excludes asymmetric pads, or pads of more than half the kernel": outside
        and mode == "average"
        and not operation.count_include_pad,
    }
    if why := next(filter(refused.get, refused), None):
        raise UsageError(f"PyTorch{why}")
    layer = _torch_layer(name, operation, first, [begin if inside else 0 for begin, _ in pads])
    return _sequence(_torch_pad(pad_name, pads, value), layer) if outside else layer


def _can_pad(operation: Operation, pads: Sequence[tuple[int, int]], sizes: Sequence[int] | None) -> bool:
    """True if PyTorch's pool can pad by itself: alike at both ends, and by at most half the kernel."""
    kernels = [window.kernel for window in operation.windows]
    fits = all(begin == end <= kernel // 2 for kernel, (begin, end) in zip(kernels, pads, strict=True))
    if sizes is None or operation.mode != "average" or operation.axes != 3:
        return fits and operation.mode != "lp"
    # AvgPool3d alone compares the kernel with the input before it is padded.
    if any(kernel > size + sum(pair) for kernel, size, pair in zip(kernels, sizes, pads, strict=True)):
        raise UsageError("PyTorch's AvgPool3d refuses an input that is smaller than the kernel")
    return fits and all(kernel <= size for kernel, size in zip(kernels, sizes, strict=True))


def _has_size(operation: Operation, sizes: Sequence[int], wanted: Sequence[int]) -> bool:
    """True if the output of ``operation`` has the size ``wanted``."""
    try:
        return operation.output_size(sizes) == wanted
    except ShapeError:
        return False


def _torch_layer(
    name: str, operation: Operation, first: str, padding: str | list[int], output_padding: Sequence[int] = (0,)
) -> str:
    windows = operation.windows
    kernel = _one([window.kernel for window in windows])
    averaged_pads = operation.mode == "average" and padding != [0] * len(windows)
    usual = (
        ("stride", _one([window.stride for window in windows]), kernel if operation.kind == "pool" else "1"),
        ("padding", repr(padding) if isinstance(padding, str) else _one(padding), "0"),
        ("output_padding", _one(output_padding), "0"),
        ("dilation", _one([window.dilation for window in windows]), "1"),
        ("groups", str(operation.groups), "1"),
        ("ceil_mode", str(operation.ceil), "False"),
        ("count_include_pad", str(operation.count_include_pad or not averaged_pads), "True"),
    )
    options = [f"{option}={value}" for option, value, default in usual if value != default]
    return f"torch.nn.{name}{len(windows)}d({', '.join(filter(None, [first, f'kernel_size={kernel}', *options]))})"


def _torch_pad(name: str, pads: Sequence[tuple[int, int]], value: str = "") -> str:
    """A module that pads, or crops where a pad is negative; PyTorch lists the last axis first."""
    numbers = ", ".join(f"{begin}, {end}" for begin, end in reversed(pads))
    return f"torch.nn.{name}{len(pads)}d(({numbers}){f', {value}' if value else ''})"


def _sequence(*modules: str) -> str:
    return f"torch.nn.Sequential({', '.join(modules)})"


def _explicit_pads(operation: Operation) -> list[tuple[int, int]]:
    if operation.auto_pad not in ("NOTSET", "VALID"):
        raise UsageError(f"PyTorch has no auto_pad {operation.auto_pad}: resolve it for an input size first")
    return [window.pads for window in operation.windows]


def _one(values: Sequence[int]) -> str:
    """One number where all are equal."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"
