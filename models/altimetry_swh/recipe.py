"""The recipe of ``altimetry-swh``."""

from __future__ import annotations

import math
from typing import Final, Unpack

import numpy as np

import portable_nn as pnn
from portable_nn.models.altimetry.echoes import Sea, mean_echoes, speckled
from portable_nn.models.altimetry.judging import judge_heights
from portable_nn.models.altimetry.networks import (
    TALLEST,
    Fresh,
    dense,
    echoes_of,
    features,
    in_metres,
    odd_means,
    reads_sea,
    waveform,
    write_samples,
)
from portable_nn.models.altimetry.seas import heights
from portable_nn.models.altimetry.surfaces import REACH
from portable_nn.models.recipes import Trained, noted
from portable_nn.operators import Array, Symbol, constant, emit, emit_all, integers
from portable_nn.operators.linear.blas import single_threaded
from portable_nn.training.checkpoint import CheckpointOptions

__all__ = ["train", "write_samples"]

EPOCHS: Final = 42
STEPS: Final = 1000
BATCH: Final = 128
LOST: Final = 5.0
"""The standard deviation that is given for echoes that are none of the open sea, in metres."""

FARTHEST: Final = 20.0
"""Heights and epochs are no larger than this, in metres."""

STEEPEST: Final = 80.0
"""Exponents are no larger, so that float32 holds their powers."""

SHARPNESS, LIMIT = 4.0, 3.0
"""The speed at which a deviation goes to ``LOST``, and the logit of "no open sea" from which on it does: 3 is a
probability of 95 %."""


def train(
    *, seed: int = 0, epochs: int = EPOCHS, progress: bool | None = None, **checkpoints: Unpack[CheckpointOptions]
) -> Trained:
    """Train the network that reads heights and epochs, and the one that knows an echo of the open sea; and join them.

    Each batch is simulated afresh. An epoch is 1,000 batches of 128 echoes for the first, and 200 for the
    second, which is trained for half as many epochs. Checkpoints are of the first.
    """
    rng = np.random.default_rng(seed)
    known, others = open_sea(20_000, rng)[0], open_or_not(20_000, rng)[0]
    x = waveform()
    reader = pnn.Network(x, _reading(x, known), seed=seed)
    watch = pnn.Network(x, _strangeness(x, others), seed=seed)
    with single_threaded():
        history = reader.fit(
            Fresh(open_sea, BATCH, STEPS, seed),
            loss="gaussian",
            optimizer=pnn.Adam(0.004),
            schedule=pnn.CosineDecay(),
            epochs=epochs,
            progress=progress,
            **checkpoints,
        )
        watch.fit(
            Fresh(open_or_not, BATCH, STEPS // 5, seed + 1),
            loss="binary_cross_entropy",
            optimizer=pnn.Adam(0.004),
            schedule=pnn.CosineDecay(),
            epochs=max(1, epochs // 2),
            progress=False,
        )
        network = joined(reader, watch, known)
        figures = judge_heights(network).figures()
    return noted(
        network,
        figures,
        history,
        data=f"{epochs * STEPS * BATCH:,} simulated echoes after Brown and Hayne",
        errors=f"{figures['error_by_bound']:.3f} times the bound of Cramér and Rao, on unseen simulated seas",
    )


def open_sea(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Echoes of the open sea (count, 104), and their heights and epochs in metres, (count, 2).

    Heights are drawn as ``seas.heights`` says.
    """
    sea = Sea(
        heights(count, rng, TALLEST),
        rng.uniform(-REACH, REACH, count),
        rng.uniform(0.6, 1.4, count),
        rng.uniform(0, 0.173, count),
        np.exp(rng.uniform(np.log(0.01), np.log(0.04), count)),
    )
    echoes = speckled(mean_echoes(sea, dtype=np.float32), rng)
    return echoes, np.stack([sea.height, sea.epoch], axis=1).astype(np.float32)


def strange(count: int, rng: np.random.Generator) -> Array:
    """Echoes that are none of an open sea before this instrument (count, 104), of every kind as many.

    Land, coasts, ice, mirrors, late peaks, and those of ``odd_means``.
    """
    some = max(1, count // 9 + 1)
    means = odd_means(some, rng)
    kinds = [echoes_of(kind, some, rng).mean for kind in ("land", "ice", "specular", "peaks", "coast")]
    found = np.concatenate([*(speckled(each, rng) for each in means), *kinds])
    return np.asarray(found[rng.permutation(len(found))[:count]])


def open_or_not(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Echoes (count, 104), half of the open sea; and 1 for the others, 0 for these, (count, 1)."""
    half = count // 2
    echoes = np.concatenate([open_sea(half, rng)[0], strange(count - half, rng)])
    return echoes, (np.arange(count) >= half).astype(np.float32)[:, np.newaxis]


def _reading(x: Symbol, examples: Array) -> Symbol:
    """Heights and epochs: two means, and the logarithms of two variances."""
    value = dense(features(x, examples, "sea"), (256, 256, 128), "sea")
    return in_metres(pnn.Dense(4, name="sea.last")(value), "metres")


def _strangeness(x: Symbol, examples: Array) -> Symbol:
    """The logit of "none of the open sea"."""
    return pnn.Dense(1, name="other.last")(dense(features(x, examples, "other"), (32, 32), "other"))


def joined(reader: pnn.Network, watch: pnn.Network, examples: Array) -> pnn.Network:
    """Both as one: where the echo is none of the open sea, the variances grow by ``LOST``².

    What the first network makes of such an echo has no meaning, and is kept within bounds.
    """
    x = waveform()
    values, logit = _reading(x, examples), _strangeness(x, examples)
    # The logistic function as it is written: that of some runtimes has an absolute error of 1e-7, and this is below it.
    powers = emit("Exp", emit("Min", (LIMIT - logit) * SHARPNESS, constant(STEEPEST, x.dtype)))
    lost = constant(LOST**2, x.dtype) / (powers + 1.0)
    means, logarithms = emit_all("Split", values, integers([2, 2]), axis=-1, outputs=2)
    means = emit("Clip", means, constant(-FARTHEST, x.dtype), constant(FARTHEST, x.dtype))
    known = emit("Min", logarithms, constant(2 * math.log(LOST), x.dtype))
    variances = emit("Log", emit("Exp", known) + lost)
    network = pnn.Network(x, pnn.concatenate(means, variances, name="sea"), name="altimetry-swh")
    network.load_weights({**reader.parameters, **watch.parameters})
    reads_sea(network)
    return network
