"""Values that are no arrays of numbers, recognised by how they work: none of the packages is imported."""

from __future__ import annotations

from os import PathLike


def is_path(x: object) -> bool:
    """True if ``x`` is a path, as text or as an object."""
    return isinstance(x, (str, PathLike))


def is_picture(x: object) -> bool:
    """True if ``x`` is an image of Pillow, or works as one."""
    return all(hasattr(x, name) for name in ("mode", "size", "getbands", "convert"))


def is_table(x: object) -> bool:
    """True if ``x`` is a data frame of pandas or polars, or works as one."""
    return hasattr(x, "columns") and hasattr(x, "to_numpy")


def is_tensor(x: object) -> bool:
    """True if ``x`` is a tensor of PyTorch."""
    return all(hasattr(x, name) for name in ("detach", "cpu", "requires_grad"))


def is_sparse(x: object) -> bool:
    """True if ``x`` is a sparse matrix or array of SciPy, or works as one."""
    return all(hasattr(x, name) for name in ("toarray", "nnz", "tocoo"))
