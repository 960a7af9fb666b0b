"""Peak memory of training RNN, LSTM and GRU beside PyTorch's: ``python benchmarks/recurrent_memory.py``.

The training is that of ``recurrent.py``: one layer of 64 units over 104 steps, batches of 64. Each side runs in a
process of its own, which has imported what it needs and made the data before it begins. The first figure is the peak of
the process (``ru_maxrss``), the second what training has added to it.
"""

from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np

STEPS, UNITS, BATCH, BATCHES = 104, 64, 64, 30


def peak() -> float:
    """The peak of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(kind: str, x: np.ndarray, target: np.ndarray) -> float:
    """Train here; the peak before it."""
    import portable_nn as pnn

    def train(x: np.ndarray, target: np.ndarray, steps: int) -> None:
        network = pnn.Sequential(pnn.Input(steps, 1), getattr(pnn, kind)(UNITS), seed=0)
        options = {"optimizer": pnn.SGD(1e-3), "epochs": 1, "batch_size": BATCH, "progress": False}
        network.fit(x, target, loss="mean_squared_error", **options)

    train(x[:2, :2], target[:2, :2], 2)  # What is imported when it is first used.
    before = peak()
    train(x, target, STEPS)
    return before


def theirs(kind: str, x: np.ndarray, target: np.ndarray) -> float:
    """Train in PyTorch; the peak before it."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)

    def train(x: np.ndarray, target: np.ndarray) -> None:
        module = getattr(torch.nn, kind)(1, UNITS, batch_first=True)
        optimizer = torch.optim.SGD(module.parameters(), 1e-3)
        tensors = [torch.from_numpy(array).split(BATCH) for array in (x, target)]
        for inputs, wanted in zip(*tensors, strict=True):
            optimizer.zero_grad()
            functional.mse_loss(module(inputs)[0], wanted).backward()
            optimizer.step()

    train(x[:2, :2], target[:2, :2])
    before = peak()
    train(x, target)
    return before


def measured(side: str, kind: str) -> None:
    """Print the peak, and what of it training has added."""
    rng = np.random.default_rng(0)
    x, target = (rng.standard_normal((BATCH * BATCHES, STEPS, size), np.float32) for size in (1, UNITS))
    before = {"ours": ours, "theirs": theirs}[side](kind, x, target)
    print(peak(), peak() - before)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measured(*sys.argv[1:])
        sys.exit()
    print("            peak, MB                         added by training, MB")
    print("            portable-nn   torch   ratio      portable-nn   torch   ratio")
    for kind in ("RNN", "GRU", "LSTM"):
        found = []
        for side in ("ours", "theirs"):
            done = subprocess.run([sys.executable, __file__, side, kind], capture_output=True, text=True, check=True)
            found.append([float(word) for word in done.stdout.split()])
        rows = [f"{here:11.1f} {there:7.1f} {here / there:7.2f}" for here, there in zip(*found, strict=True)]
        print(f"{kind:10s} {'     '.join(rows)}")
