"""Imported ONNX models in the numpy engine, against onnxruntime and onnx.reference: ``python imported.py``.

Models of torchvision have random weights; the light ones are those of the onnx package, with all weights the same.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from imported_sides import LIGHT
from side_by_side import compare, measure, processor

MODELS = ("resnet18", "mobilenet_v3_small", "vit_b_16")

if __name__ == "__main__":
    print(processor())
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            path = str(Path(folder, f"{name}.onnx"))
            measure("imported_sides", "write", name, path)
            sides: dict[str, tuple[object, ...]] = {
                "numpy": ("imported_sides", "ours", path),
                "numpy, one thread": ("imported_sides", "ours", path, 1),
                "onnxruntime": ("imported_sides", "runtime", path, 0),
                "onnxruntime, one thread": ("imported_sides", "runtime", path),
            }
            compare(f"{name}, one picture", sides, rounds=5)
            kinds = {"numpy": "ours", "onnxruntime": "runtime"}
            shares = {side: measure("imported_sides", "peak", kind, path) for side, kind in kinds.items()}
            print(
                f"memory for {name}:", *(f"{side} {share / 1e6:.0f} MB" for side, share in shares.items()), flush=True
            )
        path = str(Path(folder, "training.onnx"))
        measure("imported_sides", "write", "resnet18", path, True)
        compare(
            "resnet18, a training step, batch 8",
            {
                "numpy": ("imported_sides", "our_training", path, 8),
                "torch": ("imported_sides", "torch_training", "resnet18", 8),
            },
            rounds=5,
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
