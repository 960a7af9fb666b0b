"""Batches of 64 through convolutional networks against PyTorch eager, in processor time: ``python batches.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from batch_sides import NETWORKS
from side_by_side import compare, measure, processor

if __name__ == "__main__":
    print(processor())
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            path = str(Path(folder, f"{name}.onnx"))
            measure("batch_sides", "write", name, path)
            compare(
                f"{name}, batch 64",
                {"numpy": ("batch_sides", "ours", name, path), "torch": ("batch_sides", "theirs", name)},
            )
