"""Shared by the networks that read echoes: what they take, and streams of fresh echoes to learn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from msgspec.structs import replace as replaced

import portable_nn as pnn
from portable_nn.format.meaning import InputInfo
from portable_nn.models.altimetry.chance import Chance
from portable_nn.models.altimetry.echoes import JASON, Generator, Instrument, Sea, mean_echoes, speckled
from portable_nn.models.altimetry.surfaces import KINDS, REACH, Echoes
from portable_nn.operators import Array, Leaf, Symbol, constant, emit, integers

Draw: TypeAlias = Callable[[int, Generator], tuple[Array, Array]]
"""``(count, generator)`` → echoes (count, gates) and their targets (count, …)."""

RANGE: Final = (0.0, 100.0)
"""The powers that the networks are made for, in the unit of the amplitude; another unit gives the same answers."""

TALLEST: Final = 12.0
"""The significant wave height up to which there are echoes to learn from, in metres."""

SMALLEST: Final = 1e-6
"""Powers below this share of the mean count as this: their logarithm says nothing."""


def waveform() -> Leaf:
    """The input: the powers of the gates, in any unit."""
    return pnn.Input(JASON.gates, name="waveform")


def features(x: Symbol, examples: Array, name: str) -> Symbol:
    """Powers relative to their mean and the logarithms of that, each standardised by gate: (…, 2·gates).

    ``examples`` are the echoes whose statistics are taken, ``name`` is that of the part of the network. An echo
    without power becomes NaN, and so do all answers. What the mean of the shares is above 1 is the rounding error of
    the mean, which depends on the runtime, is the same in all gates, and changes heights by 0.02 mm: it is taken off.
    """
    relative = examples / examples.mean(axis=1, keepdims=True)
    power = emit("Max", x, constant(0.0, x.dtype))
    share = power / _mean(power)
    share = share - share * _mean(share - 1.0)
    logarithm = emit("Log", emit("Max", share, constant(SMALLEST, x.dtype)))
    by_gate = pnn.Normalization(-1, name=f"{name}.powers").adapt(relative)
    by_logarithm = pnn.Normalization(-1, name=f"{name}.logarithms").adapt(np.log(np.maximum(relative, SMALLEST)))
    return pnn.concatenate(by_gate(share), by_logarithm(logarithm), axis=-1)


def _mean(x: Symbol) -> Symbol:
    """The mean of the gates: (…, 1). It is that of the means of some gates each, whose rounding errors are smaller."""
    count = JASON.gates
    blocks = next(size for size in range(math.isqrt(count), 0, -1) if count % size == 0)
    shape = integers([0] * (len(x.shape) - 1) + [blocks, count // blocks])
    by_block = emit("ReduceMean", emit("Reshape", x, shape), integers([-1]), keepdims=0)
    return emit("ReduceMean", by_block, integers([-1]), keepdims=1)


def dense(x: Symbol, units: Sequence[int], name: str) -> Symbol:
    """Dense layers of so many ``units``, each with a SiLU."""
    for place, count in enumerate(units, start=1):
        x = pnn.SiLU()(pnn.Dense(count, weight_initial="he_normal", name=f"{name}.{place}")(x))
    return x


@dataclass(frozen=True)
class Fresh:
    """An endless stream of batches, none of which comes twice: ``x`` of ``Network.fit``.

    Attributes:
        draw: makes a batch.
        size: the examples in a batch.
        steps: the batches in an epoch.
        seed: of the generator.
        pool: the batches that are drawn at once.
    """

    draw: Draw
    size: int
    steps: int
    seed: int
    pool: int = 1

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        rng = np.random.default_rng(self.seed)
        while True:
            x, y = self.draw(self.size * self.pool, rng)
            for start in range(0, len(x), self.size):
                yield x[start : start + self.size], y[start : start + self.size]


SURE: Final = 1.0
"""The standard deviation of a height, in metres, above which an echo is of no open sea, and ``predict`` marks it."""


def in_metres(value: Symbol, name: str) -> Symbol:
    """Standardised numbers as heights and epochs in metres, (…, 4): two means, and the logarithms of two variances."""
    return pnn.Normalization(-1, mean=[5, 0, -3, -4], std=[3, 2, 1, 1], invert=True, name=name)(value)


def reads_sea(network: pnn.Network, context: int = 0) -> None:
    """Say that a network takes powers, and answers with heights and epochs."""
    [given], [found] = network.inputs, network.outputs
    network.inputs = (InputInfo(given.name, range=RANGE, context=context),)
    network.outputs = (
        replaced(found, kind="gaussian", labels=("height", "epoch"), units=("m", "m"), loss="gaussian", threshold=SURE),
    )


def echoes_of(kind: str, count: int, rng: Generator) -> Echoes:
    """``count`` echoes of a kind of ``KINDS``, with speckle."""
    found = KINDS[kind].make(Chance(count, rng))
    return found._replace(mean=speckled(found.mean, rng))


def odd_means(count: int, rng: Generator) -> list[Array]:
    """Mean echoes of nothing before this instrument, each (count, gates).

    Noise alone; seas far from the tracking gate, backwards, and in gates of another length.
    """
    sea = Sea(rng.uniform(0, TALLEST, count), rng.uniform(-REACH, REACH, count), noise=rng.uniform(0.01, 0.04, count))
    shift = rng.uniform(6, 25, count) * rng.choice([-0.5, 1.0], count)
    scale = JASON.gate * float(rng.choice([0.25, 0.5, 2.0, 3.0]))
    return [
        np.ones((count, JASON.gates), np.float32),
        mean_echoes(replace(sea, epoch=shift), dtype=np.float32),
        np.ascontiguousarray(mean_echoes(sea, dtype=np.float32)[:, ::-1]),
        mean_echoes(sea, Instrument(gate=scale), np.float32),
    ]


def write_samples(folder: Path) -> None:
    """``echoes.npy``: five echoes of each of ``KINDS``, in their order, (40, gates)."""
    rng = np.random.default_rng(40_001)
    np.save(folder / "echoes.npy", np.concatenate([echoes_of(kind, 5, rng).mean for kind in KINDS]))
