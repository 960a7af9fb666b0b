"""Reading the state dict of a resnet18, here and in PyTorch: ``python torch_conversion.py``.

``import_state`` makes a new network, ``load_state`` and ``load_state_dict`` fill one that is there. Times are medians,
each of a process of its own, without its imports and without making the module.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from side_by_side import measure, processor

ROUNDS = 5

MODULE = "torch_conversion_sides"

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        state, weights = str(Path(folder, "resnet18.pt")), str(Path(folder, "resnet18.safetensors"))
        measure(MODULE, "write", state)
        measure(MODULE, "network", state, weights)
        sides: dict[str, tuple[object, ...]] = {
            "torch.load, load_state_dict": ("torch_load", state),
            "load_state": ("our_load", state, weights),
            "import_state without proof": ("our_import", state, weights, False),
            "import_state": ("our_import", state, weights, True),
        }
        found: dict[str, list[float]] = {title: [] for title in sides}
        for _ in range(ROUNDS):  # In turns, so that a busy machine slows all of them.
            for title, (function, *arguments) in sides.items():
                found[title].append(measure(MODULE, str(function), *arguments))
        print(processor())
        first = statistics.median(next(iter(found.values())))
        for title, seconds in found.items():
            median = statistics.median(seconds)
            print(f"{title:<30} {median * 1e3:8.1f} ms   {median / first:5.2f} x PyTorch", flush=True)
