"""The steps of the formula: what is written is true, and is written so."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from portable_nn.core.errors import ShapeError
from portable_nn.sizes import Operation, Window, conv, convt, explain, explain_text, pool

TEXTS = [
    (conv(2, stride=2), 5, """\
Convolution: 5 -> 2

step                  formula                      numbers          result
span of the kernel    dilation * (kernel - 1) + 1  1 * (2 - 1) + 1       2
padded input          begin + input + end          0 + 5 + 0             5
room to move          padded - span                5 - 2                 3
steps, rounded down   floor(room / stride)         floor(3 / 2)          1
left over at the end  room mod stride              3 mod 2               1
output                steps + 1                    1 + 1                 2
"""),
    (convt(2, stride=2, padding=1, axes=2), (3, 3), """\
Transposed convolution: 3x3 -> 4x4

Rows and columns: 3 -> 4
step                                 formula                      numbers          result
span of the kernel                   dilation * (kernel - 1) + 1  1 * (2 - 1) + 1       2
grid: the input cells, stride apart  stride * (input - 1) + 1     2 * (3 - 1) + 1       5
span - 1 rings added around it       grid + 2 * (span - 1)        5 + 2 * (2 - 1)       7
padding: rings taken away            grid - begin - end           7 - 1 - 1             5
output: positions, moved by 1        grid - span + 1              5 - 2 + 1             4
"""),
    (conv((3, 3), stride=2, padding="same"), (8, 9), """\
Convolution: 8x9 -> 4x5

Rows: 8 -> 4
step                  formula                                       numbers                      result
span of the kernel    dilation * (kernel - 1) + 1                   1 * (3 - 1) + 1                   3
same: cells wanted    ceil(input / stride)                          ceil(8 / 2)                       4
padding in all        max(0, (wanted - 1) * stride + span - input)  max(0, (4 - 1) * 2 + 3 - 8)       1
padded input          begin + input + end                           0 + 8 + 1                         9
room to move          padded - span                                 9 - 3                             6
steps, rounded down   floor(room / stride)                          floor(6 / 2)                      3
left over at the end  room mod stride                               6 mod 2                           0
output                steps + 1                                     3 + 1                             4

Columns: 9 -> 5
step                  formula                                       numbers                      result
span of the kernel    dilation * (kernel - 1) + 1                   1 * (3 - 1) + 1                   3
same: cells wanted    ceil(input / stride)                          ceil(9 / 2)                       5
padding in all        max(0, (wanted - 1) * stride + span - input)  max(0, (5 - 1) * 2 + 3 - 9)       2
padded input          begin + input + end                           1 + 9 + 1                        11
room to move          padded - span                                 11 - 3                            8
steps, rounded down   floor(room / stride)                          floor(8 / 2)                      4
left over at the end  room mod stride                               8 mod 2                           0
output                steps + 1                                     4 + 1                             5
"""),
    (pool(2, stride=3, padding=1, ceil=True), 4, """\
Pool: 4 -> 2

step                                         formula                          numbers          result
span of the kernel                           dilation * (kernel - 1) + 1      1 * (2 - 1) + 1       2
padded input                                 begin + input + end              1 + 4 + 1             6
room to move                                 padded - span                    6 - 2                 4
steps, rounded up                            ceil(room / stride)              ceil(4 / 3)           2
a last window in the end padding is dropped  steps * stride >= begin + input  2 * 3 >= 1 + 4        1
output                                       steps + 1                        1 + 1                 2
"""),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "sizes", "text"), TEXTS)
def test_text(operation: Operation, sizes: Any, text: str) -> None:
    assert explain_text(operation, sizes) == text


def test_same_padding_of_a_transposed_convolution() -> None:
    [lines] = explain(convt(3, stride=2, output_padding=1, padding="same"), 4)
    formula = "max(0, stride * (input - 1) + span + output_padding - wanted)"
    assert lines[1:3] == (
        ("same: cells wanted", "stride * input", "2 * 4", 8),
        ("padding in all", formula, "max(0, 2 * (4 - 1) + 3 + 1 - 8)", 2),
    )
    assert lines[-2:] == (
        ("output_padding: added at the end", "grid + output_padding", "9 + 1", 10),
        ("output: positions, moved by 1", "grid - span + 1", "10 - 3 + 1", 8),
    )


@pytest.mark.long
def test_every_line_is_true_and_the_last_is_the_output_size() -> None:
    rng, names = random.Random(5), {"floor": math.floor, "ceil": math.ceil, "max": max}
    for _ in range(2000):
        kind: Any = rng.choice(["conv", "convt", "pool"])
        auto_pad: Any = rng.choice(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])
        pads = (rng.randint(0, 4), rng.randint(0, 4)) if auto_pad == "NOTSET" else (0, 0)
        added = rng.randint(0, 3) if kind == "convt" else 0
        window = Window(rng.randint(1, 5), rng.randint(1, 4), rng.randint(1, 3), *pads, added)
        ceil = kind == "pool" and rng.random() < 0.5
        operation, size = Operation(kind, (window,), auto_pad=auto_pad, ceil=ceil), rng.randint(1, 12)
        try:
            [output] = operation.output_size(size)
        except ShapeError:
            with pytest.raises(ShapeError):
                explain(operation, size)
            continue
        [lines] = explain(operation, size)
        assert lines[-1].result == output
        for line in lines:
            found = eval(line.numbers.replace("mod", "%"), dict(names))
            if ">=" in line.numbers:  # why one step less is taken
                assert found is True
            else:
                assert found == line.result, line
