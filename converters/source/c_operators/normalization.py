"""Normalizations in C."""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn.converters.source.c_operators.use import CUse, known_size, literal
from portable_nn.core.dims import product


def along(kernel: str, use: CUse) -> None:
    """A function of (outer, size, inner)."""
    use.call(kernel, use.x[0], use.y[0], *use.around(use.attribute_axis()))


def batch_norm(use: CUse) -> None:
    """By the running statistics."""
    if use.int("training_mode"):
        use.refuse("it normalises by the batch, as in training")
    use.call("batch_norm", *use.x, use.y[0], *use.around(1), literal(use.float("epsilon"), use.float_type()))


def layer_norm(kernel: str, use: CUse) -> None:
    """A function of rows, then scale and bias."""
    if use.output_count > 1:
        use.refuse("its mean and deviation are not written as outputs")
    shape, axis = use.type().shape, use.attribute_axis()
    epsilon = literal(use.float("epsilon"), use.float_type())
    use.call(kernel, use.x[0], use.y[0], use.count(shape[:axis]), use.count(shape[axis:]), epsilon)
    _scale(use, use.has(2))


def _scale(use: CUse, biased: bool) -> None:
    """Multiply the output by the second input, and add the third."""
    shape, y = use.type().shape, use.y[0]
    weight, bias = use.type(1).shape, use.type(2).shape if biased else ()

    def statement(i: Sequence[str]) -> str:
        place = use.place(shape, i)
        more = f" + {use.x[2]}[{use.place(bias, i)}]" if biased else ""
        return f"{y}[{place}] = {y}[{place}] * {use.x[1]}[{use.place(weight, i)}]{more};"

    use.over(shape, statement)


def group_norm(use: CUse) -> None:
    """Groups of channels, or each channel."""
    shape = use.type().shape
    instance = "num_groups" not in use.operator.attributes
    rows = shape[:2] if instance else (shape[0], use.int("num_groups"))
    size = product(shape[2:] if instance else [*shape[2:], known_size(shape[1]) // use.int("num_groups")])
    epsilon = literal(use.float("epsilon"), use.float_type())
    use.call("standardize", use.x[0], use.y[0], use.count(rows), use.count([size]), epsilon)
    use.call("scale_channels", use.y[0], use.x[1], use.x[2], *use.around(1))


def response_norm(use: CUse) -> None:
    """Divided by what neighbouring channels add up to."""
    numbers = [literal(use.float(name), use.float_type()) for name in ("alpha", "beta", "bias")]
    use.call("response_norm", use.x[0], use.y[0], *use.around(1), use.int("size"), *numbers)
