"""RNN, LSTM and GRU beside PyTorch eager in one process, on one thread each: ``python benchmarks/recurrent.py``.

One layer of 64 units over 104 steps of one feature: a training step on 64 sequences (mean squared error of the states
of all steps, stochastic gradient descent), and the prediction for one sequence. Each figure is the least of rounds that
alternate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch.nn import functional

import portable_nn as pnn

STEPS, UNITS, BATCH, STEPS_OF_FIT, ROUNDS = 104, 64, 64, 30, 4


def best(calls: dict[str, Callable[[], Any]], repeat: int) -> list[float]:
    """The least milliseconds of each call, in rounds that alternate."""
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            found[name] = min(found[name], 1e3 * (time.perf_counter() - start) / repeat)
    return list(found.values())


def compared(kind: str) -> tuple[list[float], list[float]]:
    """Milliseconds of a training step and of a prediction, ours and PyTorch's."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS_OF_FIT, STEPS, 1)).astype(np.float32)
    target = rng.normal(size=(BATCH * STEPS_OF_FIT, STEPS, UNITS)).astype(np.float32)
    network = pnn.Sequential(pnn.Input(STEPS, 1), getattr(pnn, kind)(UNITS), seed=0)
    module = getattr(torch.nn, kind)(1, UNITS, batch_first=True)
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    tensors = [torch.tensor(array).split(BATCH) for array in (x, target)]

    def ours() -> None:
        network.fit(
            x, target, loss="mean_squared_error", optimizer=pnn.SGD(1e-3), epochs=1, batch_size=BATCH, progress=False
        )

    def theirs() -> None:
        for inputs, wanted in zip(*tensors, strict=True):
            optimizer.zero_grad()
            functional.mse_loss(module(inputs)[0], wanted).backward()
            optimizer.step()

    one, first = x[:1], torch.tensor(x[:1])
    training = [each / STEPS_OF_FIT for each in best({"ours": ours, "theirs": theirs}, 1)]
    with torch.inference_mode():
        inference = best({"ours": lambda: network.predict(one), "theirs": lambda: module(first)}, 20)
    return training, inference


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("            training step, ms                prediction, ms")
    print("            portable-nn   torch   ratio      portable-nn   torch   ratio")
    for kind in ("RNN", "GRU", "LSTM"):
        rows = [f"{ours:11.3f} {theirs:7.3f} {theirs / ours:7.2f}" for ours, theirs in compared(kind)]
        print(f"{kind:10s} {'     '.join(rows)}")
