"""The seven worked examples of the article that this package follows: sizes, grids and the column that is not covered.

For the fourth, the article's line of code has padding=2 (which gives 5); its text and its formula use 1, as here.
"""

from __future__ import annotations

import pytest

from portable_nn.sizes import Operation, conv, convt, coverage, explain

EXAMPLES = [
    (conv(2), 6, 5),
    (conv(2, stride=2), 6, 3),
    (conv(2, stride=2, padding=1), 6, 4),
    (conv(2, stride=2), 5, 2),
    (convt(2, stride=2), 3, 6),
    (convt(2), 5, 6),
    (convt(2, stride=2, padding=1), 3, 4),
]


@pytest.mark.parametrize(("operation", "size", "output"), EXAMPLES)
def test_sizes(operation: Operation, size: int, output: int) -> None:
    assert operation.output_size((size, size)) == (output, output)


def test_the_padding_that_its_line_of_code_has() -> None:
    assert conv(2, stride=2, padding=2).output_size(6) == (5,)


@pytest.mark.parametrize(
    ("operation", "size", "grids"),
    [
        (convt(2, stride=2), 3, [5, 7, 7, 6]),
        (convt(2), 5, [5, 7, 7, 6]),
        (convt(2, stride=2, padding=1), 3, [5, 7, 5, 4]),
    ],
)
def test_grid_of_a_transposed_convolution(operation: Operation, size: int, grids: list[int]) -> None:
    """The cells stride apart; with kernel - 1 rings around; without the padding's rings; the positions on it."""
    [steps] = explain(operation, size)
    assert [step.result for step in steps[1:]] == grids


@pytest.mark.parametrize(("operation", "size", "output"), EXAMPLES)
def test_the_fourth_alone_leaves_a_column_out(operation: Operation, size: int, output: int) -> None:
    found = coverage(operation, (size, size))[1]
    assert found.words("columns") == ("column 4 (the last of 5)" if size == 5 and output == 2 else "")


def test_the_rules_of_thumb_of_the_page() -> None:
    for size in range(8, 40):
        assert all(conv(k, padding=(k - 1) // 2).output_size(size) == (size,) for k in (1, 3, 5, 7))
        assert convt(4, stride=2, padding=1).output_size(size) == (2 * size,)
        assert not coverage(convt(4, stride=2, padding=1), size)[0].uneven
        if size % 2 == 0:
            assert conv(4, stride=2, padding=1).output_size(size) == conv(3, stride=2, padding=1).output_size(size)
            assert conv(4, stride=2, padding=1).output_size(size) == (size // 2,)
            [even, odd] = [explain(conv(k, stride=2, padding=1), size)[0] for k in (4, 3)]
            left = [next(line.result for line in lines if line.formula == "room mod stride") for lines in (even, odd)]
            assert left == [0, 1]
            assert not coverage(conv(3, stride=2, padding=1), size)[0].uncovered
            assert len(coverage(conv(1, stride=2), size)[0].uncovered) == size // 2
    # 5 and 6 have the same output, of which the transposed convolution takes the smaller input back.
    for size, added in ((5, 0), (6, 1)):
        assert conv(3, stride=2, padding=1).output_size(size) == (3,)
        assert convt(3, stride=2, padding=1, output_padding=added).output_size(3) == (size,)
