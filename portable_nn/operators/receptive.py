"""Receptive fields through operators: those of an output in the network's input, from those of the inputs.

A value has a field for each of its axes, batch and channels included; ``None`` where it is global along
that axis, as over the channels after a convolution. A rule takes a ``FieldContext`` and returns the fields of the first
output, or ``None`` where they are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from portable_nn.core.errors import ShapeError
from portable_nn.core.graph import Attribute, Shape
from portable_nn.sizes.operation import Operation, Window
from portable_nn.sizes.receptive import Fields, combine, through


@dataclass(frozen=True)
class FieldContext:
    """A use of an operator with the fields of its inputs.

    Args:
        attributes: those of the file, whose opset may be an older one.
        shapes: of the inputs.
        constants: the elements of each input that is a short constant list, and nothing for others.
        fields: of the inputs; ``None`` for constants.
        output: the shape of the first output.
    """

    attributes: Mapping[str, Attribute]
    shapes: Sequence[Shape]
    constants: Sequence[tuple[int | float, ...]]
    fields: Sequence[Fields | None]
    output: Shape

    @property
    def first(self) -> Fields:
        """The fields of the first input. Raises ``ShapeError`` where it is constant, or other inputs are not."""
        fields, *others = self.fields
        if fields is None or any(other is not None for other in others):
            raise ShapeError("its receptive field depends on other inputs than the first one")
        return fields

    @property
    def input(self) -> Shape:
        """The shape of the first input."""
        return self.shapes[0]

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def setting(self, name: str, index: int, default: Any = None) -> Any:
        """Numbers that are input ``index`` since some opset and were the attribute ``name`` before."""
        return (index < len(self.constants) and self.constants[index]) or self.get(name, default)

    def axis(self, default: int) -> int:
        """The attribute ``axis``, counted from the front."""
        return int(self.get("axis", default)) % len(self.input)


Rule: TypeAlias = Callable[[FieldContext], Fields | None]


def cellwise_fields(use: FieldContext) -> Fields:
    """The union of the fields of the elements at the same place in the inputs, which broadcast."""
    pairs = zip(use.fields, use.shapes, strict=True)
    return combine([_broadcast(fields, shape, use.output) for fields, shape in pairs if fields is not None])


def _broadcast(fields: Fields, shape: Shape, wanted: Shape) -> Fields:
    """The fields of a value that is repeated along axes on which it has one element."""
    missing = len(wanted) - len(shape)
    repeated = (
        None if size == 1 and new != 1 else field
        for field, size, new in zip(fields, shape, wanted[missing:], strict=True)
    )
    return (*(None,) * missing, *repeated)


def moved_fields(use: FieldContext, operation: Operation) -> Fields:
    """After a spatial operation: the batch stays, and the field is global over the channels."""
    return (use.first[0], None, *through(use.first[2:], operation, (1,) * operation.axes))


def spread_fields(use: FieldContext, factors: Sequence[int], *, smooth: bool = False) -> Fields:
    """Each cell becomes several, as a transposed convolution with a box (or a tent) for a kernel makes them."""
    windows = [
        Window(2 * factor - factor % 2, factor, pad_begin=factor // 2)
        if smooth and factor > 1
        else Window(factor, factor)
        for factor in factors
    ]
    return moved_fields(use, Operation("convt", tuple(windows)))


def mixed_fields(use: FieldContext, axes: Collection[int]) -> Fields:
    """Elements along ``axes`` are combined: the field is global there."""
    return tuple(None if axis in axes else field for axis, field in enumerate(use.first))


def per_example_fields(use: FieldContext) -> Fields:
    """Everything but the batch is combined, by global pools and by normalization over space."""
    return mixed_fields(use, range(1, len(use.first)))


def axis_fields(use: FieldContext) -> Fields:
    """Elements along the attribute ``axis`` are combined, as by Softmax."""
    return mixed_fields(use, [use.axis(-1)])


def trailing_axes_fields(use: FieldContext) -> Fields:
    """Elements along all axes from the attribute ``axis`` on are combined, by LayerNormalization."""
    return mixed_fields(use, range(use.axis(-1), len(use.first)))


def reduced_fields(use: FieldContext) -> Fields:
    """Elements along ``axes`` are combined by a reduction, which keeps those axes or not."""
    axes = [int(axis) % len(use.input) for axis in use.setting("axes", 1, range(len(use.input)))]
    kept = mixed_fields(use, axes)
    return kept if use.get("keepdims", 1) else tuple(field for axis, field in enumerate(kept) if axis not in axes)


def cut_fields(use: FieldContext) -> Fields | None:
    """Parts along axes where the field is global; other axes must keep their size."""
    sides = zip(use.first, use.input, use.output, strict=True)
    return use.first if all(field is None or old == new for field, old, new in sides) else None
