"""Products of matrices in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from portable_nn.converters.array.use import ArrayUse, Row, in_quotes, number
from portable_nn.operators import FLOATS
from portable_nn.operators.linear.fourier import frames, transform


def _gemm(use: ArrayUse) -> str:
    a, b = (f"{use.x(i)}.T" if use.int(f"trans{'AB'[i]}") else use.x(i) for i in (0, 1))
    text = f"{a} @ {b}"
    if use.float("alpha") != 1:
        text = f"{number(use.float('alpha'))} * ({text})"
    if use.has(2) and use.float("beta"):
        text += f" + {use.x(2)}" if use.float("beta") == 1 else f" + {number(use.float('beta'))} * {use.x(2)}"
    return text


def _weighted(use: ArrayUse) -> str:
    results, given = use.results[0].shape[-1:], use.type().shape[0 if use.attributes.get("transA") else -1 :][:1]
    bias = ", plus a bias" if use.has(2) else ""
    return f"{results[0]} weighted sums of {given[0]} numbers{bias}" if results and given else "a sum of products"


def _einsum(use: ArrayUse) -> str:
    equation = in_quotes(use.string("equation").replace(" ", ""))
    text = f"np.einsum({equation}, {', '.join(use.all)})"
    return text if use.type().dtype in FLOATS else f"{text}.astype({use.x()}.dtype)"


def _fourier(use: ArrayUse) -> str:
    found = transform(use)
    how = f"{bool(use.int('inverse'))}, {bool(use.int('onesided'))}"
    return f"fourier({use.x()}, {use.size(found.length)}, {found.axis}, {how})"


def _short_time(use: ArrayUse) -> str:
    found = frames(use)
    length = use.size(found.length)
    pieces = f"frames({use.x()}, {length}, {found.step})"
    pieces += f" * {use.x(2)}[:, np.newaxis]" if use.has(2) else ""
    return f"fourier({pieces}, {length}, 2, False, {bool(use.int('onesided'))})"


ROWS: Final[Mapping[str, Row]] = {
    "Gemm": Row(_gemm, _weighted),
    "MatMul": Row("{0} @ {1}", _weighted),
    "Einsum": Row(_einsum, "sums of products"),
    "DFT": Row(_fourier, "the strength of each wave"),
    "STFT": Row(_short_time, "the strength of each wave in each piece of a signal"),
    "Det": Row("np.linalg.det({0})", "the determinant"),
}
