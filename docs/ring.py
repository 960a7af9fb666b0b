"""GANs on the ring, compared: ``python docs/ring.py`` prints ``ring.csv`` as a table.

``python docs/ring.py RECIPE FIRST SEEDS`` trains one with each of so many seeds, on one core a minute or two each, and
prints a row of it: ``RECIPE`` is regularised or plain, ``FIRST`` the first weights, small or he.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def with_error(mean: str, error: str, unit: str = "") -> str:
    """The mean ± its standard error, which one seed has not."""
    return (f"{mean} ± {error}" if error else mean) + unit


def table() -> str:
    """The rows of the file."""
    lines = [
        "| recipe | β₁ of Adam | first weights | seeds | modes with 1 % | high quality | reverse KL |",
        "|---|---|---|---|---|---|---|",
    ]
    with (Path(__file__).parent / "ring.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            cells = [
                *(row[name] for name in ("recipe", "beta1", "weights", "seeds")),
                with_error(row["modes"], row["modes_error"]),
                with_error(row["quality"], row["quality_error"], " %"),
                with_error(row["kl"], row["kl_error"]),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spreads(runs: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """The mean of each figure over the runs, and its standard error, which is 0 for a single one."""
    rows = np.array([[*figures.values()] for figures in runs])
    errors = rows.std(axis=0, ddof=1) / len(rows) ** 0.5 if len(rows) > 1 else np.zeros(rows.shape[1])
    return dict(zip(runs[0], zip(rows.mean(axis=0).tolist(), errors.tolist(), strict=True), strict=True))


def measured(recipe: str, first: str, seeds: str) -> str:
    """A row of the file."""
    from portable_nn.adversarial.gan.examples import demonstrate

    options: dict[str, Any] = {"recipe": recipe, "initial": first, "progress": False}
    found = spreads([demonstrate("ring", seed=seed, **options).figures for seed in range(int(seeds))])
    parts = [(found["strict"], 1), (found["quality"], 100), (found["kl"], 1)]
    numbers = [f"{value * times:.3g}" for spread, times in parts for value in spread]
    return ",".join([recipe, "0", first, seeds, *numbers])


if __name__ == "__main__":
    print(measured(*sys.argv[1:]) if sys.argv[1:] else table())
