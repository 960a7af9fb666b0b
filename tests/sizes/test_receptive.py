"""Receptive fields against the gradients of PyTorch, and against the figures of the paper."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from portable_nn.core.errors import ShapeError
from portable_nn.sizes import INPUT, Field, Operation, Window, combine, conv, convt, pool, receptive_field, through

torch = pytest.importorskip("torch")
windows = pytest.importorskip("torch_windows")

ALEXNET = [
    conv(11, stride=4),
    pool(3, stride=2),
    conv(5, padding=2),
    pool(3, stride=2),
    *[conv(3, padding=1)] * 3,
    pool(3, stride=2),
]
VGG16 = [layer for convolutions in (2, 2, 3, 3, 3) for layer in [*[conv(3, padding=1)] * convolutions, pool(2)]]


@pytest.mark.parametrize(
    ("operations", "size", "jump", "padding"), [(ALEXNET, 195, 32, 64), (VGG16, 212, 32, 90)], ids=["alexnet", "vgg16"]
)
def test_figures_of_the_paper(operations: list[Operation], size: int, jump: int, padding: int) -> None:
    """Its table of networks has alexnet_v2 and vgg_16; the field of cell 0 starts at minus the effective padding."""
    for field in receptive_field(operations, (224, 256)):
        assert field is not None
        assert (field.size, field.jump) == (size, Fraction(jump))
        assert field.start == Fraction(size - 1, 2) - padding


def seen_by(output: Any, cells: Any, position: int) -> tuple[int, int] | None:
    """The first and last cell that a gradient of ``position`` reaches."""
    [gradient] = torch.autograd.grad(output[0, 0, position], cells, retain_graph=True)
    hit = gradient.flatten().nonzero().flatten().tolist()
    return (hit[0], hit[-1]) if hit else None


def inside(span: tuple[int, int] | None, size: int) -> tuple[int, int] | None:
    """A field without what lies beyond the edges, if it does not lie beyond them altogether."""
    if span is None or span[1] < 0 or span[0] >= size:
        return None
    return max(span[0], 0), min(span[1], size - 1)


def drawn(rng: random.Random) -> Operation:
    kind: Any = rng.choice(["conv", "conv", "pool", "convt"])
    kernel, stride, dilation = rng.randint(1, 4), rng.randint(1, 3), rng.choice([1, 1, 2, 3])
    added = rng.randint(0, 1) if kind == "convt" else 0
    return Operation(kind, (Window(kernel, stride, dilation, rng.randint(0, 2), rng.randint(0, 2), added),))


def test_gradients_of_chains() -> None:
    rng, size, compared = random.Random(3), 48, 0
    while compared < 200:
        chain = [drawn(rng) for _ in range(rng.randint(1, 4))]
        x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
        y = x
        try:
            for operation in chain:
                y = windows.explicit(operation, operation.windows[0], y)
        except RuntimeError:
            continue
        [field] = receptive_field(chain, size)
        assert field is not None
        middle = [position for position in range(y.shape[2]) if whole(field.interval(position), size)]
        for position in middle[len(middle) // 2 :][:6]:
            compared += 1
            assert seen_by(y, x, position) == field.interval(position), (chain, position)


def whole(span: tuple[int, int] | None, size: int) -> bool:
    """Whether a field lies so far inside that no edge of a layer between takes some of it away."""
    return span is None or (span[0] >= size // 4 and span[1] < size - size // 4)


def test_fields_of_one_layer_are_exact_at_the_edges_too() -> None:
    rng = random.Random(4)
    for _ in range(200):
        operation, size = drawn(rng), 12
        if operation.windows[0].dilation > 1:
            continue  # what the edge leaves may begin in a hole of the kernel
        x = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
        y = windows.explicit(operation, operation.windows[0], x)
        [field] = through((INPUT,), operation, size)
        assert field is not None
        for position in range(y.shape[2]):
            assert seen_by(y, x, position) == inside(field.interval(position), size)


def test_jump_of_a_transposed_convolution_is_a_fraction() -> None:
    [field] = receptive_field([convt(4, stride=3, padding=1)], 9)
    assert field == Field(spans=((0, 0), (0, 0), (0, 1)), advance=1)
    assert (field.jump, field.size, field.start) == (Fraction(1, 3), 2, Fraction(0))
    assert [field.interval(position) for position in range(-1, 5)] == [(-1, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 1)]


def test_cells_that_see_nothing() -> None:
    [field] = receptive_field([convt(1, stride=2, padding=1)], 9)
    assert field is not None
    assert [field.interval(position) for position in range(4)] == [None, (1, 1), None, (2, 2)]
    assert (field.size, field.start) == (1, Fraction(1))
    assert Field(spans=(None,)).size == 0


def test_residual_branch_is_the_union() -> None:
    x = torch.ones(1, 1, 40, dtype=torch.float64, requires_grad=True)
    down, block = conv(3, stride=2, padding=1), [conv(5, padding=2), convt(2, stride=2), pool(2)]
    y = windows.explicit(down, down.windows[0], x)
    branch = y
    skip = fields = through((INPUT,), down, 40)
    for operation in block:
        branch = windows.explicit(operation, operation.windows[0], branch)
        fields = through(fields, operation, 20)
    joined = combine([skip, fields])
    assert joined == combine([fields, skip])
    assert joined[0] is not None
    assert seen_by(y + branch, x, 9) == joined[0].interval(9)
    assert combine([skip]) == skip


def test_branches_of_unlike_periods() -> None:
    up = receptive_field([conv(2, stride=2), convt(2, stride=2)], 12)
    joined = combine([up, (INPUT,)])
    assert joined == (Field(spans=((0, 1), (0, 1)), advance=2),)
    assert joined == combine([(INPUT,), up])


def test_what_sees_everything_goes_on_seeing_it() -> None:
    everything = through((None, INPUT), conv(3), (9, 9))
    assert everything == (None, Field(spans=((0, 2),)))
    assert combine([everything, (INPUT, INPUT)]) == (None, Field(spans=((0, 2),)))


def test_auto_pad_depends_on_the_size() -> None:
    assert receptive_field([conv(3, stride=2, padding="same")], 8) == (Field(((0, 2),), 2),)
    assert receptive_field([conv(3, stride=2, padding="same")], 9) == (Field(((-1, 1),), 2),)


def test_branches_that_do_not_belong_together() -> None:
    one, two = (Field(), Field(advance=2)), (Field(), Field(((0, 0), (0, 0))))
    with pytest.raises(ShapeError) as caught:
        combine([one, (None, None), two])
    assert str(caught.value) == (
        "the branches that join differ in their jump: from one of their columns to the next, "
        "one moves by 1/2 of the input, another by 2"
    )
