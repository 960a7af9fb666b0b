"""Reductions that PyTorch does otherwise than array code."""

from __future__ import annotations

from portable_nn.converters.torch.source_use import Use, torch_dtype
from portable_nn.operators import FLOATS
from portable_nn.operators.reduction.reduce import reduced_axes


def _keepdim(use: Use) -> str:
    return ", keepdim=True" if use.int("keepdims") else ""


def mean(use: Use) -> str | None:
    """The mean of whole numbers is cut."""
    axes = reduced_axes(use)
    x = use.x()
    if use.type().dtype in FLOATS or not axes:
        return None
    count = " * ".join(f"{x}.shape[{axis}]" for axis in axes)
    return f'torch.div({x}.sum({axes}{_keepdim(use)}), {count}, rounding_mode="trunc").to({x}.dtype)'


def product(use: Use) -> str:
    """One axis after another."""
    text = use.x() + "".join(f".prod({axis}{_keepdim(use)})" for axis in reduced_axes(use)[::-1])
    return text if use.type().dtype in FLOATS else f"{text}.to({torch_dtype(use.type().dtype)})"


def of_floats(use: Use) -> str | None:
    """Roots and logarithms of sums of whole numbers, as those of floats."""
    axes = reduced_axes(use)
    dtype = use.type().dtype
    if dtype in FLOATS or not axes:
        return None
    function = {"ReduceL2": "linalg.vector_norm"}.get(use.operator.name, "logsumexp")
    return f"torch.{function}({use.x()}.double(), dim={axes}{_keepdim(use)}).to({torch_dtype(dtype)})"
