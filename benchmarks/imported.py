"""Imported ONNX models in the numpy engine, against onnxruntime and onnx.reference: ``python imported.py``.

Models of torchvision have random weights; the light ones are those of the onnx package, with all weights the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from imported_sides import LIGHT
from side_by_side import compare, measure

MODELS = ("resnet18", "mobilenet_v3_small", "vit_b_16")

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            path = str(Path(folder, f"{name}.onnx"))
            measure("imported_sides", "write", name, path)
            sides: dict[str, tuple[object, ...]] = {
                "numpy": ("imported_sides", "ours", path),
                "numpy, one thread": ("imported_sides", "ours", path, 1),
                "onnxruntime, one thread": ("imported_sides", "runtime", path),
            }
            compare(f"{name}, one picture", sides, rounds=5)
            shares = {side: measure("imported_sides", "peak", kind, path) for side, (_, kind, *_) in sides.items()}
            print(
                f"memory for {name}:", *(f"{side} {share / 1e6:.0f} MB" for side, share in shares.items()), flush=True
            )
        for path in LIGHT:
            compare(
                f"{path.stem}, one picture",
                {
                    "numpy": ("imported_sides", "ours", str(path)),
                    "onnx.reference": ("imported_sides", "reference", str(path)),
                },
                rounds=3,
            )
