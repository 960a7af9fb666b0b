"""While PyTorch exports: functions with a backward of their own are noted, and it chooses between no ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def own_backwards() -> Iterator[list[str]]:
    """Gives a list that gets a note for each ``autograd.Function`` that is applied in the meantime."""
    from torch.autograd import Function

    notes = dict[str, None]()
    found, before = list[str](), Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if not cls.__module__.startswith("torch."):  # PyTorch's own, as of checkpoints, have the usual gradient.
            notes.setdefault(
                f"the backward of {cls.__qualname__} (an autograd.Function) is not kept: training follows the "
                "derivative of what its forward computes"
            )
            found[:] = notes
        return before.__get__(None, cls)(*args, **kwargs)

    Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield found
    finally:
        Function.apply = before  # type: ignore[method-assign]


@contextmanager
def nothing_decided() -> Iterator[None]:
    """PyTorch does not choose between ways to compute the same, which would fix sizes or depend on numbers.

    Transformers take a mask as it is, and do not look whether it is the causal one; products of several tensors are
    computed from left to right, and not in the order that is the fastest for the sizes of the example.
    """
    import torch
    from torch.nn.modules import transformer

    before, plans = transformer._detect_is_causal_mask, torch.backends.opt_einsum.enabled

    def said(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
        return is_causal is True

    transformer._detect_is_causal_mask = said
    torch.backends.opt_einsum.enabled = False
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = before
        torch.backends.opt_einsum.enabled = plans
