"""The ring at the shell: ``python -m portable_nn.adversarial.gan RECIPE SEEDS FIRST``."""

from __future__ import annotations

import sys

from portable_nn.adversarial.gan.ring import FIRST, RingRun, measure_ring, spreads


def main(recipe: str = "regularised", seeds: str = "10", initial: str = FIRST) -> None:
    """Train once for each seed, and print the metrics of each, their means and standard errors.

    ``recipe``: regularised or plain; ``initial``: the first weights, small or he.
    """
    runs: list[RingRun] = []
    for seed in range(int(seeds)):
        runs += measure_ring([seed], recipe, initial=initial, progress=False)
        print(f"seed {seed}: {runs[-1].modes}, {runs[-1].seconds:.0f} s", flush=True)
    for name, spread in spreads(runs).items():
        print(f"{name:9}{spread.mean:.4g} ± {spread.error:.2g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
