"""Weight files against safetensors, npz, h5py and torch.save, in a warm cache: ``python files.py [FOLDER]``.

The peers' files have no manifest and no hashes; this package's loads are verified, its saves hashed, and all saves are
on the disk (fsync) when they return. ``safetensors whole`` also replaces its file as this package does, whole or not at
all. ``FOLDER`` is where the files go, and so sets which disk is measured.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from file_sides import SIDES
from side_by_side import compare, measure

CASES = [(1, 4), (10, 2000), (100, 50), (1000, 50)]
"""Megabytes, and tensors."""

PEERS = ["portable-nn", "portable-nn h5", "safetensors", "npz", "h5py", "torch"]
SAVES = [*PEERS, "safetensors whole"]
ANEW = ["first time", "first time h5"]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        for megabytes, tensors in CASES:
            title = f"{megabytes} MB, {tensors} tensors"
            rounds = 5 if megabytes < 1000 else 3
            compare(f"save {title}", {s: ("file_sides", "save", s, folder, megabytes, tensors) for s in SAVES}, rounds)
            compare(f"load {title}", {s: ("file_sides", "load", s, folder) for s in PEERS}, rounds)
            compare(f"one tensor of {title}", {s: ("file_sides", "one", s, folder) for s in [*PEERS, *ANEW]}, rounds)
            small = Path(folder, "small")
            if not small.exists():
                small.mkdir()
                for name, *_ in SIDES.values():
                    Path(small, name).write_bytes(Path(folder, name).read_bytes())
            shares = {side: measure("file_sides", "peak", side, folder) for side in PEERS}
            print(f"memory to load {title}:", *(f"{side} {share:.2f}" for side, share in shares.items()), flush=True)
