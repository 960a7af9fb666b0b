"""Make the files of a shipped model from its recipe: ``python -m portable_nn.models.build digits-mlp``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np

from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx
from portable_nn.models.recipes import load_digits, recipe_of


def build(name: str) -> None:
    """Train a model and write its weight file, its ONNX file and its samples into its folder."""
    model = find_model(name)
    trained = recipe_of(model)()
    trained.network.save(model.weights)
    report = export_onnx(trained.network, model.onnx)
    model.samples.mkdir(exist_ok=True)
    getattr(importlib.import_module(f"{model.package}.recipe"), "write_samples", write_samples)(model.samples)
    print(f"{name}: {dict(trained.figures)}, ONNX agrees to {report.max_abs_error:.1e}")


def write_samples(folder: Path) -> None:
    """The first held-out picture of each digit, those of odd digits as dark ink on white.

    A recipe may have a function of this name of its own.
    """
    import imageio.v3 as iio

    digits = load_digits()
    for digit in range(10):
        picture = digits.test_x[np.flatnonzero(digits.test_y == digit)[0]]
        iio.imwrite(folder / f"digit-{digit}.png", 255 - picture if digit % 2 else picture)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        build(argument)
