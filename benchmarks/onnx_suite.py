"""How tests of the ``onnx`` package are right here, as a Markdown table: ``python onnx_suite.py``.

Of the columns, "refused" has also those that are imported and not right. "As they are" are those of the first two ways
whose inputs are all inputs of the network, and none a constant.

"Exported" are those that are also right in onnxruntime after they were imported and exported again; of the difference,
most is what onnxruntime has no kernel for.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "converters"))

from onnx_suite import WAYS, Count, cases, count, groups


def rows() -> Iterator[tuple[str, Count]]:
    for kind in ("pytorch-converted", "pytorch-operator", "simple"):
        yield kind, count(cases(kind))
    total = Count(*[0] * len(Count._fields))
    for group, found in groups().items():
        figures = count(found)
        total = Count(*map(sum, zip(total, figures, strict=True)))
        yield f"node: {group}", figures
    yield "node, in all", total


def table() -> Iterator[str]:
    yield f"| group | tests | {' | '.join(WAYS)} | as they are | exported |"
    yield "|---" + "|--:" * len(Count._fields) + "|"
    for name, figures in rows():
        yield f"| {name} | {' | '.join(map(str, figures))} |"


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in table():
            print(line)
