"""Convolutions, pools and other sizes of pictures in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from portable_nn.converters.array.use import ArrayUse, Row, number, tuple_of
from portable_nn.core.dims import is_at_least
from portable_nn.core.graph import Dim
from portable_nn.operators import OperatorContext
from portable_nn.operators.spatial.convolution import transpose_windows
from portable_nn.operators.spatial.window import reaching, windows
from portable_nn.sizes.operation import Window


def kernel_of(use: OperatorContext) -> list[int]:
    """The sizes of the window of a convolution or pool that are numbers."""
    kernel = use.ints("kernel_shape") or use.type(1).shape[2:]
    return [each for each in kernel if isinstance(each, int)]


def _numbers(found: Sequence[Window]) -> list[str]:
    """Strides, dilations and pads."""
    return [tuple_of([w.stride for w in found]), tuple_of([w.dilation for w in found]), str([w.pads for w in found])]


def _window(use: ArrayUse) -> list[str]:
    """Strides, dilations and pads; where a size is open, what computes the pads of ``auto_pad`` and ``ceil_mode``."""
    kernel, sizes = kernel_of(use), use.type().shape[2:]
    known = [size for size in sizes if isinstance(size, int)]
    found, is_ceil = windows(use, kernel, sizes), use.attributes.get("ceil_mode")
    if len(known) == len(sizes):
        return _numbers([reaching(w, size) for w, size in zip(found, known, strict=True)] if is_ceil else found)
    strides, dilations, pads = _numbers(found)
    given, mode = f"{use.x()}.shape[2:], {tuple_of(kernel)}, {strides}, {dilations}", use.string("auto_pad")
    if mode.startswith("SAME"):
        pads = f"same_pads({given}, {mode == 'SAME_UPPER'})"
    return [strides, dilations, f"ceil_pads({given}, {pads})" if is_ceil else pads]


def _groups(use: ArrayUse) -> list[str]:
    return [f"groups={use.int('group')}"] if use.int("group") > 1 else []


def _conv_transpose(use: ArrayUse) -> str:
    found = transpose_windows(use)
    options = [*_numbers(found), tuple_of([w.output_padding for w in found]), *_groups(use)]
    return f"conv_transpose({', '.join([use.x(), use.x(1), use.optional(2), *options])})"


def _pool(name: str, use: ArrayUse) -> str:
    options = [use.x(), tuple_of(kernel_of(use)), *_window(use)]
    if name == "lp_pool":
        options.append(str(use.int("p")))
    if name == "average_pool":
        options.append(_counted(use, options[-1]))
    if use.output_count > 1:
        return f"max_pool_with_places({', '.join([*options, str(bool(use.int('storage_order')))])})"
    return f"{name}({', '.join(options)})"


def _counted(use: ArrayUse, pads: str) -> str:
    """The padding that an average counts: none, or that of the node without what ceil_mode adds."""
    kernel, sizes = kernel_of(use), use.type().shape[2:]
    if not use.int("count_include_pad"):
        return str([(0, 0)] * len(kernel))
    if not use.int("ceil_mode"):
        return pads
    if use.string("auto_pad").startswith("SAME") and not all(isinstance(size, int) for size in sizes):
        use.refuse("ceil_mode with auto_pad, count_include_pad and an open size")
    return str([w.pads for w in windows(use, kernel, sizes)])


def _pool_words(what: str, use: ArrayUse) -> str:
    return f"{what} of each window of {'x'.join(map(str, kernel_of(use)))}"


def _global_pool(write: str) -> Callable[[ArrayUse], str]:
    return lambda use: write.format(
        x=use.x(),
        axes=tuple_of(range(2, use.rank)),
        p=use.attributes.get("p", 2),
        inverse=f"(1 / {use.attributes.get('p', 2)})",
    )


def _unwritten(use: ArrayUse) -> str:
    use.refuse("is not written in numpy")


_PLACES: Final[Mapping[str, str]] = {
    "half_pixel": "({cells} + 0.5) / {scale} - 0.5",
    "pytorch_half_pixel": "({cells} + 0.5) / {scale} - 0.5",
    "align_corners": "{cells} * (({size} - 1) / max({result} - 1, 1))",
    "asymmetric": "{cells} / {scale}",
}
"""The places of the cells of the result of a Resize in the input."""


_ROUNDED: Final[Mapping[str, str]] = {
    "round_prefer_floor": "np.ceil({} - 0.500001)",
    "round_prefer_ceil": "np.floor({} + 0.500001)",
    "floor": "np.floor({})",
    "ceil": "np.ceil({})",
}


def _resize(use: ArrayUse) -> str:
    mode, where = use.string("mode"), use.string("coordinate_transformation_mode")
    if where not in _PLACES or use.int("antialias") or use.int("exclude_outside"):
        use.refuse("antialias, exclude_outside and some ways to place the cells are not written")
    if use.string("keep_aspect_ratio_policy") != "stretch":
        use.refuse("keep_aspect_ratio_policy is not written")
    text, axes = use.x(), use.ints("axes") or tuple(range(use.rank))
    scales = use.floats(2) if use.has(2) and use.type(2).shape != (0,) else None
    for place, axis in enumerate(axes):
        axis %= use.rank
        size, result = use.type().shape[axis], use.results[0].shape[axis]
        scale = None if scales is None else scales[place]
        if size == result and scale in (None, 1.0):
            continue
        text = _resized(use, text, axis, (size, result, scale), mode)
    return text


def _resized(use: ArrayUse, text: str, axis: int, side: tuple[Dim, Dim, float | None], mode: str) -> str:
    size, result, scale = side
    where = use.string("coordinate_transformation_mode")
    old, new = use.size(size), use.size(result)
    if where == "pytorch_half_pixel" and not is_at_least(result, 2):
        use.refuse("pytorch_half_pixel with a size that may be 1")
    factor = f"({new} / {old})" if scale is None else repr(scale)
    cells = f"np.arange({new}, dtype=np.float{32 if mode == 'nearest' else 64})"
    places = _PLACES[where].format(cells=cells, scale=factor, size=old, result=new)
    if mode == "nearest":
        return f"copied_along({text}, {axis}, {_ROUNDED[use.string('nearest_mode')].format(f'({places})')})"
    if mode == "cubic":
        return f"cubic_along({text}, {axis}, {places}, {number(use.float('cubic_coeff_a'))})"
    return f"interpolated_along({text}, {axis}, {places})"


ROWS: Final[Mapping[str, Row]] = {
    "Conv": Row(
        lambda use: f"conv({', '.join([use.x(), use.x(1), use.optional(2), *_window(use), *_groups(use)])})",
        lambda use: f"{use.results[0].shape[1]} kernels of {'x'.join(map(str, kernel_of(use)))} slide over it",
    ),
    "ConvTranspose": Row(_conv_transpose, "each number spreads over a window of the result"),
    "MaxPool": Row(partial(_pool, "max_pool"), partial(_pool_words, "the largest number")),
    "MaxUnpool": Row(_unwritten, "each number where it stood before a pool"),
    "RoiAlign": Row(_unwritten, "rectangles of images as grids of cells"),
    "AveragePool": Row(partial(_pool, "average_pool"), partial(_pool_words, "the mean")),
    "LpPool": Row(partial(_pool, "lp_pool"), partial(_pool_words, "the norm")),
    "GlobalAveragePool": Row(_global_pool("{x}.mean(axis={axes}, keepdims=True)"), "the mean of each channel"),
    "GlobalMaxPool": Row(_global_pool("{x}.max(axis={axes}, keepdims=True)"), "the largest number of each channel"),
    "GlobalLpPool": Row(
        _global_pool("(np.abs({x}) ** {p}).sum(axis={axes}, keepdims=True) ** {inverse}"), "the norm of each channel"
    ),
    "DepthToSpace": Row("depth_to_space({0}, {blocksize}, {mode})", "channels become blocks of cells"),
    "SpaceToDepth": Row("space_to_depth({0}, {blocksize})", "blocks of cells become channels"),
    "Resize": Row(_resize, "another size"),
}
