"""Functions with a backward of their own, which no exported graph shows."""

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
