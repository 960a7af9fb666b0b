"""PyTorch's words for array code: functions, methods and options that have other names in numpy and in its helpers."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from portable_nn.converters.array.helpers import sources
from portable_nn.core.errors import RefusalError

_ALIKE: Final = """
    abs( broadcast_shapes( broadcast_to( ceil( cos( cosh( cumsum( einsum( exp( expm1( flip( floor( fmod( isnan( linalg
    asarray( log( log1p( maximum( minimum( round( sign( sin( sinh( sqrt( stack( tan( tanh( tile( tril( triu( where(
    float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64
"""
"""Functions and element types that have the same name in numpy and in PyTorch, where an element type is no function."""

WORDS: Final[Mapping[str, str]] = {
    **{f"np.{name}": f"torch.{name}" for name in _ALIKE.split()},
    **{f"np.arc{name}(": f"torch.a{name}(" for name in ("cos", "cosh", "sin", "sinh", "tan", "tanh")},
    "np.bool_": "torch.bool",
    "np.concatenate(": "torch.cat(",
    "np.inf": 'float("inf")',
    "np.mod(": "torch.remainder(",
    "np.moveaxis(": "torch.movedim(",
    "np.nan": 'float("nan")',
    "np.newaxis": "None",
    ".astype(": ".to(",
    ".max(": ".amax(",
    ".min(": ".amin(",
    ".transpose(": ".permute(",
    "axis=": "dim=",
    "keepdims=": "keepdim=",
    "elu(": "F.elu(",
    "erf(": "torch.erf(",
    "leaky_relu(": "F.leaky_relu(",
    "length(": "torch.linalg.vector_norm(",
    "log_sum_exp(": "torch.logsumexp(",
    "relu(": "F.relu(",
    "sigmoid(": "torch.sigmoid(",
    "softsign(": "F.softsign(",
}

_WORD: Final = re.compile(r"np\.\w+\(?|\.\w+\(|\b(?:axis|keepdims)=|(?<![.\w])[a-z]\w*\(")

_NEGATIVE: Final = re.compile(r"(?<=, )\((-[^(),]+)\)(?=[,)])")
"""A negative number that is an argument needs no brackets."""

_CALL: Final = re.compile(r"(?<![.\w])(?<!def )[a-z]\w*(?=\()")


@lru_cache(maxsize=4096)
def in_torch(code: str) -> str:
    """Array code in PyTorch's words. Raises ``RefusalError`` for a function that PyTorch has no word for."""
    text = _NEGATIVE.sub(r"\1", _WORD.sub(_word, code))
    for name in called(text):
        helper(name)
    return text


def _word(found: re.Match[str]) -> str:
    word = WORDS.get(found[0], found[0])
    if word.startswith("np."):
        raise RefusalError("PyTorch has no such operation")
    return word


def called(text: str) -> Collection[str]:
    """The helpers that code calls."""
    return {*_CALL.findall(text)} & {*_own(), *sources()}


_TYPES: Final = {
    "x": ": Tensor", "lengths": ": Tensor", "axis": ": int", "block": ": int", "order": ": str", "exclusive": ": bool",
    "reverse": ": bool",
}  # fmt: skip
"""The types of parameters of helpers of array code, which have none there."""


@cache
def helper(name: str) -> str:
    """The source of a helper: that of ``source_helpers``, or the one of array code in PyTorch's words, with types."""
    if name in _own():
        return _own()[name]
    head, body = in_torch(sources()[name]).split("):\n", 1)
    parameters = re.sub(r"\b[a-z]+(?=,|$)", lambda found: f"{found[0]}{_TYPES.get(found[0], '')}", head)
    return f"{parameters}) -> {'tuple' if name in ('loop', 'scan') else 'Tensor'}:\n{body}"


def helpers(names: Collection[str]) -> list[str]:
    """The sources of some helpers, and of those that they call, apart from what is before them."""
    wanted, new = set[str](), {*names}
    while new:
        wanted |= new
        new = {other for name in new for other in called(helper(name))} - wanted
    return [f"\n\n{helper(name)}" for name in (*_own(), *(sources().keys() - _own().keys())) if name in wanted]


@cache
def _own() -> Mapping[str, str]:
    """The sources of the functions of ``source_helpers``."""
    text = Path(__file__).with_name("source_helpers.py").read_text(encoding="utf-8")
    found = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    return {node.name: ast.get_source_segment(text, node) or "" for node in found}
