"""One convolution, transposed convolution or pool, over any number of spatial axes.

>>> conv(5, stride=2, padding=2).output_size((28, 32))
(14, 16)
>>> convt((2, 4), stride=2, padding=(0, 1)).output_size((3, 3))
(6, 6)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from portable_nn.core.errors import ShapeError, UsageError, listed
from portable_nn.core.html import html_table
from portable_nn.core.text import quantity

Kind: TypeAlias = Literal["conv", "convt", "pool"]
AutoPad: TypeAlias = Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]
Mode: TypeAlias = Literal["max", "average", "lp"]

PerAxis: TypeAlias = int | Sequence[int]
"""One number for every axis, or one for each."""

Padding: TypeAlias = int | str | Sequence[int | Sequence[int]]
"""One number for every axis, or for each axis a number or a pair (begin, end); or the words "same" and "valid"."""

ALWAYS = ("kernel", "stride")
"""The options that a notebook always shows."""

PADDING_WORDS: dict[str, AutoPad] = {"same": "SAME_UPPER", "valid": "VALID"}


@dataclass(frozen=True, slots=True)
class Window:
    """The options along one axis, and the formulas for the size of the output. Every size is a number of cells.

    Raises ``UsageError`` for a value that no runtime accepts. Source of the formulas: Dumoulin and Visin, "A guide to
    convolution arithmetic for deep learning" (2016), sections 2, 4 and 5.1.
    """

    kernel: int
    stride: int = 1
    dilation: int = 1
    pad_begin: int = 0
    pad_end: int = 0
    output_padding: int = 0

    def __post_init__(self) -> None:
        for least, option, value in (
            (1, "kernel", self.kernel),
            (1, "stride", self.stride),
            (1, "dilation", self.dilation),
            (0, "padding", self.pad_begin),
            (0, "padding", self.pad_end),
            (0, "output_padding", self.output_padding),
        ):
            _at_least(least, option, value)

    @property
    def extent(self) -> int:
        """The effective size of the dilated kernel: the cells from its first tap to its last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def pads(self) -> tuple[int, int]:
        """The pads (begin, end)."""
        return self.pad_begin, self.pad_end

    def output_size(self, size: int, *, ceil: bool = False) -> int:
        """The output size of a convolution or pool: the positions where the whole kernel fits.

        In ceil mode the last window of a pool may extend beyond the padding. One that would start in the end padding,
        or beyond, holds no input cell: PyTorch and onnxruntime drop it; OpenCV, OpenVINO and the shape inference of
        ONNX keep it. Raises ``ShapeError`` where the output would be empty.
        """
        room = size + self.pad_begin + self.pad_end - self.extent
        # Rounded up, a kernel that is larger than the padded input may still fit once, beyond the edge.
        steps = -(-room // self.stride) if ceil else room // self.stride
        if ceil and steps > 0 and steps * self.stride >= size + self.pad_begin:
            steps -= 1
        if steps < 0:
            raise ShapeError(self._too_small(size) + (f", even by one stride of {self.stride}" if ceil else ""))
        return steps + 1

    def spread_size(self, size: int) -> int:
        """The output size of a transposed convolution: pads crop it, output_padding adds cells at its end.

        Raises ``ShapeError`` where the output would be empty.
        """
        full = self.stride * (size - 1) + self.extent + self.output_padding
        if full <= self.pad_begin + self.pad_end:
            taken = f"padding takes {self.pad_begin} + {self.pad_end} cells"
            raise ShapeError(f"{taken} from an output of only {full}: at most {full - 1} can go")
        return full - self.pad_begin - self.pad_end

    def _too_small(self, size: int) -> str:
        """The message for a kernel that is larger than the padded input."""
        begin, end = self.pads
        spans = f"kernel {self.kernel}{f' with dilation {self.dilation}' if self.dilation > 1 else ''} spans"
        there = f"the padded input has only {size + begin + end} ({begin} + {size} + {end})"
        return f"{spans} {self.extent} cells, but {there if begin or end else f'the input has only {size}'}"

    def same(self, size: int, *, upper: bool) -> Window:
        """The window with the pads by which a convolution or pool gives ``ceil(size / stride)`` cells.

        An odd cell goes to the end with ``upper`` (SAME_UPPER; Keras's and PyTorch's "same"), else to the begin
        (SAME_LOWER). Source: ONNX Conv, attribute ``auto_pad``.
        """
        outputs = -(-size // self.stride)
        return self._padded((outputs - 1) * self.stride + self.extent - size, upper)

    def transpose_same(self, size: int, *, upper: bool, output_size: int | None = None) -> Window:
        """The window of a transposed convolution with the pads of ``auto_pad`` or ``output_shape``.

        The output has ``output_size`` cells, or ``size * stride`` by default (SAME_UPPER, SAME_LOWER). An odd cell goes
        to the end with ``upper``, else to the begin, also with ``output_shape`` alone. An output that would be too
        small without pads gets output padding. Source: ONNX ConvTranspose; runtimes do not agree on it.
        """
        wanted = size * self.stride if output_size is None else output_size
        surplus = self.stride * (size - 1) + self.extent + self.output_padding - wanted
        return replace(self._padded(surplus, upper), output_padding=self.output_padding + max(0, -surplus))

    def _padded(self, total: int, upper: bool) -> Window:
        half = max(0, total) // 2
        begin, end = sorted((half, max(0, total) - half), reverse=not upper)
        return replace(self, pad_begin=begin, pad_end=end)


@dataclass(frozen=True, slots=True)
class Operation:
    """One spatial operation: a ``Window`` for each axis, and the options that hold for all.

    An operation with a single window is repeated over all axes of an input (see ``over``).

    Args:
        kind: ``"conv"``, ``"convt"`` (transposed convolution) or ``"pool"``.
        windows: the window along each spatial axis.
        groups: groups of channels, of a convolution or transposed convolution.
        auto_pad: ONNX's rule for the pads; with any but ``NOTSET`` the pads of ``windows`` must be 0.
        ceil: ceil mode of a pool: the output size is rounded up, so the last window may extend beyond the padding.
        mode: what a pool computes of a window.
        count_include_pad: whether an average pool counts the padding.

    Raises ``UsageError`` for options that do not belong to the kind.
    """

    kind: Kind
    windows: tuple[Window, ...]
    groups: int = 1
    auto_pad: AutoPad = "NOTSET"
    ceil: bool = False
    mode: Mode = "max"
    count_include_pad: bool = False

    def __post_init__(self) -> None:
        for option, value, allowed in (
            ("kind", self.kind, get_args(Kind)),
            ("auto_pad", self.auto_pad, get_args(AutoPad)),
            ("mode", self.mode, get_args(Mode)),
        ):
            if value not in allowed:
                raise UsageError(f"{option} must be one of {', '.join(allowed)}, not {value!r}")
        _at_least(1, "groups", self.groups)
        if not self.windows:
            raise UsageError("an operation needs at least one spatial axis")
        if self.auto_pad != "NOTSET" and any(any(window.pads) for window in self.windows):
            raise UsageError(f"padding must not be given together with auto_pad {self.auto_pad}, which decides it")
        for option, given, kind in (
            ("output_padding", any(window.output_padding for window in self.windows), "convt"),
            ("ceil", self.ceil, "pool"),
            ("mode", self.mode != "max", "pool"),
            ("count_include_pad", self.count_include_pad, "pool"),
        ):
            if given and self.kind != kind:
                raise UsageError(f"{option} is an option of {kind}, not of {self.kind}")
        if self.groups > 1 and self.kind == "pool":
            raise UsageError("groups is an option of conv and convt, not of pool")

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the options along each axis."""
        names = Window.__slots__
        rows = [(name, *(str(getattr(window, name)) for window in self.windows)) for name in names]
        kept = [row for row in rows if row[0] in ALWAYS or set(row[1:]) != {str(getattr(Window(1), row[0]))}]
        usual = Operation(self.kind, self.windows)
        others = [
            f"{name} {getattr(self, name)}"
            for name in ("groups", "auto_pad", "ceil", "mode", "count_include_pad")
            if getattr(self, name) != getattr(usual, name)
        ]
        title = ", ".join([self.kind, *others])
        return html_table(title, ("option", *(f">axis {axis}" for axis in range(self.axes))), kept)

    @property
    def counts_padding(self) -> bool:
        """True if padding has a part in the output: a pool leaves it out, unless it is an average that counts it."""
        return self.kind != "pool" or (self.mode == "average" and self.count_include_pad)

    @property
    def axes(self) -> int:
        """The number of spatial axes."""
        return len(self.windows)

    def over(self, axes: int) -> Operation:
        """The operation over ``axes`` axes. Raises ``UsageError`` unless it has as many windows, or one for all."""
        if self.axes == axes:
            return self
        if self.axes != 1:
            raise UsageError(f"the options are for {quantity(self.axes, 'axis')}, but the input has {axes}")
        return replace(self, windows=self.windows * axes)

    def resolved(self, sizes: PerAxis) -> Operation:
        """The operation with explicit pads in place of ``auto_pad``, for an input of ``sizes``."""
        found = input_sizes(sizes)
        whole = self.over(len(found))
        if self.auto_pad == "NOTSET":
            return whole
        if self.auto_pad == "VALID":
            return replace(whole, auto_pad="NOTSET")
        same = Window.transpose_same if self.kind == "convt" else Window.same
        pairs = zip(whole.windows, found, strict=True)
        windows = tuple(same(window, size, upper=self.auto_pad == "SAME_UPPER") for window, size in pairs)
        return replace(whole, windows=windows, auto_pad="NOTSET")

    def output_size(self, sizes: PerAxis) -> tuple[int, ...]:
        """The size of the output along each axis. Raises ``ShapeError`` where the output would be empty."""
        found = input_sizes(sizes)
        whole = self.resolved(found)
        outputs, faults = [], []
        for axis, (window, size) in enumerate(zip(whole.windows, found, strict=True)):
            try:
                outputs.append(window_size(whole, window, size))
            except ShapeError as error:
                faults.append(f"axis {axis}: {error}" if len(found) > 1 else str(error))
        if faults:
            raise ShapeError(listed(faults))
        return tuple(outputs)


def window_size(operation: Operation, window: Window, size: int) -> int:
    """The output size along one axis of an operation whose pads are explicit."""
    return window.spread_size(size) if operation.kind == "convt" else window.output_size(size, ceil=operation.ceil)


def conv(
    kernel: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    auto_pad: AutoPad = "NOTSET",
    axes: int | None = None,
) -> Operation:
    """A convolution.

    Every option is one number for all axes, or a sequence with one for each.

    Args:
        kernel: the kernel size in cells.
        stride: the step of the kernel.
        padding: cells of zeros at both ends, or pairs (begin, end); or "valid" or "same": Keras's, which at stride 1
            is PyTorch's as well.
        dilation: the distance between the taps of the kernel.
        groups: groups of channels that are convolved separately.
        auto_pad: ONNX's rule for the pads, in place of ``padding``.
        axes: the number of spatial axes; that of the sequences, or one window for any number, if nothing is said.

    Raises ``UsageError`` that names the invalid option.
    """
    windows, auto_pad = per_axis_windows(axes, padding, auto_pad, kernel=kernel, stride=stride, dilation=dilation)
    return Operation("conv", windows, groups, auto_pad)


def convt(
    kernel: PerAxis,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    auto_pad: AutoPad = "NOTSET",
    axes: int | None = None,
) -> Operation:
    """A transposed convolution; options are those of ``conv``, where ``padding`` crops the output.

    ``output_padding`` adds cells at the end of the output; it must be smaller than the stride or the dilation, as
    PyTorch requires.
    """
    options = {"kernel": kernel, "stride": stride, "dilation": dilation, "output_padding": output_padding}
    windows, auto_pad = per_axis_windows(axes, padding, auto_pad, **options)
    _follow_torch("convt", windows)
    return Operation("convt", windows, groups, auto_pad)


def pool(
    kernel: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil: bool = False,
    mode: Mode = "max",
    count_include_pad: bool = False,
    auto_pad: AutoPad = "NOTSET",
    axes: int | None = None,
) -> Operation:
    """A pool; options are those of ``conv``, and ``stride`` is the kernel size by default, as in PyTorch.

    ``padding`` must be at most half the kernel, as PyTorch requires. ``ceil``, ``mode`` and ``count_include_pad`` are
    those of ``Operation``.
    """
    stride = kernel if stride is None else stride
    windows, auto_pad = per_axis_windows(axes, padding, auto_pad, kernel=kernel, stride=stride, dilation=dilation)
    _follow_torch("pool", windows)
    return Operation("pool", windows, auto_pad=auto_pad, ceil=ceil, mode=mode, count_include_pad=count_include_pad)


def torch_refusal(kind: Kind, window: Window) -> str:
    """Why PyTorch, like ``convt`` and ``pool`` here, rejects options that other runtimes accept; else empty."""
    kernel, stride, dilation, added = window.kernel, window.stride, window.dilation, window.output_padding
    if kind == "convt" and added >= max(stride, dilation):
        return f"output_padding must be smaller than stride {stride} or dilation {dilation}, not {added}"
    if kind == "pool" and max(window.pads) > kernel // 2:
        return f"padding of a pool must be at most half its kernel {kernel}, not {max(window.pads)}"
    return ""


def _follow_torch(kind: Kind, windows: Iterable[Window]) -> None:
    for refusal in filter(None, (torch_refusal(kind, window) for window in windows)):
        raise UsageError(f"{refusal} (PyTorch's rule)")


def check_channels(operation: Operation, in_channels: int, out_channels: int) -> None:
    """Raise ``UsageError`` unless both numbers of channels are multiples of ``groups``, and equal for a pool."""
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        _at_least(1, name, channels)
        if channels % operation.groups:
            raise UsageError(f"groups must divide {name}: {channels} channels make no {operation.groups} equal groups")
    if operation.kind == "pool" and in_channels != out_channels:
        raise UsageError(f"a pool keeps its channels: out_channels must be {in_channels}, not {out_channels}")


def input_sizes(sizes: PerAxis, name: str = "input size") -> tuple[int, ...]:
    """``sizes`` as a tuple, one for each axis, each at least 1. Raises ``UsageError`` that calls them ``name``."""
    found = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    for size in found:
        _at_least(1, name, size)
    return found


def size_text(sizes: Iterable[int]) -> str:
    """``28x32``: sizes as the command line takes and prints them."""
    return "x".join(map(str, sizes))


def joined(words: Iterable[object]) -> str:
    """``rows``, ``rows and columns``, ``slices, rows and columns``."""
    texts = [str(word) for word in words]
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)


def per_axis_windows(
    axes: int | None, padding: Padding, auto_pad: AutoPad, **options: PerAxis
) -> tuple[tuple[Window, ...], AutoPad]:
    """The windows with these options, and ``auto_pad``, which ``padding`` may name. Raises ``UsageError``."""
    if isinstance(padding, str):
        meant = PADDING_WORDS.get(padding)
        if meant is None:
            raise UsageError(f"padding must be a number, numbers, pairs, 'same' or 'valid', not {padding!r}")
        if auto_pad not in ("NOTSET", meant):
            raise UsageError(f"padding {padding!r} means auto_pad {meant}, not {auto_pad}")
        padding, auto_pad = 0, meant
    given: dict[str, int | Sequence[int | Sequence[int]]] = {**options, "padding": padding}
    lengths = {name: len(value) for name, value in given.items() if isinstance(value, Sequence)}
    axes = lengths.get("kernel", max(lengths.values(), default=1)) if axes is None else axes
    _at_least(1, "axes", axes)
    for name, length in lengths.items():
        if length != axes:
            raise UsageError(f"{name} must be one number or {axes}, one for each axis, not {length}: {given[name]}")
    each = {name: value if isinstance(value, Sequence) else (value,) * axes for name, value in given.items()}
    return tuple(_window({name: values[axis] for name, values in each.items()}) for axis in range(axes)), auto_pad


def _window(options: dict[str, int | Sequence[int]]) -> Window:
    padding = options.pop("padding")
    pads = tuple(padding) if isinstance(padding, Sequence) else (padding, padding)
    if len(pads) != 2:
        raise UsageError(f"padding must be a number or a pair (begin, end) for each axis, not {padding}")
    return Window(**options, pad_begin=pads[0], pad_end=pads[1])  # type: ignore[arg-type]  # Window checks each


def _at_least(least: int, option: str, value: object) -> None:
    if type(value) is not int:
        raise UsageError(f"{option} must be an integer, not {value!r}")
    if value < least:
        raise UsageError(f"{option} must be at least {least}, not {value}")
