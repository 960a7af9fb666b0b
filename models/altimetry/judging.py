"""The judgement of heights that are read, beside the bound of Cramér and Rao and the fits of single echoes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from portable_nn.models.altimetry.bounds import cramer_rao
from portable_nn.models.altimetry.echoes import Sea, mean_echoes, speckled
from portable_nn.models.altimetry.retracking import METHODS, Method, retrack
from portable_nn.network import Network
from portable_nn.opening import load_model
from portable_nn.operators import Array
from portable_nn.operators.linear.blas import single_threaded

SEED: Final = 20_001
"""That of the seas on which networks are judged; no training has it."""

HEIGHTS: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
"""The significant wave heights at which the errors are compared with the bound, in metres."""

BINS: Final = tuple(range(1, 8))
"""The lower ends of the bins of 1 m in which the bias is taken."""


class Row(NamedTuple):
    """Errors of the significant wave height at one height, in metres.

    Attributes:
        height: the height.
        error: the root of the mean squared error.
        bias: the mean error.
        ratio: ``error`` by the bound, with three unknowns.
        covered: the share of echoes whose error is within one predicted standard deviation; NaN where none is.
        epoch: the root mean squared error of the epoch by its bound.
    """

    height: float
    error: float
    bias: float
    ratio: float
    covered: float
    epoch: float


@dataclass(frozen=True)
class Judged:
    """Rows at ``HEIGHTS``, and the biases in ``BINS``, in metres."""

    rows: tuple[Row, ...]
    biases: tuple[float, ...]

    def figures(self) -> dict[str, float]:
        """The worst and the mean of it, by name."""
        return {
            "error_by_bound": float(np.mean([row.ratio for row in self.rows])),
            "epoch_error_by_bound": float(np.mean([row.epoch for row in self.rows])),
            "covered": float(np.mean([row.covered for row in self.rows])),
            "bias_1_to_2_m": self.biases[0],
            "largest_bias_2_to_8_m": max(self.biases[1:], key=abs),
        }


def unseen(heights: Array, rng: np.random.Generator) -> Sea:
    """Seas of these heights, whose other parameters are Gaussian: statistics unlike those of any training."""
    count = len(heights)
    amplitude = rng.lognormal(0.0, 0.2, count)
    return Sea(
        heights,
        rng.normal(0.0, 1.0, count).clip(-3.2, 3.2),
        amplitude,
        np.abs(rng.normal(0.1, 0.02, count)),
        amplitude * rng.normal(0.02, 0.002, count),
    )


def _row(height: float, found: Array, deviations: Array | None, sea: Sea) -> Row:
    """The errors of heights and epochs ``found`` (n, 2 or more)."""
    bound = cramer_rao(sea)
    error, epoch = found[:, 0] - height, found[:, 1] - sea.column("epoch")[:, 0]
    size = float(np.sqrt(np.mean(error**2)))
    return Row(
        height,
        size,
        float(error.mean()),
        size / float(np.sqrt(bound[:, 0, 0].mean())),
        float("nan") if deviations is None else float((np.abs(error) < deviations).mean()),
        float(np.sqrt(np.mean(epoch**2) / bound[:, 1, 1].mean())),
    )


def judge_heights(network: Network, count: int = 5_000, seed: int = SEED) -> Judged:
    """Judge a network whose output is ``gaussian``, height before epoch, on ``count`` echoes at each height and bin.

    In a bin, heights are drawn from a density that falls by half over its metre.
    """
    rng = np.random.default_rng(seed)
    rows, biases = [], []
    for height in HEIGHTS:
        sea = unseen(np.full(count, height), rng)
        found = network.predict(speckled(mean_echoes(sea, dtype=np.float32), rng))
        rows.append(_row(height, found, np.exp(found[:, found.shape[1] // 2] / 2), sea))
    for low in BINS:
        sea = unseen(low - np.log2(1 - rng.uniform(0, 0.5, 4 * count)), rng)
        found = network.predict(speckled(mean_echoes(sea, dtype=np.float32), rng))
        biases.append(float((found[:, 0] - sea.height).mean()))
    return Judged(tuple(rows), tuple(biases))


def judge_fits(method: Method, count: int) -> list[Row]:
    """The same errors of ``retrack`` by ``method``, which is told the noise, and the angle where it does not fit it."""
    rng = np.random.default_rng(SEED)
    rows = []
    for height in HEIGHTS:
        sea = unseen(np.full(count, height), rng)
        rows.append(_row(height, retrack(speckled(mean_echoes(sea), rng), sea, method), None, sea))
    return rows


def speeds(network: Network) -> dict[str, float]:
    """Echoes a second: of the network, 100 times as many in one call, and of each method of ``retrack``."""
    rng = np.random.default_rng(SEED)
    sea = unseen(np.full(50, 3.0), rng)
    echoes = speckled(mean_echoes(sea), rng)
    many = np.tile(echoes.astype(np.float32), (100, 1))
    network.predict(many)
    found = {}
    began = time.perf_counter()
    network.predict(many)
    found["network"] = len(many) / (time.perf_counter() - began)
    for method in METHODS:
        began = time.perf_counter()
        retrack(echoes, sea, method)
        found[method] = len(echoes) / (time.perf_counter() - began)
    return found


def table(network: Network, count: int = 100) -> str:
    """The errors of the network beside those of the fits of ``count`` echoes at each height, and their speeds."""
    judged = judge_heights(network)
    fits = {method: judge_fits(method, count) for method in METHODS}
    lines = ["height  bound    network  × bound  bias     covered  " + "  ".join(f"{name:>16}" for name in METHODS)]
    for place, row in enumerate(judged.rows):
        others = (f"{each[place].error:.3f} ({each[place].ratio:.2f} ×)" for each in fits.values())
        lines.append(
            f"{row.height:3.0f} m   {row.error / row.ratio:.3f} m  {row.error:.3f} m  {row.ratio:.3f}    "
            f"{row.bias:+.4f}  {row.covered:6.1%}   " + "  ".join(f"{other:>16}" for other in others)
        )
    lines.append("bias by bin of 1 m: " + ", ".join(f"{each * 100:+.2f} cm" for each in judged.biases))
    found = speeds(network)
    times = found["network"] / found["likelihood"]
    lines.append("echoes a second: " + ", ".join(f"{name} {each:,.0f}" for name, each in found.items()))
    lines.append(f"the network is {times:,.0f} times as fast as the fit of maximum likelihood")
    return "\n".join(lines)


if __name__ == "__main__":
    with single_threaded():
        print(table(load_model("altimetry-swh")))
