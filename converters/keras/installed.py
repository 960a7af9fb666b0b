"""Keras itself, imported where it is needed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from portable_nn.core.errors import MissingPackageError


def installed() -> bool:
    """Whether Keras and one of the packages that it computes with are installed."""
    return find_spec("keras") is not None and _backend() is not None


def _backend() -> str | None:
    """What Keras computes with: what is chosen, or the first that is installed."""
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
    """Layers that are made in the block compute in ``dtype``."""
    before = keras().config.dtype_policy()
    keras().config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras().config.set_dtype_policy(before)
