"""Convolutions and pools in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portable_nn.converters.array.windows import kernel_of
from portable_nn.converters.source.c_kernels import name_of
from portable_nn.converters.source.c_operators.use import CUse, loops
from portable_nn.core.errors import RefusalError
from portable_nn.core.graph import Dim, Shape
from portable_nn.operators.spatial.convolution import transpose_windows
from portable_nn.operators.spatial.unpooling import unpooled
from portable_nn.operators.spatial.window import plain_windows, reaching, windows


def _space(shape: Shape) -> tuple[Dim, ...]:
    """Depth, height and width; those that there are not are 1."""
    if len(shape) > 5:
        raise RefusalError(f"a window along {len(shape) - 2} axes")
    return (1,) * (5 - len(shape)) + shape[2:]


def _three(values: Sequence[int], filler: int) -> list[int]:
    return [filler] * (3 - len(values)) + list(values)


def _each_example(use: CUse, kernel: str, pointers: Sequence[tuple[str, str]], numbers: Sequence[object]) -> None:
    """Call a function for each example: pointers, each with the size of an example or ``""``, and further numbers."""
    dtype, batch = use.float_type(), use.count(use.type().shape[:1])
    use.kernels.add((kernel, dtype))
    found = [name if not step or batch == "1" else f"{name} + (size_t)n * {step}" for name, step in pointers]
    call = f"{name_of(kernel, dtype)}({', '.join([*found, *map(str, numbers)])});"
    use.lines += loops([("n", batch)], call)


def _windows_of(use: CUse, kernel: Sequence[int]) -> list[Any]:
    sizes = use.type().shape[2:]
    mode = use.string("auto_pad")
    if mode.startswith("SAME") and not all(isinstance(size, int) for size in sizes):
        use.refuse("auto_pad with an open size: pads in numbers are written")
    found = windows(use, kernel, sizes)
    if use.attributes.get("ceil_mode"):
        if not all(isinstance(size, int) for size in sizes):
            use.refuse("ceil_mode with an open size")
        found = [reaching(w, size) for w, size in zip(found, sizes, strict=True) if isinstance(size, int)]
    return found


def _window_numbers(found: Sequence[Any]) -> list[int]:
    """Kernel, strides, pads before and dilations, for three axes."""
    return [
        *_three([w.kernel for w in found], 1),
        *_three([w.stride for w in found], 1),
        *_three([w.pad_begin for w in found], 0),
        *_three([w.dilation for w in found], 1),
    ]


def conv(kernel: str, use: CUse) -> None:
    """A call for each example."""
    x, y = use.type().shape, use.results[0].shape
    found = transpose_windows(use) if kernel == "conv_transpose" else _windows_of(use, kernel_of(use))
    numbers = [use.count([x[1]]), *map(use.size, _space(x)), use.count([y[1]]), *map(use.size, _space(y))]
    bias = use.x[2] if use.has(2) else "0"
    pointers = [(use.x[0], use.count(x[1:])), (use.x[1], ""), (bias, ""), (use.y[0], use.count(y[1:]))]
    _each_example(use, kernel, pointers, [*numbers, *_window_numbers(found), use.int("group")])


def pool(kernel: str, use: CUse) -> None:
    """A call for each example."""
    if use.output_count > 1 and use.int("storage_order"):
        use.refuse("where the largest numbers stand, counted by columns, is not written")
    x, y = use.type().shape, use.results[0].shape
    found = _windows_of(use, kernel_of(use))
    numbers: list[object] = [use.count([x[1]]), *map(use.size, _space(x)), *map(use.size, _space(y))]
    numbers += _window_numbers(found)
    if kernel == "average_pool":
        own = plain_windows(use, kernel_of(use)) if use.attributes.get("ceil_mode") else found
        counted = [(w.pads if use.int("count_include_pad") else (0, 0)) for w in own]
        numbers += [each for pair in [(0, 0)] * (3 - len(counted)) + counted for each in pair]
    pointers = [(use.x[0], use.count(x[1:])), (use.y[0], use.count(y[1:]))]
    if kernel == "max_pool":
        places = use.y[1] if use.output_count > 1 else ""
        pointers.append((places, use.count(y[1:])) if places else ("0", ""))
        numbers.insert(0, f"(int64_t)n * {use.count(x[1:])}" if places and use.count(x[:1]) != "1" else "0")
    _each_example(use, kernel, pointers, numbers)


def unpool(use: CUse) -> None:
    """Numbers at the places where they stood."""
    out, name, places = use.results[0].shape, use.y[0], use.x[1]
    if unpooled(use) != out:
        use.refuse("an output_shape other than that of the smallest input of the pool")
    size = use.count(out)
    use.lines += loops([("i", size)], f"{name}[i] = 0;")
    use.lines += loops(
        [("i", use.count(use.type().shape))],
        f"if ({places}[i] < 0 || {places}[i] >= {size})",
        "    return 2; /* There is no such place. */",
        f"{name}[{places}[i]] = {use.x[0]}[i];",
    )


def roi_align(use: CUse) -> None:
    """A call for each rectangle."""
    x, out, dtype = use.type().shape, use.results[0].shape, use.float_type()
    use.kernels.add(("roi_align", dtype))
    shift = 0.5 if use.string("coordinate_transformation_mode") == "half_pixel" else 0.0
    numbers = [*(use.count([size]) for size in x), use.count(out[:1]), use.size(out[2]), use.size(out[3])]
    numbers += [str(use.int("sampling_ratio")), repr(use.float("spatial_scale")), repr(shift)]
    given = ", ".join([*use.x, use.y[0], *numbers, str(int(use.string("mode") == "max"))])
    use.lines += [f"if ({name_of('roi_align', dtype)}({given}))", "    return 2; /* There is no such image. */"]
