"""The recipe of ``altimetry-surface``."""

from __future__ import annotations

from typing import Final, Unpack

import numpy as np
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.format.meaning import InputInfo
from portable_nn.models.altimetry.echoes import speckled
from portable_nn.models.altimetry.files import PASS
from portable_nn.models.altimetry.networks import (
    RANGE,
    Fresh,
    dense,
    echoes_of,
    features,
    odd_means,
    waveform,
    write_samples,
)
from portable_nn.models.altimetry.surfaces import KINDS, SURFACES, surface_code
from portable_nn.models.altimetry.tracks import fly
from portable_nn.models.recipes import Trained, noted
from portable_nn.operators import Array
from portable_nn.operators.linear.blas import single_threaded
from portable_nn.training.checkpoint import CheckpointOptions

__all__ = ["train", "write_samples"]

EPOCHS: Final = 30
STEPS: Final = 400
BATCH: Final = 512
SEED: Final = 30_001
"""That of the echoes on which the network is judged; no training has it."""

SURE: Final = 0.6
"""The probability that a class must have for an answer other than "?"."""

ODD: Final = 0.05
"""The share of echoes of nothing that the network knows, as likely of any class."""

MIRRORS: Final = 0.03
"""The share of echoes of specular ice, which tracks lack. All others are drawn along tracks."""

APART: Final = 6
"""Of a track every sixth echo is learned from: its neighbours are nearly the same."""

FAR: Final = 40
"""Of a track every fortieth echo is judged by: a dozen kilometres apart, echoes hardly depend on each other."""

POOL: Final = 128
"""The batches that are drawn at once, and shuffled."""


def train(
    *, seed: int = 0, epochs: int = EPOCHS, progress: bool | None = None, **checkpoints: Unpack[CheckpointOptions]
) -> Trained:
    """Train the network that tells surfaces apart, calibrate its probabilities, and measure it on other echoes.

    Each batch is simulated afresh; an epoch is 400 batches of 512 echoes.
    """
    examples = mixture(20_000, np.random.default_rng(seed))[0]
    x = waveform()
    value = dense(features(x, examples, "echo"), (96, 64), "echo")
    network = pnn.Network(x, pnn.Dense(4, name="surface")(value), labels=SURFACES, seed=seed, name="altimetry-surface")
    with single_threaded():
        history = network.fit(
            Fresh(mixture, BATCH, STEPS, seed, POOL),
            loss="cross_entropy",
            optimizer=pnn.Adam(0.004),
            schedule=pnn.CosineDecay(),
            epochs=epochs,
            progress=progress,
            **checkpoints,
        )
        network.calibrate(*along(100_000, np.random.default_rng([seed, 1])))
        network.inputs = (InputInfo("waveform", range=RANGE),)
        network.outputs = (replace(network.outputs[0], threshold=SURE),)
        figures = judge(network)
    return noted(
        network,
        figures,
        history,
        data=f"{epochs * STEPS * BATCH:,} simulated echoes of sea, land, ice and coasts",
        recall=f"land {figures['recall_land']:.2%}, water {figures['recall_water']:.2%}, of unseen echoes",
    )


def along(count: int, rng: np.random.Generator, apart: int = APART) -> tuple[Array, Array]:
    """Echoes (count, 104) of tracks as ``altimetry-data`` has them, one in ``apart``, and their classes, (count,)."""
    tracks = [fly(PASS, rng) for _ in range(-(-count * apart // PASS))]
    return (
        np.concatenate([track.waveforms[::apart] for track in tracks])[:count],
        np.concatenate([track.surface[::apart] for track in tracks])[:count],
    )


def mixture(count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Echoes (count, 104) along tracks, of mirrors and of none, and the probabilities of their classes (count, 4)."""
    odd, mirrors = max(1, round(count * ODD / 4)), round(count * MIRRORS)
    echoes, classes = along(count - mirrors - 4 * odd, rng)
    others = [echoes_of("specular", mirrors, rng).mean, *(speckled(mean, rng) for mean in odd_means(odd, rng))]
    codes = np.concatenate([classes, np.full(mirrors, surface_code("specular"))])
    shares = np.concatenate([np.eye(4)[codes], np.full((4 * odd, 4), 0.25)])
    order = rng.permutation(count)
    return np.concatenate([echoes, *others])[order], shares[order].astype(np.float32)


def judge(network: pnn.Network, count: int = 20_000, seed: int = SEED) -> dict[str, float]:
    """Recalls by class, on ``count`` echoes of each, and the expected calibration error, on half as many of tracks."""
    rng = np.random.default_rng(seed)
    figures = {}
    for code, name in enumerate(SURFACES):
        kinds = [kind for kind, each in KINDS.items() if each.surface == name]
        echoes = np.concatenate([echoes_of(kind, count // len(kinds), rng).mean for kind in kinds])
        figures[f"recall_{name}"] = float((network.predict(echoes).argmax(axis=1) == code).mean())
    reliability = network.evaluate(*along(count // 2, rng, FAR)).reliability
    return figures | {"calibration_error": reliability.ece, "calibration_error_by_chance": reliability.by_chance}
