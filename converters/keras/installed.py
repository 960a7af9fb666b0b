"""Keras itself, imported where it is needed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from portable_nn.core.errors import MissingPackageError


def installed() -> bool:
    """True if Keras and one of the packages that it computes with are installed."""
    return find_spec("keras") is not None and _backend() is not None


def _backend() -> str | None:
    """The package that Keras computes with: the one that is chosen, or the first that is installed."""
    chosen = os.environ.get("KERAS_BACKEND")
    return chosen or next((each for each in ("tensorflow", "torch", "jax") if find_spec(each)), None)


def keras() -> Any:
    """The package. Raises ``MissingPackageError``.

    Where nobody has chosen what it computes with, and TensorFlow is missing, which it takes by default, it computes
    with what there is.
    """
    backend = _backend()
    if find_spec("keras") is None or backend is None:
        raise MissingPackageError("keras", "a Keras model", "keras")
    if backend != "tensorflow":
        os.environ.setdefault("KERAS_BACKEND", backend)
    import keras

    return keras


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of Keras, and of what it computes with, from the user: they are about its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def computing_in(dtype: str) -> Iterator[None]:
    """Let Keras compute in a type of numbers, which it needs to be told in one way more by each of its backends.

    Under PyTorch it takes products of matrices in float32 whatever their type is, unless a table of its own says
    otherwise; JAX has float64 where that is asked for.
    """
    before, policy = keras().config.floatx(), keras().config.dtype_policy()
    with ExitStack() as stack:
        if dtype == "float64" and keras().backend.backend() == "jax":
            stack.enter_context(import_module("jax").enable_x64(True))
        if dtype == "float64" and keras().backend.backend() == "torch":
            narrow = import_module("keras.src.backend.common.dtypes").BIT64_TO_BIT32_DTYPE
            stack.callback(narrow.update, dict(narrow))
            narrow["float64"] = "float64"
        keras().config.set_floatx(dtype)
        keras().config.set_dtype_policy(dtype)
        try:
            yield
        finally:
            keras().config.set_floatx(before)
            keras().config.set_dtype_policy(policy)
