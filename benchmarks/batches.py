"""Batches of 64 through convolutional networks against PyTorch eager: ``python batches.py``.

On a busy machine, ``taskset -c 1 python batches.py`` compares one core; what counts is the processor time.
"""

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
